//! What is waiting to be written: the latest status of each policy, never two of one.

use std::collections::BTreeSet;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::fair_queue::FairQueue;
use super::rate_limiter::RateLimiter;
use crate::api::PolicyRef;
use crate::status::Order;

/// An order on its way, and since when its cause is known.
#[derive(Debug, Clone)]
pub struct Queued {
    /// What to write.
    pub order: Order,
    /// When the line that caused it was received; the time from here to sending is our own part of a reaction.
    pub received: Instant,
}

/// Orders that wait, at most: enough that the writer never waits for the loop. Each holds its findings with their texts,
/// so what thousands of policies must be told is written as it leaves, not kept.
const ROOM: usize = 64;

/// The same of one namespace: what is more waits without its text, and leaves room for the others.
const ROOM_EACH: usize = 8;

/// Requests of one namespace under way at a time, of the writer's few: thousands of its policies whose verdicts turn at
/// once are told by and by, and neither the writer nor the API server is theirs alone meanwhile.
const UNDERWAY_EACH: usize = 2;

/// The latest order of each policy. Namespaces take turns, and none may have it all, so that a busy one does not hold up
/// the others.
#[derive(Debug, Default)]
pub struct Outbox {
    inside: std::sync::Mutex<Inside>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    waiting: FairQueue<Queued>,
    underway: BTreeSet<PolicyRef>,
    allowances: RateLimiter,
}

impl Outbox {
    /// Puts an order in, in place of an older one of the same policy.
    pub fn put(&self, target: PolicyRef, order: Order, received: Instant) {
        let mut inside = self.lock();
        if let Some(queued) = inside.waiting.get_mut(&target) {
            // The older cause has waited longer: its time counts.
            queued.order = order;
        } else {
            inside.waiting.put(target, Queued { order, received });
        }
        drop(inside);
        self.news.notify_one();
    }

    /// Whether there is room for an order of this namespace. One that replaces another needs none.
    pub fn has_room(&self, namespace: &str) -> bool {
        let inside = self.lock();
        inside.waiting.len() < ROOM && inside.waiting.waiting_in(namespace) < ROOM_EACH
    }

    /// Takes back what is waiting for a policy: it already says so, or it is gone.
    pub fn withdraw(&self, target: &PolicyRef) {
        self.lock().waiting.remove(target);
    }

    /// The next order whose policy has no request underway, and whose namespace has neither too many nor had too many of
    /// late. The caller must give it back by [`Outbox::done`].
    pub fn take(&self, now: Instant) -> Option<(PolicyRef, Queued)> {
        let mut inside = self.lock();
        let Inside {
            waiting,
            underway,
            allowances,
        } = &mut *inside;
        let busy = |space: &str| underway.iter().filter(|one| &*one.namespace == space).count();
        let open = |space: &str| busy(space) < UNDERWAY_EACH && allowances.opens_at(space, now) <= now;
        let (target, queued) = waiting.take(open, |one| !underway.contains(one))?;
        allowances.spend(&target.namespace, now);
        underway.insert(target.clone());
        Some((target, queued))
    }

    /// When the next namespace may be written to that waits only because it was written to so often.
    pub fn opens_at(&self, now: Instant) -> Option<Instant> {
        let inside = self.lock();
        let spaces = inside.waiting.namespaces();
        spaces
            .map(|space| inside.allowances.opens_at(space, now))
            .filter(|at| *at > now)
            .min()
    }

    /// A request has ended. What failed for a passing reason goes back, unless a newer order has come meanwhile.
    pub fn done(&self, target: &PolicyRef, again: Option<Queued>) {
        let mut inside = self.lock();
        inside.underway.remove(target);
        if let Some(queued) = again
            && !inside.waiting.contains(target)
        {
            inside.waiting.put(target.clone(), queued);
        }
        drop(inside);
        self.news.notify_one();
    }

    /// Forgets everything: orders of a standby are void, its successor judges anew.
    pub fn clear(&self) {
        self.lock().waiting.clear();
    }

    /// How many orders wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for an order to come or a request to end.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inside> {
        // Nothing in here panics half-way: what a poisoned lock holds is whole.
        self.inside
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::rate_limiter::{APART, BURST};
    use crate::status::{Status, Times};
    use std::time::Duration;

    fn target(name: &str) -> PolicyRef {
        PolicyRef {
            namespace: "shop".into(),
            name: name.into(),
        }
    }

    fn order(generation: i64) -> Order {
        Order {
            uid: "1".into(),
            generation,
            status: Status::default(),
            before: Times::default(),
        }
    }

    #[test]
    fn the_latest_order_of_a_policy_replaces_the_older_and_keeps_its_time() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.put(target("a"), order(1), now);
        outbox.put(target("b"), order(1), now);
        outbox.put(target("a"), order(2), now + Duration::from_secs(1));
        assert_eq!(outbox.len(), 2);
        let (first, queued) = outbox.take(now).expect("an order");
        assert_eq!((first, queued.order.generation), (target("a"), 2));
        assert_eq!(queued.received, now);
    }

    #[test]
    fn a_policy_has_one_request_underway() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.put(target("a"), order(1), now);
        let (a, _) = outbox.take(now).expect("an order");
        outbox.put(target("a"), order(2), now);
        assert!(outbox.take(now).is_none());
        outbox.done(&a, None);
        assert_eq!(
            outbox.take(now).map(|(_, queued)| queued.order.generation),
            Some(2)
        );
    }

    #[test]
    fn one_namespace_has_neither_all_the_room_nor_all_the_requests() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        for count in 0..ROOM_EACH {
            assert!(outbox.has_room("shop"), "{count}");
            outbox.put(target(&count.to_string()), order(1), now);
        }
        assert!(!outbox.has_room("shop") && outbox.has_room("other"));
        let underway: Vec<_> = std::iter::from_fn(|| outbox.take(now)).collect();
        assert_eq!(underway.len(), UNDERWAY_EACH);
        let other = PolicyRef {
            namespace: "other".into(),
            name: "b".into(),
        };
        outbox.put(other.clone(), order(1), now);
        assert_eq!(outbox.take(now).map(|(target, _)| target), Some(other));
        outbox.done(&underway[0].0, None);
        assert!(outbox.take(now).is_some() && outbox.take(now).is_none());
    }

    #[test]
    fn a_namespace_that_was_written_to_without_end_goes_on_steadily() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        for count in 0..=BURST {
            assert_eq!(outbox.opens_at(now), None);
            outbox.put(target(&count.to_string()), order(1), now);
            if let Some((target, _)) = outbox.take(now) {
                outbox.done(&target, None);
            }
        }
        assert_eq!((outbox.len(), outbox.opens_at(now)), (1, Some(now + APART)));
        assert!(outbox.take(now).is_none() && outbox.take(now + APART).is_some());
    }

    #[test]
    fn what_failed_goes_back_unless_something_newer_waits() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.put(target("a"), order(1), now);
        let (a, old) = outbox.take(now).expect("an order");
        outbox.put(target("a"), order(2), now);
        outbox.done(&a, Some(old));
        let (_, queued) = outbox.take(now).expect("an order");
        assert_eq!(queued.order.generation, 2);
        outbox.done(&a, Some(queued));
        assert_eq!(outbox.len(), 1);
        outbox.withdraw(&a);
        assert!(outbox.is_empty() && outbox.take(now).is_none());
    }
}
