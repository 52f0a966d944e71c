//! What waits for policies: namespaces take turns, and within a namespace the first to come is the first to go.
//!
//! One namespace may hold thousands of policies whose verdicts turn at the same moment. In turns, the policy of another
//! waits for one of them and not for all.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::api::PolicyRef;

/// What waits, at most one thing for each policy.
#[derive(Debug)]
pub struct FairQueue<T> {
    waiting: BTreeMap<PolicyRef, T>,
    /// Of each namespace, who waits, in order of arrival.
    lines: HashMap<Arc<str>, VecDeque<PolicyRef>>,
    /// The namespaces that have a line, the next one first.
    next: VecDeque<Arc<str>>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            lines: HashMap::new(),
            next: VecDeque::new(),
        }
    }
}

impl<T> FairQueue<T> {
    /// What waits for a policy.
    pub fn get_mut(&mut self, target: &PolicyRef) -> Option<&mut T> {
        self.waiting.get_mut(target)
    }

    /// Whether something waits for a policy.
    pub fn contains(&self, target: &PolicyRef) -> bool {
        self.waiting.contains_key(target)
    }

    /// Puts something at the end of its namespace's line. What waits already keeps its place, and this takes it over.
    pub fn put(&mut self, target: PolicyRef, what: T) {
        if self.waiting.insert(target.clone(), what).is_some() {
            return;
        }
        let space = target.namespace.clone();
        let line = self.lines.entry(space.clone()).or_default();
        if line.is_empty() {
            self.next.push_back(space);
        }
        line.push_back(target);
    }

    /// Takes what is next: of the namespaces that are `open`, the first in line that `may` go.
    pub fn take(
        &mut self,
        open: impl Fn(&str) -> bool,
        may: impl Fn(&PolicyRef) -> bool,
    ) -> Option<(PolicyRef, T)> {
        for _ in 0..self.next.len() {
            let space = self.next.pop_front()?;
            let Some(line) = self.lines.get_mut(&space) else {
                continue;
            };
            // Whoever is not served is not looked at: a line may be thousands long.
            let at = if open(&space) {
                line.iter().position(&may)
            } else {
                None
            };
            let target = at.and_then(|at| line.remove(at));
            if line.is_empty() {
                self.lines.remove(&space);
            } else {
                self.next.push_back(space);
            }
            if let Some(target) = target {
                let what = self.waiting.remove(&target)?;
                return Some((target, what));
            }
        }
        None
    }

    /// Whether somebody waits in a namespace that is `open`.
    pub fn any(&self, open: impl Fn(&str) -> bool) -> bool {
        self.namespaces().any(open)
    }

    /// The namespaces in which somebody waits.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.next.iter().map(|space| &**space)
    }

    /// How many wait in a namespace.
    pub fn waiting_in(&self, namespace: &str) -> usize {
        self.lines.get(namespace).map_or(0, VecDeque::len)
    }

    /// Takes back what waits for a policy.
    pub fn remove(&mut self, target: &PolicyRef) -> Option<T> {
        let what = self.waiting.remove(target)?;
        if let Some(line) = self.lines.get_mut(&target.namespace) {
            line.retain(|one| one != target);
            if line.is_empty() {
                self.lines.remove(&target.namespace);
                self.next.retain(|one| *one != target.namespace);
            }
        }
        Some(what)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many policies something waits for.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(namespace: &str, name: &str) -> PolicyRef {
        PolicyRef {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    fn all(turns: &mut FairQueue<u32>) -> Vec<String> {
        let next = || {
            turns
                .take(|_| true, |_| true)
                .map(|(target, _)| target.to_string())
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn one_of_another_namespace_waits_for_one_and_not_for_all() {
        let mut turns = FairQueue::default();
        for name in ["a", "b", "c"] {
            turns.put(target("crowd", name), 0);
        }
        turns.put(target("shop", "x"), 0);
        turns.put(target("", "cluster"), 0);
        assert_eq!(
            all(&mut turns),
            ["crowd/a", "shop/x", "cluster", "crowd/b", "crowd/c"]
        );
    }

    #[test]
    fn who_waits_keeps_its_place_and_who_may_not_go_lets_others_pass() {
        let mut turns = FairQueue::default();
        for (name, what) in [("a", 1), ("b", 2), ("a", 3)] {
            turns.put(target("shop", name), what);
        }
        turns.put(target("other", "c"), 4);
        let a = target("shop", "a");
        assert_eq!(turns.take(|_| true, |one| *one != a).map(|one| one.1), Some(2));
        assert_eq!(turns.take(|_| true, |one| *one != a).map(|one| one.1), Some(4));
        assert!(turns.take(|_| true, |one| *one != a).is_none());
        assert_eq!(turns.take(|_| true, |_| true), Some((a, 3)));
        assert!(turns.is_empty());
    }

    #[test]
    fn a_namespace_that_is_closed_keeps_its_line() {
        let mut turns = FairQueue::default();
        for name in ["a", "b"] {
            turns.put(target("crowd", name), 0);
        }
        turns.put(target("shop", "x"), 0);
        let open = |space: &str| space != "crowd";
        assert!(turns.any(open) && turns.waiting_in("crowd") == 2);
        let next = turns.take(open, |_| true);
        assert_eq!(next.map(|one| one.0), Some(target("shop", "x")));
        assert!(!turns.any(open) && turns.take(open, |_| true).is_none());
        assert_eq!(all(&mut turns), ["crowd/a", "crowd/b"]);
    }

    #[test]
    fn what_is_taken_back_leaves_no_turn_behind() {
        let mut turns = FairQueue::default();
        turns.put(target("shop", "a"), 1);
        assert_eq!(turns.remove(&target("shop", "a")), Some(1));
        assert_eq!(turns.remove(&target("shop", "a")), None);
        turns.put(target("other", "b"), 2);
        turns.put(target("shop", "a"), 3);
        turns.put(target("shop", "c"), 4);
        assert_eq!(turns.len(), 3);
        assert_eq!(all(&mut turns), ["other/b", "shop/a", "shop/c"]);
    }
}
