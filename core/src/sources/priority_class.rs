//! `scheduling.k8s.io/v1/PriorityClass`: which Pods make way for which.

use serde::Deserialize;

use super::kind::Kind;
use super::{DecodeError, Named, Row, or_default};
use crate::names::{Key, Names};

/// What a PriorityClass says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PriorityClass {
    /// `value`: the higher one preempts the lower one.
    pub value: i32,
    /// `globalDefault`: whether Pods without a class get it.
    pub global_default: bool,
}

/// What is read of the object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wire<'a> {
    #[serde(borrow)]
    metadata: Named<'a>,
    #[serde(default, deserialize_with = "or_default")]
    value: i32,
    #[serde(default, deserialize_with = "or_default")]
    global_default: bool,
}

impl Row for PriorityClass {
    const KINDS: &'static [Kind] = &[Kind {
        group: "scheduling.k8s.io",
        namespaced: false,
        ..Kind::v1(
            "PriorityClass",
            "priorityclasses",
            "which Pods are placeholders that make way for others",
        )
    }];

    type Wire<'a> = Wire<'a>;

    fn of(wire: Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        let key = wire.metadata.key(names)?;
        Ok((
            key,
            Self {
                value: wire.value,
                global_default: wire.global_default,
            },
        ))
    }
}
