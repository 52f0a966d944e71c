//! A collected folder: judged as the cluster was, without a secret, whole or not there. And what an account sees whose
//! rights end at its namespace.

use std::path::Path;

use evenkeel_e2e::account::user_of;
use evenkeel_e2e::monitoring::free_port;
use evenkeel_e2e::repository::{example, example_in, root};
use evenkeel_e2e::under_test::{evenkeel, evenkeel_json};
use evenkeel_e2e::{ControlPlane, Options};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The control plane of these tests, one test at a time: what two reads of a cluster have in common is only equal
/// where nobody changes it between them.
async fn plane() -> MutexGuard<'static, ControlPlane> {
    static PLANE: OnceCell<Mutex<ControlPlane>> = OnceCell::const_new();
    let plane = PLANE.get_or_init(|| async {
        let options = Options {
            controller_manager: false,
            ..Options::default()
        };
        let plane = ControlPlane::start(options).await.unwrap();
        plane.install_crds(&root().join("crds")).await.unwrap();
        plane
            .apply_yaml(&example("demo/cluster.yaml").unwrap())
            .await
            .unwrap();
        Mutex::new(plane)
    });
    plane.await.lock().await
}

/// A list of findings without the moment it was made at.
fn timeless(mut list: Value) -> Value {
    for finding in list["findings"].as_array_mut().unwrap() {
        finding.as_object_mut().unwrap().remove("since");
    }
    list
}

/// Collects into a folder of a new temporary one, and returns the latter with the exit code.
fn collect(kubeconfig: &Path, more: &[&str]) -> (tempfile::TempDir, String, i32) {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("dump").to_str().unwrap().to_owned();
    let arguments = [
        "collect",
        "-o",
        &target,
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
    ];
    let said = evenkeel(&[&arguments, more].concat()).unwrap();
    assert!(
        said.out.contains(&format!("evenkeel audit --from {target}")),
        "{said:?}"
    );
    (outside, target, said.code)
}

/// That an account's audits of the cluster and of a collected folder say the same; returns what they say.
fn same(kubeconfig: &Path, more: &[&str]) -> Value {
    let live = ["--kubeconfig", kubeconfig.to_str().unwrap()];
    let (outside, target, code) = collect(kubeconfig, more);
    let mut answer = Value::Null;
    for command in ["audit", "dataplane"] {
        let start = [&[command, "-o", "json"][..], more].concat();
        let (mut of_cluster, live_code) = evenkeel_json(&[&start[..], &live].concat()).unwrap();
        let (mut of_folder, from_code) = evenkeel_json(&[&start[..], &["--from", &target]].concat()).unwrap();
        if command == "audit" {
            (of_cluster, of_folder) = (timeless(of_cluster), timeless(of_folder));
            answer = of_cluster.clone();
            let refused = !answer["unreadable"].as_array().unwrap().is_empty();
            assert_eq!(code, if refused { 2 } else { 0 });
        }
        // Other tests bring Pods and DaemonSets of their own into this cluster meanwhile.
        for answer in [&mut of_folder, &mut of_cluster] {
            answer.as_object_mut().unwrap().remove("lookAlikes");
        }
        assert_eq!(of_folder, of_cluster, "{command} of {}", outside.path().display());
        assert_eq!(from_code, live_code, "{command}");
    }
    answer
}

/// Source and reason of what could not be read.
fn refused(list: &Value) -> Vec<(&str, &str)> {
    let entries = list["unreadable"].as_array().unwrap().iter();
    entries
        .map(|one| (one["source"].as_str().unwrap(), one["reason"].as_str().unwrap()))
        .collect()
}

