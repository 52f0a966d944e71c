//! A cluster at rest: nothing but heartbeats of nodes, and what the operator does all the same.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use evenkeel_e2e::audit::{self, ACCOUNT};
use serde_json::{Value, json};

use super::operator::{Bench, Measured};

/// Node heartbeats a second: 5,000 nodes report every 300 s when nothing changes (`nodeStatusReportFrequency`, 5 min).
const HEARTBEATS: u32 = 17;

/// Looks at it for a while and prints what it did.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(super) async fn at_rest(bench: &Bench, measured: &Measured, rest: Duration) -> Result<()> {
    // What was asked for before does not count.
    let asked_before = asked(bench)?.len();
    let before = measured.scrape().await?;
    let start = Instant::now();
    let mut beat = tokio::time::interval(Duration::from_secs(1) / HEARTBEATS);
    let mut beats = 0_u32;
    let mut largest = 0;
    while start.elapsed() < rest {
        beat.tick().await;
        heartbeat(bench, beats).await?;
        if beats.is_multiple_of(HEARTBEATS) {
            largest = largest.max(measured.resident_mib());
        }
        beats += 1;
    }
    let took = start.elapsed().as_secs_f64();
    let after = measured.scrape().await?;
    let delta = |name: &str| after.sum(name) - before.sum(name);
    println!(
        "at rest for {took:.0} s with {beats} heartbeats of {} nodes: {:.3} % of a core, memory {} MiB, at most {largest} MiB",
        bench.size.nodes,
        delta("evenkeel_process_cpu_seconds_total") / took * 100.0,
        measured.resident_mib(),
    );
    println!(
        "as it says: {} lists, {} watches that fell silent, {} statuses written",
        delta("evenkeel_watch_lists"),
        delta("evenkeel_watch_silences"),
        delta("evenkeel_status_writes_total"),
    );
    if bench.plane.is_some() {
        let asked = asked_since(bench, asked_before)?;
        let watches = asked.iter().filter(|one| one["verb"] == "watch").count();
        println!("watches that began anew: {:.2} a second", watches as f64 / took);
        tell(&asked);
    } else {
        println!("no audit log of this cluster can be read: what the API server says was not counted");
    }
    Ok(())
}

/// What the operator has asked for so far, in the order of the audit log; nothing where there is none.
pub(super) fn asked(bench: &Bench) -> Result<Vec<Value>> {
    Ok(audit::asked_by(bench.noted()?.unwrap_or_default(), ACCOUNT))
}

/// What it has asked for since so many requests were noted. The log begins anew when it has become too long: then all of it.
pub(super) fn asked_since(bench: &Bench, before: usize) -> Result<Vec<Value>> {
    let mut all = asked(bench)?;
    if before <= all.len() {
        all = all.split_off(before);
    }
    Ok(all)
}

/// Prints the requests by kind, as the API server has noted them.
fn tell(asked: &[Value]) {
    let is = |verbs: &'static [&str]| {
        move |one: &&Value| one["verb"].as_str().is_some_and(|verb| verbs.contains(&verb))
    };
    let lease = |one: &&Value| one["objectRef"]["resource"] == "leases";
    let writes = is(&["create", "update", "patch", "delete", "deletecollection"]);
    println!(
        "by the audit log: {} LIST, {} GET, {} WATCH, {} renewals of the Lease, {} other writes",
        asked.iter().filter(is(&["list"])).count(),
        asked.iter().filter(is(&["get"])).count(),
        asked.iter().filter(is(&["watch"])).count(),
        asked.iter().filter(|one| writes(one) && lease(one)).count(),
        asked.iter().filter(|one| writes(one) && !lease(one)).count(),
    );
    let mut kinds: BTreeMap<(String, String, String, u64), usize> = BTreeMap::new();
    for one in asked {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let reference = &one["objectRef"];
        let kind = (
            text(&one["verb"]),
            text(&reference["resource"]),
            text(&reference["subresource"]),
            one["responseStatus"]["code"].as_u64().unwrap_or(0),
        );
        *kinds.entry(kind).or_default() += 1;
    }
    for ((verb, resource, part, code), count) in kinds {
        let part = if part.is_empty() { part } else { format!("/{part}") };
        println!("  {count:>6} {verb} {resource}{part} {code}");
    }
}

/// One node says that nothing has changed, as its kubelet does: it patches the times of its conditions
/// (`k8s.io/component-helpers`, `node/util/status.go`).
async fn heartbeat(bench: &Bench, count: u32) -> Result<()> {
    let path = format!("/api/v1/nodes/node-{:05}/status", count % bench.size.nodes);
    // One that says the same as the last would change nothing, also where an earlier measurement has said it.
    let now = k8s_openapi::jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    let conditions = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"]
        .map(|kind| json!({"type": kind, "lastHeartbeatTime": now}));
    let body = json!({"status": {"conditions": conditions}});
    bench
        .patch(&path, "application/strategic-merge-patch+json", &body)
        .await
}
