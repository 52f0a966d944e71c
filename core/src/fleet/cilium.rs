//! Which Cilium, or Terway with Cilium inside, serves which node, and which settings select it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dataplane::Cilium;
use crate::dataplane::cilium::{DEFAULT_SOURCES, Keys, MergeInputs, effective, merge};
use crate::dataplane::terway;
use crate::dataplane::version::{Version, image_tag};
use crate::index::{Freshness, Index};
use crate::know::{Gap, Known, Source, Val};
use crate::names::{Key, Name, Names};
use crate::sources::node::Node;
use crate::sources::selects;
use crate::sources::workload::{Container, DaemonSet, Pod, Template};

/// What a node's Cilium settings depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CiliumChoice {
    /// `CiliumNodeConfigs` that select the node.
    configs: Vec<Key>,
    /// Labels and annotations that configure, where that source is listed.
    own: Vec<(Name, Name)>,
    /// What its agent runs with, where that is not what the template says.
    running: Option<AgentOverrides>,
}

/// How the agent of a node differs from the template of its DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct AgentOverrides {
    image: Name,
    argv: Box<[Arc<str>]>,
    /// Whether it started before its ConfigMap was last written: the file is read at start (`pkg/option/config.go`).
    stale: bool,
}

/// The Cilium of the cluster.
#[derive(Debug, Default, Hash)]
pub(super) struct CiliumInstallations {
    agent: Option<(Key, Product)>,
    /// `cilium-config` without an agent.
    config: Option<Key>,
    /// Whether node labels and annotations are among the agent's sources.
    lists_nodes: bool,
    /// Agents that differ from the template, by node.
    running: BTreeMap<Name, AgentOverrides>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Product {
    Cilium,
    Terway,
}

/// The name of the agent's container (`install/kubernetes/cilium`).
const AGENT: &str = "cilium-agent";

/// Prefix of node labels and annotations that configure an agent (`pkg/annotation`).
const NODE_PREFIX: &str = "config.cilium.io/";

fn product(index: &Index, key: Key, set: &DaemonSet) -> Option<Product> {
    let names = &index.names;
    if names.text(key.name).starts_with("terway") {
        return Some(Product::Terway);
    }
    set.template
        .containers
        .iter()
        .any(|one| names.text(one.name) == AGENT)
        .then_some(Product::Cilium)
}

impl CiliumInstallations {
    /// Looks for it.
    pub(super) fn find(index: &Index) -> Self {
        let mut agents: Vec<_> = index
            .platform_sets()
            .filter_map(|(key, set)| Some((key, product(index, key, set)?)))
            .collect();
        agents.sort_by_cached_key(|one| index.show(one.0));
        let agent = agents.first().copied();
        // An agent reads the one of its own namespace. Without an agent, as in a dump, the first counts, unless the
        // DaemonSets of its namespace were read: then it is left over.
        let left_over =
            |key: &Key| agent.is_none() && super::kube_proxy::is_read(index, Source::DaemonSets, *key);
        let config = index
            .config_maps
            .iter()
            .map(|(key, _)| key)
            .filter(|key| index.names.text(key.name) == "cilium-config" && index.trusts(key.namespace))
            .filter(|key| agent.is_none_or(|(agent, _)| agent.namespace == key.namespace))
            .filter(|key| !left_over(key))
            .min_by_key(|key| index.show(*key));
        let mut found = Self {
            agent,
            config,
            lists_nodes: false,
            running: BTreeMap::new(),
        };
        found.running = found.running(index);
        let sources = found.sources(index);
        found.lists_nodes = sources.contains("node:") || sources.ends_with("node");
        found
    }

    /// Whether there is any.
    pub(super) const fn any(&self) -> bool {
        self.agent.is_some() || self.config.is_some()
    }

    fn namespace(&self) -> Option<Name> {
        self.agent
            .as_ref()
            .map(|agent| agent.0.namespace)
            .or(self.config.map(|key| key.namespace))
    }

