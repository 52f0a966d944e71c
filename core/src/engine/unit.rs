//! What is judged together, and what is remembered of it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::tally::Tally;
use crate::index::Deps;
use crate::judge::{Check, Dependencies, Gaps, Judge, Subject, Verdict};
use crate::know::{Mono, Wall};
use crate::names::{Key, Name};
use crate::sample::Metrics;

/// A subject and the place in the table of the check that judges it.
pub(super) type At = (Subject, usize);

/// A verdict that people see, and since when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reported {
    /// The verdict: `AtRisk`, Violated or Unknown.
    pub verdict: Arc<Verdict>,
    /// Since when.
    pub since: Wall,
}

/// The groups of checks that judge the same kind of subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum Scope {
    Path,
    Service,
    Node,
    Zone,
    Webhook,
    Workload,
    Cluster,
}

impl Scope {
    pub(super) const ALL: [Self; 7] = [
        Self::Path,
        Self::Service,
        Self::Node,
        Self::Zone,
        Self::Webhook,
        Self::Workload,
        Self::Cluster,
    ];

    /// Those whose units are Services.
    pub(super) const OF_SERVICES: [Self; 2] = [Self::Path, Self::Service];

    /// Those of which the subjects come from a list that may not have been read.
    const LISTED: [Self; 6] = [
        Self::Path,
        Self::Service,
        Self::Node,
        Self::Zone,
        Self::Webhook,
        Self::Workload,
    ];

    pub(super) const fn of(check: &Check) -> Self {
        match check.judge {
            Judge::Path(_) => Self::Path,
            Judge::Service(_) => Self::Service,
            Judge::Node(_) => Self::Node,
            Judge::Zone(_) => Self::Zone,
            Judge::Webhook(_) => Self::Webhook,
            Judge::Workload(_) => Self::Workload,
            Judge::Cluster(_) => Self::Cluster,
        }
    }
}

/// What a unit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum About {
    /// The list of the scope's subjects: while it was not read, this unit alone says so.
    List,
    /// A Service.
    Service(Key),
    /// A Node.
    Node(Name),
    /// A zone.
    Zone(Name),
    /// A webhook configuration: kind and name.
    Webhook(Key),
    /// A workload, as far as names of Pods show it.
    Workload(Key),
    /// The cluster, by the check at this place in the table.
    Check(u8),
}

/// Which unit: the smallest thing that is judged again when something changes. Units of Services differ by
/// policy, too: thousands of policies may govern one Service, and each is judged by itself; and its paths are judged in
/// parts of at most [`PATHS`], so that no unit takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WorkUnit {
    pub(super) scope: Scope,
    pub(super) about: About,
    /// The policy; empty for the baseline and for whatever is no Service's.
    pub(super) policy: Key,
    /// Which part of the paths; nothing else has parts.
    pub(super) part: u16,
}

/// Paths of one unit. Each is judged by every check of paths, so these are a step's worth of verdicts.
pub(super) const PATHS: u64 = 32;

const NO_KEY: Key = Key {
    namespace: Name::EMPTY,
    name: Name::EMPTY,
};

const LAST_KEY: Key = Key {
    namespace: Name::MAX,
    name: Name::MAX,
};

impl WorkUnit {
    pub(super) const FIRST: Self = Self::of(Scope::Path, About::List);
    pub(super) const LAST: Self = Self {
        scope: Scope::Cluster,
        about: About::Check(u8::MAX),
        policy: LAST_KEY,
        part: u16::MAX,
    };

    /// The unit of a subject that no policy of a team governs.
    pub(super) const fn of(scope: Scope, about: About) -> Self {
        Self {
            scope,
            about,
            policy: NO_KEY,
            part: 0,
        }
    }

    /// The unit of the paths behind those of this one; `None` where their number is too large to count.
    pub(super) fn next_part(self) -> Option<Self> {
        let part = self.part.checked_add(1)?;
        Some(Self { part, ..self })
    }

    /// All parts of it.
    pub(super) const fn parts(self) -> RangeInclusive<Self> {
        let first = Self { part: 0, ..self };
        let last = Self {
            part: u16::MAX,
            ..self
        };
        first..=last
    }

    /// The units that say which lists were not read.
    pub(super) fn lists() -> impl Iterator<Item = Self> {
        Scope::LISTED
            .into_iter()
            .map(|scope| Self::of(scope, About::List))
    }

    /// All units of a scope.
    pub(super) const fn all(scope: Scope) -> RangeInclusive<Self> {
        let last = Self {
            scope,
            about: About::Check(u8::MAX),
            policy: LAST_KEY,
            part: u16::MAX,
        };
        Self::of(scope, About::List)..=last
    }

    /// All units of a Service in a scope.
    pub(super) const fn all_of(scope: Scope, service: Key) -> RangeInclusive<Self> {
        let first = Self::of(scope, About::Service(service));
        let last = Self {
            policy: LAST_KEY,
            part: u16::MAX,
            ..first
        };
        first..=last
    }

    /// The namespace of its Service or workload.
    pub(super) const fn home(self) -> Option<Name> {
        match self.about {
            About::Service(key) | About::Workload(key) => Some(key.namespace),
            About::List | About::Node(_) | About::Zone(_) | About::Webhook(_) | About::Check(_) => None,
        }
    }

    /// The policy whose status shows its findings: a Service has that of the unit, and none where no policy governs it; a
    /// workload has none, as it lives in a namespace and no policy speaks of it; everything else is the platform's (the
    /// empty key).
    pub(super) fn owner(self) -> Option<Key> {
        match self.about {
            About::Service(_) => (self.policy != NO_KEY).then_some(self.policy),
            About::Workload(_) => None,
            About::List | About::Node(_) | About::Zone(_) | About::Webhook(_) | About::Check(_) => {
                Some(NO_KEY)
            }
        }
    }
}

/// What is remembered of a unit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// The counted verdicts.
    pub(super) tally: Tally,
    /// The others, sorted.
    pub(super) bad: Box<[(At, Reported)]>,
    /// What it depends on.
    pub(super) deps: Deps,
    /// Which gaps would change it.
    pub(super) gaps: Gaps,
    /// Whether there are paths behind its own: another unit judges them.
    pub(super) goes_on: bool,
    /// What it depends on beyond itself and its own namespace; few do.
    pub(super) beyond: Option<Box<Dependencies>>,
    /// The earliest second of wall time at which time alone may change a verdict.
    pub(super) again: Option<i64>,
    /// The same in monotonic time, for what depends on a window: no clock change moves it.
    pub(super) wake: Option<Mono>,
    /// The metrics of its Node that it was judged by: their samples are waited for to count no longer.
    pub(super) sampled: Metrics,
    /// What `wake` would be without them.
    pub(super) unsampled: Option<Mono>,
}

impl Judgement {
    /// What was reported of a subject by a check.
    pub(super) fn reported(&self, at: &At) -> Option<&Reported> {
        let place = self.bad.binary_search_by(|one| one.0.cmp(at)).ok()?;
        self.bad.get(place).map(|one| &one.1)
    }

    /// Verdicts that are others than in this one, which came before.
    pub(super) fn changed<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = At> + 'a {
        let new = self.bad.iter().filter(|(at, reported)| {
            before
                .reported(at)
                .is_none_or(|old| old.verdict != reported.verdict)
        });
        let gone = before.bad.iter().filter(|(at, _)| self.reported(at).is_none());
        new.chain(gone).map(|one| one.0)
    }
}
