//! Why an object could not be understood: which field, what stands there, and what was expected.
//!
//! `serde_json` says this in one text, without the field. So an object that does not fit is read a second time, from its
//! tree, by a deserializer that keeps the parts apart. What fits, which is nearly everything, is read once.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, Expected, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Value;

/// Most characters of a value that are shown.
const SHOWN: usize = 60;

/// One step on the way to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldStep {
    /// To the value of a key.
    Key(String),
    /// To an item of a list, counted from 0.
    Item(usize),
}

impl From<&str> for FieldStep {
    fn from(key: &str) -> Self {
        Self::Key(key.into())
    }
}

impl From<usize> for FieldStep {
    fn from(index: usize) -> Self {
        Self::Item(index)
    }
}

/// The way to a field, from the whole object inwards; empty for the object itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldPath(pub Vec<FieldStep>);

impl FieldPath {
    /// The path that is written `spec.ports[1].port`; a key of it holds no dot and no bracket.
    pub fn parse(text: &str) -> Self {
        let steps = text.split(['.', '[']).filter(|step| !step.is_empty());
        Self(
            steps
                .map(|step| {
                    let index = step.strip_suffix(']').and_then(|index| index.parse().ok());
                    index.map_or_else(|| step.into(), FieldStep::Item)
                })
                .collect(),
        )
    }
}

impl fmt::Display for FieldPath {
    /// `spec.ports[1].port`, `metadata.labels["a.b/c"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                FieldStep::Key(key) if key.contains(['.', '/']) => write!(f, "[\"{key}\"]")?,
                FieldStep::Key(key) if at == 0 => f.write_str(key)?,
                FieldStep::Key(key) => write!(f, ".{key}")?,
                FieldStep::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Why an object could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    /// The field.
    pub field: FieldPath,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.0.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{}: {}", self.field, self.what)
        }
    }
}

impl DecodeError {
    /// A fault of the whole object, or one whose text names the field.
    pub fn of(what: impl Into<String>) -> Self {
        Self {
            field: FieldPath::default(),
            what: what.into(),
        }
    }

    /// The same of an object that stands in this field of another.
    pub(super) fn inside<const N: usize>(mut self, field: [FieldStep; N]) -> Self {
        self.field.0.splice(0..0, field);
        self
    }

    /// A text in a field where one of a few is expected.
    pub(super) fn other_than<const N: usize>(field: [FieldStep; N], found: &str, expected: &str) -> Self {
        Self {
            field: FieldPath(field.into()),
            what: format!("{}, expected {expected}", shown(Unexpected::Str(found))),
        }
    }
}

/// Where an object was read, for messages about it.
pub trait Place: fmt::Debug {
    /// Where a field of the object stands, or would: `a.yaml, document 2, line 7, column 11`.
    fn of(&self, field: &FieldPath) -> String;
}

/// Reads a type from JSON.
pub(super) fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(json).map_err(|error| {
        let misfit = serde_json::from_slice::<Value>(json)
            .ok()
            .and_then(|tree| misfit::<T>(&tree).err());
        misfit.unwrap_or_else(|| DecodeError::of(error.to_string()))
    })
}

/// What is wrong with a tree for a type.
///
/// The type is asked for in the lifetime of the bytes and read from the tree, so that what it borrows is made up: nothing of
/// it is looked at.
fn misfit<'a, T: Deserialize<'a>>(tree: &Value) -> Result<(), DecodeError> {
    match T::deserialize(BorrowedTree(tree)) {
        Ok(_) => Ok(()),
        Err(Misfit { mut way, what }) => {
            way.reverse();
            Err(DecodeError {
                field: FieldPath(way),
                what,
            })
        }
    }
}

/// An error of the second reading.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Misfit {
    /// The way to the field, from the inside outwards.
    way: Vec<FieldStep>,
    what: String,
}

impl Misfit {
    fn inside(mut self, step: FieldStep) -> Self {
        self.way.push(step);
        self
    }
}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self {
            way: Vec::new(),
            what: what.to_string(),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("{}, {}", shown(found), wanted(found, expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom("missing").inside(FieldStep::Key(field.into()))
    }
}

/// A value as people write it.
fn shown(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("found {value}"),
        Unexpected::Unsigned(value) => format!("found {value}"),
        Unexpected::Signed(value) => format!("found {value}"),
        Unexpected::Float(value) => format!("found {value}"),
        Unexpected::Str(text) => {
            let cut: String = text.chars().take(SHOWN).collect();
            let rest = if cut.len() < text.len() { "…" } else { "" };
            format!("found the text \"{}{rest}\"", cut.escape_debug())
        }
        Unexpected::Unit | Unexpected::Option => "found null".into(),
        Unexpected::Seq => "found a list".into(),
        Unexpected::Map => "found a mapping".into(),
        other => format!("found {other}"),
    }
}

