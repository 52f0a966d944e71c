//! Checks of the control plane and of what stands in the way of heartbeats.

pub mod detection;
pub mod heartbeat;
pub mod instances;
pub mod stale_watch;
#[cfg(test)]
mod tests;
