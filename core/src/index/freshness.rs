//! Whether what is known can be built on: kept for each source, and for each part of it that is read or can fail alone.
//!
//! The same words hold from the watch to the verdict. A part has its own entry; without one, that of the whole
//! source speaks for it. So a namespace that was refused is a gap in that namespace only, and a source that is read in
//! some namespaces only is never taken for complete elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::know::{Gap, Source};
use crate::names::{InUse, Name};

/// Whether a source, or a part of it, can be built on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Freshness {
    /// It was not read: that an object is not there says nothing.
    #[default]
    Missing,
    /// It was read completely, and nothing can have been missed since.
    Complete,
    /// It was complete; its last sign of life is too old.
    Stale,
    /// It was refused or failed, and why.
    Unreadable(Arc<str>),
}

impl Freshness {
    /// Why it could not be read.
    pub fn unreadable(why: &str) -> Self {
        Self::Unreadable(why.into())
    }

    /// The gap that it leaves in this source, if any.
    pub fn gap(&self, source: Source) -> Option<Gap> {
        match self {
            Self::Complete => None,
            Self::Missing => Some(Gap::Missing(source)),
            Self::Stale => Some(Gap::Stale(source)),
            Self::Unreadable(why) => Some(Gap::Unreadable(source, why.clone())),
        }
    }

    /// What holds of two halves together: the worse of both.
    pub fn worse<'a>(&'a self, other: &'a Self) -> &'a Self {
        let rank = |one: &Self| match one {
            Self::Complete => 0,
            Self::Stale => 1,
            Self::Missing => 2,
            Self::Unreadable(_) => 3,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// A part of a source that is read, and can fail, alone. `N` is how it is named: a text at the door, a [`Name`] inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part<N = Name> {
    /// All of it, except the parts that have an entry of their own.
    Whole,
    /// The objects of one namespace, except those that have an entry of their own.
    Namespace(N),
    /// One object, by namespace and name, of a source that is read object by object.
    Object(N, N),
}

impl<N> Part<N> {
    /// The same part by another form of its name.
    pub fn map<M>(self, mut to: impl FnMut(N) -> M) -> Part<M> {
        match self {
            Self::Whole => Part::Whole,
            Self::Namespace(name) => Part::Namespace(to(name)),
            Self::Object(namespace, name) => Part::Object(to(namespace), to(name)),
        }
    }
}

/// How fresh every source and every part with an entry is.
#[derive(Debug, Default)]
pub(super) struct FreshnessTable(BTreeMap<(Source, Part), Freshness>);

impl FreshnessTable {
    /// How fresh a part is: its own entry, else that of what it is a part of.
    pub(super) fn of(&self, source: Source, part: Part) -> &Freshness {
        static MISSING: Freshness = Freshness::Missing;
        let at = |part| self.0.get(&(source, part));
        let namespace = || match part {
            Part::Object(namespace, _) => at(Part::Namespace(namespace)),
            Part::Whole | Part::Namespace(_) => None,
        };
        let own = at(part).or_else(namespace).or_else(|| at(Part::Whole));
        own.unwrap_or(&MISSING)
    }

    /// Sets how fresh a part is; returns whether that is a change. [`Freshness::Missing`] removes its entry.
    pub(super) fn set(&mut self, source: Source, part: Part, freshness: Freshness) -> bool {
        if freshness == Freshness::Missing {
            return self.0.remove(&(source, part)).is_some();
        }
        self.0.insert((source, part), freshness.clone()) != Some(freshness)
    }

    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.0.keys().map(|at| at.1));
    }

    /// The parts of a source that have an entry, without the whole and without single objects, which their namespaces
    /// speak for.
    pub(super) fn parts(&self, source: Source) -> impl Iterator<Item = (Part, &Freshness)> {
        let all = self.0.range((source, Part::Whole)..);
        all.take_while(move |(at, _)| at.0 == source)
            .map(|(at, freshness)| (at.1, freshness))
            .filter(|(part, _)| matches!(part, Part::Namespace(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::READ_BY_NAMESPACE;
    use crate::know::Reads;
    use crate::sources::kind::Extent;
    use rstest::rstest;

    const SOURCE: Source = Source::Pods;
    const STALE: Freshness = Freshness::Stale;
    const COMPLETE: Freshness = Freshness::Complete;

    #[rstest]
    #[case::nothing_said(&[], Freshness::Missing, Freshness::Missing)]
    #[case::the_whole_speaks(&[(Part::Whole, COMPLETE)], COMPLETE, COMPLETE)]
    #[case::a_part_is_worse(&[(Part::Whole, COMPLETE), (Part::Namespace(Name::MAX), STALE)], COMPLETE, STALE)]
    #[case::a_part_alone(&[(Part::Namespace(Name::MAX), COMPLETE)], Freshness::Missing, COMPLETE)]
    #[case::a_part_is_withdrawn(
        &[(Part::Namespace(Name::MAX), COMPLETE), (Part::Namespace(Name::MAX), Freshness::Missing), (Part::Whole, STALE)],
        STALE,
        STALE
    )]
    fn a_part_speaks_for_itself(
        #[case] entries: &[(Part, Freshness)],
        #[case] whole: Freshness,
        #[case] part: Freshness,
    ) {
        let mut table = FreshnessTable::default();
        for (at, freshness) in entries {
            assert!(table.set(SOURCE, *at, freshness.clone()), "{at:?}");
            assert!(!table.set(SOURCE, *at, freshness.clone()), "{at:?} again");
        }
        assert_eq!(*table.of(SOURCE, Part::Whole), whole);
        assert_eq!(*table.of(SOURCE, Part::Namespace(Name::MAX)), part);
        assert_eq!(*table.of(Source::Nodes, Part::Whole), Freshness::Missing);
    }

    #[test]
    fn the_freshness_of_an_object_wins_over_that_of_its_namespace() {
        let (namespace, other) = (Name::MAX, Name::EMPTY);
        let mut table = FreshnessTable::default();
        let refused = Freshness::unreadable("forbidden");
        table.set(SOURCE, Part::Namespace(namespace), refused.clone());
        table.set(SOURCE, Part::Object(namespace, namespace), COMPLETE);
        assert_eq!(*table.of(SOURCE, Part::Object(namespace, namespace)), COMPLETE);
        assert_eq!(*table.of(SOURCE, Part::Object(namespace, other)), refused);
        assert_eq!(*table.of(SOURCE, Part::Object(other, other)), Freshness::Missing);
        let parts: Vec<_> = table.parts(SOURCE).collect();
        assert_eq!(parts, [(Part::Namespace(namespace), &refused)]);
    }

    #[test]
    fn of_two_the_worse_holds() {
        let refused = Freshness::unreadable("forbidden");
        let order = [COMPLETE, STALE, Freshness::Missing, refused];
        for (at, one) in order.iter().enumerate() {
            for (other_at, other) in order.iter().enumerate() {
                assert_eq!(one.worse(other), &order[at.max(other_at)]);
            }
        }
    }

    #[test]
    fn what_is_not_read_whole_is_read_by_namespace() {
        let partly = |source: &Source| {
            let mut kinds = source.kinds().iter();
            kinds.any(|kind| kind.extent != Extent::Whole)
        };
        // Events are read of all namespaces, and never absent; the ledger is of one namespace, and no check rests on it.
        let apart = [Source::Events, Source::Remediations];
        let sources = Source::ALL.into_iter().filter(partly);
        let sources: Vec<_> = sources.filter(|source| !apart.contains(source)).collect();
        assert_eq!(READ_BY_NAMESPACE, Reads::of(&sources));
    }
}
