//! The stored record of one remediation (`kind: Remediation`), as far as the drive reads and writes it.

use std::fmt::Write;

use serde_json::{Value, json};

use super::approval::PersonAnswer;
use crate::findings::Fnv;
use crate::judge::Evidence;
use crate::know::Wall;
use crate::names::Names;
use crate::policy::FenceEffect;
use crate::remedies::NodeChange;
use crate::sources::claim::FENCE;

/// Most numbers that a record says it rests on: `maxItems` of the definition.
const EVIDENCE: usize = 32;
/// Longest reason why a person has to agree: `maxLength` of the definition.
const REASON: usize = 256;
/// For so long a record waits for a person, in seconds: its evidence is of the window of flaps before.
const WAITS: i64 = 3_600;
/// What a fence is expected to improve.
const EXPECTED: &str = "the node is not filled after its next return, and stops failing";

/// The policy that allows a remediation, as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersion {
    /// Its uid.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

/// How far a remediation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It is stored, and waits for a person: nothing may be done for it.
    Waiting,
    /// It is stored; whether anything was done is for the target to say.
    Intended,
    /// It was done, and is in effect.
    InEffect,
    /// It is over.
    Finished(Ending),
}

/// How a remediation ended: the reason of its condition `Finished`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Nothing was done: a guard, a stop, or the target as it was read.
    Refused,
    /// What was done is not there any more, or never was, without an undo of ours.
    Lapsed,
    /// It was undone.
    Undone,
    /// It could not be done.
    Failed,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Refused, Self::Lapsed, Self::Undone, Self::Failed];

    /// As written in the condition.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "Refused",
            Self::Lapsed => "Lapsed",
            Self::Undone => "Undone",
            Self::Failed => "Failed",
        }
    }
}

/// The record of the fence of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct RemediationRecord {
    /// Its name: one intent has one, so that it cannot be stored twice.
    pub name: String,
    /// Its uid; empty before it is stored.
    pub uid: String,
    /// Its resourceVersion; empty before it is stored.
    pub version: String,
    /// When it was stored.
    pub created: Option<Wall>,
    /// Name of the node.
    pub node: String,
    /// uid of the node: another of the same name is not meant.
    pub node_uid: String,
    /// Effect of the taint.
    pub effect: FenceEffect,
    /// Why, in one stable word.
    pub cause: String,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// The policy that allows it.
    pub policy: PolicyVersion,
    /// The term of the leader that meant it: the resourceVersion of the write by which it acquired the Lease.
    pub term: u64,
    /// Hash of the plan.
    pub plan_hash: String,
    /// Why a person has to agree before it is carried out; none where nobody has to.
    pub approval_reason: Option<String>,
    /// What a person said to it.
    pub answer: Option<PersonAnswer>,
    /// How far it has come.
    pub phase: Phase,
    /// When it ended.
    pub ended: Option<Wall>,
    /// Whether it was in effect before it ended.
    pub was_in_effect: bool,
    /// How often the node failed while it was in effect, where that was counted: by it a fence was of use, or was not.
    pub failures_after: Option<u32>,
}

impl RemediationRecord {
    /// The record of a change that is planned, the `number`th of this remedy, node and cause: the name follows of it, so two
    /// leaders that mean the same write the same object.
    pub fn of(
        change: &NodeChange,
        names: &Names,
        node_uid: &str,
        policy: PolicyVersion,
        term: u64,
        number: u32,
    ) -> Self {
        let node = names.text(change.node).to_owned();
        let name = name_of(change.remedy, node_uid, change.cause, number);
        let plan_hash = plan_hash(change, &node, node_uid, &policy);
        Self {
            name,
            uid: String::new(),
            version: String::new(),
            created: None,
            node,
            node_uid: node_uid.to_owned(),
            effect: change.effect,
            cause: change.cause.to_owned(),
            evidence: change.evidence.iter().take(EVIDENCE).cloned().collect(),
            policy,
            term,
            plan_hash,
            approval_reason: None,
            answer: None,
            phase: Phase::Intended,
            ended: None,
            was_in_effect: false,
            failures_after: None,
        }
    }

    /// The same, which waits until a person agrees, for this reason.
    #[must_use]
    pub fn awaiting(self, reason: &str) -> Self {
        Self {
            approval_reason: Some(reason.chars().take(REASON).collect()),
            phase: Phase::Waiting,
            ..self
        }
    }

