//! `v1/Node`: what it is and how it feels, without its heartbeats, so that an equal row is an unchanged node.

use std::net::IpAddr;

use serde::Deserialize;

use super::claim::{self, Holder};
use super::kind::Kind;
use super::taint::{Taint, TaintWire};
use super::{DecodeError, KeptKeys, Row, Text, TextMap, all_pairs, key, name_of, or_default, pairs};
use crate::know::Wall;
use crate::names::{Key, Name, Names, Pairs};

/// The zone label (`k8s.io/api/core/v1/well_known_labels.go`).
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// The region label; zones of equal name in two regions are two zones.
pub const REGION: &str = "topology.kubernetes.io/region";

/// The annotation in which k3s writes a node's arguments (`pkg/nodeconfig`).
pub const K3S_ARGS: &str = "k3s.io/node-args";
/// The same of RKE2.
pub const RKE2_ARGS: &str = "rke2.io/node-args";

/// Label of nodes that cloud load balancers leave out (`k8s.io/api/core/v1/well_known_labels.go`).
const NO_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// For how long a node that was cordoned or marked for removal may be not Ready before that is a failure, in seconds:
/// longer than a drain, a reboot or the removal of a machine takes.
const LEAVING_SECONDS: i64 = 1800;
/// For how long a node may take to become Ready after it joined, in seconds: `MaxNodeStartupTime` of Cluster Autoscaler
/// (`clusterstate/clusterstate.go`), which until then counts it as upcoming, not as broken.
const JOINING_SECONDS: i64 = 900;
/// Within so many seconds after it joined a node reports its state for the first time; what changes later was lost:
/// `MaxStatusSettingDelayAfterCreation`, in the same file.
const FIRST_REPORT_SECONDS: i64 = 120;

/// Labels of machines that the provider may take at any time, in its documentation.
const SPOT: [(&str, &str); 6] = [
    ("karpenter.sh/capacity-type", "spot"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("cloud.google.com/gke-spot", "true"),
    ("cloud.google.com/gke-preemptible", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
    ("node.kubernetes.io/lifecycle", "spot"),
];

/// Labels of nodes of the control plane: kubeadm (`cmd/kubeadm/app/constants`) since 1.24 and before, RKE, `MicroK8s`
/// (`default-args/kubelet`).
const CONTROL_PLANE: [&str; 4] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
    "node-role.kubernetes.io/controlplane",
    "node.kubernetes.io/microk8s-controlplane",
];
/// Labels that name a node's pool: EKS, GKE, AKS, Karpenter, kops, Gardener, eksctl and `DigitalOcean`, as their documentation
/// has them.
const POOL: [&str; 8] = [
    "eks.amazonaws.com/nodegroup",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
    "karpenter.sh/nodepool",
    "kops.k8s.io/instancegroup",
    "worker.gardener.cloud/pool",
    "alpha.eksctl.io/nodegroup-name",
    "doks.digitalocean.com/node-pool",
];
/// The beginning of the labels that only AKS gives its nodes ("Use labels in an AKS cluster", reserved prefixes).
const AKS: &str = "kubernetes.azure.com/";
/// Most addresses of a node that are kept: one of each family.
const ADDRESSES: usize = 2;

/// The node's `Ready` condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// `True`.
    Ready,
    /// `False`: the kubelet says so.
    NotReady,
    /// `Unknown`: the node does not report.
    Unknown,
    /// There is no such condition. The node controller gives one to a node that has not reported within a minute
    /// (`NodeStatusNeverUpdated`): where it is missing for longer, somebody has cut it off.
    NotSaid,
}

/// The conditions by which a kubelet reports that something is short: those that are `True`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PressureConditions {
    /// `MemoryPressure`.
    pub memory: bool,
    /// `DiskPressure`.
    pub disk: bool,
    /// `PIDPressure`.
    pub processes: bool,
}

