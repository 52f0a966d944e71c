//! Judging what is dirty: which subjects exist, which must be judged again, and what is remembered of them.
//!
//! Of every unit it is remembered what its verdicts rest on, as the checks looked at it; a change re-judges the units
//! that looked at what has changed. A unit is small (a Service, or everything of the cluster's own) and always judged
//! as a whole. The property that a test keeps: any order of inputs, judged step by step, gives the verdicts of judging
//! from nothing.

mod dirt;
mod ledger;
mod pass;
mod shared;
mod wakes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub(crate) use dirt::Dirt;
pub(crate) use ledger::{Ledger, Tallies};
use pass::Pass;
pub(crate) use pass::each_path;
use shared::Shared;
use wakes::Wakes;

use crate::checks;
use crate::facts::Fleet;
use crate::history::History;
use crate::index::{Index, Part, Parts};
use crate::judge::{Check, Judge, Rests, Subject, Verdict};
use crate::know::{Mono, Now, Wall};
use crate::names::{Key, Name};

/// A verdict that people are told about, and since when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// The verdict: `AtRisk`, Violated or Unknown.
    pub verdict: Arc<Verdict>,
    /// Since when.
    pub since: Wall,
}

/// The groups of subjects that are judged together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Scope {
    Path,
    Service,
    Node,
    Zone,
    Webhook,
    Cluster,
}

const SCOPES: [Scope; 6] = [
    Scope::Path,
    Scope::Service,
    Scope::Node,
    Scope::Zone,
    Scope::Webhook,
    Scope::Cluster,
];

const fn scope_of(check: &Check) -> Scope {
    match check.judge {
        Judge::Path(_) => Scope::Path,
        Judge::Service(_) => Scope::Service,
        Judge::Node(_) => Scope::Node,
        Judge::Zone(_) => Scope::Zone,
        Judge::Webhook(_) => Scope::Webhook,
        Judge::Cluster(_) => Scope::Cluster,
    }
}

impl Scope {
    /// Whether its units are Services.
    const fn is_of_services(self) -> bool {
        matches!(self, Self::Path | Self::Service)
    }

    /// The unit that a subject belongs to.
    const fn unit_of(self, subject: Subject) -> Key {
        match subject {
            Subject::Connection { service, .. } | Subject::Service { service, .. }
                if self.is_of_services() =>
            {
                service
            }
            _ => Key {
                namespace: Name::EMPTY,
                name: Name::EMPTY,
            },
        }
    }
}

/// What is remembered of a unit, its bad verdicts aside.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    /// The counted verdicts, by policy; the empty key is no policy.
    tallies: Tallies,
    /// How many bad verdicts and wishes for another look are held of it.
    held: u32,
    parts: Parts,
    /// What it rests on beyond itself and its own namespace; few do.
    beyond: Option<Box<Rests>>,
}

/// Verdicts of all subjects.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) fleet: Fleet,
    bad: BTreeMap<(Subject, usize), Held>,
    shared: Shared,
    units: HashMap<(Scope, Key), Unit>,
    /// The counted verdicts of all units, summed by policy.
    ledger: Ledger,
    /// Units that rest on Services or Pods beyond their own.
    beyond: BTreeSet<(Scope, Key)>,
    /// What units of Services rest on, all of them together: most changes concern none.
    rests: Parts,
    again: BTreeMap<(Subject, usize), i64>,
    /// The same by time, so that a round finds what is due without going through all.
    due: BTreeSet<(i64, Subject, usize)>,
    wakes: Wakes,
}

impl Engine {
    /// Judges what is dirty or due, and returns the subjects whose verdict changed.
    pub(crate) fn round(
        &mut self,
        now: Now,
        index: &Index,
        history: &History,
        mut dirt: Dirt,
    ) -> Vec<(usize, Subject)> {
        let whole = dirt.all || dirt.parts.meets(Parts::one(Part::FleetInputs));
        dirt.parts = dirt.parts.with(self.fleet.update(index, whole, &dirt.nodes));
        let mut dirty = BTreeSet::new();
        if dirt.all {
            self.everything(index, &dirt, &mut dirty);
        } else {
            self.concerned(index, &dirt, &mut dirty);
            let due = self.due.iter().take_while(|(when, ..)| *when <= now.wall.0);
            let due = due.map(|(_, subject, at)| (*subject, *at));
            dirty.extend(due.chain(self.wakes.due(now.mono)).filter_map(|(subject, at)| {
                let scope = scope_of(checks::ALL.get(at)?);
                Some((scope, scope.unit_of(subject)))
            }));
        }
        let mut changed = Vec::new();
        for (scope, key) in dirty {
            self.judge_unit(scope, key, now, (index, history), &mut changed);
        }
        changed
    }

