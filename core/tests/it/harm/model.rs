//! A small closed loop of a cluster: load moves, overload makes nodes fail, and what fails moves load again. Times are those
//! of Kubernetes' defaults, and nothing is scaled.
//!
//! Whatever is random hangs on the seed, the Pod and the time, and not on what happened before: two runs of one seed, with
//! fences and without, differ by the fences alone.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "what is played is made here, and small"
)]

use std::collections::BTreeMap;

use evenkeel_core::fitness::Fitness;
use evenkeel_core::guards;
use evenkeel_core::history::{Flip, FlipAuthor, Refill};
use evenkeel_core::know::{Gap, Mono};
use evenkeel_core::names::{Name, Names};
use evenkeel_core::plan::decide;
use evenkeel_core::policy::{CordonPolicy, FenceEffect, Mode, Storm};
use evenkeel_core::remedies::{
    FlapRule, LedgerRecord, NodeLoad, NodeState, OtherChannel, Outcome, OwnNode, PastMoment, Situation,
    StormRule, Undo, cordon_node,
};

/// A step, in seconds.
const STEP: u64 = 10;
/// Length of a run, in seconds: three hours.
const RUN: u64 = 3 * 3600;
/// A silent node is marked after so long (`--node-monitor-grace-period`, 50 s since 1.32).
const SILENCE: u64 = 50;
/// A container runtime that does not list its containers makes the kubelet say so after so long (`relistThreshold` of the
/// PLEG, `pkg/kubelet/pleg`).
const PLEG: u64 = 180;
/// Pods of a node that is not Ready are moved after so long (admission `DefaultTolerationSeconds`).
const TOLERATION: u64 = 300;
/// From this share of its capacity on a node is overloaded, and below the second it recovers.
const OVERLOAD: (f64, f64) = (0.95, 0.85);
/// Pods of a node of average fill in a cluster that is full.
const PODS: usize = 30;
/// Pods live so long on average, in seconds: rollouts and Jobs. A node that has come back empty is full again after some
/// minutes.
const LIFE: u64 = 2 * 3600;
/// Namespaces that Pods are of.
const NAMESPACES: u64 = 6;

/// What goes wrong in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// One node bears less than its share.
    OneSick,
    /// Two nodes do.
    TwoSick,
    /// All Pods need a third more for three minutes in twenty, together.
    Bursts,
    /// One sick node, and bursts.
    SickAndBursts,
}

impl Trouble {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::OneSick, Self::TwoSick, Self::Bursts, Self::SickAndBursts];

    /// As people say it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OneSick => "one node bears less than its share",
            Self::TwoSick => "two nodes do",
            Self::Bursts => "bursts of load",
            Self::SickAndBursts => "one such node, and bursts",
        }
    }

    const fn sick(self) -> usize {
        match self {
            Self::OneSick | Self::SickAndBursts => 1,
            Self::TwoSick => 2,
            Self::Bursts => 0,
        }
    }

    const fn has_bursts(self) -> bool {
        matches!(self, Self::Bursts | Self::SickAndBursts)
    }
}

/// What a cluster is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    /// How many nodes it has.
    pub nodes: usize,
    /// How much of them is in use, percent.
    pub percent: u32,
    /// What goes wrong.
    pub trouble: Trouble,
}

/// How evenkeel acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arm {
    /// Not at all.
    Without,
    /// As its guards allow.
    Guarded,
    /// At the third failure, whatever guards say: what they are worth.
    Unguarded,
}

/// What became of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    /// Minutes in which nodes were not Ready, all nodes together.
    pub not_ready: f64,
    /// Minutes in which Pods waited for a node, all Pods together.
    pub pending: f64,
    /// Fences.
    pub fences: u32,
    /// How often each guard held.
    pub held: BTreeMap<&'static str, u32>,
    /// Invariants that an act broke, in words.
    pub broken: Vec<String>,
}

struct Pod {
    /// Share of a node's capacity.
    load: f64,
    namespace: u64,
    node: Option<usize>,
    /// When it ends and its successor needs a node.
    ends: u64,
    lives: u64,
}

struct Machine {
    name: Name,
    /// How much of its capacity it bears.
    health: f64,
    load: f64,
    /// Since when it is overloaded.
    strained: Option<u64>,
    /// Since when it has recovered.
    relieved: Option<u64>,
    down: Option<u64>,
    flips: Vec<Flip>,
    fenced: bool,
    last_strain: Option<u64>,
}

