//! Looks into the JSON text of a document without making values of it: what it is, and one item after the other.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// Most bytes that one object may take as a tree of values: ten times the largest object that etcd stores
/// (`--max-request-bytes`, 1.5 MiB).
const OBJECT: usize = 16 << 20;

/// Bytes of a map of values with one entry: a leaf of the tree that `serde_json` keeps it in has room for eleven.
const MAP: usize = 640;

/// Bytes of one more entry of a map or list, at most.
const ENTRY: usize = 96;

/// What a document says of itself, and its items where it is a list. Fields that are not named here are not read.
#[derive(Debug, Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow, rename = "apiVersion")]
    pub(super) version: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) kind: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    /// As Go writes a field without a JSON name: older versions of `kubectl cluster-info dump` do.
    #[serde(borrow, rename = "Items")]
    go_items: Option<&'a RawValue>,
}

impl<'a> Head<'a> {
    /// Of a document that is a mapping.
    pub(super) fn of(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The name of the field that the items stand in.
    pub(super) const fn key(&self) -> &'static str {
        if self.items.is_some() { "items" } else { "Items" }
    }

    /// Version and kind, by itself or by the list that it is an item of; `None` where they are no texts.
    pub(super) fn version_and_kind(&self, usual: Option<(&str, &str)>) -> Option<(String, String)> {
        let text = |json: Option<&RawValue>, usual: Option<&str>| match json {
            None => Some(usual.unwrap_or_default().to_owned()),
            Some(json) => serde_json::from_str::<Option<String>>(json.get())
                .ok()
                .map(Option::unwrap_or_default),
        };
        let version = text(self.version, usual.map(|usual| usual.0))?;
        Some((version, text(self.kind, usual.map(|usual| usual.1))?))
    }

    /// Namespace and name, each empty where it is not there; `None` where they are no texts, or there is no metadata.
    pub(super) fn named(&self) -> Option<(String, String)> {
        #[derive(Deserialize)]
        struct Names {
            #[serde(default)]
            namespace: Option<String>,
            #[serde(default)]
            name: Option<String>,
        }

        let names: Names = serde_json::from_str(self.metadata?.get()).ok()?;
        Some((
            names.namespace.unwrap_or_default(),
            names.name.unwrap_or_default(),
        ))
    }

    /// The items, where there is a field for them.
    pub(super) fn items(&self) -> Option<&'a str> {
        self.items.or(self.go_items).map(RawValue::get)
    }
}

/// The value of a document or item; refused where it would take far more memory than any object of Kubernetes.
pub(super) fn value(json: &str) -> Result<Value, String> {
    let bytes = weight(json);
    if bytes > OBJECT {
        return Err(format!(
            "is larger than any object of Kubernetes: about {} MiB in memory, at most {} MiB are read",
            bytes >> 20,
            OBJECT >> 20
        ));
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// The memory that the values of a text take, about.
fn weight(json: &str) -> usize {
    let (mut bytes, mut quoted, mut escaped) = (json.len(), false, false);
    for byte in json.bytes() {
        if quoted {
            (quoted, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' => bytes += MAP,
            b',' | b'[' => bytes += ENTRY,
            _ => {}
        }
    }
    bytes
}

/// Calls `each` with every item of a list, by its place from zero.
pub(super) fn each_item<'a>(list: &'a str, each: impl FnMut(usize, &'a str)) {
    struct Each<F>(F);

    impl<'de, F: FnMut(usize, &'de str)> Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
            let mut index = 0;
            while let Some(item) = items.next_element::<&RawValue>()? {
                (self.0)(index, item.get());
                index += 1;
            }
            Ok(())
        }
    }

    // The text was checked when its document was cut out: nothing is left to go wrong.
    let _ = serde_json::Deserializer::from_str(list).deserialize_seq(Each(each));
}

/// The namespace of an item, where it says one.
pub(super) fn namespace(json: &str) -> Option<String> {
    let (namespace, _) = Head::of(json)?.named()?;
    Some(namespace).filter(|namespace| !namespace.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_one_by_one() {
        let mut seen = Vec::new();
        each_item(r#"[{"a": "]"}, [], 3]"#, |index, item| seen.push((index, item)));
        assert_eq!(seen, [(0, r#"{"a": "]"}"#), (1, "[]"), (2, "3")]);
    }

    #[test]
    fn what_only_looks_like_structure_weighs_nothing() {
        let text = r#""{{{[[[,,,\"{,\\""#;
        assert_eq!(weight(text), text.len());
        assert_eq!(weight(r#"{"a":"\\"}"#), 10 + MAP);
    }

    #[test]
    fn an_object_is_read_up_to_the_bound() {
        let object = |maps: usize| format!("[{}]", vec!["{}"; maps].join(","));
        assert!(value(&object(OBJECT / (MAP + ENTRY + 3))).is_ok());
        let why = value(&object(OBJECT / (MAP + ENTRY + 3) + 2)).unwrap_err();
        assert!(why.contains("at most 16 MiB are read"), "{why}");
    }
}
