//! The index: one typed table per kind. A row is what one source says of one object; joins are computed when judged,
//! never stored.

mod behind;
mod by_namespace;
mod crowds;
mod deps;
mod freshness;
mod policy_index;
mod ports;
mod secondary;
mod shares;
mod sockets;
mod sums;
mod table;
mod trust;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub use by_namespace::KeysByNamespace;
use crowds::Crowds;
pub(crate) use crowds::MOST_OPAQUE;
pub(crate) use deps::DepCounts;
pub use deps::{Dep, Deps};
use freshness::FreshnessTable;
pub use freshness::{Freshness, Part};
pub use policy_index::PolicyIndex;
pub use ports::PortEndpoints;
pub(crate) use shares::NamespaceShares;
pub(crate) use sums::place;
pub use sums::{NodeSums, NodeTally, ZoneKey};
pub use table::Table;
pub(crate) use table::Which;

use crate::know::{Gap, Known, Reads, Source};
use crate::names::{InUse, Key, Name, Names};
use crate::policy::{ClusterPolicy, Policy};
use crate::sample::Samples;
use crate::sources;
use crate::sources::service::Service;
use crate::sources::slice::{Endpoint, Slice};

/// Where a cluster runs what it is made of.
pub(crate) const SYSTEM: &str = "kube-system";

/// Sources of which a watch reads namespaces, selectors or single objects and never all: nobody may believe that
/// something is absent elsewhere.
pub(crate) const READ_BY_NAMESPACE: Reads = Reads::of(&[Source::Pods, Source::ConfigMaps]);

/// Of so many objects that were not understood the first by name is told; of more, one of them: each verdict that rests on
/// them looks for it.
const COMPARED: usize = 64;

/// One object that was seen but not understood.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opaque {
    /// Why not.
    pub why: Arc<str>,
    /// Where it was read, where its key does not say enough.
    pub place: Option<Arc<str>>,
    /// For an EndpointSlice the Service it belongs to; else empty.
    pub service: Name,
    /// Whether a list that has begun since may leave it out.
    pub(crate) unnamed: bool,
}

impl Opaque {
    /// Whether this, an EndpointSlice of that key, may hold endpoints of a Service: where it does not say which
    /// Service or namespace it is of, it may be of any.
    pub(crate) fn may_belong(&self, at: Key, service: Key) -> bool {
        (at.namespace == service.namespace || at.namespace.is_empty())
            && (self.service == service.name || self.service.is_empty())
    }
}

