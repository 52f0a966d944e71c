//! Checks of what the nodes' connection tables and proxies do with Service traffic.

pub mod config_drift;
pub mod ipvs_reuse;
pub mod port_recycle;
pub mod proxy_bounds;
mod source_ports;
#[cfg(test)]
mod tests;
