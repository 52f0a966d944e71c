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
        problems.push(Problem::unknown_field(format!("metadata.{field}")));
    }
    match serde_json::from_value(Value::Object(metadata.clone())) {
        Ok(metadata) => check_content(&metadata, problems),
        Err(error) => problems
            .push(wrong_field(metadata).unwrap_or_else(|| Problem::new("metadata", error.to_string()))),
    }
}

/// The field that is wrong by itself: YAML takes `name: yes` for a boolean, and its author does not see why.
fn wrong_field(metadata: &Map<String, Value>) -> Option<Problem> {
    metadata.iter().find_map(|(key, value)| {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        let error = serde_json::from_value::<ObjectMeta>(Value::Object(alone)).err()?;
        Some(Problem::new(format!("metadata.{key}"), error.to_string()))
    })
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

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::check;

    #[rstest]
    #[case::a_boolean(json!({"name": true}), "metadata.name: invalid type: boolean `true`")]
    #[case::a_number(json!({"name": "a", "labels": {"a": 1}}), "metadata.labels: invalid type: integer `1`")]
    #[case::nothing(json!(null), "metadata: must be an object")]
    #[case::unknown(json!({"name": "a", "nam": "b"}), "metadata.nam: unknown field")]
    fn the_field_is_named(#[case] metadata: Value, #[case] expected: &str) {
        let mut problems = Vec::new();
        check(Some(&metadata), &mut problems);
        assert_eq!(problems.len(), 1);
        let found = problems[0].to_string();
        assert!(found.starts_with(expected), "{found}");
    }
}
