//! Judging what is dirty: which subjects exist, which must be judged again, and what is remembered of them.
//!
//! A unit is one subject (a Service by one of its policies, a Node, a zone, a webhook configuration, or the cluster by
//! one check) and always judged as a whole. Of every unit it is remembered what its verdicts depend on, as the checks
//! read it; a change judges the units again that depend on what has changed, and no others. The property that a test
//! keeps: any order of inputs, judged step by step, gives the verdicts of judging from nothing.

mod dirt;
mod interner;
mod pass;
mod queue;
mod tally;
mod unit;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use dirt::Dirt;
use interner::Interner;
use pass::Pass;
pub(crate) use pass::each_path;
use queue::Queue;
pub(crate) use tally::{MOST_CHECKS, Tallies};
pub(crate) use unit::Reported;
use unit::{About, Judgement, Scope, WorkUnit};

use crate::fleet::Fleet;
use crate::history::History;
use crate::index::{Dep, DepCounts, Deps, Index};
use crate::judge::{Check, Judge, Subject, Verdict};
use crate::know::{Mono, Now, Reads, Source};
use crate::names::{InUse, Key, Name};

/// What judging brought.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// Checks and subjects whose verdict changed.
    pub(crate) transitions: Vec<(usize, Subject)>,
    /// The policies whose statuses show them; the empty key is the platform's.
    pub(crate) owners: BTreeSet<Key>,
    /// How many units were judged.
    pub(crate) units: usize,
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

    /// Judges what is dirty or due: about so many units, but at once whatever became blind or is no crowd's.
    pub(crate) fn round(
        &mut self,
        now: Now,
        index: &Index,
        history: &History,
        mut dirt: Dirt,
        most: usize,
    ) -> Judged {
        let deployments = Deps::of(Reads::of(&[Source::Deployments]));
        let whole = dirt.all
            || dirt.deps.meets(Deps::one(Dep::FleetInputs))
            || (self.fleet.reads_deployments() && dirt.deps.meets(deployments));
        dirt.deps = dirt.deps.with(self.fleet.update(index, whole, &dirt.nodes));
        let mut dirty = BTreeSet::new();
        if dirt.all {
            self.everything(index, &mut dirty);
        } else {
            self.concerned(index, &dirt, &mut dirty);
            self.due(now, &mut dirty);
        }
        let at_once = dirt.all || !dirt.freshness.is_empty();
        let most = if at_once { usize::MAX } else { most };
        let mut judged = Judged::default();
        for unit in self.queue.next(dirty, most) {
            self.judge(unit, now, (index, history), &mut judged);
            judged.units += 1;
        }
        judged
    }

    /// Notes the names that it holds.
    pub(crate) fn hold(&self, held: &mut InUse) {
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
        self.tallies.hold(held);
        self.queue.hold(held);
    }

    /// Whether units wait to be judged.
    pub(crate) fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }

    /// All units there are, may be, or are no more.
    fn everything(&self, index: &Index, dirty: &mut BTreeSet<WorkUnit>) {
        dirty.extend(self.units.keys());
        dirty.extend(WorkUnit::lists());
        for (key, _) in index.services.iter() {
            self.of_service(index, key, dirty);
        }
        let nodes = index.nodes.iter().map(|(key, _)| About::Node(key.name));
        dirty.extend(nodes.map(|about| WorkUnit::of(Scope::Node, about)));
        let zones = index.sums.zones().map(About::Zone);
        dirty.extend(zones.map(|about| WorkUnit::of(Scope::Zone, about)));
        let webhooks = index.webhooks.iter().map(|(key, _)| About::Webhook(key));
        dirty.extend(webhooks.map(|about| WorkUnit::of(Scope::Webhook, about)));
        for (at, check) in self.checks.iter().enumerate() {
            if let (Judge::Cluster(_), Ok(at)) = (check.judge, u8::try_from(at)) {
                dirty.insert(WorkUnit::of(Scope::Cluster, About::Check(at)));
            }
        }
    }

    /// The units of a Service: one for each policy that governs it or did.
    fn of_service(&self, index: &Index, key: Key, dirty: &mut BTreeSet<WorkUnit>) {
        let service = index.services.get(key);
        let policies = service.map_or_else(Vec::new, |row| index.policies_of(key, row));
        for scope in Scope::OF_SERVICES {
            let all = WorkUnit::all_of(scope, key);
            let first = *all.start();
            // Without a policy the baseline judges a Service.
            let baseline = scope == Scope::Service && service.is_some() && policies.is_empty();
            dirty.extend(baseline.then_some(first));
            dirty.extend(policies.iter().map(|(policy, _)| WorkUnit {
                policy: *policy,
                ..first
            }));
            dirty.extend(self.units.range(all).map(|one| *one.0));
        }
    }

    /// The units of a Service that depend on one of these.
    fn depending(&self, key: Key, on: Deps) -> impl Iterator<Item = WorkUnit> {
        Scope::OF_SERVICES
            .into_iter()
            .flat_map(move |scope| self.units.range(WorkUnit::all_of(scope, key)))
            .filter(move |(_, held)| held.deps.meets(on))
            .map(|(unit, _)| *unit)
    }

    /// The units that depend on what has changed.
    fn concerned(&self, index: &Index, dirt: &Dirt, dirty: &mut BTreeSet<WorkUnit>) {
        for key in dirt.named(index) {
            self.of_service(index, key, dirty);
        }
        if !dirt.governing.is_empty() {
            // Whether anybody misses Services that were not read depends on whether there are policies.
            dirty.extend(Scope::OF_SERVICES.map(|scope| WorkUnit::of(scope, About::List)));
        }
        for key in &dirt.slices {
            dirty.extend(self.depending(*key, Dirt::SLICES.with(Dirt::HISTORY)));
        }
        if self.any(&Scope::OF_SERVICES, Dirt::OWN_PODS) {
            let services = dirt.pods_in.iter().flat_map(|space| index.services_in.of(*space));
            dirty.extend(services.flat_map(|key| self.depending(key, Dirt::OWN_PODS)));
        }
        self.subjects(index, dirt, dirty);
        for scope in Scope::ALL {
            let is_service = Scope::OF_SERVICES.contains(&scope);
            let on = if is_service {
                dirt.deps
            } else {
                dirt.deps.with(dirt.history)
            };
            if self.any(&[scope], on) {
                let all = self.units.range(WorkUnit::all(scope));
                dirty.extend(all.filter(|one| one.1.deps.meets(on)).map(|one| *one.0));
            }
        }
        if !dirt.freshness.is_empty() {
            let blind = self
                .units
                .iter()
                .filter(|(unit, held)| dirt.blinds(held.gaps, unit.home()));
            dirty.extend(blind.map(|one| *one.0));
            dirty.extend(WorkUnit::lists());
        }
        let beyond = self.beyond.iter().filter(|unit| {
            let held = self.units.get(unit).and_then(|held| held.beyond.as_deref());
            held.is_some_and(|deps| dirt.touches(deps))
        });
        dirty.extend(beyond);
    }

    /// Whether any unit of these scopes depends on one of these.
    fn any(&self, scopes: &[Scope], on: Deps) -> bool {
        let counts = scopes.iter().filter_map(|scope| self.deps.get(*scope as usize));
        counts.into_iter().any(|counts| counts.meets(on))
    }

    /// Units of Nodes, zones and webhooks that came, went, or read their own subject that has changed.
    fn subjects(&self, index: &Index, dirt: &Dirt, dirty: &mut BTreeSet<WorkUnit>) {
        let node = |name: Name| Key {
            namespace: Name::EMPTY,
            name,
        };
        let has_node = |name: &Name| index.nodes.get(node(*name)).is_some();
        // A unit without anything to remember is not held: what came or went is in the sums.
        let (count, zones) = [Dep::NodeCount, Dep::NodeZones]
            .map(|dep| dirt.deps.meets(Deps::one(dep)))
            .into();
        let nodes = dirt.nodes.iter().map(|name| {
            let unit = WorkUnit::of(Scope::Node, About::Node(*name));
            (unit, count.then(|| has_node(name)), Dirt::OWN)
        });
        let evicted = dirt.evicted_from.iter().map(|name| {
            let unit = WorkUnit::of(Scope::Node, About::Node(*name));
            (unit, None, Dirt::OWN_HISTORY)
        });
        let zones = dirt.zones.iter().map(|name| {
            let unit = WorkUnit::of(Scope::Zone, About::Zone(*name));
            let exists = zones.then(|| index.sums.has_zone(*name));
            (unit, exists, Dirt::OWN.with(Dirt::OWN_HISTORY))
        });
        let webhooks = dirt.webhooks.iter().map(|key| {
            let unit = WorkUnit::of(Scope::Webhook, About::Webhook(*key));
            (unit, Some(index.webhooks.get(*key).is_some()), Dirt::OWN)
        });
        for (unit, exists, on) in nodes.chain(evicted).chain(zones).chain(webhooks) {
            let held = self.units.get(&unit);
            let came_or_went = exists.is_some_and(|exists| held.is_some() != exists);
            if came_or_went || held.is_some_and(|held| held.deps.meets(on)) {
                dirty.insert(unit);
            }
        }
    }

    /// Takes the units whose time has come: each is judged now, or waits to be.
    fn due(&mut self, now: Now, dirty: &mut BTreeSet<WorkUnit>) {
        while let Some(one) = self.again.first().copied().filter(|one| one.0 <= now.wall.0) {
            self.again.remove(&one);
            dirty.insert(one.1);
        }
        while let Some(one) = self.wakes.first().copied().filter(|one| one.0 <= now.mono) {
            self.wakes.remove(&one);
            dirty.insert(one.1);
        }
    }

    /// Judges one unit from nothing and replaces what was held of it.
    fn judge(&mut self, unit: WorkUnit, now: Now, (index, history): (&Index, &History), judged: &mut Judged) {
        let before = self.units.remove(&unit).unwrap_or_default();
        let mut after = Pass::new(now, index, history, &self.fleet, self.checks, unit, &before).judged();
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
        if after != Judgement::default() {
            self.units.insert(unit, after);
        }
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
        if let Some(counts) = self.deps.get_mut(unit.scope as usize) {
            counts.add(held.deps);
        }
    }

    /// Every verdict that people see, in no order.
    pub(crate) fn bad(&self) -> impl Iterator<Item = (&'static Check, Subject, &Reported)> {
        let judged = self.units.values();
        judged.flat_map(|one| reported(self.checks, one))
    }

    /// Those that the status of a policy shows; the empty key is the platform's.
    pub(crate) fn owned_by(&self, policy: Key) -> impl Iterator<Item = (&'static Check, Subject, &Reported)> {
        self.owned
            .range((policy, WorkUnit::FIRST)..=(policy, WorkUnit::LAST))
            .filter_map(|one| self.units.get(&one.1))
            .flat_map(|one| reported(self.checks, one))
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
            Pass::new(now, index, history, &self.fleet, self.checks, *unit, held).said()
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
        let pass = |unit| Pass::new(now, index, history, &self.fleet, self.checks, unit, &fresh);
        let mut dirty = BTreeSet::new();
        self.everything(index, &mut dirty);
        let all = dirty.into_iter().flat_map(|unit| pass(unit).said());
        let of_check = |at: usize| self.checks.get(at).is_some_and(|one| one.id == check);
        all.filter(|one| of_check(one.0)).map(|one| one.2).collect()
    }

    /// The earliest moment at which some window ends.
    pub(crate) fn woken(&self) -> Option<Mono> {
        self.wakes.first().map(|one| one.0)
    }

    /// The earliest second of wall time at which time alone may change a verdict.
    pub(crate) fn again(&self) -> Option<i64> {
        self.again.first().map(|one| one.0)
    }
}

/// What people see of a unit.
fn reported<'a>(
    checks: &'static [Check],
    held: &'a Judgement,
) -> impl Iterator<Item = (&'static Check, Subject, &'a Reported)> {
    held.bad
        .iter()
        .filter_map(|((subject, at), reported)| Some((checks.get(*at)?, *subject, reported)))
}

#[cfg(test)]
mod tests;
