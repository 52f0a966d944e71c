//! Which kube-proxy runs on which node, and where its configuration lies.
//!
//! The rule covers kubeadm, kind, EKS, static Pods, k3s and RKE2, OpenShift, Talos and Gardener without a list of
//! names: look for the container whose command is kube-proxy, follow `--config` through its volumes to a ConfigMap,
//! use the flags only where there is no `--config`, else the node's own annotations.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dataplane::kube_proxy::{
    ConfigSource, Settings, command_line, node_args, runs_kube_proxy, settings,
};
use crate::dataplane::version::Version;
use crate::index::Index;
use crate::know::{Gap, Known, Source};
use crate::names::{Key, Name};
use crate::sources::node::Node;
use crate::sources::workload::{Container, DaemonSet, Pod, Template};

/// Which installation serves a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Choice {
    /// A `/configz` answer of that node.
    Configz(Name),
    /// A Pod of its own, such as a static one.
    Pod(Key),
    /// A DaemonSet.
    DaemonSet(Key),
    /// The arguments of k3s or RKE2: the annotation's value.
    K3s(Name),
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
pub(super) struct Installations<'a> {
    daemon_sets: Vec<(Key, &'a DaemonSet, &'a Container)>,
    pods: BTreeMap<Name, (Key, &'a Pod, &'a Container)>,
    config_map: Option<Key>,
    /// Whether a configuration file was given by itself.
    document: bool,
}

/// Whether this container is kube-proxy: by its image, its name, or a word of its command.
pub(crate) fn is_kube_proxy(index: &Index, container: &Container) -> bool {
    let image = index.names.text(container.image);
    let image = image.rsplit('/').next().unwrap_or("");
    index.names.text(container.name) == "kube-proxy"
        || image.starts_with("kube-proxy")
        || container.argv.iter().any(|word| {
            word.split_ascii_whitespace()
                .any(|word| word.rsplit('/').next() == Some("kube-proxy"))
        })
}

fn container_of<'a>(index: &Index, template: &'a Template) -> Option<&'a Container> {
    template
        .containers
        .iter()
        .find(|container| is_kube_proxy(index, container))
}

impl<'a> Installations<'a> {
    /// Looks for them.
    pub(super) fn find(index: &'a Index) -> Self {
        let mut daemon_sets: Vec<_> = index
            .daemon_sets
            .iter()
            .filter_map(|(key, set)| Some((key, set, container_of(index, &set.template)?)))
            .collect();
        daemon_sets.sort_by_key(|(key, ..)| index.show(*key));
        let mut pods = BTreeMap::new();
        for (key, pod) in index.pods.iter() {
            let owned = index.names.text(pod.owner_kind) == "DaemonSet";
            if let (false, false, Some(container)) = (owned, pod.ended, container_of(index, &pod.template)) {
                pods.insert(pod.node, (key, pod, container));
            }
        }
        let mut maps: Vec<Key> = index
            .config_maps
            .iter()
            .filter(|(_, map)| document(map).is_some())
            .map(|(key, _)| key)
            .collect();
        // Others may quote a configuration: a bootstrap's input, a page of documentation. The usual places come first.
        maps.sort_by_key(|key| {
            let (namespace, name) = (index.names.text(key.namespace), index.names.text(key.name));
            let usual = namespace == "kube-system" || namespace.contains("kube-proxy");
            (!name.contains("kube-proxy"), !usual, index.show(*key))
        });
        Self {
            daemon_sets,
            pods,
            config_map: maps.first().copied(),
            document: !index.proxy_documents.is_empty(),
        }
    }

    /// Whether there is anything at all.
    pub(super) fn any(&self) -> bool {
        !self.daemon_sets.is_empty() || !self.pods.is_empty() || self.config_map.is_some() || self.document
    }

