//! An operator that acts: a node that comes and goes is fenced and the fence is undone, and what keeps either from being done.
#![allow(clippy::cast_precision_loss, reason = "times of a test")]

use std::sync::Arc;

use evenkeel_core::drive::{Ending, Phase, Reply};
use evenkeel_core::index::Freshness;
use evenkeel_core::know::Source;
use evenkeel_core::sample::{Metric, Metrics, Observer, PageScope, SampleSubject};
use rstest::rstest;
use serde_json::{Value, json};

use super::super::Event;
use super::ledger_server::NAMESPACE;
use super::world::World;
use crate::samples::{OwnedPage, OwnedSample};
use crate::watch::What;

const SERVER: &str = "192.0.2.1";
const NODES: usize = 20;
pub(super) const FENCED: &str = "n0";

impl World {
    /// Readiness of a node; what else is written of it stays.
    fn ready(&mut self, name: &str, ready: &str) {
        let mut object = self
            .stored(Source::Nodes, "", name)
            .cloned()
            .unwrap_or_else(|| json!({"metadata": {"name": name}, "spec": {}, "status": {}}));
        object["status"]["conditions"] = json!([{"type": "Ready", "status": ready}]);
        self.put(Source::Nodes, object);
    }

    /// So many seconds, in which a Prometheus measures every 30 s: nodes that are half full, of which the first stalls, and an
    /// API server that answers.
    pub(super) fn measured(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(30) {
            self.measure();
            self.live(30_000);
        }
    }

    fn measure(&mut self) {
        let time = self.now.mono.0 as f64 / 1000.0;
        let at = self.now.wall.0 * 1_000;
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let name: Arc<str> = format!("n{number}").into();
            let stalled = if number == 0 { 0.9 } else { 0.1 };
            for (metric, value) in [
                (Metric::CpuBusy, 5.0 * time),
                (Metric::CpuTime, 10.0 * time),
                (Metric::MemoryTotal, 8e9),
                (Metric::MemoryAvailable, 4e9),
                (Metric::ExporterUp, 1.0),
                (Metric::CpuPressure, stalled * time),
                (Metric::MemoryPressure, 0.0),
                (Metric::IoPressure, 0.0),
            ] {
                let subject = SampleSubject::Node(name.clone());
                nodes.push(OwnedSample {
                    metric,
                    subject,
                    value,
                    at,
                });
            }
        }
        let server = SampleSubject::Instance(SERVER.parse().unwrap());
        let instances = [
            (Metric::Requests, 2.0 * time),
            (Metric::ServerErrors, 0.0),
            (Metric::TooManyRequests, 0.0),
            (Metric::SlowRequests, 0.0),
        ];
        let instances = instances.map(|(metric, value)| OwnedSample {
            metric,
            subject: server.clone(),
            value,
            at,
        });
        for (scope, samples) in [
            (PageScope::Nodes, nodes),
            (PageScope::Instances, instances.into()),
        ] {
            let metrics = samples.iter().map(|one| Metrics::of(&[one.metric]));
            self.step(Event::Measured(OwnedPage {
                observer: Observer::Prometheus,
                metrics: metrics.fold(Metrics::NONE, Metrics::with),
                scope,
                asked: at,
                samples,
                gap: None,
            }));
        }
    }

    pub(super) fn policy(&mut self, mode: &str) {
        let spec = json!({"nodes": {"cordon": {"mode": mode}}});
        self.apply(
            Source::ClusterPolicy,
            json!({"metadata": {"name": "cluster"}, "spec": spec}),
        );
    }

    pub(super) fn is_fenced(&self) -> bool {
        let node = self.stored(Source::Nodes, "", FENCED).unwrap();
        node["spec"]["taints"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    }

    /// The first node fails three times, and Pods of three teams fill it after each return.
    pub(super) fn flap(&mut self) {
        for turn in 0..3 {
            self.ready(FENCED, "Unknown");
            self.measured(180);
            self.ready(FENCED, "True");
            for team in ["a", "b", "c"] {
                self.put(Source::EndpointSlices, slice(team, &format!("10.{turn}.0.1")));
            }
            self.measured(180);
        }
    }

    /// What became of the first record.
    pub(super) fn ending(&self) -> Option<Phase> {
        self.records().first().map(|one| one.phase)
    }
}

fn slice(namespace: &str, address: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": "app", "labels": {"kubernetes.io/service-name": "app"}},
        "addressType": "IPv4", "endpoints": [{"addresses": [address], "nodeName": FENCED}],
        "ports": [{"port": 80}]})
}

