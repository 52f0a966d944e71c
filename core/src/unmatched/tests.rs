//! What is told of policies that name what does not exist, or contradict each other.

use rstest::rstest;
use serde_json::json;

use crate::Input;
use crate::know::Source;
use crate::policy::{Beat, Connection, Hop, Layer, Limit, Policy, PortRef, Protocol, ServicePick, Upstream};
use crate::standing::Reason;
use crate::world::{World, app, client, connection, policy, service};

fn unmatched(world: &World) -> Vec<String> {
    let notes = world.core.unmatched(&|_| true);
    notes.iter().map(ToString::to_string).collect()
}

fn found(policy: Policy, missing: &[Source]) -> Vec<String> {
    let ports = json!({"ports": [{"name": "grpc", "port": 80}]});
    let mut world = World::without(missing)
        .with(Source::Services, service("api", ports))
        .policy(policy);
    world.core.round(world.now);
    unmatched(&world)
}

fn for_ports(protocol: Protocol, ports: &[PortRef]) -> Policy {
    policy(vec![Connection {
        ports: ports.to_vec(),
        ..connection(protocol, client("web"))
    }])
}

fn picks(services: ServicePick) -> Policy {
    Policy {
        services,
        ..policy(Vec::new())
    }
}

#[rstest]
#[case::all_there(for_ports(Protocol::Grpc, &[]), &[])]
#[case::by_name(for_ports(Protocol::Grpc, &[PortRef::Name("grpc".into())]), &[])]
#[case::one_of_two(for_ports(Protocol::Grpc, &[PortRef::Number(80), PortRef::Number(81)]), &[])]
#[case::mistyped(for_ports(Protocol::Grpc, &[PortRef::Name("grcp".into()), PortRef::Number(81)]), &["policy shop/p declares connection main for TCP port grcp or 81, which no Service that it governs has: nothing is judged by it"])]
#[case::another_transport(for_ports(Protocol::Udp, &[]), &["policy shop/p declares connection main for any UDP port, which no Service that it governs has: nothing is judged by it"])]
#[case::no_service(picks(ServicePick::Names(vec!["api".into(), "apu".into()])), &["policy shop/p names Service apu, which does not exist in its namespace"])]
#[case::nothing_selected(picks(ServicePick::Selector(app("other"))), &["policy shop/p selects no Service of its namespace"])]
fn what_nothing_answers_to_is_told(#[case] policy: Policy, #[case] expected: &[&str]) {
    assert_eq!(found(policy, &[]), expected);
}

/// As a DNS alias may be, which needs no ports.
#[rstest]
#[case::numbered(&[PortRef::Number(5432)], "")]
#[case::any(&[], "policy shop/p declares connection main for any TCP port, which no Service that it governs has: nothing is judged by it (a Service without ports is judged by the numbers that the connection's ports name)")]
fn a_service_without_ports(#[case] ports: &[PortRef], #[case] expected: &str) {
    let mut world = World::complete()
        .with(
            Source::Services,
            service("api", json!({"ports": [], "type": "ExternalName"})),
        )
        .policy(for_ports(Protocol::Tcp, ports));
    world.core.round(world.now);
    assert_eq!(unmatched(&world).concat(), expected);
}

fn with_two(change: impl FnOnce(&mut Policy)) -> Vec<String> {
    let mut one = for_ports(Protocol::Grpc, &[]);
    one.connections[0].clients[0].tcp_keepalive = Some(Beat::Enabled(Some(300)));
    let mut other = Policy {
        name: "q".into(),
        ..one.clone()
    };
    change(&mut other);
    let ports = json!({"ports": [{"name": "grpc", "port": 80}]});
    let mut world = World::without(&[])
        .with(Source::Services, service("api", ports))
        .policy(one)
        .policy(other);
    world.core.round(world.now);
    unmatched(&world)
}

#[test]
fn two_policies_that_say_the_same_do_not_contradict_each_other() {
    assert!(with_two(|_| {}).is_empty());
    // What one of them leaves out is no contradiction either.
    assert!(with_two(|other| other.connections[0].server.request_timeout_seconds = Some(60)).is_empty());
}

