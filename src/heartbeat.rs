//! Signs of life of the loop, for the tasks that act when it gives none.
//!
//! The loop has a thread of its own and gives a sign of life after each slice of work, and each second when there is none.
//! The Lease and HTTP run on another thread and look at the last one: a loop that hangs must neither keep others from
//! writing nor pass for alive. Both limits are far above a slice, which takes milliseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_core::know::Mono;
use tokio::time::sleep;

use crate::clock::Clock;

/// How often the loop gives a sign of life when there is nothing to do.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// After so long without one the Lease is no longer renewed. With the 15 s that a Lease lasts, another replica writes after
/// 20 s at the latest.
pub const LEADS: Duration = Duration::from_secs(5);

/// After so long without one `/livez` fails, and the kubelet restarts the container when it has seen that as often as the
/// probe's `failureThreshold` says.
pub const LIVES: Duration = Duration::from_secs(30);

/// The last sign of life. Clones are of one loop.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    clock: Clock,
    /// Milliseconds of the clock.
    last: Arc<AtomicU64>,
}

impl Heartbeat {
    /// That of a loop that starts now.
    pub fn new(clock: Clock) -> Self {
        let last = Arc::new(AtomicU64::new(clock.now().mono.0));
        Self { clock, last }
    }

    /// Gives a sign of life.
    pub fn beat(&self) {
        self.last.store(self.clock.now().mono.0, Ordering::Relaxed);
    }

    /// How long there was none; time in which the machine was suspended counts.
    pub fn silence(&self) -> Duration {
        let last = Mono(self.last.load(Ordering::Relaxed));
        Duration::from_millis(self.clock.now().mono.since(last))
    }

    /// Whether the loop may hold the Lease.
    pub fn may_lead(&self) -> bool {
        self.silence() <= LEADS
    }

    /// Waits until the loop may no longer hold the Lease. Looks each second at least: timers do not see a suspension.
    pub async fn stopped(&self) {
        while self.may_lead() {
            let left = LEADS.saturating_sub(self.silence());
            sleep(left.min(INTERVAL) + Duration::from_millis(1)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    fn heartbeat() -> Heartbeat {
        // Virtual time alone counts.
        Heartbeat::new(Clock::with_boot_clock(|| Duration::ZERO))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_loop_may_lead_for_5_s() {
        let heartbeat = heartbeat();
        advance(LEADS).await;
        assert!(heartbeat.may_lead());
        advance(Duration::from_millis(1)).await;
        assert!(!heartbeat.may_lead());
        heartbeat.clone().beat();
        assert!(heartbeat.may_lead() && heartbeat.silence().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_noticed_although_signs_came_meanwhile() {
        let (heartbeat, began) = (heartbeat(), Instant::now());
        let beating = heartbeat.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                sleep(INTERVAL).await;
                beating.beat();
            }
        });
        heartbeat.stopped().await;
        assert_eq!(began.elapsed().as_secs(), 15);
    }
}
