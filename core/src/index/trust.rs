//! Whose word counts for the whole cluster.
//!
//! Who may write in one namespace can start a Pod or a DaemonSet that looks like kube-proxy, or write a ConfigMap like its
//! own. Such objects count in namespaces of the platform only: `kube-system`, the usual homes of known products, which the
//! role `edit` cannot create, and those that the platform's policy adds. Owner references, mirror annotations and managed
//! fields prove nothing elsewhere: the creator of a Pod may write them.

use super::{Index, SYSTEM};
use crate::dataplane::{calico, cilium, kube_proxy, load_balancer, ovn};
use crate::names::{Key, Name};
use crate::sources::workload::{DaemonSet, Pod};

/// Homes of what OpenShift runs for every cluster, the data plane aside (`openshift/cluster-dns-operator`,
/// `openshift/cluster-kube-apiserver-operator`, `openshift/cluster-kube-controller-manager-operator`: their manifests).
const OPENSHIFT: &[&str] = &[
    "openshift-dns",
    "openshift-kube-apiserver",
    "openshift-kube-controller-manager",
];

/// Homes of known products.
const HOMES: [&[&str]; 6] = [
    calico::HOMES,
    cilium::HOMES,
    kube_proxy::HOMES,
    load_balancer::HOMES,
    ovn::HOMES,
    OPENSHIFT,
];

impl Index {
    /// Whether objects of this namespace may speak for the whole cluster.
    pub fn trusts(&self, namespace: Name) -> bool {
        let text = self.names.text(namespace);
        text == SYSTEM
            || HOMES.iter().any(|homes| homes.contains(&text))
            || self
                .cluster_policy()
                .is_some_and(|policy| policy.trusted_namespaces.iter().any(|one| &**one == text))
    }

    /// `DaemonSets` of the platform, in no order.
    pub(crate) fn platform_sets(&self) -> impl Iterator<Item = (Key, &DaemonSet)> {
        self.daemon_sets.iter().filter(|one| self.trusts(one.0.namespace))
    }

    /// Pods of the platform of which a container was kept: proxies, the CNI, DNS, the control plane; in no order.
    pub(crate) fn platform_pods(&self) -> impl Iterator<Item = (Key, &Pod)> {
        let keys = self.components.iter().copied();
        keys.filter(|key| self.trusts(key.namespace))
            .filter_map(|key| Some((key, self.pods.get(key)?)))
    }

    /// `DaemonSets` and Pods that look like some of the platform's and are in no namespace of it: they count for nothing.
    /// By kind and key, in no order.
    pub fn look_alikes(&self) -> impl Iterator<Item = (&'static str, Key)> {
        let sets = self.daemon_sets.iter();
        let sets = sets.filter(|one| !one.1.template.containers.is_empty());
        let sets = sets.map(|one| ("DaemonSet", one.0));
        let pods = self.components.iter().map(|key| ("Pod", *key));
        sets.chain(pods).filter(|one| !self.trusts(one.1.namespace))
    }
}
