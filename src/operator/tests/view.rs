//! What is shown of the operator: a scrape, the agenda, and what is pushed to an Alertmanager.

use evenkeel_core::know::Source;

use super::world::{World, team};

/// One namespace whose policy is healthy, one whose is not.
fn world() -> World {
    let mut world = World::leading();
    team(&mut world, "good", 4);
    team(&mut world, "shop", 1);
    world.settle();
    world
}

const MINIMUM: &str = "backend-minimum-ready";

#[test]
fn a_scrape_shows_who_leads_what_was_found_and_which_policies_are_unhealthy() {
    let world = world();
    let snapshot = world.operator.snapshot(world.now, &[]);
    assert!(snapshot.leader && snapshot.ready);
    assert_eq!((snapshot.queue, snapshot.sources.len()), (0, 0));
    let found: u32 = snapshot
        .findings
        .iter()
        .filter(|((check, verdict, _), _)| (*check, *verdict) == (MINIMUM, "Violated"))
        .map(|one| one.1)
        .sum();
    assert_eq!(found, 1);
    let accepted = snapshot.policies.get(&("Accepted".to_owned(), "True"));
    assert_eq!(accepted, Some(&2));
    assert_eq!(snapshot.unhealthy, [("shop".to_owned(), "api".to_owned())]);
    assert!(snapshot.excepted.is_empty());
    let criticals: Vec<_> = snapshot
        .criticals
        .iter()
        .map(|one| (one.check, &*one.namespace))
        .collect();
    assert!(criticals.contains(&(MINIMUM, "shop")), "{criticals:?}");
}

#[test]
fn what_is_pushed_is_what_is_violated_and_only_the_leader_pushes() {
    let world = world();
    let service = ("shop".to_owned(), "api".to_owned(), String::new());
    let alerts = world.operator.alerts(world.now, &service);
    assert!(alerts.leader);
    assert!(alerts.findings.iter().any(|one| one.check == MINIMUM));
    assert!(alerts.findings.iter().all(|one| one.verdict.name() == "Violated"));
    let mut standby = World::new();
    standby.deliver(usize::MAX);
    team(&mut standby, "shop", 1);
    standby.settle();
    let alerts = standby.operator.alerts(standby.now, &service);
    assert!(!alerts.leader && alerts.findings.is_empty());
    assert!(!standby.operator.snapshot(standby.now, &[]).leader);
}

#[test]
fn a_policy_that_a_list_leaves_out_is_shown_no_more() {
    let mut world = world();
    world.delete(Source::Policies, "shop", "api");
    world.settle();
    let snapshot = world.operator.snapshot(world.now, &[]);
    assert!(snapshot.unhealthy.is_empty());
    assert_eq!(snapshot.policies.get(&("Accepted".to_owned(), "True")), Some(&1));
}
