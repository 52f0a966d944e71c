use std::sync::Arc;

use super::*;
use crate::handle::Input;
use crate::know::Mono;
use crate::policy::{ClusterPolicy, NodesPolicy};
use crate::world::{World, node_ready, slice_part};
use rstest::rstest;
use serde_json::Value;

const ID: &str = "node-cascade-wave";

fn name(at: u32) -> String {
    format!("n{at}")
}

/// Slice `node` holds what a node has: so many endpoints.
fn load(node: u32, count: u32) -> Value {
    let name = name(node);
    let endpoints: Vec<_> = (0..count)
        .map(|at| (node * 1000 + at, name.as_str(), true))
        .collect();
    slice_part("app", node, &endpoints)
}

/// Twenty nodes of ten endpoints, watched for a while.
fn start(seconds: u64) -> World {
    let mut objects = vec![];
    for at in 0..20 {
        objects.push((Source::Nodes, node_ready(&name(at), "z", "True")));
        objects.push((Source::EndpointSlices, load(at, 10)));
    }
    let mut live = World::watched(&objects);
    live.wait(seconds);
    live
}

fn fail(live: &mut World, at: u32) {
    live.put(Source::Nodes, &node_ready(&name(at), "z", "Unknown"));
}

/// Two nodes fail; some minutes later some that have grown, and some that have not.
fn wave(live: &mut World, grown: u32, count: u32, flat: u32) {
    (0..2).for_each(|at| fail(live, at));
    live.wait(120);
    for at in 2..2 + count {
        live.put(Source::EndpointSlices, &load(at, 10 + grown));
    }
    live.wait(120);
    (2..2 + count + flat).for_each(|at| fail(live, at));
}

#[rstest]
#[case::filled(700, 4, 3, 0, "Violated critical Wave")]
#[case::just_filled(700, 3, 1, 0, "Violated critical Wave")]
#[case::hardly_filled(700, 1, 3, 0, "")]
#[case::two_endpoints_are_nothing(700, 2, 3, 0, "")]
#[case::one_was_not(700, 4, 3, 1, "AtRisk warning SomeFilled")]
#[case::none_was(700, 0, 3, 0, "")]
#[case::no_later_ones(700, 4, 0, 0, "")]
#[case::watched_too_short(60, 4, 3, 0, "AtRisk warning ShortHistory")]
fn waves(
    #[case] watched: u64,
    #[case] grown: u32,
    #[case] count: u32,
    #[case] flat: u32,
    #[case] expected: &str,
) {
    let mut live = start(watched);
    wave(&mut live, grown, count, flat);
    assert_eq!(live.says(ID), expected);
}

#[test]
fn it_says_what_it_counted_and_ends_with_the_window() {
    let mut live = start(700);
    wave(&mut live, 4, 3, 0);
    assert_eq!(
        live.message(ID),
        "5 nodes failed within 600 s of each other; 3 of the 3 later ones had received at least 40 % more endpoints"
    );
    live.wait(600);
    assert_eq!(live.says(ID), "Violated critical Wave");
    live.wait(1);
    assert_eq!(live.says(ID), "");
}

/// The domino of the default toleration: a node fails, after 300 s its Pods move, 80 s later the next one fails.
fn domino(live: &mut World, steps: u32, node_of: impl Fn(u32) -> Value) -> Vec<String> {
    let mut reported = Vec::new();
    for step in 0..steps {
        live.put(Source::Nodes, &node_of(step));
        reported.push(live.says(ID));
        live.wait(300);
        live.put(Source::EndpointSlices, &load(step, 0));
        live.put(Source::EndpointSlices, &load(step + 1, 10 + (step + 1) * 10));
        live.wait(80);
    }
    reported
}

#[test]
fn the_domino_of_the_default_toleration() {
    let mut live = start(700);
    let reported = domino(&mut live, 4, |step| node_ready(&name(step), "z", "Unknown"));
    let wave = "Violated critical Wave";
    assert_eq!(reported, ["", "", wave, wave]);
    live.wait(220);
    assert_eq!(live.says(ID), wave);
    live.wait(1);
    assert_eq!(live.says(ID), "");
}

#[rstest]
#[case::cordoned(|node: &mut Value| node["spec"]["unschedulable"] = true.into())]
#[case::spot(|node: &mut Value| node["metadata"]["labels"]["cloud.google.com/gke-spot"] = "true".into())]
#[case::newcomers(|node: &mut Value| {
    node["metadata"]["creationTimestamp"] = "2027-01-15T07:50:00Z".into();
    node["status"]["conditions"][0]["lastTransitionTime"] = "2027-01-15T08:19:59Z".into();
})]
fn nodes_that_go_or_fill_up_by_themselves(#[case] mark: fn(&mut Value)) {
    let mut live = start(700);
    let reported = domino(&mut live, 4, |step| {
        let mut node = node_ready(&name(step), "z", "Unknown");
        mark(&mut node);
        node
    });
    assert_eq!(reported, ["", "", "", ""]);
}

