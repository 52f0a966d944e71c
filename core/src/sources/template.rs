//! The spec of a Pod, by itself or in a template: how its containers are started, and where their files come from.

use std::sync::Arc;

use serde::Deserialize;

use super::placement::{Affinity, Os, Placement, TolerationWire};
use super::{Text, TextMap, all_pairs, name_of, or_default, sysctl};
use crate::names::{Name, Names, Pairs};

/// A container: its command line and where it may find files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Container {
    /// Its name.
    pub name: Name,
    /// Its image.
    pub image: Name,
    /// `command` followed by `args`.
    pub argv: Box<[Arc<str>]>,
    /// Mounted volumes: path and volume name.
    pub mounts: Box<[(Arc<str>, Name)]>,
    /// `resources.limits.memory` as written; empty when absent.
    pub memory_limit: Name,
    /// Variables that its command line names, and those that configure a data plane; no value where it comes from
    /// elsewhere than the object.
    pub env: Box<[(Name, Option<Arc<str>>)]>,
}

impl Container {
    /// The value that the object gives a variable; `Some(None)` where it comes from elsewhere.
    pub fn variable(&self, names: &Names, name: &str) -> Option<Option<&str>> {
        let name = names.find(name)?;
        // Of two of the same name the last counts, as in a process.
        let found = self.env.iter().rev().find(|one| one.0 == name)?;
        Some(found.1.as_deref())
    }

    /// The command line with the variables that the object itself gives, as the kubelet puts them in
    /// (`third_party/forked/golang/expansion`): what comes from elsewhere stays `$(NAME)`.
    pub fn command(&self, names: &Names) -> Vec<String> {
        self.argv
            .iter()
            .map(|word| expand(word, |name| self.variable(names, name).flatten()))
            .collect()
    }
}

/// A word with `$(NAME)` replaced where the name is known; `$$` stays for who reads it next.
fn expand<'v>(word: &str, value: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let inner = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match (
            inner.and_then(|(name, end)| Some((value(name)?, end))),
            after.strip_prefix('$'),
        ) {
            (Some((value, end)), _) => {
                out.push_str(value);
                rest = end;
            }
            (None, Some(end)) => {
                out.push_str("$$");
                rest = end;
            }
            (None, None) => {
                out.push('$');
                rest = after;
            }
        }
    }
    out + rest
}

/// A volume that shows a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConfigVolume {
    /// Its name.
    pub name: Name,
    /// The ConfigMap's name.
    pub config_map: Name,
    /// Renamed keys, as (key, path); empty shows every key under its own name.
    pub items: Box<[(Arc<str>, Arc<str>)]>,
}

/// What is common to Pods and Pod templates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Template {
    /// Labels of the Pod.
    pub labels: Pairs,
    /// Containers, then init containers, whose command or name says something about the data plane, the control
    /// plane or DNS.
    pub containers: Box<[Container]>,
    /// Volumes that show `ConfigMaps`.
    pub volumes: Box<[ConfigVolume]>,
    /// `hostNetwork`.
    pub host_network: bool,
    /// `priorityClassName`; empty when absent.
    pub priority_class: Name,
    /// Which nodes it may run on.
    pub placement: Placement,
    /// `securityContext.sysctls`, their names with dots.
    pub sysctls: Pairs,
    /// Sysctls that a command of the Pod itself seems to set, with the value where it can be read, else empty.
    pub set_by_command: Pairs,
}

/// Words whose presence in a container's name, command or image makes it worth keeping.
const KEPT_CONTAINERS: [&str; 15] = [
    "kube-proxy",
    "cilium",
    "anetd",
    "terway",
    "kube-controller-manager",
    "kube-apiserver",
    "coredns",
    "ovnkube",
    "ovn-controller",
    "calico-node",
    "calico-vpp",
    "antrea",
    "kube-router",
    "kube-ovn",
    "policy",
];

/// What is read of a Pod's spec.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec<'a> {
    #[serde(borrow, default)]
    pub(super) node_name: Option<Text<'a>>,
    #[serde(default, deserialize_with = "or_default")]
    host_network: bool,
    #[serde(borrow, default)]
    priority_class_name: Option<Text<'a>>,
    /// Set by the admission plugin Priority, from the class.
    #[serde(default)]
    pub(super) priority: Option<i32>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    containers: Vec<ContainerWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    init_containers: Vec<ContainerWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    volumes: Vec<VolumeWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    node_selector: TextMap<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    affinity: Affinity<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    tolerations: Vec<TolerationWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    os: Os<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    security_context: Security<'a>,
}

#[derive(Deserialize, Default)]
struct Security<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    sysctls: Vec<Sysctl<'a>>,
}

#[derive(Deserialize)]
struct Sysctl<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    value: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerWire<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    image: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    command: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    args: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    volume_mounts: Vec<Mount<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    resources: Resources<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    env: Vec<Variable<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    lifecycle: Lifecycle<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Variable<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
    #[serde(borrow, default)]
    value: Option<Text<'a>>,
    /// Set where the value comes from elsewhere.
    #[serde(default)]
    value_from: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Lifecycle<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    post_start: Handler<'a>,
}

#[derive(Deserialize, Default)]
struct Handler<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    exec: Exec<'a>,
}

#[derive(Deserialize, Default)]
struct Exec<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    command: Vec<Text<'a>>,
}

