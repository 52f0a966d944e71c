//! Checks of the control plane and of what blocks heartbeats.

mod calls;
mod cel;
pub mod channel_divergence;
pub mod detection;
pub mod etcd_pinned;
pub mod etcd_quota;
pub mod heartbeat;
pub mod instance_skew;
pub mod instances;
pub mod lb_view;
pub mod memory_headroom;
pub mod overload;
pub mod reconnect_storm;
mod requests;
mod servers;
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
    instance_skew::CHECK,
    lb_view::CHECK,
    channel_divergence::CHECK,
    overload::CHECK,
    reconnect_storm::CHECK,
    memory_headroom::CHECK,
    etcd_quota::CHECK,
    etcd_pinned::CHECK,
];
