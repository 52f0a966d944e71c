//! The operator's clock: from the machine's two times to the ones that the core is given.

use std::time::Duration;

use evenkeel_core::know::{Mono, Now, Wall};
use tokio::time::Instant;

/// Monotonic time since the process began, and wall time for what is stored in objects.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock {
    /// Now, in both times.
    pub fn now(&self) -> Now {
        let millis = Instant::now().saturating_duration_since(self.start).as_millis();
        Now {
            mono: Mono(u64::try_from(millis).unwrap_or(u64::MAX)),
            wall: Wall(jiff::Timestamp::now().as_second()),
        }
    }

    /// The instant of a monotonic time.
    pub fn instant(&self, at: Mono) -> Instant {
        self.start + Duration::from_millis(at.0)
    }
}
