//! What policies of one namespace cost the policies of others: a crowd beside none.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::crowd::{Crowd, SERVICES, make, remove, until_written};
use super::operator::{Bench, Measured};
use super::reaction::{CHANGES, Neighbours, Reactions, reactions};

/// Measures each crowd with an operator of its own, and prints them side by side.
pub(super) async fn side_by_side(bench: &Bench, crowds: [Option<Crowd>; 4]) -> Result<()> {
    ensure!(
        bench.size.services >= 2 * SERVICES,
        "the crowd needs a namespace of its own: take --size 200 or more"
    );
    heads("policies of", "another space");
    for crowd in crowds {
        if let Some(crowd) = crowd {
            make(bench, crowd).await?;
        }
        let start = Instant::now();
        let measured = Measured::start(bench).await?;
        if let Some(crowd) = crowd {
            until_written(bench, crowd, start).await?;
        }
        let told = start.elapsed();
        let reacted = reactions(bench, Some(&measured), CHANGES, Neighbours::of(crowd)).await?;
        let shown = crowd.map_or_else(|| "none".into(), Crowd::name);
        line(&shown, &measured, told, &reacted);
        measured.end()?;
        if crowd.is_some() {
            remove(bench).await?;
        }
    }
    Ok(())
}

/// Prints what the columns are, the first of them in two lines.
pub(super) fn heads(first: &str, below: &str) {
    let rest = [
        ("start", "s"),
        ("all told", "s"),
        ("reactions", ""),
        ("own P50", "ms"),
        ("own P99", "ms"),
        ("way P50", "ms"),
        ("way P99", "ms"),
        ("peak", "MiB"),
        ("memory", "MiB"),
    ];
    println!("{first:<16}{}", rest.map(|one| format!(" {:>9}", one.0)).concat());
    println!("{below:<16}{}", rest.map(|one| format!(" {:>9}", one.1)).concat());
}

pub(super) fn line(shown: &str, measured: &Measured, told: Duration, reacted: &Reactions) {
    let own = reacted.own.unwrap_or_default();
    println!(
        "{:<16} {:>9.2} {:>9.2} {:>9} {:>9.2} {:>9.2} {:>9.1} {:>9.1} {:>9} {:>9}",
        shown,
        measured.ready().as_secs_f64(),
        told.as_secs_f64(),
        reacted.ways.len(),
        own[0] * 1e3,
        own[1] * 1e3,
        reacted.way(50),
        reacted.way(99),
        measured.peak_mib(),
        measured.resident_mib(),
    );
}
