//! What is judged together, and what is remembered of it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::ledger::Tally;
use crate::index::Parts;
use crate::judge::{Check, Judge, Rests, Subject, Verdict};
use crate::know::{Mono, Wall};
use crate::names::{Key, Name};

/// A subject and the place in the table of the check that judges it.
pub(super) type At = (Subject, usize);

/// A verdict that people are told about, and since when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// The verdict: `AtRisk`, Violated or Unknown.
    pub verdict: Arc<Verdict>,
    /// Since when.
    pub since: Wall,
}

/// The groups of subjects that are judged together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    Path,
    Service,
    Node,
    Zone,
    Webhook,
    Cluster,
}

impl Scope {
    pub(super) const ALL: [Self; 6] = [
        Self::Path,
        Self::Service,
        Self::Node,
        Self::Zone,
        Self::Webhook,
        Self::Cluster,
    ];

    /// Those whose units are Services.
    pub(super) const OF_SERVICES: [Self; 2] = [Self::Path, Self::Service];

    pub(super) const fn of(check: &Check) -> Self {
        match check.judge {
            Judge::Path(_) => Self::Path,
            Judge::Service(_) => Self::Service,
            Judge::Node(_) => Self::Node,
            Judge::Zone(_) => Self::Zone,
            Judge::Webhook(_) => Self::Webhook,
            Judge::Cluster(_) => Self::Cluster,
        }
    }
}

/// Which unit. Those of Services are told apart by policy, too: thousands of policies may govern one Service, and each
/// is judged by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Site {
    pub(super) scope: Scope,
    /// The Service; empty for what is no Service's, and for what is said while Services were not read.
    pub(super) service: Key,
    /// The policy; empty for the baseline.
    pub(super) policy: Key,
}

const LAST: Key = Key {
    namespace: Name::MAX,
    name: Name::MAX,
};

impl Site {
    pub(super) const FIRST: Self = Self::whole(Scope::Path);
    pub(super) const LAST: Self = Self {
        scope: Scope::Cluster,
        service: LAST,
        policy: LAST,
    };

    /// The unit of a scope that is no Service's.
    pub(super) const fn whole(scope: Scope) -> Self {
        let none = Key {
            namespace: Name::EMPTY,
            name: Name::EMPTY,
        };
        Self {
            scope,
            service: none,
            policy: none,
        }
    }

    /// All units of a Service in a scope.
    pub(super) const fn all_of(scope: Scope, service: Key) -> RangeInclusive<Self> {
        let first = Self {
            service,
            ..Self::whole(scope)
        };
        let last = Self {
            policy: LAST,
            ..first
        };
        first..=last
    }

    /// The policy that tells its findings: a team's own; the platform's (the empty key) for nodes, zones, webhooks and
    /// the cluster; none for Services that no policy governs.
    pub(super) fn owner(self) -> Option<Key> {
        let is_told = self.service == Key::default() || self.policy != Key::default();
        is_told.then_some(self.policy)
    }
}

/// What is remembered of a unit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// The counted verdicts.
    pub(super) tally: Tally,
    /// The others, sorted.
    pub(super) bad: Box<[(At, Held)]>,
    /// What it rests on.
    pub(super) parts: Parts,
    /// What it rests on beyond itself and its own namespace; few do.
    pub(super) beyond: Option<Box<Rests>>,
    /// The earliest second of wall time at which time alone may change a verdict.
    pub(super) again: Option<i64>,
    /// The same in monotonic time, for what rests on a window: no clock change moves it.
    pub(super) wake: Option<Mono>,
}

impl Unit {
    /// What was held of a subject by a check.
    pub(super) fn held(&self, at: &At) -> Option<&Held> {
        let place = self.bad.binary_search_by(|one| one.0.cmp(at)).ok()?;
        self.bad.get(place).map(|one| &one.1)
    }

    /// Verdicts that are others than in this one, which came before.
    pub(super) fn turned<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = At> + 'a {
        let new = self
            .bad
            .iter()
            .filter(|(at, held)| before.held(at).is_none_or(|old| old.verdict != held.verdict));
        let gone = before.bad.iter().filter(|(at, _)| self.held(at).is_none());
        new.chain(gone).map(|one| one.0)
    }
}
