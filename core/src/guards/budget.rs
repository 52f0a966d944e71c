//! How many nodes may be fenced: at a time, in a pool, in an hour, and one after the other.

use super::Hold;
use crate::judge::Evidence;
use crate::remedies::{NodeChange, NodeState, Situation};

/// An hour, in milliseconds.
const HOUR: u64 = 3_600_000;

/// Workers, those of them that are fenced, and how many may be.
struct FenceBudget {
    of: &'static str,
    nodes: usize,
    fenced: usize,
    allowed: usize,
}

/// Percentages round down: of nine nodes ten percent is none.
fn budgets(situation: &Situation, node: &NodeState) -> [FenceBudget; 2] {
    let policy = situation.policy;
    let count = |in_pool: bool| {
        let workers = situation
            .workers()
            .filter(move |one| !in_pool || one.pool == node.pool);
        (workers.clone().count(), workers.filter(|one| one.fenced).count())
    };
    let part = |nodes: usize, percent: u32| nodes * percent as usize / 100;
    let (nodes, fenced) = count(false);
    let (of_pool, fenced_of_pool) = count(true);
    [
        FenceBudget {
            of: "nodes",
            nodes,
            fenced,
            allowed: part(nodes, policy.max_percent).min(policy.max_nodes as usize),
        },
        FenceBudget {
            of: "nodes of its pool",
            nodes: of_pool,
            fenced: fenced_of_pool,
            allowed: part(of_pool, policy.max_percent_of_pool),
        },
    ]
}

fn numbers(budget: &FenceBudget) -> [Evidence; 3] {
    [
        Evidence::count("workers", budget.nodes, "Nodes"),
        Evidence::count("fenced", budget.fenced, "Nodes: spec.taints"),
        Evidence::count("allowed", budget.allowed, "spec.nodes.cordon"),
    ]
}

pub(super) fn not_zero(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let empty = budgets(situation, node).into_iter().find(|one| one.allowed == 0);
    empty.map_or(Ok(()), |one| {
        let message = format!(
            "of {} {} the budget, rounded down, allows none",
            one.nodes, one.of
        );
        Err(Hold::new(message).with(numbers(&one)))
    })
}

pub(super) fn nodes(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let spent = budgets(situation, node)
        .into_iter()
        .find(|one| one.allowed > 0 && one.fenced >= one.allowed);
    spent.map_or(Ok(()), |one| {
        let message = format!(
            "{} of {} {} are fenced, and {} may be",
            one.fenced, one.nodes, one.of, one.allowed
        );
        Err(Hold::new(message).with(numbers(&one)))
    })
}

pub(super) fn hour(situation: &Situation, _: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    let recent = situation.records.iter().map(|one| one.started);
    let recent: Vec<_> = recent.filter(|at| at.until(situation.now) < HOUR).collect();
    let most = situation.policy.max_per_hour;
    if recent.len() < most as usize {
        return Ok(());
    }
    let hold = Hold::new(format!(
        "{} fences within an hour, and {most} may be made",
        recent.len()
    ))
    .with([
        Evidence::count("withinHour", recent.len(), "records"),
        Evidence::count("allowed", most, "spec.nodes.cordon.maxPerHour"),
    ]);
    Err(match recent.first() {
        Some(first) => hold.until(first.plus(HOUR)),
        None => hold,
    })
}

pub(super) fn slot(situation: &Situation, node: &NodeState, _: &NodeChange) -> Result<(), Hold> {
    if situation.slot.is_none_or(|slot| slot == node.name) {
        return Ok(());
    }
    Err(Hold::new(
        "another node is first: one act at a time in the cluster",
    ))
}
