//! Pods that were made to go, counted by workload.
//!
//! Two counts are kept apart: what a Pod's own status says, which decides, and what Events alone say, which anybody may
//! write. A Pod counts once in each, whatever repeats it.

use std::collections::{HashMap, VecDeque};

use super::Times;
use crate::know::{Mono, Now, Wall};
use crate::names::{InUse, Key, Name};
use crate::sources::disruption::{DisruptionReason, PodDisruption};
use crate::sources::event::Event;
use crate::sources::fingerprint;

/// The window of evictions by pressure, in milliseconds: five minutes.
pub const EVICT_WINDOW: u64 = 300_000;
/// The window of preemptions, in milliseconds: ten minutes.
pub const PREEMPT_WINDOW: u64 = 600_000;
/// Pods that are remembered so that none counts twice, in all: by their status, and by Events.
const SEEN: usize = 16_384;
/// For how long, in milliseconds: that is how long an API server keeps an event after its last change (`--event-ttl`).
const SEEN_FOR: u64 = 3_600_000;
/// What happened longer ago than this, in seconds, is how things were and not what happens.
const OLD: i64 = 600;
/// Workloads that are counted, of evictions and of preemptions each.
const WORKLOADS: usize = 1_024;
/// Those of one namespace.
const OF_NAMESPACE: usize = 64;
/// Moments that are remembered of each.
const MOMENTS: usize = 32;

/// Evictions of one workload's Pods from one node, as the status of the Pods says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evicted {
    /// The workload, as far as Pod names show it.
    pub workload: Key,
    /// When.
    pub times: Times<MOMENTS>,
    node: Name,
}

/// Preemptions of one workload's Pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preempted {
    /// The workload, as far as Pod names show it.
    pub workload: Key,
    /// When, as the status of the Pods says.
    pub times: Times<MOMENTS>,
    /// When, as Events say.
    pub told: Times<MOMENTS>,
    /// When Events say that it was a Pod of the same workload that took the place.
    pub own: Times<MOMENTS>,
    /// Who took the place last, as an Event says: `namespace/name`; empty when unknown.
    pub winner: Box<str>,
    /// Whether its Pods are there to make way: the last of them has a priority below 0.
    pub placeholder: bool,
}

/// Pods that were made to go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Events {
    told: Once,
    confirmed: Once,
    evicted: Vec<Evicted>,
    preempted: Vec<Preempted>,
}

impl Events {
    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        let evicted = self.evicted.iter();
        held.all(evicted.clone().map(|one| one.node));
        held.all(evicted.map(|one| one.workload));
        held.all(self.preempted.iter().map(|one| one.workload));
    }

    /// Folds what an Event says of a Pod of this workload, and returns whether it is news: the Pod is worth a look then.
    pub(crate) fn told(&mut self, now: Now, counts: bool, event: &Event, workload: Key) -> bool {
        let id = (&event.namespace, &event.pod, event.uid, event.reason);
        let new = self.told.is_new(now.mono, fingerprint(&id));
        if !new || !counts || is_old(now, event.last) {
            return false;
        }
        if event.reason == DisruptionReason::Preempted
            && let Some(one) = self.preempted_of(workload)
        {
            one.told.push(now.mono);
            if event.is_own() {
                one.own.push(now.mono);
            }
            one.winner = match &event.winner {
                Some((namespace, workload)) => format!("{namespace}/{workload}").into(),
                None => Box::default(),
            };
        }
        true
    }

    /// Folds what the status of a Pod of this workload says (`pod` is its name). Returns whether it counted.
    pub(crate) fn confirmed(
        &mut self,
        now: Now,
        (workload, pod): (Key, &str),
        disruption: PodDisruption,
        node: Name,
    ) -> bool {
        let nowhere = disruption.reason == DisruptionReason::Evicted && node.is_empty();
        if nowhere || is_old(now, disruption.at) {
            return false;
        }
        let id = match disruption.uid {
            0 => fingerprint(&(workload, pod)),
            uid => uid,
        };
        if !self.confirmed.is_new(now.mono, id) {
            return false;
        }
        match disruption.reason {
            DisruptionReason::Evicted => {
                if let Some(one) = self.evicted_of(workload, node) {
                    one.times.push(now.mono);
                }
            }
            DisruptionReason::Preempted => {
                if let Some(one) = self.preempted_of(workload) {
                    one.placeholder = disruption.placeholder;
                    one.times.push(now.mono);
                }
            }
        }
        true
    }

    fn evicted_of(&mut self, workload: Key, node: Name) -> Option<&mut Evicted> {
        let new = || Evicted {
            workload,
            times: Times::default(),
            node,
        };
        let is = |one: &Evicted| one.node == node && one.workload == workload;
        entry(&mut self.evicted, is, new, |one| {
            (one.workload.namespace, one.times.last())
        })
    }

    fn preempted_of(&mut self, workload: Key) -> Option<&mut Preempted> {
        let new = || Preempted {
            workload,
            times: Times::default(),
            told: Times::default(),
            own: Times::default(),
            winner: Box::default(),
            placeholder: false,
        };
        entry(
            &mut self.preempted,
            |one| one.workload == workload,
            new,
            |one| (one.workload.namespace, one.times.last().max(one.told.last())),
        )
    }

    /// Evictions from a node, by workload.
    pub fn evicted(&self, node: Name) -> impl Iterator<Item = &Evicted> {
        self.evicted.iter().filter(move |one| one.node == node)
    }

    /// Preemptions of a workload's Pods.
    pub fn preempted(&self, workload: Key) -> Option<&Preempted> {
        self.preempted.iter().find(|one| one.workload == workload)
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: Mono) {
        let idle = |times: &Times<MOMENTS>, window| times.count(now, window) == 0;
        self.evicted.retain(|one| !idle(&one.times, EVICT_WINDOW));
        self.preempted
            .retain(|one| !idle(&one.times, PREEMPT_WINDOW) || !idle(&one.told, PREEMPT_WINDOW));
        self.told.tick(now);
        self.confirmed.tick(now);
    }
}