/// A number in [0, 1) of these numbers: the finalizer of `SplitMix64`.
fn chance(parts: [u64; 4]) -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for part in parts {
        state = state.wrapping_add(part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 27;
    }
    (state >> 11) as f64 / (1_u64 << 53) as f64
}

struct World {
    cell: Cell,
    seed: u64,
    arm: Arm,
    now: u64,
    machines: Vec<Machine>,
    pods: Vec<Pod>,
    namespaces: Vec<Name>,
    records: Vec<LedgerRecord>,
    storm_until: Option<Mono>,
    run: Run,
}

/// Plays one cluster.
pub(crate) fn play(cell: Cell, seed: u64, arm: Arm) -> Run {
    let mut world = World::new(cell, seed, arm);
    while world.now < RUN {
        world.step();
    }
    world.run
}

/// Whether a cell is worse off: by more than one percent, and what two steps of one node make.
pub(crate) fn is_worse(with: f64, without: f64) -> bool {
    with > without * 1.01 + 0.34
}

impl World {
    fn new(cell: Cell, seed: u64, arm: Arm) -> Self {
        let mut names = Names::default();
        let used = f64::from(cell.percent) / 100.0;
        let sick = cell.trouble.sick();
        let machine = |at: usize| Machine {
            name: names.intern(&format!("node-{at}")),
            // It bears somewhat less than what it is given, and so fails, recovers when it is emptied, and fails again.
            health: if at < sick {
                used * (0.75 + 0.15 * chance([seed, at as u64, 1, 0]))
            } else {
                1.0
            },
            load: 0.0,
            strained: None,
            relieved: None,
            down: None,
            flips: Vec::new(),
            fenced: false,
            last_strain: None,
        };
        let machines: Vec<Machine> = (0..cell.nodes).map(machine).collect();
        let namespaces = (0..NAMESPACES)
            .map(|at| names.intern(&format!("team-{at}")))
            .collect();
        let count = (cell.nodes * PODS) as u64;
        let pod = |at: u64| Pod {
            load: used / PODS as f64 * (0.5 + chance([seed, at, 2, 0])),
            namespace: (chance([seed, at, 3, 0]) * NAMESPACES as f64) as u64,
            node: Some(at as usize % cell.nodes),
            ends: (chance([seed, at, 4, 0]) * 2.0 * LIFE as f64) as u64,
            lives: 0,
        };
        let mut world = Self {
            cell,
            seed,
            arm,
            now: 0,
            machines,
            pods: (0..count).map(pod).collect(),
            namespaces,
            records: Vec::new(),
            storm_until: None,
            run: Run::default(),
        };
        for pod in &world.pods {
            world.machines[pod.node.unwrap()].load += pod.load;
        }
        world
    }

