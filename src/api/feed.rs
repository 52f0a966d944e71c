//! From a policy object to the core: validated, compiled, or refused with all its problems.

use std::sync::Arc;

use evenkeel_core::know::{Now, Source};
use evenkeel_core::{Core, Input, checks};
use serde_json::Value;

use super::local::{Draft, validate};
use super::{Problem, compile, compile_cluster};

/// Feeds one policy object, as JSON text, to the core. What does not compile is listed there as refused.
pub fn feed(core: &mut Core, now: Now, source: Source, json: &str) {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |field: &str| {
        value
            .pointer(field)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    if let Err(problems) = draft(core, now, source, &value) {
        let why = problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        let _ = core.handle(now, Input::Refused(source, &namespace, &name, &why));
    }
}

/// Feeds one policy object; returns all its problems where it is refused.
fn draft(core: &mut Core, now: Now, source: Source, value: &Value) -> Result<(), Vec<Problem>> {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        // Items of a list do not name their kind; the source does.
        let kind = if source == Source::ClusterPolicy {
            "ClusterTrafficHealthPolicy"
        } else {
            "TrafficHealthPolicy"
        };
        object.entry("kind").or_insert_with(|| kind.into());
        object
            .entry("apiVersion")
            .or_insert_with(|| format!("{}/{}", super::GROUP, super::VERSION).into());
    }
    let _ = core.handle(now, input(&value)?);
    Ok(())
}

/// What a policy object is to the core, or everything that is wrong with it.
pub fn input(value: &Value) -> Result<Input<'static>, Vec<Problem>> {
    let known = |id: &str| checks::find(id).is_some();
    Ok(match validate(value)? {
        Draft::Policy(policy) => Input::Policy(Arc::new(compile(&policy, &known)?)),
        Draft::Cluster(policy) => Input::ClusterPolicy(Some(Arc::new(compile_cluster(&policy)?))),
    })
}
