//! What the data plane makes worth reading, whatever policies say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::kube_proxy::is_kube_proxy;
use super::{MOST_NAMED, NamedWants, PodsBySpace};
use crate::index::{Index, SYSTEM};
use crate::policy::{Operator, Requirement, Selector};
use crate::sources::workload::DaemonSet;

/// Where a kubeadm cluster and the managed ones keep the configuration of their data plane.
const USUAL_CONFIG_MAPS: [&str; 4] = ["kube-proxy", "kube-proxy-config", "cilium-config", "eni-config"];

/// Labels of Pods that are worth reading in `kube-system` whatever runs there: kube-proxy (kubeadm, EKS, AKS), DNS, and
/// static Pods, which GKE, RKE2 and kubeadm label by `component`, kOps (`nodeup/pkg/model`) and Talos by `k8s-app` alone.
const USUAL_PODS: [(&str, &[&str]); 2] = [
    (
        "k8s-app",
        &[
            "kube-proxy",
            "kube-dns",
            "kube-controller-manager",
            "kube-apiserver",
        ],
    ),
    (
        "component",
        &["kube-proxy", "kube-controller-manager", "kube-apiserver"],
    ),
];

/// What the data plane makes worth reading: Pods and `ConfigMaps`, by namespace.
pub(super) fn of_platform(index: &Index) -> (PodsBySpace, BTreeMap<Arc<str>, NamedWants>) {
    let mut pods = PodsBySpace::new();
    let system: Arc<str> = SYSTEM.into();
    let usual = USUAL_PODS.map(|(key, values)| Selector {
        labels: Vec::new(),
        expressions: vec![Requirement {
            key: key.into(),
            operator: Operator::In,
            values: values.iter().map(|value| Arc::from(*value)).collect(),
        }],
    });
    pods.insert(system.clone(), usual.into());
    // By namespace those that are asked for whatever runs there, and those that a DaemonSet mounts.
    let mut maps: BTreeMap<Arc<str>, [BTreeSet<Arc<str>>; 2]> = BTreeMap::new();
    maps.entry(system).or_default()[0].extend(USUAL_CONFIG_MAPS.map(Arc::from));
    for (key, set) in index.platform_sets() {
        let namespace = index.names.shared(key.namespace);
        let containers = &set.template.containers;
        let proxy = containers.iter().any(|one| is_kube_proxy(&index.names, one));
        if proxy || is_network(index, set) {
            let volumes = set.template.volumes.iter();
            let mounted = volumes.map(|volume| index.names.shared(volume.config_map));
            let [usual, others] = maps.entry(namespace.clone()).or_default();
            usual.extend(USUAL_CONFIG_MAPS[2..].iter().map(|name| Arc::from(*name)));
            others.extend(mounted);
        }
        let agent = containers
            .iter()
            .any(|one| index.names.text(one.name) == "cilium-agent");
        if proxy || agent {
            pods.entry(namespace).or_default().insert(set.selector.clone());
        }
    }
    let maps = maps.into_iter();
    let maps = maps.map(|(namespace, [usual, others])| (namespace, NamedWants::of(usual, &others)));
    (pods, maps.collect())
}

impl NamedWants {
    /// As many as there is room for, some of them first.
    fn of(mut names: BTreeSet<Arc<str>>, others: &BTreeSet<Arc<str>>) -> Self {
        let mut beyond = 0;
        for name in others {
            if names.len() < MOST_NAMED {
                names.insert(name.clone());
            } else if !names.contains(name) {
                beyond += 1;
            }
        }
        Self { names, beyond }
    }

    /// Why those that are not among the names are not known, where there are too many.
    pub fn excess(&self) -> Option<String> {
        (self.beyond > 0).then(|| {
            let all = self.names.len() + self.beyond;
            format!("{all} are named in this namespace, and at most {MOST_NAMED} are read")
        })
    }
}

fn is_network(index: &Index, set: &DaemonSet) -> bool {
    set.template.containers.iter().any(|one| {
        let name = index.names.text(one.name);
        matches!(name, "cilium-agent" | "terway" | "antrea-agent")
    })
}
