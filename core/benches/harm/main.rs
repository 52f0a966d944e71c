//! What fencing does to clusters of each size, fill and trouble: prints the table of the documentation, in Markdown.
//!
//! `cargo bench -p evenkeel-core --bench harm -- SEEDS` plays so many seeds of each cell; 40 without.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    dead_code,
    unreachable_pub,
    reason = "it plays a model and prints"
)]

#[path = "../../tests/it/harm/model.rs"]
mod model;

use std::collections::BTreeMap;

use model::{Arm, Cell, Run, Trouble, is_worse, play};

fn sum(cell: Cell, seeds: u64, arm: Arm) -> Run {
    let mut all = Run::default();
    for run in (0..seeds).map(|seed| play(cell, seed, arm)) {
        all.not_ready += run.not_ready;
        all.pending += run.pending;
        all.fences += run.fences;
        for (by, count) in run.held {
            *all.held.entry(by).or_default() += count;
        }
    }
    all
}

fn main() {
    let seeds = std::env::args().find_map(|one| one.parse().ok()).unwrap_or(40);
    println!(
        "Minutes in which nodes are not Ready in three hours, all nodes together, mean of {seeds} runs.\n"
    );
    println!("| nodes | in use | trouble | without | with | change | fences | unguarded | most held by |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut worse = 0;
    for nodes in [5, 12, 30, 100] {
        for percent in [50, 60, 70, 80, 90, 95] {
            for trouble in Trouble::ALL {
                let cell = Cell {
                    nodes,
                    percent,
                    trouble,
                };
                let [without, with, unguarded] =
                    [Arm::Without, Arm::Guarded, Arm::Unguarded].map(|arm| sum(cell, seeds, arm));
                let mean = |one: f64| one / seeds as f64;
                let change = |one: &Run| match without.not_ready {
                    base if base > 0.0 => format!("{:+.0} %", (one.not_ready / base - 1.0) * 100.0),
                    _ => "0 %".to_owned(),
                };
                worse += u32::from(is_worse(with.not_ready, without.not_ready));
                println!(
                    "| {nodes} | {percent} % | {trouble:?} | {:.1} | {:.1} | {} | {:.2} | {} | {} |",
                    mean(without.not_ready),
                    mean(with.not_ready),
                    change(&with),
                    mean(f64::from(with.fences)),
                    change(&unguarded),
                    most(&with.held)
                );
            }
        }
    }
    println!("\n{worse} cells are more than 1 % worse off.");
}

fn most(held: &BTreeMap<&'static str, u32>) -> &'static str {
    held.iter().max_by_key(|one| one.1).map_or("-", |one| one.0)
}