/// Verdicts of a check on what lives in a namespace.
fn verdicts<'a>(list: &'a Value, check: &str, namespace: &str) -> Vec<&'a str> {
    let findings = list["findings"].as_array().unwrap().iter();
    findings
        .filter(|one| one["check"] == check && one["subject"]["namespace"] == namespace)
        .map(|one| one["verdict"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_collected_folder_is_judged_as_the_cluster_was() {
    let plane = plane().await;
    let namespace = plane.shop().await.unwrap();
    let list = same(plane.kubeconfig_path(), &[]);
    assert_eq!(verdicts(&list, "path-idle-budget", &namespace), ["Violated"]);
    assert_eq!(refused(&list), []);
}

#[tokio::test]
async fn a_collected_folder_repeats_what_could_not_be_read() {
    let plane = plane().await;
    let namespace = plane.shop().await.unwrap();
    let without = [
        "nodes",
        "configmaps",
        "daemonsets",
        "mutatingwebhookconfigurations",
    ];
    let account = plane.reader(&namespace, &without).await.unwrap();
    let list = same(account.path(), &[]);
    let sources: Vec<_> = refused(&list).iter().map(|one| one.0).collect();
    assert_eq!(
        sources,
        ["configmaps", "daemonsets", "nodes", "webhookconfigurations"]
    );
    assert_eq!(verdicts(&list, "path-idle-budget", &namespace), ["Unknown"]);
}

/// What must not leave the cluster.
const MARKER: &str = "do-not-take-this-away";

/// Secrets where people leave them.
fn marked(namespace: &str) -> Vec<Value> {
    let metadata = |name: &str| {
        json!({"name": name, "namespace": namespace, "labels": {"app": "worker"},
            "annotations": {"example.com/token": MARKER, "kubectl.kubernetes.io/last-applied-configuration": MARKER}})
    };
    let pod = json!({
        "containers": [{"name": "shipper", "image": "shipper:1", "args": ["--cni=cilium", format!("--token={MARKER}")],
            "env": [{"name": "TOKEN", "value": MARKER}]}],
        "volumes": [{"name": "keys", "secret": {"secretName": MARKER}}],
    });
    vec![
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("keys"), "stringData": {"token": MARKER}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata("marked"), "spec": {"ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata("marked"), "spec": pod}),
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata("marked"),
            "spec": {"selector": {"matchLabels": {"app": "worker"}}, "template": {"metadata": {"labels": {"app": "worker"},
                "annotations": {"token": MARKER}}, "spec": pod}}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "eni-config", "namespace": "kube-system"},
            "data": {"eni_conf": MARKER}}),
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": namespace, "annotations": {"token": MARKER}},
            "webhooks": [{"name": "a.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Ignore",
                "clientConfig": {"url": format!("https://127.0.0.1/{MARKER}")},
                "rules": [{"apiGroups": ["none.example.com"], "apiVersions": ["v1"], "resources": ["none"], "operations": ["CREATE"]}]}]}),
    ]
}