    /// What selects a node; `None` where there is no Cilium.
    pub(super) fn choose(&self, index: &Index, name: Name, node: Option<&Node>) -> Option<CiliumChoice> {
        let namespace = self.namespace()?;
        if node.is_some_and(|node| index.names.text(node.os) == "windows") {
            return None;
        }
        let sent_away = self
            .agent_set(index)
            .is_some_and(|set| !super::covers(index, set, name, node));
        if sent_away {
            return None;
        }
        let matches = |selector: &crate::policy::Selector| {
            node.is_some_and(|node| selects(selector, &node.labels, &index.names))
        };
        let mut configs: Vec<Key> = index
            .node_configs
            .iter()
            .filter(|(key, config)| key.namespace == namespace && config.nodes.as_ref().is_some_and(matches))
            .map(|(key, _)| key)
            .collect();
        configs.sort_by_key(|key| index.names.text(key.name));
        let own = node.filter(|_| self.lists_nodes).map_or_else(Vec::new, |node| {
            let pairs = node.labels.iter().chain(node.annotations.iter());
            pairs
                .filter(|(key, _)| index.names.text(*key).starts_with(NODE_PREFIX))
                .collect()
        });
        let running = self.running.get(&name).cloned();
        Some(CiliumChoice {
            configs,
            own,
            running,
        })
    }

    /// The agents that do not run what the template and the ConfigMap say: a roll-out half done, `OnDelete`, or an edit
    /// that no restart has followed. Terway's agents have no settings of their own.
    fn running(&self, index: &Index) -> BTreeMap<Name, AgentOverrides> {
        let (Some((set, Product::Cilium)), Some(template)) = (self.agent, self.template(index)) else {
            return BTreeMap::new();
        };
        let written = self.config.and_then(|key| index.config_maps.get(key)?.written);
        let mut pods: Vec<_> = index
            .platform_pods()
            .filter(|(key, _)| key.namespace == set.namespace)
            .filter(|(_, pod)| !pod.ended && !pod.node.is_empty() && pod.owner == set.name)
            .collect();
        // Of two on a node the one that started later counts.
        pods.sort_by_cached_key(|(key, pod)| (pod.started, index.show(*key)));
        let agents = pods.into_iter().filter_map(|(_, pod)| {
            let own = agent_of(&index.names, &pod.template)?;
            let stale = pod.started.zip(written).is_some_and(|(at, written)| written > at);
            let running = AgentOverrides {
                image: own.image,
                argv: own.argv.clone(),
                stale,
            };
            Some((pod.node, running))
        });
        let mut running: BTreeMap<Name, AgentOverrides> = agents.collect();
        running.retain(|_, one| one.stale || one.image != template.image || one.argv != template.argv);
        running
    }

