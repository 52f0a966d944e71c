//! `backend-no-rebalance-path`: connections that live for ever meet a balancer that only sees new ones.

use std::fmt;
use std::sync::Arc;

use crate::judge::{
    Case, Check, Evidence, Judge, Look, Memory, ServiceCase, Severities, UntypedCase, Verdict, declares,
};
use crate::know::{Known, Reads, Source, Val};
use crate::names::Names;
use crate::policy::{Connection, Policy, Protocol};
use crate::sources::service::{ServicePort, Transport};

/// The check.
pub static CHECK: Check = Check {
    id: "backend-no-rebalance-path",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::Services]),
    uses: Reads::of(&[Source::Policies]),
    profiles: false,
    history: Memory::Unused,
    baseline: true,
    judge: Judge::Service(judge),
    doc: DOC,
};

const DOC: &str = "\
Long-lived connections to a cluster address end at some time, so that new backends get their share.

A cluster address balances connections, not requests. One gRPC or HTTP/2 connection carries every request of a client
and lives as long as the process; its client never asks DNS again. After a scale-up the new backends stay idle while
the old ones stay over their limit, and only a full rollout spreads the load.

## Formula

A TCP port carries long-lived multiplexed connections when a policy declares GRPC or HTTP2 for it, else when its
`appProtocol`, or without one its name, says `grpc`, `http2` or `h2c`. The Service has a cluster address.

- A policy declares such a connection, and neither `server.maxConnectionAgeSeconds` nor that of all its clients:
  Violated, warning, cause `NoConnectionAge`.
- Only the port says so: AtRisk with origin Assumed, info, cause `AgeNotDeclared`: a mesh, a proxy or the client itself
  may balance requests.

## What to do

1. Let the server end connections after a while, with jitter: gRPC `MaxConnectionAge` of 5 to 30 minutes with a grace,
   an HTTP/2 server's own limit. Declare it. `clients / age` is the rate of new handshakes.
2. Or balance in the client: a headless Service with gRPC's `round_robin`, or a proxy or mesh that balances requests.

## What not to do

Do not recycle the backends that look idle, and do not recycle all the old ones at once: every client would reconnect
in the same second. Do not scale out further: it adds idle backends.
";

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    if !case.service.has_data_plane() {
        return Ok(Verdict::NotApplicable(
            "a headless or ExternalName Service balances nothing",
        ));
    }
    let names = look.names();
    let mut found = false;
    let mut risk = None;
    let service = look.show(case.key);
    for port in case
        .service
        .ports
        .iter()
        .filter(|port| port.transport == Transport::Tcp)
    {
        let (mut spoken, mut aged) = (false, false);
        for connection in connections(case.policy, port, names) {
            spoken = true;
            if !matches!(connection.protocol, Protocol::Grpc | Protocol::Http2) {
                continue;
            }
            found = true;
            if ends(connection) {
                aged = true;
            } else {
                let policy = case.policy.map_or("", |policy| &policy.name);
                let source = format!("policy {policy} {}.protocol", connection.name);
                let protocol = Val::declared(connection.protocol.name().into(), source);
                return Ok(Verdict::Violated(make(
                    "NoConnectionAge",
                    port,
                    &service,
                    &protocol,
                    None,
                )));
            }
        }
        // What the port itself says counts where no policy speaks of it.
        let Some(protocol) = speaks(port, names, &service).filter(|_| !spoken && !aged) else {
            continue;
        };
        found = true;
        // Whether one speaks of it is known only where policies were read.
        look.policies_in(case.key.namespace)?;
        let age = Val::assumed("not declared".into(), "no policy speaks of this port");
        risk = risk.or_else(|| Some(make("AgeNotDeclared", port, &service, &protocol, Some(&age))));
    }
    Ok(match risk {
        Some(case) => Verdict::AtRisk(case),
        None if found => Verdict::Met,
        None => Verdict::NotApplicable("no port is known to carry gRPC or HTTP/2"),
    })
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