/// Twenty nodes that an operator that acts has watched for an hour, under a policy of this mode.
pub(super) fn world(mode: &str) -> World {
    let mut world = World::acting();
    world.deliver(usize::MAX);
    for number in 0..NODES {
        world.ready(&format!("n{number}"), "True");
    }
    world.put(
        Source::EndpointSlices,
        json!({"metadata": {"namespace": "default", "name": "kubernetes",
            "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4", "endpoints": [{"addresses": [SERVER]}], "ports": [{"name": "https", "port": 6443}]}),
    );
    world.policy(mode);
    let now = world.now;
    world.operator.runs_on(now, None);
    world.operator.observed_by(now, &[Observer::Prometheus]);
    world.lead(5);
    world.measured(3_600);
    world
}

pub(super) const UNDONE: Phase = Phase::Finished(Ending::Undone);

#[test]
fn a_flapper_in_slack_is_fenced_once_and_the_fence_is_undone_when_it_was_steady() {
    let mut world = world("Enforce");
    assert!(
        world.ledger.words.is_empty(),
        "at rest nothing is asked: {:?}",
        world.ledger.words
    );
    world.flap();
    assert!(world.is_fenced(), "{:?}", world.ledger.words);
    assert_eq!(world.ending(), Some(Phase::InEffect));
    let words = world.ledger.words.clone();
    assert_eq!(
        words.len(),
        12,
        "the slot is claimed, the ledger is listed, rights are tried, and a fence is eight requests: {words:?}"
    );
    world.measured(1_200);
    assert!(world.is_fenced());
    assert_eq!(world.ledger.words, words, "a fence that lasts costs no request");
    world.measured(900);
    assert!(!world.is_fenced());
    let records = world.records();
    assert_eq!((records.len(), records[0].phase), (1, UNDONE));
    assert_eq!(records[0].failures_after, Some(0));
    assert_eq!((world.times("fence"), world.times("unfence")), (1, 1));
}

#[test]
fn in_mode_observe_nothing_is_asked() {
    let mut world = world("Observe");
    world.flap();
    world.measured(600);
    assert!(world.ledger.words.is_empty(), "{:?}", world.ledger.words);
}

#[test]
fn an_operator_that_only_plans_asks_nothing() {
    let mut world = world("Enforce");
    world = world.restarted();
    world.deliver(usize::MAX);
    let now = world.now;
    world.operator.runs_on(now, None);
    world.operator.observed_by(now, &[Observer::Prometheus]);
    world.lead(6);
    world.measured(3_600);
    world.flap();
    assert!(world.ledger.words.is_empty() && !world.is_fenced());
}

/// It is shown as what holds the plan, and tried again each minute.
#[test]
fn a_right_that_nothing_narrows_holds_every_plan() {
    let mut world = world("Enforce");
    world.ledger.wide = true;
    world.flap();
    assert!(!world.is_fenced() && world.records().is_empty());
    let held: Vec<_> = world.operator.core.planned().into_keys().collect();
    assert_eq!(held, [("CordonNode", "RightsNotNarrowed")]);
    assert!(world.times("dry run") >= 2, "{:?}", world.ledger.words);
    world.ledger.wide = false;
    world.measured(120);
    assert!(world.is_fenced(), "{:?}", world.ledger.words);
}

#[test]
fn stop_holds_a_fence_and_no_undo() {
    let mut world = world("Enforce");
    world.ledger.stop = true;
    world.flap();
    world.measured(600);
    assert!(!world.is_fenced());
    assert_eq!(world.ending(), None, "no record is stored while people say stop");
    assert!(
        (8..=20).contains(&world.times("read stop")),
        "{:?}",
        world.ledger.words
    );
    world.ledger.stop = false;
    world.measured(120);
    assert!(world.is_fenced(), "{:?}", world.ledger.words);
    world.ledger.stop = true;
    world.measured(2_400);
    assert!(!world.is_fenced());
}

#[rstest]
#[case::deleted(|world: &mut World| world.delete(Source::ClusterPolicy, "", "cluster"))]
#[case::observe(|world: &mut World| world.policy("Observe"))]
fn without_a_policy_that_asks_for_it_a_fence_goes(#[case] change: fn(&mut World)) {
    let mut world = world("Enforce");
    world.flap();
    assert!(world.is_fenced());
    change(&mut world);
    world.measured(30);
    assert!(!world.is_fenced());
    assert_eq!(world.ending(), Some(UNDONE));
}

/// The planner drops the policy at once, and it is known to be gone when the watch is proven to be current.
#[test]
fn a_fence_goes_when_it_is_known_that_the_policy_is_gone() {
    let mut world = world("Enforce");
    world.flap();
    assert!(world.is_fenced());
    world.say(Source::ClusterPolicy, || What::Freshness(Freshness::Stale));
    world.delete(Source::ClusterPolicy, "", "cluster");
    world.measured(300);
    assert!(world.is_fenced());
    world.say(Source::ClusterPolicy, || What::Freshness(Freshness::Complete));
    world.settle();
    assert!(!world.is_fenced(), "{:?}", world.ledger.words);
}

/// What cannot be read may ask for fences.
#[test]
fn a_policy_that_cannot_be_read_undoes_nothing_until_it_is_deleted() {
    let mut world = world("Enforce");
    world.flap();
    world.apply(
        Source::ClusterPolicy,
        json!({"metadata": {"name": "cluster"}, "spec": {"nodes": "all"}}),
    );
    world.measured(300);
    assert!(world.is_fenced());
    world.delete(Source::ClusterPolicy, "", "cluster");
    world.settle();
    assert!(!world.is_fenced(), "{:?}", world.ledger.words);
}

/// Where nothing else happens, too: the policy is gone, and the ledger stands still.
#[test]
fn an_undo_goes_on_after_each_lost_reply() {
    let mut world = world("Enforce");
    world.flap();
    assert!(world.is_fenced());
    world.ledger.loses = true;
    world.delete(Source::ClusterPolicy, "", "cluster");
    world.measured(60);
    assert!(!world.is_fenced(), "{:?}", world.ledger.words);
    assert_eq!(world.ending(), Some(UNDONE));
}

#[rstest]
#[case::by_kubectl_taint(false)]
#[case::by_evenkeel_undo(true)]
fn who_removes_the_fence_wins(#[case] without_annotations: bool) {
    let mut world = world("Enforce");
    world.flap();
    world.measured(120);
    let mut object = world.stored(Source::Nodes, "", FENCED).unwrap().clone();
    object["spec"]["taints"] = json!([]);
    if without_annotations {
        object["metadata"]["annotations"] = json!({});
    }
    world.put(Source::Nodes, object);
    world.flap();
    world.measured(900);
    assert!(!world.is_fenced());
    assert_eq!(world.ending(), Some(Phase::Finished(Ending::Lapsed)));
    assert_eq!((world.times("fence"), world.times("unfence")), (1, 0));
}

#[test]
fn nothing_is_done_before_the_ledger_was_read_or_while_it_is_stale() {
    let mut world = world("Enforce");
    world.say(Source::Remediations, || What::Freshness(Freshness::Stale));
    world.flap();
    assert!(world.ledger.words.is_empty(), "{:?}", world.ledger.words);
    world.say(Source::Remediations, || What::Freshness(Freshness::Complete));
    world.measured(60);
    assert!(world.is_fenced());
}

#[test]
fn what_the_live_read_shows_is_asked_once_more() {
    let mut world = world("Enforce");
    world.hold_remedies = true;
    world.flap();
    // Up to the read, on which a person's cordon shows that watches have not brought yet.
    while !matches!(world.asked(), Some(evenkeel_core::drive::Request::ReadNode(_))) {
        assert!(world.answer_remedy());
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
}

#[test]
fn a_new_leader_finds_out_what_became_of_an_act_whose_reply_was_lost() {
    let mut world = world("Enforce");
    world.hold_remedies = true;
    world.flap();
    while world.times("fence") == 0 {
        assert!(world.answer_remedy());
        world.settle();
    }
    assert!(world.is_fenced());
    let lost = world.remedy.take();
    world.lead(9);
    world.hold_remedies = false;
    world.settle();
    assert_eq!(world.ending(), Some(Phase::InEffect));
    assert_eq!(world.times("fence"), 1);
    // A reply that comes to an older term is for nobody.
    let words = world.ledger.words.clone();
    if let Some(lost) = lost {
        let reply = Reply::Lost;
        world.step(Event::RemedyReply { id: lost.id, reply });
    }
    world.settle();
    assert_eq!(world.ledger.words, words);
    world.measured(2_400);
    assert_eq!(world.ending(), Some(UNDONE));
}

#[test]
fn without_the_lead_nothing_is_asked() {
    let mut world = world("Enforce");
    world.step(Event::Claim(None));
    world.flap();
    assert!(world.ledger.words.is_empty());
    assert!(world.all(Source::Remediations).next().is_none());
    assert_eq!(NAMESPACE, crate::lease::NAMESPACE);
}

#[test]
fn what_is_over_is_deleted_after_seven_days() {
    let mut world = world("Enforce");
    world.flap();
    world.measured(2_100);
    assert_eq!(world.ending(), Some(UNDONE));
    world.pass(7 * 86_400_000);
    world.measured(3_660);
    assert!(world.records().is_empty());
    assert_eq!(world.times("delete record"), 1);
}

/// Its watch shows the ledger as it was before the last leader's fence, and has no sign of it.
#[test]
fn a_new_leader_whose_watch_is_behind_sees_the_ledger_before_it_acts() {
    let mut world = world("Enforce");
    world.hold_remedies = true;
    world.flap();
    while world.times("fence") == 0 {
        assert!(world.answer_remedy());
        world.work();
    }
    // Nothing of it has reached the watch of the next leader.
    world.lose();
    world.relist(Source::Nodes);
    world.remedy = None;
    world.lead(9);
    world.hold_remedies = false;
    world.ledger.words.clear();
    world.measured(60);
    let (listed, record) = (world.times("list records"), world.times("create record"));
    assert_eq!((listed, record), (1, 0), "{:?}", world.ledger.words);
    assert_eq!(world.ending(), Some(Phase::InEffect));
}