#[test]
fn two_policies_that_contradict_each_other_are_named_with_the_field() {
    let beat = Some(Beat::Enabled(Some(60)));
    assert_eq!(
        with_two(|other| other.connections[0].clients[0].tcp_keepalive = beat),
        [
            "policies shop/p and q contradict each other on Service api: client web at port 80 tcpKeepalive is Enabled (300 s) and Enabled (60 s)"
        ]
    );
}

#[test]
fn numbers_that_exclude_each_other_are_named() {
    let mut policy = for_ports(Protocol::Grpc, &[]);
    policy.connections[0].longest_request_seconds = Some(600);
    policy.connections[0].server.request_timeout_seconds = Some(60);
    policy.connections[0].server.minimum_ping_interval_seconds = Some(30);
    policy.connections[0].clients[0].ping = Some(Beat::Enabled(Some(10)));
    assert_eq!(
        found(policy, &[]),
        [
            "policy shop/p, connection main: client web pings every 10 s, and the server allows one in 30 s: such connections end",
            "policy shop/p, connection main: longestRequestSeconds 600 cannot be, as the server ends requests after 60 s",
        ]
    );
}

/// Behind a proxy the server sees the proxy's pings.
#[test]
fn the_last_proxy_pings_the_server() {
    let mut policy = for_ports(Protocol::Grpc, &[]);
    let connection = &mut policy.connections[0];
    connection.server.minimum_ping_interval_seconds = Some(30);
    connection.clients[0].ping = Some(Beat::Enabled(Some(10)));
    connection.hops = vec![Hop {
        name: "envoy".into(),
        layer: Layer::L7,
        idle_timeout: None,
        request_timeout_seconds: None,
        upstream: Upstream::default(),
    }];
    assert!(found(policy.clone(), &[]).is_empty());
    policy.connections[0].hops[0].upstream.ping = Some(Beat::Enabled(Some(20)));
    assert_eq!(
        found(policy, &[]),
        [
            "policy shop/p, connection main: hop envoy pings every 20 s, and the server allows one in 30 s: such connections end"
        ]
    );
}

fn idle(name: &str, seconds: u32) -> Policy {
    let mut policy = for_ports(Protocol::Grpc, &[]);
    policy.name = name.into();
    policy.connections[0].server.idle_timeout = Some(Limit::Seconds(seconds));
    policy
}

fn accepted(world: &World, name: &str) -> (Reason, String) {
    let standing = world.core.standing(world.now, "shop", name).unwrap();
    (standing.accepted.reason, standing.accepted.message)
}

#[test]
fn a_status_says_what_is_mistaken() {
    let ports = json!({"ports": [{"name": "grpc", "port": 80}]});
    let mut world = World::complete().with(Source::Services, service("api", ports));
    let names = ServicePick::Names(vec!["api".into(), "apu".into()]);
    world = world.policy(Policy {
        services: names,
        ..idle("p", 60)
    });
    world.core.round(world.now);
    let said = accepted(&world, "p");
    assert_eq!(said.0, Reason::TargetNotFound);
    assert!(
        said.1.contains("names Service apu, which does not exist"),
        "{}",
        said.1
    );
    // A policy that contradicts it changes what both say, and when it goes what the other says.
    world = world.policy(idle("q", 700));
    let round = world.core.round(world.now);
    let names = &world.core.index().names;
    let told: Vec<_> = round.standings.iter().map(|key| names.text(key.name)).collect();
    assert!(told.contains(&"p") && told.contains(&"q"), "{told:?}");
    let said = accepted(&world, "p");
    assert_eq!(said.0, Reason::Conflicted);
    assert!(
        said.1.starts_with(
            "in force, but policy q contradicts it on Service api: server at port 80 idleTimeoutSeconds is 700 there and 60 here"
        ) && said.1.contains("apu"),
        "{}",
        said.1
    );
    assert_eq!(accepted(&world, "q").0, Reason::Conflicted);
    world
        .core
        .handle(world.now, Input::Gone(Source::Policies, "shop", "q"));
    let round = world.core.round(world.now);
    let names = &world.core.index().names;
    assert!(round.standings.iter().any(|key| names.text(key.name) == "p"));
    assert_eq!(accepted(&world, "p").0, Reason::TargetNotFound);
}