    /// All units there are, and those that are no more.
    fn everything(&mut self, index: &Index, dirt: &Dirt, dirty: &mut BTreeSet<(Scope, Key)>) {
        self.rests = Parts::NONE;
        dirty.extend(self.units.keys().copied());
        dirty.extend(SCOPES.map(|scope| (scope, Key::default())));
        let services = index.services.iter().map(|(key, _)| key);
        for key in services.chain(dirt.services.iter().copied()) {
            dirty.extend([(Scope::Path, key), (Scope::Service, key)]);
        }
    }

    /// The units that looked at what has changed.
    fn concerned(&self, index: &Index, dirt: &Dirt, dirty: &mut BTreeSet<(Scope, Key)>) {
        for key in dirt.named(index) {
            dirty.extend([(Scope::Path, key), (Scope::Service, key)]);
        }
        let rests =
            |unit: &(Scope, Key), on: Parts| self.units.get(unit).is_some_and(|held| held.parts.meets(on));
        let of_services = |key: Key| [(Scope::Path, key), (Scope::Service, key)];
        let slices = dirt.slices.iter().flat_map(|key| of_services(*key));
        dirty.extend(slices.filter(|unit| rests(unit, Dirt::SLICES.with(Dirt::HISTORY))));
        if self.rests.meets(Dirt::OWN_PODS) {
            let services = dirt.pods_in.iter().flat_map(|space| index.services_in.of(*space));
            dirty.extend(
                services
                    .flat_map(of_services)
                    .filter(|unit| rests(unit, Dirt::OWN_PODS)),
            );
        }
        let cluster = dirt.parts.with(dirt.history);
        let whole = |unit: &(Scope, Key)| rests(unit, dirt.parts);
        dirty.extend(
            SCOPES
                .map(|scope| (scope, Key::default()))
                .into_iter()
                .filter(|unit| rests(unit, cluster)),
        );
        if self.rests.meets(dirt.parts) {
            dirty.extend(self.units.keys().copied().filter(whole));
        }
        let beyond = self.beyond.iter().copied().filter(|unit| {
            let held = self.units.get(unit).and_then(|unit| unit.beyond.as_deref());
            held.is_some_and(|rests| dirt.touches(rests))
        });
        dirty.extend(beyond);
    }

    /// Judges one unit from nothing and replaces what was held of it.
    fn judge_unit(
        &mut self,
        scope: Scope,
        key: Key,
        now: Now,
        (index, history): (&Index, &History),
        changed: &mut Vec<(usize, Subject)>,
    ) {
        let old = self.take(scope, key);
        let mut pass = Pass {
            now,
            index,
            history,
            fleet: &self.fleet,
            own: key,
            old,
            bad: BTreeMap::new(),
            again: BTreeMap::new(),
            wakes: BTreeMap::new(),
            tallies: Tallies::new(),
            rests: Rests::default(),
        };
        pass.unit(scope);
        let Pass {
            old,
            bad,
            again,
            wakes,
            tallies,
            rests,
            ..
        } = pass;
        changed.extend(
            bad.iter()
                .filter(|(at, held)| old.get(at).is_none_or(|before| before.verdict != held.verdict))
                .map(|(at, _)| (at.1, at.0)),
        );
        changed.extend(
            old.keys()
                .filter(|at| !bad.contains_key(at))
                .map(|at| (at.1, at.0)),
        );
        let parts = rests.parts;
        let unit = Unit {
            tallies,
            held: u32::try_from(bad.len() + again.len() + wakes.len()).unwrap_or(u32::MAX),
            parts,
            beyond: (!rests.services.is_empty() || !rests.pods_in.is_empty()).then(|| Box::new(rests)),
        };
        self.bad.extend(bad.into_iter().map(|(at, mut held)| {
            held.verdict = self.shared.one(held.verdict);
            (at, held)
        }));
        self.due
            .extend(again.iter().map(|(at, when)| (*when, at.0, at.1)));
        self.again.extend(again);
        self.wakes.extend(wakes);
        self.remember(scope, key, unit);
    }

