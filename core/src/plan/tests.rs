//! Plans of a watched cluster, from objects and samples to what people see.
#![allow(clippy::cast_precision_loss, reason = "times of a test")]

use rstest::rstest;

use crate::drive::{Ending, Phase, RemediationRecord};
use crate::fleet::WantsTracker;
use crate::guards;
use crate::handle::Input;
use crate::index::{Freshness, Part};
use crate::know::{Source, Wall};
use crate::plan::{Decision, PlansView};
use crate::policy::{ClusterPolicy, Mode, NodesPolicy};
use crate::sample::{Metric, Observer, PageScope, SampleSubject};
use crate::standing::Reason;
use crate::world::{World, cordon, node, node_ready, service, slice_in};

const NODES: usize = 20;
const UNDONE: Phase = Phase::Finished(Ending::Undone);
/// The only API server.
const SERVER: &str = "192.0.2.1";

fn name(at: usize) -> String {
    format!("n{at:02}")
}

fn declared(mode: Mode) -> ClusterPolicy {
    ClusterPolicy {
        nodes: NodesPolicy {
            cordon: Some(cordon(mode)),
            ..NodesPolicy::default()
        },
        ..ClusterPolicy::default()
    }
}

/// A cluster that has been watched for an hour.
fn cluster(mode: Mode) -> World {
    let nodes: Vec<_> = (0..NODES)
        .map(|at| (Source::Nodes, node(&name(at), "")))
        .collect();
    let mut world = World::watched(&nodes).platform(declared(mode));
    world.put(
        Source::EndpointSlices,
        &slice_in("default", "kubernetes", &[(SERVER, "", true)]),
    );
    world.input(Input::OwnNode(None));
    world.input(Input::Observers(&[Observer::Prometheus]));
    world.wait(3600);
    world
}

/// A sample of the API server: it answers, and in time.
fn serves(world: &mut World, time: f64) {
    let server = SampleSubject::Instance(SERVER.parse().unwrap());
    let values = [
        (Metric::Requests, server, 2.0 * time),
        (Metric::ServerErrors, server, 0.0),
        (Metric::TooManyRequests, server, 0.0),
        (Metric::SlowRequests, server, 0.0),
    ];
    world.measure(Observer::Prometheus, PageScope::Instances, &values);
}

/// Samples of the API server alone over the last minutes.
fn serve(world: &mut World) {
    for _ in 0..6 {
        world.wait(30);
        let time = world.now.mono.0 as f64 / 1000.0;
        serves(world, time);
    }
    world.core.round(world.now);
}

/// Samples of all nodes over the last minutes: CPUs at work of ten, and whether tasks wait on the first.
fn measure(world: &mut World, busy: f64, stalls: bool) {
    let started = world.now.mono.0 as f64 / 1000.0;
    for look in 0..6 {
        if look > 0 {
            world.wait(30);
        }
        let time = started + f64::from(look) * 30.0;
        let names: Vec<String> = (0..NODES).map(name).collect();
        let mut values = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let share = if at == 0 && stalls { 0.9 } else { 0.1 };
            for (metric, value) in [
                (Metric::CpuBusy, busy * time),
                (Metric::CpuTime, 10.0 * time),
                (Metric::MemoryTotal, 8e9),
                (Metric::MemoryAvailable, 4e9),
                (Metric::ExporterUp, 1.0),
                (Metric::CpuPressure, share * time),
                (Metric::MemoryPressure, 0.0),
                (Metric::IoPressure, 0.0),
            ] {
                values.push((metric, SampleSubject::Node(&**name), value));
            }
        }
        world.measure(Observer::Prometheus, PageScope::Nodes, &values);
        serves(world, time);
    }
    world.core.round(world.now);
}

fn ready(world: &mut World, at: usize, status: &str) {
    world.put(Source::Nodes, &node_ready(&name(at), "", status));
}

