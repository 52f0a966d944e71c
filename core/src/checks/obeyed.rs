//! Advice is safe: a policy that follows it has no new finding, and no finding of it gets worse.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::json;

use crate::findings::FindingVerdict;
use crate::judge::{Advice, MESSAGE, Severity, Verdict};
use crate::know::Source;
use crate::policy::{Beat, Client, Connection, Hop, Layer, Limit, Protocol, Server, Upstream};
use crate::world::{World, client, connection, node, policy, service};

/// The worst of what a check finds.
type Found = BTreeMap<&'static str, (u8, Severity)>;

fn world(connection: Connection) -> World {
    let mut world = World::complete()
        .with(Source::Services, service("api", json!({})))
        .with(Source::Nodes, node("n1", ""))
        .policy(policy(vec![connection]));
    world.core.round(world.now);
    world
}

/// What is found, and what is advised about it.
fn judge(connection: &Connection) -> (Found, Vec<(&'static str, Advice)>) {
    let world = world(connection.clone());
    let (mut found, mut advised) = (Found::new(), Vec::new());
    for (check, _, held) in world.core.engine.bad() {
        let verdict = &*held.verdict;
        let (Verdict::AtRisk(case) | Verdict::Violated(case)) = verdict else {
            continue;
        };
        let severity = crate::findings::severity(check, verdict);
        let worst = found.entry(check.id).or_insert((0, Severity::Unknown));
        *worst = (*worst).max((verdict.weight(), severity));
        advised.extend(case.advice().into_iter().map(|one| (check.id, one)));
        let message = case.to_string();
        assert!(message.chars().count() <= MESSAGE, "{}: {message}", check.id);
        assert!(!case.advice().is_empty(), "{}: no advice", check.id);
        assert!(FindingVerdict::of(verdict).is_some());
    }
    (found, advised)
}

fn seconds() -> impl Strategy<Value = u32> {
    select(vec![
        10_u32, 20, 30, 60, 90, 120, 240, 300, 330, 350, 600, 900, 1800, 3600, 7200,
    ])
}

fn maybe() -> impl Strategy<Value = Option<u32>> {
    proptest::option::of(seconds())
}

fn limit() -> impl Strategy<Value = Option<Limit>> {
    prop_oneof![
        2 => Just(None),
        3 => seconds().prop_map(|seconds| Some(Limit::Seconds(seconds))),
        1 => Just(Some(Limit::Never)),
    ]
}

fn beat() -> impl Strategy<Value = Option<Beat>> {
    prop_oneof![
        Just(None),
        Just(Some(Beat::Disabled)),
        Just(Some(Beat::Enabled(None))),
        seconds().prop_map(|seconds| Some(Beat::Enabled(Some(seconds)))),
    ]
}

fn without_calls() -> impl Strategy<Value = Option<bool>> {
    proptest::option::of(any::<bool>())
}

prop_compose! {
    fn any_client()(
        tcp in beat(), ping in beat(), calls in without_calls(), idle in limit(), request in maybe(), age in limit(),
    ) -> Client {
        Client {
            tcp_keepalive: tcp,
            ping,
            ping_without_calls: calls,
            idle_timeout: idle,
            request_timeout_seconds: request,
            max_connection_age: age,
            ..client("web")
        }
    }
}

prop_compose! {
    fn any_server()(
        tcp in beat(), ping in beat(), calls in without_calls(), idle in limit(), floor in maybe(), request in maybe(),
        age in limit(),
    ) -> Server {
        Server {
            tcp_keepalive: tcp,
            ping,
            ping_without_calls: calls,
            idle_timeout: idle,
            minimum_ping_interval_seconds: floor,
            request_timeout_seconds: request,
            max_connection_age: age,
        }
    }
}

prop_compose! {
    fn any_upstream()(
        tcp in beat(), ping in beat(), calls in without_calls(), idle in limit(), age in limit(),
    ) -> Upstream {
        Upstream {
            tcp_keepalive: tcp,
            ping,
            ping_without_calls: calls,
            idle_timeout: idle,
            max_connection_age: age,
        }
    }
}

prop_compose! {
    fn any_hop()(l7: bool, idle in limit(), request in maybe(), upstream in any_upstream()) -> Hop {
        Hop {
            name: "hop".into(),
            layer: if l7 { Layer::L7 } else { Layer::L4 },
            idle_timeout: idle,
            request_timeout_seconds: request.filter(|_| l7),
            upstream: if l7 { upstream } else { Upstream::default() },
        }
    }
}

prop_compose! {
    fn any_connection()(
        protocol in select(vec![Protocol::Tcp, Protocol::Http1, Protocol::Http2, Protocol::Grpc]),
        silence in maybe(), request in maybe(), client in any_client(), server in any_server(),
        hops in proptest::collection::vec(any_hop(), 0..3),
    ) -> Connection {
        let hops = hops.into_iter().enumerate();
        let hops = hops.map(|(at, hop)| Hop { name: format!("hop{at}").into(), ..hop });
        Connection {
            longest_silence_seconds: silence,
            longest_request_seconds: request,
            server,
            hops: hops.collect(),
            ..connection(protocol, client)
        }
    }
}

/// One example of each message of the checks of a connection, with its advice: the file to review.
#[test]
fn messages_and_advice() {
    let mut runner = TestRunner::deterministic();
    let mut said: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for _ in 0..1500 {
        let connection = any_connection().new_tree(&mut runner).unwrap().current();
        for (check, _, held) in world(connection).core.engine.bad() {
            let verdict = &*held.verdict;
            if let Verdict::AtRisk(case) | Verdict::Violated(case) = verdict {
                said.entry((check.id, case.cause())).or_insert_with(|| {
                    let severity = crate::findings::severity(check, verdict).name();
                    let advice = case.advice().into_iter();
                    let advice: Vec<_> = advice.map(|one| format!("\n  - {one}")).collect();
                    let advice = advice.concat();
                    format!("{} {} ({severity})\n  {case}{advice}", check.id, case.cause())
                });
            }
        }
    }
    let all: Vec<String> = said.into_values().collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn who_follows_advice_has_no_new_finding(connection in any_connection()) {
        let (before, advised) = judge(&connection);
        for (check, advice) in advised {
            if advice.changes.is_empty() {
                continue;
            }
            let mut followed = connection.clone();
            for change in &advice.changes {
                prop_assert!(change.apply(&mut followed, "web"), "{check}: {advice} has no field to set");
            }
            let (after, _) = judge(&followed);
            for (id, now) in after {
                let was = before.get(id).copied().unwrap_or((0, Severity::Unknown));
                prop_assert!(now <= was, "{check}: {advice}\nmakes {id} {now:?} of {was:?} in {followed:?}");
            }
        }
    }
}
