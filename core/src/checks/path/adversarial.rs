//! Odd paths: empty clusters, zero and huge times, labels that select too much or nothing.

use std::sync::Arc;

use rstest::rstest;
use serde_json::{Value, json};

use crate::handle::Input;
use crate::know::{Mono, Now, Source, Wall};
use crate::policy::{
    Beat, Client, ClusterPolicy, Connection, Door, Exception, Limit, Operator, Protocol, Requirement,
    Selector, Server,
};
use crate::world::{World, app, client, connection, every, l4, l7, node, pod, policy, service};

const IDS: [&str; 5] = [
    "path-idle-budget",
    "keepalive-order",
    "keepalive-ping-floor",
    "keepalive-netns-gap",
    "l7-deadline-order",
];

const PROTOCOLS: [Protocol; 5] = [
    Protocol::Tcp,
    Protocol::Http1,
    Protocol::Http2,
    Protocol::Grpc,
    Protocol::Udp,
];

#[test]
fn an_empty_cluster_has_nothing_to_judge() {
    for id in IDS {
        assert_eq!(World::complete().verdict(id), "nothing", "{id}");
        let mut alone = World::complete().policy(policy(vec![connection(Protocol::Grpc, client("cart"))]));
        assert_eq!(alone.verdict(id), "nothing", "{id}");
    }
}

#[test]
fn a_service_without_a_policy_has_no_finding() {
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .with(Source::Nodes, node("n1", ""));
    for id in IDS {
        assert_eq!(world.verdict(id), "nothing", "{id}");
    }
}

#[rstest]
#[case::headless(json!({"clusterIP": "None"}))]
#[case::external(json!({"type": "ExternalName", "externalName": "db.example.com"}))]
fn a_service_without_a_data_plane(#[case] spec: Value) {
    for id in IDS {
        let mut world = World::complete()
            .with(Source::Services, service("api", spec.clone()))
            .policy(policy(vec![connection(Protocol::Grpc, client("cart"))]));
        // Whether the client pings too fast has nothing to do with how it found the server.
        let expected = if id == "keepalive-ping-floor" {
            "Unknown unknown"
        } else {
            "NotApplicable"
        };
        assert_eq!(world.verdict(id), expected, "{id}");
    }
}

/// Everything declared, with one number everywhere.
fn full(protocol: Protocol, value: u32) -> Connection {
    let all = Some(value);
    let client = Client {
        pods: Some(app("job")),
        from: Door::LoadBalancer,
        tcp_keepalive: every(value),
        ping: every(value),
        idle_timeout: all.map(Limit::Seconds),
        request_timeout_seconds: all,
        max_connection_age: all.map(Limit::Seconds),
        new_connections_per_second: all,
        ..client("job")
    };
    Connection {
        longest_silence_seconds: all,
        longest_request_seconds: all,
        server: Server {
            tcp_keepalive: every(value),
            ping: every(value),
            ping_without_calls: None,
            idle_timeout: all.map(Limit::Seconds),
            minimum_ping_interval_seconds: all,
            request_timeout_seconds: all,
            max_connection_age: all.map(Limit::Seconds),
        },
        hops: vec![l4("firewall", all), l7("edge", all, all), l4("nat", all)],
        ..connection(protocol, client)
    }
}

#[rstest]
#[case::zero(0)]
#[case::one(1)]
#[case::vast(u32::MAX)]
fn extreme_times_do_not_overflow(#[case] value: u32) {
    for protocol in PROTOCOLS {
        let mut world = World::complete()
            .with(Source::Services, service("api", json!({})))
            .with(Source::Pods, pod("job-1", "job", &[]))
            .policy(policy(vec![full(protocol, value)]));
        for id in IDS {
            world.verdict(id);
        }
    }
}

/// Without any declaration there is neither health nor harm: no verdict is Violated.
#[test]
fn nothing_declared_is_never_violated() {
    for protocol in PROTOCOLS {
        let mut bare = connection(protocol, client(""));
        bare.hops = vec![l4("firewall", None), l7("edge", None, None)];
        for clients in [vec![client("")], Vec::new()] {
            let mut world = World::complete()
                .with(Source::Services, service("api", json!({})))
                .policy(policy(vec![Connection {
                    clients,
                    ..bare.clone()
                }]));
            for id in IDS {
                let said = world.verdict(id);
                assert!(
                    !said.contains("Violated") && !said.contains("critical"),
                    "{id}: {said}"
                );
            }
        }
    }
}

fn arms(pods: Selector) -> Connection {
    let client = Client {
        pods: Some(pods),
        tcp_keepalive: Some(Beat::Enabled(None)),
        ..client("job")
    };
    Connection {
        longest_silence_seconds: Some(1800),
        hops: vec![l4("ipvs", Some(900))],
        server: Server {
            tcp_keepalive: Some(Beat::Disabled),
            ..Server::default()
        },
        ..connection(Protocol::Tcp, client)
    }
}

fn line(operator: Operator, values: &[&str]) -> Requirement {
    Requirement {
        key: "app".into(),
        operator,
        values: values.iter().map(|value| (*value).into()).collect(),
    }
}

#[rstest]
#[case::contradiction(Selector { expressions: vec![line(Operator::DoesNotExist, &[])], ..app("job") }, "NotApplicable")]
#[case::empty_selects_all(Selector::default(), "Violated warning PodWithoutSysctl")]
#[case::not_in(Selector { expressions: vec![line(Operator::NotIn, &["job"])], ..Selector::default() }, "NotApplicable")]
fn contradictory_labels(#[case] selector: Selector, #[case] expected: &str) {
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .with(Source::Pods, pod("job-1", "job", &[]))
        .policy(policy(vec![arms(selector)]));
    assert_eq!(world.verdict("keepalive-netns-gap"), expected);
}

