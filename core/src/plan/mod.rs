//! Plans: what remedies propose, and which guard holds each back.
//!
//! [`decide`] is pure: a situation in, plans out. The planner makes situations of what the core knows, no
//! more often than every five seconds and only where a node comes and goes. People see every plan; [`crate::acting`] says which
//! are carried out.

mod planner;
mod read;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use planner::Planner;
pub(crate) use read::Sight;
pub use view::{Decision, HeldView, PlanView, PlansView};

use std::cmp::Reverse;

use crate::guards::{self, Guard, Held};
use crate::remedies::{self, NodeChange, Situation};

/// Most plans of one moment: the nodes that come and go most. Others are counted.
pub const MOST: usize = 20;

/// What a remedy proposes, and what holds it back.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What would be changed.
    pub change: NodeChange,
    /// What holds it back; nothing where it could be carried out.
    pub held: Option<Held>,
}

/// Everything that is planned at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plans {
    /// The plans, those first of which the node comes and goes most.
    pub plans: Vec<Plan>,
    /// How many more there are.
    pub left: usize,
}

/// Plans. The first plan that nothing holds back takes the one slot, unless it is taken.
pub fn decide(guards: &[Guard], situation: &mut Situation) -> Plans {
    situation.latch();
    let mut changes: Vec<(Reverse<usize>, NodeChange)> = Vec::new();
    for remedy in remedies::ALL {
        let proposed = situation.nodes.iter().filter_map(|node| {
            let change = (remedy.propose)(situation, node)?;
            let flips = node.flips_within(situation.now, situation.flap.window).count();
            Some((Reverse(flips), change))
        });
        changes.extend(proposed);
    }
    changes.sort_by_key(|(flips, change)| (*flips, change.node));
    let left = changes.len().saturating_sub(MOST);
    changes.truncate(MOST);
    let mut plans = Vec::with_capacity(changes.len());
    for (_, change) in changes {
        let held = guards::ask(guards, situation, &change).err();
        if held.is_none() {
            situation.slot = Some(change.node);
        }
        plans.push(Plan { change, held });
    }
    Plans { plans, left }
}
