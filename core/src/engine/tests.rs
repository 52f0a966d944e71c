//! What is judged again: the units that depend on what has changed, and no others.

mod ceilings;
mod sampled;

use std::collections::BTreeSet;
use std::sync::Arc;

use rstest::rstest;
use serde_json::{Value, json};

use crate::checks;
use crate::engine::unit::{About, WorkUnit};
use crate::findings::FindingVerdict;
use crate::handle::Input;
use crate::index::{Dep, Deps, Freshness, Part};
use crate::know::{Now, Source, Wall};
use crate::policy::{
    Beat, Client, ClusterPolicy, Connection, ControlPlanePolicy, Exception, Policy, Protocol, Server,
    ServicePick,
};
use crate::program::Core;
use crate::world::{
    World, app, balanced, client, connection, evicted_pod, node, pod, policy, preempted, preempted_pod,
    proxy_config, service, slice, slice_in,
};

/// Services `api` (with a policy whose client's Pods count), `guard` (asked by a webhook), `front` (a load balancer
/// with traffic policy Local) and `other`; two nodes; API servers that are counted.
fn world() -> World {
    let worker = Client {
        pods: Some(app("worker")),
        tcp_keepalive: Some(Beat::Enabled(None)),
        ..client("worker")
    };
    let mut declared = policy(vec![Connection {
        server: Server {
            tcp_keepalive: Some(Beat::Disabled),
            ..Server::default()
        },
        ..connection(Protocol::Tcp, worker)
    }]);
    declared.balance = balanced(Some(1), None, None).balance;
    let hook = json!({
        "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "guard"},
        "webhooks": [{
            "name": "guard.example", "failurePolicy": "Fail",
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes"], "operations": ["UPDATE"]}],
            "clientConfig": {"service": {"namespace": "shop", "name": "guard"}},
        }],
    });
    let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"});
    let mut world = World::complete()
        .all(Source::Nodes, &[node("n1", "a"), node("n2", "b")])
        .with(Source::Webhooks, &hook)
        .with(Source::Services, service("front", local))
        .policy(declared);
    for name in ["api", "guard", "other"] {
        world = world.with(Source::Services, service(name, json!({})));
    }
    for name in ["api", "guard", "other", "front"] {
        world = world.with(Source::EndpointSlices, slice(name, &[("n1", "a")]));
    }
    world = world.with(Source::EndpointSlices, api_servers(3));
    let platform = ClusterPolicy {
        control_plane: ControlPlanePolicy {
            expected_instances: Some(3),
            ..ControlPlanePolicy::default()
        },
        ..ClusterPolicy::default()
    };
    world
        .core
        .handle(Now::ONCE, Input::ClusterPolicy(Some(Arc::new(platform))));
    world.core.round(world.now);
    world
}

fn api_servers(count: usize) -> Value {
    let mut own = slice("kubernetes", &[("", ""), ("", ""), ("", "")][..count]);
    own["metadata"]["namespace"] = json!("default");
    own
}

