//! The step on virtual time: who is written to, when, and what happens when leadership, policies or answers are lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod acting;
mod any_order;
mod histories;
mod ledger_server;
mod measured;
mod remedies;
mod shares;
mod suggesting;
mod view;
mod world;

use evenkeel_core::index::Freshness;
use evenkeel_core::know::{Mono, Source};
use evenkeel_core::sample::Observer;
use rstest::rstest;

use super::{Event, Next};
use crate::lease::Claim;
use crate::send::Request;
use crate::watch::What;
use world::{ServerConduct, World, policy, slice, team};

#[test]
fn nothing_is_written_before_everything_has_been_read() {
    let mut world = World::new();
    team(&mut world, "shop", 1);
    world.lead(5);
    for _ in 0..200 {
        if !world.is_pending() {
            break;
        }
        assert!(world.sent.is_empty(), "a status before the last list is complete");
        assert!(
            matches!(world.next, Next::At(_)),
            "only the end of warming up is waited for"
        );
        world.deliver(1);
    }
    world.settle();
    assert!(world.holds("api", "Healthy", "False"));
}

#[test]
fn what_cannot_be_read_is_waited_for_a_minute() {
    let mut world = World::new();
    team(&mut world, "shop", 1);
    world.lead(5);
    // Everything but the end of the lists of nodes.
    world.pass(59_999);
    world.step(Event::Tick);
    assert!(world.sent.is_empty());
    world.pass(1);
    world.step(Event::Tick);
    // Nothing at all has been read: there is no policy to write to yet.
    assert!(world.sent.is_empty() && world.operator.readiness(world.now).ready);
    world.settle();
    assert!(world.holds("api", "Healthy", "False"));
}

#[test]
fn a_standby_judges_and_writes_nothing_until_it_leads() {
    let mut world = World::new();
    team(&mut world, "shop", 1);
    world.settle();
    assert!(world.writes.is_empty() && world.operator.agenda(world.now).queue == 0);
    world.lead(7);
    assert_eq!(world.under_way(), ["shop/api"]);
    assert_eq!(world.sent[0].permit.term(), 7);
}

#[test]
fn only_the_leader_measures() {
    let mut world = World::new();
    world.operator.observed_by(world.now, &[Observer::Prometheus]);
    team(&mut world, "shop", 1);
    world.apply(Source::Nodes, serde_json::json!({"metadata": {"name": "n1"}}));
    world.settle();
    assert_eq!(world.measured, 0, "a standby measures nothing");
    world.lead(7);
    world.settle();
    assert!(world.measured > 0);
    world.step(Event::Claim(None));
    assert_eq!(world.measured, 0);
}

#[test]
fn leadership_that_is_lost_between_judging_and_sending_sends_nothing() {
    let mut world = World::leading();
    for name in ["a", "b", "c"] {
        world.apply(Source::Policies, policy("shop", name, 2));
    }
    world.deliver(usize::MAX);
    assert_eq!(world.under_way().len(), 2, "two of a namespace at a time");
    world.step(Event::Claim(None));
    for _ in 0..2 {
        world.answer(ServerConduct::Usual);
    }
    world.work();
    assert!(world.sent.is_empty(), "neither the third status nor an Event");
    world.lead(9);
    world.settle();
    assert!(world.holds("c", "Accepted", "True"));
}

#[test]
fn a_claim_expires_without_an_event() {
    let mut world = World::leading();
    team(&mut world, "shop", 2);
    world.settle();
    let until = world.now.mono.plus(10_000);
    world.step(Event::Claim(Some(Claim { term: 5, until })));
    world.pass(5000);
    world.apply(Source::EndpointSlices, slice("shop", 1));
    world.deliver(usize::MAX);
    assert!(world.sent.is_empty(), "an exchange could outlive the claim");
    assert!(world.operator.readiness(world.now).leader);
    world.pass(5000);
    world.step(Event::Tick);
    assert!(!world.operator.readiness(world.now).leader);
    // Renewed late: what was not written is written now.
    world.lead(8);
    assert_eq!(world.under_way(), ["shop/api"]);
}

#[test]
fn a_policy_that_is_deleted_while_its_status_is_under_way_leaves_nothing_behind() {
    let mut world = World::leading();
    team(&mut world, "shop", 1);
    world.deliver(usize::MAX);
    assert_eq!(world.under_way(), ["shop/api"]);
    world.delete(Source::Policies, "shop", "api");
    world.deliver(usize::MAX);
    world.answer(ServerConduct::LostAfter);
    world.live(60_000);
    assert!(world.events.is_empty() && world.operator.agenda(world.now).queue == 0);
    // One of the same name is another policy, and has an Event of its own.
    world.apply(Source::Policies, policy("shop", "api", 2));
    world.settle();
    assert!(world.holds("api", "Healthy", "False"));
    assert_eq!(world.events.len(), 1);
}

