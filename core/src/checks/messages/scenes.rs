//! Cases of the path checks, which come of connections.

use std::sync::LazyLock;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::super::advice_followed::any_scene;
use crate::judge::Verdict;
use crate::know::Source;
use crate::policy::{Client, Connection, Door, Protocol, Server};
use crate::world::{NEVER, World, client, connection, l7, node, policy, service, static_proxy};

/// What random connections lead to, with the id of the check.
static OF_SCENES: LazyLock<Vec<(&str, Verdict)>> = LazyLock::new(|| {
    let mut runner = TestRunner::deterministic();
    let mut found = Vec::new();
    for world in made() {
        found.extend(
            world
                .core
                .engine
                .bad()
                .map(|(check, _, held)| (check.id, (*held.verdict).clone())),
        );
    }
    for at in 0..3000 {
        let mut scene = any_scene().new_tree(&mut runner).unwrap().current();
        // No pool is short enough for a table of one second.
        if at % 100 == 0 {
            scene.narrow(1);
        }
        let world = scene.world();
        found.extend(
            world
                .core
                .engine
                .bad()
                .map(|(check, _, held)| (check.id, (*held.verdict).clone())),
        );
    }
    found
});

/// What chance leads to too seldom.
fn made() -> Vec<World> {
    let silent = Connection {
        longest_silence_seconds: Some(1800),
        server: Server {
            tcp_keepalive: NEVER,
            ..Server::default()
        },
        ..connection(
            Protocol::Tcp,
            Client {
                tcp_keepalive: NEVER,
                ..client("web")
            },
        )
    };
    // No deadline of the hop is between those of its neighbours.
    let called = Connection {
        longest_request_seconds: Some(30),
        hops: vec![l7("edge", None, None)],
        server: Server {
            request_timeout_seconds: Some(60),
            ..Server::default()
        },
        ..connection(
            Protocol::Grpc,
            Client {
                request_timeout_seconds: Some(60),
                ..client("web")
            },
        )
    };
    let world = |connection| {
        let mut world = World::complete()
            .all(Source::Nodes, &[node("a", ""), node("b", "")])
            .with(Source::Pods, static_proxy("kp-a", "a", "iptables"))
            .with(Source::Pods, static_proxy("kp-b", "b", "ipvs"))
            .with(Source::Services, service("api", json!({})))
            .policy(policy(vec![connection]));
        world.core.round(world.now);
        world
    };
    let on_google = Connection {
        clients: vec![Client {
            from: Door::LoadBalancer,
            ..silent.clients[0].clone()
        }],
        ..silent.clone()
    };
    let mut internal = service("api", json!({"type": "LoadBalancer"}));
    internal["metadata"]["annotations"] = json!({"networking.gke.io/load-balancer-type": "Internal"});
    let mut google = World::complete()
        .with(Source::Nodes, node("a", ""))
        .with(Source::Pods, static_proxy("kp-a", "a", "iptables"))
        .with(Source::Services, internal)
        .policy(policy(vec![on_google]));
    google.core.round(google.now);
    vec![world(silent), world(called), google]
}

pub(in crate::checks) fn by_scenes(id: &str) -> Vec<Verdict> {
    let all = OF_SCENES.iter().filter(|(of, _)| *of == id);
    all.map(|(_, verdict)| verdict.clone()).collect()
}