fn sick(name: &str, zone: &str) -> Value {
    let mut row = node(name, zone);
    row["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    row
}

fn beating(name: &str, zone: &str) -> Value {
    let mut row = node(name, zone);
    row["status"]["conditions"][0]["lastHeartbeatTime"] = json!("2026-11-21T13:00:10Z");
    row
}

/// The units that would be judged now.
fn concerned(world: &World) -> Vec<String> {
    named(&world.core)
}

fn named(core: &Core) -> Vec<String> {
    let mut units = BTreeSet::new();
    core.engine.concerned(&core.index, &core.dirt, &mut units);
    let name = |unit: WorkUnit| {
        let about = match unit.about {
            About::List => "list".to_owned(),
            About::Service(key) | About::Workload(key) => core.index.show(key),
            About::Node(name) | About::Zone(name) => core.index.names.text(name).to_owned(),
            About::Webhook(key) => core.index.names.text(key.name).to_owned(),
            About::Check(at) => checks::ALL[usize::from(at)].id.to_owned(),
        };
        let name = format!("{:?} {about}", unit.scope);
        match core.index.names.text(unit.policy.name) {
            "" => name,
            policy => format!("{name} by {policy}"),
        }
    };
    units.into_iter().map(name).collect()
}

#[rstest]
#[case::of_nobody(Source::EndpointSlices, slice("other", &[]), &["Service shop/other"])]
#[case::of_a_policy(Source::EndpointSlices, slice("api", &[]), &["Service shop/api by p"])]
#[case::of_a_webhook(Source::EndpointSlices, slice("guard", &[]), &["Service shop/guard", "Webhook guard"])]
#[case::of_api_servers(Source::EndpointSlices, api_servers(2), &["Cluster cp-instances-missing"])]
#[case::a_heartbeat(Source::Nodes, beating("n1", "a"), &[])]
#[case::a_sick_node(Source::Nodes, sick("n1", "a"), &["Service shop/front", "Node n1", "Zone a", "Cluster node-mass-loss", "Cluster fleet-change-sync"])]
#[case::a_pod_of_a_client(Source::Pods, pod("worker-1", "worker", &[]), &["Path shop/api by p"])]
#[case::a_service(
    Source::Services,
    service("other", json!({"ports": null})),
    &["Service shop/other"]
)]
fn a_change_concerns_the_units_that_read_it(
    #[case] source: Source,
    #[case] object: Value,
    #[case] expected: &[&str],
) {
    let found = concerned(&world().with(source, &object));
    // Of checks of the cluster, a new one may look at the same source: those that are named must be there.
    let of_one = |unit: &&String| {
        !unit.starts_with("Cluster ") || expected.is_empty() || expected.contains(&unit.as_str())
    };
    assert_eq!(found.iter().filter(of_one).collect::<Vec<_>>(), expected);
}

/// Three Nodes in two zones and one webhook, watched.
fn watched() -> World {
    let hook = |name: &str| json!({"kind": "ValidatingWebhookConfiguration", "metadata": {"name": name}});
    World::watched(&[
        (Source::Nodes, node("n1", "a")),
        (Source::Nodes, node("n2", "a")),
        (Source::Nodes, node("n3", "b")),
        (Source::Webhooks, hook("guard")),
        (Source::Webhooks, hook("other")),
    ])
}

#[rstest]
#[case::a_heartbeat(Source::Nodes, beating("n1", "a"), &[])]
#[case::a_new_one(Source::Nodes, node("n4", "a"), &["Node n4", "Zone a"])]
#[case::a_new_zone(Source::Nodes, node("n4", "c"), &["Node n4", "Zone c"])]
#[case::a_sick_one(Source::Nodes, sick("n3", "b"), &["Node n3", "Zone b"])]
#[case::an_eviction(Source::Pods, evicted_pod(1, "api", "n2"), &["Node n2"])]
#[case::a_preemption(Source::Pods, preempted_pod(1, "low", 0), &["Workload shop/low"])]
#[case::an_event_of_one(Source::Events, preempted(1, "low", "high"), &["Workload shop/low"])]
#[case::a_webhook(
    Source::Webhooks,
    json!({"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "guard", "labels": {"a": "b"}},
        "webhooks": [{"name": "w.example"}]}),
    &["Webhook guard"]
)]
fn one_subject_of_many_is_judged_alone(
    #[case] source: Source,
    #[case] object: Value,
    #[case] expected: &[&str],
) {
    let mut live = watched();
    live.put(source, &object);
    let mut units = named(&live.core);
    // What sums over all of them is judged by check.
    units.retain(|unit| !unit.starts_with("Cluster"));
    assert_eq!(units, expected);
}

#[test]
fn a_pod_elsewhere_concerns_no_unit() {
    let mut elsewhere = pod("worker-1", "worker", &[]);
    elsewhere["metadata"]["namespace"] = json!("pay");
    assert_eq!(concerned(&world().with(Source::Pods, &elsewhere)), [""; 0]);
}