/// Every text below a folder.
fn texts(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, found);
        } else {
            found.push((
                path.display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            ));
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_a_collected_folder() {
    let plane = plane().await;
    let namespace = plane.namespace().await.unwrap();
    let client = plane.client().await.unwrap();
    for object in marked(&namespace) {
        plane.apply_yaml(&object.to_string()).await.unwrap();
    }
    // A manager of fields whose very name tells too much.
    let path = format!("/api/v1/namespaces/{namespace}/services/marked?fieldManager={MARKER}");
    let patch = http::Request::patch(path)
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .body(br#"{"metadata":{"labels":{"by":"somebody"}}}"#.to_vec())
        .unwrap();
    let service = client.request_text(patch).await.unwrap();
    assert!(
        service.contains(&format!("\"manager\":\"{MARKER}\"")),
        "{service}"
    );
    // The Pod is read because a policy names it.
    let policy = example_in("demo/policy.yaml", &namespace).unwrap();
    let policy = policy.replace(
        "- name: worker",
        "- name: worker\n          podSelector: {matchLabels: {app: worker}}",
    );
    plane.apply_yaml(&policy).await.unwrap();

    let (outside, target, code) = collect(plane.kubeconfig_path(), &[]);
    assert_eq!(code, 0);
    let mut found = Vec::new();
    texts(outside.path(), &mut found);
    for (path, text) in &found {
        assert!(!text.contains(MARKER), "{path}: {text}");
    }
    let text = |file: &str| std::fs::read_to_string(Path::new(&target).join(file)).unwrap();
    for file in ["services.json", "pods.json", "daemonsets.json"] {
        assert!(
            text(file).contains("\"marked\""),
            "{file} does not hold the object"
        );
    }
    assert!(text("configmaps.json").contains("eni-config"));
    assert!(text("validatingwebhookconfigurations.json").contains(&namespace));
}

#[tokio::test]
async fn a_folder_that_holds_something_is_left_alone() {
    let plane = plane().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("mine"), "mine").unwrap();
    let target = outside.path().to_str().unwrap();
    let kubeconfig = plane.kubeconfig_path().to_str().unwrap();
    let said = evenkeel(&["collect", "-o", target, "--kubeconfig", kubeconfig]).unwrap();
    assert_eq!(said.code, 2);
    assert!(said.err.contains(&format!("{target} is not empty")), "{said:?}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);

    // A cluster that cannot be reached leaves nothing behind either.
    let nobody = format!("https://127.0.0.1:{}", free_port().unwrap());
    let mut config: Value = serde_saphyr::from_str(&plane.kubeconfig().unwrap()).unwrap();
    config["clusters"][0]["cluster"]["server"] = nobody.into();
    std::fs::write(outside.path().join("mine"), config.to_string()).unwrap();
    let (file, target) = (outside.path().join("mine"), outside.path().join("dump"));
    let said = evenkeel(&[
        "collect",
        "-o",
        target.to_str().unwrap(),
        "--kubeconfig",
        file.to_str().unwrap(),
    ])
    .unwrap();
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("cannot be reached"), "{said:?}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn the_pods_that_a_draft_asks_for_are_read() {
    let plane = plane().await;
    let namespace = plane.namespace().await.unwrap();
    plane
        .apply_yaml(&example_in("demo/shop.yaml", &namespace).unwrap())
        .await
        .unwrap();
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "worker", "namespace": namespace, "labels": {"app": "worker"}},
        "spec": {"containers": [{"name": "worker", "image": "worker:1"}],
            "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "300"}]}}});
    plane.apply_yaml(&pod.to_string()).await.unwrap();
    // A keepalive without a time of its own: the Pod's sysctl is its time. Without a Pod it is not known: AtRisk.
    let draft = |app: &str| {
        let policy = example_in("demo/policy.yaml", &namespace).unwrap();
        let keepalive = format!(
            "tcpKeepalive: {{state: Enabled}}\n          podSelector: {{matchLabels: {{app: {app}}}}}"
        );
        let policy = policy.replacen("tcpKeepalive: {state: Disabled}", &keepalive, 1);
        let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(file.path(), policy).unwrap();
        file
    };
    for (app, expected) in [("worker", vec![]), ("nobody", vec!["AtRisk"])] {
        let draft = draft(app);
        let more = ["-n", &namespace, "--policy", draft.path().to_str().unwrap()];
        let list = same(plane.kubeconfig_path(), &more);
        assert_eq!(
            verdicts(&list, "path-idle-budget", &namespace),
            expected,
            "{list:#}"
        );
    }
}

#[tokio::test]
async fn an_account_of_one_namespace_sees_that_namespace_judged_and_the_rest_unknown() {
    let plane = plane().await;
    let namespace = plane.shop().await.unwrap();
    let policy = example_in("demo/policy.yaml", &namespace).unwrap();
    let policy = policy.replace(
        "  connections:",
        "  balance: {minimumReadyBackends: 5}\n  connections:",
    );
    plane.apply_yaml(&policy).await.unwrap();
    let own = ["services", "endpointslices", "traffichealthpolicies", "pods"];
    let account = plane.tenant(&namespace, &own).await.unwrap();

    let list = same(account.path(), &["-n", &namespace]);
    assert_eq!(verdicts(&list, "backend-minimum-ready", &namespace), ["Violated"]);
    // What nodes do with the connection rests on what this account may not read.
    assert_eq!(verdicts(&list, "path-idle-budget", &namespace), ["Unknown"]);
    let elsewhere: Vec<_> = list["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["subject"]["namespace"] != *namespace)
        .collect();
    assert_eq!(elsewhere, Vec::<&Value>::new());
    let user = user_of(&namespace);
    let told = |source: &str, group: &str| {
        format!(
            "missing right: list {source} ({source}{group} is forbidden: User \"{user}\" cannot list resource \"{source}\" in API group \"{}\" at the cluster scope); read in namespace {namespace} alone",
            group.trim_start_matches('.')
        )
    };
    for (source, group) in [
        ("services", ""),
        ("endpointslices", ".discovery.k8s.io"),
        ("traffichealthpolicies", ".evenkeel.dev"),
    ] {
        let reason = refused(&list).into_iter().find(|one| one.0 == source).unwrap().1;
        assert_eq!(reason, told(source, group));
    }
    let sources: Vec<_> = refused(&list).iter().map(|one| one.0).collect();
    for source in [
        "nodes",
        "daemonsets",
        "configmaps",
        "pods",
        "clustertraffichealthpolicies",
    ] {
        assert!(sources.contains(&source), "{source} is not in {sources:?}");
    }

    // Without the namespace nothing is read of it, and the way to it is told.
    let list = same(account.path(), &[]);
    assert_eq!(
        verdicts(&list, "backend-minimum-ready", &namespace),
        Vec::<&str>::new()
    );
    let services = refused(&list)
        .into_iter()
        .find(|one| one.0 == "services")
        .unwrap()
        .1;
    assert!(
        services.ends_with("; with -n NAME it is read in that namespace alone"),
        "{services}"
    );
}

#[tokio::test]
async fn client_pods_are_known_although_those_of_the_system_are_refused() {
    let plane = plane().await;
    let namespace = plane.shop().await.unwrap();
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "worker", "namespace": namespace, "labels": {"app": "worker"}},
        "spec": {"containers": [{"name": "worker", "image": "worker:1"}],
            "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "300"}]}}});
    plane.apply_yaml(&pod.to_string()).await.unwrap();
    let policy = example_in("demo/policy.yaml", &namespace).unwrap();
    let keepalive = "tcpKeepalive: {state: Enabled}\n          podSelector: {matchLabels: {app: worker}}";
    plane
        .apply_yaml(&policy.replacen("tcpKeepalive: {state: Disabled}", keepalive, 1))
        .await
        .unwrap();
    let account = plane.reader(&namespace, &["pods"]).await.unwrap();
    let list = same(account.path(), &["-n", &namespace]);
    assert_eq!(
        verdicts(&list, "path-idle-budget", &namespace),
        ["AtRisk"],
        "{list:#}"
    );

    let role = |kind: &str, rest: Value| {
        let mut object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": "pods", "namespace": namespace}});
        object
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        object.to_string()
    };
    let rules = json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]});
    let binding = json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pods"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}]});
    for text in [role("Role", rules), role("RoleBinding", binding)] {
        plane.apply_yaml(&text).await.unwrap();
    }
    let list = same(account.path(), &["-n", &namespace]);
    assert_eq!(
        verdicts(&list, "path-idle-budget", &namespace),
        Vec::<&str>::new(),
        "{list:#}"
    );
    let pods = refused(&list).into_iter().find(|one| one.0 == "pods").unwrap().1;
    assert!(
        pods.ends_with(&format!("; read in namespace {namespace} alone")),
        "{pods}"
    );
}
