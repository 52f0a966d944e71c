//! Which policies may govern a Service, without asking all of its namespace.
//!
//! A policy is filed under one thing that each of its Services must have: a name, a label, or at least the key of a
//! label. Only a policy whose selector names nothing of the kind is asked for every Service.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::names::{InUse, Key, Name, Names};
use crate::policy::{Operator, Policy, ServicePick};
use crate::sources::service::Service;

/// What a Service must have for a policy to govern it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Anchor {
    Name(Name),
    Label(Name, Name),
    LabelKey(Name),
    Nothing,
}

/// Policies by what their Services must have.
#[derive(Debug, Default)]
pub struct PolicyIndex(HashMap<(Name, Anchor), BTreeSet<Name>>);

/// Under what a policy is filed. Of a selector one line is enough, as every line must hold.
fn anchors(policy: &Policy, names: &mut Names) -> Vec<Anchor> {
    let selector = match &policy.services {
        ServicePick::Names(list) => return list.iter().map(|one| Anchor::Name(names.intern(one))).collect(),
        ServicePick::Selector(selector) => selector,
    };
    if let Some((key, value)) = selector.labels.first() {
        return vec![Anchor::Label(names.intern(key), names.intern(value))];
    }
    let lines = &selector.expressions;
    if let Some(line) = lines.iter().find(|line| line.operator == Operator::In) {
        let key = names.intern(&line.key);
        let values: BTreeSet<&Arc<str>> = line.values.iter().collect();
        return values
            .into_iter()
            .map(|value| Anchor::Label(key, names.intern(value)))
            .collect();
    }
    match lines.iter().find(|line| line.operator == Operator::Exists) {
        Some(line) => vec![Anchor::LabelKey(names.intern(&line.key))],
        None => vec![Anchor::Nothing],
    }
}

impl PolicyIndex {
    /// Notes the names that it holds.
    pub(crate) fn hold(&self, held: &mut InUse) {
        held.all(&self.0);
    }

    /// Files a policy.
    pub(crate) fn insert(&mut self, key: Key, policy: &Policy, names: &mut Names) {
        for anchor in anchors(policy, names) {
            let at = (key.namespace, anchor);
            self.0.entry(at).or_default().insert(key.name);
        }
    }

    /// Takes a policy out.
    pub(crate) fn remove(&mut self, key: Key, policy: &Policy, names: &mut Names) {
        for anchor in anchors(policy, names) {
            let at = (key.namespace, anchor);
            if let Some(held) = self.0.get_mut(&at) {
                held.remove(&key.name);
                if held.is_empty() {
                    self.0.remove(&at);
                }
            }
        }
    }

    /// The policies that may govern a Service, each once, in no order that means anything.
    pub(crate) fn candidates(&self, key: Key, service: &Service) -> BTreeSet<Key> {
        self.may_govern(key, service).collect()
    }

    /// The same, one by one; one that lists a thing twice comes twice.
    pub(crate) fn may_govern(&self, key: Key, service: &Service) -> impl Iterator<Item = Key> {
        let labels = service
            .labels
            .iter()
            .flat_map(|(label, value)| [Anchor::Label(label, value), Anchor::LabelKey(label)]);
        [Anchor::Name(key.name), Anchor::Nothing]
            .into_iter()
            .chain(labels)
            .filter_map(move |anchor| self.0.get(&(key.namespace, anchor)))
            .flatten()
            .map(move |name| Key {
                namespace: key.namespace,
                name: *name,
            })
    }
}
