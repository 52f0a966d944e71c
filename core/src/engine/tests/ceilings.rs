//! What is judged of policies that declare more than the ceilings allow.

use std::sync::Arc;

use rstest::rstest;
use serde_json::json;

use crate::engine::unit::PATHS;
use crate::findings::JudgedInPart;
use crate::know::{Now, Source};
use crate::names::Key;
use crate::policy::ceiling::{OF_A_NAMESPACE, OF_A_POLICY, OF_THE_CLUSTER};
use crate::policy::{Client, Connection, Policy, PortRef, Protocol, Selector, ServicePick};
use crate::standing::{Holds, Reason, Standing};
use crate::world::{World, client, connection, policy, service};
use crate::{Core, Input};

/// A policy over all Services of a namespace, with so many connections of so many clients.
fn wide(namespace: &str, name: &str, connections: usize, clients: usize) -> Arc<Policy> {
    let of_pods = |at: usize| Client {
        pods: Some(Selector {
            labels: vec![("app".into(), "c".into())],
            expressions: Vec::new(),
        }),
        ..client(&format!("c{at}"))
    };
    let clients: Vec<Client> = (0..clients).map(of_pods).collect();
    let connections = (0..connections).map(|at| Connection {
        name: format!("connection-{at}").into(),
        clients: clients.clone(),
        ..connection(Protocol::Tcp, client("any"))
    });
    Arc::new(Policy {
        namespace: namespace.into(),
        name: name.into(),
        services: ServicePick::Selector(Selector::default()),
        ..policy(connections.collect())
    })
}

/// A Service of so many ports.
fn ports(core: &mut Core, namespace: &str, name: &str, count: usize) {
    let ports: Vec<_> = (0..count)
        .map(|at| json!({"name": format!("p{at}"), "port": 1000 + at, "protocol": "TCP"}))
        .collect();
    let mut object = service(name, json!({"ports": ports}));
    object["metadata"]["namespace"] = json!(namespace);
    let text = object.to_string();
    core.handle(Now::ONCE, Input::object(Source::Services, text.as_bytes()));
}

/// A namespace at its ceilings, and a small one, `shop`, with the key of its policy; nothing is judged yet.
fn crowded() -> (Core, Key) {
    let mut core = core();
    ports(&mut core, "a-team", "api", 32);
    for at in 0..OF_A_NAMESPACE / OF_A_POLICY {
        core.handle(
            Now::ONCE,
            Input::Policy(wide("a-team", &format!("p{at}"), 16, 16)),
        );
    }
    ports(&mut core, "shop", "api", 1);
    core.handle(Now::ONCE, Input::Policy(wide("shop", "own", 1, 1)));
    let own = Key {
        namespace: core.index.names.find("shop").expect("a name in use"),
        name: core.index.names.find("own").expect("a name in use"),
    };
    (core, own)
}

fn core() -> Core {
    let mut core = World::complete().core;
    core.round(Now::ONCE);
    core
}

fn standing(core: &Core, namespace: &str, name: &str) -> Standing {
    core.standing(Now::ONCE, namespace, name).expect("a policy")
}

/// What the policies of a namespace declare and how much of it is judged, of those that are judged in part.
fn judged(core: &Core, namespace: &str) -> Vec<(u64, u64)> {
    let named = core.findings(Now::ONCE).not_judged.map(|one| one.policies);
    let here = |one: &JudgedInPart| one.policy.starts_with(&format!("{namespace}/"));
    let named = named.unwrap_or_default().into_iter().filter(here);
    named.map(|one| (one.declared, one.judged)).collect()
}

#[test]
fn an_honest_policy_is_judged_as_a_whole() {
    let mut core = core();
    core.handle(Now::ONCE, Input::Policy(wide("shop", "usual", 4, 5)));
    for at in 0..10 {
        ports(&mut core, "shop", &format!("s{at}"), 3);
    }
    core.round(Now::ONCE);
    let standing = standing(&core, "shop", "usual");
    assert_eq!(standing.accepted.reason, Reason::Accepted);
    assert_eq!((standing.governed, judged(&core, "shop")), (10, Vec::new()));
}

