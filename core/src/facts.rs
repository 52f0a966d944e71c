//! The effective data plane of the whole fleet, derived from rows: which nodes share which [`Profile`].

use std::collections::HashMap;
use std::sync::Arc;

use crate::dataplane::Profile;
use crate::index::Index;
use crate::judge::Look;
use crate::know::{Gap, Known, Val};
use crate::names::Name;
use crate::sources::service::Service;

/// Nodes of equal settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// What they do.
    pub profile: Profile,
    /// How many there are; 0 when nodes were not read and the configuration stands alone.
    pub nodes: u32,
    /// Names of the first few, sorted.
    pub sample: Vec<Arc<str>>,
}

/// The fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    /// Classes of nodes, the most numerous first.
    pub classes: Vec<Class>,
    /// Why nothing or not everything is known, where that is so.
    pub gap: Option<Gap>,
    /// Class of each node.
    pub class_of: HashMap<Name, u32>,
}

impl Fleet {
    /// Derives the fleet.
    pub fn derive(_index: &Index) -> Self {
        Self::default()
    }

    /// The class of a node.
    pub fn class(&self, node: Name) -> Known<Option<&Class>> {
        Ok(self
            .class_of
            .get(&node)
            .and_then(|at| self.classes.get(*at as usize)))
    }
}

/// After how long the cloud load balancer of a Service forgets an idle connection, seconds.
pub fn balancer_idle(_look: &Look<'_>, _service: &Service, _port: u16, _udp: bool) -> Known<Val<i64>> {
    Err(Gap::Opaque("the load balancer's provider is not known".into()))
}
