//! What evenkeel writes back into a policy.
//!
//! Everything here changes only when a verdict, a condition or a decision changes, never with a scrape.

#![allow(
    unreachable_pub,
    reason = "the derivation of the schema repeats each type inside a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Mode;

/// The state of a `TrafficHealthPolicy` as evenkeel sees it.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct TrafficHealthPolicyStatus {
    /// The generation of the policy that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The conditions Accepted, Observed, Healthy, Ready and Remediating.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many verdicts there are of each kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<VerdictCounts>,
    /// How many Services the policy governs at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub governed_services: Option<i32>,
    /// How far evenkeel may go, after every ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_mode: Option<Mode>,
    /// What keeps the effective mode below the declared one; absent when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub mode_limited_by: Option<String>,
    /// How many findings there are, excepted ones not counted; the list below may be shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub findings_total: Option<i32>,
    /// The worst findings, at most 20, in a stable order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub findings: Vec<StatusFinding>,
    /// The last remediations in this namespace, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub recent_remediations: Vec<RecentRemediation>,
}

/// The state of the `ClusterTrafficHealthPolicy` as evenkeel sees it.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTrafficHealthPolicyStatus {
    /// The generation of the policy that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The conditions Accepted, Observed, Healthy, Ready and Remediating.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many verdicts there are of each kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<VerdictCounts>,
    /// How many findings there are; the list below may be shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub findings_total: Option<i32>,
    /// The worst findings, at most 20, in a stable order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub findings: Vec<StatusFinding>,
    /// What remedies would do, and what holds each back; at most 20, in a stable order. Where the operator runs with
    /// `--remedies`, what nothing holds is carried out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub plans: Vec<StatusPlan>,
    /// How many plans there are; the list above may be shorter. Absent in mode Observe, which plans nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub plans_total: Option<i32>,
}

/// What a remedy would do, and what holds it back.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StatusPlan {
    /// Id of the plan, stable over its life.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// The remedy.
    #[schemars(length(min = 1, max = 63))]
    pub remedy: String,
    /// The node that it is for.
    #[schemars(length(min = 1, max = 253))]
    pub node: String,
    /// Why, in one stable word.
    #[schemars(length(min = 1, max = 63))]
    pub cause: String,
    /// What becomes of it.
    pub decision: PlanDecision,
    /// The guard that holds it back; absent when none does. `evenkeel explain` with this word says what it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub held_by: Option<String>,
    /// What would be done and what holds it back, with the numbers of the moment it began.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When it is looked at again, as of the moment it began: where only time can change it, when it will have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Time>,
}

/// What only the status of the platform's policy has, decoded for itself.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct StatusPlans {
    /// What remedies would do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<StatusPlan>,
    /// How many plans there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plans_total: Option<i32>,
}

/// What becomes of a plan.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanDecision {
    /// Nothing holds it back.
    Planned,
    /// Nothing but a person's yes is missing.
    Suggested,
    /// A guard holds it back.
    Held,
}

/// One condition of a policy, with the bounds that Kubernetes' own type leaves out.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about.
    #[schemars(length(min = 1, max = 63))]
    pub r#type: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The generation of the policy that the condition speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When the status last changed.
    pub last_transition_time: Time,
    /// Why, in one stable word.
    #[schemars(length(min = 1, max = 128))]
    pub reason: String,
    /// Why, for people.
    #[schemars(length(max = 4096))]
    pub message: String,
}

/// Whether a condition holds.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

/// How many verdicts there are of each kind.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct VerdictCounts {
    /// Verdicts Met, as of the last time that something else changed.
    #[schemars(range(min = 0))]
    pub met: i32,
    /// Verdicts `AtRisk`.
    #[schemars(range(min = 0))]
    pub at_risk: i32,
    /// Verdicts Violated.
    #[schemars(range(min = 0))]
    pub violated: i32,
    /// Verdicts Unknown.
    #[schemars(range(min = 0))]
    pub unknown: i32,
    /// Findings under an exception, whatever their verdict.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub excepted: i32,
}

/// A finding in a status.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StatusFinding {
    /// Id of the finding, stable over its life.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// Id of the check.
    #[schemars(length(min = 1, max = 63))]
    pub check: String,
    /// What the check says.
    pub verdict: FindingVerdict,
    /// How much it matters.
    pub severity: FindingSeverity,
    /// What it is about.
    pub subject: FindingSubject,
    /// The root cause, in one stable word, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub cause: Option<String>,
    /// What is wrong, with the numbers of the moment it began.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When the exception that covers it ends; absent when none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excepted_until: Option<Time>,
}

/// What a check says when not all is well.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingVerdict {
    /// It holds, but only just or only in the best case.
    AtRisk,
    /// It does not hold.
    Violated,
    /// An input is missing or stale.
    Unknown,
}

/// How much a finding matters.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingSeverity {
    /// It is not known.
    Unknown,
    /// Good to know.
    Info,
    /// To be looked at in working hours.
    Warning,
    /// To be looked at now.
    Critical,
}

/// What a finding is about.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FindingSubject {
    /// Kind of the subject.
    pub kind: SubjectKind,
    /// Namespace of the subject, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// Name of the subject.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Port of the Service, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub port: Option<String>,
    /// The connection of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub connection: Option<String>,
    /// The client of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub client: Option<String>,
}

/// Kinds of subject.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectKind {
    /// A Service.
    Service,
    /// A node.
    Node,
    /// A zone.
    Zone,
    /// An admission webhook.
    Webhook,
    /// A workload, by the names of its Pods.
    Workload,
    /// The cluster as a whole.
    Cluster,
}

/// A remediation in the status of the namespace it happened in.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecentRemediation {
    /// Name of the remediation's record.
    #[schemars(length(max = 253))]
    pub name: String,
    /// What was to be done.
    #[schemars(length(max = 63))]
    pub remedy: String,
    /// Name of the object it was to be done to.
    #[schemars(length(max = 253))]
    pub target: String,
    /// Why it was to be done, in one stable word.
    #[schemars(length(max = 63))]
    pub cause: String,
    /// What became of it, in one stable word.
    #[schemars(length(max = 63))]
    pub outcome: String,
    /// When it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}
