//! `cilium.io/CiliumNodeConfig`: Cilium's settings for some of the nodes.

use std::sync::Arc;

use serde::Deserialize;

use super::kind::Kind;
use super::{DecodeError, Resource, Row, SelectorWire, TextMap, or_default};
use crate::names::{Key, Names};
use crate::policy::Selector;

/// What a CiliumNodeConfig says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CiliumNodeConfig {
    /// The nodes it is for; `None` selects no node, an empty one every node.
    pub nodes: Option<Selector>,
    /// The settings, keys as in `cilium-config`.
    pub defaults: Box<[(Arc<str>, Arc<str>)]>,
}

/// What is read of its `spec`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Spec<'a> {
    #[serde(borrow, default)]
    node_selector: Option<SelectorWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    defaults: TextMap<'a>,
}

impl Row for CiliumNodeConfig {
    const KINDS: &'static [Kind] = &[Kind {
        group: "cilium.io",
        versions: &["v2", "v2alpha1"],
        ..Kind::v1(
            "CiliumNodeConfig",
            "ciliumnodeconfigs",
            "settings of Cilium that differ between nodes",
        )
    }];

    type Wire<'a> = Resource<'a, Spec<'a>>;

    fn of(wire: Self::Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        let key = wire.metadata.key(names)?;
        let nodes = wire
            .spec
            .node_selector
            .as_ref()
            .map(SelectorWire::compile)
            .transpose()?;
        let defaults = wire
            .spec
            .defaults
            .iter()
            .map(|(key, value)| ((**key).into(), (**value).into()))
            .collect();
        Ok((key, Self { nodes, defaults }))
    }
}
