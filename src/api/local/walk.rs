//! Walks a draft along a structural schema, in the API server's way.
//!
//! Nulls count as absent, defaults are filled in, unknown fields are refused, and each value is held against its type
//! and bounds. In one point this is stricter: `30.0` is no whole number here, while an API server takes it where no rule
//! reads the field. Only the keywords that our schemas use are known; a test fails when a schema uses another.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::{Problem, text};
use super::shown_value;

/// Checks a whole object, drops its nulls and fills in its defaults.
///
/// Metadata is judged elsewhere. A status is dropped, as the API server does where it is a subresource of its own;
/// unknown fields in it are refused before that.
pub(super) fn object(schema: &Value, draft: &mut Value, problems: &mut Vec<Problem>) {
    let status = draft.as_object_mut().and_then(|fields| fields.remove("status"));
    if let (Some(status), Some(schema)) = (status, schema.pointer("/properties/status")) {
        unknown_fields(Some(schema), &status, "status", problems);
    }
    let metadata = draft.as_object_mut().and_then(|fields| fields.remove("metadata"));
    let header = ["apiVersion", "kind"].map(|field| {
        let value = draft.as_object_mut().and_then(|fields| fields.remove(field));
        (field, value)
    });
    value(schema, draft, "", problems);
    if let Some(fields) = draft.as_object_mut() {
        fields.extend(
            header
                .into_iter()
                .filter_map(|(field, value)| Some((field.to_owned(), value?))),
        );
        fields.extend(metadata.map(|metadata| ("metadata".to_owned(), metadata)));
    }
}

/// Reports unknown fields only; below a value of the wrong type every field is unknown.
fn unknown_fields(schema: Option<&Value>, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    match value {
        Value::Object(fields) => {
            for (field, inner) in fields {
                let path = join(path, field);
                match schema.and_then(|schema| schema_of(schema, field)) {
                    Some(schema) => unknown_fields(Some(schema), inner, &path, problems),
                    None => problems.push(Problem::unknown_field(path)),
                }
            }
        }
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.get("items"));
            for (index, item) in items.iter().enumerate() {
                unknown_fields(schema, item, &format!("{path}[{index}]"), problems);
            }
        }
        _ => {}
    }
}

/// The schema of one field of an object or of one value of a map.
fn schema_of<'a>(schema: &'a Value, field: &str) -> Option<&'a Value> {
    let property = schema["properties"].get(field);
    property.or_else(|| schema.get("additionalProperties"))
}

/// Checks one value against its schema.
fn value(schema: &Value, value: &mut Value, path: &str, problems: &mut Vec<Problem>) {
    if !type_fits(schema, value) {
        let (found, meant) = (shown_value::found(value), shown_value::meant(schema, value, path));
        let message = format!("must be {}, found {found}{meant}", type_name(schema));
        problems.push(Problem::new(path, message));
        return;
    }
    match value {
        Value::Object(fields) => map(schema, fields, path, problems),
        Value::Array(items) => list(schema, items, path, problems),
        Value::String(text) => string(schema, text, path, problems),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            if schema["minimum"].as_f64().is_some_and(|minimum| number < minimum) {
                problems.push(Problem::new(
                    path,
                    format!("must be at least {}, found {number}", bound(&schema["minimum"])),
                ));
            }
            if schema["maximum"].as_f64().is_some_and(|maximum| number > maximum) {
                problems.push(Problem::new(
                    path,
                    format!("must be at most {}, found {number}", bound(&schema["maximum"])),
                ));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// A bound as an API server prints it: schemas hold numbers with a fraction, and 1.0 is 1.
fn bound(schema: &Value) -> String {
    schema
        .as_f64()
        .map_or_else(|| schema.to_string(), |bound| bound.to_string())
}

fn type_fits(schema: &Value, value: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == true {
        return value.is_i64() || value.is_string();
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        _ => false,
    }
}

fn type_name(schema: &Value) -> Cow<'static, str> {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", values.join(", ")).into();
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return "a whole number or a text".into();
    }
    let name = match schema["type"].as_str() {
        Some("object") => "an object",
        Some("array") => "a list",
        Some("string") => "a text",
        Some("boolean") => "true or false",
        Some("integer") => "a whole number",
        _ => "of a known type",
    };
    name.into()
}

fn map(schema: &Value, fields: &mut Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    fields.retain(|field, value| !(value.is_null() && schema_of(schema, field).is_some()));
    for (field, property) in schema["properties"].as_object().into_iter().flatten() {
        if let (false, Some(default)) = (fields.contains_key(field), property.get("default")) {
            fields.insert(field.clone(), default.clone());
        }
    }
    for required in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !fields.contains_key(required) {
            problems.push(Problem::new(join(path, required), "required"));
        }
    }
    if schema["maxProperties"]
        .as_u64()
        .is_some_and(|most| fields.len() as u64 > most)
    {
        problems.push(Problem::new(
            path,
            format!("must have at most {} entries", schema["maxProperties"]),
        ));
    }
    for (field, inner) in fields {
        let path = join(path, field);
        match schema_of(schema, field) {
            Some(schema) => value(schema, inner, &path, problems),
            None => problems.push(Problem::unknown_field(path).with(&shown_value::field(schema, field))),
        }
    }
}

