//! What is worth measuring: only what a check can use, on what the API shows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::index::Index;
use crate::names::{Key, Name};
use crate::policy::{Balance, Counts, Measure, Mode, PodMetric};
use crate::sample::{Metric, Metrics, Of, PageScope};
use crate::sources::service::Service;

/// Most Services of one namespace of which backends are measured, and most in all: each takes a query every 15 s.
const MOST_OF_NAMESPACE: usize = 8;
const MOST_SERVICES: usize = 128;

/// What to measure on such subjects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SampleWants {
    /// Which metrics.
    pub metrics: Metrics,
    /// Those of them that are needed of the API servers' own machines and of no other Node.
    pub on_api_servers: Metrics,
    /// Addresses of the API servers, where it is these or their machines.
    pub instances: BTreeSet<IpAddr>,
    /// The declared address of the load balancer before them, as `host:port`.
    pub load_balancer: Option<Arc<str>>,
    /// Where the metric of each Pod is to be found, where it is backends. Checked on entry, and to be quoted on exit.
    pub pod_metric: Option<PodMetric>,
}

const PRESSURE: Metrics = Metrics::of(&[Metric::CpuPressure, Metric::MemoryPressure, Metric::IoPressure]);

/// What fencing nodes rests on ([`crate::plan`]): how a node is by another channel, and whether the others have room.
const FENCING: Metrics = PRESSURE.with(Metrics::of(&[
    Metric::ExporterUp,
    Metric::CpuBusy,
    Metric::CpuTime,
    Metric::MemoryTotal,
    Metric::MemoryAvailable,
]));

/// What checks of the control plane look at on the machine of an API server. Thousands of other Nodes export it as well.
pub(crate) const ON_API_SERVERS: Metrics = Metrics::of(&[
    Metric::SynCookies,
    Metric::ListenOverflows,
    Metric::EstablishedConnections,
    Metric::AcceptedConnections,
    Metric::MemoryTotal,
]);

/// What to measure, as far as checks rest on these metrics, and plans.
pub(super) fn wants(index: &Index, needed: Metrics) -> BTreeMap<PageScope<Arc<str>>, SampleWants> {
    let mut all = BTreeMap::new();
    if !index.samples().is_observed() {
        return all;
    }
    let mut want = |scope, wants: SampleWants| {
        if !wants.metrics.is_empty() {
            all.insert(scope, wants);
        }
    };
    let on = |of| needed.both(Metrics::on(of));
    let instances = index.instances();
    if !index.nodes.is_empty() {
        let declared = index
            .cluster_policy()
            .is_some_and(|policy| policy.nodes.pressure.is_some());
        let metrics = on(Of::Node);
        let metrics = if declared {
            metrics
        } else {
            metrics.minus(PRESSURE)
        };
        let plans = index.cluster_policy().and_then(|policy| policy.nodes.cordon);
        let of_all = match plans.map(|cordon| cordon.mode) {
            Some(Mode::Suggest | Mode::Enforce) => FENCING,
            None | Some(Mode::Observe) => Metrics::NONE,
        };
        let on_nodes = SampleWants {
            metrics: metrics.with(of_all),
            on_api_servers: metrics.both(ON_API_SERVERS).minus(of_all),
            instances: instances.clone(),
            ..SampleWants::default()
        };
        want(PageScope::Nodes, on_nodes);
    }
    if !instances.is_empty() {
        let on_cluster = SampleWants {
            metrics: on(Of::Cluster),
            ..SampleWants::default()
        };
        want(PageScope::Cluster, on_cluster);
        let policy = index.cluster_policy();
        let on_instances = SampleWants {
            metrics: on(Of::Instance).with(on(Of::Resource)),
            instances,
            load_balancer: policy.and_then(|policy| policy.load_balancer.clone()),
            ..SampleWants::default()
        };
        want(PageScope::Instances, on_instances);
    }
    if !on(Of::Backend).is_empty() {
        all.extend(backends(index));
    }
    all
}