/// Whether a declared connection ends some time: by the server, or by every client.
fn ends(connection: &Connection) -> bool {
    connection.server.max_connection_age_seconds.is_some()
        || (!connection.clients.is_empty()
            && connection
                .clients
                .iter()
                .all(|client| client.max_connection_age_seconds.is_some()))
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

fn make(
    cause: &'static str,
    port: &ServicePort,
    service: &str,
    protocol: &Val<Arc<str>>,
    age: Option<&Val<Arc<str>>>,
) -> Case {
    let mut evidence = vec![
        Evidence::count("port", port.port, format!("Service {service}")),
        Evidence::text("protocol", protocol),
    ];
    evidence.extend(age.map(|age| Evidence::text("maxConnectionAge", age)));
    untyped(cause, evidence)
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (port, protocol) = (case.show("port"), case.cite("protocol"));
    if case.cause == "NoConnectionAge" {
        write!(
            f,
            "port {port} carries {protocol} through a cluster address, and neither the server nor every client ends a connection after a time: new backends stay idle"
        )
    } else {
        write!(
            f,
            "port {port} carries {protocol} through a cluster address, and a maximum connection age is {}: unless a mesh or the client balances requests, new backends stay idle",
            case.cite("maxConnectionAge"),
        )
    }
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let mut advice = Vec::new();
    if case.cause == "AgeNotDeclared" {
        advice.push(
            "declare the connection in a TrafficHealthPolicy, with server.maxConnectionAgeSeconds if it has one"
                .into(),
        );
    }
    advice.push(
        "let the server end connections after 5 to 30 minutes with jitter (gRPC MaxConnectionAge), and declare it".into(),
    );
    advice.push(
        "or balance in the client: a headless Service with round_robin, or a proxy that balances requests"
            .into(),
    );
    advice
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::checks::fixture::{World, client, connection, policy, service};
    use crate::know::Source;
    use crate::policy::{Client, Connection, PortRef, Protocol, Server};

    const ID: &str = "backend-no-rebalance-path";

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
        let mut world = World::complete().with(Source::Services, &service("api", spec));
        assert_eq!(world.verdict(ID), expected);
    }

    fn declared(protocol: Protocol, client_age: Option<u32>, server_age: Option<u32>) -> Connection {
        Connection {
            server: Server {
                max_connection_age_seconds: server_age,
                ..Server::default()
            },
            ..connection(
                protocol,
                Client {
                    max_connection_age_seconds: client_age,
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
        let mut world = World::complete()
            .with(Source::Services, &service("api", port("grpc", None)))
            .policy(policy(vec![connection]));
        assert_eq!(world.verdict(ID), expected);
    }

    #[test]
    fn one_client_without_an_age_is_enough() {
        let mut one = declared(Protocol::Grpc, Some(1800), None);
        one.clients.push(client("other"));
        let mut world = World::complete()
            .with(Source::Services, &service("api", json!({})))
            .policy(policy(vec![one]));
        assert_eq!(world.verdict(ID), "Violated warning NoConnectionAge");
    }

    #[test]
    fn policies_that_nobody_read_may_speak_of_it() {
        let mut world =
            World::without(&[Source::Policies]).with(Source::Services, &service("api", port("grpc", None)));
        // What the baseline does not know it counts and does not tell.
        assert_eq!(world.verdict(ID), "Unknown");
    }

    #[test]
    fn a_policy_of_another_port_says_nothing_of_this_one() {
        let mut one = declared(Protocol::Grpc, None, Some(1800));
        one.ports = vec![PortRef::Number(81), PortRef::Name("other".into())];
        let mut world = World::complete()
            .with(Source::Services, &service("api", port("grpc", None)))
            .policy(policy(vec![one]));
        assert_eq!(world.verdict(ID), "AtRisk info AgeNotDeclared");
    }
}