/// How a load balancer sees a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Balancing {
    /// Whether the balancers of Services leave it out: by its label, or as it is being deleted. A taint of the cluster
    /// autoscaler does the same with their next change; a cordon does not (cloud-provider, `controllers/service`,
    /// `stableNodeSetPredicates`).
    pub left_out: bool,
    /// Whether Pods go on serving there.
    pub stays: Stays,
}

/// Whether Pods go on serving on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stays {
    /// They do, as far as is known.
    Stays,
    /// It is cordoned, being deleted or marked for removal: a drain takes its Pods away.
    Leaves,
    /// It is not Ready, or there is no such node.
    Down,
}

/// What a Node object says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are independent fields of the object"
)]
pub struct Node {
    /// `metadata.uid`: another Node of the same name is not the same.
    pub uid: Name,
    /// Its labels.
    pub labels: Pairs,
    /// Annotations of k3s, RKE2 and Cilium that carry configuration.
    pub annotations: Pairs,
    /// `status.nodeInfo.operatingSystem`; empty when absent.
    pub os: Name,
    /// `status.nodeInfo.kernelVersion`.
    pub kernel: Name,
    /// `status.nodeInfo.kubeletVersion`.
    pub kubelet: Name,
    /// `status.nodeInfo.osImage`.
    pub image: Name,
    /// `status.nodeInfo.containerRuntimeVersion`.
    pub runtime: Name,
    /// `spec.providerID` without the instance: `aws://`, `cn-hangzhou.i-`; empty when absent.
    pub provider: Name,
    /// Readiness.
    pub ready: Readiness,
    /// Since when it has that readiness (`conditions[Ready].lastTransitionTime`).
    pub ready_since: Option<Wall>,
    /// Which pressure its kubelet reports.
    pub pressure: PressureConditions,
    /// When it joined (`metadata.creationTimestamp`).
    pub created: Option<Wall>,
    /// Its first addresses of type `InternalIP` (`status.addresses`).
    pub addresses: Box<[IpAddr]>,
    /// Whether somebody takes it out of service: it is cordoned, being deleted, or tainted for removal.
    pub leaving: bool,
    /// `metadata.deletionTimestamp`: whether it is being deleted.
    pub deleting: bool,
    /// Whether its machine was stopped to be started again when it is needed, as AKS does with the scale-down mode
    /// Deallocate: such a node stays listed, for days, and is not Ready.
    pub deallocated: bool,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// Taints of effect `NoSchedule` or `NoExecute` that last: those by which the node controller shows how a node
    /// feels are left out.
    pub taints: Box<[Taint]>,
    /// Who takes it out of service or is about to.
    pub holder: Option<Holder>,
    /// Whether it carries evenkeel's own taint ([`claim::FENCE`]).
    pub fenced: bool,
}

impl Node {
    /// Until when it is no failure that this node is not Ready, in seconds of wall time: while it joins and has not been
    /// Ready yet, while it leaves or its machine is deallocated, and where it does not say. `None` for a node that is Ready.
    pub fn excused_until(&self) -> Option<Wall> {
        if self.ready == Readiness::Ready {
            return None;
        }
        if self.ready == Readiness::NotSaid || self.deallocated {
            return Some(Wall(i64::MAX));
        }
        let joining = match (self.created, self.ready_since) {
            (None, _) => i64::MIN,
            // It has changed since its first report: what it was before, it has lost.
            (Some(created), Some(since)) if since.0.saturating_sub(created.0) >= FIRST_REPORT_SECONDS => {
                i64::MIN
            }
            (Some(created), _) => created.0.saturating_add(JOINING_SECONDS),
        };
        let leaving = match (self.leaving, self.ready_since) {
            (false, _) => i64::MIN,
            (true, Some(since)) => since.0.saturating_add(LEAVING_SECONDS),
            (true, None) => i64::MAX,
        };
        Some(Wall(joining.max(leaving)))
    }

