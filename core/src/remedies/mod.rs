//! What evenkeel can do about a finding, and undo. A remedy is pure functions over a [`Situation`]: everything that a plan
//! rests on, of one moment. It proposes; whether its proposal may be carried out is for [`crate::guards`] to say.
//!
//! The same functions serve the plan, the simulation that shows what a remedy is good for, and the read of the live object
//! before an act: they differ only in who makes the situation.

pub mod cordon_node;
mod situation;

pub use situation::{
    FlapRule, LedgerRecord, NodeLoad, NodeState, OtherChannel, Outcome, OwnNode, PastMoment, Situation,
    StormRule, UnhealthyShare, UnhealthyShares,
};

use crate::judge::Evidence;
use crate::know::Mono;
use crate::names::Name;
use crate::policy::FenceEffect;

/// One remedy: a line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Remedy {
    /// Its name: part of the API.
    pub id: &'static str,
    /// What it would do to a node, if there is a reason to.
    pub propose: fn(&Situation, &NodeState) -> Option<NodeChange>,
    /// Whether what it did to a node is to be undone now.
    pub undo: fn(&Situation, &NodeState) -> Undo,
    /// Its page, in Markdown; the first line is the summary.
    pub doc: &'static str,
}

/// Every remedy that exists.
pub const ALL: &[Remedy] = &[cordon_node::REMEDY];

/// What a remedy would change.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeChange {
    /// Name of the remedy.
    pub remedy: &'static str,
    /// The node.
    pub node: Name,
    /// Effect of the taint that it adds.
    pub effect: FenceEffect,
    /// Why, in one stable word.
    pub cause: &'static str,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
}

/// Whether an act is to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// There is nothing to undo.
    Nothing,
    /// Not before this moment, if nothing happens until then.
    Keep(Mono),
    /// Now.
    Now,
}
