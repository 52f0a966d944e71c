//! `v1/Pod`, `apps/v1/DaemonSet` and `apps/v1/Deployment`: what runs, how it was started, where its files come from.

use std::sync::Arc;

use serde::Deserialize;

use super::kind::{Extent, Kind};
use super::placement::{Affinity, Os, Placement, TolerationWire};
use super::{Named, Row, SelectorWire, Text, TextMap, Why, all_pairs, key, name_of, or_default, sysctl};
use crate::know::Wall;
use crate::names::{Key, Name, Names, Pairs};
use crate::policy::Selector;

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

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// When its containers of the data plane last started: the latest `startedAt` of those that are kept, else the
    /// Pod's `status.startTime`.
    pub started: Option<Wall>,
}

/// A DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DaemonSet {
    /// Its Pod template.
    pub template: Template,
    /// Its Pod selector.
    pub selector: Selector,
}

/// A Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// What is read of a Pod.
#[derive(Deserialize)]
pub struct PodWire<'a> {
    #[serde(borrow)]
    metadata: PodMeta<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    spec: PodSpec<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    status: PodStatus<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodMeta<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    namespace: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    labels: TextMap<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    owner_references: Vec<Owner<'a>>,
}

#[derive(Deserialize)]
struct Owner<'a> {
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(default)]
    controller: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct PodStatus<'a> {
    #[serde(borrow, default)]
    phase: Option<Text<'a>>,
    #[serde(borrow, default)]
    start_time: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    conditions: Vec<Condition<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    container_statuses: Vec<ContainerStatus<'a>>,
}

/// What is read of a DaemonSet or a Deployment.
#[derive(Deserialize)]
pub struct OwnerWire<'a> {
    #[serde(borrow)]
    metadata: Named<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    spec: OwnerSpec<'a>,
    #[serde(default, deserialize_with = "or_default")]
    status: OwnerStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct OwnerStatus {
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

#[derive(Deserialize)]
struct ContainerStatus<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    state: State<'a>,
}

#[derive(Deserialize, Default)]
struct State<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    running: Running<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Running<'a> {
    #[serde(borrow, default)]
    started_at: Option<Text<'a>>,
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
    metadata: Labels<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    spec: PodSpec<'a>,
}

#[derive(Deserialize, Default)]
struct Labels<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    labels: TextMap<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct PodSpec<'a> {
    #[serde(borrow, default)]
    node_name: Option<Text<'a>>,
    #[serde(default, deserialize_with = "or_default")]
    host_network: bool,
    #[serde(borrow, default)]
    priority_class_name: Option<Text<'a>>,
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
    let configures = name
        .get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
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

fn template(labels: &TextMap<'_>, spec: &PodSpec<'_>, names: &mut Names) -> Template {
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

/// When the containers that are kept last started. A container that starts again in its Pod, as after a reboot of the
/// node, reads its files anew, while `status.startTime` stays.
fn started(status: &PodStatus<'_>, kept: &[Container], names: &Names) -> Option<Wall> {
    let of_kept = |one: &&ContainerStatus<'_>| kept.iter().any(|held| names.text(held.name) == &*one.name);
    let statuses = status.container_statuses.iter().filter(of_kept);
    statuses
        .filter_map(|one| Wall::parse(one.state.running.started_at.as_deref()?))
        .max()
        .or_else(|| Wall::parse(status.start_time.as_deref()?))
}

impl Row for Pod {
    const KINDS: &'static [Kind] = &[Kind {
        extent: Extent::Selected,
        ..Kind::v1(
            "Pod",
            "pods",
            "Pods of proxies, network plugins and DNS, and those that policies select; never all of a cluster",
        )
    }];

    type Wire<'a> = PodWire<'a>;

    fn of(wire: PodWire<'_>, names: &mut Names) -> Result<(Key, Self), Why> {
        let key = key(&wire.metadata.namespace, &wire.metadata.name, names)?;
        let owner = wire
            .metadata
            .owner_references
            .iter()
            .find(|owner| owner.controller == Some(true));
        let template = template(&wire.metadata.labels, &wire.spec, names);
        let row = Self {
            node: name_of(wire.spec.node_name.as_ref(), names),
            owner_kind: name_of(owner.map(|owner| &owner.kind), names),
            owner: name_of(owner.map(|owner| &owner.name), names),
            ended: matches!(wire.status.phase.as_deref(), Some("Succeeded" | "Failed")),
            ready: wire
                .status
                .conditions
                .iter()
                .any(|one| one.kind == "Ready" && one.status == "True"),
            started: started(&wire.status, &template.containers, names),
            template,
        };
        Ok((key, row))
    }
}

impl Row for DaemonSet {
    const KINDS: &'static [Kind] = &[Kind {
        group: "apps",
        ..Kind::v1(
            "DaemonSet",
            "daemonsets",
            "which proxy and which network plugin nodes run, and with what configuration",
        )
    }];

    type Wire<'a> = OwnerWire<'a>;

    fn of(wire: OwnerWire<'_>, names: &mut Names) -> Result<(Key, Self), Why> {
        let key = wire.metadata.key(names)?;
        let made = &wire.spec.template;
        let selector = wire
            .spec
            .selector
            .compile()
            .map_err(|why| why.inside(["spec".into(), "selector".into()]))?;
        Ok((
            key,
            Self {
                template: template(&made.metadata.labels, &made.spec, names),
                selector,
            },
        ))
    }
}

impl Row for Deployment {
    const KINDS: &'static [Kind] = &[Kind {
        group: "apps",
        ..Kind::v1("Deployment", "deployments", "how many replicas are wanted")
    }];

    type Wire<'a> = OwnerWire<'a>;

    fn of(wire: OwnerWire<'_>, names: &mut Names) -> Result<(Key, Self), Why> {
        let key = wire.metadata.key(names)?;
        let made = &wire.spec.template;
        let row = Self {
            template: template(&made.metadata.labels, &made.spec, names),
            replicas: wire.spec.replicas.unwrap_or(1),
            ready_replicas: wire.status.ready_replicas,
            observed: wire.status.observed_generation.is_some() || wire.status.ready_replicas > 0,
        };
        Ok((key, row))
    }
}
