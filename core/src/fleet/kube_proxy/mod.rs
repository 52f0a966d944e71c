//! Which kube-proxy runs on which node, and where its configuration lies.
//!
//! The rule covers kubeadm, kind, EKS, static Pods, k3s and RKE2, OpenShift, Talos and Gardener without a list of
//! names: look for the container whose command is kube-proxy, follow `--config` through its volumes to a ConfigMap,
//! use the flags only where there is no `--config`, else the node's own annotations.

mod container;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use container::container_of;
pub use container::{config_map_of, is_kube_proxy};

use crate::dataplane::kube_proxy::{
    ConfigSource, Settings, command_line, node_args, runs_kube_proxy, settings,
};
use crate::dataplane::version::Version;
use crate::index::{Freshness, Index, Part};
use crate::know::{Gap, Known, Source};
use crate::names::{Key, Name, Names};
use crate::sources::config_map::ConfigMap;
use crate::sources::node::{K3S_ARGS, Node, RKE2_ARGS, Readiness};
use crate::sources::workload::{ConfigVolume, DaemonSet, Pod, Template};

/// Which installation serves a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Choice {
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
    /// A ConfigMap that nobody reads.
    LeftOver(Key),
}

/// Every kube-proxy that the index shows.
#[derive(Debug, Default, Hash)]
pub(super) struct Installations {
    daemon_sets: Vec<Key>,
    /// The configuration of a node's Pod, taken from the first Pod with the same configuration.
    pods: BTreeMap<Name, (Key, Choice)>,
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

/// Whether this Pod is a kube-proxy.
pub(crate) fn is_proxy(names: &Names, pod: &Pod) -> bool {
    !pod.ended && container_of(names, &pod.template).is_some()
}

/// The configuration of a kube-proxy: Pods with the same one behave alike, so nodes need not differ by them.
#[derive(PartialEq, Eq, Hash)]
struct Orders<'a> {
    namespace: Name,
    image: Name,
    argv: Vec<String>,
    mounts: &'a [(Arc<str>, Name)],
    volumes: &'a [ConfigVolume],
}

impl<'a> Orders<'a> {
    fn of(names: &Names, namespace: Name, template: &'a Template) -> Option<Self> {
        let container = container_of(names, template)?;
        // The node's own name is no setting.
        let mut after = false;
        let argv = container.command(names).into_iter().filter(|word| {
            let own = after || word.starts_with("--hostname-override=");
            after = *word == "--hostname-override";
            !own
        });
        Some(Self {
            namespace,
            image: container.image,
            argv: argv.collect(),
            mounts: &container.mounts,
            volumes: &template.volumes,
        })
    }
}

/// The key of the DaemonSet that made a Pod.
fn made_by(names: &Names, key: Key, pod: &Pod) -> Option<Key> {
    (names.text(pod.owner_kind) == "DaemonSet").then_some(Key {
        namespace: key.namespace,
        name: pod.owner,
    })
}

