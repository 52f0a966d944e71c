//! From JSON bytes straight into rows: one file for each kind of object.
//!
//! Each file has a wire type, whose fields borrow from the JSON and are just those that checks read: nothing else of an
//! object is kept, and a collected folder holds the same fields ([`fields`]). Which sources there are is one table, in
//! `source.rs`.
//!
//! Go writes `null` for an empty list or map, so every optional field accepts it.

pub mod claim;
pub mod config_map;
mod decode_error;
pub mod disruption;
pub mod event;
pub mod felix_configuration;
pub mod fields;
pub mod installation;
pub mod kind;
pub mod l2_advertisement;
pub mod ledger;
pub mod namespace;
pub mod node;
pub mod node_config;
pub mod placement;
pub mod policy;
pub mod priority_class;
pub mod service;
pub mod slice;
pub mod sysctl;
pub mod taint;
mod template;
pub mod webhook;
pub mod workload;

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

pub use decode_error::{DecodeError, FieldPath, FieldStep, Place};
use fields::{Fields, Refused};
use kind::Kind;

use crate::know::Source;
use crate::names::{Key, LONGEST, Name, Names, Pairs};
use crate::policy::{Operator, Requirement, Selector};
use crate::sources;

/// A map of which only some keys are read: its path, and which keys.
pub type KeptKeys = (&'static str, fn(&str) -> bool);

/// What one source says about one object, projected and interned.
pub trait Row: PartialEq + Sized {
    /// The kinds that such rows are read from; more than one where they share a table.
    const KINDS: &'static [Kind];

    /// Maps of which only some keys are kept, by the path of the map. The row keeps no others, and a collected folder
    /// must not: an annotation may hold a secret.
    const KEPT_KEYS: &'static [KeptKeys] = &[];

    /// The fields that are read.
    type Wire<'a>: Deserialize<'a>;

    /// Makes a row of what was read.
    fn of(wire: Self::Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError>;

    /// Reads one object.
    fn parse(json: &[u8], names: &mut Names) -> Result<(Key, Self), DecodeError> {
        names.take_refused();
        let made = Self::of(decode_error::read(json)?, names);
        match names.take_refused() {
            Some((bytes, begins)) => Err(DecodeError::of(format!(
                "a text of {bytes} bytes that begins with `{begins}`; at most {LONGEST} bytes are read"
            ))),
            None => made,
        }
    }

    /// The fields that are read, from the type that reads them.
    ///
    /// # Errors
    /// Where the type does not show them; see [`Refused`].
    fn fields() -> Result<Fields, Refused> {
        let mut fields = fields::of::<Self::Wire<'static>>()?;
        for (path, keeps) in Self::KEPT_KEYS {
            fields.restrict(path, *keeps);
        }
        Ok(fields)
    }
}

macro_rules! by_source {
    ($(
        $(#[$doc:meta])*
        $source:ident $text:literal
        $(row $row:ty => $table:ident, $changed:ident)?
        $(compiled $compiled:ty => $compiled_table:ident, $compiled_changed:ident)?
        $(of $kinds:expr)?;
    )*) => {
        impl Source {
            /// The kinds of the API that the source is read from; none where it is no kind.
            pub const fn kinds(self) -> &'static [Kind] {
                match self {
                    $(
                        $(Self::$source => <$row as Row>::KINDS,)?
                        $(Self::$source => $kinds,)?
                    )*
                }
            }

            /// The fields that are read of its objects; `None` where they do not come as plain objects.
            ///
            /// # Errors
            /// Where the type that reads them does not show them; see [`Refused`].
            pub fn fields(self) -> Option<Result<Fields, Refused>> {
                match self {
                    $($(Self::$source => Some(<$row as Row>::fields()),)?)*
                    Self::Policies | Self::ClusterPolicy | Self::Configz | Self::Events | Self::Remediations => {
                        None
                    }
                }
            }
        }
    };
}
crate::source::sources!(by_source);

/// A borrowed string where the JSON has no escapes.
///
/// A plain `Cow` would be borrowed only where it is a field's very type: inside an `Option`, a list or a map serde
/// makes it owned, which costs a slice of 15 endpoints some 60 allocations.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Borrowing;

        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        from.deserialize_str(Borrowing)
    }
}

/// A borrowed map of strings.
pub(crate) type TextMap<'a> = BTreeMap<Text<'a>, Text<'a>>;

/// The metadata of an object of which no more is read than which it is.
#[derive(Deserialize, Default)]
pub(crate) struct Named<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    namespace: Text<'a>,
}

impl Named<'_> {
    /// The object's key.
    pub(crate) fn key(&self, names: &mut Names) -> Result<Key, DecodeError> {
        key(&self.namespace, &self.name, names)
    }
}

