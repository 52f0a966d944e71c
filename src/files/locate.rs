//! Where a field stands in a file: by the parsers' own spans.
//!
//! Objects are read without positions, which are most of the work of a parser. A document with a problem is read once
//! more with them, and nothing of it is kept.

use std::fmt;
use std::marker::PhantomData;

use evenkeel_core::sources::FieldStep;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_saphyr::Spanned;

use super::options::options;

/// A line and a column, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineColumn {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl LineColumn {
    /// Where a file begins.
    pub(super) const FIRST: Self = Self { line: 1, column: 1 };

    /// The place of a byte of a file, from this, which is that of an earlier one.
    pub(super) fn on(mut self, file: &[u8], from: usize, to: usize) -> Self {
        for byte in file.get(from..to).unwrap_or_default() {
            if *byte == b'\n' {
                self.line += 1;
                self.column = 1;
            } else if byte & 0b1100_0000 != 0b1000_0000 {
                // Not in the middle of a character of UTF-8.
                self.column += 1;
            }
        }
        self
    }
}

impl fmt::Display for LineColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// At which byte of a document the value of a field begins; where there is no such field, what would hold it.
pub(super) fn locate(text: &str, json: bool, field: &[FieldStep]) -> Option<usize> {
    if json {
        in_json(text, field)
    } else {
        in_yaml(text, field)
    }
}

fn in_json(text: &str, field: &[FieldStep]) -> Option<usize> {
    let value: &RawValue = nearest(field, |way| {
        way.deserialize(&mut serde_json::Deserializer::from_str(text))
            .ok()?
    })?;
    Some(value.get().as_ptr().addr() - text.as_ptr().addr())
}

fn in_yaml(text: &str, field: &[FieldStep]) -> Option<usize> {
    let value: Spanned<IgnoredAny> = nearest(field, |way| {
        let read = |from: serde_saphyr::Deserializer<'_, '_>| way.deserialize(from);
        serde_saphyr::with_deserializer_from_str_with_options(text, options(), read).ok()?
    })?;
    byte(text, value.referenced)
}

/// What stands at the end of a way, or of the longest part of it that there is.
fn nearest<'s, L>(field: &'s [FieldStep], mut look: impl FnMut(AtPath<'s, L>) -> Option<L>) -> Option<L> {
    (0..=field.len())
        .rev()
        .find_map(|steps| look(AtPath(field.get(..steps).unwrap_or_default(), PhantomData)))
}

/// The byte of a place that the YAML parser tells.
pub(super) fn byte(text: &str, place: serde_saphyr::Location) -> Option<usize> {
    let characters = usize::try_from(place.span().offset()).ok()?;
    let mut bytes = text.char_indices().map(|one| one.0);
    Some(bytes.nth(characters).unwrap_or(text.len()))
}

/// Reads what stands at the end of a way, and nothing of what stands beside it.
struct AtPath<'s, L>(&'s [FieldStep], PhantomData<L>);

impl<'de, L: Deserialize<'de>> DeserializeSeed<'de> for AtPath<'_, L> {
    type Value = Option<L>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<L>, D::Error> {
        if self.0.is_empty() {
            L::deserialize(from).map(Some)
        } else {
            from.deserialize_any(self)
        }
    }
}

impl<'de, L: Deserialize<'de>> Visitor<'de> for AtPath<'_, L> {
    type Value = Option<L>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<L>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<L>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<L>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<L>, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Option<L>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<L>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<L>, A::Error> {
        let mut found = None;
        let Some((FieldStep::Item(index), rest)) = self.0.split_first() else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        for at in 0.. {
            if at == *index {
                match items.next_element_seed(AtPath(rest, PhantomData))? {
                    Some(inner) => found = inner,
                    None => break,
                }
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Option<L>, A::Error> {
        let mut found = None;
        while let Some(name) = fields.next_key::<String>()? {
            match self.0.split_first() {
                Some((FieldStep::Key(key), rest)) if *key == name => {
                    found = fields.next_value_seed(AtPath(rest, PhantomData))?;
                }
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const YAML: &str =
        "# ünder\nspec:\n  ports:\n    - port: 1\n    - {port: x}\n  \"a.b/c\": >-\n    text\n";
    const JSON: &str = "{\"spec\": {\"ports\": [{\"port\": 1},\n {\"port\": \"x\"}], \"a.b/c\": 7}}";

    fn key(text: &str) -> FieldStep {
        text.into()
    }

    #[rstest]
    #[case::whole(vec![], (2, 1), (1, 1))]
    #[case::item(vec![key("spec"), key("ports"), FieldStep::Item(1), key("port")], (5, 14), (2, 11))]
    #[case::odd_key(vec![key("spec"), key("a.b/c")], (7, 5), (2, 27))]
    #[case::missing(vec![key("spec"), key("ports"), FieldStep::Item(1), key("name")], (5, 7), (2, 2))]
    #[case::no_such_item(vec![key("spec"), key("ports"), FieldStep::Item(7)], (4, 5), (1, 20))]
    fn fields(#[case] field: Vec<FieldStep>, #[case] yaml: (u64, u64), #[case] json: (u64, u64)) {
        for (text, is_json, (line, column)) in [(YAML, false, yaml), (JSON, true, json)] {
            let byte = locate(text, is_json, &field).unwrap();
            assert_eq!(
                LineColumn::FIRST.on(text.as_bytes(), 0, byte),
                LineColumn { line, column },
                "{text}"
            );
        }
    }

    #[test]
    fn a_text_that_cannot_be_read_has_no_fields() {
        assert_eq!(locate("{\"a\": ", true, &[]), None);
        assert_eq!(locate("a: [", false, &[]), None);
    }
}
