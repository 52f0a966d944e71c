//! What is worth measuring: only what a check can use, on what the API shows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::index::Index;
use crate::names::Key;
use crate::policy::{Counts, Mode, PodCounter};
use crate::sample::{Metric, Metrics, Of, PageScope};

/// Most Services of one namespace of which backends are measured, and most in all: each takes a query every 15 s.
const MOST_OF_NAMESPACE: usize = 8;
const MOST_SERVICES: usize = 128;

/// What to measure on such subjects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SampleWants {
    /// Which metrics.
    pub metrics: Metrics,
    /// Addresses of the API servers, where it is these.
    pub instances: BTreeSet<IpAddr>,
    /// The declared address of the load balancer before them, as `host:port`.
    pub load_balancer: Option<Arc<str>>,
    /// Where the counter of each Pod is to be found, where it is backends. Checked on entry, and to be quoted on exit.
    pub counter: Option<PodCounter>,
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

/// What to measure, as far as checks rest on these metrics, and plans.
pub(super) fn wants(index: &Index, needed: Metrics) -> BTreeMap<PageScope<Arc<str>>, SampleWants> {
    let mut all = BTreeMap::new();
    if !index.samples().is_observed() {
        return all;
    }
    let mut want = |scope, metrics: Metrics, instances| {
        if !metrics.is_empty() {
            let wants = SampleWants {
                metrics,
                instances,
                ..SampleWants::default()
            };
            all.insert(scope, wants);
        }
    };
    let on = |of| needed.both(Metrics::on(of));
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
        let metrics = match plans.map(|cordon| cordon.mode) {
            Some(Mode::Suggest | Mode::Enforce) => metrics.with(FENCING),
            None | Some(Mode::Observe) => metrics,
        };
        want(PageScope::Nodes, metrics, BTreeSet::new());
    }
    let instances = index.instances();
    if !instances.is_empty() {
        want(PageScope::Cluster, on(Of::Cluster), BTreeSet::new());
        want(
            PageScope::Instances,
            on(Of::Instance).with(on(Of::Resource)),
            instances,
        );
        if let Some(wants) = all.get_mut(&PageScope::Instances) {
            let policy = index.cluster_policy();
            wants.load_balancer = policy.and_then(|policy| policy.load_balancer.clone());
        }
    }
    if !on(Of::Backend).is_empty() {
        all.extend(backends(index));
    }
    all
}

/// The Services whose policies name a counter, some of each namespace before more of one.
fn backends(index: &Index) -> Vec<(PageScope<Arc<str>>, SampleWants)> {
    let mut counted: BTreeMap<Arc<str>, BTreeMap<Arc<str>, PodCounter>> = BTreeMap::new();
    for (key, policy) in index.policies.iter() {
        let counter = policy
            .balance
            .as_ref()
            .and_then(|balance| balance.counter.as_ref());
        let Some(counter) = counter else { continue };
        for at in index.services_in.of(key.namespace) {
            let row = index.services.get(at);
            if row.is_some_and(|service| index.governs(policy, at, service)) {
                let [namespace, name] = text(index, at);
                let services = counted.entry(namespace).or_default();
                // Of two policies the lesser counter, whatever order they came in.
                let held = services.entry(name).or_insert_with(|| counter.clone());
                if counter < held {
                    *held = counter.clone();
                }
            }
        }
    }
    let mut all = Vec::new();
    for place in 0..MOST_OF_NAMESPACE {
        for (namespace, services) in &counted {
            if let Some((service, counter)) = services.iter().nth(place)
                && all.len() < MOST_SERVICES
            {
                let scope = PageScope::Backends {
                    namespace: namespace.clone(),
                    service: service.clone(),
                };
                let metric = match counter.counts {
                    Counts::Connections => Metric::BackendConnections,
                    Counts::Requests => Metric::BackendRequests,
                };
                let wants = SampleWants {
                    metrics: Metrics::of(&[metric]),
                    counter: Some(counter.clone()),
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
