//! From a policy object to the core: validated, compiled, or refused with all its problems.

use std::sync::Arc;

use evenkeel_core::know::{Now, Source};
use evenkeel_core::policy::{ClusterPolicy, Policy};
use evenkeel_core::{Core, Input, checks};
use serde_json::Value;

use super::Problem;
use super::compile::valid;
use super::local::validate;

/// Feeds one policy object, as JSON text, to the core. What does not compile is listed there as refused.
pub fn feed(core: &mut Core, now: Now, source: Source, json: &str) {
    // What the core refuses it also lists.
    offer(source, json.as_bytes(), &mut |input| {
        core.handle(now, input);
    });
}

/// Gives the sink what one policy object, as JSON, is to the core: a policy, or why it is refused.
pub fn offer(source: Source, json: &[u8], sink: &mut dyn FnMut(Input<'_>)) {
    let mut value: Value = serde_json::from_slice(json).unwrap_or_default();
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
    match stored(&mut value) {
        Ok(input) => sink(input),
        Err(problems) => {
            let text = |field: &str| value.pointer(field).and_then(Value::as_str).unwrap_or("");
            let listed: Vec<_> = problems.iter().map(ToString::to_string).collect();
            sink(Input::Refused(
                source,
                text("/metadata/namespace"),
                text("/metadata/name"),
                &listed.join("; "),
            ));
        }
    }
}

/// What a policy that the API server holds is to the core. It was accepted under the definitions of the cluster, which may be
/// newer than this version: what is understood is judged, and the fields that are not are named in its condition Accepted.
fn stored(value: &mut Value) -> Result<Input<'static>, Vec<Problem>> {
    let problems = match input(value) {
        Err(problems) if problems.iter().all(Problem::is_unknown_field) => problems,
        outcome => return outcome,
    };
    for problem in &problems {
        remove(value, &problem.field);
    }
    let known = |id: &str| checks::find(id).is_some();
    let unknown: Vec<Arc<str>> = problems
        .iter()
        .map(|problem| problem.field.as_str().into())
        .collect();
    Ok(match valid(&validate(value)?, &known)? {
        Input::Policy(policy) => Input::Policy(Arc::new(Policy {
            unknown_fields: unknown,
            ..Arc::unwrap_or_clone(policy)
        })),
        Input::ClusterPolicy(Some(policy)) => Input::ClusterPolicy(Some(Arc::new(ClusterPolicy {
            unknown_fields: unknown,
            ..Arc::unwrap_or_clone(policy)
        }))),
        other => other,
    })
}

/// Takes the field of a path such as `spec.connections[0].colour` out of an object, where it is there.
fn remove(value: &mut Value, path: &str) {
    let (parent, field) = path.rsplit_once('.').unwrap_or(("", path));
    let steps = parent.split(['.', '[']).filter(|step| !step.is_empty());
    let pointer = steps.fold(String::new(), |path, step| {
        path + "/" + step.trim_end_matches(']')
    });
    if let Some(Value::Object(fields)) = value.pointer_mut(&pointer) {
        fields.remove(field);
    }
}

/// What a policy object is to the core, or everything that is wrong with it.
pub fn input(value: &Value) -> Result<Input<'static>, Vec<Problem>> {
    let known = |id: &str| checks::find(id).is_some();
    valid(&validate(value)?, &known)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// A policy of a newer version, as the API server holds it.
    fn newer() -> Value {
        json!({
            "apiVersion": "evenkeel.dev/v1alpha1",
            "kind": "TrafficHealthPolicy",
            "metadata": {"namespace": "shop", "name": "a"},
            "spec": {
                "services": {"names": ["api"]},
                "colour": "red",
                "connections": [{"name": "grpc", "protocol": "GRPC", "shape": {"round": true},
                    "clients": [{"name": "cart", "size": 3}]}],
            },
        })
    }

    fn offered(value: &Value) -> Result<Vec<String>, String> {
        let mut outcome = Err("nothing".to_owned());
        offer(Source::Policies, value.to_string().as_bytes(), &mut |input| {
            outcome = match input {
                Input::Policy(policy) => {
                    assert_eq!(policy.connections.len(), 1);
                    Ok(policy.unknown_fields.iter().map(ToString::to_string).collect())
                }
                Input::Refused(_, _, _, why) => Err(why.to_owned()),
                _ => Err("another input".to_owned()),
            };
        });
        outcome
    }

    #[test]
    fn what_is_understood_of_a_newer_policy_is_judged() {
        let unknown = offered(&newer()).unwrap();
        assert_eq!(
            unknown,
            [
                "spec.colour",
                "spec.connections[0].clients[0].size",
                "spec.connections[0].shape"
            ]
        );
        // A draft is for this version: its author hears of a field that was mistyped.
        let drafted = input(&newer()).err().unwrap();
        assert_eq!(drafted.len(), 3);
    }

    #[rstest]
    #[case::a_value_is_not_understood("/spec/connections/0/protocol", json!("QUIC"), "spec.connections[0].protocol")]
    #[case::a_value_is_wrong("/spec/services/names", json!([]), "spec.services")]
    fn what_is_wrong_for_another_reason_stays_so(#[case] at: &str, #[case] wrong: Value, #[case] told: &str) {
        let mut value = newer();
        *value.pointer_mut(at).unwrap() = wrong;
        let why = offered(&value).unwrap_err();
        assert!(why.contains(told), "{why}");
    }
}
