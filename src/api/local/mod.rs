//! The API server's verdict on a draft, without an API server.
//!
//! Three steps in its order: the draft is walked along the schema (which also drops nulls and fills in defaults), it is
//! read into its type, and the rules across fields are asked. The rules are CEL in the schema; here they run as the
//! same rules in Rust, and tests hold the two together. What only the live cluster knows (other objects, quotas,
//! admission policies) is not asked.

mod metadata;
mod shown_value;
mod walk;

use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ClusterTrafficHealthPolicy, GROUP, Problem, TrafficHealthPolicy, VERSION, crds, rules};

/// A draft that the API server would take, with defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub enum Draft {
    /// A namespaced policy.
    Policy(Box<TrafficHealthPolicy>),
    /// The cluster's policy.
    Cluster(Box<ClusterTrafficHealthPolicy>),
}

/// The schemas by kind, as published.
static SCHEMAS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    crds()
        .into_iter()
        .filter_map(|crd| {
            let schema = crd.spec.versions.into_iter().next()?.schema?.open_api_v3_schema?;
            Some((crd.spec.names.kind, serde_json::to_value(schema).ok()?))
        })
        .collect()
});

/// Judges a draft as an API server with `fieldValidation=Strict` would.
///
/// # Errors
/// Every problem found. The rules across fields are asked only of a draft that fits the schema.
pub fn validate(draft: &Value) -> Result<Draft, Vec<Problem>> {
    let Some(kind) = draft.get("kind").and_then(Value::as_str) else {
        return Err(vec![Problem::new("kind", "must be a text")]);
    };
    let Some((_, schema)) = SCHEMAS.iter().find(|(known, _)| known == kind) else {
        return Err(vec![Problem::new(
            "kind",
            format!("{kind} is not a kind of policy"),
        )]);
    };
    let version = format!("{GROUP}/{VERSION}");
    let mut problems = Vec::new();
    if draft.get("apiVersion").and_then(Value::as_str) != Some(&version) {
        problems.push(Problem::new("apiVersion", format!("must be {version}")));
    }
    let mut draft = draft.clone();
    metadata::null_is_empty(&mut draft);
    metadata::check(draft.get("metadata"), &mut problems);
    walk::object(schema, &mut draft, &mut problems);
    if !problems.is_empty() {
        return Err(sorted(problems));
    }
    let draft = if kind == "TrafficHealthPolicy" {
        let policy: TrafficHealthPolicy = read(draft)?;
        rules::policy(&policy.spec, &mut problems);
        Draft::Policy(Box::new(policy))
    } else {
        let policy: ClusterTrafficHealthPolicy = read(draft)?;
        rules::cluster(policy.metadata.name.as_deref(), &policy.spec, &mut problems);
        Draft::Cluster(Box::new(policy))
    };
    if problems.is_empty() {
        Ok(draft)
    } else {
        Err(sorted(problems))
    }
}

/// Reads what fits the schema into its type; a failure here means that type and schema differ.
fn read<T: DeserializeOwned>(draft: Value) -> Result<T, Vec<Problem>> {
    serde_json::from_value(draft).map_err(|error| vec![Problem::new("", error.to_string())])
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}
