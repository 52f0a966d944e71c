//! Many namespaces with a policy each, which is the usual shape of a large cluster: each has a client's Pods to watch.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::operator::{Bench, Measured};
use super::rest;

/// Requests under way at a time.
const CONCURRENCY: usize = 32;

/// How long the first statuses may take.
const WITHIN: Duration = Duration::from_secs(600);

/// Makes so many namespaces and prints what the operator costs with them.
pub(super) async fn measure(bench: &Bench, count: u32, rest: Duration) -> Result<()> {
    stream::iter(0..count)
        .map(|at| make(bench, at))
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    eprintln!("made {count} namespaces");
    let start = Instant::now();
    let measured = Measured::start(bench).await?;
    measured.tell();
    until_told(bench, count, start).await?;
    println!(
        "{count} namespaces with a policy each: the last status after {:.1} s, {} sockets, memory {} MiB, peak {} MiB",
        start.elapsed().as_secs_f64(),
        measured.sockets()?,
        measured.resident_mib(),
        measured.peak_mib()
    );
    rest::at_rest(bench, &measured, rest).await?;
    println!("sockets after that: {}", measured.sockets()?);
    measured.end()
}

/// A namespace with a Service and a policy that selects its clients' Pods.
async fn make(bench: &Bench, at: u32) -> Result<()> {
    let namespace = format!("team-{at:04}");
    let objects = [
        (
            "/api/v1/namespaces".to_owned(),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        ),
        (
            format!("/api/v1/namespaces/{namespace}/services"),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
                "spec": {"selector": {"app": "api"}, "ports": [{"name": "http", "port": 80}]}}),
        ),
        (
            format!("/apis/evenkeel.dev/v1alpha1/namespaces/{namespace}/traffichealthpolicies"),
            json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "TrafficHealthPolicy", "metadata": {"name": "api"},
                "spec": {"services": {"names": ["api"]}, "connections": [{"name": "http", "protocol": "HTTP1",
                    "longestSilenceSeconds": 60, "clients": [{"name": "worker", "tcpKeepalive": {"state": "Enabled"},
                        "podSelector": {"matchLabels": {"app": "worker"}}}]}]}}),
        ),
    ];
    for (path, body) in objects {
        let request = http::Request::post(&path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(&body)?)?;
        let answer = bench.client.request_text(request).await;
        answer.with_context(|| format!("making an object at {path}"))?;
    }
    Ok(())
}

/// Waits until every policy has a status.
async fn until_told(bench: &Bench, count: u32, start: Instant) -> Result<()> {
    loop {
        let request =
            http::Request::get("/apis/evenkeel.dev/v1alpha1/traffichealthpolicies").body(Vec::new())?;
        let list: Value = bench.client.request(request).await?;
        let items = list["items"].as_array().into_iter().flatten();
        let told = items.filter(|one| one["status"]["conditions"].is_array()).count();
        if told > count as usize {
            return Ok(());
        }
        if start.elapsed() > WITHIN {
            bail!("{told} of {} policies have a status", count + 1);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
