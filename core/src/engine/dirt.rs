//! What has changed since the last round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::index::{Dep, Deps, Freshness, Index, Part};
use crate::judge::{Dependencies, Gaps};
use crate::know::{Reads, Source};
use crate::names::{InUse, Key, Name};
use crate::policy::Policy;

/// What has changed since the last round. Inputs are noted as they come and looked at once, when judging begins: a
/// namespace may gain a thousand policies in between.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Dirt {
    /// Services that came, changed or went.
    pub(crate) services: BTreeSet<Key>,
    /// Services that were refused, or that are no longer.
    pub(crate) refused_services: BTreeSet<Key>,
    /// Services of which the endpoints changed.
    pub(crate) slices: BTreeSet<Key>,
    /// Namespaces in which a slice that was not understood came or went, the empty name for one that may be of any: it may be
    /// of a Service that does not exist.
    pub(crate) opaque_slices: BTreeSet<Name>,
    /// Teams' policies that came, changed, went or were refused.
    pub(crate) policies: BTreeSet<Key>,
    /// What those that are or were understood say, before and after.
    pub(crate) governing: Vec<(Key, Arc<Policy>)>,
    /// What was seen to change, as far as it concerns more than one Service.
    pub(crate) history: Deps,
    /// Namespaces of which Pods changed, or what makes Pods.
    pub(crate) pods_in: BTreeSet<Name>,
    /// Nodes that came, changed or went.
    pub(crate) nodes: BTreeSet<Name>,
    /// Nodes that Pods were evicted from.
    pub(crate) evicted_from: BTreeSet<Name>,
    /// Nodes that were measured.
    pub(crate) measured_nodes: BTreeSet<Name>,
    /// Services of which backends were measured.
    pub(crate) measured_services: BTreeSet<Key>,
    /// Workloads of which Pods were preempted.
    pub(crate) workloads: BTreeSet<Key>,
    /// Zones of which Nodes came, went, fell ill or recovered.
    pub(crate) zones: BTreeSet<Name>,
    /// Webhook configurations that came, changed or went.
    pub(crate) webhooks: BTreeSet<Key>,
    /// Whole sources, and what is derived from many rows.
    pub(crate) deps: Deps,
    /// Parts of sources that became fresh, or no longer are.
    pub(crate) parts: BTreeSet<(Source, Part)>,
    /// The parts that readers of these depend on.
    pub(crate) freshness: BTreeSet<(Source, Part)>,
    /// Everything: the first round.
    pub(crate) all: bool,
}

/// How many changed policies of a namespace are matched with its Services one by one; with more, all are counted anew.
pub(crate) const MATCHED: usize = 32;

impl Dirt {
    /// The endpoints of the Service itself.
    pub(super) const SLICES: Deps = Deps::of(Reads::of(&[Source::EndpointSlices]));
    /// What was seen to change.
    pub(crate) const HISTORY: Deps = Deps::one(Dep::History);
    /// Evictions and preemptions that were seen.
    pub(crate) const PAST_EVENTS: Deps = Deps::one(Dep::PastEvents);
    /// Pods of the Service's own namespace.
    pub(super) const OWN_PODS: Deps = Deps::one(Dep::OwnPods);
    /// The Node, zone or webhook configuration itself.
    pub(super) const OWN: Deps = Deps::one(Dep::Own);
    /// What was measured on the Node or Service itself.
    pub(super) const OWN_SAMPLES: Deps = Deps::one(Dep::OwnSamples);
    /// What was seen of the Node or zone itself.
    pub(super) const OWN_HISTORY: Deps = Deps::one(Dep::OwnHistory);

    /// Notes the names that it holds.
    pub(crate) fn hold(&self, held: &mut InUse) {
        let Self {
            services,
            refused_services,
            slices,
            opaque_slices,
            policies,
            governing,
            history: _,
            pods_in,
            nodes,
            evicted_from,
            measured_nodes,
            measured_services,
            workloads,
            zones,
            webhooks,
            deps: _,
            parts,
            freshness,
            all: _,
        } = self;
        for keys in [services, refused_services, slices, policies, webhooks] {
            held.note(keys);
        }
        for keys in [workloads, measured_services] {
            held.note(keys);
        }
        for names in [opaque_slices, pods_in, nodes, evicted_from, measured_nodes, zones] {
            held.note(names);
        }
        held.all(governing.iter().map(|one| one.0));
        held.all(parts.iter().chain(freshness).map(|one| one.1));
    }

    /// Whether nothing has changed.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether exceptions may end at other times than before.
    pub(crate) fn moves_exceptions(&self) -> bool {
        self.all || !self.governing.is_empty() || self.platform()
    }

    /// Whether the platform's policy is another than before.
    pub(crate) fn platform(&self) -> bool {
        self.deps.meets(Deps::of(Reads::of(&[Source::ClusterPolicy])))
    }

    /// The policies that came, changed or went, with what they said and say.
    pub(super) fn versions(&self) -> BTreeMap<Key, Vec<&Policy>> {
        let mut versions: BTreeMap<Key, Vec<&Policy>> = BTreeMap::new();
        for (key, policy) in &self.governing {
            versions.entry(*key).or_default().push(policy);
        }
        versions
    }

    /// Whether a gap that opened or closed concerns what read so much, at home in this namespace.
    pub(super) fn blinds(&self, gaps: Gaps, home: Option<Name>) -> bool {
        self.freshness.iter().any(|(source, part)| match part {
            Part::Whole => gaps.whole.with(gaps.own).has(*source),
            Part::Namespace(name) | Part::Object(name, _) => gaps.own.has(*source) && home == Some(*name),
        })
    }

    /// A source of which some part is no longer read.
    pub(super) fn lost(&self, index: &Index) -> Option<Source> {
        let lost =
            |(source, part): &&(Source, Part)| *index.freshness_of(*source, *part) != Freshness::Complete;
        self.parts.iter().find(lost).map(|one| one.0)
    }

    /// Whether what a verdict depends on beyond its own unit has changed.
    pub(super) fn touches(&self, deps: &Dependencies) -> bool {
        let changed = |key: &Key| self.services.contains(key) || self.slices.contains(key);
        let lost = |key: &Key| {
            let of = [key.namespace, Name::EMPTY];
            of.iter().any(|namespace| self.opaque_slices.contains(namespace))
        };
        deps.services.iter().any(changed)
            || deps.pods_in.iter().any(|space| self.pods_in.contains(space))
            || (!self.opaque_slices.is_empty() && deps.services.iter().any(lost))
            || self.freshness.iter().any(|(source, part)| match part {
                Part::Namespace(name) | Part::Object(name, _) => deps.gaps_in.contains(&(*source, *name)),
                Part::Whole => deps.gaps_in.iter().any(|(other, _)| other == source),
            })
    }
}
