//! Plans in the status of the platform's policy: there when a node comes and goes, and written when something turns.

use evenkeel_core::know::Source;
use serde_json::{Value, json};

use super::world::World;

fn node(name: &str, ready: &str) -> Value {
    json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
}

/// Twenty nodes that have been watched for an hour, under a policy of this mode.
fn world(mode: &str) -> World {
    let mut world = World::leading();
    for at in 0..20 {
        world.apply(Source::Nodes, node(&format!("n{at}"), "True"));
    }
    let spec = json!({"nodes": {"cordon": {"mode": mode}}});
    world.apply(
        Source::ClusterPolicy,
        json!({"metadata": {"name": "cluster"}, "spec": spec}),
    );
    let now = world.now;
    world.operator.runs_on(now, None);
    world.live(3_600_000);
    world
}

fn flap(world: &mut World) {
    for _ in 0..3 {
        for ready in ["Unknown", "True"] {
            world.put(Source::Nodes, node("n7", ready));
            world.live(120_000);
        }
    }
}

fn status(world: &World) -> &Value {
    &world.stored(Source::ClusterPolicy, "", "cluster").unwrap()["status"]
}

fn remediating(world: &World) -> &str {
    let conditions = status(world)["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|one| one["type"] == "Remediating");
    found.unwrap()["reason"].as_str().unwrap()
}

#[test]
fn what_holds_a_plan_back_is_in_the_status_and_is_written_once() {
    let mut world = world("Enforce");
    assert_eq!(
        (remediating(&world), &status(&world)["plansTotal"]),
        ("NothingToDo", &json!(0))
    );
    flap(&mut world);
    assert_eq!(remediating(&world), "Held");
    let plan = &status(&world)["plans"][0];
    // Nothing measures the API servers here, and what is not measured is not fit.
    assert_eq!(
        (&plan["node"], &plan["decision"], &plan["heldBy"]),
        (&json!("n7"), &json!("Held"), &json!("ControlPlaneUnfit"))
    );
    assert!(plan["since"].is_string() && plan["again"].is_string(), "{plan}");
    let snapshot = world.operator.snapshot(world.now, &[]);
    assert_eq!(
        snapshot.plans.into_iter().collect::<Vec<_>>(),
        [(("CordonNode", "ControlPlaneUnfit"), 1)]
    );
    assert_eq!(snapshot.storm, Some(false));
    let written = world.writes.get("cluster").copied();
    world.live(600_000);
    assert_eq!(
        world.writes.get("cluster").copied(),
        written,
        "it is planned anew, and says the same"
    );
    world.live(1_800_000);
    assert_eq!(
        (remediating(&world), &status(&world)["plansTotal"]),
        ("NothingToDo", &json!(0))
    );
}

#[test]
fn a_restart_keeps_what_is_planned_out_until_it_knows_enough() {
    let mut world = world("Suggest");
    flap(&mut world);
    assert_eq!(remediating(&world), "Held");
    let mut world = world.restarted();
    world.deliver(usize::MAX);
    world.lead(6);
    world.settle();
    assert_eq!(remediating(&world), "NothingToDo", "it has seen no failure");
    assert_eq!(status(&world)["plans"], Value::Null);
}

#[test]
fn in_mode_observe_a_status_says_nothing_of_plans() {
    let mut world = world("Observe");
    flap(&mut world);
    assert_eq!(remediating(&world), "ModeObserve");
    assert!(status(&world)["plans"].is_null() && status(&world)["plansTotal"].is_null());
    let snapshot = world.operator.snapshot(world.now, &[]);
    assert!(snapshot.plans.is_empty() && snapshot.storm.is_none());
}
