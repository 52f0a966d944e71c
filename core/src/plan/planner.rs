//! When to plan, and what is remembered between two plans.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::read::Sight;
use super::{Plan, Plans, decide};
use crate::drive::{self, RemediationRecord};
use crate::guards;
use crate::history::History;
use crate::know::{Mono, Now, Wall};
use crate::names::{InUse, Name, Names};
use crate::policy::{ClusterPolicy, Mode};
use crate::remedies::{LedgerRecord, OwnNode, UnhealthyShares};

/// Least time between two plans, in milliseconds: thousands of nodes that fail at once are looked at as one.
const APART: u64 = 5_000;
/// After so long a plan is made again while there is one, in milliseconds: the interval of samples.
const AGAIN: u64 = 30_000;

/// What is planned, and when to plan again. In mode Observe it holds nothing and does nothing.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    own_node: OwnNode,
    /// The policy that the last plan rests on.
    policy: Option<Arc<ClusterPolicy>>,
    planned: Option<Mono>,
    again: Option<Mono>,
    storm_until: Option<Mono>,
    /// What was done before, of the ledger: nothing of it is lost with the process.
    records: Vec<LedgerRecord>,
    shares: UnhealthyShares,
    plans: Plans,
    /// By what each plan is held back, and since when.
    since: BTreeMap<Name, (Option<&'static str>, Wall)>,
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

    /// Takes the ledger as it was just read.
    pub(crate) fn remember(&mut self, records: &[RemediationRecord], names: &mut Names, now: Now) {
        self.records = drive::history(records, names, now);
        self.planned = None;
    }

    /// Notes the names that it holds.
    pub(crate) fn hold(&self, held: &mut InUse) {
        if let OwnNode::Named(name) = self.own_node {
            held.note(&name);
        }
        held.all(self.records.iter().map(|record| record.node));
        held.all(self.since.keys());
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
                    records: std::mem::take(&mut self.records),
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
        let mut situation = sight.situation(policy, cordon, self.own_node);
        situation.storm_until = self.storm_until;
        situation.records.clone_from(&self.records);
        situation.slot = situation.under_way();
        let plans = decide(guards::ALL, &mut situation);
        let shown = (self.storm_until.is_some(), self.by());
        self.storm_until = situation.storm_until;
        self.shares = situation.shares();
        self.policy = Some(policy.clone());
        self.planned = Some(now.mono);
        let waits = !plans.plans.is_empty() || self.storm_until.is_some();
        self.again = waits.then(|| now.mono.plus(AGAIN));
        self.show(plans, now.wall);
        !same || shown != (self.storm_until.is_some(), self.by())
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

    /// The plans.
    pub(crate) const fn plans(&self) -> &Plans {
        &self.plans
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