/// Pods that have ended, and Pods of another namespace, are no clients.
#[test]
fn only_living_pods_of_the_namespace_count() {
    let mut ended = pod("job-1", "job", &[]);
    ended["status"]["phase"] = json!("Succeeded");
    let mut foreign = pod("job-2", "job", &[]);
    foreign["metadata"]["namespace"] = json!("other");
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .all(Source::Pods, &[ended, foreign])
        .policy(policy(vec![arms(app("job"))]));
    assert_eq!(world.verdict("keepalive-netns-gap"), "NotApplicable");
}

/// A sysctl that is no number does not stand for one.
#[test]
fn a_sysctl_that_is_no_number_is_not_health() {
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .with(
            Source::Pods,
            pod("job-1", "job", &[("net.ipv4.tcp_keepalive_time", "soon")]),
        )
        .policy(policy(vec![arms(app("job"))]));
    assert_eq!(
        world.verdict("path-idle-budget"),
        "Violated critical SilenceExceedsTimeout"
    );
}

/// Each client of each connection on each port is a subject of its own.
#[test]
fn every_client_and_port_is_judged() {
    let ports = json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81, "protocol": "UDP"}]});
    let mut one = full(Protocol::Http1, 60);
    one.clients.push(client("other"));
    let mut world = World::complete()
        .with(Source::Services, service("api", ports))
        .policy(policy(vec![one]));
    let found = world.findings("keepalive-order");
    let subjects: Vec<_> = found.iter().map(|one| one.subject.to_string()).collect();
    assert_eq!(
        subjects,
        [
            "Service shop/api:80 main from job",
            "Service shop/api:80 main from other"
        ]
    );
}

#[test]
fn an_accepted_finding_stays_visible() {
    let mut one = policy(vec![full(Protocol::Http1, 60)]);
    one.exceptions = vec![Exception {
        check: "keepalive-order".into(),
        reason: "calls are repeated".into(),
        since: None,
        expires_at: Wall(i64::MAX),
    }];
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .policy(one);
    let found = world.findings("keepalive-order");
    assert!(found[0].exception.is_some() && found[0].verdict.name() == "Violated");
}

/// Lets the platform say how many days an exception lasts at most.
fn limit_exceptions(world: &mut World, days: Option<u32>) {
    let platform = ClusterPolicy {
        max_exception_days: days,
        ..ClusterPolicy::default()
    };
    let platform = Input::ClusterPolicy(Some(Arc::new(platform)));
    world.core.handle(Now::ONCE, platform);
}

/// An exception until long after the ceiling of 10 days, by when its policy was written.
#[rstest]
#[case::no_ceiling(None, Some(0), true)]
#[case::written_lately(Some(10), Some(9), true)]
#[case::written_long_ago(Some(10), Some(10), false)]
#[case::a_draft(Some(10), None, true)]
fn the_platform_ends_what_was_accepted(
    #[case] ceiling: Option<u32>,
    #[case] days_ago: Option<i64>,
    #[case] accepted: bool,
) {
    const DAY: i64 = 86_400;
    let mut one = policy(vec![full(Protocol::Http1, 60)]);
    let mut world = World::complete().with(Source::Services, service("api", json!({})));
    let (now, wall) = (world.now, world.now.wall);
    let since = days_ago.map(|days| Wall(wall.0 - days * DAY));
    one.exceptions = vec![Exception {
        check: "keepalive-order".into(),
        reason: "calls are repeated".into(),
        since,
        expires_at: Wall(wall.0 + 300 * DAY),
    }];
    world = world.policy(one);
    limit_exceptions(&mut world, ceiling);
    let found = world.findings("keepalive-order").remove(0);
    // The verdict is reported either way.
    assert_eq!(
        (found.verdict.name(), found.exception.is_some()),
        ("Violated", accepted)
    );
    let limit = ceiling.map(|days| since.unwrap_or(wall).0 + i64::from(days) * DAY);
    if let Some(view) = found.exception {
        assert_eq!(view.capped_at, limit);
        // One that is counted from now moves on with time, and ends by its own word.
        let end = limit.filter(|_| since.is_some()).unwrap_or(view.expires_at);
        let seconds = u64::try_from(end - wall.0).unwrap();
        assert_eq!(world.core.deadline(now), Some(Mono(now.mono.0 + seconds * 1_000)));
    } else {
        assert!(
            found.advice[0].contains("exceptions last 10 days at most"),
            "{:?}",
            found.advice
        );
    }
}

#[test]
fn an_exception_that_the_platform_ended_does_not_hide_one_that_counts() {
    const DAY: i64 = 86_400;
    let mut one = policy(vec![full(Protocol::Http1, 60)]);
    let mut world = World::complete().with(Source::Services, service("api", json!({})));
    let wall = world.now.wall;
    let exception = |reason: &str, days_ago: i64| Exception {
        check: "keepalive-order".into(),
        reason: reason.into(),
        since: Some(Wall(wall.0 - days_ago * DAY)),
        expires_at: Wall(wall.0 + 300 * DAY),
    };
    one.exceptions = vec![exception("long ago", 10), exception("lately", 9)];
    world = world.policy(one);
    limit_exceptions(&mut world, Some(10));
    let found = world.findings("keepalive-order").remove(0);
    assert_eq!(found.exception.as_ref().map(|view| &*view.reason), Some("lately"));
}
