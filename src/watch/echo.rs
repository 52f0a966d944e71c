//! Policy objects that come back only because a status was written, most often by ourselves.
//!
//! To validate and compile a policy is work, and its result would be the same. With thousands of policies whose verdicts
//! turn at once, every status comes back as an object.

use std::collections::HashMap;

use evenkeel_core::know::Source;

use crate::api::{PolicyObject, PolicyRef};

/// What was last seen of each policy, its status aside.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    seen: HashMap<(Source, PolicyRef), Writing>,
}

/// What identifies one version of a policy: two that are equal here compile to the same.
#[derive(Debug, PartialEq, Eq)]
struct Writing {
    uid: Box<str>,
    generation: i64,
    written: Option<Box<str>>,
}

impl Echoes {
    /// Whether an object says nothing new but of its status. What does not name its uid and generation never does.
    pub(super) fn is_echo(&mut self, source: Source, object: &PolicyObject) -> bool {
        if object.uid.is_empty() || object.generation == 0 {
            return false;
        }
        let writing = Writing {
            uid: (*object.uid).into(),
            generation: object.generation,
            written: object.written.clone(),
        };
        let key = (source, object.policy.clone());
        if self.seen.get(&key) == Some(&writing) {
            return true;
        }
        self.seen.insert(key, writing);
        false
    }

    /// A policy is gone.
    pub(super) fn gone(&mut self, source: Source, namespace: &str, name: &str) {
        let policy = PolicyRef {
            namespace: namespace.into(),
            name: name.into(),
        };
        self.seen.remove(&(source, policy));
    }

    /// A list begins: whatever it names is new again.
    pub(super) fn begin(&mut self, source: Source) {
        self.seen.retain(|key, _| key.0 != source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(generation: u32, written: &str, told: &str) -> PolicyObject {
        let json = format!(
            r#"{{"metadata":{{"namespace":"shop","name":"a","uid":"1","generation":{generation},"managedFields":[
            {{"manager":"kubectl","time":"{written}"}},{{"manager":"evenkeel","subresource":"status","time":"{told}"}}]}}}}"#
        );
        PolicyObject::decode(json.as_bytes()).unwrap()
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
            r#"{"metadata":{"name":"a","generation":2}}"#,
            r#"{"metadata":{"name":"a","uid":"1"}}"#,
        ] {
            let decoded = PolicyObject::decode(object.as_bytes()).unwrap();
            assert!(!echoes.is_echo(Source::Policies, &decoded));
            assert!(!echoes.is_echo(Source::Policies, &decoded), "{object}");
        }
    }
}
