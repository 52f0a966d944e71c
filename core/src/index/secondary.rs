//! Lists and sums that are kept of rows, brought up to date with each row that has changed.

use std::sync::Arc;

use super::{Deps, Index};
use crate::names::Key;
use crate::policy::Policy;
use crate::sources::node::Node;
use crate::sources::slice::Slice;

impl Index {
    /// A Service came, changed or went.
    pub(crate) fn keep_service(&mut self, key: Key) {
        if self.services.get(key).is_some() {
            self.services_in.insert(key);
        } else {
            self.services_in.remove(key);
        }
    }

    /// A slice came, changed or went: the Services that it belonged to before, and belongs to now.
    pub(crate) fn keep_slice(&mut self, key: Key, old: Option<&Slice>) -> [Option<Key>; 2] {
        let of = |row: &Slice| Key {
            namespace: key.namespace,
            name: row.service,
        };
        let before = old.map(of);
        let now = self.slices.get(key).map(of);
        if let Some(service) = before
            && let Some(keys) = self.slices_of.get_mut(&service)
        {
            keys.remove(&key);
            if keys.is_empty() {
                self.slices_of.remove(&service);
            }
        }
        if let Some(service) = now {
            self.slices_of.entry(service).or_default().insert(key);
        }
        [before, now]
    }

    /// A Node came, changed or went: the sums that changed.
    pub(crate) fn keep_node(&mut self, key: Key, old: Option<&Node>) -> Deps {
        self.sums.exchange(&self.names, old, self.nodes.get(key))
    }

    /// A Pod came, changed or went: whether its namespace has Pods now and had none, or the other way round.
    pub(crate) fn keep_pod(&mut self, key: Key) -> bool {
        let had = self.pods_in.of(key.namespace).next().is_some();
        let new = self.pods.get(key);
        if new.is_some() {
            self.pods_in.insert(key);
        } else {
            self.pods_in.remove(key);
        }
        if new.is_some_and(|pod| !pod.template.containers.is_empty()) {
            self.components.insert(key);
        } else {
            self.components.remove(&key);
        }
        self.pods_in.of(key.namespace).next().is_some() != had
    }

    /// A policy came, changed or went.
    pub(crate) fn keep_policy(&mut self, key: Key, old: Option<&Arc<Policy>>) {
        if let Some(old) = old {
            self.picks.remove(key, old, &mut self.names);
        }
        if let Some(new) = self.policies.get(key) {
            self.picks.insert(key, new, &mut self.names);
            self.policies_in.insert(key);
        } else {
            self.policies_in.remove(key);
        }
    }
}
