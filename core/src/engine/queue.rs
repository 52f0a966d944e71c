//! Units that wait to be judged, because they are many of one Service.
//!
//! When a Service turns that thousands of policies govern, the others are not made to wait for all of them.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::unit::Site;

/// So many units of one Service are judged at once: few Services are governed by more than one policy.
const AT_ONCE: usize = 64;

/// The units that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeSet<Site>,
    /// The last one that was let go: the next is the one behind it, so that each comes to its turn.
    last: Option<Site>,
}

impl Queue {
    /// What to judge now of these and of those that wait: about so many.
    pub(super) fn next(&mut self, dirty: BTreeSet<Site>, most: usize) -> Vec<Site> {
        let dirty: Vec<Site> = dirty.into_iter().collect();
        let mut next = Vec::new();
        for units in dirty.chunk_by(|a, b| (a.scope, a.service) == (b.scope, b.service)) {
            if units.len() > AT_ONCE {
                self.waiting.extend(units);
            } else {
                next.extend(units);
            }
        }
        for site in &next {
            self.waiting.remove(site);
        }
        while next.len() < most
            && let Some(site) = self.pop()
        {
            next.push(site);
        }
        next
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn pop(&mut self) -> Option<Site> {
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let site = self.waiting.range((behind, Bound::Unbounded)).next();
        let site = *site.or_else(|| self.waiting.first())?;
        self.waiting.remove(&site);
        self.last = Some(site);
        Some(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::unit::Scope;
    use crate::names::{Key, Names};

    fn next(queue: &mut Queue, dirty: BTreeSet<Site>, most: usize) -> BTreeSet<Site> {
        let next = queue.next(dirty, most);
        let all: BTreeSet<Site> = next.iter().copied().collect();
        assert_eq!(all.len(), next.len(), "one is judged twice");
        all
    }

    fn sites(names: &mut Names, service: &str, policies: usize) -> BTreeSet<Site> {
        let mut key = |name: &str| Key {
            namespace: names.intern("shop"),
            name: names.intern(name),
        };
        let service = key(service);
        (0..policies)
            .map(|at| Site {
                scope: Scope::Service,
                service,
                policy: key(&format!("p{at}")),
            })
            .collect()
    }

    #[test]
    fn a_crowd_waits_and_a_few_do_not() {
        let (mut names, mut queue) = (Names::default(), Queue::default());
        let (crowd, few) = (sites(&mut names, "crowd", 300), sites(&mut names, "few", 3));
        let first = next(&mut queue, crowd.union(&few).copied().collect(), 100);
        assert!(first.len() == 100 && few.is_subset(&first));
        let second = next(&mut queue, few.clone(), 100);
        assert!(second.len() == 100 && few.is_subset(&second));
        let third = next(&mut queue, BTreeSet::new(), 200);
        assert_eq!(third.len(), 300 - 2 * 97);
        assert!(queue.is_empty());
        let all: BTreeSet<Site> = [first, second, third].into_iter().flatten().collect();
        assert_eq!(all.len(), 303);
    }

    #[test]
    fn who_turns_all_the_time_does_not_hold_up_those_behind() {
        let (mut names, mut queue) = (Names::default(), Queue::default());
        let (busy, other) = (sites(&mut names, "a", 300), sites(&mut names, "b", 100));
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
        let crowd = sites(&mut names, "crowd", 300);
        next(&mut queue, crowd.clone(), 10);
        assert_eq!(next(&mut queue, BTreeSet::new(), usize::MAX).len(), 290);
        assert!(queue.is_empty());
    }
}
