//! What is worth reading beyond whole lists: single `ConfigMaps`, and Pods by selector.
//!
//! A live reader never lists all Pods or all `ConfigMaps`: it first reads what names them, then asks here.

use std::collections::BTreeSet;

use super::kube_proxy::is_kube_proxy;
use crate::index::Index;
use crate::know::{Reads, Source};
use crate::names::Name;
use crate::policy::{Beat, Operator, Policy, Selector};
use crate::sources::workload::DaemonSet;

/// What to read next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wants {
    /// `ConfigMaps` by namespace and name.
    pub config_maps: BTreeSet<(String, String)>,
    /// Pods by namespace (empty for all) and label selector, as the API writes it.
    pub pods: BTreeSet<(String, String)>,
}

/// Where a kubeadm cluster and the managed ones keep the configuration of their data plane.
const USUAL_CONFIG_MAPS: [&str; 4] = ["kube-proxy", "kube-proxy-config", "cilium-config", "eni-config"];

/// Labels of Pods that are worth reading in `kube-system` whatever runs there: kube-proxy (kubeadm, EKS, AKS), static
/// Pods (GKE, kOps, RKE2, kubeadm's control plane) and DNS.
const USUAL_PODS: [&str; 2] = [
    "k8s-app in (kube-proxy,kube-dns)",
    "component in (kube-proxy,kube-controller-manager,kube-apiserver)",
];

impl Wants {
    /// The sources that this looks at.
    pub(crate) const READS: Reads = Reads::of(&[
        Source::DaemonSets,
        Source::Policies,
        Source::Services,
        Source::ClusterPolicy,
    ]);

    /// What this index makes worth reading.
    pub(crate) fn of(index: &Index) -> Self {
        let mut wants = Self::default();
        let system = "kube-system";
        wants
            .config_maps
            .extend(USUAL_CONFIG_MAPS.map(|name| (system.to_owned(), name.to_owned())));
        wants
            .pods
            .extend(USUAL_PODS.map(|selector| (system.to_owned(), selector.to_owned())));
        for (key, set) in index.platform_sets() {
            let namespace = index.names.text(key.namespace).to_owned();
            let proxy = set
                .template
                .containers
                .iter()
                .any(|one| is_kube_proxy(&index.names, one));
            if proxy || is_network(index, set) {
                let maps = set
                    .template
                    .volumes
                    .iter()
                    .map(|volume| index.names.text(volume.config_map).to_owned());
                wants
                    .config_maps
                    .extend(maps.map(|name| (namespace.clone(), name)));
                wants.config_maps.extend(
                    USUAL_CONFIG_MAPS[2..]
                        .iter()
                        .map(|name| (namespace.clone(), (*name).to_owned())),
                );
            }
            let agent = set
                .template
                .containers
                .iter()
                .any(|one| index.names.text(one.name) == "cilium-agent");
            if proxy || agent {
                wants.pods.insert((namespace, query(&set.selector)));
            }
        }
        for (key, policy) in index.policies.iter() {
            let clients = policy
                .connections
                .iter()
                .flat_map(|connection| &connection.clients);
            let selectors = clients.filter_map(|client| client.pods.as_ref());
            wants
                .pods
                .extend(selectors.map(|selector| (policy.namespace.to_string(), query(selector))));
            if needs_backends(policy) {
                wants.pods.extend(backends(index, key.namespace, policy));
            }
        }
        wants
    }
}

/// Whether the Pods behind a policy's Services tell something that nothing else does: the keepalive time that their sockets
/// take from a sysctl, or where they may run.
fn needs_backends(policy: &Policy) -> bool {
    let limits_places = policy.balance.as_ref().is_some_and(|balance| {
        balance.max_percent_per_node.is_some() || balance.max_percent_per_zone.is_some()
    });
    let mut servers = policy.connections.iter().map(|connection| &connection.server);
    limits_places || servers.any(|server| server.tcp_keepalive == Some(Beat::Enabled(None)))
}

/// The Pods that the Services of a policy select.
fn backends<'a>(
    index: &'a Index,
    namespace: Name,
    policy: &'a Policy,
) -> impl Iterator<Item = (String, String)> + 'a {
    let names = &index.names;
    let services = index.services_in.of(namespace);
    let governed = services.filter_map(move |key| {
        let service = index.services.get(key)?;
        (service.selects() && index.governs(policy, key, service)).then_some(service)
    });
    governed.map(move |service| {
        let labels = service.selector.iter();
        let labels = labels.map(|(key, value)| format!("{}={}", names.text(key), names.text(value)));
        let query = labels.collect::<Vec<_>>().join(",");
        (policy.namespace.to_string(), query)
    })
}

fn is_network(index: &Index, set: &DaemonSet) -> bool {
    set.template.containers.iter().any(|one| {
        let name = index.names.text(one.name);
        matches!(name, "cilium-agent" | "terway" | "antrea-agent")
    })
}

/// A selector as a query of the API: `a=b,c in (d,e),!f`.
fn query(selector: &Selector) -> String {
    let labels = selector
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    let lines = selector.expressions.iter().map(|line| match line.operator {
        Operator::In => format!("{} in ({})", line.key, line.values.join(",")),
        Operator::NotIn => format!("{} notin ({})", line.key, line.values.join(",")),
        Operator::Exists => line.key.to_string(),
        Operator::DoesNotExist => format!("!{}", line.key),
    });
    labels.chain(lines).collect::<Vec<_>>().join(",")
}
