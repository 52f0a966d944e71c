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
    match serde_json::from_value(Value::Object(metadata.clone())) {
        Ok(metadata) => check_content(&metadata, problems),
        Err(error) => problems.push(Problem::new("metadata", error.to_string())),
    }
}

/// Makes an empty text of a null among labels or annotations, as the API server does.
pub(super) fn null_is_empty(draft: &mut Value) {
    for texts in ["/metadata/labels", "/metadata/annotations"] {
        let values = draft.pointer_mut(texts).and_then(Value::as_object_mut);
        let nulls = values
            .into_iter()
            .flat_map(Map::values_mut)
            .filter(|value| value.is_null());
        nulls.for_each(|value| *value = "".into());
    }
}

fn check_content(metadata: &ObjectMeta, problems: &mut Vec<Problem>) {
    match (&metadata.name, &metadata.generate_name) {
        (Some(name), _) if !text::is_dns_subdomain(name) => {
            problems.push(Problem::new(
                "metadata.name",
                "must be a lower-case DNS name of at most 253 characters",
            ));
        }
        (None, None) => problems.push(Problem::new("metadata.name", "required")),
        _ => {}
    }
    if let Some(namespace) = &metadata.namespace
        && !(namespace.len() <= 63 && text::has_form(text::DNS_LABEL, namespace) == Some(true))
    {
        problems.push(Problem::new(
            "metadata.namespace",
            "must be a DNS label of at most 63 characters",
        ));
    }
    for (key, value) in metadata.labels.iter().flatten() {
        let fits = value.len() <= 63 && text::has_form(text::LABEL_VALUE, value) == Some(true);
        if !fits || !text::can_be_label_key(key) {
            problems.push(Problem::new(
                "metadata.labels",
                format!("{key}: {value} is not a valid label"),
            ));
        }
    }
    for key in metadata.annotations.iter().flatten().map(|(key, _)| key) {
        if !text::can_be_label_key(&key.to_lowercase()) {
            problems.push(Problem::new(
                "metadata.annotations",
                format!("{key} cannot be the key of an annotation"),
            ));
        }
    }
}
