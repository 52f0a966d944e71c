//! From a policy object to the core: validated, compiled, or refused with all its problems.

use evenkeel_core::know::{Now, Source};
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
    match input(&value) {
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

/// What a policy object is to the core, or everything that is wrong with it.
pub fn input(value: &Value) -> Result<Input<'static>, Vec<Problem>> {
    let known = |id: &str| checks::find(id).is_some();
    valid(&validate(value)?, &known)
}
