//! Judging what is dirty: which subjects exist, which must be judged again, and what is remembered of them.
//!
//! Of every unit it is remembered what its verdicts rest on, as the checks looked at it; a change re-judges the units
//! that looked at what has changed. A unit is small (a Service by one of its policies, or everything of the cluster's
//! own) and always judged as a whole. The property that a test keeps: any order of inputs, judged step by step, gives
//! the verdicts of judging from nothing.

mod dirt;
mod ledger;
mod pass;
mod queue;
mod shared;
mod unit;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use dirt::Dirt;
pub(crate) use ledger::Ledger;
use pass::Pass;
pub(crate) use pass::each_path;
use queue::Queue;
use shared::Shared;
pub(crate) use unit::Held;
use unit::{Scope, Site, Unit};

use crate::checks;
use crate::facts::Fleet;
use crate::history::History;
use crate::index::{Index, Part, Parts};
use crate::judge::{Check, Subject};
use crate::know::{Mono, Now};
use crate::names::Key;

/// What judging brought.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// Checks and subjects whose verdict changed.
    pub(crate) transitions: Vec<(usize, Subject)>,
    /// The policies that tell them; the empty key is the platform's.
    pub(crate) owners: BTreeSet<Key>,
}

/// Verdicts of all subjects.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) fleet: Fleet,
    units: BTreeMap<Site, Unit>,
    shared: Shared,
    /// The counted verdicts of all units, summed by policy.
    ledger: Ledger,
    /// Units that hold something to be told, by the policy that tells it.
    told_by: BTreeSet<(Key, Site)>,
    /// Units that rest on Services or Pods beyond their own.
    beyond: BTreeSet<Site>,
    /// What units of Services rest on, all of them together: most changes concern none.
    rests: Parts,
    /// When time alone may change a verdict: by wall time, and by monotonic time.
    again: BTreeSet<(i64, Site)>,
    wakes: BTreeSet<(Mono, Site)>,
    queue: Queue,
}

impl Engine {
    /// Judges what is dirty or due: about so many units, but at once whatever became blind or is no crowd's.
    pub(crate) fn round(
        &mut self,
        now: Now,
        index: &Index,
        history: &History,
        mut dirt: Dirt,
        most: usize,
    ) -> Judged {
        let whole = dirt.all || dirt.parts.meets(Parts::one(Part::FleetInputs));
        dirt.parts = dirt.parts.with(self.fleet.update(index, whole, &dirt.nodes));
        let mut dirty = BTreeSet::new();
        if dirt.all {
            self.everything(index, &mut dirty);
        } else {
            self.concerned(index, &dirt, &mut dirty);
            self.due(now, &mut dirty);
        }
        let most = if dirt.all { usize::MAX } else { most };
        let mut judged = Judged::default();
        for site in self.queue.next(dirty, most) {
            self.judge(site, now, (index, history), &mut judged);
        }
        judged
    }

