//! The founding incident, from configuration alone: IPVS forgets after 900 s what a client leaves silent for 1800 s.

use serde_json::json;

use crate::findings::{Finding, FindingList};
use crate::handle::Input;
use crate::index::{Freshness, Part};
use crate::judge::Severity;
use crate::know::{Origin, Source};
use crate::policy::{Beat, Client, Connection, Policy, Protocol, Server};
use crate::world::{NEVER, World, client, connection, every, node, policy, proxy, proxy_config, service};

const IPVS: &str = "mode: ipvs\nipvs:\n  tcpTimeout: 0s\n";

/// Jobs that call Service `api` and are silent for half an hour.
fn jobs(keepalive: Option<Beat>) -> Policy {
    let worker = Client {
        tcp_keepalive: keepalive,
        ..client("worker")
    };
    policy(vec![Connection {
        longest_silence_seconds: Some(1800),
        server: Server {
            tcp_keepalive: NEVER,
            ..Server::default()
        },
        ..connection(Protocol::Http1, worker)
    }])
}

/// The cluster of the incident, of which nothing else was read.
fn cluster(keepalive: Option<Beat>) -> World {
    const READ: [Source; 5] = [
        Source::Services,
        Source::Nodes,
        Source::DaemonSets,
        Source::ConfigMaps,
        Source::Policies,
    ];
    let missing: Vec<Source> = Source::ALL
        .into_iter()
        .filter(|source| !READ.contains(source))
        .collect();
    World::without(&missing)
        .with(Source::Services, service("api", json!({})))
        .with(Source::Nodes, node("n1", ""))
        .with(Source::DaemonSets, proxy())
        .with(Source::ConfigMaps, proxy_config(IPVS, ""))
        .policy(jobs(keepalive))
}

fn audit(mut world: World) -> FindingList {
    world.core.round(world.now);
    world.core.findings(world.now)
}

fn path(list: &FindingList) -> Option<&Finding> {
    list.findings.iter().find(|one| one.check == "path-idle-budget")
}

fn refuse(world: &mut World, source: Source) {
    let refused = Freshness::unreadable("forbidden");
    world.input(Input::Freshness(source, Part::Whole, refused));
}

/// A source that was refused but in one namespace.
fn refuse_outside(world: &mut World, source: Source, namespace: &str) {
    refuse(world, source);
    let part = Part::Namespace(namespace);
    world.input(Input::Freshness(source, part, Freshness::Complete));
}

#[test]
fn silence_beyond_the_table_is_violated_with_the_kernels_900_seconds() {
    let list = audit(cluster(NEVER));
    let finding = path(&list).unwrap();
    assert_eq!(
        (finding.verdict.name(), finding.severity),
        ("Violated", Severity::Critical)
    );
    assert!(finding.message.contains("900 s"), "{}", finding.message);
    assert!(finding.message.contains("1800 s"), "{}", finding.message);
    // Where the numbers were read is evidence.
    let mut evidence = finding.evidence.iter();
    let idle = evidence.find(|one| one.what == "idleTimeout").unwrap();
    let (map, field) = ("ConfigMap kube-system/kube-proxy", "tcpTimeout: 0s");
    assert!(
        idle.source.contains(map) && idle.source.contains(field),
        "{}",
        idle.source
    );
}

#[test]
fn a_keepalive_of_300_seconds_meets_it() {
    let list = audit(cluster(every(300)));
    assert_eq!(path(&list), None);
    assert!(list.summary.met > 0);
}

#[test]
fn an_undeclared_keepalive_is_a_risk_and_never_critical() {
    let list = audit(cluster(None));
    let finding = path(&list).unwrap();
    assert_eq!(
        (finding.verdict.name(), finding.severity),
        ("AtRisk", Severity::Warning)
    );
    let mut evidence = finding.evidence.iter();
    assert!(evidence.any(|one| one.origin == Origin::Assumed));
}

#[test]
fn an_unreadable_config_map_is_unknown() {
    let mut world = cluster(NEVER);
    refuse(&mut world, Source::ConfigMaps);
    let list = audit(world);
    let finding = path(&list).unwrap();
    assert_eq!(
        (finding.verdict.name(), finding.severity),
        ("Unknown", Severity::Unknown)
    );
    assert!(finding.message.contains("forbidden"), "{}", finding.message);
}

#[test]
fn the_finding_clears_when_the_keepalive_is_declared() {
    let mut world = cluster(NEVER);
    world.core.round(world.now);
    assert!(path(&world.core.findings(world.now)).is_some());
    world.declare(jobs(every(300)));
    assert_eq!(world.core.round(world.now).transitions.len(), 1);
    assert_eq!(path(&world.core.findings(world.now)), None);
}

#[test]
fn what_was_read_in_its_namespace_is_judged_and_the_rest_is_unknown() {
    let mut world = cluster(NEVER);
    for source in [Source::Services, Source::Policies] {
        refuse_outside(&mut world, source, "shop");
    }
    let list = audit(world);
    let findings = list.findings.iter();
    let paths: Vec<_> = findings
        .filter(|one| one.check == "path-idle-budget")
        .map(|one| {
            let refused = one.message.contains("forbidden");
            (one.verdict.name(), &*one.subject.namespace, refused)
        })
        .collect();
    assert_eq!(paths, [("Violated", "shop", false), ("Unknown", "", true)]);
    let unreadable: Vec<_> = list
        .unreadable
        .iter()
        .map(|one| (&*one.source, &*one.reason))
        .collect();
    assert_eq!(
        unreadable,
        [("services", "forbidden"), ("traffichealthpolicies", "forbidden")]
    );
}

#[test]
fn a_source_that_was_read_in_other_namespaces_alone_leaves_a_gap_in_this_one() {
    let mut world = cluster(NEVER);
    refuse_outside(&mut world, Source::Policies, "pay");
    world.declare(jobs(NEVER));
    let list = audit(world);
    let finding = path(&list).unwrap();
    assert_eq!(
        (finding.verdict.name(), &*finding.subject.namespace),
        ("Unknown", "shop")
    );
}
