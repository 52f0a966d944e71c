//! `v1/Pod`, `apps/v1/DaemonSet` and `apps/v1/Deployment`: what runs, how it was started, where its files come from.

use std::sync::Arc;

use serde::Deserialize;

use super::{Meta, Row, SelectorWire, Text, Why, name_of, or_default};
use crate::know::{Source, Wall};
use crate::names::{Key, Name, Names, Pairs};
use crate::policy::Selector;

/// A container: its command line and where it may find files.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// Labels of the Pod.
    pub labels: Pairs,
    /// Containers, then init containers, whose command or name tells something about the data plane, the control
    /// plane or DNS.
    pub containers: Box<[Container]>,
    /// Volumes that show `ConfigMaps`.
    pub volumes: Box<[ConfigVolume]>,
    /// `hostNetwork`.
    pub host_network: bool,
    /// `nodeSelector`.
    pub node_selector: Pairs,
    /// `securityContext.sysctls`.
    pub sysctls: Pairs,
}

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// What it was made from.
    pub template: Template,
    /// Node; empty while unscheduled.
    pub node: Name,
    /// Kind of its controller; empty when it has none.
    pub owner_kind: Name,
    /// Name of its controller.
    pub owner: Name,
    /// Whether it has ended (`Succeeded` or `Failed`).
    pub ended: bool,
    /// `Ready` condition.
    pub ready: bool,
    /// `status.startTime`.
    pub started: Option<Wall>,
}

/// A DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonSet {
    /// Its Pod template.
    pub template: Template,
    /// Its Pod selector.
    pub selector: Selector,
}

/// A Deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its Pod template.
    pub template: Template,
    /// `spec.replicas`; nil counts as 1.
    pub replicas: u32,
    /// `status.readyReplicas`.
    pub ready_replicas: u32,
    /// Whether there is a status at all: a manifest that was never applied has none.
    pub observed: bool,
}

/// Words whose presence in a container's name, command or image makes it worth keeping.
const KEPT_CONTAINERS: [&str; 9] = [
    "kube-proxy",
    "cilium",
    "anetd",
    "terway",
    "kube-controller-manager",
    "kube-apiserver",
    "coredns",
    "ovnkube",
    "policy",
];

#[derive(Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de> + Default, 'de: 'a"))]
struct Wire<'a, S> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(default, deserialize_with = "or_default")]
    spec: S,
    #[serde(borrow, default, deserialize_with = "or_default")]
    status: Status<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(borrow, default)]
    phase: Option<Text<'a>>,
    #[serde(borrow, default)]
    start_time: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    conditions: Vec<Condition<'a>>,
    #[serde(default, deserialize_with = "or_default")]
    ready_replicas: u32,
    #[serde(default)]
    observed_generation: Option<i64>,
}

#[derive(Deserialize)]
struct Condition<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
}

#[derive(Deserialize, Default)]
struct OwnerSpec<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    selector: SelectorWire<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    template: TemplateWire<'a>,
    #[serde(default)]
    replicas: Option<u32>,
}

#[derive(Deserialize, Default)]
struct TemplateWire<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    metadata: Meta<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    spec: PodSpec<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct PodSpec<'a> {
    #[serde(borrow, default)]
    node_name: Option<Text<'a>>,
    #[serde(default, deserialize_with = "or_default")]
    host_network: bool,
    #[serde(borrow, default, deserialize_with = "or_default")]
    containers: Vec<ContainerWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    init_containers: Vec<ContainerWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    volumes: Vec<VolumeWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    node_selector: super::TextMap<'a>,
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

/// Whether a container of this name, image and command line tells something that a check may read, so that it is kept.
pub fn keeps_container<'t>(name: &str, image: &str, argv: impl IntoIterator<Item = &'t str>) -> bool {
    let tells = |text: &str| KEPT_CONTAINERS.iter().any(|word| text.contains(word));
    tells(name) || tells(image) || argv.into_iter().any(tells)
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
    }
}

fn template(meta: &Meta<'_>, spec: &PodSpec<'_>, names: &mut Names) -> Template {
    let volumes = spec
        .volumes
        .iter()
        .filter_map(|volume| Some((volume, volume.config_map.as_ref()?)));
    Template {
        labels: meta.labels(names),
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
        node_selector: super::pairs(&spec.node_selector, names, |_| true),
        sysctls: Pairs::new(
            spec.security_context
                .sysctls
                .iter()
                .map(|sysctl| (names.intern(&sysctl.name), names.intern(&sysctl.value)))
                .collect(),
        ),
    }
}

impl Row for Pod {
    const SOURCE: Source = Source::Pods;

    fn parse(json: &[u8], names: &mut Names) -> Result<(Key, Self), Why> {
        let wire: Wire<'_, PodSpec<'_>> = serde_json::from_slice(json)?;
        let key = wire.metadata.key(names)?;
        let owner = wire
            .metadata
            .owner_references
            .iter()
            .find(|owner| owner.controller == Some(true));
        let row = Self {
            template: template(&wire.metadata, &wire.spec, names),
            node: name_of(wire.spec.node_name.as_ref(), names),
            owner_kind: name_of(owner.map(|owner| &owner.kind), names),
            owner: name_of(owner.map(|owner| &owner.name), names),
            ended: matches!(wire.status.phase.as_deref(), Some("Succeeded" | "Failed")),
            ready: wire
                .status
                .conditions
                .iter()
                .any(|one| one.kind == "Ready" && one.status == "True"),
            started: wire.status.start_time.as_deref().and_then(Wall::parse),
        };
        Ok((key, row))
    }
}

impl Row for DaemonSet {
    const SOURCE: Source = Source::DaemonSets;

    fn parse(json: &[u8], names: &mut Names) -> Result<(Key, Self), Why> {
        let wire: Wire<'_, OwnerSpec<'_>> = serde_json::from_slice(json)?;
        let key = wire.metadata.key(names)?;
        let made = &wire.spec.template;
        let selector = wire.spec.selector.compile()?;
        Ok((
            key,
            Self {
                template: template(&made.metadata, &made.spec, names),
                selector,
            },
        ))
    }
}

impl Row for Deployment {
    const SOURCE: Source = Source::Deployments;

    fn parse(json: &[u8], names: &mut Names) -> Result<(Key, Self), Why> {
        let wire: Wire<'_, OwnerSpec<'_>> = serde_json::from_slice(json)?;
        let key = wire.metadata.key(names)?;
        let made = &wire.spec.template;
        let row = Self {
            template: template(&made.metadata, &made.spec, names),
            replicas: wire.spec.replicas.unwrap_or(1),
            ready_replicas: wire.status.ready_replicas,
            observed: wire.status.observed_generation.is_some() || wire.status.ready_replicas > 0,
        };
        Ok((key, row))
    }
}