fn list(schema: &Value, items: &mut [Value], path: &str, problems: &mut Vec<Problem>) {
    if schema["maxItems"]
        .as_u64()
        .is_some_and(|most| items.len() as u64 > most)
    {
        problems.push(Problem::new(
            path,
            format!("must have at most {} items", schema["maxItems"]),
        ));
    }
    if schema["minItems"]
        .as_u64()
        .is_some_and(|least| (items.len() as u64) < least)
    {
        problems.push(Problem::new(
            path,
            format!("must have at least {} items", schema["minItems"]),
        ));
    }
    for (index, item) in items.iter_mut().enumerate() {
        value(&schema["items"], item, &format!("{path}[{index}]"), problems);
    }
    unique(schema, items, path, problems);
}

/// Items of a set, and keys of a map in the form of a list, may occur once only.
fn unique(schema: &Value, items: &[Value], path: &str, problems: &mut Vec<Problem>) {
    let keys: Vec<&str> = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Vec::new(),
        Some("map") => schema["x-kubernetes-list-map-keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect(),
        _ => return,
    };
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let identity = match keys.as_slice() {
            [] => item.to_string(),
            keys => keys
                .iter()
                .map(|key| item[key].to_string())
                .collect::<Vec<_>>()
                .join(","),
        };
        if !seen.insert(identity) {
            problems.push(Problem::new(format!("{path}[{index}]"), "occurs twice"));
        }
    }
}

fn string(schema: &Value, text: &str, path: &str, problems: &mut Vec<Problem>) {
    let length = text.chars().count() as u64;
    if schema["maxLength"].as_u64().is_some_and(|most| length > most) {
        problems.push(Problem::new(
            path,
            format!("must have at most {} characters", schema["maxLength"]),
        ));
    }
    if schema["minLength"].as_u64().is_some_and(|least| length < least) {
        problems.push(Problem::new(
            path,
            format!("must have at least {} characters", schema["minLength"]),
        ));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.iter().any(|value| value == text)
    {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        problems.push(Problem::new(
            path,
            format!(
                "must be one of {}, found {}{}",
                values.join(", "),
                shown_value::found(&text.into()),
                shown_value::similar(text, &values)
            ),
        ));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && text::has_form(pattern, text) != Some(true)
    {
        problems.push(Problem::new(path, format!("must match {pattern}")));
    }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({"type": "integer", "minimum": 1.0}), json!(0), "must be at least 1, found 0")]
    #[case(json!({"type": "integer", "maximum": 432_000}), json!(432_001), "must be at most 432000, found 432001")]
    #[case(json!({"type": "string", "enum": ["Enabled", "Disabled"]}), json!(true), "must be one of Enabled, Disabled, found true; write Enabled")]
    #[case(json!({"type": "integer", "minimum": -1.0, "maximum": 1e6}), json!(2_000_000), "must be at most 1000000, found 2000000")]
    fn values_that_do_not_fit(#[case] schema: Value, #[case] mut number: Value, #[case] expected: &str) {
        let mut problems = Vec::new();
        value(&schema, &mut number, "spec.a", &mut problems);
        let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(found, [format!("spec.a: {expected}")]);
    }
}
