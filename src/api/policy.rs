//! `TrafficHealthPolicy`: what a team declares about its own Services.

#![allow(clippy::duplicated_attributes, reason = "printer columns have equal parts")]
#![allow(
    unreachable_pub,
    reason = "the derivation of the schema repeats each type inside a function"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Connection, LabelSelector, Mode, TrafficHealthPolicyStatus, text};

/// What healthy traffic to some Services of this namespace is, and what evenkeel may do when it is not.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "TrafficHealthPolicy",
    plural = "traffichealthpolicies",
    shortname = "thp",
    category = "evenkeel",
    namespaced,
    status = "TrafficHealthPolicyStatus",
    derive = "PartialEq",
    doc = "A team's declaration of what healthy traffic to its own Services is, and of what evenkeel may do about it.",
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Healthy\")].status",
        description = "Whether the governed traffic is healthy."
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
        description = "How many findings there are, excepted ones not counted."
    ),
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".status.effectiveMode",
        description = "How far evenkeel may go, after every ceiling."
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
pub struct TrafficHealthPolicySpec {
    /// Which Services of the policy's namespace it governs.
    pub services: Services,
    /// How evenly traffic and backends should spread; not judged when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// The kinds of connection to these Services; at most 2000 paths are judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub connections: Vec<Connection>,
    /// What evenkeel may do; it only observes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<Remediation>,
    /// Findings that people have accepted for a time. The verdict stays visible in the status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["check".into()]))]
    pub exceptions: Vec<Exception>,
}

/// Which Services are governed: either by name or by label.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.names) != has(self.selector)")
    .message("exactly one of names and selector must be set"))]
pub struct Services {
    /// Names of Services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63), regex(pattern = text::DNS_LABEL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Vec<String>,
    /// Labels of Services; an empty selector means every Service of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How evenly traffic and backends should spread.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.podMetric) || self.measure != 'ActiveConnections' || self.podMetric.counts == 'Connections'"
).message("with measure ActiveConnections the metric is the number of open connections: counts must be Connections")
 .field_path(".podMetric.counts"))]
#[x_kube(validation = Rule::new(
    "!has(self.maxPercentPerNode) || !has(self.maxPercentPerZone) || self.maxPercentPerNode <= self.maxPercentPerZone"
).message("maxPercentPerNode must not exceed maxPercentPerZone: a zone holds all that its nodes hold")
 .field_path(".maxPercentPerNode"))]
pub struct Balance {
    /// What is counted on each backend: the connections opened in the window, or those open at the moment.
    #[serde(default)]
    pub measure: Measure,
    /// Deviation from the expected share that is still healthy, in percent of that share.
    #[serde(default = "tolerance_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub tolerance_percent: i32,
    /// How long a ready backend may take to reach its share, in seconds.
    #[serde(default = "newcomer_grace_seconds")]
    #[schemars(range(min = 0, max = 86_400))]
    pub newcomer_grace_seconds: i32,
    /// Where each Pod's number of connections or requests is to be found, in the Prometheus that the operator asks; shares
    /// are not measured when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_metric: Option<PodMetric>,
    /// Fewest ready backends of each Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub minimum_ready_backends: Option<i32>,
    /// Largest share of a Service's ready backends on one node, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_percent_per_node: Option<i32>,
    /// Largest share of a Service's ready backends in one zone, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_percent_per_zone: Option<i32>,
}

/// A metric of the Pods behind the Services. The query is made of it, for the Pods behind each Service in the policy's
/// namespace and nothing else.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.podLabel in ['namespace', 'evenkeel'])")
    .message("the labels namespace and evenkeel hold something else than the Pod").field_path(".podLabel"))]
pub struct PodMetric {
    /// Its name: a counter, or with measure `ActiveConnections` the number of open connections. Series of one Pod are added
    /// up, and a Pod without any is not known: let it begin at zero.
    #[schemars(length(min = 1, max = 200), regex(pattern = text::METRIC_NAME))]
    pub name: String,
    /// The label that holds the name of the Pod.
    #[serde(default = "pod_label")]
    #[schemars(length(min = 1, max = 100), regex(pattern = text::METRIC_LABEL))]
    pub pod_label: String,
    /// What it counts.
    #[serde(default)]
    pub counts: Counts,
}

fn pod_label() -> String {
    "pod".to_owned()
}

/// What a metric of a Pod counts.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counts {
    /// Connections: what a balancer decides about, each by itself.
    #[default]
    Connections,
    /// Requests, of which a connection may carry many: shares follow the connections that clients keep.
    Requests,
}

fn tolerance_percent() -> i32 {
    25
}

fn newcomer_grace_seconds() -> i32 {
    600
}

/// What is counted when balance is judged.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// Connections opened in the window: what a balancer decides about.
    #[default]
    NewConnections,
    /// Connections open at the moment: what a backend carries.
    ActiveConnections,
}

/// What evenkeel may do.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Remediation {
    /// Recycling of single Pods, by eviction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recycle_pods: Option<RecyclePods>,
}

/// Bounds of the recycling of Pods.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode == 'Observe' || (has(self.causes) && size(self.causes) > 0)")
    .message("the modes Suggest and Enforce need at least one cause").field_path(".causes"))]
pub struct RecyclePods {
    /// How far evenkeel may go: Observe plans nothing, Suggest asks a person, Enforce acts inside the bounds.
    #[serde(default)]
    pub mode: Mode,
    /// Most Pods recycled in an hour for this policy.
    #[serde(default = "recycles_per_hour")]
    #[schemars(range(min = 1, max = 60))]
    pub max_per_hour: i32,
    /// Pause after each recycled Pod, in seconds.
    #[serde(default = "recycle_cooldown_seconds")]
    #[schemars(range(min = 60, max = 86_400))]
    pub cooldown_seconds: i32,
    /// The causes a Pod may be recycled for: `PinnedClient` is a client whose node's table keeps it on old backends,
    /// `HotBackend` the oldest backend that carries too much, `StuckClient` a client that waits for a lost answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub causes: Vec<RecycleCause>,
    /// Whether Pods of this namespace may be recycled as clients of another namespace's Service.
    #[serde(default)]
    pub as_client: bool,
}

fn recycles_per_hour() -> i32 {
    2
}

fn recycle_cooldown_seconds() -> i32 {
    1800
}

/// Why a Pod may be recycled.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecycleCause {
    /// A client whose node's table keeps it on old backends.
    PinnedClient,
    /// The oldest of the backends that carry too much.
    HotBackend,
    /// A client that waits for an answer that was lost.
    StuckClient,
}

/// A finding that people have accepted for a time.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// Id of the check whose findings are accepted.
    #[schemars(length(min = 1, max = 63), regex(pattern = text::DNS_LABEL))]
    pub check: String,
    /// Why they are accepted, for readers of the status.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
    /// When the exception ends, in UTC, such as `2027-01-31T00:00:00Z`. It ends earlier where the platform allows
    /// exceptions fewer days (`ceiling.maxExceptionDays`) from the last time this policy was written.
    // No `format`: beside one, API servers take a list for a text.
    #[schemars(length(min = 20, max = 20), regex(pattern = text::UTC_SECONDS))]
    pub expires_at: String,
}