macro_rules! index {
    ($(
        $(#[$doc:meta])*
        $source:ident $text:literal
        $(row $row:ty => $table:ident, $changed:ident)?
        $(compiled $compiled:ty => $compiled_table:ident, $compiled_changed:ident)?
        $(of $kinds:expr)?;
    )*) => {
        /// Everything that is known of the cluster.
        #[derive(Debug, Default)]
        pub struct Index {
            /// Interned names.
            pub names: Names,
            $(
                $(pub(crate) $table: Table<$row>,)?
                $(pub(crate) $compiled_table: Table<$compiled>,)?
            )*
            /// The policy of the platform.
            pub(crate) cluster_policy: Option<Arc<ClusterPolicy>>,
            /// Whether a list that has begun since may leave it out.
            pub(crate) cluster_policy_unnamed: bool,
            /// `/configz` bodies by node name; the empty name when the node is not known.
            pub(crate) configz: BTreeMap<Name, Arc<str>>,
            /// `KubeProxyConfiguration` documents outside of any object, by where they were read.
            pub(crate) proxy_documents: BTreeMap<Arc<str>, Arc<str>>,
            /// Slices by (namespace, Service).
            pub(crate) slices_of: HashMap<Key, BTreeSet<Key>>,
            /// Services by namespace.
            pub(crate) services_in: KeysByNamespace,
            /// Pods by namespace.
            pub(crate) pods_in: KeysByNamespace,
            /// Policies by namespace.
            pub(crate) policies_in: KeysByNamespace,
            /// Pods of which a container was kept.
            components: BTreeSet<Key>,
            /// Sums over all Nodes.
            pub(crate) sums: NodeSums,
            /// Policies by what they may govern.
            pub(crate) picks: PolicyIndex,
            /// What was measured.
            pub(crate) samples: Samples,
            /// Objects that were not understood.
            pub(crate) opaque: BTreeMap<(Source, Key), Opaque>,
            /// Those beyond what is remembered of each.
            pub(crate) crowds: Crowds,
            freshness: FreshnessTable,
            /// What each namespace holds of what teams write.
            pub(crate) shares: NamespaceShares,
        }

        impl Index {
            /// Notes the names that tables and lists hold.
            pub(crate) fn hold(&self, held: &mut InUse) {
                $(
                    $(held.all(self.$table.iter());)?
                    $(held.all(self.$compiled_table.iter().map(|one| one.0));)?
                )*
                held.all(self.configz.keys());
                held.all(&self.slices_of);
                held.all(&self.components);
                held.all(self.opaque.iter().map(|(at, opaque)| (at.1, opaque.service)));
                self.crowds.hold(held);
                self.services_in.hold(held);
                self.pods_in.hold(held);
                self.policies_in.hold(held);
                self.sums.hold(held);
                self.picks.hold(held);
                self.freshness.hold(held);
                self.shares.hold(held);
                self.samples.hold(held);
                // Verdicts name connections and clients, and look them up by text.
                let policies = self.policies.iter().map(|one| one.1);
                for text in policies.flat_map(|policy| policy.names()) {
                    held.note(&self.names.find(text));
                }
            }

            /// How many rows a source has filled.
            pub fn rows(&self, source: Source) -> usize {
                match source {
                    Source::ClusterPolicy => usize::from(self.cluster_policy.is_some()),
                    Source::Configz => self.configz.len(),
                    // Counted, and not kept; kept by who acts.
                    Source::Events | Source::Remediations => 0,
                    $(
                        $(Source::$source => {
                            let table: &Table<$row> = &self.$table;
                            table.len()
                        })?
                        $(Source::$source => {
                            let table: &Table<$compiled> = &self.$compiled_table;
                            table.len()
                        })?
                    )*
                }
            }
        }

        $(
            $(impl InTable for $row {
                const SOURCE: Source = Source::$source;

                fn weight(&self, names: &Names) -> u32 {
                    shares::weigh(Self::SOURCE, self, names)
                }

                fn table(index: &mut Index) -> &mut Table<Self> {
                    &mut index.$table
                }
            })?
            $(impl InTable for $compiled {
                const SOURCE: Source = Source::$source;

                fn table(index: &mut Index) -> &mut Table<Self> {
                    &mut index.$compiled_table
                }
            })?
        )*
    };
}
crate::source::sources!(index);

/// What stands in a table of the index.
pub(crate) trait InTable: PartialEq + Sized {
    /// The source that such rows come from.
    const SOURCE: Source;

    /// The table.
    fn table(index: &mut Index) -> &mut Table<Self>;

    /// What it weighs in its namespace's share.
    fn weight(&self, _: &Names) -> u32 {
        0
    }
}

impl Index {
    /// How fresh a source is as a whole.
    pub fn freshness(&self, source: Source) -> &Freshness {
        self.freshness.of(source, Part::Whole)
    }

    /// How fresh a part of a source is.
    pub fn freshness_of(&self, source: Source, part: Part) -> &Freshness {
        self.freshness.of(source, part)
    }

    /// The parts of a source that were read, or failed, for themselves.
    pub fn parts(&self, source: Source) -> impl Iterator<Item = (Part, &Freshness)> {
        self.freshness.parts(source)
    }

    /// How fresh everything is that is read of a source: the worst of its entries.
    pub fn worst_freshness(&self, source: Source) -> &Freshness {
        let whole = self.freshness(source);
        let mut parts = self.parts(source).map(|one| one.1);
        match (whole, parts.next()) {
            (Freshness::Missing, Some(first)) => parts.fold(first, Freshness::worse),
            (whole, first) => first.into_iter().chain(parts).fold(whole, Freshness::worse),
        }
    }

    /// Sets how fresh a part of a source is; returns whether that is a change.
    pub(crate) fn set_freshness(&mut self, source: Source, part: Part, freshness: Freshness) -> bool {
        self.freshness.set(source, part, freshness)
    }

    /// What was measured.
    pub const fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The platform's policy, if there is one.
    pub fn cluster_policy(&self) -> Option<&ClusterPolicy> {
        self.cluster_policy.as_deref()
    }

    /// The gap that a source leaves for readers of the whole cluster, if any: about all of it, and of what is read
    /// by namespace about what the cluster itself runs.
    pub fn gap(&self, source: Source) -> Option<Gap> {
        if READ_BY_NAMESPACE.has(source) {
            return self.gap_in(source, self.names.find(SYSTEM).unwrap_or_default());
        }
        self.freshness(source).gap(source)
    }

    /// The gap of a source of which nothing can be judged: what files gave in part is judged as far as it goes.
    pub(crate) fn unread(&self, source: Source) -> Option<Gap> {
        self.gap(source).filter(|_| !self.is_partial(source))
    }

    /// Whether only some namespaces were given, and nobody says how it stands elsewhere.
    fn is_partial(&self, source: Source) -> bool {
        *self.freshness(source) == Freshness::Missing
            && self.parts(source).any(|one| *one.1 == Freshness::Complete)
    }

    /// The gap that a source leaves for readers of one namespace alone.
    pub fn gap_in(&self, source: Source, namespace: Name) -> Option<Gap> {
        let part = Part::Namespace(namespace);
        self.freshness_of(source, part).gap(source)
    }

    /// The gap that a source leaves for readers of one object alone: a namespace of which some objects are refused is
    /// none for those that were read.
    pub fn gap_at(&self, source: Source, key: Key) -> Option<Gap> {
        let part = Part::Object(key.namespace, key.name);
        let refused = || Some(self.refused(source, key, self.opaque.get(&(source, key))?));
        let crowd = || {
            let name = self.names.text(key.name);
            let is_one = self.crowds.holds(source, key.namespace, name);
            is_one.then(|| self.crowd(source, key.namespace)).flatten()
        };
        let gap = self.freshness_of(source, part).gap(source);
        gap.or_else(refused).or_else(crowd)
    }

    /// The gap that an object leaves which is in this namespace and was not understood.
    pub(crate) fn refused_in(&self, source: Source, namespace: Name) -> Option<Gap> {
        let own = self.opaque_in(source, namespace).take(COMPARED);
        let named = own.min_by_key(|(at, _)| self.names.text(at.1.name));
        let named = named.map(|(at, opaque)| self.refused(source, at.1, opaque));
        named.or_else(|| self.crowd(source, namespace))
    }

    /// The gap that more objects of a namespace leave than are remembered.
    fn crowd(&self, source: Source, namespace: Name) -> Option<Gap> {
        let count = self.crowds.count(source, namespace);
        (count > 0).then(|| {
            let namespace = self.names.text(namespace);
            let text = format!("{source}: more than {MOST_OPAQUE} objects of namespace {namespace} are not understood or not kept");
            Gap::Opaque(text.into())
        })
    }

    /// Objects of a namespace that were not understood.
    pub(crate) fn opaque_in(
        &self,
        source: Source,
        namespace: Name,
    ) -> impl Iterator<Item = (&(Source, Key), &Opaque)> {
        let first = Key {
            namespace,
            name: Name::EMPTY,
        };
        let all = self.opaque.range((source, first)..);
        all.take_while(move |(at, _)| at.0 == source && at.1.namespace == namespace)
    }

    fn refused(&self, source: Source, key: Key, opaque: &Opaque) -> Gap {
        Gap::Opaque(format!("{source} {}: {}", self.show(key), opaque.why).into())
    }

    /// The deduplicated endpoints of a Service, over all its slices and both families, by address.
    ///
    /// The same endpoint may stand in two slices for a moment; it counts once per address. A slice of that Service
    /// that was not understood makes the answer unknown.
    pub fn endpoints(&self, service: Key) -> Known<Cow<'_, [Endpoint]>> {
        if let Some(gap) = self.gap_in(Source::EndpointSlices, service.namespace) {
            return Err(gap);
        }
        // The control plane keeps a slice for every Service that selects Pods, if an empty one: where only a part was read,
        // a Service without any is one whose slice is in the other part.
        if !self.slices_of.contains_key(&service) && self.is_partial(Source::EndpointSlices) {
            return Err(Gap::Missing(Source::EndpointSlices));
        }
        if let Some(gap) = self.crowd(Source::EndpointSlices, service.namespace) {
            return Err(gap);
        }
        // Those that do not say their namespace may be of any.
        let lost = [Name::EMPTY, service.namespace].into_iter();
        let lost = lost
            .flat_map(|namespace| self.opaque_in(Source::EndpointSlices, namespace))
            .filter(|(at, opaque)| opaque.may_belong(at.1, service))
            .take(COMPARED)
            .min_by_key(|(at, _)| self.names.text(at.1.name));
        if let Some((at, opaque)) = lost {
            let name = self.names.text(at.1.name);
            return Err(Gap::Opaque(
                format!("EndpointSlice {name}: {}", opaque.why).into(),
            ));
        }
        let mut slices = self
            .slices_of
            .get(&service)
            .into_iter()
            .flatten()
            .filter_map(|key| self.slices.get(*key));
        let (Some(first), second) = (slices.next(), slices.next()) else {
            return Ok(Cow::Borrowed(&[]));
        };
        // Rows are sorted by address: the usual Service, of one slice, needs no work at all.
        let each_once = |slice: &Slice| slice.endpoints.is_sorted_by(|a, b| a.address < b.address);
        let Some(second) = second else {
            return Ok(if each_once(first) {
                Cow::Borrowed(&first.endpoints)
            } else {
                Cow::Owned(self.merge([first].into_iter()))
            });
        };
        Ok(Cow::Owned(self.merge([first, second].into_iter().chain(slices))))
    }

    fn merge<'a>(&self, slices: impl Iterator<Item = &'a Slice>) -> Vec<Endpoint> {
        let mut seen = BTreeMap::new();
        for endpoint in slices.flat_map(|slice| &slice.endpoints) {
            // Two slices may disagree for a moment; the usable one wins, whatever order they came in.
            let held = seen.entry(endpoint.address).or_insert(*endpoint);
            if self.rank(endpoint) > self.rank(held) {
                *held = *endpoint;
            }
        }
        seen.into_values().collect()
    }

    /// How useful an endpoint's word is: ready over serving over neither, with an order of texts behind it that does
    /// not depend on who came first.
    fn rank(&self, endpoint: &Endpoint) -> (bool, bool, bool, [&str; 4]) {
        let text = |name| self.names.text(name);
        (
            endpoint.ready,
            endpoint.serving,
            !endpoint.terminating,
            [
                text(endpoint.node),
                text(endpoint.zone),
                text(endpoint.hint),
                text(endpoint.node_hint),
            ],
        )
    }

    /// The policies that govern a Service, by name.
    pub fn policies_of(&self, key: Key, service: &Service) -> Vec<(Key, &Arc<Policy>)> {
        let mut found: Vec<_> = self
            .picks
            .candidates(key, service)
            .into_iter()
            .filter_map(|at| Some((at, self.policies.get(at)?)))
            .filter(|(_, policy)| self.governs(policy, key, service))
            .collect();
        found.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        found
    }

    /// Whether any policy governs a Service.
    pub(crate) fn is_governed(&self, key: Key, service: &Service) -> bool {
        let mut policies = self.picks.may_govern(key, service);
        policies.any(|at| {
            self.policies
                .get(at)
                .is_some_and(|one| self.governs(one, key, service))
        })
    }

    /// Longest time that an exception may last, in days, where the platform says so.
    pub fn max_exception_days(&self) -> Option<u32> {
        self.cluster_policy.as_ref()?.max_exception_days
    }

    /// Whether a policy of the Service's namespace governs it.
    pub(crate) fn governs(&self, policy: &Policy, key: Key, service: &Service) -> bool {
        match &policy.services {
            crate::policy::ServicePick::Names(list) => {
                let name = self.names.text(key.name);
                list.iter().any(|one| &**one == name)
            }
            crate::policy::ServicePick::Selector(selector) => {
                sources::selects(selector, &service.labels, &self.names)
            }
        }
    }

    /// Objects that were seen but not understood.
    pub fn opaque_objects(&self) -> impl Iterator<Item = (Source, Key, &Opaque)> {
        self.opaque.iter().map(|(at, opaque)| (at.0, at.1, opaque))
    }

    /// `namespace/name`, or the name alone for what has no namespace.
    pub fn show(&self, key: Key) -> String {
        let name = self.names.text(key.name);
        if key.namespace.is_empty() {
            name.into()
        } else {
            format!("{}/{name}", self.names.text(key.namespace))
        }
    }
}