    /// Whether it is about the same cause of the same node.
    pub fn is_same_intent(&self, other: &Self) -> bool {
        self.node_uid == other.node_uid && self.cause == other.cause
    }

    /// Whether it has waited for a person for too long.
    pub fn is_unanswered(&self, now: Wall) -> bool {
        let since = self.created.filter(|_| self.phase == Phase::Waiting);
        since.is_some_and(|since| now.0.saturating_sub(since.0) >= WAITS)
    }

    /// Whether a person agreed to this plan.
    pub fn is_approved(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.yes)
    }

    /// Whether anything can have been done by it: not where a person had to agree and did not.
    pub const fn may_have_acted(&self) -> bool {
        match &self.answer {
            Some(answer) => answer.yes,
            None => self.approval_reason.is_none(),
        }
    }

    /// Whether a person said no to it.
    pub fn is_rejected(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| !answer.yes)
    }

    /// A record of no remediation, where a drive is about none, or where the stored one is gone.
    pub(super) fn blank() -> Self {
        Self {
            name: String::new(),
            uid: String::new(),
            version: String::new(),
            created: None,
            node: String::new(),
            node_uid: String::new(),
            effect: FenceEffect::PreferNoSchedule,
            cause: String::new(),
            evidence: Vec::new(),
            policy: PolicyVersion {
                uid: String::new(),
                generation: 0,
            },
            term: 0,
            plan_hash: String::new(),
            approval_reason: None,
            answer: None,
            phase: Phase::Intended,
            ended: None,
            was_in_effect: false,
            failures_after: None,
        }
    }

    /// The how manieth it is of its remedy, node and cause, as its name says.
    pub fn number(&self) -> Option<u32> {
        self.name.rsplit_once('-')?.1.parse().ok()
    }

    /// Whether nothing is to be done for it any more.
    pub const fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished(_))
    }

    /// The object that is created.
    pub fn json(&self, namespace: &str) -> Value {
        let evidence = self.evidence.iter().map(|one| {
            json!({"what": one.what, "value": one.value.to_string(), "unit": one.unit, "source": &*one.source})
        });
        let mut object = json!({
            "apiVersion": "evenkeel.dev/v1alpha1",
            "kind": "Remediation",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": {
                "remedy": "CordonNode",
                "target": {"kind": "Node", "name": self.node, "uid": self.node_uid},
                "policyRef": {"uid": self.policy.uid, "generation": self.policy.generation},
                "check": "node-cascade-wave",
                "cause": self.cause,
                "evidence": evidence.collect::<Vec<_>>(),
                "change": {"field": "spec.taints", "to": FENCE, "effect": self.effect.name()},
                "expectedEffect": EXPECTED,
                "term": self.term.to_string(),
                "planHash": self.plan_hash,
            },
        });
        if let Some(reason) = &self.approval_reason {
            object["spec"]["approvalReason"] = reason.clone().into();
        }
        object
    }

    /// The patch (JSON merge) of its status, for the version that was read: conditions as of now.
    pub fn status_json(&self, now: Wall) -> Value {
        let said = |kind: &str, status: &str, reason: &str, message: &str| {
            json!({"type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": now.to_string()})
        };
        let condition = |kind: &str, reason: &str, message: &str| said(kind, "True", reason, message);
        let mut conditions = Vec::new();
        if let Some(PersonAnswer { yes, by }) = &self.answer {
            let (status, reason) = if *yes {
                ("True", "Approved")
            } else {
                ("False", REJECTED)
            };
            conditions.push(said(APPROVED, status, reason, &format!("{BY}{by}")));
        }
        if self.was_in_effect || self.phase == Phase::InEffect {
            conditions.push(condition("Started", "Fenced", "the node carries the taint"));
        }
        if let Phase::Finished(ending) = self.phase {
            conditions.push(condition("Finished", ending.name(), ""));
        }
        let mut status = json!({"conditions": conditions});
        if let Some(failures) = self.failures_after {
            status["after"] =
                json!({"what": "failuresWhileFenced", "value": failures, "time": now.to_string()});
        }
        json!({"metadata": {"resourceVersion": self.version}, "status": status})
    }

    /// Reads a stored record; `None` of one that no version of evenkeel wrote.
    pub fn parse(object: &Value) -> Option<Self> {
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let effect = match text("/spec/change/effect")?.as_str() {
            "PreferNoSchedule" => FenceEffect::PreferNoSchedule,
            "NoSchedule" => FenceEffect::NoSchedule,
            _ => return None,
        };
        let none = Vec::new();
        let conditions = object
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .unwrap_or(&none);
        let holds = |kind: &str| {
            let is_it = |one: &&Value| one["type"] == kind && one["status"] == "True";
            conditions.iter().find(is_it)
        };
        let started = holds("Started").is_some();
        let finished = holds("Finished");
        let ending = finished.map(|one| {
            let known = Ending::ALL
                .into_iter()
                .find(|ending| one["reason"] == ending.name());
            known.unwrap_or(Ending::Failed)
        });
        let answer = conditions.iter().find_map(answer_of);
        let approval_reason = text("/spec/approvalReason");
        let agreed = approval_reason.is_none() || answer.as_ref().is_some_and(|answer| answer.yes);
        let phase = match ending {
            Some(ending) => Phase::Finished(ending),
            None if started => Phase::InEffect,
            None if agreed => Phase::Intended,
            None => Phase::Waiting,
        };
        let time = |text: Option<&str>| text.and_then(Wall::parse);
        Some(Self {
            name: text("/metadata/name")?,
            uid: text("/metadata/uid")?,
            version: text("/metadata/resourceVersion")?,
            created: time(
                object
                    .pointer("/metadata/creationTimestamp")
                    .and_then(Value::as_str),
            ),
            node: text("/spec/target/name")?,
            node_uid: text("/spec/target/uid")?,
            effect,
            cause: text("/spec/cause")?,
            evidence: Vec::new(),
            policy: PolicyVersion {
                uid: text("/spec/policyRef/uid")?,
                generation: object.pointer("/spec/policyRef/generation")?.as_i64()?,
            },
            term: text("/spec/term")?.parse().ok()?,
            plan_hash: text("/spec/planHash")?,
            approval_reason,
            answer,
            phase,
            ended: finished.and_then(|one| time(one["lastTransitionTime"].as_str())),
            was_in_effect: started,
            failures_after: object
                .pointer("/status/after/value")
                .and_then(Value::as_u64)
                .and_then(|value| u32::try_from(value).ok()),
        })
    }
}

