//! Units that wait to be judged, because they are many of one Service.
//!
//! When a Service changes that thousands of policies govern, the others do not wait for all of them.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::unit::WorkUnit;
use crate::names::InUse;

/// So many units of one Service are judged at once: few Services are governed by more than one policy.
const AT_ONCE: usize = 64;

/// The units that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeSet<WorkUnit>,
    /// The last one that was let go: the next is the one behind it, so that each comes to its turn.
    last: Option<WorkUnit>,
}

impl Queue {
    /// What to judge now of these and of those that wait: about so many.
    pub(super) fn next(&mut self, dirty: BTreeSet<WorkUnit>, most: usize) -> Vec<WorkUnit> {
        let dirty: Vec<WorkUnit> = dirty.into_iter().collect();
        let mut next = Vec::new();
        for units in dirty.chunk_by(|a, b| (a.scope, a.about) == (b.scope, b.about)) {
            if units.len() > AT_ONCE {
                self.waiting.extend(units);
            } else {
                next.extend(units);
            }
        }
        for unit in &next {
            self.waiting.remove(unit);
        }
        while next.len() < most
            && let Some(unit) = self.pop()
        {
            next.push(unit);
        }
        next
    }

    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.note(&self.waiting);
        held.note(&self.last);
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn pop(&mut self) -> Option<WorkUnit> {
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let unit = self.waiting.range((behind, Bound::Unbounded)).next();
        let unit = *unit.or_else(|| self.waiting.first())?;
        self.waiting.remove(&unit);
        self.last = Some(unit);
        Some(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::unit::{About, Scope};
    use crate::names::{Key, Names};

    fn next(queue: &mut Queue, dirty: BTreeSet<WorkUnit>, most: usize) -> BTreeSet<WorkUnit> {
        let next = queue.next(dirty, most);
        let all: BTreeSet<WorkUnit> = next.iter().copied().collect();
        assert_eq!(all.len(), next.len(), "one is judged twice");
        all
    }

    fn units(names: &mut Names, service: &str, policies: usize) -> BTreeSet<WorkUnit> {
        let mut key = |name: &str| Key {
            namespace: names.intern("shop"),
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
    fn a_crowd_waits_and_a_few_do_not() {
        let (mut names, mut queue) = (Names::default(), Queue::default());
        let (crowd, few) = (units(&mut names, "crowd", 300), units(&mut names, "few", 3));
        let first = next(&mut queue, crowd.union(&few).copied().collect(), 100);
        assert!(first.len() == 100 && few.is_subset(&first));
        let second = next(&mut queue, few.clone(), 100);
        assert!(second.len() == 100 && few.is_subset(&second));
        let third = next(&mut queue, BTreeSet::new(), 200);
        assert_eq!(third.len(), 300 - 2 * 97);
        assert!(queue.is_empty());
        let all: BTreeSet<WorkUnit> = [first, second, third].into_iter().flatten().collect();
        assert_eq!(all.len(), 303);
    }

    #[test]
    fn who_turns_all_the_time_does_not_hold_up_those_behind() {
        let (mut names, mut queue) = (Names::default(), Queue::default());
        let (busy, other) = (units(&mut names, "a", 300), units(&mut names, "b", 100));
        next(&mut queue, other.clone(), 0);
        let mut judged = BTreeSet::new();
        for _ in 0..5 {
            judged.extend(next(&mut queue, busy.clone(), 100));
        }
        assert!(other.is_subset(&judged));
    }

    #[test]
    fn who_does_not_listen_in_between_gets_all() {
        let (mut names, mut queue) = (Names::default(), Queue::default());
        let crowd = units(&mut names, "crowd", 300);
        next(&mut queue, crowd.clone(), 10);
        assert_eq!(next(&mut queue, BTreeSet::new(), usize::MAX).len(), 290);
        assert!(queue.is_empty());
    }
}
