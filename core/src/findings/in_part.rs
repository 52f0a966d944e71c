//! Policies that are judged in part, because they declare more than the ceilings allow.

use serde::Serialize;

use crate::engine::{Cut, Engine};
use crate::index::Index;
use crate::policy::ceiling::{self, Ceiling};

/// A policy that is judged in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JudgedInPart {
    /// `namespace/name`.
    pub policy: String,
    /// Subjects that it declares: each Service, and each path to it by connection, port and client.
    pub declared: u64,
    /// Subjects that are judged.
    pub judged: u64,
    /// Why, with the ceiling and the next step.
    pub reason: String,
}

impl JudgedInPart {
    /// The policy's namespace.
    pub fn namespace(&self) -> &str {
        self.policy.split_once('/').map_or("", |policy| policy.0)
    }
}

/// Why a policy is judged in part, with the numbers and the next step.
pub(crate) fn why(cut: &Cut, namespace: &str) -> String {
    let Cut {
        declared, judged, by, ..
    } = cut;
    let what = format!(
        "{judged} of {declared} subjects are judged (each Service, and each path by connection, port and client)"
    );
    match by {
        Ceiling::Policy => format!(
            "{what}: a policy may have {}; split the policy, or name the ports and clients that matter",
            ceiling::OF_A_POLICY
        ),
        Ceiling::Namespace => format!(
            "{what}: the policies of namespace {namespace} may have {} together, and have them in the order of their \
             names; name the ports and clients that matter",
            ceiling::OF_A_NAMESPACE
        ),
        Ceiling::Cluster(share) => format!(
            "{what}: all policies of the cluster may have {} together, of which namespace {namespace} has {share}, and its \
             policies have them in the order of their names; name the ports and clients that matter",
            ceiling::OF_THE_CLUSTER
        ),
    }
}

/// All of them: the first of each namespace, then the second of each.
pub(crate) fn all(index: &Index, engine: &Engine) -> Vec<JudgedInPart> {
    let names = &index.names;
    let cuts = engine.shares.cuts();
    let mut policies: Vec<_> = cuts
        .map(|(key, cut)| (names.text(key.namespace), names.text(key.name), cut))
        .collect();
    policies.sort_unstable_by_key(|one| (one.0, one.1));
    let of_each = policies.chunk_by(|a, b| a.0 == b.0);
    let mut policies: Vec<_> = of_each.flat_map(|of_one| of_one.iter().enumerate()).collect();
    policies.sort_by_key(|one| one.0);
    let view = |(namespace, name, cut): &(&str, &str, &Cut)| JudgedInPart {
        policy: format!("{namespace}/{name}"),
        declared: cut.declared,
        judged: cut.judged,
        reason: why(cut, namespace),
    };
    policies.into_iter().map(|one| view(one.1)).collect()
}
