//! What was seen to change is folded exactly once: repeats, relists, first lists, the order of unrelated inputs, the
//! number of rounds and the wall clock make no difference to what the operator says.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::judge::Memory;
use evenkeel_core::know::{Mono, Now, Source, Wall};
use evenkeel_core::{Core, Input, checks};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::objects;
use crate::order::{give_away_numbers, meaningless};

/// Sources whose objects the steps change.
const SOURCES: [Source; 5] = [
    Source::Nodes,
    Source::Services,
    Source::EndpointSlices,
    Source::Pods,
    Source::Events,
];

/// Something that happens at a moment.
#[derive(Debug, Clone)]
enum Change {
    /// A slice of that number gets endpoints from a start on, so many, ready or not.
    Slice(u32, u32, u32, bool),
    /// A node's readiness.
    Node(u32, bool),
    /// An eviction of that number: the status of the Pod, and an Event.
    Evicted(u32),
    /// A preemption of that number; whether the status of the Pod says so, beside an Event.
    Preempted(u32, bool),
    /// A source falls silent and is listed again.
    Gap(usize),
    /// So many seconds pass.
    Wait(u64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..3_u32, 0..6_u32, 0..40_u32, any::<bool>()).prop_map(|(at, from, count, ready)| Change::Slice(at, from, count, ready)),
        4 => (0..6_u32, any::<bool>()).prop_map(|(at, ready)| Change::Node(at, ready)),
        3 => (0..20_u32).prop_map(Change::Evicted),
        1 => (0..8_u32, any::<bool>()).prop_map(|(at, seen)| Change::Preempted(at, seen)),
        1 => (0..SOURCES.len()).prop_map(Change::Gap),
        5 => (1..90_u64).prop_map(Change::Wait),
    ]
}

/// So many endpoints of Service `s` of that number, from a node on.
fn slice(at: u32, from: u32, count: u32, ready: bool) -> String {
    let endpoints: Vec<(String, String, bool)> = (0..count)
        .map(|one| {
            let (address, node) = (format!("10.{at}.{from}.{one}"), format!("n{}", (one + from) % 6));
            (address, node, ready || one % 3 == 0)
        })
        .collect();
    let endpoints: Vec<(&str, &str, bool)> = endpoints
        .iter()
        .map(|(address, node, ready)| (&**address, &**node, *ready))
        .collect();
    objects::slice_in("shop", &format!("s{at}"), &endpoints).to_string()
}

fn node(at: u32, ready: bool) -> String {
    let ready = if ready { "True" } else { "Unknown" };
    let mut node = objects::node_ready(&format!("n{at}"), "z", ready);
    node["status"]["nodeInfo"]["kernelVersion"] = json!(if at < 4 { "B" } else { "A" });
    node.to_string()
}

/// How a run differs from the plain one.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)] // each is one way to differ
struct How {
    /// Each input comes so many times more.
    repeats: u32,
    /// After each step its source is listed again.
    relists: bool,
    /// Inputs of one moment come in the opposite order.
    backwards: bool,
    /// Nothing is judged before the end.
    lazy: bool,
    /// Texts are forgotten before each step.
    forgets: bool,
    /// The wall clock jumps with each step by so many seconds, back and forth.
    jump: i64,
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

/// A core and what it was given, over time.
struct Replay {
    core: Core,
    now: Now,
    objects: BTreeMap<(Source, String), String>,
    /// When an event last changed: an API server forgets it an hour later.
    changed: BTreeMap<String, Mono>,
    how: How,
}

impl Replay {
    fn start(how: How) -> Self {
        let now = Now {
            mono: Mono(1_000_000),
            wall: Wall(1_800_000_000),
        };
        let mut replay = Self {
            core: Core::live(now),
            now,
            objects: BTreeMap::new(),
            changed: BTreeMap::new(),
            how,
        };
        for at in 0..6 {
            replay
                .objects
                .insert((Source::Nodes, format!("n{at}")), node(at, true));
        }
        for at in 0..3 {
            let name = format!("s{at}");
            let service = objects::service(&name, json!({})).to_string();
            replay.objects.insert((Source::Services, name), service);
            replay.objects.insert(
                (Source::EndpointSlices, format!("s{at}-1")),
                slice(at, 0, 5, true),
            );
        }
        for source in Source::ALL {
            replay.list(source);
        }
        // Long enough that silence means calm.
        for _ in 0..40 {
            replay.now.mono.0 += 100_000;
            replay.now.wall.0 += 100;
            replay.core.round(replay.now);
        }
        replay
    }

    fn give(&mut self, input: Input<'_>) {
        self.core.handle(self.now, input);
    }