    /// Whether it is a node of the control plane, by the label that kubeadm and its like give it.
    pub fn is_control_plane(&self, names: &Names) -> bool {
        CONTROL_PLANE
            .iter()
            .any(|key| self.labels.text(names, key).is_some())
    }

    /// Its node pool; the empty name where no label says it.
    pub fn pool(&self, names: &Names) -> Name {
        let label = |key: &&str| self.labels.get(names.find(key)?);
        POOL.iter().find_map(label).unwrap_or_default()
    }

    /// Whether it is for ordinary Pods, Ready or not: none of the control plane, and no taint that lasts but evenkeel's own.
    pub fn is_worker(&self, names: &Names) -> bool {
        let own = |taint: &Taint| names.text(taint.key) == claim::FENCE;
        !self.is_control_plane(names) && self.taints.iter().all(own)
    }

    /// Whether EKS Auto Mode runs it, which labels its nodes so (EKS guide, "Control if a workload is deployed on EKS Auto
    /// Mode nodes").
    pub fn is_of_auto_mode(&self, names: &Names) -> bool {
        self.labels.text(names, "eks.amazonaws.com/compute-type") == Some("auto")
    }

    /// Whether the provider may take it at any time: a spot or preemptible machine, by the labels of Karpenter, EKS, GKE
    /// and AKS.
    pub fn is_spot(&self, names: &Names) -> bool {
        SPOT.iter().any(|(key, value)| {
            let told = self.labels.text(names, key);
            told.is_some_and(|told| told.eq_ignore_ascii_case(value))
        })
    }

    /// Zone of the node, as text; empty when not labelled.
    pub fn zone<'n>(&self, names: &'n Names) -> &'n str {
        self.labels.text(names, ZONE).unwrap_or("")
    }

    /// Whether it takes ordinary Pods: ready, schedulable, and without a taint that lasts. kubeadm taints the nodes of
    /// its control plane; without taints, as in k3s, Pods may run on them.
    pub fn hosts_pods(&self) -> bool {
        self.ready == Readiness::Ready && !self.unschedulable && self.taints.is_empty()
    }

    /// How a load balancer sees it.
    pub fn balancing(&self, names: &Names) -> Balancing {
        Balancing {
            left_out: self.deleting || self.labels.text(names, NO_BALANCERS).is_some(),
            stays: if self.ready != Readiness::Ready {
                Stays::Down
            } else if self.leaving {
                Stays::Leaves
            } else {
                Stays::Stays
            },
        }
    }
}

/// What is read of the object.
#[derive(Deserialize)]
pub struct Wire<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    spec: Spec<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    status: Status<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    uid: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    labels: TextMap<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    annotations: TextMap<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    creation_timestamp: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    deletion_timestamp: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Spec<'a> {
    #[serde(borrow, rename = "providerID", default)]
    provider_id: Option<Text<'a>>,
    #[serde(default, deserialize_with = "or_default")]
    unschedulable: bool,
    #[serde(borrow, default, deserialize_with = "or_default")]
    taints: Vec<TaintWire<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    conditions: Vec<Condition<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    addresses: Vec<Address<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    node_info: Info<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    last_transition_time: Text<'a>,
}

#[derive(Deserialize)]
struct Address<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    address: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    #[serde(borrow, default)]
    operating_system: Option<Text<'a>>,
    #[serde(borrow, default)]
    kernel_version: Option<Text<'a>>,
    #[serde(borrow, default)]
    kubelet_version: Option<Text<'a>>,
    #[serde(borrow, default)]
    os_image: Option<Text<'a>>,
    #[serde(borrow, default)]
    container_runtime_version: Option<Text<'a>>,
}

/// Whether a Node's annotation of this name carries configuration of the data plane, so that it is kept.
pub fn keeps_annotation(key: &str) -> bool {
    matches!(key, K3S_ARGS | RKE2_ARGS) || key.starts_with("config.cilium.io/")
}

const OCI_INSTANCE: &str = "ocid1.instance.";

