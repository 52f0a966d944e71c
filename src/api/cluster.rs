//! `ClusterTrafficHealthPolicy`: the platform's own declaration, and the ceiling over every namespaced policy.

#![allow(clippy::duplicated_attributes, reason = "printer columns have equal parts")]
#![allow(
    unreachable_pub,
    reason = "the derivation of the schema repeats each type inside a function"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterTrafficHealthPolicyStatus, Conntrack, Mode, Nodes, SubjectKind, text};

/// What the platform declares about its data plane, nodes and control plane, and what policies may do at most.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "ClusterTrafficHealthPolicy",
    plural = "clustertraffichealthpolicies",
    shortname = "cthp",
    category = "evenkeel",
    status = "ClusterTrafficHealthPolicyStatus",
    derive = "PartialEq",
    doc = "The platform's declaration, and the ceiling over every TrafficHealthPolicy. Only the name cluster is allowed.",
    validation = Rule::new("self.metadata.name == 'cluster'").message("the only allowed name is cluster"),
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Healthy\")].status",
        description = "Whether the cluster is as declared."
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the policy was understood."
    ),
    printcolumn(
        name = "Findings",
        type_ = "integer",
        json_path = ".status.findingsTotal",
        description = "How many findings there are."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Healthy\")].reason",
        description = "Why it is healthy or not.",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.ceiling) || !has(self.ceiling.namespaces) || !has(self.protectedNamespaces) || \
     !self.ceiling.namespaces.exists(name, name in self.protectedNamespaces)"
).message("a protected namespace cannot be under the ceiling too").field_path(".ceiling.namespaces"))]
pub struct ClusterTrafficHealthPolicySpec {
    /// What namespaced policies may do at most; when absent they may observe and suggest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Ceiling>,
    /// Findings of the platform that people have accepted for a time: on the cluster, on nodes, zones and webhooks, and
    /// on Services that no policy governs. The verdict stays visible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub exceptions: Vec<ClusterException>,
    /// Namespaces that nothing is ever done in, whatever a policy says.
    #[serde(default = "protected_namespaces")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = text::DNS_LABEL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub protected_namespaces: Vec<String>,
    /// Namespaces of the platform besides `kube-system` and the usual homes of known products: proxies, network plugins,
    /// DNS and control-plane Pods are believed there, and nowhere else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = text::DNS_LABEL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub trusted_namespaces: Vec<String>,
    /// What every node should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_plane: Option<DataPlane>,
    /// How full connection tables may get, and what of them may be tuned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conntrack: Option<Conntrack>,
    /// How nodes may fail before somebody must step in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Nodes>,
    /// What is expected of the control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlane>,
    /// When so much is sick that nothing may be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
}

fn protected_namespaces() -> Vec<String> {
    vec!["kube-system".to_owned()]
}

/// What namespaced policies may do at most.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.recyclePods) || self.recyclePods.mode != 'Enforce' || \
     (has(self.namespaces) && size(self.namespaces) > 0)"
).message("mode Enforce needs the namespaces that it is for").field_path(".namespaces"))]
pub struct Ceiling {
    /// The namespaces whose policies may go as far as the ceiling. By name, as tenants often control their labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63), regex(pattern = text::DNS_LABEL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub namespaces: Vec<String>,
    /// The ceiling of the recycling of Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recycle_pods: Option<RecycleCeiling>,
    /// Longest time that an exception may last, in days, from the last time its policy was written (its managed
    /// fields, status aside, else its creation; a draft counts from now). Beyond it the finding counts again, whatever
    /// `expiresAt` says, and its advice says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub max_exception_days: Option<i32>,
}

/// The ceiling of the recycling of Pods.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RecycleCeiling {
    /// How far policies of the listed namespaces may go.
    #[serde(default)]
    pub mode: Mode,
    /// Most Pods recycled in an hour, all policies together.
    #[serde(default = "recycles_per_hour")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_per_hour: i32,
}

fn recycles_per_hour() -> i32 {
    10
}

