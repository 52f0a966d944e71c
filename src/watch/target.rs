//! What is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_core::fleet::Wants;
use evenkeel_core::index::Part;
use evenkeel_core::know::Source;

use super::pace::{LONG, MINUTE, SHORT};
use crate::resources::{RESOURCES, Resource, SYSTEM, escape};

/// Label selectors watched one by one in a namespace; more are one watch of the namespace's Pods, so that thousands of
/// policies do not become thousands of connections.
const SELECTORS: usize = 4;

/// Watches of Pods in all. A connection each costs about 64 KiB here and more on the server.
const POD_TARGETS: usize = 256;

/// One collection, or a part of one, that is watched by a pump of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The source that its objects belong to.
    pub source: Source,
    /// The kind, where kinds share the source; else empty.
    pub kind: &'static str,
    /// The namespace that it is of; empty for all.
    pub namespace: String,
    /// The resource and its group, as an administrator knows it: `endpointslices.discovery.k8s.io`.
    pub resource: String,
    /// Paths of the collection, in the order in which to try them.
    pub paths: Vec<String>,
    /// Label selector; empty for all.
    pub labels: String,
    /// Field selector; empty for all.
    pub fields: String,
    /// Whether its silence has to be noticed within seconds.
    pub evidence: bool,
}

/// A target's number: never used twice, so that a late event of a stopped pump is known as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u32);

impl Target {
    fn of(resource: &Resource, namespace: &str) -> Self {
        Self {
            source: resource.source,
            kind: if resource.shares_source() {
                resource.kind.name
            } else {
                ""
            },
            namespace: namespace.to_owned(),
            resource: resource.name(),
            paths: resource.paths(namespace),
            labels: String::new(),
            fields: String::new(),
            evidence: resource.kind.evidence,
        }
    }

    /// The server time limit of its watches in good times, by how soon their silence has to be noticed: within seconds, within
    /// a minute where critical findings rest on what proxies and clients run, else by a bookmark that is missed.
    pub(super) fn limit(&self) -> Duration {
        match self.source {
            _ if self.evidence => SHORT,
            Source::Pods | Source::ConfigMaps | Source::DaemonSets => MINUTE,
            _ => LONG,
        }
    }

    /// Everything there is to watch while the core wants this.
    pub fn all(wants: &Wants) -> BTreeSet<Self> {
        let mut all: BTreeSet<_> = RESOURCES
            .iter()
            .filter(|resource| resource.is_whole())
            .map(|resource| Self::of(resource, ""))
            .collect();
        if let Some(resource) = Resource::wanted(Source::ConfigMaps) {
            all.extend(wants.config_maps.iter().map(|(namespace, name)| Self {
                fields: format!("metadata.name={name}"),
                ..Self::of(resource, namespace)
            }));
        }
        if let Some(resource) = Resource::wanted(Source::Events) {
            all.insert(Self {
                fields: about_evictions(),
                ..Self::of(resource, "")
            });
        }
        if let Some(resource) = Resource::wanted(Source::Pods) {
            all.extend(pods(resource, wants));
        }
        all
    }

    /// The part of its source that it fills, with others or alone.
    pub(super) fn part(&self) -> Part<&str> {
        match &*self.namespace {
            "" => Part::Whole,
            namespace => Part::Namespace(namespace),
        }
    }

    /// Whether other targets fill the same source.
    pub(super) fn shares(&self) -> bool {
        !self.kind.is_empty() || self.part() != Part::Whole
    }

    /// Whether its objects are about a moment, so that only new ones count: it needs no list, and servers keep no cache of
    /// it that could send bookmarks (`k8s.io/kubernetes`, `pkg/kubeapiserver/default_storage_factory_builder.go`).
    pub(super) fn passing(&self) -> bool {
        self.source == Source::Events
    }

    /// The part of a query that says which objects.
    pub(super) fn selection(&self) -> String {
        let mut query = String::new();
        for (name, value) in [("labelSelector", &self.labels), ("fieldSelector", &self.fields)] {
            if !value.is_empty() {
                query.extend(["&", name, "=", &escape(value)]);
            }
        }
        query
    }

    /// The first path with what is selected, for people.
    pub(super) fn show(&self) -> String {
        let path = self.paths.first().map_or("", String::as_str);
        let selected = [&self.labels, &self.fields].map(String::as_str).concat();
        if selected.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{selected}")
        }
    }
}

/// Reasons of Events that every start and every probe of a Pod brings: nearly all there are. A field selector has no
/// "or", so the few that are wanted are reached by leaving these out; the core takes no others.
const USUAL: [&str; 12] = [
    "Scheduled",
    "Pulling",
    "Pulled",
    "Created",
    "Started",
    "Killing",
    "BackOff",
    "Unhealthy",
    "Failed",
    "FailedScheduling",
    "FailedMount",
    "FailedCreatePodSandBox",
];

/// The Events of Pods without the usual ones. What can be selected by: `ToSelectableFields` of
/// `pkg/registry/core/event/strategy.go`.
fn about_evictions() -> String {
    USUAL
        .iter()
        .fold("involvedObject.kind=Pod".to_owned(), |fields, reason| {
            fields + ",reason!=" + reason
        })
}

/// The Pods that are wanted, by namespace and selector: never all of a cluster.
fn pods(resource: &Resource, wants: &Wants) -> Vec<Target> {
    let mut by_namespace: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (namespace, selector) in &wants.pods {
        // No namespace would be all namespaces.
        if !namespace.is_empty() {
            by_namespace.entry(namespace).or_default().insert(selector);
        }
    }
    let targets = by_namespace.into_iter().flat_map(|(namespace, selectors)| {
        // An empty selector selects whatever the others do.
        let merged = selectors.len() > SELECTORS || selectors.contains("");
        let selectors = if merged { BTreeSet::from([""]) } else { selectors };
        selectors.into_iter().map(move |selector| Target {
            labels: selector.to_owned(),
            ..Target::of(resource, namespace)
        })
    });
    targets.collect()
}

/// Drops the Pods beyond the limit; returns the namespaces of those that are not watched, and why. Those of the data plane
/// stay, however many selectors tenants declare.
pub(super) fn trim(targets: &mut BTreeSet<Target>) -> Option<(BTreeSet<String>, String)> {
    let (mut pods, mut dropped) = (0_usize, BTreeSet::new());
    targets.retain(|target| {
        if target.source != Source::Pods || target.namespace == SYSTEM {
            return true;
        }
        pods += 1;
        if pods > POD_TARGETS {
            dropped.insert(target.namespace.clone());
        }
        pods <= POD_TARGETS
    });
    let why = || {
        format!("policies select Pods in {pods} ways over all namespaces; at most {POD_TARGETS} are watched")
    };
    (pods > POD_TARGETS).then(|| (dropped, why()))
}
