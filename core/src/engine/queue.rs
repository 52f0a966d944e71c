//! Units that wait to be judged, and which of them is next.
//!
//! A round judges as much as it may, and the rest waits here for the next one. Namespaces take turns, so that one in which
//! much has changed does not hold up the others, and so do the units of each. One that changes all the time is judged to so
//! many verdicts a second: what takes turns with it is not late, but the machine would be busy with nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::credit::Credits;
use super::unit::WorkUnit;
use crate::know::Mono;
use crate::names::{InUse, Name};

/// The units that wait: one lane for each namespace, and one for what is in none, that of the empty name.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Those that are served. None of them is empty.
    by_home: BTreeMap<Name, Lane>,
    /// The one that was served last.
    last: Option<Name>,
    /// Those that wait for credit, and when they have it. One may be empty: what comes next waits as well.
    parked: BTreeMap<Name, Lane>,
    due: BTreeSet<(Mono, Name)>,
    credits: Credits,
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
        let home = home(unit);
        let lane = match self.parked.get_mut(&home) {
            Some(parked) => parked,
            None => self.by_home.entry(home).or_default(),
        };
        lane.waiting.insert(unit);
    }

    /// Serves those again that have credit by now; all of them where everything is to be judged now.
    pub(super) fn release(&mut self, now: Mono, all: bool) {
        while let Some((when, home)) = self.due.first().copied()
            && (all || when <= now)
        {
            self.due.pop_first();
            let lane = self.parked.remove(&home);
            self.by_home.extend(
                lane.filter(|lane| !lane.waiting.is_empty())
                    .map(|lane| (home, lane)),
            );
        }
    }

    /// Counts what judging a unit took, in verdicts; its namespace waits when it has had more than its credit.
    pub(super) fn spend(&mut self, now: Mono, unit: WorkUnit, verdicts: usize) {
        let home = home(unit);
        // What is in no namespace is the platform's own.
        if home == Name::EMPTY {
            return;
        }
        let again = self.credits.spend(now, home, verdicts);
        if again > now {
            // The one that was judged may have been its last.
            let lane = self.by_home.remove(&home).unwrap_or_default();
            self.parked.insert(home, lane);
            self.due.insert((again, home));
        }
    }

    /// When one that waits for credit is served again, where nothing else waits.
    pub(super) fn due(&self) -> Option<Mono> {
        self.due.first().map(|one| one.0)
    }

    /// Whether one is to be judged now.
    pub(super) fn is_ready(&self) -> bool {
        !self.by_home.is_empty()
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
        self.credits.hold(held);
        held.all(self.due.iter().map(|one| one.1));
        for (home, lane) in self.by_home.iter().chain(&self.parked) {
            held.note(home);
            held.note(&lane.waiting);
            held.note(&lane.last);
        }
    }

    /// Whether none waits, not even for credit.
    pub(super) fn is_empty(&self) -> bool {
        self.by_home.is_empty() && self.parked.values().all(|lane| lane.waiting.is_empty())
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
    use crate::engine::credit::MOST_AT_ONCE;
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
    fn a_namespace_without_credit_waits_and_the_others_do_not() {
        let (mut names, mut queue) = (Names::default(), Queue::default());
        let crowd = units(&mut names, "a-team", "crowd", 3);
        let other = units(&mut names, "shop", "api", 2);
        queue.add(&crowd);
        queue.add(&other);
        let now = Mono(1_000);
        let first = queue.pop().unwrap();
        assert!(crowd.contains(&first));
        queue.spend(now, first, MOST_AT_ONCE + 8_000);
        assert_eq!(take(&mut queue, 9).into_iter().collect::<BTreeSet<_>>(), other);
        assert!(!queue.is_ready() && !queue.is_empty());
        // What comes meanwhile waits with the others.
        queue.add(&crowd);
        assert!(!queue.is_ready());
        let due = queue.due().unwrap();
        assert_eq!(due, Mono(2_000));
        queue.release(Mono(due.0 - 1), false);
        assert!(!queue.is_ready());
        queue.release(due, false);
        assert_eq!(take(&mut queue, 9).into_iter().collect::<BTreeSet<_>>(), crowd);
        assert_eq!(queue.due(), None);
        // Who judges everything now waits for nobody.
        queue.add(&crowd);
        let one = queue.pop().unwrap();
        queue.spend(due, one, 8_000);
        assert!(!queue.is_ready());
        queue.release(due, true);
        assert!(queue.is_ready());
        assert!(queue.due().is_none());
    }

    #[test]
    fn one_of_a_single_unit_waits_as_well_and_never_long() {
        let (mut names, mut queue) = (Names::default(), Queue::default());
        let single = units(&mut names, "a-team", "api", 1);
        let mut now = Mono(0);
        let mut judged = 0;
        // It changes a hundred times a second, for a minute, and each time takes 700 verdicts.
        for _ in 0..6_000 {
            now = now.plus(10);
            queue.release(now, false);
            queue.add(&single);
            while let Some(unit) = queue.pop() {
                judged += 700;
                queue.spend(now, unit, 700);
            }
            assert!(queue.due().is_none_or(|due| due.since(now) <= 100), "at {now:?}");
        }
        assert!((60 * 8_000..65 * 8_000).contains(&judged), "{judged}");
        // However much one takes, the next waits for seconds.
        queue.release(now, true);
        queue.add(&single);
        let one = queue.pop().unwrap();
        queue.spend(now, one, usize::MAX);
        assert!(queue.due().is_some_and(|due| due.since(now) <= 15_000));
    }

    #[test]
    fn the_platform_has_no_ceiling() {
        let mut queue = Queue::default();
        let unit = WorkUnit::of(Scope::Cluster, About::Check(0));
        queue.add_one(unit);
        queue.spend(Mono(0), unit, usize::MAX);
        assert_eq!(queue.pop(), Some(unit));
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
