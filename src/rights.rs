//! What evenkeel may do in a cluster, as data beside the code that needs it.
//!
//! Each module that talks to the API server declares its rights with this type, so that what an installation grants can
//! be compared with what the code uses, both ways.

/// One thing that evenkeel asks of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural of the resource, with its subresource: `services`, `nodes/status`.
    pub resource: &'static str,
    /// Verbs, in the order of the alphabet.
    pub verbs: &'static [&'static str],
    /// Where it is needed.
    pub scope: RightScope,
    /// What for, as shown to the one who grants it.
    pub why: &'static str,
}

/// Where a right is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RightScope {
    /// Everywhere, or for kinds without a namespace: a `ClusterRole` with a `ClusterRoleBinding`.
    Cluster,
    /// In one namespace: a Role there.
    Namespace(&'static str),
}

/// How a reason begins that is a missing right.
const MISSING: &str = "missing right: ";

/// The reason that is a missing right, such as `missing right: list nodes (nodes is forbidden ...)`.
pub(crate) fn refusal(what: impl std::fmt::Display) -> String {
    format!("{MISSING}{what}")
}

/// The right that a reason says is missing; `None` where something else is the reason.
pub(crate) fn missing(reason: &str) -> Option<&str> {
    reason.strip_prefix(MISSING)
}