    /// The agent's container in the template.
    fn template<'a>(&self, index: &'a Index) -> Option<&'a Container> {
        agent_of(&index.names, &self.agent_set(index)?.template)
    }

    /// Whether the agent merges `CiliumNodeConfigs` at all.
    fn lists_configs(&self, index: &Index) -> bool {
        self.sources(index).contains("cilium-node-config")
    }

    /// Whether the agent is Terway's.
    pub(super) const fn is_terway(&self) -> bool {
        matches!(self.agent, Some((_, Product::Terway)))
    }

    /// What people should know of how the settings were found.
    pub(super) fn note(&self, index: &Index) -> Option<Arc<str>> {
        let unread = *index.freshness(Source::CiliumNodeConfigs) == Freshness::Missing;
        (self.any() && !self.is_terway() && unread && self.lists_configs(index)).then(|| {
            "CiliumNodeConfigs were not read: one may give some nodes other settings than ConfigMap cilium-config"
                .into()
        })
    }

    /// The agent's list of configuration sources.
    fn sources(&self, index: &Index) -> String {
        self.flag(index, "--source")
            .unwrap_or_else(|| DEFAULT_SOURCES.into())
    }

    /// The DaemonSet of the agent.
    fn agent_set<'a>(&self, index: &'a Index) -> Option<&'a DaemonSet> {
        index.daemon_sets.get(self.agent.as_ref()?.0)
    }

    fn flag(&self, index: &Index, flag: &str) -> Option<String> {
        let argv = self
            .agent_set(index)?
            .template
            .containers
            .iter()
            .map(|one| &one.argv)
            .find(|argv| argv.iter().any(|word| word.contains("build-config")))?;
        let mut words = argv.iter();
        while let Some(word) = words.next() {
            if let Some(rest) = word.strip_prefix(flag) {
                return match rest.strip_prefix('=') {
                    Some(value) => Some(value.to_owned()),
                    None if rest.is_empty() => words.next().map(ToString::to_string),
                    None => continue,
                };
            }
        }
        None
    }

    /// The effective settings of a class of nodes; `None` where Terway runs without Cilium, and Services are
    /// kube-proxy's.
    pub(super) fn settings(
        &self,
        index: &Index,
        choice: &CiliumChoice,
        kernel: &str,
    ) -> Known<Option<Cilium>> {
        if let (Some((key, Product::Terway)), Some(set)) = (self.agent, self.agent_set(index)) {
            return terway_settings(index, key, &set.template, kernel);
        }
        let config = self.own_config(index)?;
        let node_configs: Vec<(&str, Keys)> = choice
            .configs
            .iter()
            .filter_map(|key| {
                Some((
                    index.names.text(key.name),
                    keys(&index.node_configs.get(*key)?.defaults),
                ))
            })
            .collect();
        let node_configs: Vec<(&str, &Keys)> =
            node_configs.iter().map(|(name, keys)| (*name, keys)).collect();
        let own: Keys = own_keys(index, &choice.own);
        let merged = merge(&MergeInputs {
            sources: &self.sources(index),
            config_maps: &[("cilium-config", &config)],
            node_configs: &node_configs,
            labels: &Keys::new(),
            annotations: &own,
            allow: &self.flag(index, "--allow-config-keys").unwrap_or_default(),
            deny: &self.flag(index, "--deny-config-keys").unwrap_or_default(),
        })?;
        let running = choice.running.as_ref();
        let argv = running.map_or_else(
            || self.template(index).map_or(&[][..], |one| &one.argv),
            |running| &running.argv,
        );
        // A flag of the agent counts before its environment, and that before every file (`pkg/option/config.go`, viper).
        let container = self.template(index);
        let lookup = |key: &str| {
            let variable = || variable_of(&index.names, container?, key);
            flag_of(argv, key).or_else(variable).or_else(|| merged.get(key))
        };
        let settings = effective(&self.version(index, running), kernel, &lookup);
        Ok(Some(if running.is_some_and(|running| running.stale) {
            settings
                .assumed("written after this agent had started, which may run with what stood there before")
        } else {
            settings
        }))
    }

    /// The keys of the ConfigMap that the agents read, where nothing that may come before it is hidden.
    fn own_config(&self, index: &Index) -> Known<Keys> {
        let namespace = self.namespace().unwrap_or_default();
        let key = self.config.filter(|key| key.namespace == namespace);
        let Some(map) = key.and_then(|key| index.config_maps.get(key)) else {
            let gap = index.names.find("cilium-config").map_or_else(
                || index.gap_in(Source::ConfigMaps, namespace),
                |name| index.gap_at(Source::ConfigMaps, Key { namespace, name }),
            );
            return Err(gap.unwrap_or_else(|| {
                let namespace = index.names.text(namespace);
                Gap::Opaque(format!("ConfigMap {namespace}/cilium-config was not found").into())
            }));
        };
        // Which CiliumNodeConfigs select a node is not known, so any key may be another than the ConfigMap says. Where
        // none was read, as in most dumps, the ConfigMap counts alone, and a note says so.
        match index
            .gap(Source::CiliumNodeConfigs)
            .filter(|_| self.lists_configs(index))
        {
            None | Some(Gap::Missing(_)) => Ok(keys(&map.data)),
            Some(gap) => Err(gap),
        }
    }

    /// The agent's version, by the image that runs, else by that of the template.
    fn version(&self, index: &Index, running: Option<&AgentOverrides>) -> Known<Val<Version>> {
        let (Some((key, _)), Some(set)) = (&self.agent, self.agent_set(index)) else {
            return Err(index
                .gap(Source::DaemonSets)
                .unwrap_or_else(|| Gap::Opaque("no Cilium agent was seen".into())));
        };
        let place = super::place(index, "DaemonSet", *key);
        let (place, image) = if let Some(running) = running {
            (format!("Pods of {place}"), running.image)
        } else {
            let container = agent_of(&index.names, &set.template);
            (place, container.map_or(Name::EMPTY, |one| one.image))
        };
        let image = index.names.text(image);
        Version::of_image(image)
            .map(|version| Val::declared(version, format!("{place} image {image}")))
            .ok_or_else(|| Gap::Opaque(format!("{place}: no version in image `{image}`").into()))
    }
}

