//! What is known of each policy object beyond its spec, and which statuses must be written again.
//!
//! Little is kept of each policy: identity, version, what its status says as a number, and the times that go on. A status
//! is built when it is compared, and not kept.

use std::collections::HashMap;
use std::sync::Arc;

use evenkeel_core::standing::Standing;
use jiff::Timestamp;
use serde_json::Value;

use super::{PolicyStatus, Times};
use crate::api::{ConditionStatus, PolicyObject, PolicyRef};
use crate::send::{Precondition, Request};

/// A status that differs from what its policy says now.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    policy: PolicyRef,
    /// Which writing of the policy it is for.
    precondition: Precondition,
    generation: i64,
    /// The status.
    pub status: PolicyStatus,
    /// What the status said before.
    pub before: Times,
}

impl Patch {
    /// uid of the policy.
    pub fn uid(&self) -> &Arc<str> {
        &self.precondition.uid
    }

    /// As a request.
    pub fn request(&self) -> Request {
        let status = if self.policy.is_cluster() {
            serde_json::to_value(self.status.clone().cluster())
        } else {
            serde_json::to_value(&self.status.0)
        };
        Request::Status {
            policy: self.policy.clone(),
            precondition: self.precondition.clone(),
            // Structures of texts and numbers can be written as JSON.
            status: status.unwrap_or(Value::Null),
        }
    }

    /// What is written instead where the definition in the cluster does not know all fields: that it is too old.
    #[must_use]
    pub fn too_old(&self, why: &str, now: Timestamp) -> Self {
        Self {
            status: PolicyStatus::too_old(why, self.generation, now, &self.before),
            ..self.clone()
        }
    }
}

#[derive(Debug, Clone, Default)]
struct KnownStatus {
    uid: Arc<str>,
    generation: i64,
    /// The newest resourceVersion that was seen, by the watch or in a reply.
    version: Arc<str>,
    /// What its status says, as last seen or written.
    fingerprint: u64,
    times: Times,
    /// Whether the list that is being read has not named it (yet).
    unnamed: bool,
}

/// Every policy object.
#[derive(Debug, Default)]
pub struct Statuses {
    known: HashMap<PolicyRef, KnownStatus>,
}

impl Statuses {
    /// Takes a policy object; returns which it is. A status that cannot be read is one that must be written again.
    pub fn saw(&mut self, object: PolicyObject) -> PolicyRef {
        let PolicyObject {
            policy,
            uid,
            generation,
            version,
            status,
            plans,
            ..
        } = object;
        let known = self.known.entry(policy.clone()).or_default();
        let listed = std::mem::take(&mut known.unnamed);
        let same = known.uid == uid;
        if same && !listed && is_older(&version, &known.version) {
            // On its way since before the reply to our own write, which is newer.
            return policy;
        }
        let status = status.map(|status| PolicyStatus(status, plans));
        *known = KnownStatus {
            uid,
            generation,
            version,
            fingerprint: status.as_ref().map_or(0, PolicyStatus::fingerprint),
            times: status.as_ref().map(Times::of).unwrap_or_default(),
            unnamed: false,
        };
        policy
    }

    /// uid and generation of a policy, as it was last seen.
    pub fn version(&self, policy: &PolicyRef) -> Option<(&str, i64)> {
        let known = self.known.get(policy)?;
        Some((&*known.uid, known.generation))
    }

    /// A policy object is gone.
    pub fn gone(&mut self, policy: &PolicyRef) {
        self.known.remove(policy);
    }

    /// A list begins: of the cluster's policy, or of the teams'.
    pub fn begin(&mut self, cluster: bool) {
        for (policy, known) in &mut self.known {
            known.unnamed |= policy.is_cluster() == cluster;
        }
    }

    /// A list is complete: what it has not named is gone.
    pub fn synced(&mut self, cluster: bool) {
        self.known
            .retain(|policy, known| policy.is_cluster() != cluster || !known.unnamed);
    }

    /// What each condition says, as last seen or written, for metrics.
    pub fn conditions(&self) -> impl Iterator<Item = (&PolicyRef, &str, ConditionStatus)> {
        self.known.iter().flat_map(|(policy, known)| {
            known
                .times
                .conditions()
                .map(move |(kind, status)| (policy, kind, status))
        })
    }

