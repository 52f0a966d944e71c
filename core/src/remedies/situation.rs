//! Everything that a plan rests on, of one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fitness::Fitness;
use crate::history::Flip;
use crate::index::ZoneKey;
use crate::know::{Gap, Known, Mono};
use crate::names::Name;
use crate::policy::{CordonPolicy, Flap, Storm};
use crate::sources::claim::Holder;

/// How long after an act its effect is not known, in milliseconds: a node that is refilled fails again within minutes.
const EFFECT: u64 = 600_000;

/// Everything that a plan rests on, of one moment.
#[derive(Debug, Clone)]
pub struct Situation {
    /// The moment.
    pub now: Mono,
    /// What the platform allows.
    pub policy: CordonPolicy,
    /// What counts as a node that comes and goes.
    pub flap: FlapRule,
    /// When too much is sick to act at all.
    pub storm: StormRule,
    /// An input that is missing, stale or not known for long enough.
    pub gap: Option<Gap>,
    /// Since when Nodes have been watched without a gap; `None` while they are not.
    pub watched_since: Option<Mono>,
    /// Whether the policy is another than the one that the plan was made under.
    pub policy_changed: bool,
    /// Every Node, by name.
    pub nodes: Vec<NodeState>,
    /// How many nodes were not Ready within the window and have been removed since.
    pub removed: u32,
    /// The node that this replica runs on.
    pub own_node: OwnNode,
    /// Whether the control plane is fit for a change.
    pub control_plane: Fitness,
    /// What was done before, the oldest first: the ledger.
    pub records: Vec<LedgerRecord>,
    /// Nodes to whose fence a person said no, and when.
    pub rejected: Vec<(Name, PastMoment)>,
    /// Whether a person agreed to the very change that the guards are asked about.
    pub approved: bool,
    /// Whether a dry run found that nothing narrows the right to change Nodes.
    pub not_narrowed: bool,
    /// Until when a storm is over at the earliest.
    pub storm_until: Option<Mono>,
    /// The node of the one act that is planned or under way.
    pub slot: Option<Name>,
}

/// What counts as a node that comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlapRule {
    /// How often it stopped being Ready.
    pub transitions: u32,
    /// In how many milliseconds.
    pub window: u64,
}

impl FlapRule {
    /// The rule of the platform's policy; the defaults of `nodes.flap` where it has none.
    pub fn of(flap: Option<Flap>) -> Self {
        Self {
            transitions: flap.map_or(3, |flap| flap.transitions),
            window: u64::from(flap.map_or(1800, |flap| flap.window_seconds)) * 1000,
        }
    }
}

/// When too much is sick to act at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StormRule {
    /// Unhealthy share of a zone, percent.
    pub zone_percent: u32,
    /// Unhealthy share of the cluster, percent.
    pub cluster_percent: u32,
    /// Fewest unhealthy nodes for either.
    pub minimum_nodes: u32,
    /// For how long the latch holds after the last sign, milliseconds.
    pub cooldown: u64,
}

impl StormRule {
    /// The rule of the platform's policy; the defaults of `storm` where it has none.
    pub fn of(storm: &Storm) -> Self {
        Self {
            zone_percent: storm.zone_unhealthy_percent.unwrap_or(30),
            cluster_percent: storm.cluster_unhealthy_percent.unwrap_or(20),
            minimum_nodes: storm.minimum_nodes.unwrap_or(2),
            cooldown: u64::from(storm.cooldown_seconds.unwrap_or(600)) * 1000,
        }
    }
}

/// One node, as far as a plan looks at it.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct NodeState {
    /// Its name.
    pub name: Name,
    /// Zone and region.
    pub zone: ZoneKey,
    /// Its node pool; empty where no label says it.
    pub pool: Name,
    /// Whether it is Ready.
    pub ready: bool,
    /// Whether it is one that Pods are for: not of the control plane, and not reserved by a taint that lasts.
    pub worker: bool,
    /// Whether the scheduler gives it Pods now.
    pub takes_pods: bool,
    /// Whether it runs an API server or is labelled as one of the control plane.
    pub control_plane: bool,
    /// Whether its machine was stopped to be started again when it is needed.
    pub deallocated: bool,
    /// Whether it carries evenkeel's taint.
    pub fenced: bool,
    /// Who else holds it.
    pub holder: Option<Holder>,
    /// When it was not Ready within a day, the oldest first.
    pub flips: Vec<Flip>,
    /// CPUs at work, of how many.
    pub cpu: Known<NodeLoad>,
    /// Bytes of memory in use, of how many.
    pub memory: Known<NodeLoad>,
    /// How it is by another channel than the kubelet's.
    pub other_channel: OtherChannel,
    /// A Service that traffic from outside would hardly reach without this node (`namespace/name`); looked for where the
    /// node flaps.
    pub sole_entry: Known<Option<Arc<str>>>,
}

impl NodeState {
    /// Flips that began within the window.
    pub fn flips_within(&self, now: Mono, window: u64) -> impl Iterator<Item = &Flip> + Clone {
        self.flips.iter().filter(move |one| now.since(one.down) <= window)
    }

    /// Whether it stopped being Ready as often as the rule says.
    pub fn flaps(&self, now: Mono, rule: FlapRule) -> bool {
        self.flips_within(now, rule.window).count() >= rule.transitions as usize
    }

    /// Whether it was not Ready at some time in the window.
    pub fn was_down(&self, now: Mono, window: u64) -> bool {
        !self.ready || self.flips.iter().any(|one| one.touches(now, window))
    }
}

/// What of a node is in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeLoad {
    /// In use.
    pub used: f64,
    /// Of so much.
    pub capacity: f64,
}

