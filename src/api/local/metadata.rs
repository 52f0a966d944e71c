//! What the API server asks of an object's metadata, as far as a draft of a policy can get it wrong.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

use super::super::{Problem, text};

/// The fields of metadata that exist.
const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Checks the metadata of a draft.
pub(super) fn check(metadata: Option<&Value>, problems: &mut Vec<Problem>) {
    let Some(Value::Object(metadata)) = metadata else {
        problems.push(Problem::new("metadata", "must be an object with a name"));
        return;
    };
    for field in metadata.keys().filter(|field| !FIELDS.contains(&field.as_str())) {
        problems.push(Problem::new(format!("metadata.{field}"), "unknown field"));
    }
    if let Err(error) = serde_json::from_value::<ObjectMeta>(Value::Object(metadata.clone())) {
        problems.push(Problem::new("metadata", error.to_string()));
        return;
    }
    match metadata.get("name").and_then(Value::as_str) {
        None => problems.push(Problem::new("metadata.name", "required")),
        Some(name) if name.len() > 253 || !name.split('.').all(is_dns_label) => {
            problems.push(Problem::new(
                "metadata.name",
                "must be a lower-case DNS name of at most 253 characters",
            ));
        }
        Some(_) => {}
    }
    if let Some(namespace) = metadata.get("namespace").and_then(Value::as_str)
        && !(namespace.len() <= 63 && is_dns_label(namespace))
    {
        problems.push(Problem::new(
            "metadata.namespace",
            "must be a DNS label of at most 63 characters",
        ));
    }
    if let Some(Value::Object(labels)) = metadata.get("labels") {
        check_labels(labels, problems);
    }
}

fn check_labels(labels: &Map<String, Value>, problems: &mut Vec<Problem>) {
    for (key, value) in labels {
        let value = value.as_str().unwrap_or_default();
        if !text::is_label_key(key)
            || text::has_form(text::LABEL_VALUE, value) != Some(true)
            || value.len() > 63
        {
            problems.push(Problem::new(
                "metadata.labels",
                format!("{key}: {value} is not a valid label"),
            ));
        }
    }
}

fn is_dns_label(name: &str) -> bool {
    text::has_form(text::DNS_LABEL, name) == Some(true)
}