/// The agent's container.
fn agent_of<'a>(names: &Names, template: &'a Template) -> Option<&'a Container> {
    let mut containers = template.containers.iter();
    containers.find(|one| names.text(one.name) == AGENT)
}

/// Whether a Pod is a living agent.
pub(crate) fn is_agent(names: &Names, pod: &Pod) -> bool {
    !pod.ended && agent_of(names, &pod.template).is_some()
}

/// A setting by the agent's environment, and where it stands: `CILIUM_` and its name in capitals
/// (`pkg/option/config.go`, `getEnvName`). One that comes from elsewhere is no text that any setting takes.
fn variable_of(names: &Names, container: &Container, key: &str) -> Option<(String, Arc<str>)> {
    let name = format!("CILIUM_{}", key.replace('-', "_").to_ascii_uppercase());
    let value = container.variable(names, &name)?;
    let value = value.unwrap_or("set elsewhere than in the DaemonSet");
    Some((value.to_owned(), format!("env {name} of cilium-agent").into()))
}

/// A setting by a flag of the agent, and where it stands.
fn flag_of(argv: &[Arc<str>], key: &str) -> Option<(String, Arc<str>)> {
    let mut words = argv.iter().peekable();
    let mut found = None;
    while let Some(word) = words.next() {
        let Some(rest) = word.strip_prefix("--").and_then(|word| word.strip_prefix(key)) else {
            continue;
        };
        // Of two the last counts.
        match rest.strip_prefix('=') {
            Some(value) => found = Some(value.to_owned()),
            None if rest.is_empty() => {
                let next = words.peek().filter(|next| !next.starts_with('-'));
                found = Some(next.map_or_else(|| "true".to_owned(), ToString::to_string));
            }
            None => {}
        }
    }
    found.map(|value| (value, format!("flag --{key} of cilium-agent").into()))
}

/// The keys of a ConfigMap or of a CiliumNodeConfig.
fn keys(pairs: &[(Arc<str>, Arc<str>)]) -> Keys {
    pairs
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

fn own_keys(index: &Index, own: &[(Name, Name)]) -> Keys {
    own.iter()
        .map(|(key, value)| {
            (
                index.names.text(*key).to_owned(),
                index.names.text(*value).to_owned(),
            )
        })
        .collect()
}

fn terway_settings(index: &Index, key: Key, template: &Template, kernel: &str) -> Known<Option<Cilium>> {
    let map_key = index.names.find("eni-config").map(|name| Key { name, ..key });
    let Some(map) = map_key.and_then(|key| index.config_maps.get(key)) else {
        return Err(map_key
            .map_or_else(
                || index.gap_in(Source::ConfigMaps, key.namespace),
                |map| index.gap_at(Source::ConfigMaps, map),
            )
            .unwrap_or_else(|| {
                Gap::Opaque(
                    format!(
                        "ConfigMap {}/eni-config was not found",
                        index.names.text(key.namespace)
                    )
                    .into(),
                )
            }));
    };
    let data: BTreeMap<String, String> = map
        .data
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    let image = template
        .containers
        .iter()
        .map(|one| index.names.text(one.image))
        .find(|image| image.contains("terway"));
    let place = format!("ConfigMap {}/eni-config", index.names.text(key.namespace));
    Ok(terway::read(&data, &place, image.and_then(image_tag), kernel)?.cilium)
}