#[test]
fn a_policy_concerns_the_services_it_governs() {
    let mut changed = policy(Vec::new());
    changed.name = "another".into();
    // The unit without a key says what is unknown while Services were not read.
    let expected = [
        "Path list",
        "Path shop/api by another",
        "Service list",
        "Service shop/api by another",
    ];
    let mut told = concerned(&world().policy(changed));
    told.sort();
    assert_eq!(told, expected);
}

/// Services `api`, whose finding cites how many nodes have the table, and `calm`, which keeps within it.
fn cited() -> World {
    let quiet = |name: &str, service: &str, keepalive: Beat| {
        let silent = Connection {
            longest_silence_seconds: Some(1_800),
            server: Server {
                tcp_keepalive: Some(keepalive),
                ..Server::default()
            },
            ..connection(
                Protocol::Tcp,
                Client {
                    tcp_keepalive: Some(keepalive),
                    ..client("web")
                },
            )
        };
        let mut declared = policy(vec![silent]);
        declared.name = name.into();
        declared.services = ServicePick::Names(vec![service.into()]);
        declared
    };
    World::without(&[Source::Pods])
        .all(Source::Nodes, &[node("n1", "a"), node("n2", "a")])
        .with(
            Source::ConfigMaps,
            proxy_config("mode: ipvs\nipvs: {tcpTimeout: 0s}\n", ""),
        )
        .all(
            Source::Services,
            &[service("api", json!({})), service("calm", json!({}))],
        )
        .policy(quiet("p", "api", Beat::Disabled))
        .policy(quiet("q", "calm", Beat::Enabled(Some(60))))
}

#[test]
fn a_node_more_of_a_known_kind_concerns_findings_alone() {
    let mut world = cited();
    let cites = |world: &mut World| world.findings("path-idle-budget")[0].message.clone();
    assert!(cites(&mut world).contains("2 nodes"), "{}", cites(&mut world));
    world.core.dirt.deps = Deps::one(Dep::FleetCounts);
    assert_eq!(concerned(&world), ["Path shop/api by p"]);
    let mut world = world.with(Source::Nodes, node("n3", "a"));
    assert!(cites(&mut world).contains("3 nodes"), "{}", cites(&mut world));
}

#[rstest]
#[case::of_a_policy("backend-minimum-ready", "nothing")]
#[case::of_a_connection("path-idle-budget", "nothing")]
#[case::of_the_baseline("cordon-lb-safety", "Unknown unknown")]
fn without_a_policy_only_the_baseline_misses_services(#[case] id: &str, #[case] expected: &str) {
    let mut world = World::without(&[Source::Services]);
    assert_eq!(world.verdict(id), expected);
    let mut world = World::without(&[Source::Services]).policy(policy(Vec::new()));
    assert_eq!(world.verdict(id), "Unknown unknown");
}

#[test]
fn what_comes_first_of_its_namespace_is_not_overlooked() {
    let hook = json!({
        "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "guard"}, "webhooks": [{
            "name": "guard.example.com", "failurePolicy": "Fail",
            "objectSelector": {"matchLabels": {"app": "dns"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["*"], "operations": ["*"], "resources": ["pods"]}],
            "clientConfig": {"service": {"namespace": "guard", "name": "guard"}},
        }],
    });
    let mut pod = pod("dns-1", "dns", &[]);
    pod["metadata"]["namespace"] = json!("kube-system");
    let mut world = World::complete().with(Source::Webhooks, &hook);
    assert!(world.findings("admission-heartbeat-block").is_empty());
    let mut world = world.with(Source::Pods, &pod);
    assert_eq!(world.findings("admission-heartbeat-block").len(), 1);
}

