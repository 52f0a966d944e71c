//! `backend-no-rebalance-path`: connections that live for ever meet a balancer that only sees new ones.

mod unending;

use std::sync::Arc;

use crate::judge::{Check, Judge, Look, Memory, ServiceCase, Severities, Verdict, declares};
use crate::know::{Known, Reads, Source, Val};
use crate::names::Names;
use crate::policy::{Connection, Hop, Layer, Limit, Policy, Protocol};
use crate::sample::Metrics;
use crate::sources::service::{ServicePort, ServiceType, Transport};
#[cfg(test)]
pub(crate) use unending::examples;
use unending::{Opener, Unending};

/// The check.
pub static CHECK: Check = Check {
    id: "backend-no-rebalance-path",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::Services]),
    uses: Reads::of(&[Source::Policies, Source::EndpointSlices]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Service(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
Long-lived connections end at some time, so that new backends get their share.

A cluster address balances connections, not requests. One gRPC or HTTP/2 connection carries every request of a client
and lives as long as the process; its client never asks DNS again. After a scale-up the new backends stay idle while
the old ones stay over their limit, and only a full rollout spreads the load. A headless Service with gRPC's
`round_robin` spreads over the backends that DNS named when the client connected: names are resolved again only when
a connection ends (grpc/grpc#12295), so it needs a maximum age as well.

## Formula

A TCP port carries long-lived multiplexed connections when a policy declares GRPC or HTTP2 for it, else when its
`appProtocol`, or without one its name, says `grpc`, `http2` or `h2c`.

- A policy declares such a connection, and neither `server.maxConnectionAgeSeconds` nor that of all its clients:
  Violated, warning, cause `NoConnectionAge`; of a headless Service too.
- The same behind an L7 hop, where the hop opens the connections: `upstream.maxConnectionAgeSeconds` counts and not the
  clients' age. Where none is declared: AtRisk with origin Assumed, info, cause `AgeNotDeclared`; where it is declared
  to be `Never`: AtRisk, info, cause `HopNeverEnds`. The hop may balance requests by itself.
- Only the port says so, and the Service has a cluster address: AtRisk with origin Assumed, info, cause
  `AgeNotDeclared`: a mesh, a proxy or the client itself may balance requests.

Every port is judged. It does not apply to a Service with fewer than two endpoints, which has nothing to balance.

## What to do

1. Let the server end connections after a while, with jitter: gRPC `MaxConnectionAge` of 5 to 30 minutes with a grace,
   an HTTP/2 server's own limit. Declare it. `clients / age` is the rate of new handshakes.
2. Or put a proxy or mesh between that balances requests. Balancing in the client does not replace the age.

## What not to do

Do not recycle the backends that look idle, and do not recycle all the old ones at once: every client would reconnect
in the same second. Do not scale out further: it adds idle backends.
";

/// A port, and by whose word it carries which protocol.
type PortProtocol = (u16, Val<Arc<str>>);

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    if case.service.kind == ServiceType::ExternalName {
        return Ok(Verdict::NotApplicable("a DNS alias has no endpoints"));
    }
    let Carried {
        declared,
        proxied,
        assumed,
        ended,
    } = carried(look, case);
    let is_declared = !declared.is_empty();
    let (proxy, ports) = match proxied {
        _ if is_declared => (None, declared),
        Some((proxy, port)) => (Some(proxy), vec![port]),
        None => (None, assumed),
    };
    if ports.is_empty() {
        return Ok(if ended {
            Verdict::Met
        } else {
            Verdict::NotApplicable("no port is known to carry gRPC or HTTP/2")
        });
    }
    if !is_declared && proxy.is_none() {
        // Whether one speaks of it is known only where policies were read.
        look.policies_in(case.key.namespace)?;
    }
    // Where it is not known how many there are, there may be several.
    let endpoints = look.endpoints(case.key);
    if endpoints.is_ok_and(|all| all.iter().filter(|one| !one.terminating).count() < 2) {
        return Ok(Verdict::NotApplicable(
            "fewer than two endpoints have nothing to balance",
        ));
    }
    let found = Unending {
        service: look.show(case.key),
        headless: case.service.headless,
        declared: is_declared,
        proxy,
        ports,
    };
    Ok(if is_declared {
        Verdict::violated(found)
    } else {
        Verdict::at_risk(found)
    })
}

/// The ports of a Service that carry connections with many requests each, and by whose word.
#[derive(Debug, Default)]
struct Carried {
    /// A policy says so, and nothing ends these connections.
    declared: Vec<PortProtocol>,
    /// The first for which a policy says so of connections that an L7 hop opens, and the hop.
    proxied: Option<(Opener, PortProtocol)>,
    /// The port says so, and no policy speaks of it.
    assumed: Vec<PortProtocol>,
    /// Whether a policy declares some that end at an age.
    ended: bool,
}

fn carried(look: &Look<'_>, case: &ServiceCase<'_>) -> Carried {
    let names = look.names();
    let service = look.show(case.key);
    let mut carried = Carried::default();
    let ports = case.service.ports.iter();
    for port in ports.filter(|port| port.transport == Transport::Tcp) {
        let mut spoken = false;
        for connection in connections(case.policy, port, names) {
            spoken = true;
            if !matches!(connection.protocol, Protocol::Grpc | Protocol::Http2) {
                continue;
            }
            if ends(connection) {
                carried.ended = true;
                continue;
            }
            let policy = case.policy.map_or("", |policy| &policy.name);
            let source = format!("policy {policy} {}.protocol", connection.name);
            let one = (
                port.port,
                Val::declared(connection.protocol.name().into(), source),
            );
            match opener(connection) {
                None => carried.declared.push(one),
                Some(hop) => {
                    let opener = Opener {
                        name: hop.name.clone(),
                        never_ends: hop.upstream.max_connection_age == Some(Limit::Never),
                    };
                    carried.proxied.get_or_insert((opener, one));
                }
            }
            break;
        }
        // What the port itself says counts where no policy speaks of it; of a headless Service clients may be anything.
        if !spoken
            && !case.service.headless
            && let Some(protocol) = speaks(port, names, &service)
        {
            carried.assumed.push((port.port, protocol));
        }
    }
    carried
}

/// The connections that a policy declares for a port.
fn connections<'a>(
    policy: Option<&'a Policy>,
    port: &ServicePort,
    names: &Names,
) -> impl Iterator<Item = &'a Connection> {
    policy
        .into_iter()
        .flat_map(|policy| &policy.connections)
        .filter(|connection| declares(connection, port, names))
}

