//! How often statuses of one namespace's policies may be written: GCRA (ITU-T I.371, the generic cell rate algorithm),
//! which needs one number for each namespace.

use std::collections::HashMap;
use std::sync::Arc;

use evenkeel_core::know::Mono;

/// Statuses of one namespace that may be written at once: with fewer policies a namespace is never held up, unless their
/// verdicts turn again and again.
pub(super) const BURST: u64 = 100;

/// How far apart the next ones are, on average, in milliseconds. Fifty a second are a hundred requests with their Events;
/// what that costs the others is measured by `evenkeel-measure --operator --crowd`.
pub(super) const APART: u64 = 20;

/// What namespaces have spent of their bursts.
#[derive(Debug, Default)]
pub(super) struct RateLimiter {
    /// When a namespace will have its whole burst again (the theoretical arrival time of GCRA); absent when it has.
    whole_at: HashMap<Arc<str>, Mono>,
}

impl RateLimiter {
    /// From when on a namespace's policies may be written to.
    pub(super) fn opens_at(&self, namespace: &str, now: Mono) -> Mono {
        let whole_at = self.whole_at.get(namespace).copied().unwrap_or(now);
        Mono(whole_at.0.saturating_sub(APART * (BURST - 1))).max(now)
    }

    /// Notes that one of its statuses is written.
    pub(super) fn spend(&mut self, namespace: &Arc<str>, now: Mono) {
        // A namespace that has its whole burst needs no entry: only those of the last seconds are held.
        self.whole_at.retain(|_, at| *at > now);
        let at = self.whole_at.entry(namespace.clone()).or_insert(now);
        *at = at.plus(APART);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Mono = Mono(5000);

    #[test]
    fn after_its_burst_a_namespace_goes_on_steadily_and_others_are_not_held_up() {
        let mut limiter = RateLimiter::default();
        let (crowd, shop): (Arc<str>, Arc<str>) = ("crowd".into(), "shop".into());
        for _ in 0..BURST {
            assert_eq!(limiter.opens_at(&crowd, START), START);
            limiter.spend(&crowd, START);
        }
        assert_eq!(limiter.opens_at(&crowd, START), START.plus(APART));
        assert_eq!(limiter.opens_at(&shop, START), START);
        let later = START.plus(APART);
        assert_eq!(limiter.opens_at(&crowd, later), later);
        limiter.spend(&crowd, later);
        assert_eq!(limiter.opens_at(&crowd, later), later.plus(APART));
    }

    #[test]
    fn a_burst_comes_back_and_is_never_more_than_one() {
        let mut limiter = RateLimiter::default();
        let (crowd, shop): (Arc<str>, Arc<str>) = ("crowd".into(), "shop".into());
        limiter.spend(&crowd, START);
        let later = START.plus(APART * BURST * 3);
        for _ in 0..BURST {
            limiter.spend(&crowd, later);
        }
        assert!(limiter.opens_at(&crowd, later) > later);
        let much_later = later.plus(APART * BURST);
        limiter.spend(&shop, much_later);
        assert_eq!(limiter.whole_at.len(), 1, "only {shop} has spent anything");
    }
}
