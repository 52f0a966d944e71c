//! Many policies of one namespace.
//!
//! All of the crowd's policies govern one Service. It stands still, or it loses and regains a backend: then all of their
//! verdicts turn at the same moment, which is the worst that one namespace can do to the others' reactions.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::operator::Bench;
use super::statuses;

/// Requests under way at a time.
const CONCURRENCY: usize = 32;

/// How often the crowd's verdicts turn: seldom enough that the API server takes the statuses in between.
pub(super) const TURNS_EVERY: Duration = Duration::from_secs(10);

/// Services of a namespace of the load: the crowd's is the second namespace.
pub(super) const SERVICES: u32 = 200;

/// Policies of one namespace.
#[derive(Clone, Copy)]
pub(super) struct Crowd {
    count: u32,
    /// Whether each is as large as its schema lets it be.
    large: bool,
    /// Whether their verdicts turn.
    pub(super) turns: bool,
}

impl Crowd {
    /// Many that say little, and whose verdicts may turn.
    pub(super) fn small(count: u32, turns: bool) -> Self {
        Self {
            count,
            large: false,
            turns,
        }
    }

    /// Some that say as much as the schema takes.
    pub(super) fn largest(count: u32) -> Self {
        Self {
            count,
            large: true,
            turns: true,
        }
    }

    /// Where it lives.
    pub(super) fn namespace() -> String {
        "load-001".into()
    }

    /// The number of one of its Services within the load, by its place.
    pub(super) fn service(place: u32) -> u32 {
        SERVICES + place % SERVICES
    }

    pub(super) fn name(self) -> String {
        let kind = match (self.large, self.turns) {
            (true, _) => "largest",
            (false, true) => "turning",
            (false, false) => "at rest",
        };
        format!("{} {kind}", self.count)
    }

    fn policy(self, place: u32) -> Value {
        let services: Vec<String> = if self.large {
            (0..64)
                .map(|at| format!("service-{:05}", Self::service(at)))
                .collect()
        } else {
            // The one that all of them share, and another.
            [0, 1 + place % (SERVICES - 1)]
                .map(|at| format!("service-{:05}", Self::service(at)))
                .into()
        };
        let mut spec = json!({
            "services": {"names": services},
            "balance": {"minimumReadyBackends": 15, "maxPercentPerNode": 50, "maxPercentPerZone": 60},
            "connections": [{"name": "http", "protocol": "HTTP1", "longestSilenceSeconds": 60, "clients": [{"name": "a"}]}],
        });
        if self.large {
            spec["connections"] = largest_connections();
            spec["exceptions"] = (0..32)
                .map(|at| json!({"check": format!("check-{at}"), "reason": "x".repeat(256), "expiresAt": "2099-01-01T00:00:00Z"}))
                .collect();
        }
        json!({
            "apiVersion": "evenkeel.dev/v1alpha1",
            "kind": "TrafficHealthPolicy",
            "metadata": {"name": format!("crowd-{place:05}"), "namespace": Self::namespace()},
            "spec": spec,
        })
    }
}

/// Every list of a policy's connections full: 16 connections of 16 clients, 8 hops each; with selectors that bring it
/// near the 1.5 MiB that etcd stores (`etcd --max-request-bytes`).
fn largest_connections() -> Value {
    let name = |kind: &str, at: usize| format!("{kind}-{at:02}-{}", "x".repeat(54 - kind.len()));
    let labels: serde_json::Map<String, Value> = (0..15)
        .map(|at| (format!("label-{at}"), json!("x".repeat(63))))
        .collect();
    let values: Vec<String> = (0..32).map(|at| format!("{at:02}-{}", "x".repeat(60))).collect();
    let selector = json!({"matchLabels": labels,
        "matchExpressions": [{"key": "one-of", "operator": "In", "values": values}]});
    (0..16)
        .map(|at| {
            let clients: Vec<Value> = (0..16)
                .map(|client| {
                    json!({"name": name("client", client), "podSelector": selector,
                        "tcpKeepalive": {"state": "Enabled", "idleSeconds": 300},
                        "idleTimeoutSeconds": 90, "requestTimeoutSeconds": 2000,
                        "maxConnectionAgeSeconds": 3600, "newConnectionsPerSecond": 20})
                })
                .collect();
            let hops: Vec<Value> = (0..8)
                .map(|hop| json!({"name": name("hop", hop), "layer": "L4", "idleTimeoutSeconds": 3600}))
                .collect();
            json!({"name": name("connection", at), "protocol": "TCP", "longestSilenceSeconds": 1800, "clients": clients,
                "hops": hops})
        })
        .collect()
}

fn collection() -> String {
    format!(
        "/apis/evenkeel.dev/v1alpha1/namespaces/{}/traffichealthpolicies",
        Crowd::namespace()
    )
}

/// Makes its policies.
pub(super) async fn make(bench: &Bench, crowd: Crowd) -> Result<()> {
    let one = |place| async move {
        let body = serde_json::to_vec(&crowd.policy(place))?;
        let request = http::Request::post(collection())
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)?;
        let answer = bench.client.request_text(request).await;
        answer.context("making a policy of the crowd").map(drop)
    };
    stream::iter(0..crowd.count)
        .map(one)
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await
}

/// Deletes them.
pub(super) async fn remove(bench: &Bench) -> Result<()> {
    let request = http::Request::delete(collection()).body(Vec::new())?;
    let answer = bench.client.request_text(request).await;
    answer.context("removing the crowd").map(drop)
}

/// Waits until every policy of the crowd has a status.
pub(super) async fn until_written(bench: &Bench, crowd: Crowd, start: Instant) -> Result<()> {
    statuses::until_written(bench, &[collection()], crowd.count as usize, start).await
}