    /// Every policy object that is known.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyRef> {
        self.known.keys()
    }

    /// What to write so that the status says how the policy stands; `None` when it already does, or when the policy is
    /// not known (yet, or any more).
    pub fn patch(&self, policy: &PolicyRef, standing: &Standing, now: Timestamp) -> Option<Patch> {
        let known = self.known.get(policy)?;
        let status = PolicyStatus::of(standing, known.generation, policy.is_cluster(), now, &known.times);
        (status.fingerprint() != known.fingerprint).then(|| Patch {
            policy: policy.clone(),
            precondition: Precondition {
                uid: known.uid.clone(),
                version: known.version.clone(),
            },
            generation: known.generation,
            status,
            before: known.times.clone(),
        })
    }

    /// A patch is in force; `version` is that of the object now. Returns whether the policy is still the one that it was for.
    pub fn wrote(&mut self, patch: &Patch, version: &str) -> bool {
        let known = self.known.get_mut(&patch.policy);
        let Some(known) = known.filter(|known| known.uid == *patch.uid()) else {
            return false;
        };
        // The watch may have brought a newer writing before the reply came.
        if known.version == patch.precondition.version || is_older(&known.version, version) {
            known.fingerprint = patch.status.fingerprint();
            known.times = Times::of(&patch.status);
            known.version = version.into();
        }
        true
    }

    /// A patch was refused because the policy is no longer what it was for. Returns whether what is known now differs from
    /// then: if not, its watch has yet to bring it, and there is nothing to do before.
    pub fn has_moved_on(&self, patch: &Patch) -> bool {
        let known = self.known.get(&patch.policy);
        known.is_some_and(|known| known.uid != *patch.uid() || known.version != patch.precondition.version)
    }
}

/// Whether a resourceVersion is older than another. They are decimal numbers that only grow (KEP-5504); what is no number is
/// never older.
fn is_older(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version < than,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str, version: &str, status: bool) -> PolicyObject {
        let status = if status {
            r#","status":{"observedGeneration":1}"#
        } else {
            ""
        };
        let json = format!(
            r#"{{"metadata":{{"namespace":"shop","name":"a","uid":"{uid}","generation":1,"resourceVersion":"{version}"}}{status}}}"#
        );
        PolicyObject::decode(json.as_bytes()).unwrap()
    }

    fn policy() -> PolicyRef {
        PolicyRef {
            namespace: "shop".into(),
            name: "a".into(),
        }
    }

    fn patch(uid: &str, version: &str) -> Patch {
        Patch {
            policy: policy(),
            precondition: Precondition {
                uid: uid.into(),
                version: version.into(),
            },
            generation: 1,
            status: PolicyStatus::default(),
            before: Times::default(),
        }
    }

    fn version(statuses: &Statuses) -> &str {
        statuses.known.get(&policy()).map_or("", |known| &known.version)
    }

    #[test]
    fn a_late_watch_event_does_not_undo_a_reply() {
        let mut statuses = Statuses::default();
        statuses.saw(object("1", "7", false));
        assert!(statuses.wrote(&patch("1", "7"), "9"));
        assert_eq!(statuses.saw(object("1", "8", false)), policy());
        assert_eq!(version(&statuses), "9");
        statuses.saw(object("1", "10", true));
        assert_eq!(version(&statuses), "10");
    }

    #[test]
    fn a_reply_that_comes_late_does_not_undo_what_the_watch_has_brought() {
        let mut statuses = Statuses::default();
        statuses.saw(object("1", "7", false));
        statuses.saw(object("1", "12", true));
        let before = statuses.known[&policy()].fingerprint;
        assert!(statuses.wrote(&patch("1", "7"), "9"));
        assert_eq!(
            (version(&statuses), statuses.known[&policy()].fingerprint),
            ("12", before)
        );
        assert!(statuses.has_moved_on(&patch("1", "7")) && !statuses.has_moved_on(&patch("1", "12")));
    }

    #[test]
    fn another_policy_of_the_same_name_is_another_policy() {
        let mut statuses = Statuses::default();
        statuses.saw(object("1", "7", true));
        statuses.gone(&policy());
        assert!(!statuses.wrote(&patch("1", "7"), "8"));
        statuses.saw(object("2", "9", false));
        assert!(!statuses.wrote(&patch("1", "7"), "8"));
        assert!(statuses.has_moved_on(&patch("1", "7")));
    }

    #[test]
    fn a_server_that_was_restored_from_a_backup_counts_anew() {
        let mut statuses = Statuses::default();
        statuses.saw(object("1", "700", false));
        statuses.begin(false);
        statuses.saw(object("1", "30", false));
        assert_eq!(version(&statuses), "30");
        statuses.begin(false);
        statuses.synced(true);
        assert_eq!(statuses.policies().count(), 1);
        statuses.synced(false);
        assert_eq!(statuses.policies().count(), 0);
    }
}