#[test]
fn a_policy_that_is_replaced_while_its_status_is_under_way_gets_its_own() {
    let mut world = World::leading();
    team(&mut world, "shop", 1);
    world.deliver(usize::MAX);
    world.delete(Source::Policies, "shop", "api");
    world.apply(Source::Policies, policy("shop", "api", 1));
    world.deliver(usize::MAX);
    assert_eq!(world.sent.len(), 1, "one at a time");
    // The precondition holds it off the new one.
    world.answer(ServerConduct::Usual);
    assert!(world.writes.is_empty() && !world.sent.is_empty());
    world.settle();
    assert!(world.holds("api", "Healthy", "True"));
}

#[test]
fn an_edit_that_the_watch_has_not_brought_yet_is_not_overwritten() {
    let mut world = World::leading();
    team(&mut world, "shop", 1);
    world.deliver(usize::MAX);
    world.apply(Source::Policies, policy("shop", "api", 1));
    world.answer(ServerConduct::Usual);
    world.work();
    assert!(
        world.sent.is_empty() && world.writes.is_empty(),
        "the watch has yet to bring the edit"
    );
    world.settle();
    assert!(world.holds("api", "Healthy", "True"));
    let stored = world.stored(Source::Policies, "shop", "api").unwrap();
    assert_eq!(stored["status"]["observedGeneration"], 2);
}

#[test]
fn one_policy_does_not_wait_for_a_crowd() {
    let mut world = World::leading();
    team(&mut world, "shop", 2);
    team(&mut world, "crowd", 2);
    for number in 0..1000 {
        world.apply(Source::Policies, policy("crowd", &format!("p{number}"), 2));
    }
    world.settle();
    world.live(3_600_000);
    world.writes.clear();
    world.apply(Source::EndpointSlices, slice("crowd", 1));
    world.apply(Source::EndpointSlices, slice("shop", 1));
    world.deliver(usize::MAX);
    let mut steps = 0;
    while !world.under_way().contains(&"shop/api".to_owned()) {
        assert!(
            steps < 80,
            "a crowd of 1001 policies is judged before the single one is written to"
        );
        steps += 1;
        world.step(Event::Tick);
        world.answer(ServerConduct::Usual);
    }
    let crowd = world.writes.len();
    assert!(crowd < 100, "{crowd} of the crowd were first");
    assert!(
        world
            .under_way()
            .iter()
            .filter(|one| one.starts_with("crowd/"))
            .count()
            <= 2
    );
    let began = world.now.mono;
    world.live(60_000);
    assert_eq!(world.writes.len(), 1002);
    // A burst of 100, then one every 20 ms.
    assert!(world.now.mono.since(began) >= 901 * 20);
}

#[test]
fn events_follow_the_status_one_by_one_and_keep_its_place() {
    let mut world = World::leading();
    for name in ["a", "b", "c"] {
        world.apply(Source::Policies, policy("shop", name, 2));
    }
    team(&mut world, "shop", 1);
    world.settle();
    world.live(3_600_000);
    world.events.clear();
    world.apply(Source::EndpointSlices, slice("shop", 2));
    world.deliver(usize::MAX);
    world.work();
    let first = world.under_way();
    assert_eq!(first.len(), 2);
    world.answer(ServerConduct::Usual);
    assert_eq!(world.under_way(), [first[1].clone(), first[0].clone()]);
    assert!(matches!(world.sent[1].request, Request::Event { .. }));
    world.settle();
    assert_eq!(world.events.len(), 4, "{:?}", world.events);
}

#[test]
fn a_stop_sends_nothing_more_and_takes_the_last_replies_in() {
    let mut world = World::leading();
    for name in ["a", "b", "c"] {
        world.apply(Source::Policies, policy("shop", name, 2));
    }
    world.deliver(usize::MAX);
    world.step(Event::Stop);
    assert_eq!((world.sent.len(), world.next), (2, Next::Never));
    world.answer(ServerConduct::Usual);
    world.answer(ServerConduct::LostBefore);
    world.lead(6);
    world.apply(Source::Policies, policy("shop", "d", 2));
    world.deliver(usize::MAX);
    assert!(world.sent.is_empty() && world.next == Next::Never);
    assert_eq!(world.writes.len(), 1);
}

#[test]
fn a_refusal_pauses_everybody_and_is_repeated() {
    let mut world = World::leading();
    for namespace in ["one", "shop"] {
        team(&mut world, namespace, 1);
    }
    world.deliver(usize::MAX);
    world.answer(ServerConduct::Error(403, "no"));
    world.answer(ServerConduct::Usual);
    world.apply(Source::Policies, policy("other", "x", 2));
    world.deliver(usize::MAX);
    let begun = world.sent.len();
    assert!(
        world
            .sent
            .iter()
            .all(|one| matches!(one.request, Request::Event { .. }))
    );
    world.pass(29_999);
    world.step(Event::Tick);
    assert_eq!(world.sent.len(), begun, "a person has to grant the right");
    world.pass(1);
    world.step(Event::Tick);
    world.settle();
    assert_eq!(world.writes.len(), 3);
}

