//! What the beginning of a line says, where its end was not kept.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

/// What could be read before the text ended; empty where it was not there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) event: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) version: String,
}

impl Beginning {
    /// Reads as far as it goes.
    pub(super) fn of(line: &[u8]) -> Self {
        let mut found = Self::default();
        let at = Cursor::Line(&mut found);
        // That the text ends too early is why it is read this way.
        let _ = at.deserialize(&mut serde_json::Deserializer::from_slice(line));
        found
    }
}

/// Where in the line the reader is, and where to put what it finds.
enum Cursor<'a> {
    Line(&'a mut Beginning),
    Object(&'a mut Beginning),
    Metadata(&'a mut Beginning),
}

impl<'de> DeserializeSeed<'de> for Cursor<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Cursor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match (&mut self, &*key) {
                (Self::Line(found), "type") => found.event = map.next_value()?,
                (Self::Line(found), "object") => map.next_value_seed(Cursor::Object(found))?,
                (Self::Object(found), "metadata") => map.next_value_seed(Cursor::Metadata(found))?,
                (Self::Metadata(found), "namespace") => found.namespace = map.next_value()?,
                (Self::Metadata(found), "name") => found.name = map.next_value()?,
                (Self::Metadata(found), "resourceVersion") => found.version = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing("", ["", "", "", ""])]
    #[case::typed(
        r#"{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"a","namespace":"n","resourceVersion":"7","annotations":{"x":"yyy"#,
        ["ADDED", "n", "a", "7"]
    )]
    #[case::custom(
        r#"{"type":"ADDED","object":{"apiVersion":"v1","metadata":{"annotations":{"name":"no"},"name":"a","resourceVersion":"7"},"spec":{"metadata":{"name":"no"}"#,
        ["ADDED", "", "a", "7"]
    )]
    #[case::cut_within_a_name(r#"{"type":"ADDED","object":{"metadata":{"name":"a"#, ["ADDED", "", "", ""])]
    #[case::no_object(r#"["type"]"#, ["", "", "", ""])]
    fn what_was_kept_is_read(#[case] line: &str, #[case] said: [&str; 4]) {
        let found = Beginning::of(line.as_bytes());
        assert_eq!(
            [&*found.event, &found.namespace, &found.name, &found.version],
            said
        );
    }
}