/// Whether something happened too long ago to be happening. A clock that jumps can make it look old, never new.
fn is_old(now: Now, at: Option<Wall>) -> bool {
    at.is_some_and(|at| now.wall.0.saturating_sub(at.0) > OLD)
}

/// What has been counted, so that nothing is counted twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Once {
    seen: HashMap<u64, Mono>,
    order: VecDeque<(Mono, u64)>,
}

impl Once {
    /// Whether this was not seen before, or not for an hour; it is seen now.
    fn is_new(&mut self, now: Mono, id: u64) -> bool {
        if self.seen.get(&id).is_some_and(|at| now.since(*at) <= SEEN_FOR) {
            return false;
        }
        if self.order.len() >= SEEN {
            self.forget();
        }
        self.seen.insert(id, now);
        self.order.push_back((now, id));
        true
    }

    /// Forgets the first.
    fn forget(&mut self) {
        if let Some((at, id)) = self.order.pop_front()
            && self.seen.get(&id) == Some(&at)
        {
            self.seen.remove(&id);
        }
    }

    fn tick(&mut self, now: Mono) {
        let is_over = |one: &(Mono, u64)| now.since(one.0) > SEEN_FOR;
        while self.order.front().is_some_and(is_over) {
            self.forget();
        }
    }
}

/// The entry that is meant, made where there is none. Where there is no room it takes that of the one that was quiet
/// longest: of its own namespace where that has its share, else of the namespace that has most.
fn entry<T>(
    list: &mut Vec<T>,
    is: impl Fn(&T) -> bool,
    new: impl FnOnce() -> T,
    of: impl Fn(&T) -> (Name, Option<Mono>),
) -> Option<&mut T> {
    let at = list.iter().position(is).unwrap_or_else(|| {
        let new = new();
        let displaced = displaced(list, of(&new).0, &of);
        if let Some((at, old)) = displaced.and_then(|at| Some((at, list.get_mut(at)?))) {
            *old = new;
            at
        } else {
            list.push(new);
            list.len() - 1
        }
    });
    list.get_mut(at)
}

/// The place of the entry that must make room for a new one of a namespace; `None` while there is room.
fn displaced<T>(list: &[T], namespace: Name, of: impl Fn(&T) -> (Name, Option<Mono>)) -> Option<usize> {
    let mut counts: HashMap<Name, usize> = HashMap::new();
    for one in list {
        *counts.entry(of(one).0).or_default() += 1;
    }
    let from = if counts.get(&namespace).is_some_and(|count| *count >= OF_NAMESPACE) {
        namespace
    } else if list.len() >= WORKLOADS {
        // Names are numbers: between equals the same one is chosen in every run.
        counts.into_iter().max_by_key(|(name, count)| (*count, *name))?.0
    } else {
        return None;
    };
    let held = list.iter().enumerate().filter(|one| of(one.1).0 == from);
    held.min_by_key(|one| of(one.1).1).map(|one| one.0)
}
