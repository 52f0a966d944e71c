//! What a core holds after a week in which nothing stays as it is. A program of its own, because it counts the heap of the
//! whole process; `cargo bench -p evenkeel-core --bench churn` plays a year.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ceilings;
mod churn;
#[path = "../../src/world/objects/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "each program makes its clusters of some of them"
)]
mod objects;

use std::alloc::System;

use churn::Churn;
use evenkeel_core::know::Now;

#[global_allocator]
static HEAP: cap::Cap<System> = cap::Cap::new(System, usize::MAX);

/// One test at a time: the heap is that of all.
#[allow(clippy::disallowed_types, reason = "no test of this program has a runtime")]
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Minutes of a day.
const DAY: u64 = 1440;

/// How much more may be held at the end, in bytes: tables grow by doubling.
const MORE: usize = 2 << 20;

#[test]
fn a_week_of_churn_leaves_nothing_behind() {
    let _alone = alone();
    let mut churn = Churn::start();
    // A day fills what is remembered of a day.
    (0..DAY).for_each(|_| churn.minute());
    let before = HEAP.allocated();
    (0..7 * DAY).for_each(|_| churn.minute());
    let after = HEAP.allocated();
    assert!(
        after <= before + MORE,
        "{before} bytes after a day, {after} a week later: {}",
        churn.core.index().names.len()
    );
}

/// What a namespace with all that one may have adds at most, in bytes, and what all of them together do. The second is with few Pods:
/// how many are kept in all is bounded by the operator's watch (`MOST_PODS_IN_ALL` in its `watch::intake`).
const ONE: usize = 24 << 20;
const ALL: usize = 56 << 20;

#[test]
fn a_namespace_at_its_ceilings_has_a_bounded_share() {
    let _alone = alone();
    let mut core = ceilings::start();
    let before = HEAP.allocated();
    ceilings::fill(&mut core, "a-team", ceilings::PODS);
    let rows = HEAP.allocated() - before;
    core.round(Now::ONCE);
    let judged = HEAP.allocated() - before;
    for turn in 1..4 {
        for at in 0..1_000 {
            ceilings::change(&mut core, "a-team", at, turn);
        }
        core.round(Now::ONCE);
    }
    core.forget();
    let after = HEAP.allocated() - before;
    assert!(judged <= ONE, "{judged} bytes, {rows} of them for what was read");
    assert!(after <= judged + MORE, "{judged} bytes, then {after}");
}

#[test]
fn all_namespaces_at_their_ceilings_have_a_bounded_share() {
    let _alone = alone();
    let mut core = ceilings::start();
    let before = HEAP.allocated();
    for team in 0..ceilings::ALL {
        ceilings::fill(&mut core, &format!("team-{team}"), 500);
    }
    core.round(Now::ONCE);
    let after = HEAP.allocated() - before;
    assert!(after <= ALL, "{after} bytes");
}