    /// How much more than usual all Pods need now.
    fn burst(&self) -> f64 {
        let phase = self.now % 1200;
        if self.cell.trouble.has_bursts() && (600..780).contains(&phase) {
            1.3
        } else {
            1.0
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        self.end_pods();
        self.schedule();
        self.feel();
        self.evict();
        if self.arm != Arm::Without {
            self.act();
        }
        let down = self.machines.iter().filter(|one| one.down.is_some()).count();
        let pending = self.pods.iter().filter(|one| one.node.is_none()).count();
        let minutes = STEP as f64 / 60.0;
        self.run.not_ready += down as f64 * minutes;
        self.run.pending += pending as f64 * minutes;
    }

    /// Pods end, each with a successor that needs a node.
    fn end_pods(&mut self) {
        for (at, pod) in self.pods.iter_mut().enumerate() {
            if pod.ends <= self.now {
                pod.lives += 1;
                let life = chance([self.seed, at as u64, 4, pod.lives]) * 2.0 * LIFE as f64;
                pod.ends = self.now + life as u64 + STEP;
                if let Some(node) = pod.node.take() {
                    self.machines[node].load -= pod.load;
                }
            }
        }
    }

    /// The scheduler: the emptiest node that has room; a fenced one only where no other has.
    fn schedule(&mut self) {
        for at in 0..self.pods.len() {
            if self.pods[at].node.is_some() {
                continue;
            }
            let load = self.pods[at].load;
            let open = |one: &Machine| one.down.is_none() && one.load + load <= 1.0;
            let noise = |node: usize| chance([self.seed, at as u64, node as u64, self.now]) * 0.05;
            let best = (0..self.machines.len())
                .filter(|node| open(&self.machines[*node]))
                .map(|node| {
                    (
                        self.machines[node].fenced,
                        self.machines[node].load + noise(node),
                        node,
                    )
                })
                .min_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
            let Some((_, _, node)) = best else { continue };
            let namespace = self.namespaces[self.pods[at].namespace as usize];
            self.pods[at].node = Some(node);
            let machine = &mut self.machines[node];
            machine.load += load;
            if let Some(last) = machine.flips.last_mut().filter(|last| last.up.is_some()) {
                last.refill.endpoints += 1;
                if !last.refill.namespaces.contains(&namespace) {
                    last.refill.namespaces.push(namespace);
                }
            }
        }
    }

    /// Nodes fail under load, and recover without it.
    fn feel(&mut self) {
        let burst = self.burst();
        for (at, machine) in self.machines.iter_mut().enumerate() {
            let share = machine.load * burst / machine.health;
            if share > OVERLOAD.0 {
                machine.strained.get_or_insert(self.now);
                machine.relieved = None;
                machine.last_strain = Some(self.now);
            } else if share < OVERLOAD.1 {
                machine.strained = None;
                machine.relieved.get_or_insert(self.now);
            }
            let strained = machine.strained.map_or(0, |since| self.now - since);
            // Half of the failures are silence, half a runtime that does not answer.
            let silent = chance([self.seed, at as u64, 5, machine.flips.len() as u64]) < 0.5;
            let limit = if silent { SILENCE + 30 } else { PLEG };
            if machine.down.is_none() && strained >= limit {
                machine.down = Some(self.now);
                machine.flips.push(Flip {
                    down: Mono(self.now * 1000),
                    author: if silent {
                        FlipAuthor::NodeController
                    } else {
                        FlipAuthor::Kubelet
                    },
                    up: None,
                    refill: Refill::default(),
                });
            }
            let relieved = machine.relieved.map_or(0, |since| self.now - since);
            if machine.down.is_some() && relieved >= 30 {
                machine.down = None;
                if let Some(last) = machine.flips.last_mut() {
                    last.up = Some(Mono(self.now * 1000));
                }
            }
        }
    }

    /// Pods of a node that is not Ready are moved.
    fn evict(&mut self) {
        let due = |one: &Machine| one.down.is_some_and(|since| self.now - since >= TOLERATION);
        let due: Vec<bool> = self.machines.iter().map(due).collect();
        for pod in &mut self.pods {
            if let Some(node) = pod.node.filter(|node| due[*node]) {
                self.machines[node].load -= pod.load;
                pod.node = None;
            }
        }
    }

    /// Plans by evenkeel's own code, and does at once what nothing holds back.
    fn act(&mut self) {
        let (window, now) = (FlapRule::of(None).window, self.now * 1000);
        let flapped = |one: &Machine| {
            let recent = one.flips.iter().filter(|flip| now - flip.down.0 <= window);
            recent.count() >= 3
        };
        let any = self.machines.iter().any(|one| flapped(one) || one.fenced);
        // As the planner does: where nothing flaps nothing is planned, but a storm is noticed by each failure.
        let failed = self.machines.iter().any(|one| one.down == Some(self.now));
        let due = any && self.now.is_multiple_of(30);
        if !failed && !due {
            return;
        }
        let mut situation = self.situation();
        if self.arm == Arm::Unguarded {
            for at in 0..self.machines.len() {
                if flapped(&self.machines[at]) && !self.machines[at].fenced {
                    self.fence(at);
                }
            }
        } else {
            for plan in decide(guards::ALL, &mut situation).plans {
                match plan.held {
                    None => {
                        let at = self
                            .machines
                            .iter()
                            .position(|one| one.name == plan.change.node)
                            .unwrap();
                        self.fence(at);
                    }
                    Some(held) => *self.run.held.entry(held.by).or_default() += 1,
                }
            }
            self.storm_until = situation.storm_until;
        }
        let situation = self.situation();
        for at in 0..self.machines.len() {
            let node = situation.node(self.machines[at].name).unwrap();
            if (cordon_node::REMEDY.undo)(&situation, node) == Undo::Now {
                self.unfence(at);
            }
        }
    }

    /// What must hold of every act, counted anew from the machines and not by the code that decides.
    fn check(&mut self, at: usize) {
        let now = self.now * 1000;
        let nodes = self.machines.len();
        let fenced = self.machines.iter().filter(|one| one.fenced).count();
        let within = |moment: u64, window: u64| now - moment <= window;
        let recent = self
            .records
            .iter()
            .filter(|one| within(one.started.plus(0).0, 3_599_000))
            .count();
        let under_way = self
            .records
            .iter()
            .any(|one| one.ended.is_none() && within(one.started.plus(0).0, 590_000));
        let flips = self.machines[at]
            .flips
            .iter()
            .filter(|one| within(one.down.0, 1_800_000))
            .count();
        let unhealthy = |one: &&Machine| {
            one.fenced
                || one.down.is_some()
                || one
                    .flips
                    .iter()
                    .any(|flip| flip.up.is_none_or(|up| within(up.0, 1_800_000)))
        };
        let sick = self.machines.iter().filter(unhealthy).count();
        let rules = [
            (
                "I3: at most five and a tenth of the nodes are fenced",
                (fenced + 1) <= 5.min(nodes / 10),
            ),
            ("I4: at most two acts an hour", recent < 2),
            ("I13: no act in a storm", sick < 2 || sick * 5 < nodes),
            ("G14: one act at a time", !under_way),
            (
                "I10: only a node that failed three times in half an hour",
                flips >= 3,
            ),
            ("I2: no node is fenced twice", !self.machines[at].fenced),
        ];
        let broken = rules
            .into_iter()
            .filter(|rule| !rule.1)
            .map(|rule| rule.0.to_owned());
        self.run.broken.extend(broken);
    }

    fn fence(&mut self, at: usize) {
        if self.arm == Arm::Guarded {
            self.check(at);
        }
        self.machines[at].fenced = true;
        self.run.fences += 1;
        self.records.push(LedgerRecord {
            node: self.machines[at].name,
            started: Mono(self.now * 1000).into(),
            ended: None,
            outcome: Outcome::Running,
        });
    }

    fn unfence(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.fenced = false;
        if let Some(record) = self.records.iter_mut().rev().find(|one| one.node == machine.name) {
            let since = machine
                .flips
                .iter()
                .filter(|flip| PastMoment::from(flip.down) > record.started)
                .count();
            record.ended = Some(Mono(self.now * 1000).into());
            record.outcome = if since <= 1 {
                Outcome::Improved
            } else {
                Outcome::Futile
            };
        }
    }

    fn situation(&self) -> Situation {
        let burst = self.burst();
        let node = |machine: &Machine| NodeState {
            name: machine.name,
            zone: (Name::default(), Name::default()),
            pool: Name::default(),
            ready: machine.down.is_none(),
            worker: true,
            takes_pods: machine.down.is_none(),
            control_plane: false,
            deallocated: false,
            fenced: machine.fenced,
            holder: None,
            flips: machine.flips.clone(),
            cpu: Ok(NodeLoad {
                used: (machine.load * burst).min(1.0),
                capacity: 1.0,
            }),
            memory: Ok(NodeLoad {
                used: machine.load.min(1.0),
                capacity: 1.0,
            }),
            other_channel: match machine.last_strain {
                Some(at) if self.now - at <= 330 => OtherChannel::Stalled {
                    resource: "CPU",
                    percent: 90,
                    bound: 60,
                },
                Some(_) => OtherChannel::Well,
                None => OtherChannel::Unmeasured(Gap::Unmeasured("cpuPressure".into())),
            },
            sole_entry: Ok(None),
        };
        let mut nodes: Vec<NodeState> = self.machines.iter().map(node).collect();
        nodes.sort_by_key(|node| node.name);
        let mut situation = Situation {
            now: Mono(self.now * 1000),
            policy: CordonPolicy {
                mode: Mode::Enforce,
                effect: FenceEffect::PreferNoSchedule,
                max_percent: 10,
                max_nodes: 5,
                max_percent_of_pool: 25,
                max_per_hour: 2,
                steady_seconds: 1800,
                ceiling_percent: 85,
            },
            flap: FlapRule::of(None),
            storm: StormRule::of(&Storm::default()),
            gap: None,
            watched_since: Some(Mono(0)),
            policy_changed: false,
            nodes,
            removed: 0,
            own_node: OwnNode::Outside,
            control_plane: Fitness::Fit,
            records: self.records.clone(),
            rejected: Vec::new(),
            approved: false,
            not_narrowed: false,
            storm_until: self.storm_until,
            slot: None,
        };
        situation.slot = situation.under_way();
        situation
    }
}
