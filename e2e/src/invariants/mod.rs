//! What must hold of everything that evenkeel does in a cluster, judged over the audit log of an API server: a pure function of
//! its lines.
//!
//! The log has to hold bodies and answers of writes to Nodes, records, Leases and `ConfigMaps` of evenkeel's namespace
//! ([`crate::ControlPlane`] is started so). Commits are ordered by the version that the store gave them, and not by time. What is
//! measured in the cluster is in no log: the tests of the core hold guards that rest on it.

mod acts;
mod log;
#[cfg(test)]
mod tests;
mod writes;

use std::collections::BTreeSet;
use std::fmt;

use evenkeel::rights::Right;
use serde_json::Value;

use crate::audit::ACCOUNT;
use log::History;

/// What is allowed in the test whose log is judged.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The operator's account.
    pub account: String,
    /// Its namespace.
    pub namespace: String,
    /// Nodes that may be fenced at the same time.
    pub nodes: usize,
    /// Fences within an hour.
    pub per_hour: usize,
    /// Seconds between two fences of one node.
    pub cooldown_seconds: i64,
    /// Requests within ten seconds.
    pub requests: usize,
    /// Verbs and resources that the operator may use; all where it is empty.
    pub rights: BTreeSet<(&'static str, &'static str)>,
    /// Texts that no request may hold.
    pub secrets: Vec<String>,
    /// Whether all must be settled at the end of the log.
    pub settled: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            account: ACCOUNT.to_owned(),
            namespace: evenkeel::lease::NAMESPACE.to_owned(),
            nodes: 1,
            per_hour: 2,
            cooldown_seconds: 0,
            requests: 200,
            rights: BTreeSet::new(),
            secrets: Vec::new(),
            settled: true,
        }
    }
}

/// Rights as verbs and resources.
pub fn verbs_of(rights: &[Right]) -> impl Iterator<Item = (&'static str, &'static str)> {
    rights
        .iter()
        .flat_map(|right| right.verbs.iter().map(|verb| (*verb, right.resource)))
}

/// One thing that must hold.
#[derive(Debug)]
struct Invariant {
    id: &'static str,
    /// In one sentence.
    says: &'static str,
    /// Each place where it does not.
    look: fn(&History, &Limits) -> Vec<String>,
}

/// All that an audit log can show.
static INVARIANTS: &[Invariant] = &[
    acts::DECLARED,
    acts::ONCE,
    acts::COOLDOWN,
    acts::BUDGET,
    acts::RATE,
    acts::TERMS,
    acts::ONE_AT_A_TIME,
    acts::LIVE_READ,
    acts::PEOPLE_WIN,
    acts::PROTECTED,
    acts::OTHERS,
    acts::STOPPED,
    acts::APPROVED,
    acts::SETTLED,
    writes::PRECONDITIONS,
    writes::FENCE_ALONE,
    writes::ONE_END,
    writes::REQUESTS,
    writes::RIGHTS,
    writes::SECRETS,
];

/// An invariant that does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub id: &'static str,
    says: &'static str,
    /// Where.
    pub place: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.id, self.says, self.place)
    }
}

/// Everything in these events that breaks an invariant.
pub fn violations(events: &[Value], limits: &Limits) -> Vec<Violation> {
    let history = History::parse(events);
    let broken = INVARIANTS.iter().flat_map(|one| {
        let places = (one.look)(&history, limits).into_iter();
        places.map(|place| Violation {
            id: one.id,
            says: one.says,
            place,
        })
    });
    broken.collect()
}
