//! Which kube-proxy runs on which node, and where its configuration lies.
//!
//! The rule covers kubeadm, kind, EKS, static Pods, k3s and RKE2, OpenShift, Talos and Gardener without a list of
//! names: look for the container whose command is kube-proxy, follow `--config` through its volumes to a ConfigMap,
//! use the flags only where there is no `--config`, else the node's own annotations.

mod container;
mod pods;
mod settings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use container::container_of;
pub use container::{config_map_of, is_kube_proxy};
use pods::pods_by_node;
pub(crate) use pods::{is_alike, is_proxy, made_by};

use crate::dataplane::kube_proxy::{node_args, runs_kube_proxy};
use crate::index::{Freshness, Index, Part};
use crate::know::Source;
use crate::names::{Key, Name};
use crate::sources::config_map::ConfigMap;
use crate::sources::node::{K3S_ARGS, Node, RKE2_ARGS, Readiness};
use crate::sources::workload::DaemonSet;

/// Which installation serves a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ProxyChoice {
    /// A `/configz` answer of that node.
    Configz(Name),
    /// A Pod of the node, such as a static one, or one that differs from what its DaemonSet says now.
    Pod(Key, Sure),
    /// A DaemonSet.
    DaemonSet(Key, Sure),
    /// The arguments of k3s or RKE2: the annotation and its value.
    K3s(Name, Name),
    /// A ConfigMap alone: no process was seen.
    ConfigMap(Key),
    /// A configuration file alone: neither a process nor a ConfigMap was seen.
    Document,
    /// None runs there.
    Nothing,
    /// None runs there, though something of one is left.
    Absent(Absence),
    /// What would show it was not read.
    Unread(Source),
}

/// How sure it is that a node's kube-proxy runs with what is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Sure {
    /// Its Pod says so, or Pods were not read and its DaemonSet does.
    Runs,
    /// It started before its ConfigMap was last written.
    Stale,
    /// Its Pod is not there yet, while others of the DaemonSet are.
    Coming,
    /// Only the Pods of other nodes were seen, and nothing that would show this one was read.
    Neighbour,
}

/// What is left of a kube-proxy that does not run on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Absence {
    /// A DaemonSet whose Pods may not run on the node.
    SentAway(Key),
    /// A DaemonSet that has no Pod on the node.
    NoPod(Key),
    /// A ConfigMap that no process reads.
    LeftOver(Key),
}

/// Every kube-proxy that the index shows.
#[derive(Debug, Default, Hash)]
pub(super) struct ProxyInstallations {
    daemon_sets: Vec<Key>,
    /// The configuration of a node's Pod, taken from the first Pod with the same configuration.
    pods: BTreeMap<Name, (Key, ProxyChoice)>,
    /// `DaemonSets` of which a Pod waits for a node.
    coming: BTreeSet<Key>,
    /// The first of the nodes whose `/configz` says the same.
    configz: BTreeMap<Name, Name>,
    config_map: Option<Key>,
    /// Whether a configuration file was given by itself.
    document: bool,
    /// Whether a server of k3s or RKE2 is configured to run none: its agents take it from there.
    disabled_by_server: bool,
}

/// Which nodes' `/configz` say the same.
fn configz(index: &Index) -> BTreeMap<Name, Name> {
    let mut nodes: Vec<_> = index.configz.iter().collect();
    nodes.sort_by_key(|(node, _)| index.names.text(**node));
    let mut first: HashMap<&str, Name> = HashMap::new();
    nodes
        .into_iter()
        .map(|(node, body)| (*node, *first.entry(body).or_insert(*node)))
        .collect()
}

/// The annotation with the arguments of k3s or RKE2, and its value.
pub(super) fn node_annotation(index: &Index, node: &Node) -> Option<(Name, Name)> {
    [K3S_ARGS, RKE2_ARGS].iter().find_map(|key| {
        let key = index.names.find(key)?;
        Some((key, node.annotations.get(key)?))
    })
}