/// An object of which only what it is and its `spec` are read.
#[derive(Deserialize)]
pub struct Resource<'a, S> {
    #[serde(borrow)]
    metadata: Named<'a>,
    #[serde(
        default,
        deserialize_with = "or_default",
        bound(deserialize = "S: Default + Deserialize<'de>")
    )]
    spec: S,
}

/// An object's key; an object without a name is none, nor is one with a name that no API server takes.
pub(crate) fn key(namespace: &str, name: &str, names: &mut Names) -> Result<Key, DecodeError> {
    let bad = |field: &'static str, why| Err(DecodeError::of(why).inside(["metadata".into(), field.into()]));
    if name.is_empty() {
        return bad("name", "missing; every object has a name");
    }
    if !is_object_name(name) {
        return bad("name", NO_NAME);
    }
    if !namespace.is_empty() && !is_object_name(namespace) {
        return bad("namespace", NO_NAME);
    }
    Ok(Key {
        namespace: names.intern(namespace),
        name: names.intern(name),
    })
}

/// What is said of a name that no object can have.
const NO_NAME: &str = "no object can be called so: at most 253 of a-z, 0-9, - and ., each part between dots beginning and \
    ending with a letter or digit (RFC 1123)";

/// Whether a text can be an object's name: a DNS subdomain of RFC 1123, as API servers hold the names of all kinds that are
/// read here to (`NameIsDNSSubdomain` in `k8s.io/apimachinery`, `pkg/api/validation/generic.go`).
pub(crate) fn is_object_name(text: &str) -> bool {
    let label = |label: &str| {
        let plain = |one: u8| one.is_ascii_lowercase() || one.is_ascii_digit();
        let ends = [label.bytes().next(), label.bytes().last()];
        ends.into_iter().all(|end| end.is_some_and(plain))
            && label.bytes().all(|one| plain(one) || one == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// A hash of what is compared and not shown. Equal values are equal numbers in every core.
pub(crate) fn fingerprint(what: &(impl Hash + ?Sized)) -> u64 {
    // The keys of this hasher are fixed.
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// A hash of a Pod, the same in its own row and in those of its endpoints; 0 where nothing tells it from others. The uid tells
/// it from one of the same name before it; slices that people write may have only the name.
pub(crate) fn pod_hash(uid: &str, name: &str) -> u32 {
    let text = if uid.is_empty() { name } else { uid };
    if text.is_empty() {
        return 0;
    }
    let hash = fingerprint(text.as_bytes());
    ((hash >> 32) as u32 ^ hash as u32).max(1)
}

/// A hash of an object's uid; 0 where it has none.
pub(crate) fn uid_hash(uid: &str) -> u64 {
    if uid.is_empty() { 0 } else { fingerprint(uid) }
}

/// Interns every pair.
pub(crate) fn all_pairs(map: &TextMap<'_>, names: &mut Names) -> Pairs {
    pairs(map, names, |_| true)
}

/// Interns the pairs whose key is wanted.
pub(crate) fn pairs(map: &TextMap<'_>, names: &mut Names, want: impl Fn(&str) -> bool) -> Pairs {
    Pairs::new(
        map.iter()
            .filter(|(key, _)| want(key))
            .map(|(key, value)| (names.intern(key), names.intern(value)))
            .collect(),
    )
}

/// Reads `null` as the type's default, as Go's decoder does.
pub(crate) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// A label selector on the wire.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SelectorWire<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    pub(crate) match_labels: TextMap<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    pub(crate) match_expressions: Vec<RequirementWire<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct RequirementWire<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow)]
    operator: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    values: Vec<Text<'a>>,
}

impl SelectorWire<'_> {
    /// The owned form.
    pub(crate) fn compile(&self) -> Result<Selector, DecodeError> {
        let labels = self
            .match_labels
            .iter()
            .map(|(key, value)| ((**key).into(), (**value).into()))
            .collect();
        let expressions = self
            .match_expressions
            .iter()
            .enumerate()
            .map(|(at, line)| {
                let operator = match &*line.operator {
                    "In" => Operator::In,
                    "NotIn" => Operator::NotIn,
                    "Exists" => Operator::Exists,
                    "DoesNotExist" => Operator::DoesNotExist,
                    other => {
                        return Err(DecodeError::other_than(
                            ["matchExpressions".into(), at.into(), "operator".into()],
                            other,
                            "In, NotIn, Exists or DoesNotExist",
                        ));
                    }
                };
                let values = line.values.iter().map(|value| (&**value).into()).collect();
                Ok(Requirement {
                    key: (*line.key).into(),
                    operator,
                    values,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Selector { labels, expressions })
    }
}

/// Whether a selector matches interned labels.
pub fn selects(selector: &Selector, labels: &Pairs, names: &Names) -> bool {
    selector.matches(|key| labels.text(names, key))
}

/// Interns an optional text; absent is the empty name.
pub(crate) fn name_of(text: Option<&Text<'_>>, names: &mut Names) -> Name {
    text.map_or(Name::EMPTY, |text| names.intern(text))
}
