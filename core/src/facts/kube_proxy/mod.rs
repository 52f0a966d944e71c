//! Which kube-proxy runs on which node, and where its configuration lies.
//!
//! The rule covers kubeadm, kind, EKS, static Pods, k3s and RKE2, OpenShift, Talos and Gardener without a list of
//! names: look for the container whose command is kube-proxy, follow `--config` through its volumes to a ConfigMap,
//! use the flags only where there is no `--config`, else the node's own annotations.

mod container;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use container::container_of;
pub use container::{config_map_of, is_kube_proxy};

use crate::dataplane::kube_proxy::{
    ConfigSource, Settings, command_line, node_args, runs_kube_proxy, settings,
};
use crate::dataplane::version::Version;
use crate::index::Index;
use crate::know::{Gap, Known, Source};
use crate::names::{Key, Name, Names};
use crate::sources::node::{K3S_ARGS, Node, RKE2_ARGS};
use crate::sources::workload::{ConfigVolume, Container, Pod, Template};

/// Which installation serves a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Choice {
    /// A `/configz` answer of that node.
    Configz(Name),
    /// A Pod of its own, such as a static one.
    Pod(Key),
    /// A DaemonSet.
    DaemonSet(Key),
    /// The arguments of k3s or RKE2: the annotation and its value.
    K3s(Name, Name),
    /// A ConfigMap alone: no process was seen.
    ConfigMap(Key),
    /// A configuration file alone: neither a process nor a ConfigMap was seen.
    Document,
    /// None runs there.
    Nothing,
    /// What would tell was not read.
    Unread(Source),
}

/// Every kube-proxy that the index shows.
#[derive(Debug, Default)]
pub(super) struct Installations {
    daemon_sets: Vec<Key>,
    /// The Pod of its own that serves a node, and the first of those that are told the same.
    pods: BTreeMap<Name, (Key, Key)>,
    /// The first of the nodes whose `/configz` says the same.
    configz: BTreeMap<Name, Name>,
    config_map: Option<Key>,
    /// Whether a configuration file was given by itself.
    document: bool,
}

/// Whether this Pod is a kube-proxy that no DaemonSet made, such as a static one.
pub(crate) fn is_own_proxy(names: &Names, pod: &Pod) -> bool {
    !pod.ended && names.text(pod.owner_kind) != "DaemonSet" && container_of(names, &pod.template).is_some()
}

/// What a kube-proxy of its own is told: Pods of equal orders behave alike, so nodes need not be told apart by them.
#[derive(PartialEq, Eq, Hash)]
struct Orders<'a> {
    namespace: Name,
    image: Name,
    argv: Vec<&'a str>,
    mounts: &'a [(Arc<str>, Name)],
    volumes: &'a [ConfigVolume],
}

impl<'a> Orders<'a> {
    fn of(namespace: Name, template: &'a Template, container: &'a Container) -> Self {
        // The node's own name is no setting.
        let mut after = false;
        let argv = container.argv.iter().map(|word| &**word).filter(|word| {
            let own = after || word.starts_with("--hostname-override=");
            after = *word == "--hostname-override";
            !own
        });
        Self {
            namespace,
            image: container.image,
            argv: argv.collect(),
            mounts: &container.mounts,
            volumes: &template.volumes,
        }
    }
}