    fn list(&mut self, source: Source) {
        self.give(Input::Begin(source));
        let objects: Vec<String> = self
            .objects
            .iter()
            .filter(|(at, _)| at.0 == source)
            .filter(|(at, _)| {
                let changed = self.changed.get(&at.1);
                changed.is_none_or(|changed| self.now.mono.since(*changed) <= 3_600_000)
            })
            .map(|(_, json)| json.clone())
            .collect();
        for json in objects {
            self.give(Input::object(source, json.as_bytes()));
        }
        self.give(Input::Synced(source));
    }

    fn put(&mut self, source: Source, name: String, json: String) {
        for _ in 0..=self.how.repeats {
            self.give(Input::object(source, json.as_bytes()));
        }
        if self.objects.get(&(source, name.clone())) != Some(&json) && source == Source::Events {
            self.changed.insert(name.clone(), self.now.mono);
        }
        self.objects.insert((source, name), json);
        if self.how.relists {
            self.list(source);
        }
    }

    fn pod(&mut self, pod: &Value) {
        self.put(Source::Pods, name_of(pod), pod.to_string());
    }

    fn event(&mut self, event: &Value) {
        self.put(Source::Events, name_of(event), event.to_string());
    }

    fn apply(&mut self, change: &Change) {
        if self.how.forgets {
            self.core.forget();
            assert_eq!(meaningless(&self.core), Vec::<u32>::new());
            give_away_numbers(&mut self.core, self.now, 0);
        }
        match *change {
            Change::Slice(at, from, count, ready) => self.put(
                Source::EndpointSlices,
                format!("s{at}-1"),
                slice(at, from, count, ready),
            ),
            Change::Node(at, ready) => self.put(Source::Nodes, format!("n{at}"), node(at, ready)),
            Change::Evicted(at) => {
                let node = format!("n{}", at % 2);
                self.pod(&objects::evicted_pod(at, "web", &node));
                self.event(&objects::evicted(at, "web"));
            }
            Change::Preempted(at, seen) => {
                let at = 100 + at;
                if seen {
                    self.pod(&objects::preempted_pod(at, "web", 0));
                }
                self.event(&objects::preempted(at, "web", ""));
            }
            Change::Gap(at) => {
                let source = SOURCES.get(at).copied().unwrap();
                self.give(Input::Freshness(source, Part::Whole, Freshness::Stale));
                self.list(source);
            }
            Change::Wait(seconds) => {
                self.now.mono.0 += seconds * 1000;
                self.now.wall.0 += i64::try_from(seconds).unwrap() + self.how.jump;
                self.how.jump = -self.how.jump;
            }
        }
        if !self.how.lazy {
            self.core.round(self.now);
        }
    }

    /// Everything that is said by checks that need history.
    fn told(&mut self) -> Vec<String> {
        self.core.round(self.now);
        let needs: BTreeSet<&str> = checks::ALL
            .iter()
            .filter(|check| check.history == Memory::Needed)
            .map(|check| check.id)
            .collect();
        let list = self.core.findings(self.now);
        let told = list.findings.iter().filter(|one| needs.contains(one.check));
        let mut told: Vec<String> = told
            .map(|one| format!("{} {} {}: {}", one.check, one.verdict, one.subject, one.message))
            .collect();
        told.sort();
        told
    }
}

/// Runs the steps; inputs of one moment that concern different things may come in either order, those that concern
/// one another (a slice before the nodes, a node before its events) may not.
fn run(steps: &[Change], how: How) -> Replay {
    let mut replay = Replay::start(how);
    for moment in steps.split_inclusive(|step| matches!(step, Change::Wait(_))) {
        // Of each thing the last change at a moment: the order of changes of one thing matters, as it should.
        let mut last: BTreeMap<(u8, u32), &Change> = BTreeMap::new();
        let (mut gaps, mut waits) = (Vec::new(), Vec::new());
        for step in moment {
            match step {
                Change::Slice(at, ..) => drop(last.insert((0, *at), step)),
                Change::Node(at, _) => drop(last.insert((1, *at), step)),
                Change::Evicted(at) => drop(last.insert((2, *at), step)),
                Change::Preempted(at, _) => drop(last.insert((3, *at), step)),
                Change::Gap(_) => gaps.push(step),
                Change::Wait(_) => waits.push(step),
            }
        }
        for kind in 0..4 {
            let mut of: Vec<&Change> = last
                .iter()
                .filter(|one| one.0.0 == kind)
                .map(|one| *one.1)
                .collect();
            if how.backwards {
                of.reverse();
            }
            for step in of {
                replay.apply(step);
            }
        }
        for step in gaps.into_iter().chain(waits) {
            replay.apply(step);
        }
    }
    replay
}

fn histories() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 1..100)
}

