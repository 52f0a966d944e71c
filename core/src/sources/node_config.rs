//! `cilium.io/CiliumNodeConfig`: Cilium's settings for some of the nodes.

use std::sync::Arc;

use serde::Deserialize;

use super::{Meta, Row, SelectorWire, TextMap, Why, or_default};
use crate::know::Source;
use crate::names::{Key, Names};
use crate::policy::Selector;

/// What a CiliumNodeConfig says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiliumNodeConfig {
    /// The nodes it is for; `None` selects no node, an empty one every node.
    pub nodes: Option<Selector>,
    /// The settings, keys as in `cilium-config`.
    pub defaults: Box<[(Arc<str>, Arc<str>)]>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    spec: Spec<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow, default)]
    node_selector: Option<SelectorWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    defaults: TextMap<'a>,
}

impl Row for CiliumNodeConfig {
    const SOURCE: Source = Source::CiliumNodeConfigs;

    fn parse(json: &[u8], names: &mut Names) -> Result<(Key, Self), Why> {
        let wire: Wire<'_> = serde_json::from_slice(json)?;
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