/// The Pods of their own by node.
///
/// Of two on one node (an old one that nobody has removed, or a mirror that outlived its manifest) the ready one
/// counts, of two such the one that started later, of two such the first by name.
fn own_pods(index: &Index) -> BTreeMap<Name, (Key, Key)> {
    let names = &index.names;
    let mut best: BTreeMap<Name, (Key, &Pod)> = BTreeMap::new();
    let own = index
        .components
        .iter()
        .filter_map(|key| Some((*key, index.pods.get(*key)?)))
        .filter(|(_, pod)| !pod.node.is_empty() && is_own_proxy(names, pod));
    for (key, pod) in own {
        let rank = |key: Key, pod: &Pod| (pod.ready, pod.started, Reverse(index.show(key)));
        let held = best.entry(pod.node).or_insert((key, pod));
        if rank(key, pod) > rank(held.0, held.1) {
            *held = (key, pod);
        }
    }
    let mut first: HashMap<Orders<'_>, Key> = HashMap::new();
    let mut sorted: Vec<_> = best.iter().collect();
    sorted.sort_by_cached_key(|(_, (key, _))| index.show(*key));
    let mut pods = BTreeMap::new();
    for (node, (key, pod)) in sorted {
        if let Some(container) = container_of(names, &pod.template) {
            let orders = Orders::of(key.namespace, &pod.template, container);
            let first = *first.entry(orders).or_insert(*key);
            pods.insert(*node, (*key, first));
        }
    }
    pods
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

impl Installations {
    /// Looks for them.
    pub(super) fn find(index: &Index) -> Self {
        let names = &index.names;
        let mut daemon_sets: Vec<Key> = index
            .daemon_sets
            .iter()
            .filter(|(_, set)| container_of(names, &set.template).is_some())
            .map(|(key, _)| key)
            .collect();
        daemon_sets.sort_by_cached_key(|key| index.show(*key));
        let mut maps: Vec<Key> = index
            .config_maps
            .iter()
            .filter(|(_, map)| document(map).is_some())
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
            pods: own_pods(index),
            configz: configz(index),
            config_map: maps.first().copied(),
            document: !index.proxy_documents.is_empty(),
        }
    }

    /// Whether there is anything at all.
    pub(super) fn any(&self) -> bool {
        !self.daemon_sets.is_empty() || !self.pods.is_empty() || self.config_map.is_some() || self.document
    }

    /// Nodes that are known by a Pod of their own, whether or not Nodes were read.
    pub(super) fn named(&self) -> impl Iterator<Item = Name> + '_ {
        self.pods.keys().copied()
    }

    /// What stands for a node's installation among those that are told the same.
    pub(super) fn alike(&self, node: Name, choice: Choice) -> Choice {
        match choice {
            Choice::Pod(key) => Choice::Pod(self.pods.get(&node).map_or(key, |held| held.1)),
            Choice::Configz(node) => Choice::Configz(self.configz.get(&node).copied().unwrap_or(node)),
            other => other,
        }
    }

    /// The installation of a node; without a node, of any.
    pub(super) fn choose(&self, index: &Index, name: Name, node: Option<&Node>) -> Choice {
        let configz = [name, Name::EMPTY]
            .into_iter()
            .find(|name| self.configz.contains_key(name));
        if let Some(name) = configz {
            return Choice::Configz(name);
        }
        if let Some((key, _)) = self.pods.get(&name) {
            return Choice::Pod(*key);
        }
        let selects = |key: &&Key| {
            let Some(set) = index.daemon_sets.get(**key) else {
                return false;
            };
            let Some(node) = node else {
                // A fleet that was not read is taken for Linux, and Windows has a DaemonSet of its own.
                return !set.template.placement.selector.iter().any(|(key, value)| {
                    index.names.text(key).ends_with("kubernetes.io/os")
                        && index.names.text(value) == "windows"
                });
            };
            set.template.placement.selector.iter().all(|(key, value)| {
                // The operating system is a label of every node; a dump may have lost it.
                node.labels.get(key).is_none_or(|held| held == value)
                    && (node.labels.get(key).is_some() || index.names.text(key) == "kubernetes.io/os")
            })
        };
        if let Some(key) = self.daemon_sets.iter().find(selects) {
            return Choice::DaemonSet(*key);
        }
        let args = node.and_then(|node| {
            [K3S_ARGS, RKE2_ARGS].iter().find_map(|key| {
                let key = index.names.find(key)?;
                Some((key, node.annotations.get(key)?))
            })
        });
        if let Some((annotation, args)) = args {
            return Choice::K3s(annotation, args);
        }
        match self.config_map {
            Some(key) => Choice::ConfigMap(key),
            None if self.document => Choice::Document,
            None => [Source::DaemonSets, Source::Pods, Source::ConfigMaps]
                .into_iter()
                .find(|source| index.gap(*source).is_some())
                .map_or(Choice::Nothing, Choice::Unread),
        }
    }

    /// What an installation effectively does; `None` where none runs.
    pub(super) fn settings(
        index: &Index,
        choice: &Choice,
        os: &str,
        kubelet: &str,
    ) -> Option<Known<Settings>> {
        let version = Version::parse(kubelet);
        match choice {
            Choice::Nothing => None,
            Choice::Unread(source) => Some(Err(index.gap(*source).unwrap_or(Gap::Missing(*source)))),
            Choice::Configz(node) => {
                let body = index.configz.get(node).cloned().unwrap_or_default();
                let place = match index.names.text(*node) {
                    "" => "kube-proxy /configz".to_owned(),
                    node => format!("kube-proxy on node {node} /configz"),
                };
                Some(settings(
                    &ConfigSource::Configz {
                        body: &body,
                        place: &place,
                    },
                    os,
                    version,
                ))
            }
            Choice::K3s(annotation, args) => k3s(index, *annotation, *args, os, version),
            Choice::ConfigMap(key) => Some(alone(index, *key, os, version)),
            Choice::Document => Some(by_itself(index, os, version)),
            Choice::DaemonSet(key) => {
                let template = &index.daemon_sets.get(*key)?.template;
                Some(of_container(index, ("DaemonSet", *key), template, os, version))
            }
            Choice::Pod(key) => {
                let template = &index.pods.get(*key)?.template;
                Some(of_container(index, ("Pod", *key), template, os, version))
            }
        }
    }
}

