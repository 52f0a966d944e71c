//! Which of Cilium's configuration sources has the last word on a key.
//!
//! The agent's init container merges the sources that its arguments name, in their order, later ones over earlier ones
//! (`pkg/option/resolver`): a `ConfigMap`, then the `CiliumNodeConfig`s that select the node, in the order of their
//! names. Node labels and annotations count only where that source is listed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dataplane::tree::shorten;
use crate::know::{Gap, Known};

/// What the agent merges without arguments: `pkg/option/resolver`.
pub const DEFAULT_SOURCES: &str = "config-map:cilium-config,cilium-node-config";
/// Prefix of node labels and annotations: `pkg/annotation`.
const NODE_PREFIX: &str = "config.cilium.io/";

/// Keys and values as an object holds them.
pub type Keys = BTreeMap<String, String>;

/// Everything the agent of one node may merge.
#[derive(Debug, Clone, Copy)]
pub struct MergeInputs<'a> {
    /// The init container's `--source`, [`DEFAULT_SOURCES`] where it is not given.
    pub sources: &'a str,
    /// `ConfigMap`s of the agent's namespace by name.
    pub config_maps: &'a [(&'a str, &'a Keys)],
    /// `CiliumNodeConfig`s that select this node: name and `spec.defaults`, in any order.
    pub node_configs: &'a [(&'a str, &'a Keys)],
    /// Labels of the node.
    pub labels: &'a Keys,
    /// Annotations of the node.
    pub annotations: &'a Keys,
    /// `--allow-config-keys`: if not empty, later sources set only these.
    pub allow: &'a str,
    /// `--deny-config-keys`: later sources do not set these; void beside `allow`.
    pub deny: &'a str,
}

/// The merged keys, each with the place that won.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    values: BTreeMap<String, (String, Arc<str>)>,
    /// Notes for people.
    pub notes: Vec<Arc<str>>,
}

impl Merged {
    /// A key's value and the place it was read in.
    pub fn get(&self, key: &str) -> Option<(String, Arc<str>)> {
        self.values.get(key).cloned()
    }
}

/// Merges the sources. A source that was not given is a gap: it could set any key.
pub fn merge(inputs: &MergeInputs<'_>) -> Known<Merged> {
    let mut merged = Merged::default();
    let sources = inputs
        .sources
        .split(',')
        .map(str::trim)
        .filter(|source| !source.is_empty());
    for (index, source) in sources.enumerate() {
        let (kind, name) = source.split_once(':').unwrap_or((source, ""));
        let first = index == 0;
        match kind {
            "config-map" => {
                let name = name.rsplit('/').next().unwrap_or_default();
                let Some((_, keys)) = inputs.config_maps.iter().find(|(given, _)| *given == name) else {
                    return Err(gap(&format!(
                        "ConfigMap {}, which it merges, was not found",
                        shorten(name)
                    )));
                };
                merged.add(inputs, keys.iter(), first, &format!("ConfigMap {name}"));
            }
            "cilium-node-config" => {
                let mut configs = inputs.node_configs.to_vec();
                configs.sort_by_key(|(name, _)| *name);
                for (name, keys) in configs {
                    merged.add(inputs, keys.iter(), first, &format!("CiliumNodeConfig {name}"));
                }
            }
            "node" => {
                for (what, keys) in [("label", inputs.labels), ("annotation", inputs.annotations)] {
                    for (key, value) in keys {
                        if let Some(plain) = key.strip_prefix(NODE_PREFIX) {
                            let place = format!("Node {what} {key}");
                            merged.add(inputs, std::iter::once((&plain.to_owned(), value)), first, &place);
                        }
                    }
                }
            }
            other => {
                return Err(gap(&format!(
                    "the configuration source `{}` is not known",
                    shorten(other)
                )));
            }
        }
    }
    Ok(merged)
}

fn gap(why: &str) -> Gap {
    Gap::Opaque(format!("Cilium's agent: {why}").into())
}

fn listed(list: &str, key: &str) -> bool {
    list.split([',', ' ']).any(|item| item == key)
}

impl Merged {
    fn add<'k>(
        &mut self,
        inputs: &MergeInputs<'_>,
        keys: impl Iterator<Item = (&'k String, &'k String)>,
        first: bool,
        place: &str,
    ) {
        for (key, value) in keys {
            let allowed = if inputs.allow.trim().is_empty() {
                !listed(inputs.deny, key)
            } else {
                listed(inputs.allow, key)
            };
            if first || allowed {
                self.values.insert(key.clone(), (value.clone(), place.into()));
            } else {
                self.notes.push(
                    format!(
                        "{place} {} has no effect: the agent does not allow it",
                        shorten(key)
                    )
                    .into(),
                );
            }
        }
    }
}
