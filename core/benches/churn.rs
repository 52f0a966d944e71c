//! A year in a cluster in which nothing stays as it is: how much the core holds by month. Prints figures and asserts none;
//! the test `heap` asserts the same of a week.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "it measures time and prints"
)]
#![allow(clippy::unwrap_used, reason = "what is played is made here")]

#[path = "../tests/heap/churn.rs"]
mod churn;
#[path = "../src/world/objects/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "each program makes its clusters of some of them"
)]
mod objects;

use std::alloc::System;
use std::time::Instant;

use churn::Churn;

#[global_allocator]
static HEAP: cap::Cap<System> = cap::Cap::new(System, usize::MAX);

/// Minutes of a day.
const DAY: u64 = 1440;

fn main() {
    let mut churn = Churn::start();
    let began = Instant::now();
    (0..DAY).for_each(|_| churn.minute());
    let kib = |bytes: usize| bytes / 1024;
    println!("heap after a day: {} KiB", kib(HEAP.allocated()));
    for month in 1..=12 {
        (0..365 * DAY / 12).for_each(|_| churn.minute());
        println!(
            "heap after {month:2} months: {} KiB, {} texts, {:.0?}",
            kib(HEAP.allocated()),
            churn.core.index().names.len(),
            began.elapsed()
        );
    }
}
