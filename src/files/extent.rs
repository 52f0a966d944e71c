//! How much of a kind was given: absence is a fact only where the list that would hold the object was read as a whole.
//!
//! A pile of objects shows what somebody took, which may be one namespace, or one Service. What proves more:
//!
//! - a list with objects of several namespaces: `kubectl get` reads one namespace or all of them;
//! - an explicit empty list, where it is the only one of its kind: several are those of several namespaces, as
//!   `kubectl cluster-info dump` and `must-gather` write them;
//! - a folder that `collect` wrote, which says what it could not read.
//!
//! Kinds without a namespace are read as a whole or not at all. What configures the data plane lives where clusters run
//! it, so there it is enough that such a namespace was read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::{Now, Source};
use evenkeel_core::{Core, Input};

use super::head::{each_item, namespace};
use super::refused::Refused;

/// How much was given of every source.
#[derive(Debug, Default)]
pub(super) struct Given {
    extents: BTreeMap<Source, Extent>,
    /// Folders that `collect` wrote: their lists are whole.
    pub(super) collected: BTreeSet<PathBuf>,
    /// Sources of which a part was lost, and the first place where.
    torn: BTreeMap<Source, String>,
    /// Sources that could not be read when the files were made.
    pub(super) refused: Vec<Refused>,
}

impl Given {
    /// A source of which an object or a list is there.
    pub(super) fn see(&mut self, core: &mut Core, source: Source) -> &mut Extent {
        self.extents.entry(source).or_insert_with(|| {
            core.handle(Now::ONCE, Input::Begin(source));
            Extent::default()
        })
    }

    /// A part of a source was lost.
    pub(super) fn tear(&mut self, source: Source, why: impl FnOnce() -> String) {
        self.torn.entry(source).or_insert_with(why);
    }

    /// Whether there was no list and nothing that says what was refused.
    pub(super) fn is_nothing(&self) -> bool {
        self.refused.is_empty() && self.extents.values().all(|extent| extent.lists.is_empty())
    }

    /// Tells the core which sources are complete, and which are not although they were seen. Returns those of which a part
    /// was lost with a document that could not be read.
    pub(super) fn finish(self, core: &mut Core) -> BTreeSet<Source> {
        let mut tell = |input: Input<'_>| core.handle(Now::ONCE, input);
        for (source, extent) in &self.extents {
            if extent.is_whole(*source, &self.collected) {
                tell(Input::Synced(*source));
            } else {
                for namespace in &extent.namespaces {
                    let part = Part::Namespace(namespace.as_str());
                    tell(Input::Freshness(*source, part, Freshness::Complete));
                }
            }
        }
        for (source, why) in &self.torn {
            let torn = Freshness::unreadable(why);
            tell(Input::Freshness(*source, Part::Whole, torn));
        }
        let mut torn: BTreeSet<Source> = self.torn.into_keys().collect();
        for entry in &self.refused {
            let source = entry.source;
            if !entry.read_in.is_empty() {
                tell(Input::Synced(source));
            }
            let refused = Freshness::unreadable(&entry.reason);
            tell(Input::Freshness(source, Part::Whole, refused));
            torn.remove(&source);
            for namespace in &entry.read_in {
                let part = Part::Namespace(namespace.as_str());
                tell(Input::Freshness(source, part, Freshness::Complete));
            }
        }
        torn
    }
}

/// What was seen of a source.
#[derive(Debug, Default)]
pub(super) struct Extent {
    /// Namespaces of its objects.
    pub(super) namespaces: BTreeSet<String>,
    /// Whether a list that spans several namespaces held one of its objects.
    pub(super) spans: bool,
    /// The folders of the lists that were of this kind alone.
    pub(super) lists: Vec<PathBuf>,
}

impl Extent {
    /// Whether every object of the source was given; `collected` are the folders that `collect` wrote.
    pub(super) fn is_whole(&self, source: Source, collected: &BTreeSet<PathBuf>) -> bool {
        let namespaced = source.kinds().iter().any(|kind| kind.namespaced);
        !namespaced
            || matches!(source, Source::Policies | Source::ClusterPolicy)
            || self.spans
            || (self.namespaces.is_empty() && self.lists.len() == 1)
            || self.lists.iter().any(|folder| collected.contains(folder))
            || (is_of_platform(source) && self.namespaces.iter().any(|name| is_home(name)))
    }
}

/// Whether what counts of a source lives where clusters run their data plane.
const fn is_of_platform(source: Source) -> bool {
    matches!(
        source,
        Source::DaemonSets
            | Source::Deployments
            | Source::ConfigMaps
            | Source::CiliumNodeConfigs
            | Source::L2Advertisements
    )
}

/// How the namespaces begin in which kube-proxy, network plugins and DNS are installed by their makers: kubeadm and most
/// distributions, OpenShift, Cilium, Calico (manifest and operator), Antrea, `MetalLB`.
const HOMES: [&str; 7] = [
    "kube-",
    "openshift-",
    "cilium",
    "calico-",
    "tigera-",
    "antrea",
    "metallb",
];

fn is_home(namespace: &str) -> bool {
    HOMES.iter().any(|home| namespace.starts_with(home))
}

/// Whether the items of a list, in JSON, are of several namespaces.
pub(super) fn spans(items: &str) -> bool {
    let (mut first, mut several) = (None, false);
    each_item(items, |_, item| {
        if several {
            return;
        }
        if let Some(namespace) = namespace(item) {
            several = first.get_or_insert_with(|| namespace.clone()) != &namespace;
        }
    });
    several
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn extent(namespaces: &[&str], spans: bool, lists: &[&str]) -> Extent {
        Extent {
            namespaces: namespaces.iter().map(ToString::to_string).collect(),
            spans,
            lists: lists.iter().map(PathBuf::from).collect(),
        }
    }

    #[rstest]
    #[case::a_pile(Source::EndpointSlices, extent(&["shop", "kube-system"], false, &[]), false)]
    #[case::a_list_of_all(Source::EndpointSlices, extent(&["shop", "kube-system"], true, &[]), true)]
    #[case::a_list_of_one_namespace(Source::EndpointSlices, extent(&["shop"], false, &["a"]), false)]
    #[case::an_empty_list(Source::EndpointSlices, extent(&[], false, &["a"]), true)]
    #[case::empty_lists_of_several_namespaces(Source::EndpointSlices, extent(&[], false, &["a", "b"]), false)]
    #[case::a_collected_list(Source::EndpointSlices, extent(&["shop"], false, &["collected"]), true)]
    #[case::without_namespaces(Source::Nodes, extent(&[""], false, &[]), true)]
    #[case::where_the_data_plane_lives(Source::DaemonSets, extent(&["kube-system"], false, &[]), true)]
    #[case::where_a_team_lives(Source::DaemonSets, extent(&["orders"], false, &[]), false)]
    fn what_is_whole(#[case] source: Source, #[case] extent: Extent, #[case] whole: bool) {
        assert_eq!(
            extent.is_whole(source, &BTreeSet::from([PathBuf::from("collected")])),
            whole
        );
    }

    #[test]
    fn several_namespaces_differ_from_one() {
        let item = |namespace: &str| json!({"metadata": {"name": "a", "namespace": namespace}});
        let several = json!([item("a"), {"metadata": {"name": "n1"}}, item("b")]);
        assert!(spans(&several.to_string()));
        let one = json!([item("a"), item("a"), 7, item(""), {"metadata": {"namespace": 7}}]);
        assert!(!spans(&one.to_string()));
    }
}