impl Choice {
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
fn document(map: &crate::sources::config_map::ConfigMap) -> Option<&Arc<str>> {
    map.data
        .iter()
        .find(|(_, text)| text.contains("KubeProxyConfiguration"))
        .map(|pair| &pair.1)
}

fn alone(index: &Index, key: Key, os: &str, version: Option<Version>) -> Known<Settings> {
    let place = super::place(index, "ConfigMap", key);
    let text = index
        .config_maps
        .get(key)
        .and_then(document)
        .cloned()
        .unwrap_or_default();
    settings(
        &ConfigSource::Document {
            text: &text,
            place: &place,
            argv: &[],
        },
        os,
        version,
    )
}

/// The settings of a configuration file that lies in no object.
fn by_itself(index: &Index, os: &str, version: Option<Version>) -> Known<Settings> {
    let mut documents = index.proxy_documents.iter();
    let Some((place, text)) = documents.next() else {
        return Err(Gap::Opaque("no configuration of kube-proxy was given".into()));
    };
    if let Some((other, _)) = documents.find(|(_, other)| *other != text) {
        return Err(Gap::Opaque(
            format!("{place} and {other} configure kube-proxy differently, and which of them the nodes use is not known").into(),
        ));
    }
    settings(
        &ConfigSource::Document {
            text,
            place,
            argv: &[],
        },
        os,
        version,
    )
}

fn k3s(
    index: &Index,
    annotation: Name,
    args: Name,
    os: &str,
    version: Option<Version>,
) -> Option<Known<Settings>> {
    let args = match node_args(index.names.text(args)) {
        Ok(args) => args,
        Err(gap) => return Some(Err(gap)),
    };
    runs_kube_proxy(&args).then(|| {
        settings(
            &ConfigSource::K3s {
                args: &args,
                place: &format!("Node annotation {}", index.names.text(annotation)),
            },
            os,
            version,
        )
    })
}

/// The settings of a container: by its `--config`, else by its flags.
fn of_container(
    index: &Index,
    owner: (&str, Key),
    template: &Template,
    os: &str,
    kubelet: Option<Version>,
) -> Known<Settings> {
    let container = container_of(&index.names, template).ok_or_else(|| {
        Gap::Opaque(format!("{} {} runs no kube-proxy", owner.0, index.show(owner.1)).into())
    })?;
    let argv: Vec<String> = container.argv.iter().map(ToString::to_string).collect();
    let version = Version::of_image(index.names.text(container.image)).or(kubelet);
    let Some(path) = command_line(&argv)?.config()? else {
        let place = super::place(index, owner.0, owner.1);
        return settings(
            &ConfigSource::Flags {
                argv: &argv,
                place: &place,
            },
            os,
            version,
        );
    };
    let (map, key) = config_map_of(&index.names, owner, template, container, &path)?;
    if let Some(gap) = index.gap(Source::ConfigMaps) {
        return Err(gap);
    }
    let place = super::place(index, "ConfigMap", map);
    let text = index
        .config_maps
        .get(map)
        .and_then(|map| map.get(&key))
        .ok_or_else(|| {
            Gap::Opaque(
                format!(
                    "{place} key {key}: not found, though {} {} reads it",
                    owner.0,
                    index.show(owner.1)
                )
                .into(),
            )
        })?;
    settings(
        &ConfigSource::Document {
            text,
            place: &place,
            argv: &argv,
        },
        os,
        version,
    )
}
