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
