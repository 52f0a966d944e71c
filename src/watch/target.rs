//! What is watched.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use evenkeel_core::checks;
use evenkeel_core::fleet::Wants;
use evenkeel_core::index::Part;
use evenkeel_core::know::{Reads, Source};
use evenkeel_core::policy::Selector;

use super::pace::{LONG, MINUTE, SHORT};
use crate::resources::{RESOURCES, Resource, escape};

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
    /// The only object that is watched, by name; empty for all.
    pub name: String,
    /// Whether its silence has to be noticed within seconds.
    pub evidence: bool,
    /// Whether it is a tenant's: only policies of its own namespace rest on it.
    pub tenant: bool,
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
            name: String::new(),
            evidence: resource.kind.evidence,
            tenant: false,
        }
    }

    /// The server time limit of its watches in good times, by how soon their silence has to be noticed: within seconds, within
    /// a minute where critical findings rest on them, else by a bookmark that is missed. Of tenants there may be a thousand, and a
    /// watch that ends each minute is a request each minute: they have the short limit only where a critical finding
    /// rests on their Pods now.
    pub(super) fn limit(&self, urgent: &BTreeSet<Arc<str>>) -> Duration {
        static UNDER_CRITICAL: LazyLock<Reads> = LazyLock::new(checks::under_critical);
        match self.source {
            _ if self.evidence => SHORT,
            // They come without bookmarks: only the end of a watch proves anything.
            Source::Events => LONG,
            _ if self.tenant && !urgent.contains(&*self.namespace) => LONG,
            source if UNDER_CRITICAL.has(source) => MINUTE,
            _ => LONG,
        }
    }

    /// Everything there is to watch while the core wants this, but Pods, of which [`super::pods::PodWatches`] says how.
    pub(super) fn but_pods(wants: &Wants) -> BTreeSet<Self> {
        let mut all: BTreeSet<_> = RESOURCES
            .iter()
            .filter(|resource| resource.is_whole())
            .map(|resource| Self::of(resource, ""))
            .collect();
        if let Some(resource) = Resource::wanted(Source::ConfigMaps) {
            for (namespace, wanted) in &wants.config_maps {
                all.extend(wanted.names.iter().map(|name| Self {
                    name: name.to_string(),
                    ..Self::of(resource, namespace)
                }));
            }
        }
        if let Some(resource) = Resource::wanted(Source::Events) {
            all.insert(Self {
                fields: about_evictions(),
                ..Self::of(resource, "")
            });
        }
        all
    }

    /// The ledger, in the operator's namespace.
    pub(super) fn ledger(namespace: &str) -> Option<Self> {
        let resource = Resource::wanted(Source::Remediations).filter(|_| !namespace.is_empty())?;
        Some(Self::of(resource, namespace))
    }

    /// Pods of a namespace, the platform's or a tenant's, by selector; all of them by an empty one.
    pub(super) fn pods(namespace: &str, selector: &Selector, tenant: bool) -> Option<Self> {
        // No namespace would be all namespaces.
        let resource = Resource::wanted(Source::Pods).filter(|_| !namespace.is_empty())?;
        Some(Self {
            labels: selector.to_string(),
            tenant,
            ..Self::of(resource, namespace)
        })
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
        let fields = self.field_selector();
        for (name, value) in [("labelSelector", &*self.labels), ("fieldSelector", &*fields)] {
            if !value.is_empty() {
                query.extend(["&", name, "=", &escape(value)]);
            }
        }
        query
    }

    fn field_selector(&self) -> Cow<'_, str> {
        if self.name.is_empty() {
            Cow::Borrowed(&self.fields)
        } else {
            Cow::Owned(format!("metadata.name={}", self.name))
        }
    }

    /// The first path with what is selected, for people.
    pub(super) fn show(&self) -> String {
        let path = self.paths.first().map_or("", String::as_str);
        let selected = [self.labels.as_str(), &*self.field_selector()].concat();
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
