//! Two outages of a control plane with several API servers, played on real ones.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use evenkeel_e2e::api_servers::{
    By, FrontDoor, KNOWN, SHRUNK, STARTING, Watched, clients, plane, readers, writes,
};
use serde_json::Value;

use super::{say, step};

/// Far above what a finding takes on a busy machine.
const WITHIN: Duration = Duration::from_secs(600);

/// D1: the load balancer before three API servers believes in one of them.
pub(super) async fn balancer(evenkeel: &Path) -> Result<()> {
    step(
        "starting three API servers over three members of etcd, and a load balancer before them, with clients at work",
    );
    let plane = plane(None).await?;
    let folder = tempfile::tempdir().context("making a folder")?;
    let door = FrontDoor::open(&plane).await?;
    step(
        "running the operator: it reads each API server's own page, and opens a connection to the balancer every 5 s",
    );
    let watched = Watched::start(&plane, evenkeel, By::Instances, folder.path()).await?;
    let seconds = KNOWN.as_secs();
    say(format_args!(
        "waiting for {seconds} s, until it knows how connections and requests are shared"
    ));
    tokio::time::sleep(KNOWN).await;
    for check in ["lb-view-mismatch", "cp-instance-skew"] {
        ensure!(
            watched.found(check).await?.is_none(),
            "{check} has found something too early"
        );
        say(format_args!("{check}: nothing is wrong"));
    }
    step("the balancer's health check goes wrong: it believes in one of three, and everything still works");
    let hot: Vec<_> = plane.servers().iter().take(1).copied().collect();
    door.balancer.believe(&hot);
    for check in ["lb-view-mismatch", "cp-instance-skew"] {
        show(check, &watched.until_found(check, WITHIN).await?);
    }
    watched.end()
}

/// D2: one API server's connection to etcd for one resource has become slow.
pub(super) async fn channel(evenkeel: &Path) -> Result<()> {
    step(
        "starting three API servers over three members of etcd, with ConfigMaps that are written and listed all the time",
    );
    let plane = plane(Some("/configmaps")).await?;
    let folder = tempfile::tempdir().context("making a folder")?;
    let watched = Watched::start(&plane, evenkeel, By::Instances, folder.path()).await?;
    let _writes = writes(&plane).await?;
    let _readers = readers(&clients(&plane).await?);
    step("waiting for 600 s: an API server that has just started fills its caches, and is not judged");
    tokio::time::sleep(STARTING).await;
    step(
        "the connection of one of them to etcd for ConfigMaps carries 58 kB a second from now on, as TCP does without window scaling",
    );
    plane.channel(1)?.slow(SHRUNK);
    show(
        "cp-channel-divergence",
        &watched.until_found("cp-channel-divergence", WITHIN).await?,
    );
    watched.end()
}

/// A finding, with what to do.
fn show(check: &str, (found, after): &(Value, Duration)) {
    let text = |at: &str| found[at].as_str().unwrap_or_default().to_owned();
    say(format_args!(
        "{check}, {}, after {} s: {}",
        text("severity"),
        after.as_secs(),
        text("message")
    ));
    for advice in found["advice"].as_array().into_iter().flatten() {
        say(format_args!("  - {}", advice.as_str().unwrap_or_default()));
    }
}