#[test]
fn a_policy_above_its_ceiling_is_judged_in_part_and_says_so() {
    let mut core = core();
    core.handle(Now::ONCE, Input::Policy(wide("a-team", "huge", 16, 16)));
    for at in 0..10 {
        ports(&mut core, "a-team", &format!("s{at}"), 32);
    }
    let round = core.round(Now::ONCE);
    let declared = 10 * (1 + 16 * 16 * 32);
    assert_eq!(judged(&core, "a-team"), [(declared, OF_A_POLICY)]);
    assert!(
        round.units as u64 <= 64 + OF_A_POLICY / PATHS,
        "{} units",
        round.units
    );
    let before = standing(&core, "a-team", "huge");
    assert_eq!(
        (before.accepted.holds, before.accepted.reason),
        (Holds::True, Reason::JudgedInPart)
    );
    let message = &before.accepted.message;
    assert!(
        message.contains("2000 of 81930 subjects") && message.contains("split the policy"),
        "{message}"
    );
    assert_ne!(before.healthy.holds, Holds::True);
    assert_eq!(before.governed, 1, "the first Service takes all of it");

    // A Service that is judged in part shrinks: the next one gets what it leaves.
    ports(&mut core, "a-team", "s0", 1);
    core.round(Now::ONCE);
    assert_eq!(standing(&core, "a-team", "huge").governed, 2);
    // The policy shrinks: all of it is judged.
    core.handle(Now::ONCE, Input::Policy(wide("a-team", "huge", 1, 1)));
    core.round(Now::ONCE);
    let after = standing(&core, "a-team", "huge");
    assert_eq!((after.accepted.reason, after.governed), (Reason::Accepted, 10));
}

/// As of a DNS alias, which has no ports of its own.
#[test]
fn ports_that_only_connections_number_count_as_well() {
    let mut core = core();
    let mut policy = Arc::unwrap_or_clone(wide("a-team", "huge", 16, 16));
    for connection in &mut policy.connections {
        connection.ports = (1..=16).map(PortRef::Number).collect();
    }
    core.handle(Now::ONCE, Input::Policy(Arc::new(policy)));
    ports(&mut core, "a-team", "alias", 0);
    core.round(Now::ONCE);
    assert_eq!(judged(&core, "a-team"), [(1 + 16 * 16 * 16, OF_A_POLICY)]);
}

#[test]
fn the_policies_of_a_namespace_share_its_ceiling_by_name() {
    let mut core = core();
    for at in 0..4 {
        ports(&mut core, "a-team", &format!("s{at}"), 20);
    }
    for at in 0..8 {
        core.handle(Now::ONCE, Input::Policy(wide("a-team", &format!("p{at}"), 2, 12)));
    }
    ports(&mut core, "shop", "api", 1);
    core.handle(Now::ONCE, Input::Policy(wide("shop", "own", 1, 1)));
    core.round(Now::ONCE);
    let each = 4 * (1 + 20 * 2 * 12);
    let sixth = OF_A_NAMESPACE - 5 * each;
    assert_eq!(judged(&core, "a-team"), [(each, sixth), (each, 0), (each, 0)]);
    let none = standing(&core, "a-team", "p7");
    assert!(
        none.accepted
            .message
            .contains("namespace a-team may have 10000 together")
    );
    assert_eq!((none.governed, none.healthy.reason), (0, Reason::JudgedInPart));
    assert_eq!(standing(&core, "shop", "own").accepted.reason, Reason::Accepted);
    // One that comes first by name takes its part from those behind, whenever it comes.
    core.handle(Now::ONCE, Input::Policy(wide("a-team", "first", 2, 12)));
    core.round(Now::ONCE);
    assert_eq!(judged(&core, "a-team")[0], (each, OF_A_NAMESPACE - 5 * each));
    assert_eq!(standing(&core, "a-team", "first").governed, 4);
}

#[test]
fn a_full_cluster_leaves_small_namespaces_alone() {
    let mut core = core();
    let teams = OF_THE_CLUSTER / OF_A_NAMESPACE + 2;
    for team in 0..teams {
        let namespace = format!("team-{team}");
        for at in 0..5 {
            ports(&mut core, &namespace, &format!("s{at}"), 30);
            let name = format!("p{at}");
            core.handle(Now::ONCE, Input::Policy(wide(&namespace, &name, 1, 16)));
        }
    }
    ports(&mut core, "shop", "api", 2);
    core.handle(Now::ONCE, Input::Policy(wide("shop", "own", 2, 2)));
    core.engine.shares.settle(&core.index, &core.dirt);
    let cuts: u64 = core.engine.shares.cuts().map(|one| one.1.judged).sum();
    let shop = 1 + 2 * 2 * 2;
    let cut = core.engine.shares.cuts().count() as u64;
    assert!(cut >= teams && cuts <= OF_THE_CLUSTER - shop);
    let share = (OF_THE_CLUSTER - shop) / teams;
    let of_first = judged_in(&core, "team-0");
    assert!(
        of_first <= share && share - of_first < 5 * OF_A_POLICY,
        "{of_first} of {share}"
    );
    core.round(Now::ONCE);
    assert_eq!(standing(&core, "shop", "own").accepted.reason, Reason::Accepted);
}