/// What a team wants measured on the Pods of its Services, and as what it counts.
pub fn on_pods(balance: &Balance) -> Option<(Metric, &PodMetric)> {
    let named = balance.pod_metric.as_ref()?;
    let metric = match (balance.measure, named.counts) {
        (Measure::ActiveConnections, _) => Metric::BackendActive,
        (Measure::NewConnections, Counts::Connections) => Metric::BackendConnections,
        (Measure::NewConnections, Counts::Requests) => Metric::BackendRequests,
    };
    Some((metric, named))
}

/// What is measured on the Pods behind a Service: of several policies the least, whatever order they came in.
pub fn on_pods_of<'a>(index: &'a Index, key: Key, service: &Service) -> Option<(Metric, &'a PodMetric)> {
    let governing = index.picks.may_govern(key, service);
    governing
        .filter_map(|at| index.policies.get(at))
        .filter(|policy| index.governs(policy, key, service))
        .filter_map(|policy| on_pods(policy.balance.as_ref()?))
        .min()
}

/// The Services whose policies name a metric, some of each namespace before more of one.
fn backends(index: &Index) -> Vec<(PageScope<Arc<str>>, SampleWants)> {
    type OfNamespace = BTreeMap<Arc<str>, (Metric, PodMetric)>;
    let mut counted: BTreeMap<Arc<str>, OfNamespace> = BTreeMap::new();
    let spaces: BTreeSet<Name> = index
        .policies
        .iter()
        .filter(|(_, policy)| {
            policy
                .balance
                .as_ref()
                .is_some_and(|one| one.pod_metric.is_some())
        })
        .map(|(key, _)| key.namespace)
        .collect();
    for key in spaces.iter().flat_map(|space| index.services_in.of(*space)) {
        if let Some(service) = index.services.get(key)
            && let Some((metric, named)) = on_pods_of(index, key, service)
        {
            let [namespace, name] = text(index, key);
            counted
                .entry(namespace)
                .or_default()
                .insert(name, (metric, named.clone()));
        }
    }
    let mut all = Vec::new();
    for place in 0..MOST_OF_NAMESPACE {
        for (namespace, services) in &counted {
            if let Some((service, (metric, named))) = services.iter().nth(place)
                && all.len() < MOST_SERVICES
            {
                let scope = PageScope::Backends {
                    namespace: namespace.clone(),
                    service: service.clone(),
                };
                let wants = SampleWants {
                    metrics: Metrics::of(&[*metric]),
                    pod_metric: Some(named.clone()),
                    ..SampleWants::default()
                };
                all.push((scope, wants));
            }
        }
    }
    all
}

fn text(index: &Index, key: Key) -> [Arc<str>; 2] {
    [key.namespace, key.name].map(|name| index.names.shared(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::handle::Input;
    use crate::policy::{ClusterPolicy, NodesPolicy};
    use crate::sample::Observer;
    use crate::source::Source;
    use crate::world::{World, cordon, instances, node};

    fn on_nodes(world: &mut World) -> SampleWants {
        let wants = world.core.take_wants().unwrap();
        wants.samples.get(&PageScope::Nodes).unwrap().clone()
    }

    #[test]
    fn what_only_api_servers_need_is_asked_of_their_machines_unless_plans_need_it_of_all() {
        let mut world = World::watched(&[
            (Source::Nodes, node("n1", "z")),
            (Source::EndpointSlices, instances(&["192.0.2.1"])),
        ]);
        world.input(Input::Observers(&[Observer::Prometheus]));
        let wants = on_nodes(&mut world);
        assert_eq!(wants.on_api_servers, ON_API_SERVERS);
        assert_eq!(wants.instances, ["192.0.2.1".parse().unwrap()].into());
        assert!(wants.metrics.has(Metric::ConntrackEntries) && wants.metrics.has(Metric::MemoryTotal));
        world = world.platform(ClusterPolicy {
            nodes: NodesPolicy {
                cordon: Some(cordon(Mode::Suggest)),
                ..NodesPolicy::default()
            },
            ..ClusterPolicy::default()
        });
        let wants = on_nodes(&mut world);
        assert!(
            !wants.on_api_servers.has(Metric::MemoryTotal),
            "headroom is of all Nodes"
        );
        assert!(wants.on_api_servers.has(Metric::SynCookies) && wants.metrics.has(Metric::CpuBusy));
    }
}
