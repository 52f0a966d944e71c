//! What labels of series may name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use evenkeel_core::Core;
use evenkeel_core::sample::PageScope;

/// The subjects that the API shows, by what labels call them.
#[derive(Debug, Default, Clone)]
pub struct KnownSubjects {
    /// Names of Nodes.
    pub nodes: HashSet<Arc<str>>,
    /// Nodes by their own addresses.
    pub node_at: HashMap<IpAddr, Arc<str>>,
    /// Address and port of each API server.
    pub instances: Vec<SocketAddr>,
    /// The Pods behind the Service that it is about.
    pub pods: BTreeSet<Arc<str>>,
}

impl KnownSubjects {
    /// As a core knows them, as far as it takes for this scope: there may be thousands of Nodes. Of several Nodes with one
    /// address none is meant by it.
    pub(crate) fn of(core: &Core, scope: &PageScope<Arc<str>>) -> Self {
        let index = core.index();
        let mut known = Self::default();
        match scope {
            PageScope::Nodes => {}
            PageScope::Backends { namespace, service } => {
                known.pods = index.pods_behind(namespace, service);
                return known;
            }
            PageScope::Cluster | PageScope::Instances | PageScope::Instance(_) => {
                known.instances = index.ready_sockets("default", "kubernetes", "https");
                return known;
            }
        }
        let mut shared = HashSet::new();
        for (name, addresses) in index.node_addresses() {
            for address in addresses {
                let other = known.node_at.insert(*address, name.clone());
                if other.is_some_and(|other| other != name) {
                    shared.insert(*address);
                }
            }
            known.nodes.insert(name);
        }
        known.node_at.retain(|address, _| !shared.contains(address));
        known
    }
}
