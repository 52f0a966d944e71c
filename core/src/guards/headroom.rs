//! Whether the others have room: by measured load, after the fence and one loss more.

use super::Hold;
use crate::judge::Evidence;
use crate::know::{Known, Unit};
use crate::remedies::{NodeChange, NodeLoad, NodeState, Situation};
use crate::sample::whole;

/// Of the nodes that are left at least this share must be measured, percent.
const MEASURED: usize = 90;

/// Reads the load of one resource of a node.
type LoadOf = fn(&NodeState) -> &Known<NodeLoad>;

/// One resource of a group of nodes without one of them.
struct Headroom {
    /// What all of them use, the node included: its load comes to the others.
    used: f64,
    /// What the others have.
    capacity: f64,
    /// The largest of them: it may be lost as well.
    largest: f64,
    others: usize,
    measured: usize,
    own: bool,
}

pub(super) fn holds(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let ceiling = situation.policy.ceiling_percent;
    let resources: [(&str, LoadOf); 2] = [("CPU", |node| &node.cpu), ("memory", |node| &node.memory)];
    let in_pool = |other: &&NodeState| other.pool == node.pool;
    for (resource, load) in resources {
        let cluster = room(situation.workers(), node, load);
        let pool = room(situation.workers().filter(in_pool), node, load);
        for (whose, room) in [("nodes", cluster), ("nodes of its pool", pool)] {
            check(&room, whose, resource, ceiling)?;
        }
    }
    Ok(())
}

fn room<'s>(nodes: impl Iterator<Item = &'s NodeState>, node: &NodeState, load: LoadOf) -> Headroom {
    let mut room = Headroom {
        used: 0.0,
        capacity: 0.0,
        largest: 0.0,
        others: 0,
        measured: 0,
        own: false,
    };
    for one in nodes {
        let open = one.takes_pods && !one.fenced && one.name != node.name;
        room.others += usize::from(open);
        let Ok(load) = load(one) else { continue };
        // What a closed node carries may come to the open ones.
        room.used += load.used;
        room.own |= one.name == node.name;
        if open {
            room.measured += 1;
            room.capacity += load.capacity;
            room.largest = room.largest.max(load.capacity);
        }
    }
    if !room.own {
        // A node that is silent may carry as much as the largest can.
        room.used += room.largest;
    }
    room
}

fn check(room: &Headroom, whose: &str, resource: &str, ceiling: u32) -> Result<(), Hold> {
    if room.others == 0 || room.measured * 100 < room.others * MEASURED {
        return Err(Hold::new(format!(
            "{resource} of {} of the {} other {whose} that take Pods is measured",
            room.measured, room.others
        ))
        .with([
            Evidence::watched("measured", Unit::Count, room.measured, "Prometheus"),
            Evidence::watched("others", Unit::Count, room.others, "Nodes"),
        ]));
    }
    let left = room.capacity - room.largest;
    let percent = if left > 0.0 {
        room.used / left * 100.0
    } else {
        f64::INFINITY
    };
    if percent <= f64::from(ceiling) {
        return Ok(());
    }
    let shown = whole(percent.min(999.0).ceil());
    Err(Hold::new(format!(
        "without it and one more, {resource} of the other {whose} would be {shown} % in use, above {ceiling} %"
    ))
    .with([
        Evidence::watched("loadAfter", Unit::Percent, shown, "Prometheus, cpuBusy, memoryAvailable"),
        Evidence::watched("ceiling", Unit::Percent, ceiling, "spec.nodes.cordon.ceilingPercent"),
    ]))
}