#[test]
fn among_many_other_failures_some_filled_node_is_no_wave() {
    let mut live = start(700);
    for at in 0..18 {
        if at % 6 == 5 {
            live.put(Source::EndpointSlices, &load(at, 15));
        }
        fail(&mut live, at);
        live.wait(120);
        assert_eq!(live.says(ID), "", "{at}");
    }
}

#[test]
fn one_moment_is_no_wave() {
    let mut live = start(700);
    for at in 0..10 {
        live.put(Source::EndpointSlices, &load(at, 20));
    }
    (0..10).for_each(|at| fail(&mut live, at));
    assert_eq!(live.says(ID), "");
}

#[test]
fn a_node_that_flaps_is_one_node() {
    let mut live = start(700);
    for _ in 0..6 {
        fail(&mut live, 1);
        live.put(Source::EndpointSlices, &load(1, 20));
        live.put(Source::Nodes, &node_ready("n1", "z", "True"));
        live.wait(30);
    }
    assert_eq!(live.says(ID), "");
}

#[test]
fn replaced_pods_are_not_received_ones() {
    let mut live = start(700);
    (0..2).for_each(|at| fail(&mut live, at));
    live.wait(120);
    for at in 2..5 {
        // A rollout: as many go as come.
        let other = name(at);
        let endpoints: Vec<_> = (0..10)
            .map(|one| (50_000 + at * 1000 + one, other.as_str(), true))
            .collect();
        live.put(Source::EndpointSlices, &slice_part("app", at, &endpoints));
    }
    live.wait(60);
    (2..5).for_each(|at| fail(&mut live, at));
    assert_eq!(live.says(ID), "");
}

#[test]
fn two_that_fail_at_one_moment_are_one_step_in_either_order() {
    let mut names = crate::names::Names::default();
    let mut failure = |at, node, grown| Failure {
        at: Mono(at),
        node: names.intern(node),
        before: 10,
        grown,
        seen: true,
    };
    let (back, other) = (failure(118_000, "a", 10), failure(118_000, "c", 10));
    let before = [failure(0, "a", 0), failure(51_000, "b", 0)];
    let of = |last: [Failure; 2]| {
        let all: Vec<&Failure> = before.iter().chain(&last).collect();
        let wave = Wave::last(&all, &DEFAULT).unwrap();
        (wave.from, wave.first, wave.filled, wave.others)
    };
    assert_eq!(of([back, other]), of([other, back]));
}

#[test]
fn the_platforms_policy_sets_the_numbers() {
    let mut live = start(700);
    let policy = ClusterPolicy {
        nodes: NodesPolicy {
            cascade: Some(Cascade {
                window_seconds: 1800,
                minimum_nodes: 6,
                received_pods_percent: 50,
            }),
            ..NodesPolicy::default()
        },
        ..ClusterPolicy::default()
    };
    live.input(Input::ClusterPolicy(Some(Arc::new(policy))));
    live.wait(1800);
    wave(&mut live, 5, 3, 0);
    assert_eq!(live.says(ID), "");
    live.put(Source::EndpointSlices, &load(9, 15));
    live.wait(700);
    fail(&mut live, 9);
    assert_eq!(live.says(ID), "Violated critical Wave");
}

#[test]
fn nodes_that_were_down_before_did_not_fail() {
    let down: Vec<_> = (0..20)
        .map(|at| (Source::Nodes, node_ready(&name(at), "z", "False")))
        .collect();
    let mut live = World::watched(&down);
    assert_eq!(live.says(ID), "");
    let mut world = World::complete();
    assert_eq!(world.found(ID), Vec::<String>::new());
}

#[test]
fn a_long_window_is_judged_when_it_has_passed() {
    let mut live = World::watched(&[]);
    let policy = ClusterPolicy {
        nodes: NodesPolicy {
            cascade: Some(Cascade {
                window_seconds: 7200,
                ..DEFAULT
            }),
            ..NodesPolicy::default()
        },
        ..ClusterPolicy::default()
    };
    live.input(Input::ClusterPolicy(Some(Arc::new(policy))));
    live.wait(2000);
    let unknown = |live: &World| live.core.findings(live.now).summary.unknown;
    let before = unknown(&live);
    live.wait(5300);
    // Nothing came by: time alone made it known.
    assert_eq!(unknown(&live) + 1, before);
}
