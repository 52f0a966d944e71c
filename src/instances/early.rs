//! When an unknown certificate is a reason to ask the API servers for theirs before the minute is over.
//!
//! A certificate that the load balancer shows and no API server has may be newer than what was last read of them. It may as
//! well be the balancer's own, which then comes with every connection: asking all API servers each time would be one
//! handshake with each of them every 5 s, for nothing. So each refresh that did not explain the certificate doubles the pause
//! until the next one.

use std::time::Duration;

use tokio::time::Instant;

/// After the first refresh that explained nothing.
const FIRST: Duration = Duration::from_secs(10);

/// The longest pause: what holds is read again each minute anyway.
const LONGEST: Duration = Duration::from_secs(640);

/// Remembers how the last early refreshes ended.
#[derive(Debug, Default)]
pub(super) struct EarlyRefresh {
    not_before: Option<Instant>,
    pause: Option<Duration>,
}

impl EarlyRefresh {
    /// Whether there may be one now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// One was made; `explained` where an API server now has the certificate that was unknown.
    pub(super) fn done(&mut self, now: Instant, explained: bool) {
        if explained {
            *self = Self::default();
            return;
        }
        let pause = self.pause.map_or(FIRST, |pause| (2 * pause).min(LONGEST));
        self.pause = Some(pause);
        self.not_before = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections every 5 s; returns in which seconds an early refresh was made.
    fn refreshes(seconds: u64, explained: impl Fn(u64) -> bool) -> Vec<u64> {
        let (start, mut early, mut made) = (Instant::now(), EarlyRefresh::default(), Vec::new());
        for second in (0..seconds).step_by(5) {
            let now = start + Duration::from_secs(second);
            if early.is_due(now) {
                made.push(second);
                early.done(now, explained(second));
            }
        }
        made
    }

    #[test]
    fn a_balancer_with_a_certificate_of_its_own_costs_ever_less() {
        let hour = refreshes(3_600, |_| false);
        assert_eq!(hour, [0, 10, 30, 70, 150, 310, 630, 1_270, 1_910, 2_550, 3_190]);
    }

    #[test]
    fn certificates_that_are_renewed_one_by_one_are_learned_at_once() {
        assert_eq!(refreshes(30, |_| true), [0, 5, 10, 15, 20, 25]);
    }

    #[test]
    fn one_that_was_explained_ends_the_pauses() {
        let made = refreshes(200, |second| second == 70);
        assert_eq!(made, [0, 10, 30, 70, 75, 85, 105, 145]);
    }
}
