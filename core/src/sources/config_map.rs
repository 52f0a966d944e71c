//! `v1/ConfigMap`: only the data that configures a data plane is kept.

use std::sync::Arc;

use serde::Deserialize;

use super::{Meta, Row, TextMap, Why, or_default};
use crate::know::{Source, Wall};
use crate::names::{Key, Names};

/// What a ConfigMap says about a data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMap {
    /// Kept keys with their text, sorted by key.
    pub data: Box<[(Arc<str>, Arc<str>)]>,
    /// When it was last written, as far as its managed fields tell.
    pub written: Option<Wall>,
}

impl ConfigMap {
    /// The text of a key.
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        self.data.iter().find(|pair| &*pair.0 == key).map(|pair| &pair.1)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    data: TextMap<'a>,
}

/// Whether this key of this ConfigMap configures a data plane.
///
/// Cilium's and Terway's maps have fixed names; kube-proxy's do not, but its document names its own API group.
fn kept(name: &str, text: &str) -> bool {
    matches!(name, "cilium-config" | "eni-config")
        || text.contains("kubeproxy.config.k8s.io")
        || text.contains("KubeProxyConfiguration")
}

impl Row for ConfigMap {
    const SOURCE: Source = Source::ConfigMaps;

    fn parse(json: &[u8], names: &mut Names) -> Result<(Key, Self), Why> {
        let wire: Wire<'_> = serde_json::from_slice(json)?;
        let key = wire.metadata.key(names)?;
        // kube-proxy's own map is kept whole: a document that names no kind is still what it reads.
        let whole = wire.metadata.name.starts_with("kube-proxy") || wire.metadata.name == "proxy-config";
        let data = wire
            .data
            .iter()
            .filter(|(_, text)| whole || kept(&wire.metadata.name, text))
            .filter(|(key, _)| !key.contains("kubeconfig"))
            .map(|(key, text)| ((**key).into(), (**text).into()))
            .collect();
        Ok((
            key,
            Self {
                data,
                written: wire.metadata.written(),
            },
        ))
    }
}
