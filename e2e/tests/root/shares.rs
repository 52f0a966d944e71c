//! Shares of backends, measured: real connections to three backends that count them, a real Prometheus that scrapes these, and
//! the operator that asks it.
//!
//! Needs root, for an address that an `EndpointSlice` may name; `make shares` runs it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use evenkeel::api::TrafficHealthPolicy;
use evenkeel_e2e::Address;
use evenkeel_e2e::backends::{Backends, METRIC};
use evenkeel_e2e::monitoring::{AlertBed, PROMETHEUS, Prometheus, Scraping, free_port};
use kube::Api;
use serde_json::json;

const PODS: [&str; 3] = ["api-1", "api-2", "api-3"];

/// Far above what two scrapes and two pages take, and the evidence at ten connections in a second, on a busy machine.
const WITHIN: Duration = Duration::from_secs(300);

/// The Service, its Pods and its policy.
async fn set_up(bed: &AlertBed, backends: &Backends) {
    let apply =
        async |object: serde_json::Value| bed.plane.apply_yaml(&object.to_string()).await.unwrap().remove(0);
    let spec = json!({"selector": {"app": "api"}, "ports": [{"name": "web", "port": 80}]});
    apply(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "shop"}, "spec": spec})).await;
    for (backend, node) in backends.all.iter().zip(["node-a", "node-b", "node-b"]) {
        let pod = apply(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": backend.pod, "namespace": "shop", "labels": {"app": "api"}},
            "spec": {"nodeName": node, "containers": [{"name": "api", "image": "api:1"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .await;
        let target =
            json!({"kind": "Pod", "namespace": "shop", "name": backend.pod, "uid": pod.metadata.uid});
        let labels = json!({
            "kubernetes.io/service-name": "api",
            "endpointslice.kubernetes.io/managed-by": "evenkeel-bed",
        });
        // One address has several ports here, and no two endpoints of a Service one address: what counts is the Pod.
        let last = backend.pod.rsplit('-').next().unwrap();
        apply(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": format!("api-{last}"), "namespace": "shop", "labels": labels},
            "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [format!("10.244.9.{last}")], "conditions": {"ready": true}, "nodeName": node,
                "targetRef": target}],
        }))
        .await;
    }
    let policy = json!({"services": {"names": ["api"]}, "balance": {"podMetric": {"name": METRIC}}});
    apply(
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "TrafficHealthPolicy",
        "metadata": {"name": "api", "namespace": "shop"}, "spec": policy}),
    )
    .await;
}

/// What the policy's status says of shares: cause and message.
async fn says(bed: &AlertBed) -> Vec<(String, String)> {
    let api: Api<TrafficHealthPolicy> = Api::namespaced(bed.plane.client().await.unwrap(), "shop");
    let status = api.get("api").await.unwrap().status.unwrap_or_default();
    let own = status
        .findings
        .into_iter()
        .filter(|one| one.check.starts_with("backend-share"));
    own.map(|one| (one.cause.unwrap_or_default(), one.message))
        .collect()
}

/// Waits until the status has no finding on shares, not even that they are Unknown.
async fn until_silent(bed: &AlertBed) {
    let start = Instant::now();
    loop {
        let said = says(bed).await;
        if said.is_empty() {
            return;
        }
        assert!(start.elapsed() < WITHIN, "still said: {said:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Watches for so long that no backend is found at fault; that shares are Unknown is no finding.
async fn nothing_is_found(bed: &AlertBed, period: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < period {
        let said = says(bed).await;
        assert!(said.iter().all(|one| one.0.is_empty()), "{said:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until a cause is found, and prints how long that took.
async fn until_found(bed: &AlertBed, cause: &str, pod: &str) {
    let start = Instant::now();
    loop {
        let said = says(bed).await;
        if let Some((_, message)) = said.iter().find(|one| one.0 == cause) {
            assert!(message.contains(&format!("backend {pod} took ")), "{message}");
            eprintln!("{cause} after {:?}: {message}", start.elapsed());
            return;
        }
        assert!(start.elapsed() < WITHIN, "no {cause} in {said:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_gets_another_share_is_named() {
    let bed = AlertBed::start().await.unwrap();
    let address = Address::add().unwrap();
    let mut backends = Backends::start(&address, &PODS).await.unwrap();
    let at = SocketAddr::from((address.ip(), free_port().unwrap()));
    let jobs = json!([{"job_name": "pods", "static_configs": backends.targets("shop")}]);
    let mut prometheus = Prometheus::scraping(
        bed.programs(),
        "prometheus",
        bed.path(),
        &Scraping::of(at, 5, jobs),
    )
    .await
    .unwrap();
    bed.plane
        .prometheus_service(address.ip(), at.port())
        .await
        .unwrap();
    set_up(&bed, &backends).await;
    let mut operator = bed
        .operator("measuring", &[format!("--prometheus={PROMETHEUS}")])
        .await
        .unwrap();
    operator.until_ready().await.unwrap();

    // As many connections as a quarter of an hour at ten in a second has, in two minutes.
    backends.flow(80, &[1.0; 3]);
    nothing_is_found(&bed, Duration::from_secs(120)).await;
    until_silent(&bed).await;
    // A Prometheus that starts again has the counters as they are now, and not what came between.
    prometheus.kill();
    nothing_is_found(&bed, Duration::from_secs(30)).await;
    prometheus.restart().await.unwrap();
    nothing_is_found(&bed, Duration::from_secs(60)).await;
    until_silent(&bed).await;

    for (cause, weights) in [
        ("NoTraffic", [1.0, 0.0, 1.0]),
        ("Starved", [1.0, 0.1, 1.0]),
        ("Hot", [1.0, 4.0, 1.0]),
    ] {
        backends.flow(10, &weights);
        until_found(&bed, cause, "api-2").await;
        backends.flow(80, &[1.0; 3]);
        until_silent(&bed).await;
    }
    assert!(backends.run() && backends.all.iter().all(|one| one.accepted() > 1000));
    operator.lives().unwrap();
}
