//! The kube-proxy Pods, and what each runs with.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::container::{config_map_of, container_of};
use super::{ProxyChoice, Sure};
use crate::dataplane::kube_proxy::command_line;
use crate::index::Index;
use crate::names::{Key, Name, Names};
use crate::sources::workload::{ConfigVolume, Pod, Template};

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
    mounts: Vec<&'a (Arc<str>, Name)>,
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
            // Every Pod is given a mount of its own for the token of its ServiceAccount, which no template has
            // (`plugin/pkg/admission/serviceaccount`).
            mounts: container
                .mounts
                .iter()
                .filter(|(_, volume)| template.volumes.iter().any(|one| one.name == *volume))
                .collect(),
            volumes: &template.volumes,
        })
    }
}

/// Whether a kube-proxy of one template is configured as one of another of the same namespace; `None` where one of them
/// runs none.
pub(crate) fn is_alike(names: &Names, namespace: Name, one: &Template, other: &Template) -> Option<bool> {
    Some(Orders::of(names, namespace, one)? == Orders::of(names, namespace, other)?)
}

/// The key of the DaemonSet that made a Pod.
pub(crate) fn made_by(names: &Names, key: Key, pod: &Pod) -> Option<Key> {
    (names.text(pod.owner_kind) == "DaemonSet").then_some(Key {
        namespace: key.namespace,
        name: pod.owner,
    })
}

/// The kube-proxy Pods by node, each with the one that stands for all of the same configuration.
///
/// Of two on one node (an old one that was not removed, or a mirror that outlived its manifest) the ready one
/// counts, of two such the one that started later, of two such the first by name.
///
/// A Pod configured as its DaemonSet says now is cited by that, which is where people change it; another stands for
/// itself: with `updateStrategy: OnDelete`, or in the middle of a roll-out, what runs is not what the template says.
pub(super) fn pods_by_node(index: &Index) -> BTreeMap<Name, (Key, ProxyChoice)> {
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
    let mut first: HashMap<(Orders<'_>, Sure), ProxyChoice> = HashMap::new();
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
            (Orders::of(names, set.namespace, template)? == orders)
                .then_some(ProxyChoice::DaemonSet(set, sure))
        };
        let choice = of_set().unwrap_or(ProxyChoice::Pod(*key, sure));
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
