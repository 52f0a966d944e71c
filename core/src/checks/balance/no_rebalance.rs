//! `backend-no-rebalance-path`: connections that live for ever meet a balancer that only sees new ones.

use std::fmt;
use std::sync::Arc;

use crate::judge::{
    Advice, Check, Evidence, Explain, Judge, Look, Memory, ServiceCase, Severities, Verdict, declares,
};
use crate::know::{Known, Reads, Source, Val};
use crate::names::Names;
use crate::policy::{Connection, Hop, Layer, Limit, Policy, Protocol};
use crate::sample::Metrics;
use crate::sources::service::{ServicePort, ServiceType, Transport};

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
type Spoken = (u16, Val<Arc<str>>);

/// Connections that neither side ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Unending {
    /// `namespace/name` of the Service.
    service: String,
    /// Whether clients get the addresses of the backends themselves.
    headless: bool,
    /// Whether a policy declares these connections; else only the port says what it speaks.
    declared: bool,
    /// The L7 hop that opens them and ends none of them: it may balance requests by itself.
    proxy: Option<Opener>,
    /// The ports that carry them, and by whose word.
    ports: Vec<Spoken>,
}

/// An L7 hop that opens connections to the Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Opener {
    name: Arc<str>,
    /// Whether it is declared to end none of them; else that is not declared.
    never_ends: bool,
}

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
    declared: Vec<Spoken>,
    /// The first for which a policy says so of connections that an L7 hop opens, and the hop.
    proxied: Option<(Opener, Spoken)>,
    /// The port says so, and no policy speaks of it.
    assumed: Vec<Spoken>,
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

impl Unending {
    fn list(&self) -> String {
        match &*self.ports {
            [(port, protocol)] => format!("port {port} carries {}", protocol.value),
            [(port, protocol), more @ ..] => {
                format!("port {port} and {} more carry {}", more.len(), protocol.value)
            }
            [] => String::new(),
        }
    }
}

