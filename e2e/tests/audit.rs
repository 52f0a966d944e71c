//! The audit of a living cluster: what it finds, what it says of what it may not read, and that it never writes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use evenkeel::live;
use evenkeel_core::know::{Mono, Now, Wall};
use evenkeel_core::names::Key;
use evenkeel_e2e::load::{Size, load};
use evenkeel_e2e::{ControlPlane, Options};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::sync::OnceCell;

/// The control plane of these tests, which keeps an audit log, with the demo's nodes and data plane.
async fn plane() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE
        .get_or_init(|| async {
            let options = Options {
                audit: true,
                controller_manager: false,
                ..Options::default()
            };
            let plane = ControlPlane::start(options).await.unwrap();
            plane.install_crds(&root().join("crds")).await.unwrap();
            plane.apply_yaml(&demo("cluster.yaml")).await.unwrap();
            plane
        })
        .await
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn demo(file: &str) -> String {
    std::fs::read_to_string(root().join("e2e/demo").join(file)).unwrap()
}

/// A file of the demo, in a namespace of its own.
fn demo_in(file: &str, namespace: &str) -> String {
    let text = demo(file);
    let moved = text
        .replace("namespace: shop", &format!("namespace: {namespace}"))
        .replace("{name: shop}", &format!("{{name: {namespace}}}"));
    assert_ne!(text, moved, "{file} does not name the shop");
    moved
}

/// A namespace with the shop of the demo and its policy.
async fn shop(plane: &ControlPlane) -> String {
    let namespace = plane.namespace().await.unwrap();
    for file in ["shop.yaml", "policy.yaml"] {
        plane.apply_yaml(&demo_in(file, &namespace)).await.unwrap();
    }
    namespace
}

/// The binary of this very build, brought up to date first.
fn evenkeel() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let exe = std::env::current_exe().unwrap();
        let folder = exe.parent().and_then(Path::parent).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        // Both packages, so that their dependencies have the features they were tested with.
        cargo.args([
            "build",
            "--quiet",
            "-p",
            "evenkeel",
            "-p",
            "evenkeel-e2e",
            "--bin",
            "evenkeel",
        ]);
        if folder.file_name().is_some_and(|name| name == "release") {
            cargo.arg("--release");
        }
        cargo.arg("--target-dir").arg(folder.parent().unwrap());
        assert!(cargo.current_dir(root()).status().unwrap().success());
        folder.join("evenkeel")
    })
}

/// What an audit said and its exit code.
fn audit(kubeconfig: &Path, namespace: &str) -> (Value, i32) {
    let output = Command::new(evenkeel())
        .args(["audit", "-o", "json", "-n", namespace, "--kubeconfig"])
        .arg(kubeconfig)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let list = serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {told}"));
    (list, output.status.code().unwrap())
}

/// The one finding about the silent path of the shop.
fn path_finding(list: &Value) -> Option<&Value> {
    let mut found = list["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["check"] == "path-idle-budget");
    let first = found.next();
    assert_eq!(found.next(), None, "more than one path");
    first
}

/// The name of an account of a namespace, as the API server logs it.
fn user(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:reader")
}

/// A kubeconfig of an account that may read everything evenkeel reads, but for some resources.
async fn reader(plane: &ControlPlane, namespace: &str, without: &[&str]) -> NamedTempFile {
    let granted = |resources: &[&str]| -> Vec<String> {
        resources
            .iter()
            .filter(|resource| !without.contains(resource))
            .map(|&resource| resource.to_owned())
            .collect()
    };
    let rules: Vec<Value> = [
        ("", &["services", "nodes", "namespaces", "pods", "configmaps"][..]),
        ("discovery.k8s.io", &["endpointslices"]),
        ("apps", &["daemonsets", "deployments"]),
        ("cilium.io", &["ciliumnodeconfigs"]),
        (
            "admissionregistration.k8s.io",
            &["validatingwebhookconfigurations", "mutatingwebhookconfigurations"],
        ),
        ("evenkeel.dev", &["traffichealthpolicies", "clustertraffichealthpolicies"]),
    ]
    .iter()
    .map(|(group, resources)| json!({"apiGroups": [group], "resources": granted(resources), "verbs": ["get", "list"]}))
    .collect();
    let name = format!("reader-of-{namespace}");
    let objects = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": namespace}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}]}),
    ];
    for object in objects {
        plane.apply_yaml(&object.to_string()).await.unwrap();
    }
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/reader/token");
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(br#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#.to_vec())
        .unwrap();
    let made: Value = plane.client().await.unwrap().request(request).await.unwrap();
    let mut config: Value = serde_saphyr::from_str(&plane.kubeconfig().unwrap()).unwrap();
    config["users"][0]["user"] = json!({"token": made["status"]["token"]});
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config.to_string()).unwrap();
    file
}