/// The first node fails three times, and three teams' Pods fill it after each return.
fn flap(world: &mut World) {
    for turn in 0..3 {
        ready(world, 0, "Unknown");
        world.wait(200);
        ready(world, 0, "True");
        for team in ["a", "b", "c"] {
            let address = format!("10.{turn}.0.1");
            world.put(
                Source::EndpointSlices,
                &slice_in(team, "app", &[(&address, "n00", true)]),
            );
        }
        world.wait(200);
    }
}

fn plans(world: &World) -> PlansView {
    world.core.plans(world.now).expect("something is planned")
}

/// What becomes of the plan for the first node.
fn becomes(world: &World) -> String {
    match plans(world).plans.first() {
        None => "nothing".into(),
        Some(plan) => plan
            .held
            .as_ref()
            .map_or(plan.decision.name(), |held| held.by)
            .to_owned(),
    }
}

fn reason(world: &World) -> Reason {
    world
        .core
        .cluster_standing(world.now, "cluster")
        .unwrap()
        .remediating
        .reason
}

#[test]
fn in_mode_observe_nothing_is_planned_and_nothing_costs_anything() {
    let mut world = cluster(Mode::Observe);
    flap(&mut world);
    assert!(world.core.plans(world.now).is_none() && world.core.planned().is_empty());
    let policy = world.core.index().cluster_policy.as_ref();
    assert_eq!(world.core.planner.due(policy, world.core.history()), None);
    let mut anew = WantsTracker::default();
    anew.measured_changed();
    let wants = anew
        .take(world.core.index(), world.core.engine.measured())
        .unwrap();
    let wanted = wants.samples.get(&PageScope::Nodes).unwrap().metrics;
    assert!(!wanted.is_empty() && !wanted.has(Metric::CpuBusy));
    assert_eq!(reason(&world), Reason::ModeObserve);
}

#[test]
fn a_flapper_in_slack_is_planned_with_its_evidence() {
    let mut world = cluster(Mode::Enforce);
    assert_eq!(reason(&world), Reason::NothingToDo);
    flap(&mut world);
    measure(&mut world, 5.0, true);
    assert_eq!(becomes(&world), "Planned");
    let view = plans(&world);
    assert_eq!(view.plans.len(), 1);
    let plan = view.plans.first().unwrap();
    assert_eq!(
        (plan.node.as_str(), plan.remedy, plan.cause),
        ("n00", "CordonNode", "RefilledFlapper")
    );
    assert_eq!(
        plan.message,
        "taint n00 with evenkeel-fenced:PreferNoSchedule: it failed 3 times within 1800 s, and 9 endpoints of 3 namespaces \
         filled it between"
    );
    let standing = world.core.cluster_standing(world.now, "cluster").unwrap();
    assert_eq!(standing.remediating.reason, Reason::Planned);
    assert!(
        standing.remediating.message.contains("runs without --remedies"),
        "{}",
        standing.remediating.message
    );
    assert_eq!(
        world.core.planned().into_iter().collect::<Vec<_>>(),
        [(("CordonNode", ""), 1)]
    );
    world.wait(1900);
    assert_eq!(becomes(&world), "nothing", "the window is over");
    assert_eq!(reason(&world), Reason::NothingToDo);
}

#[rstest]
#[case::a_person_has_to_agree(Mode::Suggest, 5.0, true, "AwaitsApproval")]
#[case::full(Mode::Enforce, 8.0, true, "NoHeadroom")]
#[case::well_by_another_channel(Mode::Enforce, 5.0, false, "OtherChannelWell")]
fn what_is_measured_decides(
    #[case] mode: Mode,
    #[case] busy: f64,
    #[case] stalls: bool,
    #[case] expected: &str,
) {
    let mut world = cluster(mode);
    flap(&mut world);
    measure(&mut world, busy, stalls);
    assert_eq!(becomes(&world), expected);
    let held = plans(&world).plans.first().unwrap().held.clone().unwrap();
    assert!(guards::find(held.by).is_some() && !held.message.is_empty());
    let suggested = expected == guards::APPROVAL;
    assert_eq!(
        plans(&world).plans.first().unwrap().decision == Decision::Suggested,
        suggested
    );
    assert_eq!(
        reason(&world),
        if suggested { Reason::Planned } else { Reason::Held }
    );
}

