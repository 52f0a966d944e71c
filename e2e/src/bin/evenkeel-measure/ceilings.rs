//! Namespaces that have all that one may have: policies, paths, selectors and Pods up to the ceilings of `SECURITY.md`, every
//! path of them broken, and of each the objects that change all the time.

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::operator::Bench;
use super::statuses;

/// Requests under way at a time.
const CONCURRENCY: usize = 32;

/// Policies of a namespace: each may have 2,000 subjects, and all together 10,000 (`core/src/policy/ceiling.rs`).
const POLICIES: u32 = 5;

/// Ports of the Service that all of them govern: with 256 clients a policy declares four times what is judged of it.
const PORTS: u32 = 32;

/// Namespaces at their ceilings that reach those of the cluster, 100,000 subjects, and two more.
const ALL: u32 = 12;

/// How often something of each namespace changes.
const MOVES_EVERY: Duration = Duration::from_secs(1);

/// Namespaces at their ceilings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ceilings {
    pub(super) namespaces: u32,
    /// Pods of each.
    pub(super) pods: u32,
}

/// How many namespaces: a number, or as many as reach the ceilings of the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamespaceCount(u32);

impl FromStr for NamespaceCount {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "all" {
            return Ok(Self(ALL));
        }
        match text.parse() {
            Ok(count) if count > 0 => Ok(Self(count)),
            _ => bail!("{text:?} is neither a number of namespaces nor `all`"),
        }
    }
}

impl Ceilings {
    pub(super) fn new(count: NamespaceCount, pods: u32) -> Self {
        Self {
            namespaces: count.0,
            pods,
        }
    }

    /// Changes something of each namespace, for ever: a backend that comes and goes, for which all paths are judged, and a Pod
    /// for which all clients are.
    pub(super) async fn change(self, bench: &Bench) -> Result<()> {
        let mut beat = tokio::time::interval(MOVES_EVERY);
        for count in 0_u32.. {
            beat.tick().await;
            for at in 0..self.namespaces {
                let namespace = name(at);
                let slice = format!(
                    "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{SERVICE}-00000"
                );
                let ready = json!([{"op": "add", "path": "/endpoints/0/conditions", "value": {"ready": count % 2 == 1}}]);
                bench.patch(&slice, "application/json-patch+json", &ready).await?;
                if self.pods > 0 {
                    let pod = format!("/api/v1/namespaces/{namespace}/pods/c-{:05}", count % self.pods);
                    let label = json!({"metadata": {"labels": {"turn": format!("t{count}")}}});
                    bench.patch(&pod, "application/merge-patch+json", &label).await?;
                }
            }
        }
        Ok(())
    }
}

const SERVICE: &str = "all";

fn name(at: u32) -> String {
    format!("ceiling-{at:02}")
}

fn policies(at: u32) -> String {
    format!(
        "/apis/evenkeel.dev/v1alpha1/namespaces/{}/traffichealthpolicies",
        name(at)
    )
}

/// Makes them.
pub(super) async fn make(bench: &Bench, ceilings: Ceilings) -> Result<()> {
    for at in 0..ceilings.namespaces {
        let namespace = name(at);
        post(
            bench,
            "/api/v1/namespaces".into(),
            json!({"metadata": {"name": namespace}}),
        )
        .await?;
        let core = format!("/api/v1/namespaces/{namespace}");
        // Without a controller that makes it.
        post(
            bench,
            format!("{core}/serviceaccounts"),
            json!({"metadata": {"name": "default"}}),
        )
        .await?;
        post(bench, format!("{core}/services"), service()).await?;
        let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        post(bench, slices, slice()).await?;
        let policies = policies(at);
        for place in 0..POLICIES {
            post(bench, policies.clone(), policy(place)).await?;
        }
        let nodes = bench.size.nodes;
        stream::iter(0..ceilings.pods)
            .map(|place| post(bench, format!("{core}/pods"), pod(place, nodes)))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
        eprintln!("made {namespace}");
    }
    Ok(())
}

async fn post(bench: &Bench, path: String, body: Value) -> Result<()> {
    let request = http::Request::post(&path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(&body)?)?;
    match bench.client.request_text(request).await {
        // It is there from an earlier run.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        answer => answer
            .with_context(|| format!("making an object at {path}"))
            .map(drop),
    }
}

fn service() -> Value {
    let ports: Vec<_> = (0..PORTS)
        .map(|at| json!({"name": format!("p{at}"), "port": 1000 + at, "targetPort": 8080}))
        .collect();
    json!({"metadata": {"name": SERVICE}, "spec": {"ports": ports}})
}

fn slice() -> Value {
    let endpoints: Vec<_> = (1..=2)
        .map(|at| json!({"addresses": [format!("10.250.0.{at}")], "conditions": {"ready": true}}))
        .collect();
    let ports: Vec<_> = (0..PORTS)
        .map(|at| json!({"name": format!("p{at}"), "port": 8080}))
        .collect();
    json!({"metadata": {"name": format!("{SERVICE}-00000"), "labels": {"kubernetes.io/service-name": SERVICE,
            "endpointslice.kubernetes.io/managed-by": "evenkeel-e2e"}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports})
}

/// A policy of 256 clients, each with a selector of its own that takes all Pods.
fn policy(place: u32) -> Value {
    let client = |number: usize| {
        let others: Vec<String> = (0..8).map(|at| format!("none-{number}-{at}")).collect();
        json!({"name": format!("c{number:02}"), "tcpKeepalive": {"state": "Enabled"},
            "podSelector": {"matchLabels": {"app": "c", "tier": "t"},
                "matchExpressions": [{"key": "turn", "operator": "NotIn", "values": others}]}})
    };
    let connections: Vec<_> = (0..16)
        .map(|at| {
            let clients: Vec<_> = (0..16).map(|number| client(at * 16 + number)).collect();
            json!({"name": format!("k{at:02}"), "protocol": "TCP", "longestSilenceSeconds": 86_400,
                "server": {"tcpKeepalive": {"state": "Disabled"}}, "clients": clients})
        })
        .collect();
    json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "TrafficHealthPolicy",
        "metadata": {"name": format!("p{place}")},
        "spec": {"services": {"names": [SERVICE]}, "balance": {"minimumReadyBackends": 3},
            "connections": connections}})
}

fn pod(place: u32, nodes: u32) -> Value {
    json!({"metadata": {"name": format!("c-{place:05}"),
            "labels": {"app": "c", "tier": "t", "turn": "t0", "own": format!("own-{place}")}},
        "spec": {"nodeName": format!("node-{:05}", place % nodes), "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "registry.example/c:1"}]}})
}

/// Waits until every policy of theirs has a status.
pub(super) async fn until_written(bench: &Bench, ceilings: Ceilings, start: Instant) -> Result<()> {
    let collections: Vec<_> = (0..ceilings.namespaces).map(policies).collect();
    let count = (POLICIES * ceilings.namespaces) as usize;
    statuses::until_written(bench, &collections, count, start).await
}
