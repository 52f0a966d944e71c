//! Checks of nodes, zones and what every node depends on.

pub mod cordon_lb;
pub mod dns_headroom;
#[cfg(test)]
mod tests;
pub mod zone_disruption;
