//! The effective data plane of the whole fleet, derived from rows: which nodes share which [`Profile`].
//!
//! A node's class is what its profile depends on: operating system, kernel, versions, the kube-proxy that runs there
//! and the Cilium settings that select it. Thousands of nodes fall into a handful of classes, and paths are judged by
//! class.

mod carriers;
mod cilium;
mod kube_proxy;
mod measured;
mod probe;
mod wants;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

pub(crate) use cilium::is_agent;
pub use kube_proxy::{config_map_of, is_kube_proxy};
pub(crate) use kube_proxy::{is_alike, is_proxy, made_by};
#[cfg(test)]
pub(crate) use measured::ON_API_SERVERS;
pub use measured::{SampleWants, on_pods, on_pods_of};
pub use probe::{FirstProbe, first_probe};
pub(crate) use wants::WantsTracker;
pub use wants::{MOST_NAMED, MOST_SELECTORS, NamedWants, Wants};

use crate::dataplane::Profile;
use crate::dataplane::profile::{NodeInputs, profile, tcp_established};
use crate::index::{Dep, Deps, Index};
use crate::know::{Gap, Known, Reads, Source};
use crate::names::{InUse, Key, Name};
use crate::sources::node::Node;
use crate::sources::workload::DaemonSet;

/// Nodes of equal settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// What they do.
    pub profile: Profile,
    /// How many there are; 0 when nodes were not read and the configuration stands alone.
    pub nodes: u32,
    /// Names of the first few, sorted.
    pub sample: Vec<Arc<str>>,
    group: GroupId,
}

/// Which nodes a class is of.
#[derive(Clone, PartialEq, Eq)]
struct GroupId(Arc<NodeSetup>);

impl fmt::Debug for GroupId {
    /// Names are numbered in the order of first sight, which says nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupId")
    }
}

/// The fleet.
#[derive(Debug, Default)]
pub struct Fleet {
    /// Classes of nodes, the most numerous first.
    pub classes: Vec<Class>,
    /// Why nothing is known, where that is so.
    pub gap: Option<Gap>,
    installed: Installed,
    /// What each node's profile depends on.
    setup: HashMap<Name, Arc<NodeSetup>>,
    groups: BTreeMap<Arc<NodeSetup>, Group>,
}

/// What runs in the cluster.
#[derive(Debug, Default, Hash)]
struct Installed {
    proxies: kube_proxy::ProxyInstallations,
    ciliums: cilium::CiliumInstallations,
    carriers: carriers::CarrierInstallations,
}

/// Nodes with equal setup.
#[derive(Debug, Default)]
struct Group {
    /// Their names, sorted by text, which is what people are shown.
    names: BTreeSet<Arc<str>>,
    /// What they do; none before the group is settled.
    class: Option<Class>,
}

/// All that can change of a fleet.
const ALL: Deps = Deps::one(Dep::Fleet).with(Deps::one(Dep::FleetCounts));

/// Sources that the effective data plane is derived from, apart from Nodes and Pods, whose rows show what changed, and from
/// Deployments, which only some products are read from ([`Fleet::reads_deployments`]).
pub(crate) const INPUTS: Reads = Reads::of(&[
    Source::DaemonSets,
    Source::ConfigMaps,
    Source::CiliumNodeConfigs,
    Source::FelixConfigurations,
    Source::Installations,
    Source::Configz,
]);

/// All of them.
pub(crate) const READS: Reads = INPUTS.with(Reads::of(&[Source::Nodes, Source::Pods, Source::Deployments]));

/// How many node names a class shows.
const SAMPLE: usize = 3;

/// What a node's profile depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct NodeSetup {
    os: Name,
    kernel: Name,
    kubelet: Name,
    proxy: kube_proxy::ProxyChoice,
    cilium: Option<cilium::CiliumChoice>,
    carrier: Option<carriers::CarrierChoice>,
}

impl Fleet {
    /// Notes the names that it holds.
    pub(crate) fn hold(&self, held: &mut InUse) {
        held.note(&self.installed);
        held.all(&self.setup);
        held.all(self.groups.keys());
        held.all(self.classes.iter().map(|class| class.group.0.clone()));
    }

