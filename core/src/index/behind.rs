//! The Pods behind a Service: those that its EndpointSlices point to, by name.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Index;
use crate::names::{Key, Name};
use crate::sources::pod_hash;

impl Index {
    /// Names of the Pods of a namespace that were read and have not ended, by the hashes that endpoints may have of them:
    /// of the uid, or of the name where a slice was written without it.
    pub(crate) fn pods_by_hash(&self, namespace: Name) -> HashMap<u32, Name> {
        let mut names = HashMap::new();
        for key in self.pods_in.of(namespace) {
            if let Some(pod) = self.pods.get(key).filter(|pod| !pod.ended) {
                names.insert(pod.uid, key.name);
                names
                    .entry(pod_hash("", self.names.text(key.name)))
                    .or_insert(key.name);
            }
        }
        names
    }

    /// Names of the Pods behind a Service: of its own namespace, and read as Pods.
    pub fn pods_behind(&self, namespace: &str, service: &str) -> BTreeSet<Arc<str>> {
        let (Some(namespace), Some(name)) = (self.names.find(namespace), self.names.find(service)) else {
            return BTreeSet::new();
        };
        let behind = self.backend_pods(Key { namespace, name });
        behind.into_iter().map(|pod| self.names.shared(pod)).collect()
    }

    /// The same as names.
    pub(crate) fn backend_pods(&self, service: Key) -> BTreeSet<Name> {
        let names = self.pods_by_hash(service.namespace);
        let slices = self.slices_of.get(&service).into_iter().flatten();
        let slices = slices.filter_map(|slice| self.slices.get(*slice));
        let endpoints = slices.flat_map(|slice| slice.endpoints.iter());
        endpoints.filter_map(|one| names.get(&one.pod).copied()).collect()
    }
}
