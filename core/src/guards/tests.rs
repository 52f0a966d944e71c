//! Each guard holds a change back that nothing else would: with its line taken out of the table the plan goes ahead.
#![allow(clippy::cast_precision_loss, reason = "counts of a test")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::fitness::Fitness;
use crate::history::{Flip, FlipAuthor, Refill};
use crate::know::Source;
use crate::names::{Name, Names};
use crate::plan::decide;
use crate::policy::{FenceEffect, Mode};
use crate::remedies::{
    FlapRule, LedgerRecord, NodeLoad, OtherChannel, Outcome, OwnNode, PastMoment, StormRule,
};
use crate::sources::claim::Holder;
use crate::world::cordon;

const NOW: Mono = Mono(100_000_000);
const MINUTE: u64 = 60_000;

fn names() -> (Names, Vec<Name>) {
    let mut names = Names::default();
    let all = (0..20).map(|at| names.intern(&format!("n{at:02}"))).collect();
    (names, all)
}

/// Twenty nodes with room, of which the first comes and goes and is filled each time: nothing holds its fence back.
fn situation() -> Situation {
    let (mut names, all) = names();
    let namespaces: Vec<Name> = ["a", "b", "c"].map(|text| names.intern(text)).into();
    let flip = |ago: u64| Flip {
        down: Mono(NOW.0 - ago),
        author: FlipAuthor::NodeController,
        up: Some(Mono(NOW.0 - ago + MINUTE)),
        refill: Refill {
            endpoints: 5,
            namespaces: namespaces.clone(),
        },
    };
    let load = |used| Ok(NodeLoad { used, capacity: 10.0 });
    let node = |at: usize, name: &Name| NodeState {
        name: *name,
        zone: (names_zone(at), Name::default()),
        pool: Name::default(),
        ready: true,
        worker: true,
        takes_pods: true,
        control_plane: false,
        deallocated: false,
        fenced: false,
        holder: None,
        flips: Vec::new(),
        cpu: load(5.0),
        memory: load(5.0),
        other_channel: OtherChannel::Stalled {
            resource: "CPU",
            percent: 90,
            bound: 60,
        },
        sole_entry: Ok(None),
    };
    let mut nodes: Vec<NodeState> = all.iter().enumerate().map(|(at, name)| node(at, name)).collect();
    nodes[0].flips = vec![flip(25 * MINUTE), flip(15 * MINUTE), flip(5 * MINUTE)];
    Situation {
        now: NOW,
        policy: cordon(Mode::Enforce),
        flap: FlapRule::of(None),
        storm: StormRule::of(&crate::policy::Storm::default()),
        gap: None,
        watched_since: Some(Mono(0)),
        policy_changed: false,
        nodes,
        removed: 0,
        own_node: OwnNode::Outside,
        control_plane: Fitness::Fit,
        records: Vec::new(),
        rejected: Vec::new(),
        approved: false,
        not_narrowed: false,
        storm_until: None,
        slot: None,
    }
}

/// Zones of four nodes each.
fn names_zone(at: usize) -> Name {
    let (_, all) = names();
    all[at / 4]
}

/// The first nodes are a pool.
fn pool(situation: &mut Situation, count: usize) {
    let name = situation.nodes[3].name;
    situation.nodes[..count]
        .iter_mut()
        .for_each(|node| node.pool = name);
}

/// The first nodes have little to do.
fn light(situation: &mut Situation, count: usize) {
    for node in &mut situation.nodes[..count] {
        node.cpu = Ok(NodeLoad {
            used: 1.0,
            capacity: 10.0,
        });
        node.memory = node.cpu.clone();
    }
}

fn record(situation: &Situation, at: usize, ago: u64, outcome: Outcome) -> LedgerRecord {
    LedgerRecord {
        node: situation.nodes[at].name,
        started: PastMoment::before(NOW, ago),
        ended: None,
        outcome,
    }
}

/// By what the first node's fence is held back under these guards; nothing when it is planned.
fn held_by(guards: &[Guard], mut situation: Situation) -> Option<&'static str> {
    let first = situation.nodes[0].name;
    let plans = decide(guards, &mut situation).plans;
    let plan = plans
        .into_iter()
        .find(|one| one.change.node == first)
        .expect("it is proposed");
    if let Some(held) = &plan.held {
        assert!(
            held.message.chars().count() <= crate::judge::MESSAGE,
            "{}",
            held.message
        );
    }
    plan.held.map(|held| held.by)
}

