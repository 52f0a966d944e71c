//! How much of each policy is judged, where policies declare more than [`ceiling`] allows.
//!
//! What a policy declares is counted as Services and policies change, so that what is judged depends on the rows alone and not
//! on the order in which they came: in the order of their names, policies take of their namespace's share what they may,
//! and each spends it on its Services in the order of their names.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dirt::{Dirt, MATCHED};
use super::unit::{About, WorkUnit};
use crate::index::Index;
use crate::judge::declared_ports;
use crate::names::{InUse, Key, Name, Names};
use crate::policy::Policy;
use crate::policy::ceiling::{self, Ceiling};
use crate::sources::service::Service;

/// How much of a policy is judged, where that is not all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Subjects that it declares.
    pub(crate) declared: u64,
    /// Subjects that are judged.
    pub(crate) judged: u64,
    /// The ceiling that it is above.
    pub(crate) by: Ceiling,
    /// The first Service that is not judged as a whole, and how many of its subjects are.
    ends: Option<(Arc<str>, u64)>,
}

impl Cut {
    /// How many paths to a Service are judged; `None` when nothing of it is.
    fn paths(&self, service: &str) -> Option<u64> {
        let (last, subjects) = self.ends.as_ref()?;
        match service.cmp(last) {
            Ordering::Less => Some(u64::MAX),
            Ordering::Equal => subjects.checked_sub(1),
            Ordering::Greater => None,
        }
    }
}

/// What policies declare, and what of it is judged.
#[derive(Debug)]
pub(crate) struct Shares {
    /// Subjects of each policy that has any.
    declared: BTreeMap<Key, u64>,
    /// The same by namespace: of each policy what it may have.
    namespaces: BTreeMap<Name, u64>,
    /// What a namespace may have.
    share: u64,
    /// The policies that are judged in part.
    cuts: BTreeMap<Key, Cut>,
    /// Namespaces that declare something else than when cuts were last made.
    changed: BTreeSet<Name>,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            declared: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            share: ceiling::OF_A_NAMESPACE,
            cuts: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }
}

/// The policies of a namespace.
fn all_in(namespace: Name) -> std::ops::RangeInclusive<Key> {
    let key = |name| Key { namespace, name };
    key(Name::EMPTY)..=key(Name::MAX)
}

/// A Service that a policy governs, and each path to it.
fn subjects(policy: &Policy, service: &Service, names: &Names) -> u64 {
    let paths = policy.connections.iter().map(|connection| {
        declared_ports(connection, service, names).count() * connection.clients.len().max(1)
    });
    1 + paths.sum::<usize>() as u64
}

impl Shares {
    /// A Service came, changed or went.
    pub(crate) fn service_changed(&mut self, index: &Index, key: Key, old: Option<&Service>) {
        for (row, came) in [(old, false), (index.services.get(key), true)] {
            let Some(row) = row else { continue };
            for (at, policy) in index.policies_of(key, row) {
                let subjects = subjects(policy, row, &index.names);
                let before = self.declared.get(&at).copied().unwrap_or_default();
                // A policy that has changed since it was counted is counted anew before it is judged.
                let after = if came {
                    before.saturating_add(subjects)
                } else {
                    before.saturating_sub(subjects)
                };
                self.declare(at, after);
            }
        }
    }

    /// Brings everything up to date; returns the policies of which something else is judged than before.
    pub(super) fn settle(&mut self, index: &Index, dirt: &Dirt) -> BTreeSet<Key> {
        let policies: Vec<Key> = dirt.policies.iter().copied().collect();
        for of_one in policies.chunk_by(|a, b| a.namespace == b.namespace) {
            self.count(index, of_one);
        }
        let fair = self.fair();
        let before = std::mem::replace(&mut self.share, fair);
        let mut namespaces = std::mem::take(&mut self.changed);
        if before != self.share {
            let least = before.min(self.share);
            let cut = self.namespaces.iter().filter(|one| *one.1 > least);
            namespaces.extend(cut.map(|one| *one.0));
        }
        let mut changed = BTreeSet::new();
        for namespace in namespaces {
            self.cut(index, namespace, &mut changed);
        }
        changed
    }

    /// Counts what these policies of one namespace declare.
    fn count(&mut self, index: &Index, policies: &[Key]) {
        let Some(namespace) = policies.first().map(|key| key.namespace) else {
            return;
        };
        let services = index.services_in.of(namespace);
        let services = services.filter_map(|key| Some((key, index.services.get(key)?)));
        if policies.len() > MATCHED {
            let mut declared = BTreeMap::new();
            for (key, row) in services {
                for (at, policy) in index.policies_of(key, row) {
                    *declared.entry(at).or_default() += subjects(policy, row, &index.names);
                }
            }
            let gone: Vec<Key> = self.declared.range(all_in(namespace)).map(|one| *one.0).collect();
            for key in gone.into_iter().filter(|key| !declared.contains_key(key)) {
                self.declare(key, 0);
            }
            for (key, subjects) in declared {
                self.declare(key, subjects);
            }
            return;
        }
        let services: Vec<(Key, &Service)> = services.collect();
        for at in policies {
            let policy = index.policies.get(*at);
            let declared = policy.map_or(0, |policy| {
                let governed = services.iter().filter(|one| index.governs(policy, one.0, one.1));
                governed.map(|one| subjects(policy, one.1, &index.names)).sum()
            });
            self.declare(*at, declared);
        }
    }

