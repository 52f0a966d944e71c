//! When to plan, and what is remembered between two plans.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::read::Sight;
use super::{Plan, Plans, decide};
use crate::drive::{self, RemediationRecord};
use crate::guards::{self, Held};
use crate::history::History;
use crate::know::{Mono, Now, Source, Wall};
use crate::names::{InUse, Name, Names};
use crate::policy::{ClusterPolicy, CordonPolicy, Mode};
use crate::remedies::{
    self, LedgerRecord, NodeChange, OwnNode, PastMoment, Situation, Undo, UnhealthyShares,
};
use crate::sources::node::Node;

/// Least time between two plans, in milliseconds: thousands of nodes that fail at once are looked at as one.
const APART: u64 = 5_000;
/// After so long a plan is made again while there is one, in milliseconds: the interval of samples.
const AGAIN: u64 = 30_000;

/// What is planned, and when to plan again. In mode Observe it holds nothing and does nothing.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    own_node: OwnNode,
    /// Whether plans are carried out.
    acting: bool,
    /// The policy that the last plan rests on.
    policy: Option<Arc<ClusterPolicy>>,
    planned: Option<Mono>,
    again: Option<Mono>,
    storm_until: Option<Mono>,
    /// What was done before, of the ledger: nothing of it is lost with the process.
    records: Vec<LedgerRecord>,
    /// Nodes to whose fence a person said no, of the ledger.
    rejected: Vec<(Name, PastMoment)>,
    /// Whether a dry run found that nothing narrows the right to change Nodes.
    not_narrowed: bool,
    shares: UnhealthyShares,
    plans: Plans,
    /// Fenced nodes whose fence has lasted long enough.
    steady: BTreeSet<Name>,
    /// How often plans were made.
    made: u64,
    /// By what each plan is held back, and since when.
    since: BTreeMap<Name, (Option<&'static str>, Wall)>,
}

/// Fenced nodes whose fence has lasted long enough.
fn steady(situation: &Situation) -> BTreeSet<Name> {
    let fenced = situation.nodes.iter().filter(|node| node.fenced);
    let steady = fenced.filter(|node| {
        let mut remedies = remedies::ALL.iter();
        remedies.any(|remedy| (remedy.undo)(situation, node) == Undo::Now)
    });
    steady.map(|node| node.name).collect()
}

/// The mode in which nodes are fenced under a policy.
fn mode(policy: Option<&Arc<ClusterPolicy>>) -> Mode {
    let cordon = policy.and_then(|policy| policy.nodes.cordon);
    cordon.map_or(Mode::Observe, |cordon| cordon.mode)
}

impl Planner {
    /// Says which node this replica runs on.
    pub(crate) fn runs_on(&mut self, node: OwnNode) {
        if self.own_node != node {
            self.own_node = node;
            self.planned = None;
        }
    }

    /// Plans are carried out from now on.
    pub(crate) const fn acts(&mut self) {
        self.acting = true;
    }

    /// Whether plans are carried out.
    pub(crate) const fn is_acting(&self) -> bool {
        self.acting
    }

    /// Takes the ledger as it was just read.
    pub(crate) fn remember(&mut self, records: &[RemediationRecord], names: &mut Names, now: Now) {
        self.records = drive::history(records, names, now);
        self.rejected = drive::rejections(records, names, now);
        self.planned = None;
    }

    /// Whether the right to change Nodes is narrowed, as was just tried; says whether that is news.
    pub(crate) fn rights(&mut self, narrowed: bool) -> bool {
        let news = self.not_narrowed == narrowed;
        if news {
            self.not_narrowed = !narrowed;
            self.planned = None;
        }
        news
    }

    /// Notes the names that it holds.
    pub(crate) fn hold(&self, held: &mut InUse) {
        if let OwnNode::Named(name) = self.own_node {
            held.note(&name);
        }
        held.all(self.records.iter().map(|record| record.node));
        held.all(self.rejected.iter().map(|rejected| rejected.0));
        held.all(self.since.keys());
        held.all(&self.steady);
        held.all(self.plans.plans.iter().map(|plan| plan.change.node));
    }

    /// When the next plan is due, if nothing but time and flips decides it. Without a history there are no plans.
    pub(crate) fn due(&self, policy: Option<&Arc<ClusterPolicy>>, history: &History) -> Option<Mono> {
        if mode(policy) == Mode::Observe || !history.is_live() {
            return None;
        }
        let last_flip = history.nodes().flips().last();
        let Some(planned) = self.planned else {
            return Some(Mono(0));
        };
        let flipped = last_flip.filter(|at| *at >= planned).map(|_| planned.plus(APART));
        flipped.into_iter().chain(self.again).min()
    }

