//! Services whose Pods are being replaced: when an endpoint last came, and which ones went a moment ago.

use std::collections::HashMap;

use super::churn::Backend;
use super::newcomers::Starting;
use crate::know::Mono;
use crate::names::{InUse, Key};

/// How long the successor of a Pod that went may take until it has an address, in milliseconds: it is scheduled, its images
/// are there as those of its siblings are, and its network is set up.
const SUCCESSOR: u64 = 30_000;
/// Services that are remembered, in all. Those beyond are judged as if nothing were being replaced.
const SERVICES: usize = 32_768;
/// Backends of one Service that went or came a moment ago, as are remembered of each: more at once are no rollout.
const MOST: usize = 16;
/// For how long an arrival is remembered, in milliseconds: the largest `newcomerGraceSeconds` that a policy can declare.
const LONGEST: u64 = 86_400_000;

/// Backends, each with the moment of its first endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Recent(Vec<(Mono, Backend)>);

impl Recent {
    fn forget(&mut self, now: Mono) {
        self.0.retain(|(at, _)| now.since(*at) < SUCCESSOR);
    }

    fn note(&mut self, now: Mono, backend: Backend) {
        self.forget(now);
        // Each address of a Pod comes and goes.
        if self.0.len() < MOST && self.0.iter().all(|one| one.1 != backend) {
            self.0.push((now, backend));
        }
    }

    /// Moments within the time that a successor takes.
    fn moments(&self, now: Mono) -> impl Iterator<Item = Mono> {
        let moments = self.0.iter().map(|one| one.0);
        moments.filter(move |at| now.since(*at) < SUCCESSOR)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Turnover {
    last_came: Option<Mono>,
    came: Recent,
    went: Recent,
}

impl Turnover {
    /// How many of those that went still have no successor: each that came later, or at the same moment, is one.
    fn awaited(&self, now: Mono) -> usize {
        // Of one moment those that went are first.
        let went = self.went.moments(now).map(|at| (at, 0));
        let mut moves: Vec<(Mono, u8)> = went.chain(self.came.moments(now).map(|at| (at, 1))).collect();
        moves.sort_unstable();
        moves.into_iter().fold(0, |awaited: usize, (_, came)| match came {
            0 => awaited + 1,
            _ => awaited.saturating_sub(1),
        })
    }
}

/// What came and went of each Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Turnovers(HashMap<Key, Turnover>);

impl Turnovers {
    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.0.keys());
    }

    fn of(&mut self, service: Key) -> Option<&mut Turnover> {
        if self.0.len() >= SERVICES && !self.0.contains_key(&service) {
            return None;
        }
        Some(self.0.entry(service).or_default())
    }

    /// An endpoint came.
    pub(super) fn came(&mut self, now: Mono, service: Key, backend: Backend) {
        if let Some(turnover) = self.of(service) {
            turnover.last_came = Some(now);
            turnover.came.note(now, backend);
        }
    }

    /// An endpoint that was ready went, or is on its way out.
    pub(super) fn went(&mut self, now: Mono, service: Key, backend: Backend) {
        if let Some(turnover) = self.of(service) {
            turnover.went.note(now, backend);
        }
    }

    /// How many backends went a moment ago and have no successor yet: as far as others of the Service came within so many
    /// milliseconds, so that it is being rolled out.
    pub(super) fn awaited(&self, now: Mono, service: Key, grace: u64) -> Starting {
        let rolls_out = |one: &&Turnover| one.last_came.is_some_and(|at| now.since(at) <= grace);
        let Some(turnover) = self.0.get(&service).filter(rolls_out) else {
            return Starting::default();
        };
        Starting {
            count: turnover.awaited(now),
            until: turnover.went.moments(now).min().map(|at| at.plus(SUCCESSOR)),
        }
    }

    /// Forgets what nothing asks for.
    pub(super) fn sweep(&mut self, now: Mono) {
        self.0.retain(|_, one| {
            one.came.forget(now);
            one.went.forget(now);
            one.last_came = one.last_came.filter(|at| now.since(*at) < LONGEST);
            one.last_came.is_some() || !one.went.0.is_empty()
        });
    }
}