/// Whether there is an age at which a connection ends.
const fn has_age(age: Option<Limit>) -> bool {
    matches!(age, Some(Limit::Seconds(_)))
}

/// The L7 hop that opens the connections to the Service; `None` where its clients do.
fn opener(connection: &Connection) -> Option<&Hop> {
    connection.hops.iter().rfind(|hop| hop.layer == Layer::L7)
}

/// Whether a declared connection ends some time: by the server, or by all that open it.
fn ends(connection: &Connection) -> bool {
    let by_openers = || {
        opener(connection).map_or_else(
            || {
                let mut clients = connection.clients.iter();
                !connection.clients.is_empty() && clients.all(|client| has_age(client.max_connection_age))
            },
            |hop| has_age(hop.upstream.max_connection_age),
        )
    };
    has_age(connection.server.max_connection_age) || by_openers()
}

/// What a port says it speaks, when that is multiplexed: `appProtocol`, else its name or the name's prefix.
fn speaks(port: &ServicePort, names: &Names, service: &str) -> Option<Val<Arc<str>>> {
    let app = names.text(port.app_protocol);
    let (text, field) = if app.is_empty() {
        (names.text(port.name), "name")
    } else {
        (app, "appProtocol")
    };
    let word = text.strip_prefix("kubernetes.io/").unwrap_or(text);
    let is_one = |word: &str| ["grpc", "http2", "h2c"].contains(&word);
    // Names are `grpc-orders` by convention and `otlp-grpc` by habit; gRPC-Web is HTTP as browsers speak it.
    let says = if app.is_empty() {
        !word.contains("grpc-web") && word.split('-').any(is_one)
    } else {
        is_one(word)
    };
    says.then(|| {
        Val::declared(
            text.into(),
            format!("Service {service} ports[{}].{field}", port.port),
        )
    })
}

#[cfg(test)]
mod tests;