    /// Plans where it is time; says whether anything that people see has changed.
    pub(crate) fn round(&mut self, sight: Sight<'_>) -> bool {
        let policy = sight.index.cluster_policy.as_ref();
        let cordon = policy
            .and_then(|policy| policy.nodes.cordon)
            .filter(|cordon| cordon.mode != Mode::Observe);
        let (Some(policy), Some(cordon)) = (policy, cordon) else {
            let was = self.policy.is_some();
            if was {
                *self = Self {
                    own_node: self.own_node,
                    acting: self.acting,
                    records: std::mem::take(&mut self.records),
                    rejected: std::mem::take(&mut self.rejected),
                    not_narrowed: self.not_narrowed,
                    made: self.made + 1,
                    ..Self::default()
                };
            }
            return was;
        };
        let same = self.policy.as_ref().is_some_and(|held| Arc::ptr_eq(held, policy));
        let now = sight.now;
        let due = self
            .due(Some(policy), sight.history)
            .is_some_and(|at| at <= now.mono);
        if same && !due || !sight.history.is_live() {
            return false;
        }
        let mut situation = self.situation(sight, policy, cordon);
        situation.records.clone_from(&self.records);
        situation.slot = situation.under_way();
        let plans = decide(guards::ALL, &mut situation);
        let shown = (self.storm_until.is_some(), self.by());
        self.storm_until = situation.storm_until;
        self.shares = situation.shares();
        self.policy = Some(policy.clone());
        self.planned = Some(now.mono);
        self.made += 1;
        self.steady = steady(&situation);
        let open = self.records.iter().any(|one| one.ended.is_none());
        let waits = open || !plans.plans.is_empty() || self.storm_until.is_some();
        self.again = waits.then(|| now.mono.plus(AGAIN));
        self.show(plans, now.wall);
        !same || shown != (self.storm_until.is_some(), self.by())
    }

    /// Asks the guards once more, on a node as it was just read; `changed` says that the policy is another than the plan's, and
    /// `approved` that a person agreed to this change.
    pub(crate) fn confirm(
        &self,
        sight: Sight<'_>,
        records: Vec<LedgerRecord>,
        change: &NodeChange,
        row: &Node,
        (changed, approved): (bool, bool),
    ) -> Result<(), Held> {
        let policy = sight.index.cluster_policy.as_ref();
        let cordon = policy.and_then(|policy| policy.nodes.cordon);
        let allowed = cordon.filter(|cordon| cordon.mode != Mode::Observe);
        let (Some(policy), Some(cordon)) = (policy, allowed) else {
            return Err(Held {
                by: "PolicyChanged",
                message: "no policy asks for it any more".into(),
                evidence: Vec::new(),
                again: None,
            });
        };
        let mut situation = self.situation(sight, policy, cordon);
        situation.records = records;
        situation.slot = situation.under_way();
        situation.policy_changed = changed;
        situation.approved = approved;
        sight.patch(&mut situation, change.node, row);
        situation.latch();
        guards::ask(guards::ALL, &situation, change)
    }

    fn situation(&self, sight: Sight<'_>, policy: &ClusterPolicy, cordon: CordonPolicy) -> Situation {
        let mut situation = sight.situation(policy, cordon, self.own_node);
        situation.storm_until = self.storm_until;
        situation.rejected.clone_from(&self.rejected);
        situation.not_narrowed = self.not_narrowed;
        if self.acting {
            // What was done before is known only while nothing is missed of the ledger.
            let ledger = sight.index.worst_freshness(Source::Remediations);
            situation.gap = situation.gap.or_else(|| ledger.gap(Source::Remediations));
        }
        situation
    }

    fn show(&mut self, plans: Plans, wall: Wall) {
        let since = plans.plans.iter().map(|plan| {
            let by = plan.held.as_ref().map(|held| held.by);
            let before = self.since.get(&plan.change.node).filter(|before| before.0 == by);
            (plan.change.node, (by, before.map_or(wall, |before| before.1)))
        });
        self.since = since.collect();
        self.plans = plans;
    }

    fn by(&self) -> Vec<(Name, Option<&'static str>)> {
        self.since.iter().map(|(name, held)| (*name, held.0)).collect()
    }

    /// Whether remedies are planned at all.
    pub(crate) const fn is_on(&self) -> bool {
        self.policy.is_some()
    }

    /// Whether there are plans under the policy, and they know the ledger as it was last read.
    pub(crate) const fn is_current(&self) -> bool {
        self.policy.is_some() && self.planned.is_some()
    }

    /// The plans.
    pub(crate) const fn plans(&self) -> &Plans {
        &self.plans
    }

    /// Fenced nodes whose fence has lasted long enough, as of the last plan.
    pub(crate) const fn steady(&self) -> &BTreeSet<Name> {
        &self.steady
    }

    /// How often plans were made: when it has grown there may be something else to do.
    pub(crate) const fn made(&self) -> u64 {
        self.made
    }

    /// Since when a plan is held back by what holds it now.
    pub(crate) fn since(&self, plan: &Plan) -> Option<Wall> {
        self.since.get(&plan.change.node).map(|held| held.1)
    }

    /// When the next plan is made if nothing fails until then.
    pub(crate) const fn again(&self) -> Option<Mono> {
        self.again
    }

    /// Until when the storm lasts at least.
    pub(crate) const fn storm_until(&self) -> Option<Mono> {
        self.storm_until
    }

    /// The unhealthy shares at the time of the last plan.
    pub(crate) const fn shares(&self) -> UnhealthyShares {
        self.shares
    }
}
