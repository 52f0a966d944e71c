//! What is kept of a JSON value: a list of what is allowed, so that a field nobody thought of is left out.

use serde_json::{Map, Value};

/// What is kept at one place of an object.
pub(super) enum Keep {
    /// A text, a number, a truth value.
    Plain,
    /// Any number of plain values, in a list or under any name.
    Plains,
    /// The same under names that are asked for.
    Named(fn(&str) -> bool),
    /// Everything below. Only for what evenkeel itself defines.
    Whole,
    /// These fields.
    Fields(&'static [(&'static str, Self)]),
    /// This of each item of a list.
    Each(&'static Self),
}

impl Keep {
    /// The value without what is not kept.
    ///
    /// A value of the wrong type stays one, without its content: it must be refused from a file as it was from the
    /// cluster, and not taken for one that is absent.
    pub(super) fn of(&self, value: Value) -> Value {
        match (self, value) {
            (_, Value::Null) => Value::Null,
            (Self::Whole, value)
            | (Self::Plain, value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => value,
            (Self::Plains, Value::Object(fields)) => plain(fields, |_| true),
            (Self::Plains, Value::Array(items)) => {
                items.into_iter().map(|item| Self::Plain.of(item)).collect()
            }
            (Self::Named(wanted), Value::Object(fields)) => plain(fields, wanted),
            (Self::Fields(kept), Value::Object(mut fields)) => {
                let pair =
                    |(name, keep): &(&str, Self)| Some(((*name).to_owned(), keep.of(fields.remove(*name)?)));
                Value::Object(kept.iter().filter_map(pair).collect())
            }
            (Self::Each(keep), Value::Array(items)) => items.into_iter().map(|item| keep.of(item)).collect(),
            (_, wrong) => emptied(&wrong),
        }
    }
}

fn plain(fields: Map<String, Value>, wanted: impl Fn(&str) -> bool) -> Value {
    let fields = fields.into_iter().filter(|(name, _)| wanted(name));
    Value::Object(
        fields
            .map(|(name, value)| (name, Keep::Plain.of(value)))
            .collect(),
    )
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
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const SHAPE: Keep = Keep::Fields(&[
        ("name", Keep::Plain),
        ("labels", Keep::Plains),
        ("ports", Keep::Each(&Keep::Fields(&[("port", Keep::Plain)]))),
        ("notes", Keep::Named(|name| name == "a")),
    ]);

    #[rstest]
    #[case(json!({"name": "x", "env": "y"}), json!({"name": "x"}))]
    #[case(json!({"labels": {"a": "1", "b": {"c": 2}}}), json!({"labels": {"a": "1", "b": {}}}))]
    #[case(json!({"ports": [{"port": 1, "x": 2}, 7]}), json!({"ports": [{"port": 1}, 0]}))]
    #[case(json!({"notes": {"a": "1", "b": "2"}}), json!({"notes": {"a": "1"}}))]
    #[case(json!({"name": {"x": 1}, "ports": "x", "labels": null}), json!({"name": {}, "ports": "", "labels": null}))]
    fn kept(#[case] value: Value, #[case] expected: Value) {
        assert_eq!(SHAPE.of(value), expected);
    }
}
