//! A policy object as the API server sends it: everything but its spec, decoded once for all who need it.
//!
//! The spec stays JSON until it is known to be new: with thousands of policies whose verdicts change at once, every status
//! that is written comes back as an object, and nothing but its metadata and status is worth a look.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{PolicyRef, StatusPlans, TrafficHealthPolicyStatus};

/// What a policy object says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyObject {
    /// Which it is.
    pub policy: PolicyRef,
    /// Its uid; empty when it does not say.
    pub uid: Arc<str>,
    /// Counts changes of its spec; 0 when it does not say.
    pub generation: i64,
    /// Its resourceVersion; empty when it does not say.
    pub version: Arc<str>,
    /// When somebody last wrote anything but the status, as exceptions are counted from then; in RFC 3339 in UTC, which
    /// sorts as text.
    pub written: Option<Box<str>>,
    /// Its status; `None` when there is none, or none that can be read.
    pub status: Option<TrafficHealthPolicyStatus>,
    /// What only the status of the platform's policy has.
    pub plans: StatusPlans,
}

#[derive(Deserialize)]
struct PolicyWire<'a> {
    metadata: PolicyMetadata,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyMetadata {
    #[serde(default)]
    namespace: Arc<str>,
    #[serde(default)]
    name: Arc<str>,
    #[serde(default)]
    uid: Arc<str>,
    #[serde(default)]
    generation: i64,
    #[serde(default)]
    resource_version: Arc<str>,
    #[serde(default)]
    managed_fields: Option<Vec<ManagedFields>>,
}

#[derive(Deserialize)]
struct ManagedFields {
    #[serde(default)]
    subresource: Option<Box<str>>,
    #[serde(default)]
    time: Option<Box<str>>,
}

impl PolicyObject {
    /// Decodes an object; `None` when it is none, or does not say its name.
    pub fn decode(json: &[u8]) -> Option<Self> {
        let PolicyWire { metadata, status } = serde_json::from_slice(json).ok()?;
        if metadata.name.is_empty() {
            return None;
        }
        let entries = metadata.managed_fields.into_iter().flatten();
        let of_others = entries.filter(|one| one.subresource.as_deref().is_none_or(str::is_empty));
        let policy = PolicyRef {
            namespace: metadata.namespace,
            name: metadata.name,
        };
        let of_platform = status.filter(|_| policy.is_cluster());
        let plans = of_platform.and_then(|status| serde_json::from_str(status.get()).ok());
        Some(Self {
            plans: plans.unwrap_or_default(),
            policy,
            uid: metadata.uid,
            generation: metadata.generation,
            version: metadata.resource_version,
            written: of_others.filter_map(|one| one.time).max(),
            status: status.and_then(|status| serde_json::from_str(status.get()).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_cannot_be_read_is_none_and_hides_nothing_else() {
        let json =
            br#"{"metadata":{"name":"a","uid":"1","generation":2,"resourceVersion":"7","managedFields":[
            {"time":"2026-01-01T00:00:00Z"},{"subresource":"status","time":"2026-01-02T00:00:00Z"}]},
            "spec":{"services":{}},"status":{"conditions":"none"}}"#;
        let object = PolicyObject::decode(json).unwrap();
        assert_eq!((&*object.uid, object.generation, &*object.version), ("1", 2, "7"));
        assert_eq!(object.written.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(object.status, None);
        assert!(object.policy.is_cluster());
    }

    #[test]
    fn what_does_not_say_its_name_is_no_object() {
        for json in [r#"{"metadata":{}}"#, r#"{"metadata":7}"#, "[]", ""] {
            assert_eq!(PolicyObject::decode(json.as_bytes()), None);
        }
    }
}
