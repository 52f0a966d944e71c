//! What the operator costs in a large cluster: cold start, memory, rest under heartbeats, and its own part of a reaction.
//!
//! Reactions are made by a policy that wants 15 ready backends of a Service whose slice loses one and gets it back,
//! while other slices change in the background. The operator's own part comes from its histogram, the whole way from
//! this process's patch to the status that it reads back.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use evenkeel_e2e::client_of;
use kube::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::high_water;

/// Node heartbeats a second at rest: 5,000 nodes report every 300 s when nothing changes
/// (`nodeStatusReportFrequency`, 5 min).
const HEARTBEATS: u32 = 17;

/// Slices that change in the background, a second.
const CHANGES: u32 = 20;

/// Reactions that are measured.
const FLIPS: u32 = 60;

/// How long a start or a reaction may take before the measurement gives up.
const WITHIN: Duration = Duration::from_secs(120);

const NAMESPACE: &str = "load-000";
const SERVICE: &str = "service-00000";

/// A running operator, ended when dropped.
struct Operator {
    child: Child,
    port: u16,
}

impl Drop for Operator {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Operator {
    fn start(kubeconfig: &Path) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(std::env::current_exe()?.with_file_name("evenkeel"))
            .args([
                "run",
                "--log=warn",
                &format!("--listen=127.0.0.1:{port}"),
                "--kubeconfig",
            ])
            .arg(kubeconfig)
            .stdin(Stdio::null())
            .spawn()
            .context("running evenkeel")?;
        Ok(Self { child, port })
    }

    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .ok()?;
        stream
            .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
            .await
            .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        text.starts_with("HTTP/1.0 200").then_some(text)
    }

    async fn scrape(&self) -> Result<Scrape> {
        Ok(Scrape(self.get("/metrics").await.context("no metrics")?))
    }

    fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
            / 1024
    }

    fn peak_mib(&self) -> u64 {
        high_water(self.child.id()).unwrap_or(0) / 1024
    }
}

/// The text of a scrape.
struct Scrape(String);

impl Scrape {
    /// The sum of all series of a name.
    fn sum(&self, name: &str) -> f64 {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Upper bounds and cumulative counts of a histogram.
    fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let start = format!("{name}_bucket{{le=\"");
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(&start));
        lines
            .filter_map(|line| {
                let (bound, count) = line.split_once("\"} ")?;
                Some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
            })
            .collect()
    }
}

/// The bucket in which a quantile of what came between two scrapes lies.
fn quantile(before: &[(f64, f64)], after: &[(f64, f64)], share: f64) -> f64 {
    let counts: Vec<(f64, f64)> = after
        .iter()
        .enumerate()
        .map(|(at, (bound, count))| (*bound, count - before.get(at).map_or(0.0, |one| one.1)))
        .collect();
    let all = counts.last().map_or(0.0, |one| one.1);
    counts
        .iter()
        .find(|one| one.1 >= all * share)
        .map_or(f64::INFINITY, |one| one.0)
}

