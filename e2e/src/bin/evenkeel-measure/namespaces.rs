//! Many namespaces with a policy each, which is the usual shape of a large cluster: each has a client's Pods to watch.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::operator::{Bench, Measured};
use super::{rest, statuses};

/// Requests under way at a time.
const CONCURRENCY: usize = 32;

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
    // With the measured one.
    let policies = ["/apis/evenkeel.dev/v1alpha1/traffichealthpolicies".to_owned()];
    statuses::until_written(bench, &policies, count as usize + 1, start).await?;
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
