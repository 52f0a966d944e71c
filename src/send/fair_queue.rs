//! A queue of policies, round robin over namespaces, and first in, first out within a namespace.
//!
//! One namespace may hold thousands of policies whose verdicts change at once. Round robin, the policy of another
//! waits for one of them and not for all.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::api::PolicyRef;

/// Policies that wait, each at most once, with what is known of why.
#[derive(Debug)]
pub struct FairQueue<T> {
    waiting: HashSet<PolicyRef>,
    /// The policies of each namespace, in order of arrival. No queue is empty.
    queues: HashMap<Arc<str>, VecDeque<(PolicyRef, T)>>,
    /// The namespaces that have a queue, the next one first.
    namespaces: VecDeque<Arc<str>>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            waiting: HashSet::new(),
            queues: HashMap::new(),
            namespaces: VecDeque::new(),
        }
    }
}

impl<T> FairQueue<T> {
    /// Puts a policy at the end of its namespace's queue. One that waits already keeps its place and its cause, which is the
    /// older one.
    pub fn put(&mut self, policy: PolicyRef, cause: T) {
        if !self.waiting.insert(policy.clone()) {
            return;
        }
        let namespace = policy.namespace.clone();
        let queue = self.queues.entry(namespace.clone()).or_default();
        if queue.is_empty() {
            self.namespaces.push_back(namespace);
        }
        queue.push_back((policy, cause));
    }

    /// Takes the next policy: of the namespaces that are `open`, round robin, the first in the queue that `may` go.
    pub fn take(
        &mut self,
        open: impl Fn(&str) -> bool,
        may: impl Fn(&PolicyRef) -> bool,
    ) -> Option<(PolicyRef, T)> {
        for _ in 0..self.namespaces.len() {
            let namespace = self.namespaces.pop_front()?;
            let Some(queue) = self.queues.get_mut(&namespace) else {
                continue;
            };
            // The queue of a namespace that is not open is not searched: it may be thousands long.
            let at = if open(&namespace) {
                queue.iter().position(|(policy, _)| may(policy))
            } else {
                None
            };
            let taken = at.and_then(|at| queue.remove(at));
            if queue.is_empty() {
                self.queues.remove(&namespace);
            } else {
                self.namespaces.push_back(namespace);
            }
            if let Some((policy, cause)) = taken {
                self.waiting.remove(&policy);
                return Some((policy, cause));
            }
        }
        None
    }

    /// Whether [`Self::take`] would find a policy.
    pub fn any(&self, open: impl Fn(&str) -> bool, may: impl Fn(&PolicyRef) -> bool) -> bool {
        self.queues
            .iter()
            .any(|(namespace, queue)| open(namespace) && queue.iter().any(|(policy, _)| may(policy)))
    }

    /// The namespaces in which a policy waits.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.iter().map(|namespace| &**namespace)
    }

    /// How many policies wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no policy waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(namespace: &str, name: &str) -> PolicyRef {
        PolicyRef {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    fn all(queue: &mut FairQueue<u32>) -> Vec<String> {
        let next = || {
            queue
                .take(|_| true, |_| true)
                .map(|(policy, _)| policy.to_string())
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_policy_of_another_namespace_waits_for_one_and_not_for_all() {
        let mut queue = FairQueue::default();
        for name in ["a", "b", "c"] {
            queue.put(policy("crowd", name), 0);
        }
        queue.put(policy("shop", "x"), 0);
        queue.put(policy("", "cluster"), 0);
        assert_eq!(
            all(&mut queue),
            ["crowd/a", "shop/x", "cluster", "crowd/b", "crowd/c"]
        );
    }

    #[test]
    fn a_policy_that_waits_keeps_its_place_and_its_cause_and_one_that_may_not_go_lets_others_pass() {
        let mut queue = FairQueue::default();
        for (name, cause) in [("a", 1), ("b", 2), ("a", 3)] {
            queue.put(policy("shop", name), cause);
        }
        queue.put(policy("other", "c"), 4);
        let a = policy("shop", "a");
        assert_eq!(queue.take(|_| true, |one| *one != a).map(|one| one.1), Some(2));
        assert_eq!(queue.take(|_| true, |one| *one != a).map(|one| one.1), Some(4));
        assert!(queue.take(|_| true, |one| *one != a).is_none());
        assert!(!queue.any(|_| true, |one| *one != a) && queue.any(|_| true, |_| true));
        assert_eq!(queue.take(|_| true, |_| true), Some((a.clone(), 1)));
        assert!(queue.is_empty());
        queue.put(a.clone(), 5);
        assert_eq!(queue.take(|_| true, |_| true), Some((a, 5)));
    }

    #[test]
    fn a_namespace_that_is_closed_keeps_its_queue() {
        let mut queue = FairQueue::default();
        for name in ["a", "b"] {
            queue.put(policy("crowd", name), 0);
        }
        queue.put(policy("shop", "x"), 0);
        let open = |namespace: &str| namespace != "crowd";
        assert!(queue.any(open, |_| true) && queue.len() == 3);
        let next = queue.take(open, |_| true);
        assert_eq!(next.map(|one| one.0), Some(policy("shop", "x")));
        assert!(!queue.any(open, |_| true) && queue.take(open, |_| true).is_none());
        assert_eq!(queue.namespaces().collect::<Vec<_>>(), ["crowd"]);
        assert_eq!(all(&mut queue), ["crowd/a", "crowd/b"]);
    }
}
