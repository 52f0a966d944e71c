//! What was done before, and who has to agree.

use super::Hold;
use crate::judge::Evidence;
use crate::policy::Mode;
use crate::remedies::cordon_node::{DAY, fences_within_a_day};
use crate::remedies::{LedgerRecord, NodeChange, NodeState, OtherChannel, Outcome, Situation};

/// How long after a fence ended the node is left alone, in milliseconds.
const COOLDOWN: u64 = 600_000;
/// Fences of a node within a day from which on a person has to agree to the next.
const TOO_OFTEN: u32 = 2;

fn own<'s>(situation: &'s Situation, node: &NodeState) -> impl DoubleEndedIterator<Item = &'s LedgerRecord> {
    let name = node.name;
    situation.records.iter().filter(move |one| one.node == name)
}

pub(super) fn undone_by_others(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let by_others = |one: &&LedgerRecord| one.outcome == Outcome::UndoneByOthers;
    let undone = own(situation, node)
        .rev()
        .find(by_others)
        .and_then(|one| one.ended);
    match undone {
        Some(at) if at.until(situation.now) < DAY => Err(Hold::new(format!(
            "somebody removed its fence {} s ago; it is left alone for a day",
            at.until(situation.now) / 1000
        ))
        .until(at.plus(DAY))),
        _ => Ok(()),
    }
}

pub(super) fn rejected(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let own = situation.rejected.iter().filter(|one| one.0 == node.name);
    match own.map(|one| one.1).max() {
        Some(at) if at.until(situation.now) < DAY => Err(Hold::new(format!(
            "a person said no to its fence {} s ago; it is left alone for a day",
            at.until(situation.now) / 1000
        ))
        .until(at.plus(DAY))),
        _ => Ok(()),
    }
}

pub(super) fn cooldown(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let ended = own(situation, node).filter_map(|one| one.ended).max();
    match ended {
        Some(at) if at.until(situation.now) < COOLDOWN => Err(Hold::new(format!(
            "its last fence ended {} s ago; it is left alone for {} s",
            at.until(situation.now) / 1000,
            COOLDOWN / 1000
        ))
        .until(at.plus(COOLDOWN))),
        _ => Ok(()),
    }
}

/// Two acts without improvement, one after the other, suspend the remedy.
pub(super) fn futile(situation: &Situation, _: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let known = situation
        .records
        .iter()
        .rev()
        .filter(|one| one.outcome != Outcome::Running);
    let last: Vec<&LedgerRecord> = known.take(2).collect();
    let futile = last.iter().filter(|one| one.outcome == Outcome::Futile).count();
    match last.first() {
        Some(newest) if futile == 2 && newest.started.until(situation.now) < DAY => Err(Hold::new(
            "the last two fences made no difference: the remedy is suspended for a day",
        )
        .with([Evidence::count("futile", futile, "records")])
        .until(newest.started.plus(DAY))),
        _ => Ok(()),
    }
}

pub(super) fn approved(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    if situation.approved {
        return Ok(());
    }
    let fences = fences_within_a_day(situation, node);
    if situation.policy.mode != Mode::Enforce {
        return Err(Hold::new("the mode is Suggest: a person has to agree"));
    }
    if let OtherChannel::Unmeasured(gap) = &node.other_channel {
        return Err(Hold::new(format!(
            "only the kubelet's own channel says that it fails: {gap}"
        )));
    }
    if fences >= TOO_OFTEN {
        return Err(Hold::new(format!(
            "it was fenced {fences} times within a day: the next time a person has to agree"
        ))
        .with([Evidence::count("fencesWithinDay", fences, "records")]));
    }
    Ok(())
}
