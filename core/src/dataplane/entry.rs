//! By which way a connection enters a node's data plane, and what remembers it there.
//!
//! A node has no single table for Service traffic. Beside a Cilium that leaves node ports to kube-proxy, a Pod meets
//! Cilium's table and a client from outside kube-proxy's; with socket load balancing a Pod meets none and a client
//! from outside still Cilium's.

use std::sync::Arc;

use super::ProxyMode;
use crate::know::{Known, Val};

/// How a connection enters the data plane of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// From a Pod with a network of its own, to the Service's address.
    Pod,
    /// From a process in the node's network, such as a Pod with `hostNetwork`, to the Service's address.
    Host,
    /// From outside: to a node port, an external address, or the address of a load balancer that sends to nodes.
    Outside,
    /// To a Pod's own address: a headless Service, or a load balancer that has Pods as its targets.
    Direct,
}

/// Something for each [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByEntry<T> {
    /// For [`Entry::Pod`].
    pub pod: T,
    /// For [`Entry::Host`].
    pub host: T,
    /// For [`Entry::Outside`].
    pub outside: T,
    /// For [`Entry::Direct`].
    pub direct: T,
}

impl<T> ByEntry<T> {
    /// That of one way in.
    pub const fn get(&self, entry: Entry) -> &T {
        match entry {
            Entry::Pod => &self.pod,
            Entry::Host => &self.host,
            Entry::Outside => &self.outside,
            Entry::Direct => &self.direct,
        }
    }

    /// Something else for each of them.
    pub fn map<U>(&self, mut to: impl FnMut(&T) -> U) -> ByEntry<U> {
        ByEntry {
            pod: to(&self.pod),
            host: to(&self.host),
            outside: to(&self.outside),
            direct: to(&self.direct),
        }
    }
}

impl<T: Clone> ByEntry<T> {
    /// The same for all of them.
    pub fn all(one: &T) -> Self {
        Self {
            pod: one.clone(),
            host: one.clone(),
            outside: one.clone(),
            direct: one.clone(),
        }
    }
}

/// A table on a node that remembers connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionTable {
    /// Whose it is, as people call it: `IPVS`, `conntrack`, `Cilium`.
    pub keeper: Arc<str>,
    /// After how many idle seconds it forgets a connection.
    pub idle: Val<i64>,
}

/// What a product does with the connections of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handling {
    /// It leaves them to kube-proxy.
    KubeProxy,
    /// Nothing has to be remembered: the address is translated before the connection begins, or not at all.
    Free,
    /// The kernel's connection tracking remembers them, with the timeouts that the node has.
    Conntrack,
    /// IPVS remembers them, above the kernel's connection tracking.
    Ipvs(Known<Val<i64>>),
    /// A table of its own remembers them.
    Own(Known<Val<i64>>),
}

/// A product other than kube-proxy and Cilium that carries Service traffic on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// What people call it.
    pub name: Arc<str>,
    /// The proxy mode that a node with it is in.
    pub mode: Known<Val<ProxyMode>>,
    /// What it does with TCP.
    pub tcp: ByEntry<Handling>,
    /// What it does with UDP.
    pub udp: ByEntry<Handling>,
}