/// What a provider ID says of the provider, without what it says of the instance. Cutting twice changes nothing.
pub fn cut_provider(id: &str) -> &str {
    // Oracle's nodes carry the instance's OCID, without a scheme (oci-cloud-controller-manager, `instances.go`).
    if id.starts_with(OCI_INSTANCE) {
        return OCI_INSTANCE;
    }
    ["://", ".i-"]
        .iter()
        .find_map(|mark| id.get(..id.find(mark)? + mark.len()))
        .unwrap_or("")
}

impl Row for Node {
    const KINDS: &'static [Kind] = &[Kind {
        namespaced: false,
        evidence: true,
        ..Kind::v1("Node", "nodes", "zones, readiness and versions of nodes")
    }];

    const KEPT_KEYS: &'static [KeptKeys] = &[("metadata.annotations", |key| {
        keeps_annotation(key) || claim::keeps_annotation(key)
    })];

    type Wire<'a> = Wire<'a>;

    fn of(wire: Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        let key = key("", &wire.metadata.name, names)?;
        let ready = wire
            .status
            .conditions
            .iter()
            .find(|condition| condition.kind == "Ready");
        let is = |kind: &str| {
            let mut conditions = wire.status.conditions.iter();
            conditions.any(|one| one.kind == kind && one.status == "True")
        };
        let provider = wire.spec.provider_id.as_deref().unwrap_or("");
        let provider = cut_provider(provider);
        let info = &wire.status.node_info;
        let taints = wire.spec.taints.iter().filter_map(|taint| taint.row(names));
        let taints: Box<[Taint]> = taints.collect();
        let internal = wire
            .status
            .addresses
            .iter()
            .filter(|one| one.kind == "InternalIP");
        let addresses = internal.filter_map(|one| one.address.parse().ok());
        // Azure stops no machine by itself: its cloud provider taints one that is stopped or deallocated
        // (cloud-provider-azure, `InstanceShutdown`).
        let of_azure =
            provider.starts_with("azure://") || wire.metadata.labels.keys().any(|key| key.starts_with(AKS));
        let deallocated = of_azure && wire.spec.taints.iter().any(TaintWire::says_shut_down);
        let row = Self {
            uid: names.intern(&wire.metadata.uid),
            labels: all_pairs(&wire.metadata.labels, names),
            annotations: pairs(&wire.metadata.annotations, names, keeps_annotation),
            os: name_of(info.operating_system.as_ref(), names),
            kernel: name_of(info.kernel_version.as_ref(), names),
            kubelet: name_of(info.kubelet_version.as_ref(), names),
            image: name_of(info.os_image.as_ref(), names),
            runtime: name_of(info.container_runtime_version.as_ref(), names),
            provider: names.intern(provider),
            ready: match ready.map(|condition| &*condition.status) {
                Some("True") => Readiness::Ready,
                Some("False") => Readiness::NotReady,
                Some(_) => Readiness::Unknown,
                None => Readiness::NotSaid,
            },
            ready_since: ready.and_then(|condition| Wall::parse(&condition.last_transition_time)),
            pressure: PressureConditions {
                memory: is("MemoryPressure"),
                disk: is("DiskPressure"),
                processes: is("PIDPressure"),
            },
            created: Wall::parse(&wire.metadata.creation_timestamp),
            addresses: addresses.take(ADDRESSES).collect(),
            deleting: !wire.metadata.deletion_timestamp.is_empty(),
            deallocated,
            leaving: wire.spec.unschedulable
                || deallocated
                || !wire.metadata.deletion_timestamp.is_empty()
                || wire.spec.taints.iter().any(TaintWire::takes_away),
            unschedulable: wire.spec.unschedulable,
            taints,
            holder: claim::holder(
                !wire.metadata.deletion_timestamp.is_empty(),
                wire.spec.unschedulable,
                &wire.spec.taints,
                &wire.metadata.annotations,
            ),
            fenced: claim::is_fenced(&wire.spec.taints),
        };
        Ok((key, row))
    }
}
