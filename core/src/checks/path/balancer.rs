//! The cloud load balancer on a path, and where on it it stands.

use super::tables::TableHop;
use crate::dataplane::load_balancer::{Forwards, Listener};
use crate::judge::{Look, Path};
use crate::know::Gap;
use crate::policy::{Door, Hop, Layer};
use crate::route::Meets;
use crate::sources::service::ServiceType;

/// A load balancer on a path.
pub(super) enum Balancer {
    /// The client does not come by one, or a declared hop stands for it.
    None,
    /// A table before the declared hops.
    First(TableHop),
    /// A table after them, before the nodes.
    Last(TableHop),
    /// One that ends connections, after the declared hops.
    Proxy(Listener),
}

/// The load balancer that the client comes by.
///
/// Where the Service has one of its own, it stands behind the declared hops. Where it has none, the client comes by
/// another Service's, in front of them. One that is not known is declared by a hop beside it whose idle timeout is.
pub(super) fn balancer(look: &Look<'_>, path: &Path<'_>) -> Balancer {
    if path.client.from != Door::LoadBalancer {
        return Balancer::None;
    }
    let hops = &path.connection.hops;
    if path.service.kind == ServiceType::LoadBalancer {
        return match crate::route::balancer_listener(look, path.key, path.service, path.port) {
            Ok(listener) if listener.forwards == Forwards::Packets => {
                let meets = if listener.finds_again {
                    Meets::FoundAgain
                } else {
                    Meets::Surely
                };
                Balancer::Last(TableHop {
                    meets,
                    ..table(listener.name, Ok(listener.idle))
                })
            }
            Ok(listener) => Balancer::Proxy(listener),
            Err(_) if stands_for_it(hops.iter().rev()) => Balancer::None,
            Err(gap) => Balancer::Last(table("load balancer", Err(gap))),
        };
    }
    let declared = match hops.first() {
        Some(first) if first.layer == Layer::L7 => first.idle_timeout.is_some(),
        _ => stands_for_it(hops.iter()),
    };
    if declared {
        return Balancer::None;
    }
    let shown = look.show(path.key);
    let why = match hops.first() {
        None => "no hop is declared in its place",
        Some(_) => "no hop with an idle timeout is declared in its place, before the others",
    };
    Balancer::First(table(
        "load balancer",
        Err(Gap::Opaque(
            format!("the load balancer: Service {shown} is not of type LoadBalancer, and {why}").into(),
        )),
    ))
}

/// Whether an L7 hop or load balancer ends the client's pings before they reach the server.
pub(super) fn ends_pings(look: &Look<'_>, path: &Path<'_>) -> bool {
    path.connection.hops.iter().any(|hop| hop.layer == Layer::L7)
        || matches!(balancer(look, path), Balancer::Proxy(listener) if listener.forwards == Forwards::Requests)
}

/// Whether one of the L4 hops up to the next L7 hop has a declared idle timeout.
fn stands_for_it<'a>(hops: impl Iterator<Item = &'a Hop>) -> bool {
    hops.take_while(|hop| hop.layer == Layer::L4)
        .any(|hop| hop.idle_timeout.is_some())
}

fn table(name: &str, idle: Result<crate::know::Val<i64>, Gap>) -> TableHop {
    TableHop {
        hop: name.into(),
        idle,
        end: None,
        meets: Meets::Surely,
    }
}
