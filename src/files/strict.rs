//! JSON text of a document in which no key is written twice.
//!
//! `serde_json` keeps the last of two equal keys and says nothing; the API server's strict decoding refuses them, and
//! so does this. In YAML the parser itself refuses them first, with the line.
//!
//! A document stays text until one object of it is looked at: as a tree of values a file takes up to ninety times its size.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A JSON document that was read to its end and holds no key twice. Nothing of it is kept.
pub(super) struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Copy(None).deserialize(from).map(|()| Self)
    }
}

/// A document of any form, as JSON.
pub(super) struct Json(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut json = Vec::new();
        Copy(Some(&mut json)).deserialize(from)?;
        Ok(Self(json))
    }
}

/// Reads any value, and writes it as JSON where there is a place for it.
struct Copy<'a>(Option<&'a mut Vec<u8>>);

impl Copy<'_> {
    fn inner(&mut self) -> Copy<'_> {
        Copy(self.0.as_deref_mut())
    }

    fn mark(&mut self, byte: u8) {
        if let Some(json) = &mut self.0 {
            json.push(byte);
        }
    }

    fn scalar<T: Serialize + ?Sized, E: Error>(self, value: &T) -> Result<(), E> {
        match self.0 {
            Some(json) => serde_json::to_writer(json, value).map_err(E::custom),
            None => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Copy<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Copy<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<(), E> {
        Err(E::custom(format_args!("the number {value} is too large")))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<(), E> {
        Err(E::custom(format_args!("the number {value} is too large")))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        let number = Number::from_f64(value);
        self.scalar(&number.ok_or_else(|| E::custom("a number that is none, or infinite"))?)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(&())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.scalar(&())
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut from: A) -> Result<(), A::Error> {
        self.mark(b'[');
        let mut first = true;
        loop {
            let before = self.0.as_deref().map_or(0, Vec::len);
            if !first {
                self.mark(b',');
            }
            if from.next_element_seed(self.inner())?.is_none() {
                if let Some(json) = &mut self.0 {
                    json.truncate(before);
                }
                break;
            }
            first = false;
        }
        self.mark(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut from: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        self.mark(b'{');
        while let Some(TextKey(key)) = from.next_key()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` is written twice")));
            }
            if !keys.is_empty() {
                self.mark(b',');
            }
            self.inner().scalar(&*key)?;
            self.mark(b':');
            from.next_value_seed(self.inner())?;
            keys.insert(key);
        }
        self.mark(b'}');
        Ok(())
    }
}

/// A key, borrowed from the text where it stands there as it is.
struct TextKey<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for TextKey<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = TextKey<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<TextKey<'de>, E> {
                Ok(TextKey(value.into()))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<TextKey<'de>, E> {
                Ok(TextKey(value.to_owned().into()))
            }

            fn visit_string<E: Error>(self, value: String) -> Result<TextKey<'de>, E> {
                Ok(TextKey(value.into()))
            }
        }

        from.deserialize_string(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case(json!({"a": [1, -2, 2.5, "x\n\"", null, true, {}, [], {"b": []}], "c": {"d": {"e": ""}}}))]
    #[case(json!([]))]
    #[case(json!(null))]
    fn a_copy_is_the_same(#[case] value: Value) {
        let text = value.to_string();
        let Json(copy) = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&copy).unwrap(), value);
        let Json(copy) = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&copy).unwrap(), value);
    }

    #[rstest]
    #[case(r#"{"a": 1, "a": 2}"#)]
    #[case(r#"{"a": 1, "\u0061": 2}"#)]
    #[case(r#"[{"b": {"a": 1, "c": 1, "a": 2}}]"#)]
    fn a_key_that_is_written_twice_is_refused(#[case] text: &str) {
        let error = serde_json::from_str::<Checked>(text).err().unwrap();
        assert!(
            error.to_string().contains("the key `a` is written twice"),
            "{error}"
        );
    }
}
