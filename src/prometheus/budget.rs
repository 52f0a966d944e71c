//! What the questions of one namespace may take of a Prometheus that all share.

use std::time::Duration;

use tokio::time::Instant;

/// Time that a server may work for one namespace in a minute, in seconds: a fifth of one query at a time. Eight Services take
/// 32 questions a minute, which are answered in some 20 ms each.
pub(super) const SECONDS: f64 = 12.0;

/// Bytes of answers for one namespace in a minute: 32 questions with 300 Pods each.
pub(super) const BYTES: f64 = 4.0 * 1024.0 * 1024.0;

const MINUTE: f64 = 60.0;

/// What a namespace has taken. It is forgiven steadily: as much as is allowed in a minute within a minute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    seconds: f64,
    bytes: f64,
    at: Instant,
}

impl Spent {
    /// Nothing yet.
    pub(super) const fn nothing(now: Instant) -> Self {
        Self {
            seconds: 0.0,
            bytes: 0.0,
            at: now,
        }
    }

    fn forgive(&mut self, now: Instant) {
        let minutes = now.saturating_duration_since(self.at).as_secs_f64() / MINUTE;
        self.seconds = (self.seconds - minutes * SECONDS).max(0.0);
        self.bytes = (self.bytes - minutes * BYTES).max(0.0);
        self.at = now;
    }

    /// A question was answered.
    #[allow(
        clippy::cast_precision_loss,
        reason = "an answer has far fewer bytes than 2^53"
    )]
    pub(super) fn add(&mut self, took: Duration, bytes: usize, now: Instant) {
        self.forgive(now);
        self.seconds += took.as_secs_f64();
        self.bytes += bytes as f64;
    }

    /// The part of its budget that is taken, of time or of bytes: from 1 on nothing more is asked.
    pub(super) fn part(mut self, now: Instant) -> f64 {
        self.forgive(now);
        (self.seconds / SECONDS).max(self.bytes / BYTES)
    }

    /// When there is something left again.
    pub(super) fn open_at(self, now: Instant) -> Instant {
        let over = (self.part(now) - 1.0).max(0.0);
        now + Duration::from_secs_f64(over * MINUTE)
    }
}

/// Why a namespace's question was not asked. It has no number that moves, or each would be written into a status.
pub(super) fn over_budget() -> String {
    let mib = BYTES / 1024.0 / 1024.0;
    format!("queries of its namespace take more than {SECONDS:.0} s or {mib:.0} MiB a minute")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_budget_is_forgiven_within_a_minute() {
        let now = Instant::now();
        let mut spent = Spent::nothing(now);
        assert_eq!(spent.open_at(now), now);
        spent.add(Duration::from_secs(18), 0, now);
        assert!((spent.part(now) - 1.5).abs() < 1e-9);
        let open = spent.open_at(now);
        assert!(((open - now).as_secs_f64() - 30.0).abs() < 0.01);
        assert!(spent.part(open + Duration::from_secs(1)) < 1.0);
        assert!(spent.part(now + Duration::from_secs(90)) < 1e-9);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_count_as_well() {
        let now = Instant::now();
        let mut spent = Spent::nothing(now);
        for _ in 0..4 {
            spent.add(Duration::from_millis(20), 1 << 20, now);
        }
        assert!(spent.part(now) >= 1.0);
        assert_eq!(
            over_budget(),
            "queries of its namespace take more than 12 s or 4 MiB a minute"
        );
    }
}