    fn declare(&mut self, policy: Key, subjects: u64) {
        let before = self.declared.insert(policy, subjects).unwrap_or_default();
        if subjects == 0 {
            self.declared.remove(&policy);
        }
        if before == subjects {
            return;
        }
        self.changed.insert(policy.namespace);
        let may = |subjects: u64| subjects.min(ceiling::OF_A_POLICY);
        let sum = self.namespaces.entry(policy.namespace).or_default();
        *sum = *sum + may(subjects) - may(before);
        if *sum == 0 {
            self.namespaces.remove(&policy.namespace);
        }
    }

    /// What each namespace may have.
    fn fair(&self) -> u64 {
        let wants = self
            .namespaces
            .values()
            .map(|sum| *sum.min(&ceiling::OF_A_NAMESPACE));
        if wants.clone().sum::<u64>() <= ceiling::OF_THE_CLUSTER {
            return ceiling::OF_A_NAMESPACE;
        }
        let share = ceiling::fair_share(ceiling::OF_THE_CLUSTER, wants);
        ceiling::in_steps(share).min(ceiling::OF_A_NAMESPACE)
    }

    /// Says how much of each policy of a namespace is judged, and which have changed in that.
    fn cut(&mut self, index: &Index, namespace: Name, changed: &mut BTreeSet<Key>) {
        let before: BTreeMap<Key, Cut> = {
            let keys: Vec<Key> = self.cuts.range(all_in(namespace)).map(|one| *one.0).collect();
            keys.into_iter()
                .filter_map(|key| Some((key, self.cuts.remove(&key)?)))
                .collect()
        };
        let sum = self.namespaces.get(&namespace).copied().unwrap_or_default();
        let declared = || self.declared.range(all_in(namespace));
        if sum > self.share || declared().any(|one| *one.1 > ceiling::OF_A_POLICY) {
            let mut policies: Vec<(&str, Key, u64)> = declared()
                .map(|(key, subjects)| (index.names.text(key.name), *key, *subjects))
                .collect();
            policies.sort_unstable();
            let mut left = self.share;
            for (_, key, declared) in policies {
                let may = declared.min(ceiling::OF_A_POLICY);
                let judged = may.min(left);
                left -= judged;
                if judged < declared {
                    let by = match judged < may {
                        false => Ceiling::Policy,
                        true if self.share < ceiling::OF_A_NAMESPACE => Ceiling::Cluster(self.share),
                        true => Ceiling::Namespace,
                    };
                    let ends = ends(index, key, judged);
                    let cut = Cut {
                        declared,
                        judged,
                        by,
                        ends,
                    };
                    self.cuts.insert(key, cut);
                }
            }
        }
        let both = before
            .keys()
            .chain(self.cuts.range(all_in(namespace)).map(|one| one.0));
        changed.extend(both.filter(|key| before.get(key) != self.cuts.get(key)));
    }

    /// How many paths a unit may judge; `None` when it may judge nothing.
    pub(super) fn paths(&self, index: &Index, unit: WorkUnit) -> Option<u64> {
        match (unit.about, self.cuts.get(&unit.policy)) {
            (About::Service(key), Some(cut)) => cut.paths(index.names.text(key.name)),
            _ => Some(u64::MAX),
        }
    }

    /// How much of a policy is judged, where that is not all of it.
    pub(crate) fn of(&self, policy: Key) -> Option<&Cut> {
        self.cuts.get(&policy)
    }

    /// The policies that are judged in part.
    pub(crate) fn cuts(&self) -> impl Iterator<Item = (Key, &Cut)> {
        self.cuts.iter().map(|(key, cut)| (*key, cut))
    }

    /// Notes the names that they hold.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.declared.keys());
        held.all(self.namespaces.keys());
        held.all(self.cuts.keys());
        held.note(&self.changed);
    }
}

/// Where so many subjects of a policy end.
fn ends(index: &Index, at: Key, judged: u64) -> Option<(Arc<str>, u64)> {
    if judged == 0 {
        return None;
    }
    let policy = index.policies.get(at)?;
    let mut services: Vec<(&str, Key, &Service)> = index
        .services_in
        .of(at.namespace)
        .filter_map(|key| Some((index.names.text(key.name), key, index.services.get(key)?)))
        .filter(|one| index.governs(policy, one.1, one.2))
        .collect();
    services.sort_unstable_by_key(|one| one.0);
    let mut left = judged;
    for (name, _, row) in services {
        let all = subjects(policy, row, &index.names);
        if all > left {
            return Some((name.into(), left));
        }
        left -= all;
    }
    None
}
