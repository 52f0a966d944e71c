//! `v1/Namespace`: its labels, which selectors of webhooks read.

use serde::Deserialize;

use super::kind::Kind;
use super::{DecodeError, Row, Text, TextMap, all_pairs, key, or_default};
use crate::names::{Key, Names, Pairs};

/// What a Namespace object says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace {
    /// Its labels.
    pub labels: Pairs,
}

/// What is read of the object.
#[derive(Deserialize)]
pub struct Wire<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    labels: TextMap<'a>,
}

impl Row for Namespace {
    const KINDS: &'static [Kind] = &[Kind {
        namespaced: false,
        ..Kind::v1(
            "Namespace",
            "namespaces",
            "labels that webhooks select namespaces by",
        )
    }];

    type Wire<'a> = Wire<'a>;

    fn of(wire: Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        let key = key("", &wire.metadata.name, names)?;
        Ok((
            key,
            Self {
                labels: all_pairs(&wire.metadata.labels, names),
            },
        ))
    }
}
