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
