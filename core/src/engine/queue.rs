//! Units that wait to be judged, and which of them is next.
//!
//! A round judges as much as it may, and the rest waits here for the next one. Namespaces take turns, so that one in which
//! much has changed does not hold up the others, and so do the units of each.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::unit::WorkUnit;
use crate::names::{InUse, Name};

/// The units that wait: one lane for each namespace, and one for what is in none, that of the empty name.
#[derive(Debug, Default)]
pub(super) struct Queue {
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

impl Queue {
    /// Adds what has become dirty at one time; those that wait already keep their place.
    pub(super) fn add(&mut self, dirty: &BTreeSet<WorkUnit>) {
        for unit in dirty {
            self.add_one(*unit);
        }
    }

    /// Adds one unit.
    pub(super) fn add_one(&mut self, unit: WorkUnit) {
        self.by_home.entry(home(unit)).or_default().waiting.insert(unit);
    }

    /// The next one to judge.
    pub(super) fn pop(&mut self) -> Option<WorkUnit> {
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

    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.note(&self.last);
        for (home, lane) in &self.by_home {
            held.note(home);
            held.note(&lane.waiting);
            held.note(&lane.last);
        }
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.by_home.is_empty()
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
}
