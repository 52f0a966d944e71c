//! `v1/Pod`, `apps/v1/DaemonSet` and `apps/v1/Deployment`: what runs, and what made it.

use serde::Deserialize;

use super::disruption::{DisruptionWire, PodDisruption};
use super::kind::{Extent, Kind};
use super::template::{PodSpec, template};
use super::{DecodeError, Named, Row, SelectorWire, Text, TextMap, key, name_of, or_default, uid_hash};
use crate::know::Wall;
use crate::names::{Key, Name, Names};
use crate::policy::Selector;

pub use super::template::{ConfigVolume, Container, Template, keeps_container, keeps_variable};

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pod {
    /// A hash of its uid, as its endpoints have it ([`Endpoint::pod`](super::slice::Endpoint::pod)).
    pub uid: u32,
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
    /// That it was made to go, as its status says.
    pub disruption: Option<PodDisruption>,
}

/// A DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DaemonSet {
    /// Its Pod template.
    pub template: Template,
    /// Its Pod selector.
    pub selector: Selector,
    /// Whether Pods of an older template stay until somebody deletes them (`spec.updateStrategy.type: OnDelete`).
    pub on_delete: bool,
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
    uid: Text<'a>,
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
    #[serde(borrow, default, deserialize_with = "or_default")]
    reason: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    message: Text<'a>,
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
#[serde(rename_all = "camelCase")]
struct Condition<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    reason: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    last_transition_time: Text<'a>,
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
#[serde(rename_all = "camelCase")]
struct OwnerSpec<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    selector: SelectorWire<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    template: TemplateWire<'a>,
    #[serde(default)]
    replicas: Option<u32>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    update_strategy: Strategy<'a>,
}

#[derive(Deserialize, Default)]
struct Strategy<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "or_default")]
    kind: Text<'a>,
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

impl PodWire<'_> {
    fn disruption(&self) -> Option<PodDisruption> {
        let status = &self.status;
        let target = status
            .conditions
            .iter()
            .find(|one| one.kind == "DisruptionTarget");
        let wire = DisruptionWire {
            phase: status.phase.as_deref().unwrap_or_default(),
            reason: &status.reason,
            message: &status.message,
            target: target
                .filter(|one| one.status == "True")
                .map(|one| (&*one.reason, &*one.last_transition_time)),
            start_time: status.start_time.as_deref().unwrap_or_default(),
        };
        wire.read(&self.metadata.uid, self.spec.priority)
    }
}

/// What is read of a Pod that is read by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SinglePod {
    /// A hash of its uid; 0 where it has none.
    pub(crate) uid: u64,
    /// That it was made to go.
    pub(crate) disruption: Option<PodDisruption>,
    /// Its node; empty while unscheduled.
    pub(crate) node: Name,
}

impl SinglePod {
    /// Reads it.
    pub(crate) fn parse(json: &[u8], names: &mut Names) -> Result<Self, DecodeError> {
        let wire: PodWire<'_> = super::decode_error::read(json)?;
        Ok(Self {
            uid: uid_hash(&wire.metadata.uid),
            disruption: wire.disruption(),
            node: name_of(wire.spec.node_name.as_ref(), names),
        })
    }
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

    fn of(wire: PodWire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        let key = key(&wire.metadata.namespace, &wire.metadata.name, names)?;
        let owner = wire
            .metadata
            .owner_references
            .iter()
            .find(|owner| owner.controller == Some(true));
        let template = template(&wire.metadata.labels, &wire.spec, names);
        let row = Self {
            uid: super::pod_hash(&wire.metadata.uid, &wire.metadata.name),
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
            disruption: wire.disruption(),
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

    fn of(wire: OwnerWire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
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
                on_delete: wire.spec.update_strategy.kind == "OnDelete",
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

    fn of(wire: OwnerWire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
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