#[test]
fn an_older_definition_is_reported_and_a_refusal_is_not_repeated_for_ever() {
    let mut world = World::leading();
    team(&mut world, "shop", 1);
    world.deliver(usize::MAX);
    world.answer(ServerConduct::Error(500, "x: field not declared in schema"));
    let Request::Status { status, .. } = &world.sent[0].request else {
        panic!("not a status");
    };
    assert_eq!(status["conditions"][0]["reason"], "CRDTooOld");
    world.answer(ServerConduct::Error(422, "invalid"));
    world.work();
    assert!(world.sent.is_empty() && world.next != Next::Now);
}

#[test]
fn after_a_lost_answer_the_object_is_read_and_the_event_sent_once() {
    let mut world = World::leading();
    team(&mut world, "shop", 1);
    world.deliver(usize::MAX);
    world.answer(ServerConduct::LostAfter);
    world.live(10_000);
    assert_eq!(world.writes["shop/api"], 1);
}

#[test]
fn a_source_that_falls_silent_is_reported() {
    let mut world = World::leading();
    team(&mut world, "shop", 2);
    world.settle();
    assert!(world.holds("api", "Observed", "True"));
    world.say(Source::EndpointSlices, || What::Freshness(Freshness::Stale));
    world.settle();
    assert!(world.holds("api", "Observed", "False"));
    world.say(Source::EndpointSlices, || What::Freshness(Freshness::Complete));
    world.settle();
    assert!(world.holds("api", "Observed", "True"));
}

#[test]
fn times_are_moments_of_one_clock() {
    let world = World::new();
    assert_eq!(world.next, Next::At(Mono(1_060_000)));
}

/// A namespace and a claim that ends in ten seconds, with this to be delivered in the step in which it has ended.
fn ended_claim(ready: u32) -> bool {
    let mut world = World::leading();
    team(&mut world, "shop", 2);
    world.settle();
    let until = world.now.mono.plus(10_000);
    world.step(Event::Claim(Some(Claim { term: 5, until })));
    world.pass(10_000);
    world.apply(Source::EndpointSlices, slice("shop", ready));
    let watched = world.take_pending();
    let effects = world.operator.step(world.now, Event::Watched(watched));
    assert!(effects.judged && !world.operator.readiness(world.now).leader);
    effects.turned
}

#[rstest]
#[case::a_verdict_turns_as_well(1)]
#[case::no_verdict_turns(3)]
fn lost_leadership_is_passed_on_whatever_was_judged(#[case] ready: u32) {
    assert!(ended_claim(ready));
}

#[rstest]
#[case::healthy_to_unhealthy(1, true)]
#[case::the_same(2, false)]
fn verdicts_that_turn_are_passed_on(#[case] ready: u32, #[case] expected: bool) {
    let mut world = World::leading();
    team(&mut world, "shop", 2);
    world.settle();
    world.apply(Source::EndpointSlices, slice("shop", ready));
    let watched = world.take_pending();
    let effects = world.operator.step(world.now, Event::Watched(watched));
    assert_eq!(effects.turned, expected);
}

#[test]
fn what_happens_to_other_lists_forgets_no_policy() {
    let mut world = World::leading();
    team(&mut world, "shop", 2);
    world.settle();
    assert!(world.holds("api", "Healthy", "True"));
    // A Service and a policy have one name, and lists of other kinds hold no policy.
    world.relist(Source::Services);
    world.relist(Source::EndpointSlices);
    world.settle();
    world.delete(Source::Services, "shop", "api");
    world.settle();
    world.apply(Source::Services, world::service("shop"));
    world.apply(Source::EndpointSlices, slice("shop", 1));
    world.settle();
    assert!(world.holds("api", "Healthy", "False"));
}

#[test]
fn a_policy_that_goes_while_the_watch_is_broken_is_forgotten_with_the_next_list() {
    let mut world = World::leading();
    for namespace in ["one", "shop"] {
        team(&mut world, namespace, 1);
    }
    world.settle();
    let shown = |world: &World| world.operator.snapshot(world.now, &[]).unhealthy.len();
    assert_eq!(shown(&world), 2);
    world.delete(Source::Policies, "shop", "api");
    world.lose();
    world.relist(Source::Policies);
    world.settle();
    assert_eq!(shown(&world), 1);
}

#[test]
fn a_definition_that_is_too_old_is_reported_when_there_is_a_permit_again() {
    let mut world = World::leading();
    team(&mut world, "shop", 1);
    world.deliver(usize::MAX);
    // Too short for another exchange, but still held.
    let until = world.now.mono.plus(10_000);
    world.step(Event::Claim(Some(Claim { term: 5, until })));
    world.pass(9_000);
    world.answer(ServerConduct::Error(500, "x: field not declared in schema"));
    assert!(world.sent.is_empty() && world.operator.readiness(world.now).leader);
    assert_eq!(world.operator.agenda(world.now).queue, 1);
    world.lead(5);
    world.work();
    assert_eq!(world.under_way(), ["shop/api"]);
}
