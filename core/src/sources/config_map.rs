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

/// Whether this key of a ConfigMap of this name configures a data plane, so that it is kept.
///
/// Cilium's and Terway's maps have fixed names; kube-proxy's do not, but its document names its own API group. Its own
/// map is kept whole: a document that names no kind is still what it reads.
pub fn keeps_key(name: &str, key: &str, text: &str) -> bool {
    !key.contains("kubeconfig")
        && (matches!(name, "cilium-config" | "eni-config" | "proxy-config")
            || name.starts_with("kube-proxy")
            || text.contains("kubeproxy.config.k8s.io")
            || text.contains("KubeProxyConfiguration"))
}

impl Row for ConfigMap {
    const SOURCE: Source = Source::ConfigMaps;

    fn parse(json: &[u8], names: &mut Names) -> Result<(Key, Self), Why> {
        let wire: Wire<'_> = serde_json::from_slice(json)?;
        let key = wire.metadata.key(names)?;
        let data = wire
            .data
            .iter()
            .filter(|(key, text)| keeps_key(&wire.metadata.name, key, text))
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
