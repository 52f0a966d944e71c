//! The tables that a Service itself puts on a path: its cloud load balancer's, and those of the nodes.

use super::budget::Table;
use crate::facts::node_tables;
use crate::judge::{Look, Path};
use crate::know::Gap;
use crate::policy::Door;
use crate::sources::service::ServiceType;

/// The tables of the Service itself: the cloud load balancer where the client comes by it, then those of the nodes
/// that the connection may enter.
pub(super) fn of_service(look: &Look<'_>, path: &Path<'_>) -> Vec<Table> {
    let mut tables = Vec::new();
    if path.service.has_data_plane() {
        tables.extend(door(look, path));
    }
    tables.extend(node_tables(look, path).into_iter().map(|table| Table {
        hop: table.hop,
        idle: table.idle,
    }));
    tables
}

/// The table of the load balancer that the client comes by. Where the Service has none of its own, what stands in its
/// place is one of the declared hops, or nobody knows.
fn door(look: &Look<'_>, path: &Path<'_>) -> Option<Table> {
    if path.client.from != Door::LoadBalancer {
        return None;
    }
    let own = path.service.kind == ServiceType::LoadBalancer;
    let idle = if own {
        crate::facts::balancer_idle(look, path.key, path.service, path.port)
    } else if path.connection.hops.is_empty() {
        let shown = look.show(path.key);
        let why = "is not of type LoadBalancer, and no hop is declared in its place";
        Err(Gap::Opaque(format!("Service {shown} {why}").into()))
    } else {
        return None;
    };
    Some(Table {
        hop: "cloud load balancer".into(),
        idle,
    })
}
