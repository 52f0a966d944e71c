//! Guards: when a remedy is not carried out. Each is one line of a table, run by the same code when a plan is made and on
//! the live read before an act; the first that holds is shown, with its numbers and when it is looked at again.
//!
//! A guard that cannot know holds: a gap is never a reason to act. None of them holds back an undo.

mod budget;
mod evidence;
mod headroom;
mod inputs;
mod node;
mod past;

use crate::judge::Evidence;
use crate::know::{Gap, Mono};
use crate::remedies::{NodeChange, NodeState, Situation};

/// One guard: a line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Its name, in one stable word: part of the API, and a label of metrics.
    pub id: &'static str,
    /// What it means that it holds.
    pub means: &'static str,
    /// What a person can do.
    pub next: &'static str,
    /// Whether it holds a change of a node back.
    pub(crate) holds: fn(&Situation, &NodeState, &NodeChange) -> Result<(), Hold>,
}

/// Why a guard holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hold {
    message: String,
    evidence: Vec<Evidence>,
    again: Option<Mono>,
}

impl Hold {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            evidence: Vec::new(),
            again: None,
        }
    }

    fn gap(gap: &Gap) -> Self {
        Self::new(gap.to_string())
    }

    fn with(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    fn until(mut self, when: Mono) -> Self {
        self.again = Some(when);
        self
    }
}

/// A remedy that is not carried out, and by which guard.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The guard.
    pub by: &'static str,
    /// Why, in one sentence with its numbers.
    pub message: String,
    /// The numbers with unit and source.
    pub evidence: Vec<Evidence>,
    /// When time alone will have changed it, where time does.
    pub again: Option<Mono>,
}

/// The guard that waits for a person. It is the last: whatever else holds is said first.
pub const APPROVAL: &str = "AwaitsApproval";

/// The guard that holds while nothing narrows the right to change Nodes.
pub const RIGHTS: &str = "RightsNotNarrowed";

/// The guard that holds while too much is unhealthy.
pub const STORM: &str = "Storm";

macro_rules! guard {
    ($id:literal, $holds:path, $means:literal, $next:literal) => {
        Guard {
            id: $id,
            means: $means,
            next: $next,
            holds: $holds,
        }
    };
}

