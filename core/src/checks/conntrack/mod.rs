//! Checks of what the nodes' connection tables and proxies do with Service traffic.

pub mod config_drift;
pub mod drop_rate;
pub mod gc_lag;
pub mod ipvs_reuse;
pub mod port_recycle;
pub mod proxy_bounds;
mod source_ports;
pub mod table_pressure;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::judge::Check;

/// The checks of this family, in the order of their pages.
pub(super) const CHECKS: &[Check] = &[
    config_drift::CHECK,
    proxy_bounds::CHECK,
    port_recycle::CHECK,
    ipvs_reuse::CHECK,
    table_pressure::CHECK,
    drop_rate::CHECK,
    gc_lag::CHECK,
];

/// Nodes in a message, by the first of their names: `node a`, `3 nodes (a, b, ...)`.
fn on_nodes(nodes: usize, sample: &[Arc<str>]) -> String {
    let named = sample.get(..2).unwrap_or(sample);
    match (nodes, named) {
        (0, _) => "the nodes, which were not read".into(),
        (1, [name, ..]) => format!("node {name}"),
        (_, []) => format!("{nodes} nodes"),
        _ => {
            let more = if nodes > named.len() { ", ..." } else { "" };
            format!("{nodes} nodes ({}{more})", named.join(", "))
        }
    }
}