impl Explain for Unending {
    fn cause(&self) -> &'static str {
        match &self.proxy {
            _ if self.declared => "NoConnectionAge",
            Some(proxy) if proxy.never_ends => "HopNeverEnds",
            _ => "AgeNotDeclared",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.list();
        if let Some(proxy) = &self.proxy {
            let ends = if proxy.never_ends {
                "which is declared never to end a connection"
            } else {
                "whose maximum connection age is not declared"
            };
            return write!(
                f,
                "{what} from {}, {ends}: unless it balances requests, new backends stay idle",
                proxy.name
            );
        }
        match (self.declared, self.headless) {
            (true, false) => write!(
                f,
                "{what}, and neither the server nor every client ends a connection after a time: new backends stay idle"
            ),
            (true, true) => write!(
                f,
                "{what}, and no connection ends after a time: clients never resolve the name again, and new backends \
                 stay idle"
            ),
            (false, _) => write!(
                f,
                "{what}, and no maximum connection age is declared: unless a proxy balances requests, new backends \
                 stay idle"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        for (port, protocol) in &self.ports {
            evidence.push(Evidence::count(
                "port",
                *port,
                format!("Service {}", self.service),
            ));
            evidence.push(Evidence::text("protocol", protocol));
        }
        match &self.proxy {
            _ if self.declared => {}
            Some(proxy) if proxy.never_ends => evidence.push(Evidence::name(
                "maxConnectionAge",
                &"Never".into(),
                "policy connections[].hops[].upstream.maxConnectionAge",
            )),
            Some(_) => evidence.push(Evidence::undeclared(
                "maxConnectionAge",
                "policy connections[].hops[].upstream.maxConnectionAgeSeconds",
            )),
            None => evidence.push(Evidence::undeclared(
                "maxConnectionAge",
                "policy connections[].server.maxConnectionAgeSeconds",
            )),
        }
        if let Some(proxy) = &self.proxy {
            evidence.push(Evidence::name("proxy", &proxy.name, "policy connections[].hops"));
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let mut advice: Vec<Advice> = Vec::new();
        if let Some(proxy) = &self.proxy {
            advice.push(
                format!(
                    "find out whether {} balances requests over the backends; if not, let its connections end after 5 \
                     to 30 minutes and declare upstream.maxConnectionAgeSeconds",
                    proxy.name
                )
                .into(),
            );
        } else if !self.declared {
            advice.push(
                "declare the connection in a TrafficHealthPolicy, with server.maxConnectionAgeSeconds if it has one"
                    .into(),
            );
        }
        advice.push(
            "let the server end connections after 5 to 30 minutes with jitter (gRPC MaxConnectionAge with a grace), \
             and declare it"
                .into(),
        );
        if self.proxy.is_some() {
            return advice;
        }
        advice.push(
            "or put a proxy between that balances requests; balancing in the client, as round_robin over a headless \
             Service, needs the age too"
                .into(),
        );
        advice
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |headless, declared, ports: &[u16]| Unending {
        service: "shop/orders".into(),
        headless,
        declared,
        proxy: None,
        ports: ports
            .iter()
            .map(|port| (*port, Val::declared("grpc".into(), "Service shop/orders")))
            .collect(),
    };
    let proxied = |never_ends| Unending {
        proxy: Some(Opener {
            name: "edge".into(),
            never_ends,
        }),
        ..of(false, false, &[50_051])
    };
    vec![
        Verdict::violated(of(false, true, &[50_051])),
        Verdict::violated(of(true, true, &[50_051, 50_052])),
        Verdict::at_risk(of(false, false, &[50_051])),
        Verdict::at_risk(proxied(false)),
        Verdict::at_risk(proxied(true)),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::know::Source;
    use crate::policy::{Client, Connection, Limit, PortRef, Protocol, Server};
    use crate::world::{World, client, connection, l7, policy, service, slice};

    const ID: &str = "backend-no-rebalance-path";

    /// The Service with two backends.
    fn world(spec: Value) -> World {
        World::complete()
            .with(Source::Services, service("api", spec))
            .with(Source::EndpointSlices, slice("api", &[("n1", ""), ("n2", "")]))
    }

    fn port(name: &str, app: Option<&str>) -> Value {
        json!({"ports": [{"name": name, "port": 80, "appProtocol": app}]})
    }

    #[rstest]
    #[case::name(port("grpc", None), "AtRisk info AgeNotDeclared")]
    #[case::prefix(port("grpc-orders", None), "AtRisk info AgeNotDeclared")]
    #[case::suffix(port("otlp-grpc", None), "AtRisk info AgeNotDeclared")]
    #[case::for_browsers(port("grpc-web", None), "NotApplicable")]
    #[case::app_protocol(port("main", Some("kubernetes.io/h2c")), "AtRisk info AgeNotDeclared")]
    #[case::http2(port("main", Some("http2")), "AtRisk info AgeNotDeclared")]
    #[case::app_protocol_wins(port("grpc", Some("http")), "NotApplicable")]
    #[case::plain(port("http", None), "NotApplicable")]
    #[case::another_word(port("grpcweb", None), "NotApplicable")]
    #[case::headless(json!({"clusterIP": "None", "ports": [{"name": "grpc", "port": 80}]}), "NotApplicable")]
    #[case::external(json!({"type": "ExternalName", "ports": [{"name": "grpc", "port": 80}]}), "NotApplicable")]
    #[case::udp(json!({"ports": [{"name": "grpc", "port": 80, "protocol": "UDP"}]}), "NotApplicable")]
    #[case::no_ports(json!({"ports": null}), "NotApplicable")]
    fn the_baseline(#[case] spec: Value, #[case] expected: &str) {
        let mut world = world(spec);
        assert_eq!(world.verdict(ID), expected);
    }

    fn declared(protocol: Protocol, client_age: Option<u32>, server_age: Option<u32>) -> Connection {
        Connection {
            server: Server {
                max_connection_age: server_age.map(Limit::Seconds),
                ..Server::default()
            },
            ..connection(
                protocol,
                Client {
                    max_connection_age: client_age.map(Limit::Seconds),
                    ..client("cart")
                },
            )
        }
    }

    #[rstest]
    #[case::none(declared(Protocol::Grpc, None, None), "Violated warning NoConnectionAge")]
    #[case::http2(declared(Protocol::Http2, None, None), "Violated warning NoConnectionAge")]
    #[case::server(declared(Protocol::Grpc, None, Some(1800)), "Met")]
    #[case::client(declared(Protocol::Grpc, Some(1800), None), "Met")]
    #[case::not_multiplexed(declared(Protocol::Http1, None, None), "NotApplicable")]
    fn a_policy_speaks(#[case] connection: Connection, #[case] expected: &str) {
        for spec in [
            port("grpc", None),
            json!({"clusterIP": "None", "ports": port("grpc", None)["ports"]}),
        ] {
            let mut world = world(spec).policy(policy(vec![connection.clone()]));
            assert_eq!(world.verdict(ID), expected);
        }
    }

    /// Behind an L7 hop it is the hop that opens the connections, and it may balance requests.
    #[rstest]
    #[case::not_declared(None, None, "AtRisk info AgeNotDeclared")]
    #[case::of_the_client(Some(1800), None, "AtRisk info AgeNotDeclared")]
    #[case::of_the_hop(None, Some(Limit::Seconds(1800)), "Met")]
    #[case::never(None, Some(Limit::Never), "AtRisk info HopNeverEnds")]
    fn behind_a_proxy(#[case] client: Option<u32>, #[case] upstream: Option<Limit>, #[case] expected: &str) {
        let mut edge = l7("edge", None, None);
        edge.upstream.max_connection_age = upstream;
        let connection = Connection {
            hops: vec![edge],
            ..declared(Protocol::Grpc, client, None)
        };
        let mut world = world(port("grpc", None)).policy(policy(vec![connection]));
        assert_eq!(world.verdict(ID), expected);
    }

    #[rstest]
    #[case::none(&[])]
    #[case::one(&[("n1", "")])]
    fn one_backend_has_nothing_to_balance(#[case] places: &[(&str, &str)]) {
        let mut world = World::complete()
            .with(Source::Services, service("api", port("grpc", None)))
            .with(Source::EndpointSlices, slice("api", places))
            .policy(policy(vec![declared(Protocol::Grpc, None, None)]));
        assert_eq!(world.verdict(ID), "NotApplicable");
    }

    #[test]
    fn endpoints_that_nobody_read_may_be_several() {
        let mut world = World::without(&[Source::EndpointSlices])
            .with(Source::Services, service("api", port("grpc", None)))
            .policy(policy(vec![declared(Protocol::Grpc, None, None)]));
        assert_eq!(world.verdict(ID), "Violated warning NoConnectionAge");
    }

    #[test]
    fn every_port_is_told() {
        let ports = json!({"ports": [{"name": "grpc", "port": 80}, {"name": "grpc-admin", "port": 81}]});
        let found = world(ports).findings(ID);
        assert!(found[0].message.starts_with("port 80 and 1 more carry grpc"));
        assert_eq!(
            found[0].evidence.iter().filter(|one| one.what == "port").count(),
            2
        );
    }

    #[test]
    fn one_client_without_an_age_is_enough() {
        let mut one = declared(Protocol::Grpc, Some(1800), None);
        one.clients.push(client("other"));
        let mut world = world(json!({})).policy(policy(vec![one]));
        assert_eq!(world.verdict(ID), "Violated warning NoConnectionAge");
    }

    #[test]
    fn policies_that_nobody_read_may_speak_of_it() {
        let mut world =
            World::without(&[Source::Policies]).with(Source::Services, service("api", port("grpc", None)));
        // What the baseline does not know is counted and not reported.
        assert_eq!(world.verdict(ID), "Unknown");
    }

    #[test]
    fn a_policy_of_another_port_says_nothing_of_this_one() {
        let mut one = declared(Protocol::Grpc, None, Some(1800));
        one.ports = vec![PortRef::Number(81), PortRef::Name("other".into())];
        let mut world = world(port("grpc", None)).policy(policy(vec![one]));
        assert_eq!(world.verdict(ID), "AtRisk info AgeNotDeclared");
    }
}
