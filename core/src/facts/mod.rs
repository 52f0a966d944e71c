//! The effective data plane of the whole fleet, derived from rows: which nodes share which [`Profile`].
//!
//! A node's class is what its profile depends on: operating system, kernel, versions, the kube-proxy that runs there
//! and the Cilium settings that select it. Thousands of nodes fall into a handful of classes, and paths are judged by
//! class.

mod balancer;
mod cilium;
mod kube_proxy;
mod wants;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use balancer::balancer_idle;
pub use wants::Wants;

use crate::dataplane::Profile;
use crate::dataplane::profile::{NodeInputs, profile};
use crate::index::Index;
use crate::know::{Gap, Known, Source};
use crate::names::{Key, Name};
use crate::sources::node::Node;

/// Nodes of equal settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// What they do.
    pub profile: Profile,
    /// How many there are; 0 when nodes were not read and the configuration stands alone.
    pub nodes: u32,
    /// Names of the first few, sorted.
    pub sample: Vec<Arc<str>>,
}

/// The fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    /// Classes of nodes, the most numerous first.
    pub classes: Vec<Class>,
    /// Why nothing is known, where that is so.
    pub gap: Option<Gap>,
    /// Class of each node.
    pub class_of: HashMap<Name, u32>,
}

/// How many node names a class shows.
const SAMPLE: usize = 3;

/// What a node's profile depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Traits {
    os: Name,
    kernel: Name,
    kubelet: Name,
    proxy: kube_proxy::Choice,
    cilium: Option<cilium::Choice>,
}

impl Fleet {
    /// Derives the fleet.
    pub(crate) fn derive(index: &Index) -> Self {
        let proxies = kube_proxy::Installations::find(index);
        let ciliums = cilium::Installations::find(index);
        let mut members: BTreeMap<Traits, Vec<Name>> = BTreeMap::new();
        match index.gap(Source::Nodes) {
            None => {
                for (key, node) in index.nodes.iter() {
                    let traits = traits(index, key.name, Some(node), &proxies, &ciliums);
                    members.entry(traits).or_default().push(key.name);
                }
            }
            Some(gap) if !proxies.any() && !ciliums.any() => {
                return Self {
                    gap: Some(gap),
                    ..Self::default()
                };
            }
            Some(_) => {
                members.insert(traits(index, Name::EMPTY, None, &proxies, &ciliums), Vec::new());
            }
        }
        let mut classes: Vec<(Class, Vec<Name>)> = members
            .into_iter()
            .map(|(traits, nodes)| (class(index, &traits, &nodes, &proxies, &ciliums), nodes))
            .collect();
        classes.sort_by(|a, b| (b.0.nodes, &a.0.sample).cmp(&(a.0.nodes, &b.0.sample)));
        let mut fleet = Self::default();
        for (at, (class, nodes)) in classes.into_iter().enumerate() {
            fleet
                .class_of
                .extend(nodes.into_iter().map(|node| (node, at as u32)));
            fleet.classes.push(class);
        }
        fleet
    }

    /// The class of a node; `None` for a node that is not in the index.
    pub fn class(&self, node: Name) -> Option<&Class> {
        self.class_of
            .get(&node)
            .and_then(|at| self.classes.get(*at as usize))
    }
}

fn traits(
    index: &Index,
    name: Name,
    node: Option<&Node>,
    proxies: &kube_proxy::Installations<'_>,
    ciliums: &cilium::Installations<'_>,
) -> Traits {
    Traits {
        os: node.map_or(Name::EMPTY, |node| node.os),
        kernel: node.map_or(Name::EMPTY, |node| node.kernel),
        kubelet: node.map_or(Name::EMPTY, |node| node.kubelet),
        proxy: proxies.choose(index, name, node),
        cilium: ciliums.choose(index, node),
    }
}

fn class(
    index: &Index,
    traits: &Traits,
    nodes: &[Name],
    proxies: &kube_proxy::Installations<'_>,
    ciliums: &cilium::Installations<'_>,
) -> Class {
    let names = &index.names;
    // Nodes that were not read are taken for Linux: the kube-proxy configuration of Windows is another document.
    let os = if traits.os.is_empty() {
        "linux"
    } else {
        names.text(traits.os)
    };
    let kernel = names.text(traits.kernel);
    let kubelet = names.text(traits.kubelet);
    let settings = proxies.settings(index, &traits.proxy, os, kubelet);
    let cilium = traits
        .cilium
        .as_ref()
        .map(|choice| ciliums.settings(index, choice, kernel));
    let mut profile = profile(&NodeInputs {
        os,
        kernel,
        kubelet_version: kubelet,
        kube_proxy: settings
            .as_ref()
            .map(|known| known.as_ref().map_err(Clone::clone)),
        cilium: cilium
            .as_ref()
            .map(|known: &Known<_>| known.as_ref().map_err(Clone::clone)),
        other: other(index).filter(|_| settings.is_none() && cilium.is_none()),
    });
    profile.notes.extend(traits.proxy.note());
    let mut sample: Vec<Arc<str>> = nodes.iter().map(|name| names.shared(*name)).collect();
    sample.sort();
    sample.truncate(SAMPLE);
    Class {
        profile,
        nodes: nodes.len() as u32,
        sample,
    }
}

/// Another product that implements Services: OVN-Kubernetes, by its DaemonSet.
fn other(index: &Index) -> Option<&'static str> {
    let ovn = index
        .daemon_sets
        .iter()
        .any(|(key, _)| index.names.text(key.name).starts_with("ovnkube-node"));
    ovn.then_some("OVN-Kubernetes")
}

/// The tag's or name's own words of an object: `ConfigMap kube-system/kube-proxy`.
fn place(index: &Index, kind: &str, key: Key) -> String {
    format!("{kind} {}", index.show(key))
}
