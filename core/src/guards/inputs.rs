//! What concerns the whole cluster: that everything is known, that it is calm, and that the control plane is fit.

use super::Hold;
use crate::fitness::Fitness;
use crate::judge::{Evidence, MESSAGE};
use crate::know::Unit;
use crate::remedies::{NodeChange, NodeState, Situation, UnhealthyShare};

pub(super) fn fresh(situation: &Situation, _: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    situation.gap.as_ref().map_or(Ok(()), |gap| Err(Hold::gap(gap)))
}

pub(super) fn same_policy(situation: &Situation, _: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    if situation.policy_changed {
        return Err(Hold::new("the policy is another than when this was planned"));
    }
    Ok(())
}

pub(super) fn calm(situation: &Situation, _: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let (shares, rule) = (situation.shares(), situation.storm);
    let until = situation.storm_until;
    if !situation.is_storm(shares) && until.is_none() {
        return Ok(());
    }
    let say = |share: UnhealthyShare| format!("{} of {}", share.unhealthy, share.nodes);
    let message = format!(
        "{} nodes were not Ready within {} s or are fenced, {} of the worst zone; it is a storm from {} % or {} % of a zone",
        say(shares.cluster),
        situation.flap.window / 1000,
        say(shares.zone),
        rule.cluster_percent,
        rule.zone_percent
    );
    let ready = "Nodes: status.conditions[Ready], as watched";
    let hold = Hold::new(message).with([
        Evidence::watched("unhealthy", Unit::Count, shares.cluster.unhealthy, ready),
        Evidence::watched("nodes", Unit::Count, shares.cluster.nodes, ready),
        Evidence::watched("clusterBound", Unit::Percent, rule.cluster_percent, "spec.storm"),
        Evidence::watched("unhealthyOfZone", Unit::Count, shares.zone.unhealthy, ready),
        Evidence::watched("nodesOfZone", Unit::Count, shares.zone.nodes, ready),
        Evidence::watched("zoneBound", Unit::Percent, rule.zone_percent, "spec.storm"),
    ]);
    Err(match until {
        Some(until) => hold.until(until),
        None => hold,
    })
}

/// A right that nothing narrows is not used.
pub(super) fn narrowed(situation: &Situation, _: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    if situation.not_narrowed {
        return Err(Hold::new(
            "a change that the admission policy evenkeel-nodes must refuse was not refused by it, in a dry run",
        ));
    }
    Ok(())
}

/// Only what was judged to be fit is: load that is not measured may be overload.
pub(super) fn control_plane(situation: &Situation, _: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let unfit = |why: String| Err(Hold::new(shortened(why)));
    match &situation.control_plane {
        Fitness::Fit => Ok(()),
        Fitness::NotJudged => unfit("the control plane is not judged yet".to_owned()),
        Fitness::Unmeasured { check, why } => unfit(format!("{check} cannot be judged: {why}")),
        Fitness::Unfit { check, finding } => unfit(format!("{check}: {finding}")),
        Fitness::Recovering { check, until } => Err(Hold::new(format!(
            "{check} has ended a short time ago: nodes are left alone for a while"
        ))
        .until(*until)),
    }
}

/// A message of at most [`MESSAGE`] characters.
fn shortened(text: String) -> String {
    if text.chars().count() <= MESSAGE {
        return text;
    }
    text.chars().take(MESSAGE - 3).chain("...".chars()).collect()
}