/// Whether a server of k3s or RKE2 is configured to run no kube-proxy. Its agents have no such argument and take it from
/// their server (`k3s-io/k3s`, `pkg/agent/config/config.go`).
fn disabled_by_server(index: &Index) -> bool {
    let mut args = index
        .nodes
        .iter()
        .filter_map(|(_, node)| node_annotation(index, node));
    args.any(|(_, args)| {
        node_args(index.names.text(args))
            .is_ok_and(|args| args.first().is_some_and(|first| first == "server") && !runs_kube_proxy(&args))
    })
}

impl ProxyInstallations {
    /// Looks for them.
    pub(super) fn find(index: &Index) -> Self {
        let names = &index.names;
        let mut daemon_sets: Vec<Key> = index
            .platform_sets()
            .filter(|(_, set)| container_of(names, &set.template).is_some())
            .map(|(key, _)| key)
            .collect();
        daemon_sets.sort_by_cached_key(|key| index.show(*key));
        let waiting = index.platform_pods().filter_map(|(key, pod)| {
            (pod.node.is_empty() && is_proxy(names, pod)).then(|| made_by(names, key, pod))?
        });
        let mut maps: Vec<Key> = index
            .config_maps
            .iter()
            .filter(|(key, _)| index.trusts(key.namespace))
            .filter(|(key, map)| document(map).is_some() || is_proxys(index, *key))
            .map(|(key, _)| key)
            .collect();
        // Others may quote a configuration: a bootstrap's input, a page of documentation. The usual places come first.
        maps.sort_by_cached_key(|key| {
            let (namespace, name) = (names.text(key.namespace), names.text(key.name));
            let usual = namespace == "kube-system" || namespace.contains("kube-proxy");
            (!name.contains("kube-proxy"), !usual, index.show(*key))
        });
        Self {
            daemon_sets,
            pods: pods_by_node(index),
            coming: waiting.collect(),
            configz: configz(index),
            disabled_by_server: disabled_by_server(index),
            config_map: maps.first().copied(),
            document: !index.proxy_documents.is_empty(),
        }
    }

    /// Whether there is anything at all.
    pub(super) fn any(&self) -> bool {
        !self.daemon_sets.is_empty() || !self.pods.is_empty() || self.config_map.is_some() || self.document
    }

    /// Nodes that are known by a Pod of kube-proxy, whether or not Nodes were read.
    pub(super) fn named(&self) -> impl Iterator<Item = Name> + '_ {
        self.pods.keys().copied()
    }

    /// What stands for a node's installation among those of the same configuration.
    pub(super) fn alike(&self, node: Name, choice: ProxyChoice) -> ProxyChoice {
        match choice {
            ProxyChoice::Pod(key, sure) => self
                .pods
                .get(&node)
                .map_or(ProxyChoice::Pod(key, sure), |held| held.1.clone()),
            ProxyChoice::Configz(node) => {
                ProxyChoice::Configz(self.configz.get(&node).copied().unwrap_or(node))
            }
            other => other,
        }
    }

    /// The installation of a node; without a node, of any.
    pub(super) fn choose(&self, index: &Index, name: Name, node: Option<&Node>) -> ProxyChoice {
        let configz = [name, Name::EMPTY]
            .into_iter()
            .find(|name| self.configz.contains_key(name));
        if let Some(name) = configz {
            return ProxyChoice::Configz(name);
        }
        match self.pods.get(&name) {
            Some((key, ProxyChoice::Pod(_, sure))) => return ProxyChoice::Pod(*key, *sure),
            Some((_, choice)) => return choice.clone(),
            None => {}
        }
        let sets = || {
            let sets = self.daemon_sets.iter();
            sets.filter_map(|key| Some((*key, index.daemon_sets.get(*key)?)))
        };
        if let Some((key, _)) = sets().find(|(_, set)| super::covers(index, set, name, node)) {
            return self.of_set(index, key, node);
        }
        if let Some((annotation, args)) = node.and_then(|node| node_annotation(index, node)) {
            return if self.disabled_by_server {
                ProxyChoice::Nothing
            } else {
                ProxyChoice::K3s(annotation, args)
            };
        }
        // A DaemonSet for Windows says nothing of the others.
        let for_linux = |set: &DaemonSet| set.template.placement.asked_os(&index.names) != "windows";
        if let Some((key, _)) = sets().find(|(_, set)| for_linux(set)) {
            return ProxyChoice::Absent(Absence::SentAway(key));
        }
        match self.config_map {
            Some(key) if is_read(index, Source::DaemonSets, key) && is_read(index, Source::Pods, key) => {
                ProxyChoice::Absent(Absence::LeftOver(key))
            }
            Some(key) => ProxyChoice::ConfigMap(key),
            None if self.document => ProxyChoice::Document,
            None => self.unread(index, node),
        }
    }

    /// A node of which nothing was found.
    fn unread(&self, index: &Index, node: Option<&Node>) -> ProxyChoice {
        let mut sources = [Source::DaemonSets, Source::Pods, Source::ConfigMaps].into_iter();
        let Some(source) = sources.find(|source| index.gap(*source).is_some()) else {
            return ProxyChoice::Nothing;
        };
        match (self.pods.values().next(), node) {
            (None, _) => ProxyChoice::Unread(source),
            // Those that were seen are all that is known of.
            (Some(_), None) => ProxyChoice::Nothing,
            (Some((key, _)), Some(_)) => ProxyChoice::Pod(*key, Sure::Neighbour),
        }
    }

    /// A DaemonSet that covers a node on which no Pod of kube-proxy was seen.
    fn of_set(&self, index: &Index, key: Key, node: Option<&Node>) -> ProxyChoice {
        if !is_read(index, Source::Pods, key) {
            return ProxyChoice::DaemonSet(key, Sure::Runs);
        }
        match node {
            // Every node with a Pod of kube-proxy is known by that Pod.
            None if !self.pods.is_empty() => ProxyChoice::Nothing,
            Some(node) if node.ready != Readiness::Ready || self.coming.contains(&key) => {
                ProxyChoice::DaemonSet(key, Sure::Coming)
            }
            _ => ProxyChoice::Absent(Absence::NoPod(key)),
        }
    }
}