#[rstest]
#[case::stale("InputsStale", |s: &mut Situation| s.gap = Some(Gap::Stale(Source::Nodes)))]
#[case::another_policy("PolicyChanged", |s: &mut Situation| s.policy_changed = true)]
#[case::storm("Storm", |s: &mut Situation| for at in 1..4 { s.nodes[at].flips = vec![down(at as u64 * 7)] })]
#[case::storm_of_the_cluster("Storm", |s: &mut Situation| for at in [4, 8, 12] { s.nodes[at].flips = vec![down(at as u64)] })]
#[case::storm_counts_fenced_nodes("Storm", |s: &mut Situation| {
    s.policy.max_percent = 50;
    for at in [4, 8, 12] { s.nodes[at].fenced = true }
})]
#[case::storm_counts_nodes_that_are_gone("Storm", |s: &mut Situation| s.removed = 4)]
#[case::storm_reopens_slowly("Storm", |s: &mut Situation| s.storm_until = Some(Mono(NOW.0 + 1)))]
#[case::control_plane("ControlPlaneUnfit", |s: &mut Situation| s.control_plane = Fitness::Unfit {
    check: "cp-overload-brownout",
    finding: "a finding ".repeat(30),
})]
#[case::control_plane_is_not_measured("ControlPlaneUnfit", |s: &mut Situation| s.control_plane = Fitness::Unmeasured {
    check: "cp-overload-brownout",
    why: "nothing measures".into(),
})]
#[case::control_plane_is_not_judged("ControlPlaneUnfit", |s: &mut Situation| s.control_plane = Fitness::NotJudged)]
#[case::control_plane_recovers("ControlPlaneUnfit", |s: &mut Situation| s.control_plane = Fitness::Recovering {
    check: "cp-overload-brownout",
    until: s.now.plus(1_000),
})]
#[case::of_the_control_plane("ControlPlaneNode", |s: &mut Situation| s.nodes[0].control_plane = true)]
#[case::own("OwnNode", |s: &mut Situation| s.own_node = OwnNode::Named(s.nodes[0].name))]
#[case::own_is_not_said("OwnNode", |s: &mut Situation| s.own_node = OwnNode::NotSaid)]
#[case::a_person("HeldByOthers", |s: &mut Situation| s.nodes[0].holder = Some(Holder::Cordon))]
#[case::for_few_pods("NoWorker", |s: &mut Situation| s.nodes[0].worker = false)]
#[case::steadily_down("SteadilyDown", |s: &mut Situation| {
    s.nodes[0].ready = false;
    s.nodes[0].flips[2].down = Mono(NOW.0 - 15 * MINUTE);
    s.nodes[0].flips[2].up = None;
})]
#[case::tiny("TinyCluster", |s: &mut Situation| {
    s.nodes.truncate(4);
    s.policy.max_percent = 50;
    light(s, 4);
})]
#[case::siblings("SiblingsFlip", |s: &mut Situation| s.nodes[5].flips = s.nodes[0].flips[..2].to_vec())]
#[case::siblings_a_moment_later("SiblingsFlip", |s: &mut Situation| {
    s.nodes[5].flips = s.nodes[0].flips[1..].to_vec();
    s.nodes[5].flips.iter_mut().for_each(|one| one.down = one.down.plus(20_000));
})]
#[case::not_refilled("NotRefilled", |s: &mut Situation| s.nodes[0].flips.iter_mut().for_each(|one| one.refill.endpoints = 0))]
#[case::by_two_teams("NotRefilled", |s: &mut Situation| s.nodes[0].flips.iter_mut().for_each(|one| one.refill.namespaces.truncate(2)))]
#[case::well_by_measurement("OtherChannelWell", |s: &mut Situation| s.nodes[0].other_channel = OtherChannel::Well)]
#[case::sole_entry("EntryAtRisk", |s: &mut Situation| s.nodes[0].sole_entry = Ok(Some("shop/entry".into())))]
#[case::entries_not_known("EntryAtRisk", |s: &mut Situation| s.nodes[0].sole_entry = Err(Gap::Stale(Source::EndpointSlices)))]
#[case::full("NoHeadroom", |s: &mut Situation| s.nodes.iter_mut().for_each(|one| one.cpu = Ok(NodeLoad { used: 8.0, capacity: 10.0 })))]
#[case::memory_is_full("NoHeadroom", |s: &mut Situation| s.nodes.iter_mut().for_each(|one| one.memory = Ok(NodeLoad { used: 7.7, capacity: 10.0 })))]
#[case::pool_is_full("NoHeadroom", |s: &mut Situation| for at in 0..4 {
    s.nodes[at].pool = s.nodes[3].name;
    s.nodes[at].cpu = Ok(NodeLoad { used: 6.0, capacity: 10.0 });
})]
#[case::load_is_not_measured("NoHeadroom", |s: &mut Situation| for at in 4..7 { s.nodes[at].cpu = Err(Gap::Unmeasured("cpuBusy".into())) })]
#[case::no_schedule("NoScheduleUnchecked", |s: &mut Situation| s.policy.effect = FenceEffect::NoSchedule)]
#[case::nine_nodes("BudgetRoundsToZero", |s: &mut Situation| s.nodes.truncate(9))]
#[case::small_pool("BudgetRoundsToZero", |s: &mut Situation| { pool(s, 3); light(s, 3); })]
#[case::spent("BudgetSpent", |s: &mut Situation| { s.policy.max_nodes = 1; s.nodes[4].fenced = true; })]
#[case::spent_in_the_pool("BudgetSpent", |s: &mut Situation| {
    pool(s, 5);
    light(s, 5);
    s.nodes[4].fenced = true;
})]
#[case::hour("HourSpent", |s: &mut Situation| s.records = [4, 8].map(|at| record(s, at, 50 * MINUTE, Outcome::Improved)).into())]
#[case::people_win("UndoneByOthers", |s: &mut Situation| {
    let undone = record(s, 0, 600 * MINUTE, Outcome::UndoneByOthers);
    s.records = vec![LedgerRecord { ended: Some(PastMoment::before(NOW, 590 * MINUTE)), ..undone }];
})]
#[case::somebody_said_no("Rejected", |s: &mut Situation| s.rejected = vec![(s.nodes[0].name, PastMoment::before(NOW, 1_439 * MINUTE))])]
#[case::cooldown("Cooldown", |s: &mut Situation| {
    let ended = record(s, 0, 200 * MINUTE, Outcome::Improved);
    s.records = vec![LedgerRecord { ended: Some(PastMoment::before(NOW, 9 * MINUTE)), ..ended }];
})]
#[case::futile("Futile", |s: &mut Situation| s.records = [(4, 300), (8, 200)].map(|(at, ago)| record(s, at, ago * MINUTE, Outcome::Futile)).into())]
#[case::slot("OneAtATime", |s: &mut Situation| s.slot = Some(s.nodes[7].name))]
#[case::rights("RightsNotNarrowed", |s: &mut Situation| s.not_narrowed = true)]
#[case::suggest("AwaitsApproval", |s: &mut Situation| s.policy.mode = Mode::Suggest)]
#[case::one_channel("AwaitsApproval", |s: &mut Situation| s.nodes[0].other_channel = OtherChannel::Unmeasured(Gap::Unmeasured("cpuPressure".into())))]
#[case::third_time("AwaitsApproval", |s: &mut Situation| s.records = [(0, 900), (0, 600)].map(|(at, ago)| record(s, at, ago * MINUTE, Outcome::Improved)).into())]
fn each_guard_holds_alone(#[case] id: &str, #[case] change: fn(&mut Situation)) {
    let mut situation = situation();
    change(&mut situation);
    assert_eq!(held_by(ALL, situation.clone()), Some(id));
    let without: Vec<Guard> = ALL.iter().copied().filter(|one| one.id != id).collect();
    assert_eq!(
        held_by(&without, situation),
        None,
        "without its line nothing else holds"
    );
}

