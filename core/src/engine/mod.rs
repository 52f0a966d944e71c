//! Judging what is dirty: which subjects exist, which must be judged again, and what is remembered of them.
//!
//! Dirtying is coarse on purpose. A slice or Service dirties its Service; a policy dirties the Services of its
//! namespace; anything else re-judges every scope that reads it. The property that a test keeps: any order of
//! inputs, judged step by step, gives the verdicts of judging from nothing.

mod ledger;
mod pass;
mod wakes;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use ledger::Tally;
pub(crate) use ledger::{Ledger, Tallies};
use pass::Pass;
pub(crate) use pass::each_path;
use wakes::Wakes;

use crate::checks;
use crate::facts::Fleet;
use crate::history::History;
use crate::index::Index;
use crate::judge::{Check, Judge, Subject, Verdict};
use crate::know::{Mono, Now, Reads, Source, Wall};
use crate::names::{Key, Name};
use crate::sources::service::Service;

/// Sources that the effective data plane is derived from.
const PROFILE_INPUTS: Reads = Reads::of(&[
    Source::Nodes,
    Source::Pods,
    Source::DaemonSets,
    Source::ConfigMaps,
    Source::CiliumNodeConfigs,
    Source::Configz,
]);

/// Sources whose changes name the Services they concern.
const LOCAL: Reads = Reads::of(&[Source::Services, Source::EndpointSlices, Source::Policies]);

/// A verdict that people are told about, and since when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// The verdict: `AtRisk`, Violated or Unknown.
    pub verdict: Verdict,
    /// Since when.
    pub since: Wall,
}

/// What has changed since the last round.
#[derive(Debug, Default)]
pub(crate) struct Dirt {
    pub(crate) services: BTreeSet<Key>,
    pub(crate) sources: Reads,
    /// Teams' policies that came, went or were refused.
    pub(crate) policies: BTreeSet<Key>,
    /// What was seen to change, as far as it concerns more than one Service.
    pub(crate) history: bool,
    /// Everything: the first round.
    pub(crate) all: bool,
}

/// The groups of subjects that are judged together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// Verdicts of all subjects.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) fleet: Fleet,
    bad: BTreeMap<(Subject, usize), Held>,
    /// The counted verdicts of a unit, by policy; the empty key is no policy.
    tallies: HashMap<(Scope, Key), Tallies>,
    /// The same summed by policy.
    ledger: Ledger,
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
        dirt: &Dirt,
    ) -> Vec<(usize, Subject)> {
        let fresh_fleet = dirt.all || dirt.sources.meets(PROFILE_INPUTS);
        let fleet_changed = fresh_fleet && {
            let fleet = Fleet::derive(index);
            let changed = fleet != self.fleet;
            self.fleet = fleet;
            changed
        };
        let mut changed = Vec::new();
        for scope in SCOPES {
            let whole = dirt.all || self.must_judge(scope, dirt, fleet_changed, now);
            let mut keys = self.units(scope, whole, index, dirt);
            if matches!(scope, Scope::Path | Scope::Service) && !whole {
                keys.extend(
                    self.woken_services(now.mono)
                        .filter(|key| !dirt.services.contains(key)),
                );
            }
            for key in keys {
                self.judge_unit(scope, key, now, (index, history), &mut changed);
            }
        }
        changed
    }

    /// Whether a whole scope must be judged again.
    fn must_judge(&self, scope: Scope, dirt: &Dirt, fleet_changed: bool, now: Now) -> bool {
        let local = match scope {
            Scope::Path | Scope::Service => LOCAL,
            _ => Reads::NONE,
        };
        checks::ALL
            .iter()
            .enumerate()
            .filter(|(_, check)| scope_of(check) == scope)
            .any(|(at, check)| {
                check.reads().minus(local).meets(dirt.sources)
                    || (check.profiles && fleet_changed)
                    || (local.is_empty() && check.history.is_used() && dirt.history)
                    || (local.is_empty() && self.wakes.due(now.mono).any(|(_, check)| check == at))
                    || self
                        .due
                        .iter()
                        .take_while(|(when, ..)| *when <= now.wall.0)
                        .any(|(.., check)| *check == at)
            })
    }

    /// The units of a scope that must be judged: Services by key, everything else as one.
    fn units(&self, scope: Scope, whole: bool, index: &Index, dirt: &Dirt) -> Vec<Key> {
        match scope {
            Scope::Path | Scope::Service if whole => {
                let mut keys: BTreeSet<Key> = index.services.iter().map(|(key, _)| key).collect();
                keys.extend(
                    self.tallies
                        .keys()
                        .filter(|unit| unit.0 == scope)
                        .map(|unit| unit.1),
                );
                // A Service that is gone may have left nothing but bad verdicts, which no tally names.
                keys.extend(dirt.services.iter().copied());
                keys.insert(Key::default());
                keys.into_iter().collect()
            }
            Scope::Path | Scope::Service => dirt.services.iter().copied().collect(),
            _ if whole => vec![Key::default()],
            _ => Vec::new(),
        }
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
            old,
            bad: BTreeMap::new(),
            again: BTreeMap::new(),
            wakes: BTreeMap::new(),
            tallies: Tallies::new(),
        };
        pass.unit(scope, key, &self.fleet);
        let Pass {
            old,
            bad,
            again,
            wakes,
            tallies,
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
        self.bad.extend(bad);
        self.due
            .extend(again.iter().map(|(at, when)| (*when, at.0, at.1)));
        self.again.extend(again);
        self.wakes.extend(wakes);
        let before = if tallies.is_empty() {
            self.tallies.remove(&(scope, key))
        } else {
            self.tallies.insert((scope, key), tallies.clone())
        };
        self.ledger.replace(&before.unwrap_or_default(), &tallies);
    }

    /// Removes what is held of a unit.
    fn take(&mut self, scope: Scope, key: Key) -> BTreeMap<(Subject, usize), Held> {
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

    /// Services of which some window has ended.
    fn woken_services(&self, now: Mono) -> impl Iterator<Item = Key> {
        let services: BTreeSet<Key> = self
            .wakes
            .due(now)
            .filter_map(|(subject, _)| match subject {
                Subject::Connection { service, .. } | Subject::Service { service, .. } => Some(service),
                _ => None,
            })
            .collect();
        services.into_iter()
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

/// Whether a Service has any data plane: neither a DNS alias nor headless.
pub fn has_data_plane(service: &Service) -> bool {
    service.kind != crate::sources::service::ServiceType::ExternalName && !service.headless
}
