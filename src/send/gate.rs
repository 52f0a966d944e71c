//! What may leave now.
//!
//! A few requests at a time, one for each policy, few for each namespace, and none while the server asks for a pause.
//! Whatever makes thousands of verdicts turn at once has often shaken the API server too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::know::Mono;

use super::rate_limiter::RateLimiter;
use crate::api::PolicyRef;

/// Requests under way at a time: enough to hide a round trip, few enough to be no load.
const PARALLEL: usize = 8;

/// The same of one namespace: thousands of its policies whose verdicts turn at once are written one after the other, and
/// neither the gate nor the API server is theirs alone meanwhile.
const PARALLEL_EACH: usize = 2;

/// Which requests are under way, and when the next may leave.
#[derive(Debug, Default)]
pub struct Gate {
    under_way: BTreeSet<PolicyRef>,
    each: BTreeMap<Arc<str>, usize>,
    limiter: RateLimiter,
    paused_until: Option<Mono>,
}

impl Gate {
    /// Whether any request may leave.
    pub fn is_open(&self, now: Mono) -> bool {
        self.under_way.len() < PARALLEL && self.paused_until.is_none_or(|until| until <= now)
    }

    /// Whether a request for a policy of this namespace may leave, while [`Self::is_open`].
    pub fn admits(&self, namespace: &str, now: Mono) -> bool {
        self.each
            .get(namespace)
            .is_none_or(|count| *count < PARALLEL_EACH)
            && self.limiter.opens_at(namespace, now) <= now
    }

    /// Whether a request for this policy is under way: another has to wait for it.
    pub fn is_under_way(&self, policy: &PolicyRef) -> bool {
        self.under_way.contains(policy)
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// A request for this policy leaves.
    pub fn enter(&mut self, policy: &PolicyRef, now: Mono) {
        if self.under_way.insert(policy.clone()) {
            *self.each.entry(policy.namespace.clone()).or_default() += 1;
            self.limiter.spend(&policy.namespace, now);
        }
    }

    /// The last request for this policy has ended.
    pub fn leave(&mut self, policy: &PolicyRef) {
        if !self.under_way.remove(policy) {
            return;
        }
        if let Some(count) = self.each.get_mut(&policy.namespace) {
            *count -= 1;
            if *count == 0 {
                self.each.remove(&policy.namespace);
            }
        }
    }

    /// Lets nothing leave for so long.
    pub fn pause(&mut self, now: Mono, pause: Duration) {
        let until = now.plus(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// When time alone lets something leave for one of these namespaces.
    pub fn opens_at<'a>(&self, namespaces: impl Iterator<Item = &'a str>, now: Mono) -> Option<Mono> {
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return Some(until);
        }
        namespaces
            .map(|namespace| self.limiter.opens_at(namespace, now))
            .filter(|at| *at > now)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rate_limiter::{APART, BURST};
    use super::*;

    const NOW: Mono = Mono(1_000_000);

    fn policy(namespace: &str, name: &str) -> PolicyRef {
        PolicyRef {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn one_namespace_has_not_all_the_requests() {
        let mut gate = Gate::default();
        for name in ["a", "b"] {
            assert!(gate.admits("shop", NOW), "{name}");
            gate.enter(&policy("shop", name), NOW);
        }
        assert!(!gate.admits("shop", NOW) && gate.admits("other", NOW) && gate.is_open(NOW));
        assert!(gate.is_under_way(&policy("shop", "a")) && !gate.is_under_way(&policy("shop", "c")));
        gate.leave(&policy("shop", "a"));
        assert!(gate.admits("shop", NOW));
        for count in 1..PARALLEL {
            gate.enter(&policy(&count.to_string(), "x"), NOW);
        }
        assert!(!gate.is_open(NOW));
        for count in 1..PARALLEL {
            gate.leave(&policy(&count.to_string(), "x"));
        }
        gate.leave(&policy("shop", "b"));
        assert!(gate.each.is_empty() && gate.under_way() == 0);
    }

    #[test]
    fn after_its_burst_a_namespace_goes_on_steadily() {
        let mut gate = Gate::default();
        for _ in 0..BURST {
            assert_eq!(gate.opens_at(["shop"].into_iter(), NOW), None);
            gate.enter(&policy("shop", "a"), NOW);
            gate.leave(&policy("shop", "a"));
        }
        assert!(!gate.admits("shop", NOW) && gate.admits("other", NOW));
        let next = NOW.plus(APART);
        assert_eq!(gate.opens_at(["other", "shop"].into_iter(), NOW), Some(next));
        assert!(gate.admits("shop", next));
    }

    #[test]
    fn a_pause_holds_everybody_and_the_longest_counts() {
        let mut gate = Gate::default();
        gate.pause(NOW, Duration::from_secs(30));
        gate.pause(NOW, Duration::from_secs(2));
        assert!(!gate.is_open(NOW.plus(29_999)));
        assert_eq!(gate.opens_at(["shop"].into_iter(), NOW), Some(NOW.plus(30_000)));
        assert!(gate.is_open(NOW.plus(30_000)));
    }
}
