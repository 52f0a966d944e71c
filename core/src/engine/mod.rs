//! Judging what is dirty: which subjects exist, which must be judged again, and what is remembered of them.
//!
//! A unit is one subject (a Service by one of its policies, a Node, a zone, a webhook configuration, a workload, or the cluster by
//! one check) and always judged as a whole. Of every unit it is remembered what its verdicts depend on, as the checks
//! read it; a change judges the units again that depend on what has changed, and no others. The property that a test
//! keeps: any order of inputs, judged step by step, gives the verdicts of judging from nothing.

mod concerned;
mod credit;
mod declared;
mod dirt;
mod interner;
mod measured;
mod outdated;
mod pass;
mod queue;
mod shares;
mod tally;
mod unit;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use declared::each_path;
pub(crate) use dirt::{Dirt, MATCHED};
use interner::Interner;
pub(crate) use measured::MeasuredNodes;
use outdated::Outdated;
use pass::Pass;
use queue::Queue;
pub(crate) use shares::Cut;
use shares::Shares;
pub(crate) use tally::{MOST_CHECKS, Tallies};
pub(crate) use unit::Reported;
use unit::{Judgement, Scope, WorkUnit};

use crate::fleet::Fleet;
use crate::history::History;
use crate::index::{Dep, DepCounts, Deps, Index};
use crate::judge::{Check, Selections, Severity, Subject, Verdict};
use crate::know::{Mono, Now, Reads, Source};
use crate::names::{InUse, Key, Name};
use crate::sample::Metrics;

/// Going through so many Pods for a selector takes as long as a verdict, about.
const ROWS_FOR_A_VERDICT: usize = 256;

/// What judging brought.
#[derive(Debug, Default)]
pub(crate) struct PassOutcome {
    /// Checks and subjects whose verdict changed.
    pub(crate) transitions: Vec<(usize, Subject)>,
    /// The policies whose statuses show them; the empty key is the platform's.
    pub(crate) owners: BTreeSet<Key>,
    /// How many units were judged.
    pub(crate) units: usize,
    /// To how many verdicts.
    pub(crate) verdicts: usize,
}

/// Verdicts of all subjects.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    /// The checks that it judges by.
    checks: &'static [Check],
    pub(crate) fleet: Fleet,
    units: BTreeMap<WorkUnit, Judgement>,
    interner: Interner,
    /// The counted verdicts of all units, summed by policy.
    tallies: Tallies,
    /// Units with something to report, by the policy that owns them.
    owned: BTreeSet<(Key, WorkUnit)>,
    /// Units that depend on Services or Pods beyond their own.
    beyond: BTreeSet<WorkUnit>,
    /// How many units of each scope depend on what: most changes concern none.
    deps: [DepCounts; Scope::ALL.len()],
    /// Namespaces in which critical verdicts rest on Pods: on how many units.
    urgent: BTreeMap<Name, usize>,
    /// Whether others are than when that was last taken.
    urgent_changed: bool,
    /// Units whose held verdicts are no longer shown.
    outdated: Outdated,
    /// How much of each policy is judged.
    pub(crate) shares: Shares,
    /// What selectors select, by the rows of the last round.
    selections: Selections,
    /// When time alone may change a verdict: by wall time, and by monotonic time.
    again: BTreeSet<(i64, WorkUnit)>,
    wakes: BTreeSet<(Mono, WorkUnit)>,
    queue: Queue,
}

impl Engine {
    /// One that judges by these checks, and has judged nothing.
    pub(crate) fn of(checks: &'static [Check]) -> Self {
        Self {
            checks,
            ..Self::default()
        }
    }

