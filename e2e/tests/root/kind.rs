//! kind: a cluster comes up, takes an image from a file as users load it, and its
//! Pods are ready and answer at their Service's address.
//!
//! Runs only when named; `make e2e-kind` does.

use std::process::Command;
use std::time::{Duration, Instant};

use evenkeel_e2e::apply::apply_yaml;
use evenkeel_e2e::kind_bed::{KindBed, KindOptions};
use evenkeel_e2e::node_bed::{POD_IMAGE, write_pod_image};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::Api;

/// Far above what it takes on a busy machine; nothing is judged by time.
const WITHIN: Duration = Duration::from_secs(180);

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: IMAGE
        imagePullPolicy: Never
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
";

#[tokio::test]
async fn kind_takes_an_image_from_a_file_and_its_pods_are_ready() {
    let bed = KindBed::start(KindOptions {
        workers: 1,
        ..KindOptions::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("pod.tar");
    write_pod_image(&archive).unwrap();
    bed.load_image(&archive).unwrap();
    let client = bed.client().await.unwrap();
    apply_yaml(&client, &WEB.replace("IMAGE", POD_IMAGE))
        .await
        .unwrap();
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let deadline = Instant::now() + WITHIN;
    loop {
        let status = deployments.get("web").await.unwrap().status.unwrap_or_default();
        if status.ready_replicas == Some(2) {
            break;
        }
        assert!(Instant::now() < deadline, "not ready: {status:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // kube-proxy and the network of Pods, from a node's own network.
    let node = format!("{}-worker", bed.name());
    let services: Api<Service> = Api::default_namespaced(client);
    let address = services
        .get("web")
        .await
        .unwrap()
        .spec
        .unwrap()
        .cluster_ip
        .unwrap();
    let script = format!(
        "curl --silent --show-error --fail --retry 20 --retry-all-errors --max-time 5 http://{address}/readyz"
    );
    let output = Command::new("docker")
        .args(["exec", &node, "sh", "-c", &script])
        .envs(bed.engine_variables())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.trim(), "ready", "{complaint}");
}
