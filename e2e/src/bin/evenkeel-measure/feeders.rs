//! What feeders cost the operator: the same rest without, and with a Prometheus that measures every node and the API
//! server's own page.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use evenkeel_e2e::Address;
use evenkeel_e2e::monitoring::answers::{NodeAnswers, now};
use evenkeel_e2e::monitoring::{FakePrometheus, PROMETHEUS, Reply, free_port};
use serde_json::json;

use super::operator::{Bench, Measured};
use super::rest;

/// How long it takes until everything has been measured twice: three intervals of queries.
const SETTLES: Duration = Duration::from_secs(90);

/// Levels of a node: entries of its table, the limit, and memory.
const LEVELS: [(&str, f64); 3] = [
    ("node_nf_conntrack_entries", 60_000.0),
    ("node_nf_conntrack_entries_limit", 262_144.0),
    ("node_memory_MemTotal_bytes", 17e9),
];

/// What a node counts, and by how much it grows in a second.
const COUNTERS: [(&str, f64); 8] = [
    ("node_nf_conntrack_stat_drop", 0.0),
    ("node_nf_conntrack_stat_early_drop", 0.0),
    ("node_pressure_cpu_waiting_seconds_total", 0.05),
    ("node_pressure_memory_waiting_seconds_total", 0.001),
    ("node_pressure_io_waiting_seconds_total", 0.005),
    ("node_netstat_TcpExt_SyncookiesSent", 0.0),
    ("node_netstat_TcpExt_ListenOverflows", 0.0),
    ("node_netstat_Tcp_PassiveOpens", 40.0),
];

/// Prints both, and what was asked and answered in a minute. Needs root, for an address that a Service may name.
pub(super) async fn measure(bench: &Bench, rest: Duration) -> Result<()> {
    let plane = bench
        .plane
        .as_ref()
        .context("--feeders makes a Service: it needs a control plane of its own, without --kubeconfig")?;
    let policy = json!({
        "apiVersion": "evenkeel.dev/v1alpha1",
        "kind": "ClusterTrafficHealthPolicy",
        "metadata": {"name": "cluster"},
        "spec": {"nodes": {"pressure": {"cpuSomePercent": 60, "memorySomePercent": 20, "ioSomePercent": 60, "forSeconds": 60}}},
    });
    plane.apply_yaml(&policy.to_string()).await?;
    let address = Address::add()?;
    let at = SocketAddr::from((address.ip(), free_port()?));
    plane.prometheus_service(address.ip(), at.port()).await?;
    let nodes = bench.size.nodes;
    let began = now();
    let fake = FakePrometheus::start(at, move |asked| {
        Reply::body(answers(nodes, &asked.promql, now() - began).answer(&asked.promql))
    })
    .await?;

    println!("without feeders:");
    let without = Measured::start(bench).await?;
    rest::at_rest(bench, &without, rest).await?;
    let peak_without = without.peak_mib();
    without.end()?;

    println!("with one that measures every metric of every node, and with the API server's own page:");
    plane.allow_instance_metrics().await?;
    let more = [
        format!("--prometheus={PROMETHEUS}"),
        "--instance-metrics".to_owned(),
    ];
    let with = Measured::start_with(bench, &more).await?;
    // The first values of each node are judged, and its first rates.
    tokio::time::sleep(SETTLES).await;
    let (asked_before, start) = (fake.traffic(), Instant::now());
    rest::at_rest(bench, &with, rest).await?;
    let asked = fake.traffic();
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    let in_a_minute = |before: u64, after: u64| (after - before) as f64 / minutes;
    println!(
        "{:.0} queries and {:.1} MiB of answers a minute; peak {} MiB, and {peak_without} MiB without",
        in_a_minute(asked_before.0, asked.0),
        in_a_minute(asked_before.1, asked.1) / 1_048_576.0,
        with.peak_mib()
    );
    let scrape = with.scrape().await?;
    println!(
        "as it says: {} queries, {} bytes, {} series of samples, {} samples not taken",
        scrape.sum("evenkeel_prometheus_queries_total"),
        scrape.sum("evenkeel_prometheus_answer_bytes_total"),
        scrape.sum("evenkeel_sample_series"),
        scrape.sum("evenkeel_samples_dropped")
    );
    with.end()
}

/// What is said of so many nodes after so many seconds, as far as this query asks for it.
fn answers(nodes: u32, promql: &str, seconds: f64) -> NodeAnswers {
    let levels = LEVELS.iter().map(|(name, level)| {
        // Those of a cluster move, and not all alike.
        let of = |node: u32| {
            let wave = (seconds / 60.0 + f64::from(node)).sin();
            if *name == "node_nf_conntrack_entries" {
                level * (1.0 + wave / 10.0)
            } else {
                *level
            }
        };
        (*name, (0..nodes).map(of).map(f64::round).collect())
    });
    let counters = COUNTERS.iter().map(|(name, growth)| {
        let of = |node: u32| 1_000.0 + growth * seconds + f64::from(node % 7);
        (*name, (0..nodes).map(of).collect())
    });
    let asked = |one: &(&'static str, Vec<f64>)| promql.contains(one.0);
    NodeAnswers {
        nodes: (0..nodes)
            .map(|node| {
                // As `load` makes them.
                let address = format!("10.0.{}.{}", node >> 8, node & 255);
                (format!("node-{node:05}"), address)
            })
            .collect(),
        values: levels.chain(counters).filter(asked).collect(),
        taken: None,
    }
}
