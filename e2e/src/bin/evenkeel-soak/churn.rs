//! What changes meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use evenkeel_e2e::apply::apply_yaml;
use evenkeel_e2e::repository::example_in;
use http::Method;
use kube::Client;
use serde_json::{Value, json};

/// Teams whose policies change between a broken and a healthy path; that of the first one stays broken.
pub(super) const NAMESPACES: [&str; 6] = ["steady", "team-1", "team-2", "team-3", "team-4", "team-5"];

/// A team whose policy stays, and whose backends come and go.
pub(super) const THIN: &str = "thin";

/// Its policy: two of three backends are enough.
pub(super) const THIN_POLICY: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: TrafficHealthPolicy
metadata: {name: backends, namespace: thin}
spec:
  services: {names: [reports]}
  balance: {minimumReadyBackends: 2}
";

/// On average: faster than a busy cluster of this size.
const BETWEEN: Duration = Duration::from_millis(120);

/// How long backends stay away: longer than the operator may believe what it has last heard.
const AWAY: Duration = Duration::from_secs(60);

/// How long they stay.
const BACK: Duration = Duration::from_secs(20);

/// Pods, Nodes, Services and policies beside those that are judged, by number: each number is there or not.
const OTHERS: u64 = 40;

/// Random changes.
pub(super) struct Churn {
    client: Client,
    rng: fastrand::Rng,
    steps: u64,
    /// When the backends of [`THIN`] last came or went, and whether they are away.
    thin: (Instant, bool),
}

impl Churn {
    pub(super) fn new(client: Client, seed: u64) -> Self {
        Self {
            client,
            rng: fastrand::Rng::with_seed(seed),
            steps: 0,
            thin: (Instant::now(), false),
        }
    }

    /// How many changes so far.
    pub(super) const fn steps(&self) -> u64 {
        self.steps
    }

    /// Since when too few backends are ready.
    pub(super) fn thin_since(&self) -> Option<Instant> {
        self.thin.1.then_some(self.thin.0)
    }

    /// Waits a little, and changes something. Dropped meanwhile, only the wait or one answer is lost.
    pub(super) async fn step(&mut self) -> Result<()> {
        tokio::time::sleep(BETWEEN).await;
        self.steps += 1;
        let number = self.rng.u64(0..OTHERS);
        let namespace = NAMESPACES[self.rng.usize(1..NAMESPACES.len())];
        let (since, is_away) = self.thin;
        if since.elapsed() > if is_away { AWAY } else { BACK } {
            return self.turn_backends().await;
        }
        match self.rng.u8(0..10) {
            0..3 => self.turn_policy(namespace).await,
            3..5 => self.turn(&pod(namespace, number)).await,
            5..7 => self.turn(&service(namespace, number)).await,
            7 => self.turn_node(number).await,
            8 => self.turn(&policy(namespace, number)).await,
            _ => self.turn(&slice(namespace, number)).await,
        }
    }

    async fn turn_policy(&mut self, namespace: &str) -> Result<()> {
        let file = ["demo/policy.yaml", "demo-keepalive.yaml"][usize::from(self.rng.bool())];
        apply_yaml(&self.client, &example_in(file, namespace)?)
            .await
            .map(drop)
    }

    async fn turn_backends(&mut self) -> Result<()> {
        let is_away = !self.thin.1;
        let mut endpoints = Vec::new();
        for at in 0..3 {
            let ready = at == 0 || !is_away;
            endpoints.push(
                json!({"addresses": [format!("10.244.0.1{at}")], "conditions": {"ready": ready},
                "nodeName": "node-a", "zone": "east-1"}),
            );
        }
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{THIN}/endpointslices/reports-demo");
        let patch = json!({"endpoints": endpoints});
        self.send(Method::PATCH, &path, &patch)
            .await
            .context("changing backends")?;
        self.thin = (Instant::now(), is_away);
        Ok(())
    }

    /// Nodes come, fall ill and go. A broken path has to be found even where half of them have no known kube-proxy.
    async fn turn_node(&mut self, number: u64) -> Result<()> {
        if self.rng.u8(0..3) == 0 {
            return self.send(Method::DELETE, &node_path(number), &json!({})).await;
        }
        let node = node(number, self.rng.bool());
        apply_yaml(&self.client, &node.to_string()).await.map(drop)
    }

    /// Takes the Nodes away that came: with most of them, which table a path meets would not be known.
    pub(super) async fn remove_nodes(&self) -> Result<()> {
        for number in 0..OTHERS {
            self.send(Method::DELETE, &node_path(number), &json!({})).await?;
        }
        Ok(())
    }

    /// Deletes it where it is, makes it where it is not.
    async fn turn(&mut self, object: &Value) -> Result<()> {
        let path = collection(object);
        let one = format!(
            "{path}/{}",
            object["metadata"]["name"].as_str().unwrap_or_default()
        );
        if self.rng.bool() {
            self.send(Method::POST, &path, object).await
        } else {
            self.send(Method::DELETE, &one, &json!({"gracePeriodSeconds": 0}))
                .await
        }
    }

    /// That it is there already, or not any more, is no failure.
    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<()> {
        let content = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, content)
            .body(body.to_string().into_bytes())?;
        match self.client.request_text(request).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            answer => answer.map(drop).with_context(|| path.to_owned()),
        }
    }
}

fn collection(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let plural = match kind.as_str() {
        "TrafficHealthPolicy" => "traffichealthpolicies".to_owned(),
        other => format!("{}s", other.to_lowercase()),
    };
    let root = if version.contains('/') { "apis" } else { "api" };
    format!(
        "/{root}/{version}/namespaces/{}/{plural}",
        text(&object["metadata"]["namespace"])
    )
}

fn pod(namespace: &str, number: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("worker-{number}"), "namespace": namespace, "labels": {"app": "worker"}},
        "spec": {"automountServiceAccountToken": false, "nodeName": "node-a",
            "containers": [{"name": "worker", "image": "registry.example/worker:1"}]}})
}

fn service(namespace: &str, number: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("other-{number}"), "namespace": namespace, "labels": {"app": "other"}},
        "spec": {"ports": [{"name": "http", "port": 80}]}})
}

fn slice(namespace: &str, number: u64) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("other-{number}-x"), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": format!("other-{number}")}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["10.244.1.20"], "conditions": {"ready": true}, "nodeName": "node-b"}]})
}

fn policy(namespace: &str, number: u64) -> Value {
    let clients = json!([{"name": "worker", "podSelector": {"matchLabels": {"app": "worker"}},
        "tcpKeepalive": {"state": "Enabled"}}]);
    json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "TrafficHealthPolicy",
        "metadata": {"name": format!("other-{number}"), "namespace": namespace},
        "spec": {"services": {"selector": {"matchLabels": {"app": "other"}}},
            "connections": [{"name": "all", "protocol": "TCP", "longestSilenceSeconds": 7_200, "clients": clients}]}})
}

fn node_path(number: u64) -> String {
    format!("/api/v1/nodes/other-{number}")
}

fn node(number: u64, is_ready: bool) -> Value {
    let status = if is_ready { "True" } else { "False" };
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("other-{number}"), "labels": {"kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": format!("east-{}", number % 3)}},
        "status": {"conditions": [{"type": "Ready", "status": status, "reason": "Soak", "message": "",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
}