/// A namespace at its ceilings, and a Service of another team: whatever changes, a step judges at most one unit more than
/// it should, and the other team's turn comes in the first.
#[rstest]
#[case::its_service_changes(true)]
#[case::one_of_its_pods_changes(false)]
fn a_namespace_at_its_ceilings_is_judged_in_small_steps(#[case] of_service: bool) {
    const STEP: usize = 512;
    let pod = |at: usize, version: usize| {
        json!({
            "metadata": {"name": format!("c-{at}"), "namespace": "a-team",
                "labels": {"app": "c", "version": version.to_string()}},
            "spec": {"nodeName": "n1", "containers": []},
        })
        .to_string()
    };
    let (mut core, own) = crowded();
    for at in 0..500 {
        core.handle(Now::ONCE, Input::object(Source::Pods, pod(at, 0).as_bytes()));
    }
    core.round(Now::ONCE);
    assert_eq!(judged_in(&core, "a-team"), OF_A_NAMESPACE);

    if of_service {
        ports(&mut core, "a-team", "api", 33);
    } else {
        core.handle(Now::ONCE, Input::object(Source::Pods, pod(7, 1).as_bytes()));
    }
    ports(&mut core, "shop", "api", 2);
    let most = STEP + PATHS as usize * core.engine.checks().len();
    let mut steps = Vec::new();
    loop {
        let step = core.step(Now::ONCE, STEP);
        assert!(step.verdicts <= most, "{} verdicts", step.verdicts);
        steps.push(step.standings.contains(&own));
        if !step.more {
            break;
        }
    }
    assert!(steps.len() >= 10 && steps.first() == Some(&true), "{steps:?}");
}

/// One that changes all the time is judged to so many verdicts a second, and all of it in the end; another namespace waits for
/// none of it.
#[test]
fn a_namespace_that_always_changes_has_its_share_of_the_time() {
    let (mut core, own) = crowded();
    core.round(Now::ONCE);
    let mut verdicts = 0;
    let (begin, mut now) = (Now::ONCE, Now::ONCE);
    for second in 0..15 {
        now.mono = begin.mono.plus(second * 1_000);
        let port = 1 + usize::from(second % 2 == 0);
        ports(&mut core, "a-team", "api", 32 + port);
        ports(&mut core, "shop", "api", port);
        let first = core.step(now, 128);
        assert!(first.standings.contains(&own), "second {second}");
        verdicts += first.verdicts;
        loop {
            let step = core.step(now, 128);
            verdicts += step.verdicts;
            if !step.more {
                break;
            }
        }
        assert!(
            core.deadline(now).is_some_and(|at| at > now.mono),
            "second {second}"
        );
    }
    // Its credit of four seconds, and of these fifteen.
    assert!((15 * 8_000..21 * 8_000).contains(&verdicts), "{verdicts}");
    while let Some(at) = core.deadline(now).filter(|_| core.engine.is_behind()) {
        now.mono = at;
        while core.step(now, 128).more {}
    }
    let left = core.findings(now);
    core.round(now);
    assert_eq!(left, core.findings(now));
}

/// What is judged in parts is judged as from nothing, whatever grows and shrinks.
#[test]
fn parts_come_and_go_with_the_paths() {
    let mut core = core();
    for count in [1, 20, 3, 33, 0, 2] {
        ports(&mut core, "a-team", "api", count);
        core.handle(Now::ONCE, Input::Policy(wide("a-team", "wide", 2, count)));
        while core.step(Now::ONCE, 16).more {}
        let mut fresh = self::core();
        ports(&mut fresh, "a-team", "api", count);
        fresh.handle(Now::ONCE, Input::Policy(wide("a-team", "wide", 2, count)));
        fresh.round(Now::ONCE);
        assert_eq!(
            core.findings(Now::ONCE),
            fresh.findings(Now::ONCE),
            "{count} ports"
        );
    }
}

fn judged_in(core: &Core, namespace: &str) -> u64 {
    let names = &core.index.names;
    let here = core.engine.shares.cuts();
    let here = here.filter(|one| names.text(one.0.namespace) == namespace);
    here.map(|one| one.1.judged).sum()
}

/// In whatever order they came, the same is judged.
#[test]
fn what_is_judged_depends_on_what_there_is_alone() {
    let policies = ["b", "a", "c"].map(|name| wide("a-team", name, 8, 16));
    let mut first = core();
    for one in &policies {
        first.handle(Now::ONCE, Input::Policy(one.clone()));
    }
    for at in (0..6).rev() {
        ports(&mut first, "a-team", &format!("s{at}"), 20);
        first.round(Now::ONCE);
    }
    ports(&mut first, "a-team", "s3", 4);
    first.handle(Now::ONCE, Input::Gone(Source::Services, "a-team", "s5"));
    first.round(Now::ONCE);
    let mut second = core();
    for at in 0..5 {
        ports(
            &mut second,
            "a-team",
            &format!("s{at}"),
            if at == 3 { 4 } else { 20 },
        );
    }
    for one in policies.iter().rev() {
        second.handle(Now::ONCE, Input::Policy(one.clone()));
    }
    second.round(Now::ONCE);
    assert_eq!(first.findings(Now::ONCE), second.findings(Now::ONCE));
    assert_eq!(judged(&first, "a-team").len(), 3);
}
