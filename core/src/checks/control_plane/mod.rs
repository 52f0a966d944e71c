//! Checks of the control plane and of what blocks heartbeats.

mod calls;
mod cel;
pub mod detection;
pub mod heartbeat;
pub mod instances;
mod requests;
pub mod stale_watch;
#[cfg(test)]
mod tests;

use crate::judge::Check;

/// The checks of this family, in the order of their pages.
pub(super) const CHECKS: &[Check] = &[
    detection::CHECK,
    heartbeat::CHECK,
    instances::CHECK,
    stale_watch::CHECK,
];