/// Everything an account has asked for so far.
async fn asked(plane: &ControlPlane, kubeconfig: &Path, namespace: &str) -> Vec<Value> {
    // A last request of the same account: once it is in the log, so is what came before.
    let client = evenkeel_e2e::client_of(kubeconfig, None).await.unwrap();
    let last = http::Request::get("/api?last").body(Vec::new()).unwrap();
    client.request_text(last).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut events = plane.audit_events().unwrap();
        events.retain(|event| event["user"]["username"] == user(namespace));
        if let Some(at) = events.iter().position(|event| event["requestURI"] == "/api?last") {
            events.remove(at);
            return events;
        }
        assert!(
            Instant::now() < deadline,
            "the last request is not in the audit log"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn silence_that_ipvs_does_not_remember_is_critical_until_a_keepalive_is_declared() {
    let plane = plane().await;
    let namespace = shop(plane).await;
    let (list, code) = audit(plane.kubeconfig_path(), &namespace);
    let finding = path_finding(&list).unwrap_or_else(|| panic!("no finding in {list:#}"));
    assert_eq!(finding["verdict"], "Violated");
    assert_eq!(finding["severity"], "critical");
    assert_eq!(finding["subject"]["namespace"], *namespace);
    let message = finding["message"].as_str().unwrap();
    for part in [
        "900 s",
        "1800 s",
        "ConfigMap kube-system/kube-proxy",
        "tcpTimeout: 0s",
    ] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    let evidence = finding["evidence"].as_array().unwrap();
    let remembered = evidence.iter().find(|one| one["value"] == 900).unwrap();
    assert_eq!(remembered["unit"], "s");
    assert_ne!(remembered["origin"], "Assumed");
    assert!(
        remembered["source"]
            .as_str()
            .unwrap()
            .contains("kube-system/kube-proxy"),
        "{remembered}"
    );
    assert_eq!(code, 1);

    plane
        .apply_yaml(&demo_in("policy-keepalive.yaml", &namespace))
        .await
        .unwrap();
    let (list, code) = audit(plane.kubeconfig_path(), &namespace);
    assert_eq!(path_finding(&list), None);
    assert_ne!(code, 1);
}

#[tokio::test]
async fn an_account_that_may_only_read_is_enough_and_nothing_is_written() {
    let plane = plane().await;
    let namespace = shop(plane).await;
    let account = reader(plane, &namespace, &[]).await;
    let (list, code) = audit(account.path(), &namespace);
    let finding = path_finding(&list).unwrap_or_else(|| panic!("no finding in {list:#}"));
    assert_eq!((&finding["verdict"], code), (&json!("Violated"), 1));
    let text = list["unreadable"].to_string();
    assert!(!text.contains("missing right"), "{text}");

    let events = asked(plane, account.path(), &namespace).await;
    let verbs: BTreeSet<_> = events
        .iter()
        .map(|event| event["verb"].as_str().unwrap())
        .collect();
    assert_eq!(verbs, BTreeSet::from(["get", "list"]));
    let resources: BTreeSet<_> = events
        .iter()
        .filter_map(|event| event["objectRef"]["resource"].as_str())
        .collect();
    for resource in [
        "services",
        "endpointslices",
        "nodes",
        "traffichealthpolicies",
        "configmaps",
    ] {
        assert!(resources.contains(resource), "{resource} is not in {resources:?}");
    }
    for secret in ["secrets", "serviceaccounts"] {
        assert!(!resources.contains(secret), "{secret} were read");
    }
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let plane = plane().await;
    let namespace = shop(plane).await;
    let account = reader(plane, &namespace, &["nodes"]).await;
    let (list, code) = audit(account.path(), &namespace);
    let nodes = list["unreadable"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["source"] == "nodes")
        .unwrap_or_else(|| panic!("nodes are not unreadable in {list:#}"));
    let reason = nodes["reason"].as_str().unwrap();
    assert!(reason.starts_with("missing right: list nodes"), "{reason}");
    assert!(reason.contains(&user(&namespace)), "{reason}");
    assert_ne!(code, 0);
}

#[tokio::test]
async fn what_needs_a_missing_right_is_unknown() {
    let plane = plane().await;
    let namespace = shop(plane).await;
    let account = reader(plane, &namespace, &["configmaps"]).await;
    let (list, code) = audit(account.path(), &namespace);
    let finding = path_finding(&list).unwrap_or_else(|| panic!("no finding in {list:#}"));
    assert_eq!(finding["verdict"], "Unknown");
    assert!(
        finding["message"]
            .as_str()
            .unwrap()
            .contains("missing right: get configmaps")
    );
    assert_eq!(code, 2);
}

#[tokio::test]
async fn a_policy_that_does_not_compile_is_listed_with_its_field() {
    let plane = plane().await;
    let namespace = plane.namespace().await.unwrap();
    let draft = std::fs::read_to_string(root().join("tests/policies/refused/check-unknown.yaml")).unwrap();
    let draft = draft.replace("namespace: default", &format!("namespace: {namespace}"));
    plane.apply_yaml(&draft).await.unwrap();
    let (list, code) = audit(plane.kubeconfig_path(), &namespace);
    let name = format!("traffichealthpolicies {namespace}/checkout");
    let refused = list["unreadable"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["source"] == *name)
        .unwrap_or_else(|| panic!("{name} is not in {list:#}"));
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("spec.exceptions[0].check"), "{reason}");
    assert_eq!(code, 2);
}

#[tokio::test]
async fn more_than_a_page_is_read_to_its_end() {
    let plane = plane().await;
    let size = Size {
        nodes: 3,
        services: 600,
        endpoints_per_service: 1,
        pods: 0,
    };
    load(&plane.client().await.unwrap(), &size, |_| {}).await.unwrap();
    // A policy that asks about each of them, so that each one is heard of.
    let loaded = ["load-000", "load-001", "load-002"].map(str::to_owned);
    for namespace in &loaded {
        let policy = demo_in("policy.yaml", namespace).replace("{names: [reports]}", "{selector: {}}");
        plane.apply_yaml(&policy).await.unwrap();
    }
    let namespace = plane.namespace().await.unwrap();
    let account = reader(plane, &namespace, &[]).await;
    let options = live::Options {
        kubeconfig: Some(account.path().to_owned()),
        ..live::Options::default()
    };
    let mut core = live::read(&options).await.unwrap();
    let now = Now {
        mono: Mono(0),
        wall: Wall(1_795_266_000),
    };
    core.round(now);
    let index = core.index();
    let mut paths = BTreeSet::new();
    for finding in core.findings(now).findings {
        let subject = finding.subject;
        if finding.check == "path-idle-budget" && loaded.contains(&subject.namespace) {
            let key = Key {
                namespace: index.names.find(&subject.namespace).unwrap(),
                name: index.names.find(&subject.name).unwrap(),
            };
            assert_eq!(index.endpoints(key).unwrap().len(), 1, "{subject}");
            paths.insert(subject);
        }
    }
    assert_eq!(paths.len(), 600);

    let events = asked(plane, account.path(), &namespace).await;
    for resource in ["services", "endpointslices"] {
        let pages: Vec<_> = events
            .iter()
            .filter(|event| event["objectRef"]["resource"] == resource)
            .map(|event| event["requestURI"].as_str().unwrap())
            .collect();
        assert!(pages.len() >= 2, "{pages:?}");
        assert!(pages.iter().all(|page| page.contains("limit=500")), "{pages:?}");
        assert_eq!(
            pages.iter().filter(|page| !page.contains("continue=")).count(),
            1,
            "{pages:?}"
        );
    }
}
