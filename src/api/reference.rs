//! Which policy object is meant.

use std::sync::Arc;

use super::CLUSTER_POLICY_NAME;

/// A policy object: namespace (empty for the cluster's) and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyRef {
    /// Namespace; empty for the cluster's policy.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl PolicyRef {
    /// The cluster's policy, of which there is one.
    pub fn of_the_cluster() -> Self {
        Self {
            namespace: "".into(),
            name: CLUSTER_POLICY_NAME.into(),
        }
    }

    /// Whether it is the cluster's policy.
    pub fn is_cluster(&self) -> bool {
        self.namespace.is_empty()
    }

    /// Its kind.
    pub fn kind(&self) -> &'static str {
        if self.is_cluster() {
            "ClusterTrafficHealthPolicy"
        } else {
            "TrafficHealthPolicy"
        }
    }
}

impl std::fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}