/// Runs a property on many histories.
fn check(cases: u32, test: impl Fn(&[Change], &mut Replay)) {
    let config = Config {
        cases: std::env::var("PROPTEST_CASES").map_or(cases, |text| text.parse().unwrap_or(cases)),
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&histories(), |steps| {
            test(&steps, &mut run(&steps, How::default()));
            Ok(())
        })
        .unwrap();
}

/// Of always the same histories: a few that are drawn at random may well tell little.
#[test]
fn these_histories_lead_to_findings() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let steps = histories().new_tree(&mut runner).unwrap().current();
        let told = run(&steps, How::default()).told();
        seen.extend(told.iter().map(|line| line.split(' ').next().unwrap().to_owned()));
    }
    assert!(seen.len() >= 4, "too little to tell: {seen:?}");
}

#[test]
fn texts_that_are_forgotten_are_missed_by_nothing() {
    check(20, |steps, plain| {
        let how = How {
            forgets: true,
            ..How::default()
        };
        assert_eq!(plain.told(), run(steps, how).told());
    });
}

/// What is remembered of objects that are gone still names them.
#[test]
fn what_is_gone_and_remembered_keeps_its_name() {
    let mut replay = Replay::start(How::default());
    replay.apply(&Change::Slice(0, 5, 40, true));
    replay.apply(&Change::Evicted(1));
    replay.apply(&Change::Preempted(1, true));
    for at in 0..5 {
        replay.apply(&Change::Node(at, false));
    }
    for (source, name) in std::mem::take(&mut replay.objects).into_keys() {
        replay.give(Input::Gone(source, "shop", &name));
        replay.give(Input::Gone(source, "", &name));
    }
    replay.core.round(replay.now);
    replay.core.forget();
    let history = format!("{:?}", replay.core.history());
    assert!(history.contains("Name("), "nothing is remembered: {history}");
    assert_eq!(meaningless(&replay.core), Vec::<u32>::new());
}

#[test]
fn repeats_and_relists_fold_nothing() {
    check(20, |steps, plain| {
        let how = How {
            repeats: 2,
            relists: true,
            ..How::default()
        };
        let mut other = run(steps, how);
        assert_eq!(plain.told(), other.told());
        assert_eq!(plain.core.history(), other.core.history());
    });
}

#[test]
fn unrelated_inputs_come_in_any_order() {
    check(20, |steps, plain| {
        let how = How {
            backwards: true,
            ..How::default()
        };
        assert_eq!(plain.told(), run(steps, how).told());
    });
}

#[test]
fn judging_often_or_once_is_the_same() {
    check(20, |steps, plain| {
        let how = How {
            lazy: true,
            ..How::default()
        };
        assert_eq!(plain.told(), run(steps, how).told());
    });
}

#[test]
fn a_wall_clock_that_jumps_changes_nothing() {
    check(20, |steps, plain| {
        for jump in [86_400, -400_000_000] {
            let how = How {
                jump,
                ..How::default()
            };
            assert_eq!(plain.told(), run(steps, how).told());
        }
    });
}

#[test]
fn a_start_reports_no_change_whatever_it_finds() {
    check(20, |_, plain| {
        let mut other = Replay {
            core: Core::live(plain.now),
            now: plain.now,
            objects: plain.objects.clone(),
            changed: BTreeMap::new(),
            how: How::default(),
        };
        for source in Source::ALL {
            other.list(source);
        }
        assert_eq!(other.told(), Vec::<String>::new());
        // Nor does the same list, once more, and an hour later.
        for _ in 0..60 {
            other.now.mono.0 += 60_000;
            other.list(Source::EndpointSlices);
            other.list(Source::Nodes);
            other.list(Source::Events);
            assert_eq!(other.told(), Vec::<String>::new());
        }
    });
}

#[test]
fn every_finding_over_time_ends_by_itself_at_its_deadline() {
    check(20, |_, plain| {
        for source in SOURCES {
            plain.give(Input::Synced(source));
        }
        let end = plain.now.mono.0 + 7_200_000;
        while let Some(at) = plain.core.deadline(plain.now).filter(|at| at.0 <= end) {
            assert!(at > plain.now.mono, "a deadline that no round serves");
            plain.now.mono = at;
            plain.core.round(plain.now);
        }
        plain.now.mono.0 = end;
        let before = plain.core.findings(plain.now);
        // Nothing that is judged only now would have been another before.
        assert!(plain.core.round(plain.now).transitions.is_empty());
        assert_eq!(before, plain.core.findings(plain.now));
        assert_eq!(plain.told(), Vec::<String>::new());
    });
}
