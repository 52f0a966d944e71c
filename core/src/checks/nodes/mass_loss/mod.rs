//! `node-mass-loss`: the cluster has not lost a large part of its nodes.

mod loss;

use crate::index::Dep;
use crate::judge::{Check, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source};
use crate::sample::Metrics;
use crate::sources::node::Readiness;
#[cfg(test)]
pub(crate) use loss::examples;
use loss::{LossExtent, NodeLoss, Since, StormShare};

/// Share of the nodes that is a storm where the platform declares none, in percent: the default of
/// `storm.clusterUnhealthyPercent`.
const STORM_PERCENT: u32 = 20;
/// Fewest nodes of a storm where the platform declares none: the default of `storm.minimumNodes`.
const STORM_NODES: u32 = 2;
/// Share of the nodes whose loss is critical, in percent.
const HALF_PERCENT: u32 = 50;

/// The check.
pub static CHECK: Check = Check {
    id: "node-mass-loss",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Nodes]),
    uses: Reads::of(&[Source::ClusterPolicy]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
The cluster has not lost a large part of its nodes.

Zones show where nodes are lost; what is spread over zones, or is the whole of a small cluster, no zone shows. What
takes many nodes at once is something they share: a change, an image, the way to the control plane.

## Formula

The check counts the nodes of the cluster as `node-zone-disruption` counts those of a zone: nodes that are not Ready while
they are cordoned, being deleted or tainted for removal are left out for 1800 s, nodes that joined less than 900 s ago
until they have been Ready.

- no node at all is Ready, whatever the reason, those left out included: Violated, `NoneReady`, critical; Unknown where no
  Node has the condition Ready, as in what was cut before it was given;
- at least half of the nodes that count are not Ready: Violated, `HalfLost`, critical;
- at least `storm.clusterUnhealthyPercent` (20 %) of them, and at least `storm.minimumNodes` (2): Violated, `Storm`, a
  warning.

The message says when the first and the last of them stopped being Ready, by `lastTransitionTime` of the condition.

## What to do

1. See what these nodes share: `kubectl get nodes -o wide`, zones, versions, the time at which they went.
2. See whether they still serve traffic: then only their reports are missing.

## What not to do

Do not replace nodes one after the other before that is known: the new ones come with the same cause.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let now = look.now.wall;
    let tally = look.node_sums(Dep::NodesDown)?.all(now);
    look.again_when(tally.until);
    let storm = look
        .cluster_policy()?
        .map(|policy| policy.storm)
        .unwrap_or_default();
    let share = |percent: u32| u64::from(tally.down) * 100 >= u64::from(tally.nodes) * u64::from(percent);
    let declared = storm.cluster_unhealthy_percent;
    let limit = declared.map_or(StormShare::Default, StormShare::Declared);
    let extent = if tally.nodes + tally.excused == 0 {
        return Ok(Verdict::NotApplicable("the cluster has no nodes"));
    } else if tally.ready() == 0 {
        if look
            .nodes()?
            .iter()
            .all(|(_, node)| node.ready == Readiness::NotSaid)
        {
            return Err(Gap::Opaque(
                "no Node has the condition Ready: what was given shows no state of nodes".into(),
            ));
        }
        LossExtent::NoneReady
    } else if tally.down == 0 {
        return Ok(Verdict::Met);
    } else if share(HALF_PERCENT) {
        LossExtent::Half
    } else if tally.down >= storm.minimum_nodes.unwrap_or(STORM_NODES) && share(limit.percent()) {
        LossExtent::Storm { limit }
    } else {
        return Ok(Verdict::Met);
    };
    let all = extent == LossExtent::NoneReady;
    // Where no node is Ready, those that join or leave are reported as well.
    let excused = if all { tally.excused } else { 0 };
    Ok(Verdict::violated(NodeLoss {
        extent,
        down: tally.down + excused,
        nodes: tally.nodes + excused,
        excused: tally.excused,
        since: Since::of(look, all)?,
    }))
}

#[cfg(test)]
mod tests;
