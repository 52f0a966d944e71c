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

/// Why an object cannot be meant as it stands: no name holds braces but that of a template.
pub(super) fn unrendered(fields: &Map<String, Value>) -> Option<String> {
    let metadata = fields.get("metadata")?;
    ["name", "namespace"].iter().find_map(|key| {
        let text = metadata.get(key)?.as_str()?;
        text.contains("{{").then(|| {
            format!(
                "metadata.{key}: `{text}` is left of a template; render it first, as with `helm template`"
            )
        })
    })
}

/// `Service shop/checkout`, as far as the object says.
pub(super) fn show(kind: &str, fields: &Map<String, Value>) -> String {
    let text = |key: &str| {
        fields
            .get("metadata")
            .and_then(|metadata| metadata.get(key))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match (text("namespace"), text("name")) {
        (_, "") => kind.to_owned(),
        ("", name) => format!("{kind} {name}"),
        (namespace, name) => format!("{kind} {namespace}/{name}"),
    }
}