/// A team may write thousands of policies for one Service: their statuses compare none, and an audit all.
#[test]
fn of_many_policies_for_one_service_statuses_compare_none() {
    let ports = json!({"ports": [{"name": "grpc", "port": 80}]});
    let mut world = World::complete().with(Source::Services, service("api", ports));
    for at in 0..8 {
        world = world.policy(idle(&format!("p{at}"), 60 + at));
    }
    world.core.round(world.now);
    assert_eq!(accepted(&world, "p0").0, Reason::Conflicted);
    world = world.policy(idle("p8", 90)).policy(idle("p9", 90));
    let round = world.core.round(world.now);
    assert_eq!(round.standings.len(), 10);
    assert_eq!(accepted(&world, "p0").0, Reason::Accepted);
    assert!(!world.core.unmatched(&|_| true).is_empty());
}

#[test]
fn a_client_that_is_nobody_is_named() {
    let mut policy = for_ports(Protocol::Grpc, &[]);
    policy.connections[0].clients[0].pods = Some(app("wbe"));
    assert_eq!(
        found(policy.clone(), &[]),
        [
            "policy shop/p has a podSelector of client web that selects no Pod of its namespace: what its Pods set is not known"
        ]
    );
    assert!(found(policy, &[Source::Pods]).is_empty());
}

/// An object that could not be kept or read is there all the same, and nothing of it is known.
#[rstest]
#[case::by_name(ServicePick::Names(vec!["apu".into()]))]
#[case::beside_another(ServicePick::Names(vec!["api".into(), "apu".into()]))]
#[case::by_selector(ServicePick::Selector(app("other")))]
fn a_service_that_was_refused_is_not_absent(#[case] services: ServicePick) {
    let ports = json!({"ports": [{"name": "http", "port": 80}]});
    let mut world = World::complete()
        .with(Source::Services, service("api", ports))
        .policy(Policy {
            services,
            ..for_ports(Protocol::Grpc, &[PortRef::Name("grpc".into())])
        });
    world.core.round(world.now);
    assert_eq!(accepted(&world, "p").0, Reason::TargetNotFound);
    assert!(world.core.unseen_service("shop", "apu").is_none());
    world.input(Input::Refused(Source::Services, "shop", "apu", "too long"));
    let round = world.core.round(world.now);
    let names = &world.core.index().names;
    assert!(round.standings.iter().any(|key| names.text(key.name) == "p"));
    let standing = world.core.standing(world.now, "shop", "p").unwrap();
    assert_eq!(standing.accepted.reason, Reason::Accepted);
    for condition in [standing.observed, standing.healthy] {
        assert_eq!(condition.reason, Reason::InputsMissing);
        assert!(
            condition.message.contains("shop/apu: too long"),
            "{}",
            condition.message
        );
    }
    let said = unmatched(&world);
    assert_eq!(
        said,
        ["policy shop/p may govern a Service of which nothing is known: services shop/apu: too long"]
    );
    assert!(world.core.unseen_service("shop", "apu").is_some());
    world.input(Input::Gone(Source::Services, "shop", "apu"));
    let round = world.core.round(world.now);
    assert!(!round.standings.is_empty(), "it is absent again");
    assert_eq!(accepted(&world, "p").0, Reason::TargetNotFound);
}

#[test]
fn a_client_may_be_a_pod_that_was_refused() {
    let mut policy = for_ports(Protocol::Grpc, &[]);
    policy.connections[0].clients[0].pods = Some(app("wbe"));
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .policy(policy);
    world.core.round(world.now);
    assert!(unmatched(&world).concat().contains("selects no Pod"));
    world.input(Input::Refused(Source::Pods, "shop", "wbe-1", "too long"));
    assert!(world.core.unmatched(&|_| true).is_empty());
}

#[test]
fn services_that_nobody_read_may_be_there() {
    let policy = picks(ServicePick::Names(vec!["apu".into()]));
    assert!(found(policy, &[Source::Services]).is_empty());
}
