//! Whether it is the node, and whether a fence would help.

use super::Hold;
use crate::judge::Evidence;
use crate::know::{Mono, Unit};
use crate::remedies::{self, NodeChange, NodeState, OtherChannel, Situation, cordon_node};

/// Nodes that fall silent at one moment are marked within this time, in milliseconds: they renew their Leases every 10 s
/// (`nodeLeaseRenewIntervalFraction`, a quarter of 40 s), the controller looks every 5 s (`--node-monitor-period`), and
/// marks up to a few in each look.
const MOMENT: u64 = 30_000;
/// Fewest endpoints that make a node filled again.
const REFILL: u32 = 3;
/// Fewest namespaces that they are of: no team alone brings a node action about.
const NAMESPACES: usize = 3;

/// When a plan is made it stands: this is for the live read.
pub(super) fn cause_stands(situation: &Situation, node: &NodeState, change: &NodeChange) -> Result<(), Hold> {
    let remedy = remedies::ALL.iter().find(|one| one.id == change.remedy);
    let proposed = remedy.and_then(|one| (one.propose)(situation, node));
    if proposed.is_some_and(|one| one.cause == change.cause) {
        return Ok(());
    }
    Err(Hold::new(
        "it does not come and go any more, or is fenced already",
    ))
}

pub(super) fn siblings_steady(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let (now, window) = (situation.now, situation.flap.window);
    let own: Vec<Mono> = node.flips_within(now, window).map(|one| one.down).collect();
    let near = |one: Mono, other: Mono| one.since(other).max(other.since(one)) <= MOMENT;
    let others = situation.nodes.iter().filter(|other| other.name != node.name);
    let others: Vec<Mono> = others
        // What begins at the edge of the window has its companions just beyond it.
        .flat_map(|other| {
            other
                .flips_within(now, window.saturating_add(MOMENT))
                .map(|one| one.down)
        })
        .collect();
    let shared = own
        .iter()
        .filter(|one| others.iter().any(|other| near(**one, *other)))
        .count();
    if shared * 2 < own.len() {
        return Ok(());
    }
    let ready = "Nodes: status.conditions[Ready], as watched";
    Err(Hold::new(format!(
        "{shared} of its {} failures came within {} s of another node's: they share a cause",
        own.len(),
        MOMENT / 1000
    ))
    .with([
        Evidence::watched("sharedFlips", Unit::Count, shared, ready),
        Evidence::watched("flips", Unit::Count, own.len(), ready),
    ]))
}

pub(super) fn refilled(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let refill = cordon_node::refill(situation, node);
    if refill.endpoints >= REFILL && refill.namespaces.len() >= NAMESPACES {
        return Ok(());
    }
    let slices = "EndpointSlices, as watched";
    Err(Hold::new(format!(
        "{} endpoints of {} namespaces came after its returns; a fence needs {REFILL} of {NAMESPACES}",
        refill.endpoints,
        refill.namespaces.len()
    ))
    .with([
        Evidence::watched("refilled", Unit::Count, refill.endpoints, slices),
        Evidence::watched(
            "refilledFromNamespaces",
            Unit::Count,
            refill.namespaces.len(),
            slices,
        ),
    ]))
}

/// Where it is not measured the change is a suggestion at most; that it is well by measurement is a contradiction.
pub(super) fn other_channel(_: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    match node.other_channel {
        OtherChannel::Well => Err(Hold::new(
            "its exporter answers and nothing waits there: the way between its kubelet and the API fails",
        )),
        OtherChannel::Unmeasured(_) | OtherChannel::Stalled { .. } | OtherChannel::Unreachable(_) => Ok(()),
    }
}