/// When a plan is made its cause stands, so this guard is asked apart.
#[test]
fn a_cause_that_is_gone_holds() {
    let mut situation = situation();
    let first = &situation.nodes[0];
    let change = (crate::remedies::ALL[0].propose)(&situation, first).unwrap();
    assert_eq!(ask(ALL, &situation, &change), Ok(()));
    situation.nodes[0].fenced = true;
    assert_eq!(ask(ALL, &situation, &change).unwrap_err().by, "CauseGone");
    let without: Vec<Guard> = ALL.iter().copied().filter(|one| one.id != "CauseGone").collect();
    assert_eq!(ask(&without, &situation, &change), Ok(()));
    situation.nodes[0].fenced = false;
    situation.nodes[0].flips.truncate(2);
    assert_eq!(ask(ALL, &situation, &change).unwrap_err().by, "CauseGone");
}

fn down(minutes: u64) -> Flip {
    Flip {
        down: Mono(NOW.0 - minutes * MINUTE - 137_000),
        author: FlipAuthor::Kubelet,
        up: Some(Mono(NOW.0 - minutes * MINUTE)),
        refill: Refill::default(),
    }
}

#[test]
#[allow(clippy::disallowed_macros, reason = "it reads its own table")]
fn every_guard_has_a_case() {
    // The table of cases above, as text: a new guard without one is noticed here.
    let text = include_str!("tests.rs");
    let cases = text.split("fn down(").next().unwrap();
    for guard in ALL {
        let quoted = format!("\"{}\"", guard.id);
        assert!(cases.contains(&quoted), "{} has no case", guard.id);
        assert!(guard.id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
    let ids: BTreeSet<_> = ALL.iter().map(|one| one.id).collect();
    assert_eq!(ids.len(), ALL.len());
    assert_eq!(ALL.last().map(|one| one.id), Some(APPROVAL));
    assert!(find(STORM).is_some() && find("Other").is_none());
}

#[rstest]
#[case::in_slack(|_: &mut Situation| {})]
#[case::a_companion_at_another_time(|s: &mut Situation| s.nodes[5].flips = vec![down(9)])]
#[case::at_the_edge_of_headroom(|s: &mut Situation| s.nodes.iter_mut().for_each(|one| one.cpu = Ok(NodeLoad { used: 7.6, capacity: 10.0 })))]
#[case::unreachable_exporter(|s: &mut Situation| s.nodes[0].other_channel = OtherChannel::Unreachable(100))]
#[case::one_futile_act(|s: &mut Situation| s.records = vec![record(s, 4, 300 * MINUTE, Outcome::Futile), record(s, 8, 200 * MINUTE, Outcome::Improved)])]
#[case::a_person_agreed(|s: &mut Situation| { s.policy.mode = Mode::Suggest; s.approved = true; })]
#[case::a_no_of_yesterday(|s: &mut Situation| s.rejected = vec![(s.nodes[0].name, PastMoment::before(NOW, 1_440 * MINUTE))])]
#[case::a_no_to_another(|s: &mut Situation| s.rejected = vec![(s.nodes[1].name, PastMoment::before(NOW, MINUTE))])]
fn nothing_holds(#[case] change: fn(&mut Situation)) {
    let mut situation = situation();
    change(&mut situation);
    assert_eq!(held_by(ALL, situation), None);
}

#[test]
fn of_two_flappers_one_is_first() {
    let mut situation = situation();
    situation.nodes[9].flips = [22, 12, 2]
        .map(|ago| Flip {
            refill: situation.nodes[0].flips[0].refill.clone(),
            ..down(ago)
        })
        .into();
    let plans = decide(ALL, &mut situation).plans;
    let held: Vec<_> = plans
        .iter()
        .map(|one| one.held.as_ref().map(|held| held.by))
        .collect();
    assert_eq!(held, [None, Some("OneAtATime")]);
}

/// A node that is down, came and went or not, and what else may be true of it.
fn any_node() -> impl Strategy<Value = (u8, [bool; 7], u8)> {
    (0_u8..5, any::<[bool; 7]>(), 0_u8..10)
}

/// A situation of many kinds of nodes: most of them in order.
fn any_situation() -> impl Strategy<Value = Situation> {
    let nodes = proptest::collection::vec(any_node(), 1..40);
    (nodes, 1_u32..100, 1_u32..6, 0_usize..4, any::<bool>()).prop_map(
        |(nodes, percent, most, fenced, suggest)| {
            let mut base = situation();
            let (mut names, _) = names();
            let sick = base.nodes[0].clone();
            let well = base.nodes[1].clone();
            base.policy.max_percent = percent.min(50);
            base.policy.max_nodes = most;
            if suggest {
                base.policy.mode = Mode::Suggest;
            }
            let node = |(at, (flips, [control, worker, held, stalled, entry, own_pool, full], fill)): (
                usize,
                (u8, [bool; 7], u8),
            )| {
                let flaps = flips == 3;
                let mut node = if flaps { sick.clone() } else { well.clone() };
                for (turn, flip) in node.flips.iter_mut().enumerate() {
                    let shift = at as u64 * 41_000 + turn as u64 * 7_000;
                    flip.down = Mono(flip.down.0 - shift % 240_000);
                    flip.up = Some(flip.down.plus(MINUTE));
                }
                node.name = names.intern(&format!("m{at:02}"));
                node.control_plane = control && fill == 0;
                node.worker = !(worker && fill == 1);
                node.holder = (held && fill == 2).then_some(Holder::Karpenter);
                node.other_channel = if stalled || fill < 8 {
                    node.other_channel
                } else {
                    OtherChannel::Well
                };
                node.sole_entry = Ok((entry && fill == 3).then(|| "shop/entry".into()));
                if own_pool && fill == 4 {
                    node.pool = node.name;
                }
                let used = if full && fill == 9 { 9.0 } else { 4.0 };
                node.cpu = Ok(NodeLoad { used, capacity: 10.0 });
                node
            };
            base.nodes = nodes.into_iter().enumerate().map(node).collect();
            base.nodes.sort_by_key(|node| node.name);
            let calm = base.nodes.iter_mut().filter(|node| node.flips.is_empty());
            calm.take(fenced).for_each(|node| node.fenced = true);
            base
        },
    )
}

proptest! {
    /// What must hold of every plan, counted anew and not by the guards.
    #[test]
    fn no_plan_breaks_an_invariant(situation in any_situation()) {
        let mut decided = situation.clone();
        let plans = decide(ALL, &mut decided).plans;
        let free: Vec<_> = plans.iter().filter(|one| one.held.is_none()).collect();
        prop_assert!(free.len() <= 1, "one at a time");
        prop_assert!(plans.len() <= crate::plan::MOST);
        let Some(plan) = free.first() else { return Ok(()) };
        let node = situation.nodes.iter().find(|one| one.name == plan.change.node).unwrap();
        prop_assert!(!node.control_plane && node.worker && node.holder.is_none() && !node.fenced);
        prop_assert_eq!(&node.sole_entry, &Ok(None));
        prop_assert!(situation.policy.mode == Mode::Enforce && node.other_channel != OtherChannel::Well);
        let workers = situation.nodes.iter().filter(|one| one.worker);
        let (count, fenced) = (workers.clone().count(), workers.clone().filter(|one| one.fenced).count());
        let allowed = (count * situation.policy.max_percent as usize / 100).min(situation.policy.max_nodes as usize);
        prop_assert!(fenced < allowed, "{} of {}", fenced, allowed);
        let unhealthy = situation.nodes.iter().filter(|one| one.fenced || !one.flips.is_empty()).count();
        prop_assert!(unhealthy < 2 || unhealthy * 100 < situation.nodes.len() * 20, "a storm");
        let used: f64 = workers.map(|one| one.cpu.as_ref().map_or(0.0, |load| load.used)).sum();
        let others = situation.nodes.iter().filter(|one| one.worker && !one.fenced && one.name != node.name).count();
        prop_assert!(used <= (others as f64 - 1.0) * 10.0 * 0.85 + 1e-6, "{} on {}", used, others);
    }

    /// The same situation gives the same plans, and planning changes nothing that a second plan would see differently.
    #[test]
    fn planning_twice_is_planning_once(situation in any_situation()) {
        let mut once = situation.clone();
        let first = decide(ALL, &mut once);
        let second = decide(ALL, &mut once);
        prop_assert_eq!(first, second);
    }
}

/// Whatever the budget is, percentages round down, and no more are planned than it allows.
#[rstest]
#[case(1, 0)]
#[case(2, 0)]
#[case(3, 0)]
#[case(10, 1)]
#[case(100, 5)]
#[case(5_000, 5)]
fn budgets_of_all_sizes(#[case] nodes: usize, #[case] most: usize) {
    let mut situation = situation();
    let mut names = Names::default();
    let (sick, well) = (situation.nodes[0].clone(), situation.nodes[1].clone());
    let ill = (nodes / 12).clamp(1, 8);
    let node = |at: usize| {
        let mut node = if at < ill { sick.clone() } else { well.clone() };
        let shift = at as u64 * 45_000;
        node.flips
            .iter_mut()
            .for_each(|flip| flip.down = Mono(flip.down.0 - shift));
        node.name = names.intern(&format!("m{at:04}"));
        node.zone = Default::default();
        node
    };
    situation.nodes = (0..nodes).map(node).collect();
    situation.policy.max_per_hour = 60;
    let mut fenced = 0;
    for _ in 0..20 {
        situation.slot = None;
        let plans = decide(ALL, &mut situation).plans;
        let Some(plan) = plans.into_iter().find(|one| one.held.is_none()) else {
            break;
        };
        let node = situation
            .nodes
            .iter_mut()
            .find(|one| one.name == plan.change.node)
            .unwrap();
        node.fenced = true;
        fenced += 1;
    }
    assert!(fenced <= most, "{fenced} of {nodes}");
    assert_eq!(fenced > 0, most > 0);
}