#[derive(Deserialize, Default)]
struct Resources<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    limits: Limits<'a>,
}

#[derive(Deserialize, Default)]
struct Limits<'a> {
    #[serde(borrow, default)]
    memory: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    mount_path: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeWire<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    config_map: Option<ConfigMapVolume<'a>>,
}

#[derive(Deserialize)]
struct ConfigMapVolume<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    key: Text<'a>,
    #[serde(borrow, default)]
    path: Text<'a>,
}

/// Whether a container of this name, image and command line says something that a check may read, so that it is kept.
pub fn keeps_container<'t>(name: &str, image: &str, argv: impl IntoIterator<Item = &'t str>) -> bool {
    let concerns = |text: &str| KEPT_CONTAINERS.iter().any(|word| text.contains(word));
    concerns(name) || concerns(image) || argv.into_iter().any(concerns)
}

/// Whether a variable of a container is kept: one that configures a data plane, or that the command line names.
pub fn keeps_variable<'t>(name: &str, argv: impl IntoIterator<Item = &'t str>) -> bool {
    const PREFIX: &str = "FELIX_BPF";
    // Each setting of a Cilium agent has a variable of its name (`pkg/option/config.go`, `getEnvName`).
    const OF_CILIUM: [&str; 4] = ["BPF_", "CONNTRACK_GC_", "ENABLE_", "KUBE_PROXY_REPLACEMENT"];
    let of_felix = name
        .get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    let of_cilium = name
        .strip_prefix("CILIUM_")
        .is_some_and(|setting| OF_CILIUM.iter().any(|start| setting.starts_with(start)));
    let configures = of_felix || of_cilium;
    let named = |word: &str| {
        word.match_indices("$(").any(|(at, mark)| {
            let inner = word
                .get(at + mark.len()..)
                .and_then(|rest| rest.strip_prefix(name));
            inner.is_some_and(|rest| rest.starts_with(')'))
        })
    };
    configures || (!name.is_empty() && argv.into_iter().any(named))
}

fn kept(container: &ContainerWire<'_>) -> bool {
    let argv = container.command.iter().chain(&container.args);
    keeps_container(
        &container.name,
        container.image.as_deref().unwrap_or(""),
        argv.map(|text| &**text),
    )
}

fn container(wire: &ContainerWire<'_>, names: &mut Names) -> Container {
    Container {
        name: names.intern(&wire.name),
        image: name_of(wire.image.as_ref(), names),
        argv: wire
            .command
            .iter()
            .chain(&wire.args)
            .map(|text| (**text).into())
            .collect(),
        mounts: wire
            .volume_mounts
            .iter()
            .map(|mount| ((*mount.mount_path).into(), names.intern(&mount.name)))
            .collect(),
        memory_limit: name_of(wire.resources.limits.memory.as_ref(), names),
        env: wire
            .env
            .iter()
            .filter(|one| {
                let argv = wire.command.iter().chain(&wire.args);
                keeps_variable(&one.name, argv.map(|text| &**text))
            })
            .map(|one| {
                let literal = one
                    .value_from
                    .is_none()
                    .then(|| one.value.as_deref().unwrap_or("").into());
                (names.intern(&one.name), literal)
            })
            .collect(),
    }
}

pub(super) fn template(labels: &TextMap<'_>, spec: &PodSpec<'_>, names: &mut Names) -> Template {
    let volumes = spec
        .volumes
        .iter()
        .filter_map(|volume| Some((volume, volume.config_map.as_ref()?)));
    Template {
        labels: all_pairs(labels, names),
        containers: spec
            .containers
            .iter()
            .chain(&spec.init_containers)
            .filter(|one| kept(one))
            .map(|one| container(one, names))
            .collect(),
        volumes: volumes
            .map(|(volume, map)| ConfigVolume {
                name: names.intern(&volume.name),
                config_map: names.intern(&map.name),
                items: map
                    .items
                    .iter()
                    .map(|item| ((*item.key).into(), (*item.path).into()))
                    .collect(),
            })
            .collect(),
        host_network: spec.host_network,
        priority_class: name_of(spec.priority_class_name.as_ref(), names),
        placement: Placement::of(
            &spec.node_selector,
            &spec.affinity,
            &spec.tolerations,
            &spec.os,
            names,
        ),
        sysctls: Pairs::new(
            spec.security_context
                .sysctls
                .iter()
                .map(|sysctl| {
                    (
                        names.intern(&sysctl::dotted(&sysctl.name)),
                        names.intern(&sysctl.value),
                    )
                })
                .collect(),
        ),
        set_by_command: set_by_command(spec, names),
    }
}

/// Sysctls that the Pod's own commands seem to set: those of its containers and init containers, and what runs when
/// one has started.
fn set_by_command(spec: &PodSpec<'_>, names: &mut Names) -> Pairs {
    let mut found = Vec::new();
    for one in spec.init_containers.iter().chain(&spec.containers) {
        let started = &one.lifecycle.post_start.exec.command;
        let argv = one
            .command
            .iter()
            .chain(&one.args)
            .chain(started)
            .map(|text| &**text);
        let image = one.image.as_deref().unwrap_or("");
        found.extend(sysctl::set_by(&one.name, image, argv));
    }
    Pairs::new(
        found
            .iter()
            .map(|(name, value)| (names.intern(name), names.intern(value)))
            .collect(),
    )
}