/// Condition of a record to which a person has answered; its reason where the answer is no; and what stands before the name.
const APPROVED: &str = "Approved";
const REJECTED: &str = "Rejected";
const BY: &str = "by ";

/// What a condition says that a person has said.
fn answer_of(condition: &Value) -> Option<PersonAnswer> {
    let yes = match condition["status"].as_str()? {
        "True" => true,
        "False" if condition["reason"] == REJECTED => false,
        _ => return None,
    };
    let message = condition["message"].as_str().unwrap_or_default();
    let by = message.strip_prefix(BY).unwrap_or(message).to_owned();
    (condition["type"] == APPROVED).then_some(PersonAnswer { yes, by })
}

/// The name of the record of one intent.
fn name_of(remedy: &str, uid: &str, cause: &str, number: u32) -> String {
    let mut hash = Fnv::BEGIN;
    // A hash takes every write.
    let _ = write!(hash, "{remedy}\0{uid}\0{cause}");
    format!("{}-{:016x}-{number}", remedy.to_lowercase(), hash.0)
}

/// The hash of the plan of a change of this node, under this policy.
pub(crate) fn hash_of(change: &NodeChange, names: &Names, node_uid: &str, policy: &PolicyVersion) -> String {
    plan_hash(change, names.text(change.node), node_uid, policy)
}

/// What an approval is for: the same remedy on the same object, with the same effect under the same policy. It tells plans
/// apart and guards against none: only the operator writes records, and an approval names the record's uid as well.
fn plan_hash(change: &NodeChange, node: &str, uid: &str, policy: &PolicyVersion) -> String {
    let mut hash = Fnv::BEGIN;
    let PolicyVersion { uid: of, generation } = policy;
    let _ = write!(
        hash,
        "{}\0{node}\0{uid}\0{}\0{}\0{of}\0{generation}",
        change.remedy,
        change.cause,
        change.effect.name()
    );
    format!("{:016x}", hash.0)
}
