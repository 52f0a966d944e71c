//! What the fields of a mapping show it to be.

use serde_json::{Map, Value};

/// The only key of an object whose value is an object: what `/configz` of any component answers.
pub(super) fn only_key(fields: &Map<String, Value>) -> Option<&str> {
    let mut fields = fields.iter();
    match (fields.next(), fields.next()) {
        (Some((key, Value::Object(_))), None) => Some(key),
        _ => None,
    }
}

/// Namespace and name, each empty where it is no text.
pub(super) fn named(fields: &Map<String, Value>) -> (&str, &str) {
    let metadata = fields.get("metadata");
    let text = |key: &str| metadata.and_then(|metadata| metadata.get(key)?.as_str());
    (
        text("namespace").unwrap_or_default(),
        text("name").unwrap_or_default(),
    )
}

/// Why an object cannot be meant as it stands: no name holds braces but that of a template.
pub(super) fn unrendered(namespace: &str, name: &str) -> Option<String> {
    let (key, text) = [("name", name), ("namespace", namespace)]
        .into_iter()
        .find(|(_, text)| text.contains("{{"))?;
    Some(format!(
        "metadata.{key}: `{text}` is left of a template; render it first, as with `helm template`"
    ))
}

/// `Service shop/checkout`, as far as the object says.
pub(super) fn show(kind: &str, namespace: &str, name: &str) -> String {
    match (namespace, name) {
        (_, "") => kind.to_owned(),
        ("", name) => format!("{kind} {name}"),
        (namespace, name) => format!("{kind} {namespace}/{name}"),
    }
}
