//! Nodes that are left alone.

use super::Hold;
use crate::judge::Evidence;
use crate::know::Unit;
use crate::policy::FenceEffect;
use crate::remedies::{NodeChange, NodeState, OwnNode, Situation};

/// Fewest workers of a cluster in which one is given up: with four, a fence and one loss more leave two.
const TINY: usize = 5;
/// From when on a node that is not Ready will not be filled soon, in milliseconds: its Pods were moved after 300 s
/// (`DefaultTolerationSeconds`), and the scheduler places none there.
const STEADILY: u64 = 900_000;

pub(super) fn of_control_plane(_: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    if node.control_plane {
        return Err(Hold::new("it is a node of the control plane"));
    }
    Ok(())
}

pub(super) fn own(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    match situation.own_node {
        OwnNode::NotSaid => Err(Hold::new(
            "which node evenkeel runs on is not known: NODE_NAME is not set",
        )),
        OwnNode::Named(own) if own == node.name => Err(Hold::new("evenkeel runs on it")),
        OwnNode::Named(_) | OwnNode::Outside => Ok(()),
    }
}

pub(super) fn held_by_others(_: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    match node.holder {
        Some(holder) => Err(Hold::new(format!("it is held by {}", holder.name()))),
        None => Ok(()),
    }
}

pub(super) fn worker(_: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    if node.worker {
        return Ok(());
    }
    Err(Hold::new("a taint that lasts keeps ordinary Pods away from it"))
}

pub(super) fn comes_back(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let down = node.flips.last().filter(|_| !node.ready);
    let down = down
        .filter(|one| one.up.is_none())
        .map(|one| situation.now.since(one.down));
    match down {
        Some(down) if down >= STEADILY => Err(Hold::new(format!(
            "it has not been Ready for {} s: nothing is placed there, and a fence would change nothing",
            down / 1000
        ))
        .with([Evidence::watched(
            "down",
            Unit::Seconds,
            down / 1000,
            "Node status.conditions[Ready], as watched",
        )])),
        _ => Ok(()),
    }
}

pub(super) fn enough_nodes(situation: &Situation, _: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let workers = situation.workers().count();
    if workers >= TINY {
        return Ok(());
    }
    Err(Hold::new(format!(
        "{workers} nodes take Pods, and none of fewer than {TINY} is given up"
    ))
    .with([Evidence::count("workers", workers, "Nodes")]))
}

pub(super) fn no_sole_entry(_: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    match &node.sole_entry {
        Ok(None) => Ok(()),
        Ok(Some(service)) => Err(Hold::new(format!(
            "without it fewer than two nodes serve {service} from outside (externalTrafficPolicy Local)"
        ))),
        Err(gap) => Err(Hold::gap(gap)),
    }
}

pub(super) fn effect_checked(_: &Situation, _: &NodeState, change: &NodeChange) -> Result<(), Hold> {
    match change.effect {
        FenceEffect::PreferNoSchedule => Ok(()),
        FenceEffect::NoSchedule => Err(Hold::new(
            "what NoSchedule does to DaemonSets, deschedulers and Karpenter on it is not checked yet",
        )),
    }
}