    fn remember(&mut self, scope: Scope, key: Key, unit: Unit) {
        if unit.beyond.is_some() {
            self.beyond.insert((scope, key));
        } else {
            self.beyond.remove(&(scope, key));
        }
        if key != Key::default() {
            self.rests = self.rests.with(unit.parts);
        }
        let before = self.units.remove(&(scope, key)).unwrap_or_default();
        self.ledger.replace(&before.tallies, &unit.tallies);
        if unit != Unit::default() {
            self.units.insert((scope, key), unit);
        }
    }

    /// Removes what is held of a unit.
    fn take(&mut self, scope: Scope, key: Key) -> BTreeMap<(Subject, usize), Held> {
        if self.units.get(&(scope, key)).is_none_or(|unit| unit.held == 0) {
            return BTreeMap::new();
        }
        let (from, to) = bounds(scope, key);
        let inside = |at: &(Subject, usize)| {
            checks::ALL
                .get(at.1)
                .is_some_and(|check| scope_of(check) == scope)
        };
        let keys: Vec<_> = self
            .bad
            .range((from, 0)..=(to, usize::MAX))
            .map(|(at, _)| *at)
            .filter(inside)
            .collect();
        let due: Vec<_> = self
            .again
            .range((from, 0)..=(to, usize::MAX))
            .map(|(at, _)| *at)
            .filter(inside)
            .collect();
        for at in due {
            if let Some(when) = self.again.remove(&at) {
                self.due.remove(&(when, at.0, at.1));
            }
        }
        self.wakes.forget(from, to, inside);
        keys.into_iter()
            .filter_map(|at| Some((at, self.bad.remove(&at)?)))
            .collect()
    }

    /// Every verdict that people are told about.
    pub(crate) fn bad(&self) -> impl Iterator<Item = (&'static Check, Subject, &Held)> {
        self.bad
            .iter()
            .filter_map(|((subject, at), held)| Some((checks::ALL.get(*at)?, *subject, held)))
    }

    /// What is held of one subject and check.
    pub(crate) fn held(&self, at: (Subject, usize)) -> Option<&Held> {
        self.bad.get(&at)
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
        self.wakes.first()
    }

    /// The earliest second of wall time at which time alone may change a verdict.
    pub(crate) fn again(&self) -> Option<i64> {
        self.due.first().map(|one| one.0)
    }
}

/// The first and last subject of a unit.
fn bounds(scope: Scope, key: Key) -> (Subject, Subject) {
    let last = Name::MAX;
    let end = Key {
        namespace: last,
        name: last,
    };
    match scope {
        // The unit without a key holds what is said when Services were not read: subjects of the cluster.
        Scope::Path | Scope::Service if key == Key::default() => (Subject::Cluster, Subject::Cluster),
        Scope::Path => (
            Subject::Connection {
                service: key,
                port: 0,
                policy: Key::default(),
                connection: Name::EMPTY,
                client: Name::EMPTY,
            },
            Subject::Connection {
                service: key,
                port: u16::MAX,
                policy: end,
                connection: last,
                client: last,
            },
        ),
        Scope::Service => (
            Subject::Service {
                service: key,
                policy: None,
            },
            Subject::Service {
                service: key,
                policy: Some(end),
            },
        ),
        Scope::Node => (Subject::Node(Name::EMPTY), Subject::Cluster),
        Scope::Zone => (Subject::Zone(Name::EMPTY), Subject::Cluster),
        Scope::Webhook => (Subject::Webhook(Key::default()), Subject::Cluster),
        Scope::Cluster => (Subject::Cluster, Subject::Cluster),
    }
}

#[cfg(test)]
mod tests;
