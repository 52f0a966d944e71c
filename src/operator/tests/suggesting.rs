//! An operator whose plans need a person: what waits, what people say to it, and what becomes of it.

use evenkeel_core::drive::{Ending, Phase, Request};
use evenkeel_core::know::Source;
use rstest::rstest;
use serde_json::json;

use super::acting::{FENCED, UNDONE, world};
use super::world::World;

impl World {
    /// A person answers to the last record that was stored.
    fn decide(&mut self, decision: &str) {
        let record = self.records().pop().unwrap();
        self.ledger.approvals.push(
            json!({"spec": {"remediationUID": record.uid, "planHash": record.plan_hash,
            "decision": decision, "by": "jane"}}),
        );
    }

    fn phases(&self) -> Vec<Phase> {
        self.records().iter().map(|one| one.phase).collect()
    }
}

#[test]
fn in_mode_suggest_a_node_is_fenced_when_a_person_agreed() {
    let mut world = world("Suggest");
    world.flap();
    assert_eq!(world.phases(), [Phase::Waiting]);
    let reason = world.records()[0].approval_reason.clone().unwrap();
    assert!(reason.contains("the mode is Suggest"), "{reason}");
    world.measured(60);
    assert!(!world.is_fenced());
    world.decide("Approve");
    world.measured(30);
    assert!(world.is_fenced(), "{:?}", world.ledger.words);
    assert_eq!(world.phases(), [Phase::InEffect]);
    let told = |world: &World| -> Vec<String> {
        let of_nodes = world.events.iter().filter(|one| one.starts_with("cordonnode-"));
        of_nodes
            .filter_map(|one| Some(one.split_once('.')?.1.to_owned()))
            .collect()
    };
    assert_eq!(told(&world), ["remedyawaitsapproval", "nodefenced"]);
    // It goes like any other, and its approval serves no other fence.
    world.measured(1_900);
    assert!(!world.is_fenced());
    world.flap();
    world.measured(700);
    assert_eq!(world.phases(), [UNDONE, Phase::Waiting]);
    assert_eq!(told(&world)[2..], ["nodeunfenced", "remedyawaitsapproval"]);
    assert!(!world.is_fenced());
    assert_eq!(world.times("fence"), 1);
}

#[test]
fn after_a_no_the_node_is_left_alone() {
    let mut world = world("Suggest");
    world.flap();
    world.decide("Reject");
    world.measured(30);
    let refused = Phase::Finished(Ending::Refused);
    assert_eq!(world.phases(), [refused]);
    world.flap();
    world.measured(900);
    assert_eq!(world.phases(), [refused], "nobody is asked again");
    // A yes to what was refused starts nothing.
    world.decide("Approve");
    world.measured(900);
    assert!(!world.is_fenced());
}

/// It still comes and goes, so a person is asked anew, with what it rests on now.
#[test]
fn what_nobody_answers_lapses_after_an_hour_and_a_late_yes_says_nothing() {
    let mut world = world("Suggest");
    world.flap();
    let first = world.records().pop().unwrap();
    for _ in 0..4 {
        world.flap();
    }
    let lapsed = Phase::Finished(Ending::Lapsed);
    assert_eq!(world.phases(), [lapsed, Phase::Waiting]);
    world.ledger.approvals.push(
        json!({"spec": {"remediationUID": first.uid, "planHash": first.plan_hash,
        "decision": "Approve", "by": "jane"}}),
    );
    world.measured(120);
    assert!(!world.is_fenced());
    world.decide("Approve");
    world.measured(30);
    assert!(world.is_fenced());
}

#[rstest]
#[case::the_node_is_steady(|world: &mut World| world.measured(2_400))]
#[case::nothing_is_asked_for_any_more(|world: &mut World| world.policy("Observe"))]
#[case::the_policy_is_gone(|world: &mut World| world.delete(Source::ClusterPolicy, "", "cluster"))]
fn what_is_not_planned_any_more_lapses(#[case] change: fn(&mut World)) {
    let mut world = world("Suggest");
    world.flap();
    assert_eq!(world.phases(), [Phase::Waiting]);
    change(&mut world);
    world.measured(30);
    assert_eq!(world.phases(), [Phase::Finished(Ending::Lapsed)]);
    world.decide("Approve");
    world.measured(120);
    assert!(!world.is_fenced());
}

/// The yes was for the plan under the policy as it was.
#[test]
fn another_policy_is_another_plan() {
    let mut world = world("Suggest");
    world.flap();
    world.decide("Approve");
    world.ledger.stop = true;
    let spec = json!({"nodes": {"cordon": {"mode": "Suggest", "maxNodes": 3}}});
    let object = json!({"metadata": {"name": "cluster", "generation": 2}, "spec": spec});
    world.apply(Source::ClusterPolicy, object);
    world.measured(60);
    world.ledger.stop = false;
    world.measured(120);
    assert!(!world.is_fenced(), "{:?}", world.ledger.words);
    let lapsed = Phase::Finished(Ending::Lapsed);
    assert_eq!(world.phases(), [lapsed, Phase::Waiting]);
}

/// Without a second channel a person has to agree, also in mode Enforce; and stop holds back what was agreed to.
#[test]
fn what_was_approved_waits_while_people_say_stop() {
    let mut world = world("Suggest");
    world.flap();
    world.ledger.stop = true;
    world.decide("Approve");
    world.measured(300);
    assert!(!world.is_fenced());
    assert_eq!(world.phases(), [Phase::Waiting]);
    world.ledger.stop = false;
    world.measured(120);
    assert!(world.is_fenced());
}

/// The live read shows a cordon that watches have not brought yet.
#[test]
fn guards_are_asked_again_after_a_yes() {
    let mut world = world("Suggest");
    world.flap();
    world.decide("Approve");
    world.hold_remedies = true;
    for _ in 0..120 {
        if matches!(world.asked(), Some(Request::ReadNode(_))) {
            break;
        }
        if !world.answer_remedy() {
            world.measured(30);
        }
        world.settle();
    }
    let mut object = world.stored(Source::Nodes, "", FENCED).unwrap().clone();
    object["spec"]["unschedulable"] = true.into();
    world.put(Source::Nodes, object);
    world.lose();
    world.hold_remedies = false;
    world.settle();
    assert!(!world.is_fenced());
    assert_eq!(world.ending(), Some(Phase::Finished(Ending::Refused)));
    assert!(world.records()[0].is_approved());
}
