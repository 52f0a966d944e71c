//! What is kept of an object: the fields that the core reads, so that a field nobody thought of is left out.

use evenkeel_core::sources::fields::Fields;
use serde_json::{Map, Value};

/// The value without what is not read.
///
/// A value of the wrong type stays one, without its content: it must be refused from a file as it was from the
/// cluster, and not taken for one that is absent.
pub(super) fn keep(fields: &Fields, value: Value) -> Value {
    match (fields, value) {
        (_, Value::Null) => Value::Null,
        (Fields::Plain, value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => value,
        (Fields::Map(kept, each), Value::Object(map)) => {
            let map = map.into_iter().filter(|(name, _)| kept.keeps(name));
            Value::Object(map.map(|(name, value)| (name, keep(each, value))).collect())
        }
        (Fields::Struct(fields), Value::Object(mut map)) => {
            let pair = |(name, fields): (&&str, &Fields)| {
                Some(((*name).to_owned(), keep(fields, map.remove(*name)?)))
            };
            Value::Object(fields.iter().filter_map(pair).collect())
        }
        (Fields::Each(each), Value::Array(items)) => items.into_iter().map(|item| keep(each, item)).collect(),
        (_, other) => emptied(&other),
    }
}

/// A value of the same type that says nothing.
fn emptied(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => false.into(),
        Value::Number(_) => 0.into(),
        Value::String(_) => "".into(),
        Value::Array(_) => Vec::<Value>::new().into(),
        Value::Object(_) => Map::new().into(),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_core::sources::fields::Keep;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn shape() -> Fields {
        let port = Fields::Struct([("port", Fields::Plain), ("rest", Fields::Presence)].into());
        let map = |keep| Fields::Map(keep, Box::new(Fields::Plain));
        Fields::Struct(
            [
                ("name", Fields::Plain),
                ("labels", map(Keep::All)),
                ("ports", Fields::Each(Box::new(port))),
                ("notes", map(Keep::Where(|name| name == "a"))),
            ]
            .into(),
        )
    }

    #[rstest]
    #[case(json!({"name": "x", "env": "y"}), json!({"name": "x"}))]
    #[case(json!({"labels": {"a": "1", "b": {"c": 2}}}), json!({"labels": {"a": "1", "b": {}}}))]
    #[case(json!({"ports": [{"port": 1, "x": 2, "rest": {"y": 3}}, 7]}), json!({"ports": [{"port": 1, "rest": {}}, 0]}))]
    #[case(json!({"notes": {"a": "1", "b": "2"}}), json!({"notes": {"a": "1"}}))]
    #[case(json!({"name": {"x": 1}, "ports": "x", "labels": null}), json!({"name": {}, "ports": "", "labels": null}))]
    fn kept(#[case] value: Value, #[case] expected: Value) {
        assert_eq!(keep(&shape(), value), expected);
    }
}
