//! What namespaces at their ceilings cost the policies of others: some beside none.

use std::time::Instant;

use anyhow::Result;

use super::ceilings::{Ceilings, make, until_written};
use super::crowds::{heads, line};
use super::operator::{Bench, Measured};
use super::reaction::{CHANGES, Neighbours, reactions};
use super::rest;

/// Measures the reactions of others without and with them, each with an operator of its own.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(super) async fn measure(bench: &Bench, ceilings: Ceilings) -> Result<()> {
    heads("at ceilings", "namespaces");
    let mut memory = Vec::new();
    for with in [false, true] {
        if with {
            make(bench, ceilings).await?;
        }
        let start = Instant::now();
        let measured = Measured::start(bench).await?;
        if with {
            until_written(bench, ceilings, start).await?;
        }
        let told = start.elapsed();
        let neighbours = if with {
            Neighbours::Ceilings(ceilings)
        } else {
            Neighbours::Quiet
        };
        let asked_before = rest::asked(bench)?.len();
        let reacting = Instant::now();
        let reacted = reactions(bench, Some(&measured), CHANGES, neighbours).await?;
        let took = reacting.elapsed().as_secs_f64();
        let shown = if with {
            ceilings.namespaces.to_string()
        } else {
            "none".to_owned()
        };
        line(&shown, &measured, told, &reacted);
        print!("  {} sockets", measured.sockets()?);
        if bench.plane.is_some() {
            let since = rest::asked_since(bench, asked_before)?;
            let watches = since.iter().filter(|one| one["verb"] == "watch").count();
            let statuses = since.iter().filter(|one| one["verb"] == "patch").count();
            print!(
                ", {:.2} watches that began anew and {:.2} statuses written a second",
                watches as f64 / took,
                statuses as f64 / took
            );
        }
        println!();
        memory.push(measured.resident_mib());
        measured.end()?;
    }
    if let [before, after] = memory[..] {
        println!(
            "{} namespaces at their ceilings, with {} Pods each: {} MiB more",
            ceilings.namespaces,
            ceilings.pods,
            after.saturating_sub(before)
        );
    }
    Ok(())
}
