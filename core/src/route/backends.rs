//! The backends of a Service: its endpoints, by what proxies do with them.

use crate::index::PortEndpoints;
use crate::judge::{Look, ServiceCase};
use crate::know::Known;
use crate::names::Key;
use crate::sources::service::ServicePort;
use crate::sources::slice::Endpoint;

/// The backends of a Service that take new connections: ready, serving and not terminating, each once.
///
/// A dual-stack Service has a slice for each family and so two addresses for each Pod; the larger family counts, the
/// fourth version where they are equal.
pub fn backends(look: &Look<'_>, service: Key) -> Known<Vec<Endpoint>> {
    Ok(larger_family(&look.endpoints(service)?, usable))
}

/// The backends of one port of a Service, or of several ports that have the same ones.
#[derive(Debug)]
pub struct PortBackends {
    /// The ports; empty where all ports of the Service have the same backends.
    pub ports: Vec<ServicePort>,
    /// Those that take new connections, as [`backends`] has them.
    pub usable: Vec<Endpoint>,
    /// Those that do not and are not on their way out.
    pub waiting: Vec<Endpoint>,
    /// Those that are on their way out and still serve: proxies use them where nothing else is left.
    pub ending: Vec<Endpoint>,
}

/// The backends of a Service by port.
pub fn backends_by_port(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Vec<PortBackends>> {
    let by_port = look.endpoints_by_port(case)?;
    let of = |one: &PortEndpoints<'_>| PortBackends {
        ports: one.ports.clone(),
        usable: larger_family(&one.endpoints, usable),
        waiting: larger_family(&one.endpoints, |one| !usable(one) && !one.terminating),
        ending: larger_family(&one.endpoints, |one| one.terminating && one.serving),
    };
    Ok(by_port.iter().map(of).collect())
}

fn usable(one: &Endpoint) -> bool {
    one.ready && one.serving && !one.terminating
}

fn larger_family(endpoints: &[Endpoint], wanted: impl Fn(&Endpoint) -> bool) -> Vec<Endpoint> {
    let (four, six): (Vec<_>, Vec<_>) = endpoints
        .iter()
        .copied()
        .filter(wanted)
        .partition(|one| one.address.is_ipv4());
    if six.len() > four.len() { six } else { four }
}
