//! Plans as people and programs see them: texts in place of names, wall time in place of monotonic time.

use std::fmt;

use serde::Serialize;

use super::Plan;
use crate::findings::EvidenceView;
use crate::guards;

/// What becomes of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// Nothing holds it back.
    Planned,
    /// Nothing but a person's yes is missing.
    Suggested,
    /// A guard holds it back.
    Held,
}

impl Decision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Planned, Self::Suggested, Self::Held];

    /// As written in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "Planned",
            Self::Suggested => "Suggested",
            Self::Held => "Held",
        }
    }

    pub(crate) fn of(plan: &Plan) -> Self {
        match &plan.held {
            None => Self::Planned,
            Some(held) if held.by == guards::APPROVAL => Self::Suggested,
            Some(_) => Self::Held,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What holds a plan back.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// The guard.
    pub by: &'static str,
    /// Why, with its numbers.
    pub message: String,
    /// The numbers with unit and source.
    pub evidence: Vec<EvidenceView>,
    /// When it is looked at again, in seconds since the Unix epoch: where only time can change it, when it will have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_at: Option<i64>,
}

/// One plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// Stable over runs: a hash of remedy, node and cause.
    pub id: String,
    /// The remedy.
    pub remedy: &'static str,
    /// The node.
    pub node: String,
    /// Why, in one stable word.
    pub cause: &'static str,
    /// What would be done, and why.
    pub message: String,
    /// What it rests on.
    pub evidence: Vec<EvidenceView>,
    /// What becomes of it.
    pub decision: Decision,
    /// What holds it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldView>,
    /// Since when that is so, in seconds since the Unix epoch.
    pub since: i64,
}

/// Everything that is planned.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct PlansView {
    /// Whether remedies are planned at all: not in mode Observe.
    pub planning: bool,
    /// The plans, those first of which the node comes and goes most; at most [`super::MOST`].
    pub plans: Vec<PlanView>,
    /// How many more there are.
    pub left: usize,
    /// Until when nothing is done as too much is unhealthy, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm_until: Option<i64>,
    /// Nodes that were not Ready within the window or are fenced, and of how many.
    pub unhealthy: (u32, u32),
}