    /// The installation of a node; without a node, of any.
    pub(super) fn choose(&self, index: &Index, name: Name, node: Option<&Node>) -> Choice {
        let configz = [name, Name::EMPTY]
            .into_iter()
            .find(|name| index.configz.contains_key(name));
        if let Some(name) = configz {
            return Choice::Configz(name);
        }
        if let Some((key, ..)) = self.pods.get(&name) {
            return Choice::Pod(*key);
        }
        let selects = |set: &DaemonSet| {
            let Some(node) = node else {
                // A fleet that was not read is taken for Linux, and Windows has a DaemonSet of its own.
                return !set.template.node_selector.iter().any(|(key, value)| {
                    index.names.text(key).ends_with("kubernetes.io/os")
                        && index.names.text(value) == "windows"
                });
            };
            {
                set.template.node_selector.iter().all(|(key, value)| {
                    // The operating system is a label of every node; a dump may have lost it.
                    node.labels.get(key).is_none_or(|held| held == value)
                        && (node.labels.get(key).is_some() || index.names.text(key) == "kubernetes.io/os")
                })
            }
        };
        if let Some((key, ..)) = self.daemon_sets.iter().find(|(_, set, _)| selects(set)) {
            return Choice::DaemonSet(*key);
        }
        let args = node.and_then(|node| {
            ["k3s.io/node-args", "rke2.io/node-args"]
                .iter()
                .find_map(|key| node.annotations.get(index.names.find(key)?))
        });
        if let Some(args) = args {
            return Choice::K3s(args);
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
        &self,
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
            Choice::K3s(args) => k3s(index, *args, os, version),
            Choice::ConfigMap(key) => Some(alone(index, *key, os, version)),
            Choice::Document => Some(by_itself(index, os, version)),
            Choice::DaemonSet(key) => {
                let (_, set, container) = self.daemon_sets.iter().find(|one| one.0 == *key)?;
                Some(of_container(
                    index,
                    ("DaemonSet", *key),
                    &set.template,
                    container,
                    os,
                    version,
                ))
            }
            Choice::Pod(key) => {
                let (_, pod, container) = self.pods.values().find(|one| one.0 == *key)?;
                Some(of_container(
                    index,
                    ("Pod", *key),
                    &pod.template,
                    container,
                    os,
                    version,
                ))
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

fn k3s(index: &Index, args: Name, os: &str, version: Option<Version>) -> Option<Known<Settings>> {
    let args = match node_args(index.names.text(args)) {
        Ok(args) => args,
        Err(gap) => return Some(Err(gap)),
    };
    runs_kube_proxy(&args).then(|| {
        settings(
            &ConfigSource::K3s {
                args: &args,
                place: "Node annotation k3s.io/node-args",
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
    container: &Container,
    os: &str,
    kubelet: Option<Version>,
) -> Known<Settings> {
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
    let (map, key) = config_map_of(index, owner, template, container, &path)?;
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

/// The ConfigMap and key behind a path in a container.
pub(crate) fn config_map_of(
    index: &Index,
    owner: (&str, Key),
    template: &Template,
    container: &Container,
    path: &str,
) -> Known<(Key, Arc<str>)> {
    let opaque =
        |why: &str| Gap::Opaque(format!("{} {}: --config {path} {why}", owner.0, index.show(owner.1)).into());
    let under = |mount: &str| {
        path.strip_prefix(mount.trim_end_matches('/'))?
            .strip_prefix('/')
            .map(str::to_owned)
    };
    let (volume, file) = container
        .mounts
        .iter()
        .filter_map(|(mount, volume)| Some((mount.len(), *volume, under(mount)?)))
        .max_by_key(|found| found.0)
        .map(|(_, volume, file)| (volume, file))
        .ok_or_else(|| opaque("lies in no volume: it is a file of the node"))?;
    let volume = template
        .volumes
        .iter()
        .find(|one| one.name == volume)
        .ok_or_else(|| opaque("lies in a volume that is no ConfigMap"))?;
    let key = volume
        .items
        .iter()
        .find(|(_, path)| **path == *file)
        .map_or_else(|| file.as_str().into(), |item| item.0.clone());
    Ok((
        Key {
            namespace: owner.1.namespace,
            name: volume.config_map,
        },
        key,
    ))
}