    /// Takes up what has changed; returns what of the fleet that changed.
    ///
    /// A Node that changed is looked at alone, and most changes of Nodes leave their setup alone; only a change of
    /// what is installed looks at the whole fleet.
    pub(crate) fn update(&mut self, index: &Index, whole: bool, nodes: &BTreeSet<Name>) -> Deps {
        // A server of k3s may switch kube-proxy off for its agents.
        let k3s = |name: &Name| {
            let row = index.nodes.get(Key {
                namespace: Name::EMPTY,
                name: *name,
            });
            row.is_some_and(|row| kube_proxy::node_annotation(index, row).is_some())
                || self
                    .class(*name)
                    .is_some_and(|class| matches!(class.group.0.proxy, kube_proxy::ProxyChoice::K3s(..)))
        };
        if whole || nodes.iter().any(k3s) {
            let new = Self::derive(index);
            let changed = new.classes != self.classes
                || new.gap != self.gap
                || new.has_terway() != self.has_terway()
                || new.ignores_internal_local() != self.ignores_internal_local();
            *self = new;
            return if changed { ALL } else { Deps::NONE };
        }
        if index.gap(Source::Nodes).is_some() {
            return Deps::NONE;
        }
        let mut touched = BTreeSet::new();
        for name in nodes {
            let row = index.nodes.get(Key {
                namespace: Name::EMPTY,
                name: *name,
            });
            let new = row.map(|row| setup(index, *name, Some(row), &self.installed));
            let old = self.setup.get(name);
            if old.map(AsRef::as_ref) == new.as_ref() {
                continue;
            }
            if let Some(old) = self.setup.remove(name) {
                if let Some(group) = self.groups.get_mut(&old) {
                    group.names.remove(index.names.text(*name));
                }
                touched.insert(old);
            }
            if let Some(new) = new {
                touched.insert(self.join(index, *name, new));
            }
        }
        if touched.is_empty() {
            return Deps::NONE;
        }
        let mut changed = Deps::one(Dep::FleetCounts);
        for setup in touched {
            if self.settle(index, &setup) {
                changed = ALL;
            }
        }
        self.list();
        changed
    }

    /// Derives the fleet from nothing.
    fn derive(index: &Index) -> Self {
        let mut fleet = Self {
            installed: Installed {
                proxies: kube_proxy::ProxyInstallations::find(index),
                ciliums: cilium::CiliumInstallations::find(index),
                carriers: carriers::CarrierInstallations::find(index),
            },
            ..Self::default()
        };
        let installed = &fleet.installed;
        let members: Vec<(Name, NodeSetup)> = match index.gap(Source::Nodes) {
            None => index
                .nodes
                .iter()
                .map(|(key, node)| (key.name, setup(index, key.name, Some(node), installed)))
                .collect(),
            Some(gap)
                if !installed.proxies.any() && !installed.ciliums.any() && !installed.carriers.any() =>
            {
                fleet.gap = Some(gap);
                return fleet;
            }
            Some(_) => unread(index, installed),
        };
        for (name, setup) in members {
            fleet.join(index, name, setup);
        }
        let all: Vec<_> = fleet.groups.keys().cloned().collect();
        for setup in all {
            fleet.settle(index, &setup);
        }
        fleet.list();
        fleet
    }

    /// Puts a node to those with equal setup; without a name, it is none.
    fn join(&mut self, index: &Index, name: Name, setup: NodeSetup) -> Arc<NodeSetup> {
        let setup = match self.groups.get_key_value(&setup) {
            Some((held, _)) => held.clone(),
            None => Arc::new(setup),
        };
        let group = self.groups.entry(setup.clone()).or_default();
        if !name.is_empty() {
            group.names.insert(index.names.shared(name));
            self.setup.insert(name, setup.clone());
        }
        setup
    }

    /// Brings the class of a group up to date with who is in it; says whether more changed than who that is.
    fn settle(&mut self, index: &Index, setup: &Arc<NodeSetup>) -> bool {
        let Some(group) = self.groups.get_mut(setup) else {
            return false;
        };
        // The one without a name stands alone, as long as Nodes are not read.
        if group.names.is_empty() && index.gap(Source::Nodes).is_none() {
            self.groups.remove(setup);
            return true;
        }
        let sample: Vec<Arc<str>> = group.names.iter().take(SAMPLE).cloned().collect();
        let nodes = u32::try_from(group.names.len()).unwrap_or(u32::MAX);
        // What is cited is read where the first of them has it.
        match &mut group.class {
            Some(class) if class.sample.first() == sample.first() => {
                class.nodes = nodes;
                class.sample = sample;
                false
            }
            class => {
                let first = sample.first().and_then(|text| index.names.find(text));
                let profile = derive_profile(index, setup, first.unwrap_or_default(), &self.installed);
                let changed = class.as_ref().is_none_or(|class| class.profile != profile);
                *class = Some(Class {
                    profile,
                    nodes,
                    sample,
                    group: GroupId(setup.clone()),
                });
                changed
            }
        }
    }

    /// Lists the classes of all groups.
    fn list(&mut self) {
        self.classes = self
            .groups
            .values()
            .filter_map(|group| group.class.clone())
            .collect();
        self.classes
            .sort_by(|a, b| (b.nodes, &a.sample).cmp(&(a.nodes, &b.sample)));
    }

    /// The class of a node; `None` for a node that is not in the index.
    pub fn class(&self, node: Name) -> Option<&Class> {
        let setup = self.setup.get(&node)?;
        self.groups.get(setup)?.class.as_ref()
    }

    /// Whether Pods have Alibaba's own network interfaces.
    pub fn has_terway(&self) -> bool {
        self.installed.ciliums.is_terway()
    }