/// Every guard, in the order in which they are asked: what is not known, what concerns the cluster, the node, what the
/// change rests on, what it would cost, how much is allowed, and who has to agree.
pub const ALL: &[Guard] = &[
    guard!(
        "InputsStale",
        inputs::fresh,
        "something that the plan rests on is missing, stale, or not known for long enough",
        "`evenkeel status` names the source; after a start, wait for the flap window"
    ),
    guard!(
        "PolicyChanged",
        inputs::same_policy,
        "the platform's policy was changed or deleted after the plan was made",
        "nothing; it is planned anew under the policy as it is"
    ),
    guard!(
        "CauseGone",
        evidence::cause_stands,
        "the node does not come and go any more, or is fenced already: the reason of the plan is gone",
        "nothing"
    ),
    guard!(
        "Storm",
        inputs::calm,
        "so many nodes were not Ready within the window, or are fenced, that nothing may be done: one cause, or no room",
        "look for the common cause: zone, rack, network, API server, rollout; see `node-mass-loss` and `node-cascade-wave`"
    ),
    guard!(
        "ControlPlaneUnfit",
        inputs::control_plane,
        "the control plane is not known to be fit: what nodes seem to do may be its doing, and a change may make it worse",
        "see the finding that the message names; where API servers are not measured, name a Prometheus or `--instance-metrics`"
    ),
    guard!(
        "ControlPlaneNode",
        node::of_control_plane,
        "the node is one of the control plane",
        "look at the node yourself"
    ),
    guard!(
        "OwnNode",
        node::own,
        "evenkeel runs on the node, or does not know which node it runs on",
        "start the operator with NODE_NAME, as manifests/ do"
    ),
    guard!(
        "HeldByOthers",
        node::held_by_others,
        "people or another controller hold the node: a cordon, a drain, a removal, a reboot",
        "nothing; it is planned again when they let go of it"
    ),
    guard!(
        "NoWorker",
        node::worker,
        "the node is not for ordinary Pods: a taint that lasts keeps them away already",
        "nothing"
    ),
    guard!(
        "SteadilyDown",
        node::comes_back,
        "the node has not been Ready for so long that nothing is placed there anyway",
        "repair or replace the node"
    ),
    guard!(
        "TinyCluster",
        node::enough_nodes,
        "the cluster has too few nodes to give one up",
        "add nodes, or look at the node yourself"
    ),
    guard!(
        "SiblingsFlip",
        evidence::siblings_steady,
        "other nodes failed at the same moments: it is not the node, but what they share",
        "compare zone, rack, network and API server of the nodes"
    ),
    guard!(
        "NotRefilled",
        evidence::refilled,
        "little came to the node after its returns, or only of few namespaces: keeping Pods away would change little",
        "look at the node: kubelet, container runtime, disk"
    ),
    guard!(
        "OtherChannelWell",
        evidence::other_channel,
        "by measurement the node is well: what fails is the way between its kubelet and the API",
        "look at the node's network, its kubelet's log, and the API server that it uses"
    ),
    guard!(
        "EntryAtRisk",
        node::no_sole_entry,
        "traffic from outside with traffic policy Local would have fewer than two other nodes to go to",
        "spread the Service's backends over more nodes; see `cordon-lb-safety`"
    ),
    guard!(
        "NoHeadroom",
        headroom::holds,
        "without this node and one more, the others would be fuller than `ceilingPercent` by measured load, or the load is not measured",
        "add nodes or take load away: in a full cluster a fence makes it worse; name a Prometheus with `--prometheus`"
    ),
    guard!(
        "NoScheduleUnchecked",
        node::effect_checked,
        "effect NoSchedule also concerns DaemonSets, deschedulers, Karpenter and spread constraints, which this version does not check",
        "use `effect: PreferNoSchedule`"
    ),
    guard!(
        "BudgetRoundsToZero",
        budget::not_zero,
        "`maxPercent` or `maxPercentOfPool`, rounded down, allows no node at all",
        "raise the percentage, or look at the node yourself"
    ),
    guard!(
        "BudgetSpent",
        budget::nodes,
        "as many nodes are fenced as `maxNodes`, `maxPercent` or `maxPercentOfPool` allow",
        "repair the fenced nodes; a fence is removed after `steadySeconds`"
    ),
    guard!(
        "HourSpent",
        budget::hour,
        "as many fences were made within an hour as `maxPerHour` allows",
        "wait"
    ),
    guard!(
        "UndoneByOthers",
        past::undone_by_others,
        "somebody removed evenkeel's fence from this node within a day: people win",
        "nothing, or fence it yourself: `kubectl cordon NODE`"
    ),
    guard!(
        "Rejected",
        past::rejected,
        "a person said no to this fence within a day: people win",
        "nothing, or fence it yourself: `kubectl cordon NODE`"
    ),
    guard!(
        "Cooldown",
        past::cooldown,
        "the node's last fence ended a moment ago",
        "wait"
    ),
    guard!(
        "Futile",
        past::futile,
        "the last two fences made no difference, so the remedy is suspended for a day",
        "look for another cause; see the records of the last fences"
    ),
    guard!(
        "OneAtATime",
        budget::slot,
        "another act is planned or under way, and its effect is not known yet",
        "wait"
    ),
    guard!(
        "RightsNotNarrowed",
        inputs::narrowed,
        "no admission policy narrows the operator's right to change Nodes to its own taint and annotations",
        "install the component remedy-cordon as it is; it is tried again every minute"
    ),
    guard!(
        "AwaitsApproval",
        past::approved,
        "a person has to agree: the mode is Suggest, no second channel confirms it, or it is the third fence within a day",
        "look at the evidence: `evenkeel status` names the record, `evenkeel approve RECORD` or `reject` decides"
    ),
];

/// The guard of this name.
pub fn find(id: &str) -> Option<&'static Guard> {
    ALL.iter().find(|one| one.id == id)
}

/// Asks every guard of a table; the first that holds answers.
///
/// # Errors
/// That guard, its numbers, and when to look again.
pub fn ask(guards: &[Guard], situation: &Situation, change: &NodeChange) -> Result<(), Held> {
    let Some(node) = situation.node(change.node) else {
        return Err(Held {
            by: "InputsStale",
            message: "the node is not there any more".into(),
            evidence: Vec::new(),
            again: None,
        });
    };
    for guard in guards {
        (guard.holds)(situation, node, change).map_err(|hold| Held {
            by: guard.id,
            message: hold.message,
            evidence: hold.evidence,
            again: hold.again,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
