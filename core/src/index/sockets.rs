//! Where a Service's ready backends listen.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Index;
use crate::names::Key;

impl Index {
    /// Each Node with the addresses of its own.
    pub fn node_addresses(&self) -> impl Iterator<Item = (Arc<str>, &[IpAddr])> {
        let nodes = self.nodes.iter();
        nodes.map(|(key, node)| (self.names.shared(key.name), &*node.addresses))
    }

    /// Address and port of every ready endpoint of a Service's port, by the port's name or number, sorted. Empty when
    /// there is no such Service or port, or when no endpoint is ready.
    pub fn ready_sockets(&self, namespace: &str, service: &str, port: &str) -> Vec<SocketAddr> {
        let (Some(namespace), Some(name)) = (self.names.find(namespace), self.names.find(service)) else {
            return Vec::new();
        };
        let key = Key { namespace, name };
        let Some(service) = self.services.get(key) else {
            return Vec::new();
        };
        let number = port.parse::<u16>().ok();
        // An EndpointSlice has the names of the Service's ports, and the numbers of the Pods' own.
        let Some(named) = service
            .ports
            .iter()
            .find(|one| number == Some(one.port) || (number.is_none() && self.names.text(one.name) == port))
            .map(|one| one.name)
        else {
            return Vec::new();
        };
        let mut sockets = BTreeSet::new();
        for slice in self.slices_of.get(&key).into_iter().flatten() {
            let Some(slice) = self.slices.get(*slice) else {
                continue;
            };
            let ports = slice.ports.iter().filter(|one| one.name == named);
            for port in ports.filter_map(|one| one.port) {
                let ready = slice.endpoints.iter().filter(|one| one.ready && !one.terminating);
                sockets.extend(ready.map(|one| SocketAddr::new(one.address, port)));
            }
        }
        sockets.into_iter().collect()
    }
}