impl Absence {
    fn show(self, index: &Index) -> String {
        match self {
            Self::SentAway(key) => format!(
                "DaemonSet {} may not run here by its node selector, affinity or tolerations, and what stands in for \
                 kube-proxy is not known",
                index.show(key)
            ),
            Self::NoPod(key) => format!(
                "DaemonSet {} has no Pod here, so no kube-proxy runs",
                index.show(key)
            ),
            Self::LeftOver(key) => format!(
                "ConfigMap {} is left over: DaemonSets and Pods were read, and none runs kube-proxy",
                index.show(key)
            ),
        }
    }
}

/// Whether a source was read for the namespace of an object, so that what is not there does not exist: in files, a
/// namespace that none of the objects shows may not have been asked about, unless a list says that there is none at all.
/// A watch says of each namespace that it reads whether it has.
pub(super) fn is_read(index: &Index, source: Source, key: Key) -> bool {
    let namespace = key.namespace;
    let mut parts = index.parts(source);
    let asked = parts.any(|one| one == (Part::Namespace(namespace), &Freshness::Complete));
    let shown = asked
        || if source == Source::Pods {
            index.pods.is_empty() || index.pods_in.of(namespace).next().is_some()
        } else {
            let mut sets = index.daemon_sets.iter();
            index.daemon_sets.is_empty() || sets.any(|(key, _)| key.namespace == namespace)
        };
    shown && index.gap_in(source, namespace).is_none()
}

impl ProxyChoice {
    /// What people should know of how it was found.
    pub(super) fn note(&self) -> Option<Arc<str>> {
        let what = match self {
            Self::ConfigMap(_) => "its ConfigMap is",
            Self::Document => "a configuration file that some nodes may not use is",
            _ => return None,
        };
        Some(format!("no kube-proxy process was seen: {what} taken at its word").into())
    }
}

/// The document of a ConfigMap that configures kube-proxy.
fn document(map: &ConfigMap) -> Option<&(Arc<str>, Arc<str>)> {
    map.data
        .iter()
        .find(|(_, text)| text.contains("KubeProxyConfiguration"))
}

/// Whether this is the ConfigMap that kubeadm and others give kube-proxy, whatever it holds.
fn is_proxys(index: &Index, key: Key) -> bool {
    index.names.text(key.namespace) == "kube-system"
        && matches!(index.names.text(key.name), "kube-proxy" | "kube-proxy-config")
}