#[rstest]
#[case::nothing_is_measured(|_: &mut World| {}, "NoHeadroom")]
#[case::a_frozen_watch(|world: &mut World| {
    world.input(Input::Freshness(Source::Nodes, Part::Whole, Freshness::Stale));
}, "InputsStale")]
#[case::a_cordon(|world: &mut World| {
    let mut cordoned = node("n00", "");
    cordoned["spec"]["unschedulable"] = true.into();
    world.put(Source::Nodes, &cordoned);
}, "HeldByOthers")]
#[case::its_own_node(|world: &mut World| world.input(Input::OwnNode(Some("n00"))), "OwnNode")]
#[case::of_the_control_plane(|world: &mut World| {
    let mut server = node("n00", "");
    server["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = "".into();
    world.put(Source::Nodes, &server);
}, "ControlPlaneNode")]
fn what_objects_say_decides(#[case] change: fn(&mut World), #[case] expected: &str) {
    let mut world = cluster(Mode::Enforce);
    flap(&mut world);
    change(&mut world);
    serve(&mut world);
    assert_eq!(becomes(&world), expected);
}

/// Nodes that seem lost may be an API server that takes their heartbeats late.
#[test]
fn api_servers_that_are_not_measured_are_not_fit() {
    let mut world = cluster(Mode::Enforce);
    flap(&mut world);
    world.wait(30);
    assert_eq!(becomes(&world), "ControlPlaneUnfit");
    let held = plans(&world).plans.first().unwrap().held.clone().unwrap();
    assert!(
        held.message.starts_with("cp-overload-brownout"),
        "{}",
        held.message
    );
}

/// Service `shop/entry`, which is reached from outside by the nodes of its endpoints alone.
fn enter(world: &mut World, endpoints: &[(&str, &str, bool)]) {
    let entry = serde_json::json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"});
    world.put(Source::Services, &service("entry", entry));
    world.put(Source::EndpointSlices, &slice_in("shop", "entry", endpoints));
}

#[test]
fn a_node_that_load_balancers_leave_out_is_no_other_entry() {
    let mut world = cluster(Mode::Enforce);
    enter(
        &mut world,
        &[
            ("10.9.0.1", "n00", true),
            ("10.9.0.2", "n01", true),
            ("10.9.0.3", "n02", true),
        ],
    );
    flap(&mut world);
    measure(&mut world, 5.0, true);
    assert_eq!(becomes(&world), "Planned");
    let mut left_out = node("n02", "");
    left_out["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"] = "".into();
    world.put(Source::Nodes, &left_out);
    world.wait(30);
    assert_eq!(becomes(&world), "EntryAtRisk");
}

#[test]
fn the_only_entry_from_outside_is_left_alone() {
    let mut world = cluster(Mode::Enforce);
    enter(
        &mut world,
        &[("10.9.0.1", "n00", true), ("10.9.0.2", "n01", true)],
    );
    flap(&mut world);
    measure(&mut world, 5.0, true);
    assert_eq!(becomes(&world), "EntryAtRisk");
    let held = plans(&world).plans.first().unwrap().held.clone().unwrap();
    assert!(held.message.contains("shop/entry"), "{}", held.message);
}

#[test]
fn an_operator_that_has_just_started_plans_nothing() {
    let nodes: Vec<_> = (0..NODES)
        .map(|at| (Source::Nodes, node(&name(at), "")))
        .collect();
    let mut world = World::watched(&nodes).platform(declared(Mode::Enforce));
    world.input(Input::OwnNode(None));
    flap(&mut world);
    assert_eq!(becomes(&world), "InputsStale");
    let held = plans(&world).plans.first().unwrap().held.clone().unwrap();
    assert_eq!(held.message, "nodes have not been watched for 1800 s yet");
}

