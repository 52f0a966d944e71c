//! What happens on every bed: installed, asked, answered, uninstalled.

use std::process::Command;
use std::time::{Duration, Instant};

use evenkeel_e2e::binaries::{Binaries, Program};
use evenkeel_e2e::cluster::{Cluster, NAMESPACE, Overlay, WITHIN, condition, until};
use evenkeel_e2e::image::OPERATOR;
use evenkeel_e2e::node_bed::{NodeBed, POD_IMAGE};
use evenkeel_e2e::repository::root;
use evenkeel_e2e::under_test;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Namespace};
use kube::Api;
use kube::api::ListParams;

use super::ordeals::asked;

/// A shop whose Pods are spread over the nodes as far as these allow it.
const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reports, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: reports}}
  template:
    metadata: {labels: {app: reports}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: ScheduleAnyway
        labelSelector: {matchLabels: {app: reports}}
      containers:
      - name: reports
        image: IMAGE
        imagePullPolicy: Never
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Service
metadata: {name: reports, namespace: shop}
spec:
  selector: {app: reports}
  ports: [{name: http, port: 80, targetPort: http}]
";

/// What the team declares: two days of silence, and this keepalive.
fn policy(keepalive: &str) -> String {
    format!(
        "
apiVersion: evenkeel.dev/v1alpha1
kind: TrafficHealthPolicy
metadata: {{name: reports, namespace: shop}}
spec:
  services: {{names: [reports]}}
  balance: {{minimumReadyBackends: 3}}
  connections:
  - name: report
    ports: [http]
    protocol: HTTP1
    longestSilenceSeconds: 172800
    clients: [{{name: worker, tcpKeepalive: {keepalive}}}]
    server: {{tcpKeepalive: {{state: Disabled}}}}
"
    )
}

/// A client whose connections a table forgets while they are silent.
const SILENT: &str = "{state: Disabled}";

/// The repair.
const KEPT_ALIVE: &str = "{state: Enabled, idleSeconds: 300}";

pub(super) const VIOLATED: [&str; 2] = ["False", "Violated"];

/// Healthy as far as it goes: without one node there would be less than three backends.
pub(super) const HEALTHY: [&str; 2] = ["True", "AtRisk"];

/// Prints a figure.
pub(super) fn tell(what: &str, time: Duration) {
    eprintln!("{:>8.3} s  {what}", time.as_secs_f64());
}

async fn apply(cluster: &Cluster, text: &str) {
    evenkeel_e2e::apply::apply_yaml(&cluster.client(), text)
        .await
        .unwrap();
}

/// Everything that the cluster needs, then the operator, by the commands of the README.
pub(super) async fn install(cluster: &Cluster) -> Overlay {
    apply(cluster, &SHOP.replace("IMAGE", POD_IMAGE)).await;
    let overlay = Overlay::new(OPERATOR).unwrap();
    cluster.install(&overlay).await.unwrap();
    let installed = cluster.until_rolled_out(OPERATOR).await.unwrap();
    tell("from kubectl apply -k to two ready replicas", installed);
    let spaces: Api<Namespace> = Api::all(cluster.client());
    let labels = spaces.get(NAMESPACE).await.unwrap().metadata.labels.unwrap();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    for pod in cluster.pods().await.unwrap() {
        let spec = pod.spec.unwrap();
        assert_eq!(spec.service_account_name.as_deref(), Some("evenkeel"));
    }
    until("three backends are ready", WITHIN, async || {
        let shop: Api<Deployment> = Api::namespaced(cluster.client(), "shop");
        let ready = shop
            .get("reports")
            .await?
            .status
            .and_then(|status| status.ready_replicas);
        anyhow::ensure!(ready == Some(3), "{ready:?} are");
        Ok(())
    })
    .await
    .unwrap();
    overlay
}

/// Runs helm on a cluster, with folders of its own.
fn helm(cluster: &Cluster, arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let programs = Binaries::find_or_build(&[Program::Helm]).unwrap();
    let output = Command::new(programs.path(Program::Helm).unwrap())
        .args(arguments)
        .args(["--namespace", NAMESPACE])
        .env("HOME", home.path())
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same operator by the chart, with the values of its components: Pods start, lead, judge, and write; then it goes, and
/// only what helm never deletes is left for `evenkeel uninstall`.
pub(super) async fn chart(bed: &NodeBed, cluster: &Cluster) {
    let chart = root().join("manifests/chart").display().to_string();
    let (repository, tag) = OPERATOR.rsplit_once(':').unwrap();
    let image = format!("image.repository={repository},image.tag={tag},image.pullPolicy=Never");
    let start = Instant::now();
    let install = [
        "install",
        "evenkeel",
        &chart,
        "--create-namespace",
        "--set",
        &image,
    ];
    helm(
        cluster,
        &[&install[..], &["--set", "instanceMetrics.enabled=true"]].concat(),
    );
    cluster.until_rolled_out(OPERATOR).await.unwrap();
    tell("from helm install to two ready replicas", start.elapsed());
    apply(cluster, &policy(SILENT)).await;
    cluster
        .until_healthy_is("shop", "reports", VIOLATED)
        .await
        .unwrap();
    // The component's rights and flag arrived: each API server's own page is read.
    until("the page of the API server is read", WITHIN, async || {
        let mut asked = asked(bed).into_iter();
        let read = asked.any(|one| one["requestURI"] == "/metrics" && one["responseStatus"]["code"] == 200);
        anyhow::ensure!(read, "it has not been asked for");
        Ok(())
    })
    .await
    .unwrap();
    // Helm takes the rights away while Pods end: without Pods nothing can be refused.
    helm(
        cluster,
        &[
            "upgrade",
            "evenkeel",
            &chart,
            "--reuse-values",
            "--set",
            "replicas=0",
        ],
    );
    until("every Pod has ended", WITHIN, async || {
        let pods = cluster.pods().await?;
        anyhow::ensure!(pods.is_empty(), "{} are left", pods.len());
        Ok(())
    })
    .await
    .unwrap();
    helm(cluster, &["uninstall", "evenkeel", "--wait"]);
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let said = under_test::evenkeel(&["uninstall", "--yes", "--kubeconfig", &kubeconfig]).unwrap();
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    // Helm made the namespace (`--create-namespace`): it does not carry our label, and helm deletes none.
    assert!(
        said.err.contains("namespace evenkeel-system is kept"),
        "{}",
        said.err
    );
    assert_eq!(left(cluster).await, format!("namespace/{NAMESPACE}\n"));
    cluster
        .kubectl(&["delete", "namespace", NAMESPACE])
        .await
        .unwrap();
    assert_eq!(left(cluster).await, "");
}

/// A policy that this cluster's kube-proxy violates, which forgets a silent connection after so many seconds: told in
/// the condition, an Event and a metric; then repaired.
pub(super) async fn alert(cluster: &Cluster, seconds: u32) {
    assert_eq!(status(cluster).0, 0, "there is no policy yet");
    let start = Instant::now();
    apply(cluster, &policy(SILENT)).await;
    cluster
        .until_healthy_is("shop", "reports", VIOLATED)
        .await
        .unwrap();
    // From before the request was sent: a person who looks sees no more.
    tell("from applying a policy to its condition", start.elapsed());
    let told = cluster.status("shop", "reports").await.unwrap();
    let worst = &told.findings[0];
    assert_eq!(worst.check, "path-idle-budget");
    assert!(worst.message.contains(&format!("after {seconds} s")), "{worst:?}");
    assert_eq!(condition(&told, "Observed")[1], "True");

    let events: Api<Event> = Api::namespaced(cluster.client(), "shop");
    until("an Event tells it", WITHIN, async || {
        let ours = ListParams::default().fields("reportingComponent=evenkeel.dev/operator");
        let events = events.list(&ours).await?.items;
        let turned = events
            .iter()
            .find(|event| event.reason.as_deref() == Some("NotHealthy"));
        anyhow::ensure!(turned.is_some(), "{events:#?}");
        Ok(())
    })
    .await
    .unwrap();
    let (leader, _) = cluster.leader().await.unwrap();
    let series = r#"evenkeel_policy_unhealthy{namespace="shop",policy="reports"}"#;
    assert!(cluster.metric(&leader, series).await.unwrap() > 0.0);
    let (code, text) = status(cluster);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("Operator: alive") && text.contains("path-idle-budget"),
        "{text}"
    );

    let start = Instant::now();
    apply(cluster, &policy(KEPT_ALIVE)).await;
    cluster
        .until_healthy_is("shop", "reports", HEALTHY)
        .await
        .unwrap();
    tell("from the repair to the condition", start.elapsed());
    let (code, text) = status(cluster);
    assert_eq!(code, 0, "{text}");
    for pod in cluster.pods().await.unwrap() {
        let bytes = cluster
            .metric(&pod, "evenkeel_process_resident_bytes{}")
            .await
            .unwrap();
        let leads = cluster.metric(&pod, "evenkeel_leader{}").await.unwrap();
        eprintln!("{:>8.1} MiB resident, leader: {leads}", bytes / 1024.0 / 1024.0);
    }
}

/// Exit code and output of `evenkeel status`.
pub(super) fn status(cluster: &Cluster) -> (i32, String) {
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let said = under_test::evenkeel(&["status", "--kubeconfig", &kubeconfig]).unwrap();
    (said.code, said.out + &said.err)
}

/// A change that only a living leader can answer: the keepalive is taken away and given back.
pub(super) async fn still_written(cluster: &Cluster) {
    apply(cluster, &policy(SILENT)).await;
    cluster
        .until_healthy_is("shop", "reports", VIOLATED)
        .await
        .unwrap();
    apply(cluster, &policy(KEPT_ALIVE)).await;
    cluster
        .until_healthy_is("shop", "reports", HEALTHY)
        .await
        .unwrap();
}

/// Whatever has our name or tells of us, anywhere but in Pods of the shop.
pub(super) async fn left(cluster: &Cluster) -> String {
    let kinds = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings";
    let mut left = String::new();
    for arguments in [
        vec!["get", kinds, "--output=name"],
        vec![
            "get",
            "roles,rolebindings,leases,configmaps",
            "--all-namespaces",
            // Nodes of kind may be called after us.
            "--field-selector=metadata.namespace!=kube-node-lease",
            "--output=name",
        ],
        vec![
            "get",
            "events",
            "--all-namespaces",
            "--field-selector=reportingComponent=evenkeel.dev/operator",
            "--output=name",
        ],
    ] {
        let text = cluster.kubectl(&arguments).await.unwrap();
        let ours = text
            .lines()
            .filter(|line| line.contains("evenkeel") || line.starts_with("event/"));
        left.extend(ours.map(|line| format!("{line}\n")));
    }
    left
}

pub(super) async fn uninstall(cluster: &Cluster) {
    assert!(
        left(cluster).await.contains("clusterrole"),
        "what is looked for is there before"
    );
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let start = Instant::now();
    let said = under_test::evenkeel(&["uninstall", "--yes", "--kubeconfig", &kubeconfig]).unwrap();
    tell("evenkeel uninstall", start.elapsed());
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert_eq!(left(cluster).await, "");
    let again = under_test::evenkeel(&["uninstall", "--kubeconfig", &kubeconfig]).unwrap();
    assert_eq!(again.out, "Nothing of evenkeel is in this cluster.\n");
}
