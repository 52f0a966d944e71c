//! The tables that a Service itself puts on a path: its cloud load balancer's, and those of the nodes.

use super::budget::Table;
use crate::judge::{Look, Path};
use crate::know::Gap;
use crate::policy::Door;
use crate::sources::service::{ServiceType, Transport};

/// The tables of the Service itself: the cloud load balancer where the client comes by it, then the nodes'. One
/// without an address of its own has none: its clients connect to a backend.
pub(super) fn of_service(look: &Look<'_>, path: &Path<'_>) -> Vec<Table> {
    if !path.service.has_data_plane() {
        return Vec::new();
    }
    let udp = path.port.transport == Transport::Udp;
    let mut tables = Vec::new();
    tables.extend(door(look, path));
    let fleet = look.fleet();
    if let Some(gap) = &fleet.gap {
        tables.push(Table {
            hop: "node".into(),
            idle: Err(gap.clone()),
        });
    }
    for class in &fleet.classes {
        let idle = if udp {
            &class.profile.udp_idle_seconds
        } else {
            &class.profile.service_idle_seconds
        };
        let idle = match idle {
            Ok(None) => continue,
            Ok(Some(val)) => Ok(val.clone()),
            Err(gap) => Err(gap.clone()),
        };
        let mode = class
            .profile
            .mode
            .as_ref()
            .map_or("unknown proxy", |mode| mode.value.name());
        let hop = if class.nodes == 0 {
            format!("node table ({mode})")
        } else {
            format!("{mode} table of {} nodes", class.nodes)
        };
        tables.push(Table {
            hop: hop.into(),
            idle,
        });
    }
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
