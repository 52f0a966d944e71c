//! Names by namespace: so that what concerns one namespace does not go through the whole cluster.

use std::collections::{BTreeSet, HashMap};

use crate::names::{InUse, Key, Name};

/// The keys of a table by namespace.
#[derive(Debug, Default)]
pub struct KeysByNamespace(HashMap<Name, BTreeSet<Name>>);

impl KeysByNamespace {
    /// Adds a key.
    pub(crate) fn insert(&mut self, key: Key) {
        self.0.entry(key.namespace).or_default().insert(key.name);
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, key: Key) {
        if let Some(names) = self.0.get_mut(&key.namespace) {
            names.remove(&key.name);
            if names.is_empty() {
                self.0.remove(&key.namespace);
            }
        }
    }

    /// Notes the names that it holds.
    pub(crate) fn hold(&self, held: &mut InUse) {
        held.all(&self.0);
    }

    /// The keys of a namespace, in no order that means anything.
    pub fn of(&self, namespace: Name) -> impl Iterator<Item = Key> + '_ {
        let names = self.0.get(&namespace).into_iter().flatten();
        names.map(move |name| Key {
            namespace,
            name: *name,
        })
    }
}