/// A hundred policies govern `api`, one governs `other`; both Services have as many backends.
fn crowd(backends: &[(&str, &str)]) -> World {
    let wants = |name: &str, service: &str| {
        let mut wanted = balanced(Some(2), None, None);
        wanted.name = name.into();
        wanted.services = ServicePick::Names(vec![service.into()]);
        wanted
    };
    let services = [service("api", json!({})), service("other", json!({}))];
    let world = World::complete()
        .all(Source::Nodes, &[node("n1", "a"), node("n2", "b")])
        .all(Source::Services, &services)
        .policy(wants("q", "other"));
    let world = (0..100).fold(world, |world, at| world.policy(wants(&format!("p{at}"), "api")));
    ["api", "other"].into_iter().fold(world, |world, name| {
        world.with(Source::EndpointSlices, slice(name, backends))
    })
}

#[test]
fn judging_in_steps_ends_where_judging_at_once_does_and_is_bounded() {
    let (two, one) = ([("n1", "a"), ("n2", "b")], [("n1", "a")]);
    let mut world = crowd(&two);
    world.core.round(world.now);
    // The crowd's Service turns, then the other.
    let mut world = world.with(Source::EndpointSlices, slice("api", &one));
    let first = world.core.step(world.now, 100);
    assert!(
        first.more && (1..100).contains(&first.standings.len()),
        "{first:?}"
    );
    let mut world = world.with(Source::EndpointSlices, slice("other", &one));
    world.core.step(world.now, 100);
    // It turns back before all have been judged, and again.
    let mut world = world.with(Source::EndpointSlices, slice("api", &two));
    world.core.step(world.now, 100);
    let mut world = world.with(Source::EndpointSlices, slice("api", &one));
    let mut steps = 0;
    while world.core.step(world.now, 100).more {
        steps += 1;
        assert!(steps < 100, "it never ends");
    }
    let mut fresh = crowd(&one);
    fresh.core.round(fresh.now);
    assert_eq!(world.core.findings(world.now), fresh.core.findings(fresh.now));
}

#[test]
fn what_says_nothing_new_leaves_nothing_to_judge() {
    let mut declared = balanced(Some(1), None, None);
    declared.exceptions = vec![Exception {
        check: "backend-minimum-ready".into(),
        reason: "known".into(),
        expires_at: Wall(1_000),
        since: None,
    }];
    let at = |wall: i64| Now {
        wall: Wall(wall),
        ..Now::ONCE
    };
    let mut world = world().policy(declared);
    assert!(!world.core.is_settled(at(900)));
    world.core.round(at(900));
    assert!(world.core.is_settled(at(900)));
    let world = world.with(Source::Nodes, beating("n1", "a"));
    assert!(world.core.is_settled(at(900)));
    // An exception ends, a node falls ill, a Service loses its endpoints.
    assert!(!world.core.is_settled(at(1_000)));
    let mut world = world.with(Source::Nodes, sick("n1", "a"));
    assert!(!world.core.is_settled(at(900)));
    world.core.round(at(900));
    let world = world.with(Source::EndpointSlices, slice("api", &[]));
    assert!(!world.core.is_settled(at(900)));
}

#[test]
fn wants_are_handed_out_only_when_they_change() {
    let mut world = World::complete();
    let first = world.core.round(world.now).wants.expect("the usual ones");
    assert!(!first.pods.is_empty() && !first.config_maps.is_empty());
    let mut world = world
        .with(Source::Nodes, node("n9", "a"))
        .policy(policy(Vec::new()));
    assert_eq!(world.core.round(world.now).wants, None);
    let worker = Client {
        pods: Some(app("worker")),
        ..client("worker")
    };
    let mut world = world.policy(policy(vec![connection(Protocol::Tcp, worker)]));
    let more = world.core.take_wants().expect("the Pods of a client");
    assert_eq!(*more.pods["shop"], BTreeSet::from([app("worker")]));
    assert_eq!(more.pods.len(), first.pods.len() + 1, "{more:?}");
    assert_eq!(world.core.round(world.now).wants, None);
}