    /// Whether units wait to be judged.
    pub(crate) fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }

    /// All units there are, may be, or are no more.
    fn everything(&mut self, index: &Index, dirty: &mut BTreeSet<Site>) {
        self.rests = Parts::NONE;
        dirty.extend(self.units.keys());
        dirty.extend(Scope::ALL.map(Site::whole));
        for (key, _) in index.services.iter() {
            self.of_service(index, key, dirty);
        }
    }

    /// The units of a Service: by those who govern it or did.
    fn of_service(&self, index: &Index, key: Key, dirty: &mut BTreeSet<Site>) {
        let service = index.services.get(key);
        let policies = service.map_or_else(Vec::new, |row| index.policies_of(key, row));
        // Without a policy the baseline judges a Service; what has no key says what is unknown.
        let alone = match service {
            Some(_) if policies.is_empty() => &[Scope::Service][..],
            None if key == Key::default() => &Scope::OF_SERVICES[..],
            _ => &[],
        };
        for scope in Scope::OF_SERVICES {
            let all = Site::all_of(scope, key);
            let first = *all.start();
            dirty.extend(alone.contains(&scope).then_some(first));
            dirty.extend(policies.iter().map(|(policy, _)| Site {
                policy: *policy,
                ..first
            }));
            dirty.extend(self.units.range(all).map(|one| *one.0));
        }
    }

    /// The units of a Service that rest on one of these.
    fn resting(&self, key: Key, on: Parts) -> impl Iterator<Item = Site> {
        Scope::OF_SERVICES
            .into_iter()
            .flat_map(move |scope| self.units.range(Site::all_of(scope, key)))
            .filter(move |(_, unit)| unit.parts.meets(on))
            .map(|(site, _)| *site)
    }

    /// The units that looked at what has changed.
    fn concerned(&self, index: &Index, dirt: &Dirt, dirty: &mut BTreeSet<Site>) {
        for key in dirt.named(index) {
            self.of_service(index, key, dirty);
        }
        for key in &dirt.slices {
            dirty.extend(self.resting(*key, Dirt::SLICES.with(Dirt::HISTORY)));
        }
        if self.rests.meets(Dirt::OWN_PODS) {
            let services = dirt.pods_in.iter().flat_map(|space| index.services_in.of(*space));
            dirty.extend(services.flat_map(|key| self.resting(key, Dirt::OWN_PODS)));
        }
        let cluster = dirt.parts.with(dirt.history);
        let rests = |site: &Site| self.units.get(site).is_some_and(|unit| unit.parts.meets(cluster));
        dirty.extend(Scope::ALL.map(Site::whole).iter().filter(|site| rests(site)));
        if self.rests.meets(dirt.parts) {
            let whole = self.units.iter().filter(|one| one.1.parts.meets(dirt.parts));
            dirty.extend(whole.map(|one| *one.0));
        }
        let beyond = self.beyond.iter().filter(|site| {
            let held = self.units.get(site).and_then(|unit| unit.beyond.as_deref());
            held.is_some_and(|rests| dirt.touches(rests))
        });
        dirty.extend(beyond);
    }

    /// Takes the units whose time has come: each is judged now, or waits to be.
    fn due(&mut self, now: Now, dirty: &mut BTreeSet<Site>) {
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
    fn judge(&mut self, site: Site, now: Now, (index, history): (&Index, &History), judged: &mut Judged) {
        let before = self.units.remove(&site).unwrap_or_default();
        let mut after = Pass::new(now, index, history, &self.fleet, site, &before).judged();
        for (_, held) in &mut after.bad {
            held.verdict = self.shared.one(held.verdict.clone());
        }
        let transitions = judged.transitions.len();
        judged
            .transitions
            .extend(after.turned(&before).map(|(subject, at)| (at, subject)));
        if judged.transitions.len() > transitions {
            judged.owners.extend(site.owner());
        }
        self.forget(site, &before);
        self.remember(site, &after);
        self.ledger.replace(site.policy, before.tally, after.tally);
        if after != Unit::default() {
            self.units.insert(site, after);
        }
    }

    fn forget(&mut self, site: Site, unit: &Unit) {
        if let Some(when) = unit.again {
            self.again.remove(&(when, site));
        }
        if let Some(when) = unit.wake {
            self.wakes.remove(&(when, site));
        }
        if let Some(owner) = site.owner().filter(|_| !unit.bad.is_empty()) {
            self.told_by.remove(&(owner, site));
        }
        if unit.beyond.is_some() {
            self.beyond.remove(&site);
        }
    }

    fn remember(&mut self, site: Site, unit: &Unit) {
        self.again.extend(unit.again.map(|when| (when, site)));
        self.wakes.extend(unit.wake.map(|when| (when, site)));
        let owner = site.owner().filter(|_| !unit.bad.is_empty());
        self.told_by.extend(owner.map(|owner| (owner, site)));
        if unit.beyond.is_some() {
            self.beyond.insert(site);
        }
        if site.service != Key::default() {
            self.rests = self.rests.with(unit.parts);
        }
    }

    /// Every verdict that people are told about, in no order.
    pub(crate) fn bad(&self) -> impl Iterator<Item = (&'static Check, Subject, &Held)> {
        self.units.values().flat_map(told)
    }

    /// Those that a policy tells; the empty key is the platform's.
    pub(crate) fn told_by(&self, policy: Key) -> impl Iterator<Item = (&'static Check, Subject, &Held)> {
        self.told_by
            .range((policy, Site::FIRST)..=(policy, Site::LAST))
            .filter_map(|one| self.units.get(&one.1))
            .flat_map(told)
    }

    /// The counted verdicts, by policy.
    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Takes the policies whose counts have changed since this was last asked.
    pub(crate) fn take_recounted(&mut self) -> BTreeSet<Key> {
        self.ledger.take_changed()
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

/// What is told of a unit.
fn told(unit: &Unit) -> impl Iterator<Item = (&'static Check, Subject, &Held)> {
    unit.bad
        .iter()
        .filter_map(|((subject, at), held)| Some((checks::ALL.get(*at)?, *subject, held)))
}

#[cfg(test)]
mod tests;
