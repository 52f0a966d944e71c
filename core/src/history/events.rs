//! Pods that were made to go, counted from events by workload.

use std::collections::{HashMap, VecDeque};

use super::Times;
use crate::know::{Mono, Now};
use crate::names::{InUse, Name};
use crate::sources::event::{Event, EventReason};

/// The window of evictions by pressure, in milliseconds: five minutes.
pub const EVICT_WINDOW: u64 = 300_000;
/// The window of preemptions, in milliseconds: ten minutes.
pub const PREEMPT_WINDOW: u64 = 600_000;
/// Events that are remembered so that none counts twice, in all.
const SEEN: usize = 16_384;
/// For how long, in milliseconds: that is how long an API server keeps an event after its last change (`--event-ttl`).
const SEEN_FOR: u64 = 3_600_000;
/// An event that happened longer ago than this, in seconds, is how things were and not what happens.
const OLD: i64 = 600;
/// Workloads that are counted, of evictions and of preemptions each.
const WORKLOADS: usize = 1_024;
/// Moments that are remembered of each.
const MOMENTS: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    uid: u64,
    total: u32,
    at: Mono,
}

/// Evictions of one workload's Pods from one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evicted {
    /// `namespace/name` of the workload, as far as Pod names show it.
    pub workload: Box<str>,
    /// When.
    pub times: Times<MOMENTS>,
    node: Name,
}

/// Preemptions of one workload's Pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preempted {
    /// `namespace/name` of the workload, as far as Pod names show it.
    pub workload: Box<str>,
    /// When.
    pub times: Times<MOMENTS>,
    /// When it was a Pod of the same workload that took the place.
    pub own: Times<MOMENTS>,
    /// Who took the place last; empty when unknown.
    pub winner: Box<str>,
}

/// Pods that were made to go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Events {
    seen: HashMap<u64, Seen>,
    order: VecDeque<(Mono, u64)>,
    evicted: Vec<Evicted>,
    preempted: Vec<Preempted>,
}

impl Events {
    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.evicted.iter().map(|one| one.node));
    }

    /// Folds one event and returns whether it counted. `node` is its node's name where the node is known.
    pub(crate) fn fold(&mut self, now: Now, counts: bool, event: &Event, node: Option<Name>) -> bool {
        let new = self.occurrences(now.mono, event);
        // A clock that jumps can make an event look old, never new: what was seen stays seen.
        let old = event
            .last
            .is_some_and(|last| now.wall.0.saturating_sub(last.0) > OLD);
        if new == 0 || !counts || old {
            return false;
        }
        let times = new.min(MOMENTS as u32);
        match (event.reason, node) {
            (EventReason::Evicted, Some(node)) => self.evict(now.mono, node, &event.workload, times),
            (EventReason::Evicted, None) => return false,
            (EventReason::Preempted, _) => self.preempt(now.mono, event, times),
        }
        true
    }

    /// How often it happened since this event was last seen.
    fn occurrences(&mut self, now: Mono, event: &Event) -> u32 {
        let now_seen = Seen {
            uid: event.uid,
            total: event.total,
            at: now,
        };
        if let Some(seen) = self.seen.get_mut(&event.id) {
            if seen.uid != event.uid || now.since(seen.at) > SEEN_FOR {
                *seen = now_seen;
                return 1;
            }
            let new = event.total.saturating_sub(seen.total);
            if new == 0 {
                return 0;
            }
            let before = std::mem::replace(seen, now_seen).at;
            // A sum over a long time shows for the window only that it happened now.
            return if now.since(before) > EVICT_WINDOW { 1 } else { new };
        }
        if self.order.len() >= SEEN {
            self.forget(now);
        }
        self.seen.insert(event.id, now_seen);
        self.order.push_back((now, event.id));
        // The same holds for one that is seen for the first time.
        1
    }

    /// Forgets the event that has not changed for longest, or nearly so.
    fn forget(&mut self, now: Mono) {
        if let Some((_, id)) = self.order.pop_front() {
            match self.seen.get(&id) {
                Some(seen) if now.since(seen.at) <= SEEN_FOR && self.order.len() + 1 < SEEN => {
                    self.order.push_back((seen.at, id));
                }
                _ => drop(self.seen.remove(&id)),
            }
        }
    }

    fn evict(&mut self, now: Mono, node: Name, workload: &str, times: u32) {
        let held = self
            .evicted
            .iter()
            .position(|one| one.node == node && &*one.workload == workload);
        let at = held.unwrap_or_else(|| {
            let new = Evicted {
                workload: workload.into(),
                times: Times::default(),
                node,
            };
            insert(&mut self.evicted, new, |one| one.times.last())
        });
        if let Some(one) = self.evicted.get_mut(at) {
            (0..times).for_each(|_| one.times.push(now));
        }
    }

    fn preempt(&mut self, now: Mono, event: &Event, times: u32) {
        let held = self
            .preempted
            .iter()
            .position(|one| one.workload == event.workload);
        let at = held.unwrap_or_else(|| {
            let new = Preempted {
                workload: event.workload.clone(),
                times: Times::default(),
                own: Times::default(),
                winner: Box::default(),
            };
            insert(&mut self.preempted, new, |one| one.times.last())
        });
        if let Some(one) = self.preempted.get_mut(at) {
            one.winner.clone_from(&event.winner);
            for _ in 0..times {
                one.times.push(now);
                if event.winner == event.workload {
                    one.own.push(now);
                }
            }
        }
    }

    /// Evictions from a node, by workload.
    pub fn evicted(&self, node: Name) -> impl Iterator<Item = &Evicted> {
        self.evicted.iter().filter(move |one| one.node == node)
    }

    /// Preemptions, by workload.
    pub fn preempted(&self) -> impl Iterator<Item = &Preempted> {
        self.preempted.iter()
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: Mono) {
        let idle = |times: &Times<MOMENTS>, window| times.count(now, window) == 0;
        self.evicted.retain(|one| !idle(&one.times, EVICT_WINDOW));
        self.preempted.retain(|one| !idle(&one.times, PREEMPT_WINDOW));
        while self
            .order
            .front()
            .is_some_and(|(at, _)| now.since(*at) > SEEN_FOR)
        {
            self.forget(now);
        }
    }
}

/// Adds an entry and returns its place; where there is no room, it takes that of the one that was quiet longest.
fn insert<T>(list: &mut Vec<T>, new: T, last: impl Fn(&T) -> Option<Mono>) -> usize {
    if list.len() < WORKLOADS {
        list.push(new);
        return list.len() - 1;
    }
    let quiet = list
        .iter()
        .enumerate()
        .min_by_key(|(_, one)| last(one))
        .map_or(0, |(at, _)| at);
    if let Some(held) = list.get_mut(quiet) {
        *held = new;
    }
    quiet
}
