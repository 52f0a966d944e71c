//! How fast the policies of one namespace are written to.
//!
//! Whatever makes thousands of verdicts turn at once has often shaken the API server too. A namespace's policies are then
//! told steadily, the latest status of each, and not as fast as the server can answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Statuses of one namespace that may be written at once: with fewer policies a namespace is never held up, unless they
/// turn again and again.
pub(super) const BURST: u32 = 100;

/// How far apart the next ones are, on average. Fifty a second are a hundred requests with their Events; what that costs
/// the others is measured by `evenkeel-measure --operator --crowd`.
pub(super) const APART: Duration = Duration::from_millis(20);

/// What namespaces have spent of their bursts.
#[derive(Debug, Default)]
pub(super) struct RateLimiter {
    /// When a namespace will have its whole burst again; absent when it has.
    whole_at: HashMap<Arc<str>, Instant>,
}

impl RateLimiter {
    /// From when on a namespace may be written to.
    pub(super) fn opens_at(&self, namespace: &str, now: Instant) -> Instant {
        let whole_at = self.whole_at.get(namespace).copied().unwrap_or(now);
        whole_at
            .checked_sub(APART * (BURST - 1))
            .map_or(now, |at| at.max(now))
    }

    /// Notes that one of its statuses is written.
    pub(super) fn spend(&mut self, namespace: &Arc<str>, now: Instant) {
        // Whoever has its whole burst needs no entry: only namespaces of the last seconds are held.
        self.whole_at.retain(|_, at| *at > now);
        let at = self.whole_at.entry(namespace.clone()).or_insert(now);
        *at += APART;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_its_burst_a_namespace_goes_on_steadily_and_others_are_not_held_up() {
        let (mut allowances, start) = (RateLimiter::default(), Instant::now());
        let (crowd, shop): (Arc<str>, Arc<str>) = ("crowd".into(), "shop".into());
        for _ in 0..BURST {
            assert_eq!(allowances.opens_at(&crowd, start), start);
            allowances.spend(&crowd, start);
        }
        assert_eq!(allowances.opens_at(&crowd, start), start + APART);
        assert_eq!(allowances.opens_at(&shop, start), start);
        let later = start + APART;
        assert_eq!(allowances.opens_at(&crowd, later), later);
        allowances.spend(&crowd, later);
        assert_eq!(allowances.opens_at(&crowd, later), later + APART);
    }

    #[test]
    fn a_burst_comes_back_and_is_never_more_than_one() {
        let (mut allowances, start) = (RateLimiter::default(), Instant::now());
        let (crowd, shop): (Arc<str>, Arc<str>) = ("crowd".into(), "shop".into());
        allowances.spend(&crowd, start);
        let later = start + APART * BURST * 3;
        for _ in 0..BURST {
            allowances.spend(&crowd, later);
        }
        assert!(allowances.opens_at(&crowd, later) > later);
        let much_later = later + APART * BURST;
        allowances.spend(&shop, much_later);
        assert_eq!(allowances.whole_at.len(), 1, "only {shop} has spent anything");
    }
}