/// The Pods behind a Service are read where its server sends keepalives at a time that is not declared, and where
/// placement is limited.
#[rstest]
#[case::nothing_asks(policy(vec![connection(Protocol::Tcp, client("worker"))]), false)]
#[case::keepalives_of_the_server(
    policy(vec![Connection {
        server: Server { tcp_keepalive: Some(Beat::Enabled(None)), ..Server::default() },
        ..connection(Protocol::Tcp, client("worker"))
    }]),
    true
)]
#[case::placement(balanced(None, Some(50), None), true)]
#[case::a_minimum(balanced(Some(2), None, None), false)]
fn backends_are_worth_reading_where_something_rests_on_them(#[case] asks: Policy, #[case] read: bool) {
    let mut world = World::complete().policy(asks);
    world.core.round(world.now);
    let mut world = world.with(Source::Services, service("api", json!({})));
    let wants = world.core.take_wants();
    let read_now = wants.is_some_and(|wants| {
        wants
            .pods
            .get("shop")
            .is_some_and(|pods| **pods == BTreeSet::from([app("api")]))
    });
    assert_eq!(read_now, read);
}

#[test]
fn a_gap_concerns_what_read_that_part() {
    let mut world = world();
    let mut now_refused = |part| {
        let refused = Input::Freshness(Source::Pods, part, Freshness::unreadable("forbidden"));
        world.core.handle(world.now, refused);
        let units = concerned(&world);
        world.core.round(world.now);
        units
    };
    let pay = now_refused(Part::Namespace("pay"));
    assert!(pay.iter().all(|unit| unit.ends_with("list")), "{pay:?}");
    let shop = now_refused(Part::Namespace("shop"));
    assert!(shop.contains(&"Path shop/api by p".to_owned()), "{shop:?}");
    assert!(!shop.iter().any(|unit| unit.contains("shop/other")), "{shop:?}");
    let system = now_refused(Part::Namespace("kube-system"));
    assert!(
        system.iter().any(|unit| unit.starts_with("Cluster")),
        "{system:?}"
    );
}

/// A cluster of so many nodes and namespaces, each of these with a Service of two backends and a policy.
fn cluster_of(size: usize) -> World {
    let mut objects = Vec::new();
    let team = |at: usize| format!("team-{at}");
    for at in 0..size {
        let (one, other) = (format!("n{at}"), format!("n{}", (at + 1) % size));
        objects.push((Source::Nodes, node(&one, ["a", "b", "c"][at % 3])));
        let mut served = service("api", json!({}));
        served["metadata"]["namespace"] = json!(team(at));
        objects.push((Source::Services, served));
        let backends = [("10.0.0.1", one.as_str(), true), ("10.0.0.2", &other, true)];
        objects.push((Source::EndpointSlices, slice_in(&team(at), "api", &backends)));
    }
    let mut world = World::watched(&objects);
    for at in 0..size {
        let asks = Policy {
            namespace: team(at).into(),
            connections: vec![connection(Protocol::Tcp, client("worker"))],
            ..balanced(Some(1), Some(60), Some(60))
        };
        world.declare(asks);
    }
    world.core.round(world.now);
    world
}

/// What one input costs does not grow with the cluster, and is little.
#[rstest]
#[case::a_node_falls_ill(Some((Source::Nodes, sick("n7", "b"))), 40)]
#[case::a_slice_changes(
    Some((Source::EndpointSlices, slice_in("team-7", "api", &[("10.0.0.1", "n7", true), ("10.0.0.2", "n8", false)]))),
    10
)]
#[case::pods_of_a_namespace_are_refused(None, 10)]
fn one_input_judges_few_units(#[case] object: Option<(Source, Value)>, #[case] most: usize) {
    let judged = [60, 240].map(|size| {
        let mut world = cluster_of(size);
        match &object {
            Some((source, object)) => world.put(*source, object),
            None => world.input(Input::Freshness(
                Source::Pods,
                Part::Namespace("team-7"),
                Freshness::unreadable("forbidden"),
            )),
        }
        world.core.round(world.now).units
    });
    assert_eq!(judged[0], judged[1]);
    assert!(judged[0] > 0 && judged[0] <= most, "{judged:?}");
}