/// A finding of the platform that people have accepted for a time.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterException {
    /// Id of the check whose findings are accepted.
    #[schemars(length(min = 1, max = 63), regex(pattern = text::DNS_LABEL))]
    pub check: String,
    /// What the findings are about.
    pub subject: ExceptedSubject,
    /// Why they are accepted, for readers of the status.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
    /// When the exception ends, in UTC, such as `2027-01-31T00:00:00Z`. It ends earlier where `ceiling.maxExceptionDays`
    /// allows fewer days from the last time this policy was written.
    // No `format`: beside one, API servers take a list for a text.
    #[schemars(length(min = 20, max = 20), regex(pattern = text::UTC_SECONDS))]
    pub expires_at: String,
}

/// What accepted findings are about; without a name every subject of the kind.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kind != 'Cluster' || !has(self.name)")
    .message("the cluster has no name").field_path(".name"))]
#[x_kube(validation = Rule::new("(self.kind in ['Service', 'Workload']) == has(self.__namespace__)")
    .message("a Service or workload needs its namespace, and nothing else has one"))]
pub struct ExceptedSubject {
    /// Kind of the subject.
    pub kind: SubjectKind,
    /// Namespace of the Services or workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = text::DNS_LABEL))]
    pub namespace: Option<String>,
    /// Name of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
}

/// What every node should run.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct DataPlane {
    /// How Services should be implemented on every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_mode: Option<ProxyMode>,
    /// Bounds of the time after which a node forgets an idle connection to a Service, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_idle_timeout_seconds: Option<Limits>,
}

/// How Services are implemented on a node.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyMode {
    /// kube-proxy with iptables.
    Iptables,
    /// kube-proxy with IPVS.
    Ipvs,
    /// kube-proxy with nftables.
    Nftables,
    /// Cilium in place of kube-proxy.
    Cilium,
    /// Something else.
    Other,
}

/// Inclusive bounds in seconds, of which one may be open.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.minimum) || has(self.maximum)").message("minimum, maximum or both must be set"))]
#[x_kube(validation = Rule::new("!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum")
    .message("minimum must not exceed maximum").field_path(".minimum"))]
pub struct Limits {
    /// Least allowed value, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub minimum: Option<i32>,
    /// Greatest allowed value, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub maximum: Option<i32>,
}

/// What is expected of the control plane.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlane {
    /// Settings to assume where the platform hides them; a value that can be read wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume: Option<Assumptions>,
    /// How many API server instances there should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub expected_instances: Option<i32>,
    /// Address of the load balancer before the API servers, such as `api.example.com:6443`. With `--instance-metrics` evenkeel
    /// opens a connection to it every 5 s, without credentials, and sees which API server answers. The address in ConfigMap
    /// kube-public/cluster-info is used where none is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 259), regex(pattern = text::HOST_PORT))]
    pub load_balancer: Option<String>,
}

/// Settings to assume where they cannot be read.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Assumptions {
    /// How long a node may be silent before it is marked, in seconds (`--node-monitor-grace-period`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub node_monitor_grace_seconds: Option<i32>,
    /// How long a client's HTTP/2 connection may be silent before it pings, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub http2_read_idle_seconds: Option<i32>,
    /// How long such a ping may stay unanswered, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub http2_ping_timeout_seconds: Option<i32>,
    /// How large etcd's database may get, in bytes (`--quota-backend-bytes`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_048_576, max = 1_099_511_627_776_i64))]
    pub etcd_quota_bytes: Option<i64>,
}

/// When so much is sick that nothing may be done.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Storm {
    /// Unhealthy share of one zone's nodes, in percent.
    #[serde(default = "zone_unhealthy_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub zone_unhealthy_percent: i32,
    /// Unhealthy share of the cluster's nodes, in percent.
    #[serde(default = "cluster_unhealthy_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub cluster_unhealthy_percent: i32,
    /// Fewest unhealthy nodes for either share to count.
    #[serde(default = "storm_minimum_nodes")]
    #[schemars(range(min = 1, max = 1000))]
    pub minimum_nodes: i32,
    /// How long nothing is done after the last sign of it, in seconds.
    #[serde(default = "storm_cooldown_seconds")]
    #[schemars(range(min = 60, max = 86_400))]
    pub cooldown_seconds: i32,
}

fn zone_unhealthy_percent() -> i32 {
    30
}

fn cluster_unhealthy_percent() -> i32 {
    20
}

fn storm_minimum_nodes() -> i32 {
    2
}

fn storm_cooldown_seconds() -> i32 {
    600
}
