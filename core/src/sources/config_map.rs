//! `v1/ConfigMap`: only the data that configures a data plane is kept.

use std::sync::Arc;

use serde::Deserialize;

use super::kind::{Extent, Kind};
use super::{DecodeError, Row, Text, TextMap, key, or_default};
use crate::know::Wall;
use crate::names::{Key, Names};

/// What a ConfigMap says about a data plane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConfigMap {
    /// Kept keys with their text, sorted by key.
    pub data: Box<[(Arc<str>, Arc<str>)]>,
    /// When it was last written, as far as its managed fields show it.
    pub written: Option<Wall>,
}

impl ConfigMap {
    /// The text of a key.
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        self.data.iter().find(|pair| &*pair.0 == key).map(|pair| &pair.1)
    }
}

/// What is read of the object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wire<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    data: TextMap<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    namespace: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    managed_fields: Vec<Managed<'a>>,
}

#[derive(Deserialize)]
struct Managed<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    time: Text<'a>,
}

impl Meta<'_> {
    /// When somebody last wrote the object, as far as its managed fields show it.
    fn written(&self) -> Option<Wall> {
        let times = self.managed_fields.iter();
        times.filter_map(|entry| Wall::parse(&entry.time)).max()
    }
}

/// Whether this key of a ConfigMap of this name configures a data plane, so that it is kept.
///
/// Cilium's and Terway's maps have fixed names; kube-proxy's do not, but its document names its own API group. Its own
/// map is kept whole: a document that names no kind is still what it reads.
pub fn keeps_key(name: &str, key: &str, text: &str) -> bool {
    !key.contains("kubeconfig")
        && (matches!(name, "cilium-config" | "eni-config" | "proxy-config")
            || (name.starts_with("antrea-config") && key == "antrea-agent.conf")
            || name.starts_with("kube-proxy")
            || text.contains("kubeproxy.config.k8s.io")
            || text.contains("KubeProxyConfiguration"))
}

impl Row for ConfigMap {
    const KINDS: &'static [Kind] = &[Kind {
        extent: Extent::Named,
        ..Kind::v1(
            "ConfigMap",
            "configmaps",
            "configuration of kube-proxy, Cilium and Terway, each by its name",
        )
    }];

    type Wire<'a> = Wire<'a>;

    fn of(wire: Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        let key = key(&wire.metadata.namespace, &wire.metadata.name, names)?;
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
