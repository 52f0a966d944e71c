//! Units that wait to be judged, and which of them is next.
//!
//! A round judges as much as it may, and the rest waits here for the next one. Namespaces take turns, so that one in which
//! much has changed does not hold up the others; and what a small change made dirty goes before what a large one did, so
//! that a lost source, a new class of nodes or a Service with thousands of policies delays no single change.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::unit::WorkUnit;
use crate::names::{InUse, Name};

/// So many units of one Service are a small change: few Services are governed by more than one policy.
const OF_ONE: usize = 64;

/// So many units in all are a small change: a step takes in at most some hundreds of objects.
const IN_ALL: usize = 512;

/// Of so many units one comes from the large changes, however many small ones wait.
const SHARE: usize = 4;

/// The units that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    small: Lanes,
    large: Lanes,
    /// How many were taken: who is served next.
    taken: usize,
}

impl Queue {
    /// Adds what has become dirty at one time; those that wait already keep their place.
    pub(super) fn add(&mut self, dirty: &BTreeSet<WorkUnit>) {
        let units: Vec<WorkUnit> = dirty.iter().copied().collect();
        for of_one in units.chunk_by(|a, b| (a.scope, a.about) == (b.scope, b.about)) {
            let small = of_one.len() <= OF_ONE && units.len() <= IN_ALL;
            for unit in of_one {
                if small {
                    self.large.remove(*unit);
                    self.small.add(*unit);
                } else if !self.small.has(*unit) {
                    self.large.add(*unit);
                }
            }
        }
    }

    /// Adds the unit behind one that was judged: where there are several, much has changed.
    pub(super) fn follow(&mut self, unit: WorkUnit) {
        if !self.small.has(unit) {
            self.large.add(unit);
        }
    }

    /// The next one to judge.
    pub(super) fn pop(&mut self) -> Option<WorkUnit> {
        self.taken = self.taken.wrapping_add(1);
        if self.taken.is_multiple_of(SHARE) {
            self.large.pop().or_else(|| self.small.pop())
        } else {
            self.small.pop().or_else(|| self.large.pop())
        }
    }

    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        for lanes in [&self.small, &self.large] {
            held.note(&lanes.last);
            for (home, lane) in &lanes.by_home {
                held.note(home);
                held.note(&lane.waiting);
                held.note(&lane.last);
            }
        }
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.small.by_home.is_empty() && self.large.by_home.is_empty()
    }
}

/// One lane for each namespace, served in turn; what is in none is in that of the empty name.
#[derive(Debug, Default)]
struct Lanes {
    /// None of them is empty.
    by_home: BTreeMap<Name, Lane>,
    /// The one that was served last.
    last: Option<Name>,
}

/// The units of one namespace.
#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeSet<WorkUnit>,
    /// The one that was taken last: the next is the one behind it, so that one that turns all the time holds up no other.
    last: Option<WorkUnit>,
}

impl Lanes {
    fn add(&mut self, unit: WorkUnit) {
        self.by_home.entry(home(unit)).or_default().waiting.insert(unit);
    }

    fn has(&self, unit: WorkUnit) -> bool {
        let lane = self.by_home.get(&home(unit));
        lane.is_some_and(|lane| lane.waiting.contains(&unit))
    }

    fn remove(&mut self, unit: WorkUnit) {
        if let Some(lane) = self.by_home.get_mut(&home(unit)) {
            lane.waiting.remove(&unit);
            if lane.waiting.is_empty() {
                self.by_home.remove(&home(unit));
            }
        }
    }

    fn pop(&mut self) -> Option<WorkUnit> {
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.by_home.range((behind, Bound::Unbounded)).next();
        let home = *next.or_else(|| self.by_home.first_key_value())?.0;
        self.last = Some(home);
        let lane = self.by_home.get_mut(&home)?;
        let unit = lane.pop();
        if lane.waiting.is_empty() {
            self.by_home.remove(&home);
        }
        unit
    }
}

impl Lane {
    fn pop(&mut self) -> Option<WorkUnit> {
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.waiting.range((behind, Bound::Unbounded)).next();
        let unit = *next.or_else(|| self.waiting.first())?;
        self.waiting.remove(&unit);
        self.last = Some(unit);
        Some(unit)
    }
}

fn home(unit: WorkUnit) -> Name {
    unit.home().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::unit::{About, Scope};
    use crate::names::{Key, Names};

    fn take(queue: &mut Queue, most: usize) -> Vec<WorkUnit> {
        std::iter::from_fn(|| queue.pop()).take(most).collect()
    }

    fn units(names: &mut Names, namespace: &str, service: &str, policies: usize) -> BTreeSet<WorkUnit> {
        let mut key = |name: &str| Key {
            namespace: names.intern(namespace),
            name: names.intern(name),
        };
        let service = key(service);
        (0..policies)
            .map(|at| WorkUnit {
                policy: key(&format!("p{at}")),
                ..WorkUnit::of(Scope::Service, About::Service(service))
            })
            .collect()
    }

    #[test]
    fn many_of_one_service_wait_and_a_few_do_not() {
        let (mut names, mut queue) = (Names::default(), Queue::default());
        let crowd = units(&mut names, "shop", "crowd", 300);
        let few = units(&mut names, "shop", "few", 3);
        queue.add(&crowd.union(&few).copied().collect());
        let first = take(&mut queue, 10);
        assert!(few.iter().all(|one| first.contains(one)), "{first:?}");
        queue.add(&few);
        let rest = take(&mut queue, usize::MAX);
        assert_eq!(rest.len(), 300 + 3 + 3 - 10);
        assert!(few.iter().all(|one| rest[..4].contains(one)));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_policy_that_always_changes_does_not_delay_others() {
        let (mut names, mut queue) = (Names::default(), Queue::default());
        let busy = units(&mut names, "shop", "a", 3);
        let other = units(&mut names, "shop", "b", 100);
        queue.add(&other);
        let mut judged = BTreeSet::new();
        for _ in 0..100 {
            queue.add(&busy);
            judged.extend(take(&mut queue, 4));
        }
        assert!(other.is_subset(&judged));
    }

    #[test]
    fn namespaces_take_turns() {
        let (mut names, mut queue) = (Names::default(), Queue::default());
        let crowd = units(&mut names, "a-team", "crowd", 1000);
        let mut all = crowd.clone();
        let others: BTreeSet<WorkUnit> = (0..50)
            .flat_map(|at| units(&mut names, &format!("shop-{at}"), "api", 1))
            .collect();
        all.extend(&others);
        queue.add(&all);
        let first: BTreeSet<WorkUnit> = take(&mut queue, 51).into_iter().collect();
        assert!(
            others.is_subset(&first),
            "none waits for more than one of another"
        );
    }

    #[test]
    fn a_large_change_ends_while_small_ones_go_on() {
        let (mut names, mut queue) = (Names::default(), Queue::default());
        let (large, small) = (
            units(&mut names, "a", "crowd", 400),
            units(&mut names, "b", "api", 60),
        );
        queue.add(&large);
        let mut judged = BTreeSet::new();
        for _ in 0..40 {
            queue.add(&small);
            judged.extend(take(&mut queue, 40));
        }
        assert!(large.is_subset(&judged));
    }
}
