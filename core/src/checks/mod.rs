//! The checks: one file and one line of [`ALL`] each.
//!
//! A check is a pure function of what is known, the policies and now. Its id is part of the API; its page, its metric
//! label and what `explain` prints come from its file.

pub mod balance;
pub mod conntrack;
pub mod control_plane;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod needs;
pub mod nodes;
#[cfg(test)]
mod obeyed;
pub mod path;

use crate::judge::Check;

/// Every check. The order is that of the documentation; nothing else depends on it.
pub static ALL: &[Check] = &[
    path::idle_budget::CHECK,
    conntrack::config_drift::CHECK,
    conntrack::proxy_bounds::CHECK,
    conntrack::port_recycle::CHECK,
    conntrack::ipvs_reuse::CHECK,
    path::keepalive_order::CHECK,
    path::ping_floor::CHECK,
    path::netns_gap::CHECK,
    path::deadline_order::CHECK,
    balance::no_rebalance::CHECK,
    balance::policy_skew::CHECK,
    balance::minimum_ready::CHECK,
    balance::none_ready::CHECK,
    balance::local_holes::CHECK,
    balance::placement_skew::CHECK,
    nodes::cordon_lb::CHECK,
    nodes::zone_disruption::CHECK,
    nodes::mass_loss::CHECK,
    nodes::dns_headroom::CHECK,
    control_plane::detection::CHECK,
    control_plane::heartbeat::CHECK,
    control_plane::instances::CHECK,
    balance::flap::CHECK,
    nodes::churn_storm::CHECK,
    nodes::cascade::CHECK,
    nodes::fleet_change::CHECK,
    nodes::evict_loop::CHECK,
    nodes::preemption::CHECK,
    control_plane::stale_watch::CHECK,
];

/// The check of this id.
pub fn find(id: &str) -> Option<&'static Check> {
    ALL.iter().find(|check| check.id == id)
}
