//! Mistakes in policies that no schema can know: names of what does not exist, which judge nothing and look like health, and
//! what cannot all be true.

mod absent;
mod contradictions;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::findings::{Note, Remark};
use crate::index::Freshness;
use crate::know::{Gap, Source};
use crate::names::Key;
use crate::policy::Policy;
use crate::program::Core;

impl Core {
    /// Every namespace that exists, as far as one can be seen by itself or by an object in it; `None` where not all of
    /// them can, because their list was refused.
    pub fn namespaces(&self) -> Option<BTreeSet<&str>> {
        let index = &self.index;
        if !matches!(
            index.freshness(Source::Namespaces),
            Freshness::Complete | Freshness::Missing
        ) {
            return None;
        }
        let own = index.namespaces.iter().map(|one| one.0.name);
        let keys = index.services.iter().map(|one| one.0);
        let keys = keys.chain(index.slices.iter().map(|one| one.0));
        let keys = keys.chain(index.pods.iter().map(|one| one.0));
        let keys = keys.chain(index.config_maps.iter().map(|one| one.0));
        let keys = keys.chain(index.daemon_sets.iter().map(|one| one.0));
        let keys = keys.chain(index.policies.iter().map(|one| one.0));
        let keys = keys.chain(index.opaque.keys().filter_map(|(source, key)| {
            let is_named = *source != Source::Webhooks && !key.namespace.is_empty();
            is_named.then_some(*key)
        }));
        let all = own.chain(keys.map(|key| key.namespace));
        let all = all.chain(index.crowds.namespaces());
        Some(all.map(|name| index.names.text(name)).collect())
    }

    /// Why the Services or the policies of a namespace cannot be seen, if they cannot.
    pub fn unseen(&self, namespace: &str) -> Option<Gap> {
        let index = &self.index;
        let gap = |source| match index.names.find(namespace) {
            Some(name) => index.gap_in(source, name),
            None => index.unread(source),
        };
        gap(Source::Policies).or_else(|| gap(Source::Services))
    }

    /// Why it is not known whether a Service is there, if it is not known.
    pub fn unseen_service(&self, namespace: &str, service: &str) -> Option<Gap> {
        let names = &self.index.names;
        let own = || {
            let key = Key {
                namespace: names.find(namespace)?,
                name: names.find(service)?,
            };
            self.index.gap_at(Source::Services, key)
        };
        self.unseen(namespace).or_else(own)
    }

    /// The names of the Services of a namespace that were understood, sorted.
    pub fn services_of(&self, namespace: &str) -> Vec<&str> {
        let index = &self.index;
        let keys = index.names.find(namespace).map(|name| index.services_in.of(name));
        let mut names: Vec<_> = keys
            .into_iter()
            .flatten()
            .map(|key| index.names.text(key.name))
            .collect();
        names.sort_unstable();
        names
    }

    /// The names of the policies of a namespace, those that could not be understood included, sorted.
    pub fn policy_names(&self, namespace: &str) -> BTreeSet<&str> {
        let index = &self.index;
        let Some(space) = index.names.find(namespace) else {
            return BTreeSet::new();
        };
        let refused = index
            .opaque
            .keys()
            .filter(|(source, key)| *source == Source::Policies && key.namespace == space);
        let all = index.policies_in.of(space).chain(refused.map(|one| one.1));
        all.map(|key| index.names.text(key.name)).collect()
    }

    /// What the policies name and what does not exist, and what contradicts itself, sorted: of the namespaces that are
    /// asked for. Nothing is reported of a namespace of which Services were not read.
    pub fn unmatched(&self, asked: &dyn Fn(&str) -> bool) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut namespaces = BTreeSet::new();
        let names = &self.index.names;
        let policies = self.index.policies.iter();
        for (key, policy) in policies.filter(|one| asked(names.text(one.0.namespace))) {
            let mut found = Vec::new();
            contradictions::impossible(policy, &mut found);
            self.without_effect(policy, &mut found);
            if self.index.gap_in(Source::Services, key.namespace).is_none() {
                self.absent(key, policy, &mut found);
                self.unread(key, policy, &mut found);
                self.without_pods(key, policy, &mut found);
                namespaces.insert(key.namespace);
            }
            let shown = self.index.show(key);
            notes.extend(found.into_iter().map(|remark| Note::OfPolicy {
                policy: shown.clone(),
                remark,
            }));
        }
        for namespace in namespaces {
            self.contradictions(namespace, &mut notes);
        }
        notes.sort();
        notes
    }

    /// What the status of a policy says of its mistakes, sorted. Of clients that select no Pod it says nothing: between two runs
    /// of a batch job that is as it should be, and an audit says it.
    pub(crate) fn mistakes(&self, key: Key, policy: &Policy) -> Mistakes {
        let (mut impossible, mut absent) = (Vec::new(), Vec::new());
        contradictions::impossible(policy, &mut impossible);
        let said = |all: Vec<Remark>| all.iter().map(Remark::of_itself).collect();
        let mut mistakes = Mistakes {
            conflicts: said(impossible),
            absent: Vec::new(),
        };
        if self.index.gap_in(Source::Services, key.namespace).is_none() {
            self.contradicted(key, policy, &mut mistakes.conflicts);
            self.absent(key, policy, &mut absent);
            mistakes.absent = said(absent);
        }
        mistakes.conflicts.sort();
        mistakes.absent.sort();
        mistakes
    }

    fn without_effect(&self, policy: &Policy, found: &mut Vec<Remark>) {
        found.extend(crate::findings::without_effect(self.engine.checks(), policy).map(|check| {
            Remark::whole(format!(
                "has an exception for {check}, which does not judge its Services: it has no effect; the platform's policy \
                 can have one (spec.exceptions)"
            ))
        }));
    }
}

/// What is wrong with one policy, as text.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    /// What cannot be true together.
    pub(crate) conflicts: Vec<String>,
    /// What does not exist.
    pub(crate) absent: Vec<String>,
}