/// The kube-proxy Pods by node, each with the one that stands for all of the same configuration.
///
/// Of two on one node (an old one that nobody has removed, or a mirror that outlived its manifest) the ready one
/// counts, of two such the one that started later, of two such the first by name.
///
/// A Pod configured as its DaemonSet says now is cited by that, which is where people change it; another stands for
/// itself: with `updateStrategy: OnDelete`, or in the middle of a roll-out, what runs is not what the template says.
fn pods_by_node(index: &Index) -> BTreeMap<Name, (Key, Choice)> {
    let names = &index.names;
    let mut best: BTreeMap<Name, (Key, &Pod)> = BTreeMap::new();
    let all = index
        .platform_pods()
        .filter(|(_, pod)| !pod.node.is_empty() && is_proxy(names, pod));
    for (key, pod) in all {
        let rank = |key: Key, pod: &Pod| (pod.ready, pod.started, Reverse(index.show(key)));
        let held = best.entry(pod.node).or_insert((key, pod));
        if held.0 != key && rank(key, pod) > rank(held.0, held.1) {
            *held = (key, pod);
        }
    }
    let mut first: HashMap<(Orders<'_>, Sure), Choice> = HashMap::new();
    let mut sorted: Vec<_> = best.iter().collect();
    sorted.sort_by_cached_key(|(_, (key, _))| index.show(*key));
    let mut pods = BTreeMap::new();
    for (node, (key, pod)) in sorted {
        let Some(orders) = Orders::of(names, key.namespace, &pod.template) else {
            continue;
        };
        let sure = if is_stale(index, *key, pod) {
            Sure::Stale
        } else {
            Sure::Runs
        };
        let of_set = || {
            let set = made_by(names, *key, pod)?;
            let template = &index.daemon_sets.get(set)?.template;
            (Orders::of(names, set.namespace, template)? == orders).then_some(Choice::DaemonSet(set, sure))
        };
        let choice = of_set().unwrap_or(Choice::Pod(*key, sure));
        let choice = first.entry((orders, sure)).or_insert(choice).clone();
        pods.insert(*node, (*key, choice));
    }
    pods
}

/// Whether a Pod started before the ConfigMap that its kube-proxy reads was last written: the file is read at start
/// (`cmd/kube-proxy/app/options.go`).
fn is_stale(index: &Index, key: Key, pod: &Pod) -> bool {
    let written = || {
        let container = container_of(&index.names, &pod.template)?;
        let path = command_line(&container.command(&index.names))
            .ok()?
            .config()
            .ok()??;
        let (map, _) = config_map_of(&index.names, ("Pod", key), &pod.template, container, &path).ok()?;
        index.config_maps.get(map)?.written
    };
    pod.started
        .is_some_and(|started| written().is_some_and(|written| written > started))
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

impl Installations {
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
    pub(super) fn alike(&self, node: Name, choice: Choice) -> Choice {
        match choice {
            Choice::Pod(key, sure) => self
                .pods
                .get(&node)
                .map_or(Choice::Pod(key, sure), |held| held.1.clone()),
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
        match self.pods.get(&name) {
            Some((key, Choice::Pod(_, sure))) => return Choice::Pod(*key, *sure),
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
                Choice::Nothing
            } else {
                Choice::K3s(annotation, args)
            };
        }
        // A DaemonSet for Windows says nothing of the others.
        let for_linux = |set: &DaemonSet| set.template.placement.asked_os(&index.names) != "windows";
        if let Some((key, _)) = sets().find(|(_, set)| for_linux(set)) {
            return Choice::Absent(Absence::SentAway(key));
        }
        match self.config_map {
            Some(key) if is_read(index, Source::DaemonSets, key) && is_read(index, Source::Pods, key) => {
                Choice::Absent(Absence::LeftOver(key))
            }
            Some(key) => Choice::ConfigMap(key),
            None if self.document => Choice::Document,
            None => self.unread(index, node),
        }
    }

    /// A node of which nothing was found.
    fn unread(&self, index: &Index, node: Option<&Node>) -> Choice {
        let mut sources = [Source::DaemonSets, Source::Pods, Source::ConfigMaps].into_iter();
        let Some(source) = sources.find(|source| index.gap(*source).is_some()) else {
            return Choice::Nothing;
        };
        match (self.pods.values().next(), node) {
            (None, _) => Choice::Unread(source),
            // Those that were seen are all that is known of.
            (Some(_), None) => Choice::Nothing,
            (Some((key, _)), Some(_)) => Choice::Pod(*key, Sure::Neighbour),
        }
    }

    /// A DaemonSet that covers a node on which no Pod of kube-proxy was seen.
    fn of_set(&self, index: &Index, key: Key, node: Option<&Node>) -> Choice {
        if !is_read(index, Source::Pods, key) {
            return Choice::DaemonSet(key, Sure::Runs);
        }
        match node {
            // Every node with a Pod of kube-proxy is known by that Pod.
            None if !self.pods.is_empty() => Choice::Nothing,
            Some(node) if node.ready != Readiness::Ready || self.coming.contains(&key) => {
                Choice::DaemonSet(key, Sure::Coming)
            }
            _ => Choice::Absent(Absence::NoPod(key)),
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
            Choice::Absent(absence) => Some(Err(Gap::Opaque(absence.show(index).into()))),
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
            Choice::ConfigMap(key) => Some(alone(index, *key, os, version).map(|mut settings| {
                settings.weaken("no kube-proxy process was seen");
                settings
            })),
            Choice::Document => Some(by_itself(index, os, version)),
            Choice::DaemonSet(key, sure) => {
                let template = &index.daemon_sets.get(*key)?.template;
                let known = of_container(index, ("DaemonSet", *key), template, os, version);
                Some(sure.weaken(known))
            }
            Choice::Pod(key, sure) => {
                let template = &index.pods.get(*key)?.template;
                let known = of_container(index, ("Pod", *key), template, os, version);
                Some(sure.weaken(known))
            }
        }
    }
}

impl Sure {
    /// The settings, as sure as they are.
    fn weaken(self, known: Known<Settings>) -> Known<Settings> {
        let why = match self {
            Self::Runs => return known,
            Self::Stale => {
                "written after this kube-proxy had started, which may run with what stood there before"
            }
            Self::Coming => "its Pod is not on the node yet",
            Self::Neighbour => "seen on another node alone",
        };
        known.map(|mut settings| {
            settings.weaken(why);
            settings
        })
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
fn is_read(index: &Index, source: Source, key: Key) -> bool {
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
fn document(map: &ConfigMap) -> Option<&(Arc<str>, Arc<str>)> {
    map.data
        .iter()
        .find(|(_, text)| text.contains("KubeProxyConfiguration"))
}

fn alone(index: &Index, key: Key, os: &str, version: Option<Version>) -> Known<Settings> {
    let place = super::place(index, "ConfigMap", key);
    let map = index.config_maps.get(key);
    let usual = |map: &ConfigMap| {
        map.data
            .iter()
            .find(|(key, _)| !key.contains("kubeconfig"))
            .cloned()
    };
    let found = map.and_then(|map| document(map).cloned().or_else(|| usual(map)));
    let Some((data_key, text)) = found else {
        return Err(Gap::Opaque(
            format!("{place} holds no configuration of kube-proxy").into(),
        ));
    };
    let source = ConfigSource::Document {
        text: &text,
        place: &place,
        argv: &[],
    };
    settings(&source, os, version).map_err(|gap| at_key(gap, &place, &data_key))
}

/// The same gap with the key of the ConfigMap that it is about.
fn at_key(gap: Gap, place: &str, key: &str) -> Gap {
    match gap {
        Gap::Opaque(why) => match why.strip_prefix(place) {
            Some(rest) => Gap::Opaque(format!("{place} key {key}:{}", rest.trim_start_matches(':')).into()),
            None => Gap::Opaque(why),
        },
        other => other,
    }
}

/// Whether this is the ConfigMap that kubeadm and others give kube-proxy, whatever it holds.
fn is_proxys(index: &Index, key: Key) -> bool {
    index.names.text(key.namespace) == "kube-system"
        && matches!(index.names.text(key.name), "kube-proxy" | "kube-proxy-config")
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
    let argv = container.command(&index.names);
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
    if let Some(gap) = index.gap_in(Source::ConfigMaps, map.namespace) {
        return Err(gap);
    }
    let place = super::place(index, "ConfigMap", map);
    let row = index.config_maps.get(map);
    let text = row.and_then(|map| map.get(&key)).ok_or_else(|| {
        let keys = row.map(|map| &map.data).into_iter().flatten();
        let mut like = keys.filter(|(held, _)| held.eq_ignore_ascii_case(&key));
        let like = like
            .next()
            .map_or_else(String::new, |(held, _)| format!(" (it has {held})"));
        let reader = index.show(owner.1);
        let why = format!(
            "{place} key {key}: not found{like}, though {} {reader} reads it",
            owner.0
        );
        Gap::Opaque(why.into())
    })?;
    let source = ConfigSource::Document {
        text,
        place: &place,
        argv: &argv,
    };
    settings(&source, os, version).map_err(|gap| at_key(gap, &place, &key))
}
