//! Checks of one path: a client, the hops, the Service, a server.

mod advice;
mod balancer;
pub mod budget;
pub mod deadline_order;
pub mod idle_budget;
mod keepalive;
pub mod keepalive_order;
mod margin;
pub mod netns_gap;
pub mod ping_floor;
mod segment;
mod span;
mod tables;

use std::sync::Arc;

use crate::judge::{Check, Path};

/// The checks of this family, in the order of their pages.
pub(super) const CHECKS: &[Check] = &[
    idle_budget::CHECK,
    keepalive_order::CHECK,
    ping_floor::CHECK,
    netns_gap::CHECK,
    deadline_order::CHECK,
];

/// Where a field of the connection under judgement is declared.
fn declared(path: &Path<'_>, field: &str) -> String {
    format!(
        "policy {}/{} {}.{field}",
        path.policy.namespace, path.policy.name, path.connection.name
    )
}

/// What a client is called that has no name.
fn client_name(name: &Arc<str>) -> Arc<str> {
    if name.is_empty() {
        "client".into()
    } else {
        name.clone()
    }
}

#[cfg(test)]
mod adversarial;
#[cfg(test)]
mod founding_incident;
#[cfg(test)]
mod tests;
