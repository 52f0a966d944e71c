//! What is known of each policy object beyond its spec, and what its status should say.
//!
//! The desk holds little of each policy: identity, generation, what its status says as a number, and the times that
//! must go on. A status is built when it differs, and only then.

use std::collections::HashMap;
use std::sync::Arc;

use evenkeel_core::standing::Standing;
use jiff::Timestamp;
use serde::Deserialize;

use super::{Status, Times};
use crate::api::{ConditionStatus, PolicyRef};

/// One status to be written.
#[derive(Debug, Clone)]
pub struct Order {
    /// uid of the policy that it speaks of: a policy of the same name made later is another one.
    pub uid: Arc<str>,
    /// Generation of the policy that it speaks of.
    pub generation: i64,
    /// The status.
    pub status: Status,
    /// What the status told before.
    pub before: Times,
}

#[derive(Debug, Clone, Default)]
struct Held {
    uid: Arc<str>,
    generation: i64,
    /// What its status says, as last seen or last handed to the writer.
    fingerprint: u64,
    times: Times,
    /// What an order that is not yet answered will make its status say.
    ordered: Option<u64>,
    /// Whether the list that is being read has not named it (yet).
    unnamed: bool,
}

/// Every policy object.
#[derive(Debug, Default)]
pub struct Statuses {
    held: HashMap<PolicyRef, Held>,
}

/// The part of a policy object that the desk reads.
#[derive(Deserialize, Default)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    generation: i64,
}

impl Statuses {
    /// Takes a policy object as the API server sent it; returns which it is. A status that cannot be read is one that
    /// must be written again.
    pub fn saw(&mut self, json: &[u8]) -> Option<PolicyRef> {
        let object: Object = serde_json::from_slice(json)
            .or_else(|_| {
                #[derive(Deserialize)]
                struct Bare {
                    metadata: Metadata,
                }
                serde_json::from_slice(json).map(|bare: Bare| Object {
                    metadata: bare.metadata,
                    status: None,
                })
            })
            .ok()?;
        let metadata = object.metadata;
        if metadata.name.is_empty() {
            return None;
        }
        let target = PolicyRef {
            namespace: metadata.namespace.into(),
            name: metadata.name.into(),
        };
        let held = self.held.entry(target.clone()).or_default();
        if *held.uid != *metadata.uid {
            // Another policy of the same name: what was ordered for the old one is void.
            *held = Held::default();
        }
        held.unnamed = false;
        held.uid = metadata.uid.into();
        held.generation = metadata.generation;
        held.fingerprint = object.status.as_ref().map_or(0, Status::fingerprint);
        held.times = object.status.as_ref().map(Times::of).unwrap_or_default();
        Some(target)
    }

    /// A policy object is gone.
    pub fn gone(&mut self, target: &PolicyRef) {
        self.held.remove(target);
    }

    /// A list begins: of the cluster's policy, or of the teams'.
    pub fn begin(&mut self, cluster: bool) {
        for (target, held) in &mut self.held {
            held.unnamed |= target.is_cluster() == cluster;
        }
    }

    /// A list is complete: what it has not named is gone.
    pub fn synced(&mut self, cluster: bool) {
        self.held
            .retain(|target, held| target.is_cluster() != cluster || !held.unnamed);
    }

    /// What each condition says, as last told, for metrics: how many policies there are of each.
    pub fn conditions(&self) -> impl Iterator<Item = (&PolicyRef, &str, ConditionStatus)> {
        self.held.iter().flat_map(|(target, held)| {
            held.times
                .conditions()
                .map(move |(kind, status)| (target, kind, status))
        })
    }

    /// Every policy object that is known.
    pub fn targets(&self) -> impl Iterator<Item = &PolicyRef> {
        self.held.keys()
    }

    /// What to write so that the status says how the policy stands; `None` when it already does, or when the policy is
    /// not known (yet, or any more).
    pub fn order(&mut self, target: &PolicyRef, standing: &Standing, now: Timestamp) -> Option<Order> {
        let held = self.held.get_mut(target)?;
        let status = Status::of(standing, held.generation, target.is_cluster(), now, &held.times);
        let fingerprint = status.fingerprint();
        if fingerprint == held.ordered.unwrap_or(held.fingerprint) {
            return None;
        }
        held.ordered = Some(fingerprint);
        Some(Order {
            uid: held.uid.clone(),
            generation: held.generation,
            status,
            before: held.times.clone(),
        })
    }

    /// An order was answered. `told` is the status that is now in force; `None` when nothing was written and the next
    /// look decides anew.
    pub fn answered(&mut self, target: &PolicyRef, told: Option<&Status>) {
        let Some(held) = self.held.get_mut(target) else {
            return;
        };
        if let Some(status) = told {
            held.fingerprint = status.fingerprint();
            held.times = Times::of(status);
        }
        // A newer order may be waiting: then what was told is not what was ordered last.
        if held.ordered == Some(held.fingerprint) || told.is_none() {
            held.ordered = None;
        }
    }

    /// Forgets every order: they were void, somebody else writes now.
    pub fn forget_orders(&mut self) {
        for held in self.held.values_mut() {
            held.ordered = None;
        }
    }
}
