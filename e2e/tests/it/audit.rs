//! The audit of a living cluster: what it finds, what it says of what it may not read, and that it never writes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use evenkeel::live;
use evenkeel_core::know::{Mono, Now, Wall};
use evenkeel_core::names::Key;
use evenkeel_e2e::account::user_of;
use evenkeel_e2e::load::{Size, load};
use evenkeel_e2e::repository::{example, example_in, root};
use evenkeel_e2e::under_test::evenkeel_json;
use evenkeel_e2e::{ControlPlane, Options};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The control plane of these tests, which keeps an audit log, with the demo's nodes and data plane.
async fn plane() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE.get_or_init(start).await
}

/// Another one of its kind.
async fn start() -> ControlPlane {
    let options = Options {
        audit: true,
        controller_manager: false,
        ..Options::default()
    };
    let plane = ControlPlane::start(options).await.unwrap();
    plane.install_crds(&root().join("crds")).await.unwrap();
    plane
        .apply_yaml(&example("demo/cluster.yaml").unwrap())
        .await
        .unwrap();
    plane
}

/// What an audit said and its exit code.
fn audit(kubeconfig: &Path, namespace: &str) -> (Value, i32) {
    run(&["audit", "-o", "json", "-n", namespace], kubeconfig)
}

/// What the binary said as JSON of a cluster, and its exit code.
fn run(arguments: &[&str], kubeconfig: &Path) -> (Value, i32) {
    let kubeconfig = kubeconfig.to_str().unwrap();
    evenkeel_json(&[arguments, &["--kubeconfig", kubeconfig]].concat()).unwrap()
}

/// The rights that were missing: source and reason. What other tests have left in the cluster may be unreadable too.
fn missing(list: &Value) -> Vec<(&str, &str)> {
    let entries = list["unreadable"].as_array().unwrap().iter();
    entries
        .map(|one| (one["source"].as_str().unwrap(), one["reason"].as_str().unwrap()))
        .filter(|(_, reason)| reason.starts_with("missing right"))
        .collect()
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

/// Everything an account has asked for so far.
async fn asked(plane: &ControlPlane, kubeconfig: &Path, namespace: &str) -> Vec<Value> {
    // A last request of the same account: once it is in the log, so is what came before.
    let client = evenkeel_e2e::client_of(kubeconfig, None).await.unwrap();
    let last = http::Request::get("/api?last").body(Vec::new()).unwrap();
    client.request_text(last).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut events = plane.audit_events().unwrap();
        events.retain(|event| event["user"]["username"] == user_of(namespace));
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
    let namespace = plane.shop().await.unwrap();
    let (list, code) = audit(plane.kubeconfig_path(), &namespace);
    let finding = path_finding(&list).unwrap_or_else(|| panic!("no finding in {list:#}"));
    assert_eq!(finding["verdict"], "Violated");
    assert_eq!(finding["severity"], "critical");
    assert_eq!(finding["subject"]["namespace"], *namespace);
    let message = finding["message"].as_str().unwrap();
    for part in ["900 s", "1800 s"] {
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
        .apply_yaml(&example_in("demo-keepalive.yaml", &namespace).unwrap())
        .await
        .unwrap();
    let (list, code) = audit(plane.kubeconfig_path(), &namespace);
    assert_eq!(path_finding(&list), None);
    assert_ne!(code, 1);
}

#[tokio::test]
async fn an_account_that_may_only_read_is_enough_and_nothing_is_written() {
    let plane = plane().await;
    let namespace = plane.shop().await.unwrap();
    let account = plane.reader(&namespace, &[]).await.unwrap();
    let (list, code) = audit(account.path(), &namespace);
    let finding = path_finding(&list).unwrap_or_else(|| panic!("no finding in {list:#}"));
    assert_eq!((&finding["verdict"], code), (&json!("Violated"), 1));
    assert_eq!(missing(&list), []);

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
async fn a_missing_right_is_named_and_only_what_needs_it_is_unknown() {
    let plane = plane().await;
    let namespace = plane.shop().await.unwrap();
    let account = plane.reader(&namespace, &["nodes"]).await.unwrap();
    let (list, code) = audit(account.path(), &namespace);
    let reason = format!(
        "missing right: list nodes (nodes is forbidden: User \"{}\" cannot list resource \"nodes\" in API group \"\" at the cluster scope)",
        user_of(&namespace)
    );
    assert_eq!(missing(&list), [("nodes", reason.as_str())]);
    // The path rests on the configuration of kube-proxy, which was read; where backends stand rests on nodes.
    let finding = path_finding(&list).unwrap_or_else(|| panic!("no finding in {list:#}"));
    assert_eq!(finding["verdict"], "Violated");
    assert_eq!(code, 1);

    plane
        .apply_yaml(&example_in("demo-keepalive.yaml", &namespace).unwrap())
        .await
        .unwrap();
    let (list, code) = audit(account.path(), &namespace);
    assert_eq!(path_finding(&list), None);
    assert_eq!(code, 2);
    // Asked alone, as others' shops in this cluster are none of its business.
    let (list, code) = run(
        &["audit", "-o", "json", "--check", "node-zone-disruption"],
        account.path(),
    );
    let unknown: Vec<_> = list["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let message = one["message"].as_str().unwrap();
            (one["verdict"].as_str().unwrap(), message.contains(&reason))
        })
        .collect();
    assert_eq!((unknown, code), (vec![("Unknown", true)], 2));
}

#[tokio::test]
async fn a_kind_that_is_not_served_needs_no_right() {
    let plane = plane().await;
    let namespace = plane.shop().await.unwrap();
    let others = [
        "felixconfigurations",
        "installations",
        "l2advertisements",
        "ciliumnodeconfigs",
    ];
    let account = plane.reader(&namespace, &others).await.unwrap();
    let (list, _) = audit(account.path(), &namespace);
    assert_eq!(missing(&list), []);
    let finding = path_finding(&list).unwrap_or_else(|| panic!("no finding in {list:#}"));
    assert_eq!(finding["verdict"], "Violated");
}

#[tokio::test]
async fn what_needs_a_missing_right_is_unknown() {
    let plane = plane().await;
    let namespace = plane.shop().await.unwrap();
    let account = plane.reader(&namespace, &["configmaps"]).await.unwrap();
    let (list, code) = audit(account.path(), &namespace);
    let finding = path_finding(&list).unwrap_or_else(|| panic!("no finding in {list:#}"));
    assert_eq!(finding["verdict"], "Unknown");
    let message = finding["message"].as_str().unwrap();
    assert!(message.contains("missing right: get configmaps"), "{message}");
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
    // Its nodes run no kube-proxy that the API shows, so the other tests' paths could not be judged beside them.
    let plane = &start().await;
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
        let policy = example_in("demo/policy.yaml", namespace)
            .unwrap()
            .replace("{names: [reports]}", "{selector: {}}");
        plane.apply_yaml(&policy).await.unwrap();
    }
    let namespace = plane.namespace().await.unwrap();
    let account = plane.reader(&namespace, &[]).await.unwrap();
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
