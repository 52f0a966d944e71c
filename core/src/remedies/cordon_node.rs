//! `CordonNode`: a node that comes and goes, and is filled each time it comes, gets a taint that keeps new Pods away.

use super::{NodeChange, NodeState, OtherChannel, Outcome, Remedy, Situation, Undo};
use crate::history::{FlipAuthor, Refill};
use crate::judge::Evidence;
use crate::know::{Mono, Unit};

/// The remedy.
pub const REMEDY: Remedy = Remedy {
    id: "CordonNode",
    propose,
    undo,
    doc: DOC,
};

const DOC: &str = "\
A node that comes and goes, and is filled each time it comes, is fenced: new Pods avoid it.

A node that is overloaded stops reporting. After 300 s its Pods move to others, it recovers, and as the emptiest node of
the cluster it is filled again: it feeds the others with Pods that have just started, again and again. While it is not
Ready Kubernetes keeps Pods away by itself; between two failures nothing does.

The fence is a taint of evenkeel's own, `status-taint.cluster-autoscaler.kubernetes.io/evenkeel-fenced`. With the effect
`PreferNoSchedule` (default) the scheduler avoids the node while there is room elsewhere, and nothing else changes: no Pod
is moved, and `spec.unschedulable` stays the mark of people. It is removed after the node was Ready for `steadySeconds`
without interruption; twice as long each time it has been fenced again within a day.

It is proposed for a node that stopped being Ready at least `nodes.flap.transitions` times within
`nodes.flap.windowSeconds`. Everything that holds it back is a guard.
";

/// Why a node is fenced.
pub const CAUSE: &str = "RefilledFlapper";

/// A day, in milliseconds.
pub const DAY: u64 = 86_400_000;

/// Proposes to fence a node that comes and goes.
fn propose(situation: &Situation, node: &NodeState) -> Option<NodeChange> {
    let window = situation.flap.window;
    if node.fenced || !node.flaps(situation.now, situation.flap) {
        return None;
    }
    let flips = node.flips_within(situation.now, window);
    let count = flips.clone().count();
    let by_kubelet = flips.filter(|one| one.author == FlipAuthor::Kubelet).count();
    let refill = refill(situation, node);
    let ready = "Node status.conditions[Ready], as watched";
    let slices = "EndpointSlices, as watched";
    let mut evidence = vec![
        Evidence::watched("flips", Unit::Count, count, ready),
        Evidence::watched("flipsByKubelet", Unit::Count, by_kubelet, ready),
        Evidence::watched("flipsBySilence", Unit::Count, count - by_kubelet, ready),
        Evidence::watched("window", Unit::Seconds, window / 1000, ready),
        Evidence::watched("refilled", Unit::Count, refill.endpoints, slices),
        Evidence::watched(
            "refilledFromNamespaces",
            Unit::Count,
            refill.namespaces.len(),
            slices,
        ),
    ];
    match node.other_channel {
        OtherChannel::Stalled { percent, bound, .. } => {
            evidence.push(Evidence::watched(
                "stalled",
                Unit::Percent,
                percent,
                "node_exporter, pressure",
            ));
            evidence.push(Evidence::watched(
                "stallBound",
                Unit::Percent,
                bound,
                "spec.nodes.pressure",
            ));
        }
        OtherChannel::Unreachable(percent) => {
            evidence.push(Evidence::watched(
                "scrapesFailed",
                Unit::Percent,
                percent,
                "Prometheus, up",
            ));
        }
        OtherChannel::Unmeasured(_) | OtherChannel::Well => {}
    }
    Some(NodeChange {
        remedy: REMEDY.id,
        node: node.name,
        effect: situation.policy.effect,
        cause: CAUSE,
        evidence,
    })
}

/// What came to the node after its returns within the window.
pub fn refill(situation: &Situation, node: &NodeState) -> Refill {
    let mut sum = Refill::default();
    for one in node.flips_within(situation.now, situation.flap.window) {
        sum.endpoints = sum.endpoints.saturating_add(one.refill.endpoints);
        for namespace in &one.refill.namespaces {
            if !sum.namespaces.contains(namespace) {
                sum.namespaces.push(*namespace);
            }
        }
    }
    sum
}

/// How often a node was fenced within a day.
pub fn fences_within_a_day(situation: &Situation, node: &NodeState) -> u32 {
    let own = situation.records.iter().filter(|one| one.node == node.name);
    own.filter(|one| one.started.until(situation.now) < DAY).count() as u32
}

/// A fence goes when its node was steady for long enough, as far as that was seen. No guard holds an undo back: what was
/// taken away from the cluster comes back.
fn undo(situation: &Situation, node: &NodeState) -> Undo {
    if !node.fenced {
        return Undo::Nothing;
    }
    let Some(watched_since) = situation.watched_since else {
        return Undo::Keep(situation.now.plus(1000));
    };
    let again = fences_within_a_day(situation, node).saturating_sub(1).min(4);
    let steady = (u64::from(situation.policy.steady_seconds) * 1000) << again;
    let fenced = situation.records.iter().rev().find(|one| one.node == node.name);
    let last_down = node.flips.iter().map(|one| one.up.unwrap_or(situation.now)).max();
    let from = last_down
        .into_iter()
        .chain(fenced.map(|one| one.started.plus(0)))
        .chain([watched_since])
        .max();
    let steady_at = from.map_or(Mono(0), |from| from.plus(steady));
    let ended_by_others = fenced.is_some_and(|one| one.outcome == Outcome::UndoneByOthers);
    if ended_by_others || (node.ready && steady_at <= situation.now) {
        Undo::Now
    } else {
        Undo::Keep(steady_at.max(situation.now.plus(1000)))
    }
}
