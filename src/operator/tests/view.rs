//! What is shown of the operator: a scrape, the agenda, and what is pushed to an Alertmanager.

use evenkeel_core::index::Freshness;
use evenkeel_core::know::Source;
use serde_json::json;

use super::super::{Effects, Event, HolderState, Next};
use super::world::{World, policy, team};
use crate::watch::{WatchState, WatchStatus, What};

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
    let service = crate::outbound::ServicePort {
        namespace: "shop".to_owned(),
        service: "api".to_owned(),
        port: String::new(),
    };
    let alerts = world.operator.alerts(world.now, &service);
    assert!(alerts.leader);
    assert!(alerts.findings.findings.iter().any(|one| one.check == MINIMUM));
    assert!(
        alerts
            .findings
            .findings
            .iter()
            .all(|one| one.verdict.name() == "Violated")
    );
    let mut standby = World::new();
    standby.deliver(usize::MAX);
    team(&mut standby, "shop", 1);
    standby.settle();
    let alerts = standby.operator.alerts(standby.now, &service);
    assert!(!alerts.leader && alerts.findings.findings.is_empty());
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

#[test]
fn the_agenda_shows_the_next_look_and_who_waits() {
    let mut world = World::leading();
    world.settle();
    let agenda = world.operator.agenda(world.now);
    assert_eq!(
        (agenda.queue, agenda.next_look_ms.is_none()),
        (0, world.next == Next::Never)
    );
    for name in ["a", "b", "c"] {
        world.apply(Source::Policies, policy("shop", name, 2));
    }
    world.deliver(usize::MAX);
    // Two of a namespace are under way, and the third waits.
    assert_eq!(world.operator.agenda(world.now).queue, 1);
    world.step(Event::Stop);
    assert_eq!(world.operator.agenda(world.now).next_look_ms, None);
    // While the first lists come, the end of warming up is next.
    let mut world = World::new();
    world.pass(20_000);
    assert_eq!(world.operator.agenda(world.now).next_look_ms, Some(40_000));
}

#[test]
fn a_scrape_shows_each_watched_source_once() {
    let mut world = world();
    let of = |source, lines, age| WatchStatus {
        source,
        watches: String::new(),
        state: WatchState::Watching,
        last_line_age_ms: age,
        resource_version: String::new(),
        lines,
        restarts: 2,
        lists: 1,
        silences: 3,
        last_error: None,
    };
    let watches = [
        of(Source::EndpointSlices, 10, Some(1500)),
        of(Source::EndpointSlices, 5, Some(2500)),
        of(Source::Nodes, 0, None),
    ];
    let shown = |world: &World| world.operator.snapshot(world.now, &watches).sources;
    let sources = shown(&world);
    assert_eq!(sources.len(), 2);
    let slices = sources
        .iter()
        .find(|one| one.source == Source::EndpointSlices)
        .unwrap();
    assert!(slices.fresh);
    assert_eq!(
        (slices.lines, slices.lists, slices.restarts, slices.silences),
        (15, 2, 4, 6)
    );
    assert_eq!((slices.age_seconds, slices.opaque), (Some(2.5), 0));
    let nonsense = json!({"metadata": {"namespace": "shop", "name": "broken",
        "labels": {"kubernetes.io/service-name": "api"}}, "endpoints": 1});
    world.put(Source::EndpointSlices, nonsense);
    world.say(Source::EndpointSlices, || What::Freshness(Freshness::Stale));
    world.settle();
    let sources = shown(&world);
    let slices = sources
        .iter()
        .find(|one| one.source == Source::EndpointSlices)
        .unwrap();
    assert_eq!((slices.fresh, slices.opaque), (false, 1));
    let nodes = sources.iter().find(|one| one.source == Source::Nodes).unwrap();
    assert_eq!((nodes.fresh, nodes.opaque), (true, 0));
}

#[test]
fn beside_the_lease_stands_what_is_not_fresh() {
    let mut world = World::new();
    world.deliver(usize::MAX);
    let declared = |effects: Effects| serde_json::from_str::<HolderState>(&effects.state.unwrap()).unwrap();
    world.say(Source::Nodes, || What::Freshness(Freshness::Stale));
    let watched = world.take_pending();
    let state = declared(world.operator.step(world.now, Event::Watched(watched)));
    assert!(state.ready);
    assert_eq!(state.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        state.not_fresh.get("nodes").map(String::as_str),
        Some("silent for too long")
    );
    let why = format!("{}\n{}", "long ".repeat(100), "second line");
    world.say(Source::Nodes, || What::Freshness(Freshness::unreadable(&why)));
    let watched = world.take_pending();
    let state = declared(world.operator.step(world.now, Event::Watched(watched)));
    let shown = &state.not_fresh["nodes"];
    assert!(shown.chars().count() == 200 && !shown.contains('\n'), "{shown}");
    world.say(Source::Nodes, || What::Freshness(Freshness::Complete));
    let watched = world.take_pending();
    let state = declared(world.operator.step(world.now, Event::Watched(watched)));
    assert!(!state.not_fresh.contains_key("nodes"));
}
