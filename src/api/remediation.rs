//! `Remediation` and `RemediationApproval`: the ledger of what evenkeel does, and a person's yes or no.
//!
//! The component `remedy-cordon` installs their definitions. The operator writes records, and people approvals.

#![allow(clippy::duplicated_attributes, reason = "printer columns have equal parts")]
#![allow(
    unreachable_pub,
    reason = "the derivation of the schema repeats each type inside a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, FenceEffect};

/// What evenkeel means to do to one object, written before it is done. A record, never an order: deleting or editing one
/// changes nothing but what is remembered.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Remediation",
    root = "RemediationRecord",
    plural = "remediations",
    shortname = "rmd",
    category = "evenkeel",
    namespaced,
    status = "RemediationStatus",
    derive = "PartialEq",
    doc = "What evenkeel did or means to do to one object: written before the act, finished after it. Only the operator writes it.",
    printcolumn(
        name = "Remedy",
        type_ = "string",
        json_path = ".spec.remedy",
        description = "What is done."
    ),
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".spec.target.name",
        description = "The object that it is done to."
    ),
    printcolumn(
        name = "Outcome",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Finished\")].reason",
        description = "What became of it."
    ),
    printcolumn(
        name = "Cause",
        type_ = "string",
        json_path = ".spec.cause",
        description = "Why.",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("the spec of a Remediation never changes"))]
pub struct RemediationSpec {
    /// The remedy.
    pub remedy: RemedyKind,
    /// The object that it is done to.
    pub target: RemediationTarget,
    /// The policy that allows it.
    pub policy_ref: RemediationPolicy,
    /// The check whose finding it answers.
    #[schemars(length(min = 1, max = 63))]
    pub check: String,
    /// Why, in one stable word.
    #[schemars(length(min = 1, max = 63))]
    pub cause: String,
    /// What it rests on, as of the decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub evidence: Vec<RemediationEvidence>,
    /// What is changed.
    pub change: RemediationChange,
    /// What it is expected to improve, in one sentence.
    #[schemars(length(min = 1, max = 256))]
    pub expected_effect: String,
    /// The term of the leader that wrote it: the resourceVersion of the write by which it acquired the Lease.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[0-9]+$"))]
    pub term: String,
    /// Hash of remedy, target, cause and change: an approval is for this plan and no other.
    #[schemars(length(min = 16, max = 64), regex(pattern = "^[0-9a-f]+$"))]
    pub plan_hash: String,
    /// Why a person has to agree before it is done; absent where nobody has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub approval_reason: Option<String>,
}

/// What evenkeel can do.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemedyKind {
    /// Evicts one Pod.
    RecyclePod,
    /// Changes one bounded setting of connection tracking.
    TuneConntrack,
    /// Fences one node.
    CordonNode,
}

/// The object that something is done to.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.kind == 'Pod') == has(self.__namespace__)")
    .message("a Pod needs its namespace, and nothing else has one"))]
pub struct RemediationTarget {
    /// Kind of the object.
    pub kind: TargetKind,
    /// Its namespace, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid: another object of the same name is not meant.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// Kinds that something is done to.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A Node.
    Node,
    /// A Pod.
    Pod,
}

/// The policy that allows it, as it was.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RemediationPolicy {
    /// uid of the policy.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// Its generation.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub generation: i64,
}

/// One number or name that a decision rests on.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RemediationEvidence {
    /// What it is, in lowerCamelCase.
    #[schemars(length(min = 1, max = 63))]
    pub what: String,
    /// Its value, as text.
    #[schemars(length(max = 253))]
    pub value: String,
    /// Its unit; absent for a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub unit: Option<String>,
    /// Where it was read.
    #[schemars(length(max = 256))]
    pub source: String,
}

/// What is changed, and from what.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RemediationChange {
    /// The field.
    #[schemars(length(min = 1, max = 253))]
    pub field: String,
    /// Its value before; absent where it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub from: Option<String>,
    /// Its value after; absent where it is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub to: Option<String>,
    /// Effect of the taint, where the change is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<FenceEffect>,
}

/// What became of a remediation.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RemediationStatus {
    /// The conditions Approved, Started and Finished; the reason of Finished is the outcome: Done, Undone, Refused, Lapsed
    /// or Failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The value that was found, to be restored by the undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub prior_value: Option<String>,
    /// The number that was to improve, before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<WatchedNumber>,
    /// The same after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<WatchedNumber>,
}

/// A number that an act was to improve.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WatchedNumber {
    /// What it is, in lowerCamelCase.
    #[schemars(length(min = 1, max = 63))]
    pub what: String,
    /// Its value.
    #[schemars(range(min = 0))]
    pub value: i64,
    /// When it was measured.
    pub time: Time,
}

/// A person's yes or no to one plan, in mode Suggest. It says yes to what its hash names, and to nothing that came of it later.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "RemediationApproval",
    plural = "remediationapprovals",
    shortname = "rmda",
    category = "evenkeel",
    namespaced,
    derive = "PartialEq",
    doc = "A person's yes or no to one plan. Who may approve is who may create these, in the namespace of the target; for nodes in the operator's.",
    printcolumn(
        name = "Decision",
        type_ = "string",
        json_path = ".spec.decision",
        description = "Yes or no."
    ),
    printcolumn(
        name = "By",
        type_ = "string",
        json_path = ".spec.by",
        description = "Who decided."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("an approval never changes; delete it and create another"))]
pub struct RemediationApprovalSpec {
    /// uid of the Remediation.
    #[serde(rename = "remediationUID")]
    #[schemars(length(min = 1, max = 64))]
    pub remediation_uid: String,
    /// Hash of the plan that was looked at.
    #[schemars(length(min = 16, max = 64), regex(pattern = "^[0-9a-f]+$"))]
    pub plan_hash: String,
    /// Yes or no.
    pub decision: ApprovalDecision,
    /// Who decided: the requesting user. An admission policy holds it to that where the component is installed.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
}

/// Yes or no.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalDecision {
    /// The plan may be carried out.
    Approve,
    /// It may not.
    Reject,
}
