//! Policy objects that come back only because a status was written, most often by ourselves.
//!
//! To validate and compile a policy is work, and its result would be the same. With thousands of policies whose verdicts
//! turn at once, every status comes back as an object.

use std::collections::HashMap;

use evenkeel_core::know::Source;
use serde::Deserialize;

/// What was last seen of each policy, its status aside.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    seen: HashMap<(Source, Box<str>, Box<str>), Written>,
}

/// What tells one writing of a policy from another: two that are equal here compile to the same.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    uid: Box<str>,
    /// Counts changes of the spec.
    generation: i64,
    /// When somebody last wrote anything but the status, as exceptions are counted from then; in RFC 3339 in UTC, which
    /// sorts as text.
    at: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
    generation: i64,
    #[serde(default)]
    managed_fields: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    subresource: Option<Box<str>>,
    #[serde(default)]
    time: Option<Box<str>>,
}

impl Echoes {
    /// Whether an object says nothing new but of its status. What does not name its uid and generation never does.
    pub(super) fn is_echo(&mut self, source: Source, object: &[u8]) -> bool {
        let Ok(Object { metadata }) = serde_json::from_slice::<Object>(object) else {
            return false;
        };
        let entries = metadata.managed_fields.into_iter().flatten();
        let of_others = entries.filter(|one| one.subresource.as_deref().is_none_or(str::is_empty));
        let written = Written {
            uid: metadata.uid,
            generation: metadata.generation,
            at: of_others.filter_map(|one| one.time).max(),
        };
        let key = (source, metadata.namespace, metadata.name);
        if self.seen.get(&key) == Some(&written) {
            return true;
        }
        self.seen.insert(key, written);
        false
    }

    /// A policy is gone.
    pub(super) fn gone(&mut self, source: Source, namespace: &str, name: &str) {
        self.seen.remove(&(source, namespace.into(), name.into()));
    }

    /// A list begins: whatever it names has to be said again.
    pub(super) fn begin(&mut self, source: Source) {
        self.seen.retain(|key, _| key.0 != source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(generation: u32, written: &str, told: &str) -> Vec<u8> {
        format!(
            r#"{{"metadata":{{"namespace":"shop","name":"a","uid":"1","generation":{generation},"managedFields":[
            {{"manager":"kubectl","time":"{written}"}},{{"manager":"evenkeel","subresource":"status","time":"{told}"}}]}}}}"#
        )
        .into_bytes()
    }

    #[test]
    fn only_a_status_that_was_written_is_an_echo() {
        let (mut echoes, teams) = (Echoes::default(), Source::Policies);
        assert!(!echoes.is_echo(teams, &object(1, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")));
        assert!(echoes.is_echo(teams, &object(1, "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z")));
        assert!(!echoes.is_echo(teams, &object(2, "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z")));
        // Written again with the same spec: exceptions are counted from now.
        assert!(!echoes.is_echo(teams, &object(2, "2026-01-04T00:00:00Z", "2026-01-03T00:00:00Z")));
        assert!(echoes.is_echo(teams, &object(2, "2026-01-04T00:00:00Z", "2026-01-03T00:00:00Z")));
    }

    #[test]
    fn a_new_list_and_a_deletion_begin_anew() {
        let (mut echoes, teams) = (Echoes::default(), Source::Policies);
        let same = object(1, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        assert!(!echoes.is_echo(teams, &same));
        assert!(!echoes.is_echo(Source::ClusterPolicy, &same));
        echoes.begin(teams);
        assert!(!echoes.is_echo(teams, &same));
        assert!(echoes.is_echo(Source::ClusterPolicy, &same));
        echoes.gone(teams, "shop", "a");
        assert!(!echoes.is_echo(teams, &same));
    }

    #[test]
    fn what_cannot_be_told_apart_is_always_news() {
        let mut echoes = Echoes::default();
        for object in [
            r#"{"metadata":{"name":"a"}}"#,
            "{",
            r#"{"metadata":{"name":"a","uid":"1"}}"#,
        ] {
            assert!(!echoes.is_echo(Source::Policies, object.as_bytes()));
            assert!(!echoes.is_echo(Source::Policies, object.as_bytes()), "{object}");
        }
    }
}