#[test]
fn many_failures_at_once_are_a_storm_and_a_bounded_list() {
    let mut world = cluster(Mode::Enforce);
    for _ in 0..3 {
        (0..NODES).for_each(|at| ready(&mut world, at, "Unknown"));
        world.wait(100);
        (0..NODES).for_each(|at| ready(&mut world, at, "True"));
        world.wait(100);
    }
    let view = plans(&world);
    assert!(
        view.plans.len() <= crate::plan::MOST && view.plans.iter().all(|one| one.decision == Decision::Held)
    );
    assert_eq!(becomes(&world), "Storm");
    assert_eq!(reason(&world), Reason::Storm);
    let held = view.plans.first().unwrap().held.as_ref().unwrap();
    assert!(held.again_at.is_some(), "it says when it is looked at again");
    // The window passes, and then the cooldown.
    world.wait(1900);
    assert_eq!(reason(&world), Reason::Storm);
    world.wait(700);
    assert_eq!(reason(&world), Reason::NothingToDo);
}

/// A record of a fence of one node, so many seconds ago, as the ledger has it.
fn stored(world: &World, at: usize, ago: i64, phase: Phase, failures: Option<u32>) -> RemediationRecord {
    let at_wall = |seconds: i64| Wall(world.now.wall.0 - seconds).to_string();
    let mut object = serde_json::json!({
        "metadata": {"name": format!("cordonnode-{at}"), "uid": "r", "resourceVersion": "1", "creationTimestamp": at_wall(ago)},
        "spec": {"target": {"kind": "Node", "name": name(at), "uid": "u"}, "cause": "RefilledFlapper", "term": "1",
            "policyRef": {"uid": "p", "generation": 1}, "planHash": "0", "change": {"effect": "PreferNoSchedule"}},
    });
    let mut record = RemediationRecord::parse(&object).unwrap();
    record.was_in_effect = true;
    record.phase = phase;
    record.failures_after = failures;
    object["status"] = record.status_json(Wall(world.now.wall.0 - ago / 2))["status"].clone();
    RemediationRecord::parse(&object).unwrap()
}

/// The next leader reads the ledger, and is held by what was done before it was there.
#[rstest]
#[case::hour(&[(4, 3000, UNDONE, None), (5, 2400, UNDONE, None)], "HourSpent")]
#[case::people_win(&[(0, 40_000, Phase::Finished(Ending::Lapsed), None)], "UndoneByOthers")]
#[case::cooldown(&[(0, 1_000, UNDONE, None)], "Cooldown")]
#[case::futile(&[(4, 30_000, UNDONE, Some(3)), (5, 20_000, UNDONE, Some(2))], "Futile")]
#[case::effect_is_not_known(&[(6, 300, Phase::InEffect, None)], "OneAtATime")]
#[case::loops(&[(0, 50_000, UNDONE, None), (0, 30_000, UNDONE, None)], "AwaitsApproval")]
#[case::long_ago(&[(0, 200_000, Phase::Finished(Ending::Lapsed), None), (4, 5_000, UNDONE, None)], "Planned")]
fn what_was_done_before_a_restart_holds(
    #[case] records: &[(usize, i64, Phase, Option<u32>)],
    #[case] expected: &str,
) {
    let mut world = cluster(Mode::Enforce);
    flap(&mut world);
    measure(&mut world, 5.0, true);
    assert_eq!(becomes(&world), "Planned");
    let records: Vec<_> = records
        .iter()
        .map(|(at, ago, phase, failures)| stored(&world, *at, *ago, *phase, *failures))
        .collect();
    world.input(Input::Remediations(&records));
    world.core.round(world.now);
    assert_eq!(becomes(&world), expected);
    // Their names are held as long as they are.
    world.core.forget();
    world.core.round(world.now);
    assert_eq!(becomes(&world), expected);
}
