//! The operator's clock: from the machine's times to the ones that the core, claims and permits are given.

use std::time::Duration;

use evenkeel_core::know::{Mono, Now, Wall};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Time since the process began, and wall time for what is stored in objects.
///
/// The monotonic clock stops while a machine is suspended, the boot clock does not (`clock_gettime(2)`). Time that passed
/// by either has passed: a claim to the Lease that was live before a suspension is not live after it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    booted: fn() -> Duration,
    booted_at_start: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        Self::with_boot_clock(since_boot)
    }
}

impl Clock {
    /// A clock that starts now and reads the time since boot from here.
    pub fn with_boot_clock(booted: fn() -> Duration) -> Self {
        Self {
            start: Instant::now(),
            booted,
            booted_at_start: booted(),
        }
    }

    /// Now, in both times.
    pub fn now(&self) -> Now {
        Now {
            mono: Mono(u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)),
            wall: Wall(jiff::Timestamp::now().as_second()),
        }
    }

    /// Time since the start: the longer of what the two clocks have counted.
    pub fn elapsed(&self) -> Duration {
        let booted = (self.booted)().saturating_sub(self.booted_at_start);
        Instant::now().saturating_duration_since(self.start).max(booted)
    }

    /// How long before now an instant was, as time since the start.
    pub fn at(&self, instant: Instant) -> Duration {
        self.elapsed()
            .saturating_sub(Instant::now().saturating_duration_since(instant))
    }

    /// The instant at which to wake up for a moment, unless the machine is suspended meanwhile.
    pub fn instant(&self, at: Mono) -> Instant {
        Instant::now() + Duration::from_millis(at.0).saturating_sub(self.elapsed())
    }
}

/// Time since the machine booted, suspensions included.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_passes_by_the_clock_that_counts_more() {
        static BOOTED: AtomicU64 = AtomicU64::new(1000);
        let clock = Clock::with_boot_clock(|| Duration::from_secs(BOOTED.load(Ordering::Relaxed)));
        assert_eq!(clock.elapsed(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now().mono, Mono(5000));
        // Suspended for a minute: the monotonic clock has not seen it.
        BOOTED.store(1065, Ordering::Relaxed);
        assert_eq!(clock.now().mono, Mono(65_000));
        assert_eq!(
            clock.instant(Mono(70_000)),
            Instant::now() + Duration::from_secs(5)
        );
        assert_eq!(clock.at(Instant::now()), Duration::from_secs(65));
    }

    #[test]
    fn the_machine_has_a_boot_clock() {
        assert!(since_boot() > Duration::ZERO);
    }
}
