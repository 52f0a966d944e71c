//! Checks of nodes, zones and what every node depends on.

pub mod cordon_lb;
pub mod dns_headroom;
pub mod zone_disruption;
