//! A document of any shape, from YAML or JSON, with every key that was written.
//!
//! Configuration is read the way the product reads it, and products differ in what they forgive. So nothing is
//! decoded into types here: keys stay as they are written, twice if they are written twice, and what a value is
//! stays visible (`5` is a number, `"5"` is not).

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;

/// A value in a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// Nothing, or `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number that fits.
    Int(i64),
    /// Any other number, as text.
    Number(String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// Keys and values in the order of the document, with repetitions.
    Map(Vec<(String, Self)>),
}

impl Tree {
    /// The first document of a YAML text, and whether others follow.
    pub(crate) fn from_yaml(text: &str) -> Result<(Self, bool), String> {
        let options = serde_saphyr::options! {
            // Far above any configuration that people write, far below what hurts.
            budget: serde_saphyr::budget! { max_nodes: 20_000, max_depth: 64, max_documents: 64 },
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            emit_comments: false,
            with_snippet: false,
        };
        let documents: Vec<Self> = serde_saphyr::from_multiple_with_options(text, options)
            .map_err(|error| one_line(&error.to_string()))?;
        let more = documents.len() > 1;
        Ok((documents.into_iter().next().unwrap_or(Self::Null), more))
    }

    /// A JSON text.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| one_line(&error.to_string()))
    }

    /// The last value written under a key: the one that counts.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries
                .iter()
                .rev()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value at a path of keys.
    pub(crate) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |tree, key| tree.get(key))
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What a value is, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl fmt::Display for Tree {
    /// Short: lists and mappings are only named.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Number(value) => f.write_str(value),
            Self::Text(value) => write!(f, "\"{}\"", shorten(value)),
            Self::Null | Self::List(_) | Self::Map(_) => f.write_str(self.kind()),
        }
    }
}

/// A text short enough for a message, on one line.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    let mut short: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MOST)
        .collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

fn one_line(text: &str) -> String {
    const MOST: usize = 200;
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(MOST)
        .collect()
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Tree, E> {
        Ok(i64::try_from(value).map_or_else(|_| Tree::Number(value.to_string()), Tree::Int))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Text(value))
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Text(String::from_utf8_lossy(value).into_owned()))
    }

    fn visit_none<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Tree, Tree>()? {
            let key = match key {
                Tree::Text(text) => text,
                Tree::List(_) | Tree::Map(_) => return Err(A::Error::custom("a key is a list or a mapping")),
                scalar => scalar.to_string(),
            };
            entries.push((key, value));
        }
        Ok(Tree::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_last_of_repeated_keys_counts() {
        let (tree, more) = Tree::from_yaml("a: {b: 1}\na: {b: 2, c: x}\n").unwrap();
        assert_eq!(tree.at("a.b"), Some(&Tree::Int(2)));
        assert!(!more);
        let json = Tree::from_json(r#"{"a":{"b":1},"a":{"b":2,"c":"x"}}"#).unwrap();
        assert_eq!(json, tree);
    }

    #[rstest]
    #[case("a: 1\r\nb: x\r\n")]
    #[case("\u{feff}a: 1\nb: x\n")]
    #[case("---\na: 1\nb: x\n")]
    #[case("# comment\n\n---\n\na: 1\nb: x\n...\n")]
    fn forms_of_the_same_document(#[case] text: &str) {
        let (tree, _) = Tree::from_yaml(text).unwrap();
        assert_eq!(
            (tree.get("a"), tree.at("b").and_then(Tree::text)),
            (Some(&Tree::Int(1)), Some("x"))
        );
    }

    #[rstest]
    #[case("a:\n\tb: 1\n")]
    #[case("a: [1\n")]
    #[case("a: \"x\n")]
    #[case("{{ .Values.x }}")]
    fn broken_texts_are_errors_of_one_line(#[case] text: &str) {
        let error = Tree::from_yaml(text).unwrap_err();
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            let refs = vec![format!("*a{}", i - 1); 9].join(",");
            bomb = format!("{bomb}a{i}: &a{i} [{refs}]\n");
        }
        assert!(Tree::from_yaml(&bomb).is_err());
        assert!(Tree::from_yaml(&"[".repeat(100_000)).is_err());
        assert!(Tree::from_json(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn several_documents_are_told() {
        assert!(Tree::from_yaml("a: 1\n---\na: 2\n").unwrap().1);
        assert_eq!(Tree::from_yaml("").unwrap(), (Tree::Null, false));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}", lines in "([a-z]{1,3}:? ?[-\\[\\]{}&*!|>'\"%@`#,0-9.\\t]{0,5}\\n?){0,8}") {
            let _ = (Tree::from_yaml(&text), Tree::from_json(&text), Tree::from_yaml(&lines));
        }
    }
}