/// Measures on a cluster that has been loaded.
pub(super) async fn measure(kubeconfig: PathBuf, rest: Duration) -> Result<()> {
    let client = client_of(&kubeconfig, None).await?;
    evenkeel_e2e::apply::apply_yaml(&client, POLICY).await?;
    let start = Instant::now();
    let operator = Operator::start(&kubeconfig)?;
    while operator.get("/readyz").await.is_none() {
        ensure!(start.elapsed() < WITHIN, "not ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!(
        "cold start to the first verdicts: {:.2} s",
        start.elapsed().as_secs_f64()
    );
    until_healthy(&client, "True", start).await?;
    println!("peak memory after the start: {} MiB", operator.peak_mib());
    at_rest(&operator, &client, rest).await?;
    reactions(&operator, &client).await?;
    println!(
        "memory: {} MiB, peak {} MiB",
        operator.resident_mib(),
        operator.peak_mib()
    );
    Ok(())
}

/// Nothing but heartbeats.
async fn at_rest(operator: &Operator, client: &Client, rest: Duration) -> Result<()> {
    let before = operator.scrape().await?;
    let start = Instant::now();
    let mut beat = tokio::time::interval(Duration::from_secs(1) / HEARTBEATS);
    let mut node = 0_u32;
    while start.elapsed() < rest {
        beat.tick().await;
        let path = format!("/api/v1/nodes/node-{:05}/status", node % 500);
        let time = jiff_now(node);
        let body = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
            "lastHeartbeatTime": time, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        patch(client, &path, &body).await?;
        node += 1;
    }
    let after = operator.scrape().await?;
    let delta = |name: &str| after.sum(name) - before.sum(name);
    println!(
        "at rest for {:.0} s with {node} heartbeats: {:.2} % of a core, {} lists, {} statuses written, {} MiB",
        start.elapsed().as_secs_f64(),
        delta("evenkeel_process_cpu_seconds_total") / start.elapsed().as_secs_f64() * 100.0,
        delta("evenkeel_watch_lists"),
        delta("evenkeel_status_writes_total"),
        operator.resident_mib()
    );
    Ok(())
}

/// A time that differs from call to call.
fn jiff_now(count: u32) -> String {
    format!(
        "2026-06-{:02}T{:02}:{:02}:00Z",
        count / 1440 % 28 + 1,
        count / 60 % 24,
        count % 60
    )
}

/// Verdicts that turn, under background changes.
async fn reactions(operator: &Operator, client: &Client) -> Result<()> {
    let before = operator.scrape().await?;
    let noise = tokio::spawn(background(client.clone()));
    let mut ways = Vec::new();
    for flip in 0..FLIPS {
        let ready = flip % 2 == 1;
        let start = Instant::now();
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/{}",
            slice()
        );
        // The first endpoint by its index: a JSON patch touches nothing else.
        let body = json!([{"op": "add", "path": "/endpoints/0/conditions", "value": {"ready": ready}}]);
        send(client, &path, "application/json-patch+json", &body).await?;
        ways.push(until_healthy(client, if ready { "True" } else { "False" }, start).await?);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    noise.abort();
    let after = operator.scrape().await?;
    let (before, after) = (
        before.buckets("evenkeel_reaction_seconds"),
        after.buckets("evenkeel_reaction_seconds"),
    );
    ways.sort();
    let at = |percent: usize| ways.get(ways.len() * percent / 100).copied().unwrap_or_default();
    println!(
        "reactions with {CHANGES} other changes a second: our own part P50 at most {:.2} ms, P99 at most {:.2} ms; \
         patch to status, as a client sees it, P50 {:.1} ms, P99 {:.1} ms",
        quantile(&before, &after, 0.5) * 1e3,
        quantile(&before, &after, 0.99) * 1e3,
        at(50).as_secs_f64() * 1e3,
        at(99).as_secs_f64() * 1e3,
    );
    Ok(())
}

/// The slice of the governed Service, as the load names it.
fn slice() -> String {
    format!("{SERVICE}-00000")
}

/// Slices of other Services that change and change back.
async fn background(client: Client) -> Result<()> {
    let mut beat = tokio::time::interval(Duration::from_secs(1) / CHANGES);
    for count in 0_u32.. {
        beat.tick().await;
        let service = 1 + count % 100;
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/service-{service:05}-00000"
        );
        let body = json!([{"op": "add", "path": "/endpoints/0/conditions", "value": {"ready": count / 100 % 2 == 1}}]);
        send(&client, &path, "application/json-patch+json", &body).await?;
    }
    Ok(())
}

async fn until_healthy(client: &Client, status: &str, start: Instant) -> Result<Duration> {
    let path = format!("/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/traffichealthpolicies/measured");
    loop {
        let policy: Value = client
            .request(http::Request::get(&path).body(Vec::new())?)
            .await?;
        let conditions = policy["status"]["conditions"].as_array();
        let healthy = conditions
            .into_iter()
            .flatten()
            .find(|one| one["type"] == "Healthy");
        if healthy.is_some_and(|one| one["status"] == status) {
            return Ok(start.elapsed());
        }
        if start.elapsed() > WITHIN {
            bail!("not {status} within {} s: {healthy:?}", WITHIN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn patch(client: &Client, path: &str, body: &Value) -> Result<()> {
    send(client, path, "application/strategic-merge-patch+json", body).await
}

async fn send(client: &Client, path: &str, kind: &str, body: &Value) -> Result<()> {
    let request = http::Request::patch(path)
        .header(http::header::CONTENT_TYPE, kind)
        .body(serde_json::to_vec(body)?)?;
    client
        .request_text(request)
        .await
        .with_context(|| format!("patching {path}"))?;
    Ok(())
}

const POLICY: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: TrafficHealthPolicy
metadata: {name: measured, namespace: load-000}
spec:
  services: {names: [service-00000]}
  balance: {minimumReadyBackends: 15}
---
apiVersion: v1
kind: Namespace
metadata: {name: evenkeel-system}
";