    /// The checks that it judges by.
    pub(crate) const fn checks(&self) -> &'static [Check] {
        self.checks
    }

    /// What its checks rest on that is measured.
    pub(crate) fn measured(&self) -> Metrics {
        let all = self.checks.iter().map(|check| check.samples);
        all.fold(Metrics::NONE, Metrics::with)
    }

    /// Judges what is dirty or due, until it has come to about so many verdicts: the unit that reaches them is judged to
    /// its end. The rest waits for the next round.
    pub(crate) fn round(
        &mut self,
        now: Now,
        index: &Index,
        history: &History,
        mut dirt: Dirt,
        most: usize,
    ) -> PassOutcome {
        let deployments = Deps::of(Reads::of(&[Source::Deployments]));
        let whole = dirt.all
            || dirt.deps.meets(Deps::one(Dep::FleetInputs))
            || (self.fleet.reads_deployments() && dirt.deps.meets(deployments));
        dirt.deps = dirt.deps.with(self.fleet.update(index, whole, &dirt.nodes));
        let recut = self.shares.settle(index, &dirt);
        self.forget_selections(&dirt);
        let mut dirty = BTreeSet::new();
        if dirt.all {
            self.everything(index, &mut dirty);
            concerned::workloads(&dirt, &mut dirty);
        } else {
            self.concerned(index, &dirt, &mut dirty);
            self.due(now, index, &mut dirty);
        }
        for policy in &recut {
            self.of_policy(index, *policy, &[], &mut dirty);
        }
        self.outdate(now, index, &dirt, &dirty);
        self.queue.add(&dirty);
        self.queue.release(now.mono, most == usize::MAX);
        let mut judged = PassOutcome::default();
        // Their statuses have the numbers, whatever the verdicts are.
        judged.owners.extend(recut);
        while judged.verdicts < most
            && let Some(unit) = self.queue.pop()
        {
            // What there is nothing to say of has to be looked at, too.
            let mut took = 1 + self.judge(unit, now, (index, history), &mut judged);
            took += self.selections.take_looked_at() / ROWS_FOR_A_VERDICT;
            if most != usize::MAX {
                self.queue.spend(now.mono, unit, took);
            }
            judged.verdicts += took;
            judged.units += 1;
        }
        if self.queue.is_empty() {
            self.selections.rest();
        }
        judged
    }

    /// Forgets what may be selected by now.
    fn forget_selections(&mut self, dirt: &Dirt) {
        if dirt.all {
            self.selections.clear();
        }
        for namespace in &dirt.pods_in {
            self.selections.pods_changed(*namespace);
        }
    }

    /// Notes the names that it holds. What was selected is forgotten, and looked for again: it may name Pods that are gone.
    pub(crate) fn hold(&mut self, held: &mut InUse) {
        self.selections.clear();
        self.fleet.hold(held);
        for (unit, judgement) in &self.units {
            held.note(unit);
            for (at, reported) in &judgement.bad {
                held.note(&at.0);
                held.note(&reported.verdict);
            }
            held.note(&judgement.beyond);
        }
        // Sets of units that are not held themselves: one may be due that nothing is remembered of.
        held.note(&self.owned);
        held.note(&self.beyond);
        held.all(self.again.iter().map(|one| one.1));
        held.all(self.wakes.iter().map(|one| one.1));
        held.all(self.urgent.keys());
        self.tallies.hold(held);
        self.queue.hold(held);
        self.shares.hold(held);
        self.outdated.hold(held);
    }

    /// Marks those of which nothing that is held may be shown until they are judged: where a source was lost, all that is
    /// dirty, and else what was never judged.
    fn outdate(&mut self, now: Now, index: &Index, dirt: &Dirt, dirty: &BTreeSet<WorkUnit>) {
        let lost = dirt.lost(index);
        if let Some(source) = lost {
            self.outdated.lost(source, now.wall);
        }
        for unit in dirty {
            let held = self.units.get_mut(unit);
            if (lost.is_some() || held.is_none())
                && self.outdated.insert(*unit)
                && let Some(held) = held
            {
                let before = held.tally;
                held.tally = before.outdated();
                self.tallies.replace(unit.policy, before, held.tally);
            }
        }
    }

    /// Whether verdicts in a namespace may be what is so no longer; the empty name is for what is in none.
    pub(crate) fn is_outdated(&self, namespace: Name) -> bool {
        self.outdated.any_in(namespace)
    }

    /// Whether units wait, for their turn or for credit.
    #[cfg(test)]
    pub(crate) fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether units wait that are to be judged now, and not when their namespace has credit again.
    pub(crate) fn is_ready(&self) -> bool {
        self.queue.is_ready()
    }

    /// Judges one unit from nothing and replaces what was held of it; returns how many verdicts it has.
    fn judge(
        &mut self,
        unit: WorkUnit,
        now: Now,
        (index, history): (&Index, &History),
        judged: &mut PassOutcome,
    ) -> usize {
        self.outdated.remove(unit);
        let before = self.units.remove(&unit).unwrap_or_default();
        let mut after = Pass::new(now, index, history, &self.fleet, self.checks, unit, &before)
            .within(self.shares.paths(index, unit))
            .remembering(&self.selections)
            .judged();
        for (_, reported) in &mut after.bad {
            reported.verdict = self.interner.intern(reported.verdict.clone());
        }
        let transitions = judged.transitions.len();
        judged
            .transitions
            .extend(after.changed(&before).map(|(subject, at)| (at, subject)));
        if judged.transitions.len() > transitions {
            judged.owners.extend(unit.owner());
        }
        self.forget(unit, &before);
        self.remember(unit, &after);
        self.tallies.replace(unit.policy, before.tally, after.tally);
        let verdicts = after.tally.verdicts() + after.bad.len();
        if after.goes_on
            && let Some(next) = unit.next_part()
            && !self.units.contains_key(&next)
        {
            self.outdated.insert(next);
            self.queue.add_one(next);
        }
        if after != Judgement::default() {
            self.units.insert(unit, after);
        }
        verdicts
    }

    fn forget(&mut self, unit: WorkUnit, held: &Judgement) {
        if let Some(when) = held.again {
            self.again.remove(&(when, unit));
        }
        if let Some(when) = held.wake {
            self.wakes.remove(&(when, unit));
        }
        if let Some(owner) = unit.owner().filter(|_| !held.bad.is_empty()) {
            self.owned.remove(&(owner, unit));
        }
        if held.beyond.is_some() {
            self.beyond.remove(&unit);
        }
        if let Some(home) = self.urgent_in(unit, held)
            && let Some(count) = self.urgent.get_mut(&home)
        {
            *count -= 1;
            if *count == 0 {
                self.urgent.remove(&home);
                self.urgent_changed = true;
            }
        }
        if let Some(counts) = self.deps.get_mut(unit.scope as usize) {
            counts.remove(held.deps);
        }
    }

    fn remember(&mut self, unit: WorkUnit, held: &Judgement) {
        self.again.extend(held.again.map(|when| (when, unit)));
        self.wakes.extend(held.wake.map(|when| (when, unit)));
        let owner = unit.owner().filter(|_| !held.bad.is_empty());
        self.owned.extend(owner.map(|owner| (owner, unit)));
        if held.beyond.is_some() {
            self.beyond.insert(unit);
        }
        if let Some(home) = self.urgent_in(unit, held) {
            let count = self.urgent.entry(home).or_default();
            *count += 1;
            self.urgent_changed |= *count == 1;
        }
        if let Some(counts) = self.deps.get_mut(unit.scope as usize) {
            counts.add(held.deps);
        }
    }

    /// The namespace of a unit with a critical verdict, where that rests on its Pods.
    fn urgent_in(&self, unit: WorkUnit, held: &Judgement) -> Option<Name> {
        let home = unit.home().filter(|_| held.deps.meets(Dirt::OWN_PODS))?;
        let mut bad = held
            .bad
            .iter()
            .filter_map(|((_, at), one)| Some((self.checks.get(*at)?, one)));
        let critical = bad.any(|(check, one)| check.severity_of(&one.verdict) == Severity::Critical);
        critical.then_some(home)
    }

    /// Takes the namespaces in which critical verdicts rest on Pods, where they are others than when this was last asked.
    pub(crate) fn take_urgent(&mut self) -> Option<impl Iterator<Item = Name> + '_> {
        std::mem::take(&mut self.urgent_changed).then(|| self.urgent.keys().copied())
    }

    /// Every verdict that people see, in no order.
    pub(crate) fn bad(&self) -> impl Iterator<Item = (&'static Check, Subject, &Reported)> {
        self.units
            .iter()
            .flat_map(|(unit, held)| self.reported(unit, held))
    }

    /// Those that the status of a policy shows; the empty key is the platform's.
    pub(crate) fn owned_by(&self, policy: Key) -> impl Iterator<Item = (&'static Check, Subject, &Reported)> {
        self.owned
            .range((policy, WorkUnit::FIRST)..=(policy, WorkUnit::LAST))
            .filter_map(|one| Some((&one.1, self.units.get(&one.1)?)))
            .flat_map(|(unit, held)| self.reported(unit, held))
    }

    /// What people see of a unit.
    fn reported<'a>(
        &'a self,
        unit: &WorkUnit,
        held: &'a Judgement,
    ) -> impl Iterator<Item = (&'static Check, Subject, &'a Reported)> + use<'a> {
        let instead = self.outdated.instead(unit);
        held.bad.iter().filter_map(move |((subject, at), reported)| {
            Some((self.checks.get(*at)?, *subject, instead.unwrap_or(reported)))
        })
    }

    /// Checks that have not watched for long enough to judge all of their subjects, in the order of the table.
    pub(crate) fn warming(&self) -> Vec<&'static str> {
        let warming = self.units.values().fold(0, |all, one| all | one.tally.warming);
        let named = self.checks.iter().enumerate();
        named
            .filter(|(at, _)| warming & (1 << at) != 0)
            .map(|(_, check)| check.id)
            .collect()
    }

    /// The counted verdicts, by policy.
    pub(crate) const fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Takes the policies whose counts have changed since this was last asked.
    pub(crate) fn take_recounted(&mut self) -> BTreeSet<Key> {
        self.tallies.take_changed()
    }

    /// Every check and subject that is met, in the order of the units. These verdicts are only counted, so what was judged is
    /// judged once more.
    pub(crate) fn met<'a>(
        &'a self,
        now: Now,
        index: &'a Index,
        history: &'a History,
    ) -> impl Iterator<Item = (&'static Check, Subject)> + 'a {
        let units = self.units.iter().filter(|(_, held)| held.tally.met > 0);
        let said = move |(unit, held): (&WorkUnit, &'a Judgement)| {
            let pass = Pass::new(now, index, history, &self.fleet, self.checks, *unit, held);
            pass.within(self.shares.paths(index, *unit)).said()
        };
        let met = units.flat_map(said).filter(|one| one.2 == Verdict::Met.name());
        met.filter_map(|(at, subject, _)| Some((self.checks.get(at)?, subject)))
    }

    /// The verdict of one check on each of its subjects, also where it is only counted.
    #[cfg(test)]
    pub(crate) fn judged(
        &self,
        now: Now,
        index: &Index,
        history: &History,
        check: &str,
    ) -> Vec<&'static str> {
        let fresh = Judgement::default();
        let pass = |unit| {
            Pass::new(now, index, history, &self.fleet, self.checks, unit, &fresh)
                .within(self.shares.paths(index, unit))
        };
        let mut dirty = BTreeSet::new();
        self.everything(index, &mut dirty);
        let all = dirty.into_iter().flat_map(|unit| pass(unit).said());
        let of_check = |at: usize| self.checks.get(at).is_some_and(|one| one.id == check);
        all.filter(|one| of_check(one.0)).map(|one| one.2).collect()
    }

    /// The earliest moment at which some window ends, or a namespace is judged further.
    pub(crate) fn woken(&self) -> Option<Mono> {
        let window = self.wakes.first().map(|one| one.0);
        [window, self.queue.due()].into_iter().flatten().min()
    }

    /// The earliest second of wall time at which time alone may change a verdict.
    pub(crate) fn again(&self) -> Option<i64> {
        self.again.first().map(|one| one.0)
    }
}

#[cfg(test)]
mod tests;
