//! What a core holds after a week in which nothing stays as it is. A program of its own, because it counts the heap of the
//! whole process; `cargo bench -p evenkeel-core --bench churn` plays a year.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

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

#[global_allocator]
static HEAP: cap::Cap<System> = cap::Cap::new(System, usize::MAX);

/// Minutes of a day.
const DAY: u64 = 1440;

/// How much more may be held at the end, in bytes: tables grow by doubling.
const MORE: usize = 2 << 20;

#[test]
fn a_week_of_churn_leaves_nothing_behind() {
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
