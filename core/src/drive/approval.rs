//! What people say to a plan that waits for them, as it is stored.

use serde_json::Value;

/// What a person said to a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonAnswer {
    /// Whether it may be carried out.
    pub yes: bool,
    /// Who said it: a user name of the API server.
    pub by: String,
}

/// A stored answer (`kind: RemediationApproval`) to one plan of one record. Who may create one is for RBAC to say, and that
/// `by` is who created it for the admission policy `evenkeel-approvals`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// uid of the record: another of the same name is not meant.
    pub record_uid: String,
    /// Hash of the plan that was looked at.
    pub plan_hash: String,
    /// What was said.
    pub answer: PersonAnswer,
}

impl Approval {
    /// Reads the object; `None` of one that cannot be understood, or that is being taken back.
    pub fn parse(object: &Value) -> Option<Self> {
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).map(str::to_owned);
        if object.pointer("/metadata/deletionTimestamp").is_some() {
            return None;
        }
        let yes = match text("/spec/decision")?.as_str() {
            "Approve" => true,
            "Reject" => false,
            _ => return None,
        };
        Some(Self {
            record_uid: text("/spec/remediationUID")?,
            plan_hash: text("/spec/planHash")?,
            answer: PersonAnswer {
                yes,
                by: text("/spec/by")?,
            },
        })
    }
}
