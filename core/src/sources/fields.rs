//! Which fields of an object a type reads, learned from the type itself.
//!
//! A collected folder keeps exactly these, so that it is judged as the cluster was. No list by hand can promise that:
//! here the type's own `Deserialize` is asked. It is handed a deserializer that answers every request with an empty
//! value and writes down what was requested: a struct names its fields, a list asks for an item, a map for a value.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// What is read at one place of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fields {
    /// That something is there, and nothing of what it says.
    Presence,
    /// A text, a number or a truth value.
    Plain,
    /// This of each item of a list.
    Each(Box<Self>),
    /// This of the values of a map.
    Map(Keep, Box<Self>),
    /// These fields.
    Struct(BTreeMap<&'static str, Self>),
}

/// Which keys of a map are kept.
#[derive(Clone, Copy)]
pub enum Keep {
    /// Every key.
    All,
    /// Those for which this is true.
    Where(fn(&str) -> bool),
}

impl Keep {
    /// Whether this key is kept.
    pub fn keeps(self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Where(keeps) => keeps(key),
        }
    }
}

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::All => "All",
            Self::Where(_) => "Where",
        })
    }
}

impl PartialEq for Keep {
    fn eq(&self, other: &Self) -> bool {
        matches!((self, other), (Self::All, Self::All))
    }
}

impl Eq for Keep {}

/// The fields that a type reads.
///
/// # Errors
/// Where the type refuses an empty value: what it reads behind that is not known. Wire types take any value of the right
/// type; what a value has to be is decided after decoding.
pub(crate) fn of<T: Deserialize<'static>>() -> Result<Fields, Refused> {
    let mut fields = Fields::Presence;
    T::deserialize(Record(&mut fields))?;
    Ok(fields)
}

impl Fields {
    /// Keeps only some keys of the map at this path, such as `metadata.annotations`. Returns whether there is one.
    pub(crate) fn restrict(&mut self, path: &str, keeps: fn(&str) -> bool) -> bool {
        let at = path.split('.').try_fold(self, |fields, name| match fields {
            Self::Struct(known) => known.get_mut(name),
            _ => None,
        });
        match at {
            Some(Self::Map(keep, _)) => {
                *keep = Keep::Where(keeps);
                true
            }
            _ => false,
        }
    }
}

/// Why a type's fields are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a wire type refuses an empty value: {0}")]
pub struct Refused(String);

impl de::Error for Refused {
    fn custom<T: std::fmt::Display>(why: T) -> Self {
        Self(why.to_string())
    }
}

/// Writes down what is asked of it.
struct Record<'r>(&'r mut Fields);

impl Record<'_> {
    fn plain(self) {
        *self.0 = Fields::Plain;
    }
}

macro_rules! plain {
    ($($ask:ident $answer:ident($value:expr);)*) => {
        $(fn $ask<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.plain();
            visitor.$answer($value)
        })*
    };
}

impl Deserializer<'static> for Record<'_> {
    type Error = Refused;

    plain! {
        deserialize_bool visit_bool(false);
        deserialize_i8 visit_i8(0);
        deserialize_i16 visit_i16(0);
        deserialize_i32 visit_i32(0);
        deserialize_i64 visit_i64(0);
        deserialize_u8 visit_u8(0);
        deserialize_u16 visit_u16(0);
        deserialize_u32 visit_u32(0);
        deserialize_u64 visit_u64(0);
        deserialize_f32 visit_f32(0.0);
        deserialize_f64 visit_f64(0.0);
        deserialize_char visit_char('0');
        deserialize_str visit_borrowed_str("");
        deserialize_string visit_borrowed_str("");
        deserialize_identifier visit_borrowed_str("");
        // A number or a text, as `port` of a webhook or a probe: texts are what such types take in any case.
        deserialize_any visit_borrowed_str("");
    }

    fn deserialize_option<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
        *self.0 = Fields::Presence;
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
        let mut item = Fields::Presence;
        let done = visitor.visit_seq(One(Some(Record(&mut item))));
        *self.0 = Fields::Each(Box::new(item));
        done
    }

    fn deserialize_map<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Refused> {
        let mut value = Fields::Presence;
        let done = visitor.visit_map(One(Some(Record(&mut value))));
        *self.0 = Fields::Map(Keep::All, Box::new(value));
        done
    }

    fn deserialize_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let mut fields = BTreeMap::new();
        let done = visitor.visit_map(Each {
            names: names.iter(),
            next: "",
            fields: &mut fields,
        });
        *self.0 = Fields::Struct(fields);
        done
    }

    forward_to_deserialize_any! {
        <V: Visitor<'static>>
        i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct enum
    }
}

/// A list of one item, or a map of one key.
struct One<'r>(Option<Record<'r>>);

impl SeqAccess<'static> for One<'_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'static>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        self.0.take().map(|record| seed.deserialize(record)).transpose()
    }
}

impl MapAccess<'static> for One<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'static>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        let key = self.0.is_some().then(|| BorrowedStrDeserializer::new(""));
        key.map(|key| seed.deserialize(key)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'static>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        match self.0.take() {
            Some(record) => seed.deserialize(record),
            None => Err(de::Error::custom("a value was asked for twice")),
        }
    }
}

/// Every field of a struct.
struct Each<'r> {
    names: std::slice::Iter<'static, &'static str>,
    next: &'static str,
    fields: &'r mut BTreeMap<&'static str, Fields>,
}

impl MapAccess<'static> for Each<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'static>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        let Some(name) = self.names.next() else {
            return Ok(None);
        };
        self.next = name;
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'static>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        let field = self.fields.entry(self.next).or_insert(Fields::Presence);
        seed.deserialize(Record(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Text, TextMap, or_default};

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code, reason = "only its fields are asked for")]
    struct Example<'a> {
        #[serde(borrow)]
        needed: Text<'a>,
        #[serde(borrow, default, deserialize_with = "or_default")]
        some_labels: TextMap<'a>,
        #[serde(borrow, default, deserialize_with = "or_default")]
        items: Vec<ExampleItem<'a>>,
        #[serde(default)]
        ignored: Vec<de::IgnoredAny>,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only its fields are asked for")]
    struct ExampleItem<'a> {
        #[serde(borrow, rename = "IP")]
        ip: Option<Text<'a>>,
        port: u16,
    }

    #[test]
    fn a_type_lists_every_field_that_it_reads() {
        let item = Fields::Struct([("IP", Fields::Plain), ("port", Fields::Plain)].into());
        let labels = Fields::Map(Keep::All, Box::new(Fields::Plain));
        assert_eq!(
            of::<Example<'static>>(),
            Ok(Fields::Struct(
                [
                    ("needed", Fields::Plain),
                    ("someLabels", labels),
                    ("items", Fields::Each(Box::new(item))),
                    ("ignored", Fields::Each(Box::new(Fields::Presence))),
                ]
                .into()
            ))
        );
    }

    #[test]
    fn a_type_that_refuses_an_empty_value_is_reported() {
        assert!(of::<std::net::IpAddr>().is_err());
    }

    #[test]
    fn only_a_map_is_restricted() {
        let mut fields = of::<Example<'static>>().unwrap();
        assert!(fields.restrict("someLabels", |key| key == "a"));
        assert!(!fields.restrict("items", |_| true));
        assert!(!fields.restrict("absent.path", |_| true));
    }
}