    /// Whether a proxy on some node takes no heed of `internalTrafficPolicy: Local`, and which: Kube-OVN's load balancers
    /// send to every backend (kubeovn/kube-ovn issue 7364).
    pub fn ignores_internal_local(&self) -> Option<Gap> {
        let mut carriers = self.groups.keys().filter_map(|traits| traits.carrier.as_ref());
        carriers
            .any(carriers::CarrierChoice::is_kube_ovn)
            .then(|| Gap::UnsupportedDataPlane("Kube-OVN may not follow internalTrafficPolicy: Local".into()))
    }

    /// Whether it depends on Deployments.
    pub(crate) fn reads_deployments(&self) -> bool {
        self.installed.carriers.reads_deployments()
    }

    /// The names of the nodes of a class, sorted.
    pub fn names_of(&self, class: &Class) -> impl Iterator<Item = &Arc<str>> {
        let group = self.groups.get(&class.group.0);
        group.into_iter().flat_map(|group| &group.names)
    }
}

/// What is known where Nodes were not read: nodes with a kube-proxy Pod of their own by that Pod's word, and all others
/// as one without a name, unless such Pods are all that was found.
fn unread(index: &Index, installed: &Installed) -> Vec<(Name, NodeSetup)> {
    let proxies = &installed.proxies;
    let mut members: Vec<_> = proxies
        .named()
        .map(|name| (name, setup(index, name, None, installed)))
        .collect();
    let rest = setup(index, Name::EMPTY, None, installed);
    if members.is_empty() || rest.proxy != kube_proxy::ProxyChoice::Nothing {
        members.push((Name::EMPTY, rest));
    }
    members
}

fn setup(index: &Index, name: Name, node: Option<&Node>, installed: &Installed) -> NodeSetup {
    let proxies = &installed.proxies;
    NodeSetup {
        os: node.map_or(Name::EMPTY, |node| node.os),
        kernel: node.map_or(Name::EMPTY, |node| node.kernel),
        kubelet: node.map_or(Name::EMPTY, |node| node.kubelet),
        proxy: proxies.alike(name, proxies.choose(index, name, node)),
        cilium: installed.ciliums.choose(index, name, node),
        carrier: installed.carriers.choose(index, name, node),
    }
}

/// What nodes with this setup do; `first` is the one whose own objects are cited, the empty name where there is none.
fn derive_profile(index: &Index, setup: &NodeSetup, first: Name, installed: &Installed) -> Profile {
    let names = &index.names;
    // Nodes that were not read are taken for Linux: the kube-proxy configuration of Windows is another document.
    let os = if setup.os.is_empty() {
        "linux"
    } else {
        names.text(setup.os)
    };
    let kernel = names.text(setup.kernel);
    let kubelet = names.text(setup.kubelet);
    let own = match setup.proxy {
        kube_proxy::ProxyChoice::Configz(_)
        | kube_proxy::ProxyChoice::Pod(_, kube_proxy::Sure::Runs | kube_proxy::Sure::Stale) => {
            installed.proxies.choose(index, first, None)
        }
        ref shared => shared.clone(),
    };
    let settings = kube_proxy::ProxyInstallations::settings(index, &own, os, kubelet);
    let cilium = setup
        .cilium
        .as_ref()
        .and_then(|choice| installed.ciliums.settings(index, choice, kernel).transpose());
    let mut inputs = NodeInputs {
        os,
        kernel,
        kubelet_version: kubelet,
        kube_proxy: settings
            .as_ref()
            .map(|known| known.as_ref().map_err(Clone::clone)),
        cilium: cilium
            .as_ref()
            .map(|known: &Known<_>| known.as_ref().map_err(Clone::clone)),
        carrier: None,
        no_kube_proxy: matches!(
            setup.proxy,
            kube_proxy::ProxyChoice::Nothing | kube_proxy::ProxyChoice::Absent(_)
        ),
    };
    let carrier = setup.carrier.as_ref().and_then(|choice| {
        // That something carries Services decides who writes the kernel's timeouts, whatever they are.
        inputs.carrier = Some(Err(Gap::Opaque("not looked at yet".into())));
        carriers::carrier(index, choice, &tcp_established(&inputs)).transpose()
    });
    inputs.carrier = carrier.as_ref().map(|known| known.as_ref().map_err(Clone::clone));
    let mut profile = profile(&inputs);
    match &settings {
        Some(Err(Gap::Opaque(why))) => profile.notes.push(why.clone()),
        _ => profile.notes.extend(setup.proxy.note()),
    }
    if cilium.is_some() {
        profile.notes.extend(installed.ciliums.note(index));
    }
    profile
}

/// Whether a DaemonSet makes a Pod for a node, as far as its template and the node show. A fleet that was not read is
/// taken for Linux, and Windows has `DaemonSets` of its own.
fn covers(index: &Index, set: &DaemonSet, name: Name, node: Option<&Node>) -> bool {
    let placement = &set.template.placement;
    match node {
        Some(node) => placement.allows(name, node, &index.names),
        None => placement.asked_os(&index.names) != "windows",
    }
}

/// Kind and name of an object, for messages: `ConfigMap kube-system/kube-proxy`.
fn place(index: &Index, kind: &str, key: Key) -> String {
    format!("{kind} {}", index.show(key))
}

#[cfg(test)]
mod tests;