/// What a type expects, in words for people and not for programmers: `serde` names the types of Rust.
fn wanted(found: Unexpected<'_>, expected: &dyn Expected) -> String {
    let kind = expected.to_string();
    let whole = |range: &str| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let quoted = matches!(found, Unexpected::Str(text) if digits(text));
        let quotes = if quoted { ", without quotes" } else { "" };
        format!("expected a whole number {range}{quotes}")
    };
    match &*kind {
        "u8" => whole("from 0 to 255"),
        "u16" => whole("from 0 to 65535"),
        "u32" => whole("from 0 to 4294967295"),
        "u64" | "usize" => whole("from 0"),
        "i32" | "i64" => whole("that fits"),
        "a boolean" => "expected true or false".into(),
        "a string" | "a borrowed string" | "a str" => "expected a text".into(),
        "a sequence" => "expected a list".into(),
        "a map" => "expected a mapping".into(),
        _ if kind.starts_with("struct ") => "expected a mapping".into(),
        _ => format!("expected {kind}"),
    }
}

/// A tree that is read again. What is borrowed from it does not live long enough for the type, so texts are handed over as
/// passing ones.
struct BorrowedTree<'t>(&'t Value);

impl<'de> Deserializer<'de> for BorrowedTree<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Value::Object(fields) => visitor.visit_map(Entries(fields.iter(), None)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Items<'t>(std::iter::Enumerate<std::slice::Iter<'t, Value>>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let Some((at, item)) = self.0.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(BorrowedTree(item));
        read.map(Some).map_err(|why| why.inside(FieldStep::Item(at)))
    }
}

struct Entries<'t>(serde_json::map::Iter<'t>, Option<(&'t str, &'t Value)>);

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some((key, value)) = self.0.next() else {
            return Ok(None);
        };
        self.1 = Some((key, value));
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Misfit> {
        let Some((key, value)) = self.1.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        let read = seed.deserialize(BorrowedTree(value));
        read.map_err(|why| why.inside(FieldStep::Key(key.into())))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::names::Names;
    use crate::sources::Row;
    use crate::sources::service::Service;
    use crate::sources::slice::Slice;

    #[rstest]
    #[case::number(json!({"spec": {"ports": [{"port": 1}, {"port": "80"}]}}),
        "spec.ports[1].port: found the text \"80\", expected a whole number from 0 to 65535, without quotes")]
    #[case::too_large(json!({"spec": {"ports": [{"port": 65_536}]}}),
        "spec.ports[0].port: found 65536, expected a whole number from 0 to 65535")]
    #[case::null(json!({"spec": {"ports": [null]}}), "spec.ports[0]: found null, expected a mapping")]
    #[case::odd_key(json!({"metadata": {"name": "a", "labels": {"a.b/c": 7}}}),
        "metadata.labels[\"a.b/c\"]: found 7, expected a text")]
    #[case::list(json!({"spec": {"ports": {}}}), "spec.ports: found a mapping, expected a list")]
    #[case::missing(json!({"spec": {"ports": [{}]}}), "spec.ports[0].port: missing")]
    #[case::word(json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 1, "protocol": "QUIC"}]}}),
        "spec.ports[0].protocol: found the text \"QUIC\", expected TCP, UDP or SCTP")]
    #[case::no_name(json!({}), "metadata.name: missing; every object has a name")]
    fn what_does_not_fit_is_reported_by_field(#[case] mut object: Value, #[case] expected: &str) {
        if let Some(fields) = object.as_object_mut() {
            fields.entry("metadata").or_insert_with(|| json!({}));
        }
        let text = object.to_string();
        let why = Service::parse(text.as_bytes(), &mut Names::default()).unwrap_err();
        assert_eq!(why.to_string(), expected);
    }

    #[test]
    fn what_is_no_json_is_told_by_the_parser() {
        let why = Slice::parse(b"{\"metadata\": ", &mut Names::default()).unwrap_err();
        assert_eq!(why.field, FieldPath::default());
        assert!(why.what.contains("line 1"), "{why}");
    }
}