/// How a node is by an observer that does not go through its kubelet.
#[derive(Debug, Clone, PartialEq)]
pub enum OtherChannel {
    /// It is not measured, or was not lately.
    Unmeasured(Gap),
    /// Nothing waits there, and its exporter answers.
    Well,
    /// Tasks wait.
    Stalled {
        /// For what.
        resource: &'static str,
        /// In how much of the time, percent.
        percent: u32,
        /// More than this is pressure, percent.
        bound: u32,
    },
    /// Its exporter failed in so much of the scrapes, percent.
    Unreachable(u32),
}

/// The node that this replica runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnNode {
    /// It is not known which.
    #[default]
    NotSaid,
    /// None: it runs outside of the cluster.
    Outside,
    /// This one.
    Named(Name),
}

/// A moment of the past, in milliseconds of the monotonic clock: negative before that clock began, as a record of another
/// process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PastMoment(i64);

impl PastMoment {
    /// So many milliseconds before a moment.
    pub fn before(now: Mono, ago: u64) -> Self {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Self(signed(now.0).saturating_sub(signed(ago)))
    }

    /// Milliseconds from it to a moment; none where it lies ahead.
    pub fn until(self, now: Mono) -> u64 {
        let now = i64::try_from(now.0).unwrap_or(i64::MAX);
        u64::try_from(now.saturating_sub(self.0)).unwrap_or(0)
    }

    /// So many milliseconds after it; the beginning of the clock where that is before it.
    pub fn plus(self, milliseconds: u64) -> Mono {
        let after = i64::try_from(milliseconds).unwrap_or(i64::MAX);
        Mono(u64::try_from(self.0.saturating_add(after)).unwrap_or(0))
    }
}

impl From<Mono> for PastMoment {
    fn from(at: Mono) -> Self {
        Self::before(at, 0)
    }
}

/// What was done to a node before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRecord {
    /// The node.
    pub node: Name,
    /// When it was done.
    pub started: PastMoment,
    /// When it was undone.
    pub ended: Option<PastMoment>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in effect, and its effect is not known yet.
    Running,
    /// It is in effect, and what it was to improve has improved.
    Improved,
    /// It made no difference.
    Futile,
    /// Somebody else undid it.
    UndoneByOthers,
}

/// How many nodes are unhealthy, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnhealthyShare {
    /// Unhealthy.
    pub unhealthy: u32,
    /// Of all.
    pub nodes: u32,
}

impl UnhealthyShare {
    fn add(&mut self, unhealthy: bool) {
        self.nodes += 1;
        self.unhealthy += u32::from(unhealthy);
    }

    /// Percent, rounded up: half a percent too much is too much.
    pub const fn percent(self) -> u32 {
        if self.nodes == 0 {
            return 0;
        }
        (self.unhealthy * 100).div_ceil(self.nodes)
    }
}

/// The unhealthy share of the cluster, and of its worst zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnhealthyShares {
    /// The cluster's.
    pub cluster: UnhealthyShare,
    /// The worst zone's.
    pub zone: UnhealthyShare,
}

impl Situation {
    /// One node.
    pub fn node(&self, name: Name) -> Option<&NodeState> {
        let at = self.nodes.binary_search_by_key(&name, |node| node.name).ok()?;
        self.nodes.get(at)
    }

    /// Nodes that Pods are for.
    pub fn workers(&self) -> impl Iterator<Item = &NodeState> + Clone {
        self.nodes.iter().filter(|node| node.worker)
    }

    /// The unhealthy shares: every node that was not Ready at any time in the window or is fenced.
    pub fn shares(&self) -> UnhealthyShares {
        let mut zones: BTreeMap<ZoneKey, UnhealthyShare> = BTreeMap::new();
        let mut cluster = UnhealthyShare::default();
        let mut add = |zone, unhealthy| {
            cluster.add(unhealthy);
            zones.entry(zone).or_default().add(unhealthy);
        };
        for node in self.nodes.iter().filter(|node| !node.deallocated) {
            add(
                node.zone,
                node.fenced || node.was_down(self.now, self.flap.window),
            );
        }
        // Which zone they were in is not known any more.
        cluster.unhealthy += self.removed;
        cluster.nodes += self.removed;
        let counts = |zone: &&UnhealthyShare| zone.unhealthy >= self.storm.minimum_nodes;
        let worst = zones.values().filter(counts).max_by_key(|zone| zone.percent());
        UnhealthyShares {
            cluster,
            zone: worst.copied().unwrap_or_default(),
        }
    }

    /// Whether so much is unhealthy that nothing may be done.
    pub fn is_storm(&self, shares: UnhealthyShares) -> bool {
        let UnhealthyShares { cluster, zone } = shares;
        let enough = |share: UnhealthyShare| share.unhealthy >= self.storm.minimum_nodes;
        enough(cluster) && cluster.percent() >= self.storm.cluster_percent
            || enough(zone) && zone.percent() >= self.storm.zone_percent
    }

    /// The node of the newest act of which the effect is not known yet: nothing else is done meanwhile.
    pub fn under_way(&self) -> Option<Name> {
        let open = |one: &&LedgerRecord| one.ended.is_none() && one.started.until(self.now) < EFFECT;
        self.records.iter().rev().find(open).map(|one| one.node)
    }

    /// Lets the storm latch at once, and reopen only after its cooldown.
    pub fn latch(&mut self) {
        if self.is_storm(self.shares()) {
            self.storm_until = Some(self.now.plus(self.storm.cooldown));
        } else if self.storm_until.is_some_and(|until| until <= self.now) {
            self.storm_until = None;
        }
    }
}
