//! What evenkeel may do in a cluster, as data beside the code that needs it.
//!
//! Each module that talks to the API server declares its rights with this type, so that what an installation grants can
//! be compared with what the code uses, both ways.

use evenkeel_core::know::Gap;

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

/// How a reason ends where one namespace can be read by itself, and was not asked for.
pub(crate) const ALONE: &str = "; with -n NAME it is read in that namespace alone";

/// Why something of a namespace is not known, for people: a right that is missing as a sentence.
pub(crate) fn refused(gap: &Gap, namespace: &str) -> String {
    match gap {
        Gap::Unreadable(source, why) if missing(why).is_some() => {
            let alone = if why.ends_with(ALONE) {
                format!(
                    " in the cluster; -n {namespace} reads those of the namespace, where you may list them"
                )
            } else {
                String::new()
            };
            format!("you may not list {source}{alone}")
        }
        gap => gap.to_string(),
    }
}

/// The right that a reason says is missing; `None` where something else is the reason.
pub(crate) fn missing(reason: &str) -> Option<&str> {
    reason.strip_prefix(MISSING)
}