/// What is shown of verdicts while a lost source is judged, a unit at a time.
#[test]
fn verdicts_that_rested_on_a_lost_source_are_not_shown_as_they_were() {
    let lost = || Input::Freshness(Source::EndpointSlices, Part::Whole, Freshness::Stale);
    let mut expected = crowd(&[("n1", "a")]);
    expected.core.handle(expected.now, lost());
    expected.core.round(expected.now);
    let expected = expected.core.findings(expected.now);

    let mut world = crowd(&[("n1", "a")]);
    world.core.round(world.now);
    let before = world.core.findings(world.now);
    assert!(before.findings.len() >= 100, "{}", before.findings.len());
    assert_ne!(before.findings, expected.findings);
    world.core.handle(world.now, lost());
    let mut steps = 0;
    while world.core.step(world.now, 1).more {
        steps += 1;
        assert!(world.core.is_behind("shop"));
        let seen = world.core.findings(world.now);
        assert!(seen.summary.met <= expected.summary.met, "{:?}", seen.summary);
        for finding in seen.findings {
            assert!(
                finding.verdict == FindingVerdict::Unknown || expected.findings.contains(&finding),
                "{finding:?}"
            );
        }
    }
    assert!(steps > 100 && !world.core.is_behind("shop"));
    assert_eq!(world.core.findings(world.now), expected);
}

/// A part that is read again is no loss, though the source as a whole is not read, and though another part is not.
#[rstest]
#[case::a_namespace_comes_back(Source::Pods, Part::Namespace("kube-system"), None)]
#[case::an_object_beside_one_that_is_refused(
    Source::ConfigMaps,
    Part::Object("kube-system", "kube-proxy"),
    Some(Part::Object("kube-system", "cilium-config"))
)]
fn what_comes_back_is_not_lost(
    #[case] source: Source,
    #[case] part: Part<&'static str>,
    #[case] refused: Option<Part<&'static str>>,
) {
    let mut world = crowd(&[("n1", "a")]);
    let mut say = |part, freshness| {
        world.input(Input::Freshness(source, part, freshness));
        let lost = world.core.dirt.lost(&world.core.index);
        world.core.round(world.now);
        lost
    };
    say(Part::Whole, Freshness::Missing);
    if let Some(refused) = refused {
        say(refused, Freshness::unreadable("forbidden"));
    }
    say(part, Freshness::Complete);
    assert_eq!(say(part, Freshness::Stale), Some(source));
    assert_eq!(say(part, Freshness::Complete), None, "it comes back");
}

#[test]
fn a_namespace_is_behind_until_each_of_its_services_was_judged_once() {
    let mut world = crowd(&[("n1", "a")]);
    assert!(world.core.step(world.now, 1).more && world.core.is_behind("shop"));
    while world.core.step(world.now, 100).more {}
    assert!(!world.core.is_behind("shop") && !world.core.is_behind(""));
    // A change of what was judged before is no reason to wait.
    let mut world = world.with(Source::EndpointSlices, slice("api", &[]));
    assert!(world.core.step(world.now, 1).more && !world.core.is_behind("shop"));
}

#[test]
fn going_through_many_pods_counts_as_work() {
    let world = |pods: usize| {
        let world = (0..pods).fold(World::complete(), |world, at| {
            world.with(
                Source::Pods,
                json!({"metadata": {"name": format!("c-{at}"), "namespace": "shop", "labels": {"app": "c"}},
                    "spec": {"containers": []}}),
            )
        });
        (0..20).fold(world, |world, at| {
            let name = format!("api-{at}");
            let caller = Client {
                pods: Some(app(&format!("c-{at}"))),
                ..client("c")
            };
            let mut policy = policy(vec![connection(Protocol::Tcp, caller)]);
            policy.name = name.as_str().into();
            policy.services = ServicePick::Names(vec![name.as_str().into()]);
            world
                .with(Source::Services, service(&name, json!({})))
                .policy(policy)
        })
    };
    let units = |pods: usize| {
        let mut world = world(pods);
        world.core.step(world.now, 600).units
    };
    let (few, many) = (units(1), units(5_000));
    assert!(many < few, "{many} and {few}");
}
