//! The chart: it gives the objects that the manifests give, refuses values that mean nothing, and comes and goes without a
//! trace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use evenkeel_e2e::binaries::{Binaries, Program};
use evenkeel_e2e::cluster::{NAMESPACE, WITHIN, until};
use evenkeel_e2e::operator::Operator;
use evenkeel_e2e::repository::root;
use evenkeel_e2e::{ControlPlane, Options, kubernetes_version, under_test};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::{Value, json};

/// Each component of the manifests, and the values that stand for it.
const COMPONENTS: [(&str, &str); 5] = [
    ("instance-metrics", "instanceMetrics.enabled=true"),
    ("policy-warnings", "policyWarnings.enabled=true"),
    ("prometheus", "monitoring.enabled=true"),
    ("public-api-server", "networkPolicy.publicApiServer=true"),
    ("remedy-cordon", "remedyCordon.enabled=true"),
];

/// Labels that helm's own tools expect, and the manifests do not have.
const OF_HELM: [&str; 3] = [
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];

/// Kind, namespace and name of an object.
type Id = [String; 3];

/// Runs helm on nothing but what is given, with folders of its own.
fn helm(kubeconfig: Option<&Path>, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let programs = Binaries::find_or_build(&[Program::Helm]).unwrap();
    let mut command = Command::new(programs.path(Program::Helm).unwrap());
    command
        .args(arguments)
        .env("HOME", home.path())
        .env_remove("KUBECONFIG");
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    command.output().unwrap()
}

/// What it prints, where it has to succeed.
fn helm_ok(kubeconfig: Option<&Path>, arguments: &[&str]) -> String {
    let output = helm(kubeconfig, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn chart() -> String {
    root().join("manifests/chart").display().to_string()
}

/// What the chart gives with these values.
fn rendered(values: &[&str]) -> BTreeMap<Id, Value> {
    let (chart, version) = (chart(), kubernetes_version().unwrap());
    let mut arguments = vec!["template", "evenkeel", &chart, "--include-crds"];
    arguments.extend(["--namespace", NAMESPACE, "--kube-version", &version]);
    for value in values {
        arguments.extend(["--set", value]);
    }
    by_id(&helm_ok(None, &arguments))
}

/// What the manifests give with these components, by the kustomize inside kubectl.
fn built(components: &[&str]) -> BTreeMap<Id, Value> {
    let overlay = tempfile::tempdir().unwrap();
    let folder = overlay.path().canonicalize().unwrap();
    // Kustomize takes no absolute paths.
    let up = "../".repeat(folder.components().count() - 1);
    let manifests = root().canonicalize().unwrap().join("manifests");
    let manifests = format!("{up}{}", manifests.strip_prefix("/").unwrap().display());
    let components: Vec<_> = components
        .iter()
        .map(|name| format!("{manifests}/components/{name}"))
        .collect();
    let text = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [manifests],
        "components": components,
    });
    std::fs::write(folder.join("kustomization.yaml"), text.to_string()).unwrap();
    let text = kubectl(None, &["kustomize", &folder.display().to_string()]).unwrap();
    by_id(&text)
}

fn kubectl(kubeconfig: Option<&Path>, arguments: &[&str]) -> Result<String> {
    let programs = Binaries::find_or_build(&[Program::Kubectl])?;
    let mut command = Command::new(programs.path(Program::Kubectl)?);
    command.args(arguments).env_remove("KUBECONFIG");
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    let output = command.output().context("starting kubectl")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {arguments:?}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The objects of a text, without labels of helm.
fn by_id(text: &str) -> BTreeMap<Id, Value> {
    let options = serde_saphyr::options! { budget: None };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).unwrap();
    let mut objects = BTreeMap::new();
    for mut object in documents.into_iter().filter(|one| !one.is_null()) {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let id = [text("/kind"), text("/metadata/namespace"), text("/metadata/name")].map(str::to_owned);
        if let Some(labels) = object
            .pointer_mut("/metadata/labels")
            .and_then(Value::as_object_mut)
        {
            labels.retain(|name, _| !OF_HELM.contains(&name.as_str()));
        }
        // Helm installs definitions as they are, without templates; kustomize labels them as everything.
        if id[0] == "CustomResourceDefinition" {
            object["metadata"].as_object_mut().unwrap().remove("labels");
        }
        whole(&mut object);
        assert!(objects.insert(id.clone(), object).is_none(), "{id:?} twice");
    }
    objects
}

/// Writes whole numbers in one way: kustomize makes 1 of the 1.0 in definitions.
fn whole(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(whole),
        Value::Object(object) => object.values_mut().for_each(whole),
        Value::Number(number) => {
            let text = number.to_string();
            if let Some(short) = text
                .strip_suffix(".0")
                .and_then(|short| short.parse::<i64>().ok())
            {
                *number = short.into();
            }
        }
        _ => {}
    }
}

/// Compares object by object. Two differ on purpose: helm makes the namespace itself (`--create-namespace`), and the Lease
/// is a part of a release, so that it goes with it.
fn assert_same(components: &[&str], values: &[&str]) {
    let (mut chart, mut manifests) = (rendered(values), built(components));
    let lease = chart.remove(&["Lease", NAMESPACE, "evenkeel"].map(str::to_owned));
    assert!(lease.is_some_and(|lease| lease.get("spec").is_none()));
    assert!(
        manifests
            .remove(&["Namespace", "", NAMESPACE].map(str::to_owned))
            .is_some()
    );
    assert!(
        chart.keys().eq(manifests.keys()),
        "{components:?}: {:#?}",
        chart
            .keys()
            .collect::<BTreeSet<_>>()
            .symmetric_difference(&manifests.keys().collect())
    );
    for (id, object) in &chart {
        assert!(
            *object == manifests[id],
            "{components:?}: {id:?} is\n{object:#}\nin the chart, and in the manifests\n{:#}",
            manifests[id]
        );
    }
}

#[test]
fn defaults_give_what_the_manifests_give() {
    assert_same(&[], &[]);
}

#[test]
fn every_component_has_its_values() {
    for (component, values) in COMPONENTS {
        assert_same(&[component], &[values]);
    }
    let (components, values): (Vec<_>, Vec<_>) = COMPONENTS.into_iter().unzip();
    assert_same(&components, &values);
    let folders = std::fs::read_dir(root().join("manifests/components")).unwrap();
    let folders: BTreeSet<_> = folders
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(folders.iter().map(String::as_str).eq(components));
}

/// A part that is turned off leaves nothing of itself, and nothing else changes.
#[test]
fn what_is_turned_off_is_gone() {
    let all = rendered(&[]);
    for (value, kinds) in [
        ("rbac.people=false", &["ClusterRole"] as &[_]),
        (
            "rbac.create=false",
            &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
        ),
        ("rbac.dataPlaneNamespaces=null", &["Role", "RoleBinding"]),
        ("serviceAccount.create=false", &["ServiceAccount"]),
        ("priorityClass.create=false", &["PriorityClass"]),
        ("podDisruptionBudget.enabled=false", &["PodDisruptionBudget"]),
        ("networkPolicy.enabled=false", &["NetworkPolicy"]),
    ] {
        let left = rendered(&[value]);
        let gone: BTreeSet<_> = all
            .keys()
            .filter(|id| !left.contains_key(*id))
            .map(|id| &*id[0])
            .collect();
        assert_eq!(gone, kinds.iter().copied().collect(), "{value}");
        assert!(left.iter().all(|(id, object)| all[id] == *object), "{value}");
    }
}

#[test]
fn values_arrive() {
    let objects = rendered(&[
        "image.repository=registry.example:5000/team/evenkeel",
        "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "serviceAccount.name=watcher",
        "rbac.dataPlaneNamespaces={kube-system,cilium}",
        "alertmanager.service=monitoring/alertmanager-operated:web",
        "log=info\\,evenkeel::watch=debug",
        "logFormat=text",
        "monitoring.enabled=true",
        "monitoring.labels.release=prometheus",
        "monitoring.docsBaseUrl=https://git.example.com/evenkeel/",
        "podLabels.team=platform",
        "priorityClass.create=false",
        "priorityClass.name=",
    ]);
    let of = |kind: &str, namespace: &str| &objects[&[kind, namespace, "evenkeel"].map(str::to_owned)];
    let pod = &of("Deployment", NAMESPACE)["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    let image = container["image"].as_str().unwrap();
    assert!(
        image.starts_with("registry.example:5000/team/evenkeel@sha256:000"),
        "{image}"
    );
    assert_eq!(
        container["args"],
        json!([
            "run",
            "--debug-listen=127.0.0.1:8081",
            "--log=info,evenkeel::watch=debug",
            "--log-format=text",
            "--alertmanager=monitoring/alertmanager-operated:web",
        ])
    );
    assert_eq!(pod["metadata"]["labels"]["team"], "platform");
    assert!(pod["spec"].get("priorityClassName").is_none());
    assert_eq!(pod["spec"]["serviceAccountName"], "watcher");
    for (kind, namespace) in [
        ("ClusterRoleBinding", ""),
        ("RoleBinding", NAMESPACE),
        ("RoleBinding", "cilium"),
    ] {
        let subjects = &of(kind, namespace)["subjects"];
        assert_eq!(
            *subjects,
            json!([{"kind": "ServiceAccount", "name": "watcher", "namespace": NAMESPACE}])
        );
    }
    let rules = of("PrometheusRule", NAMESPACE);
    assert_eq!(rules["metadata"]["labels"]["release"], "prometheus");
    let url = &rules["spec"]["groups"][0]["rules"][0]["annotations"]["runbook_url"];
    assert_eq!(
        url,
        "https://git.example.com/evenkeel/docs/runbooks/EvenkeelWatchdog.md"
    );
}

/// What a Prometheus wants to see comes from a Secret that is mounted, and the network lets out to its Pods.
#[test]
fn a_prometheus_is_reached() {
    let objects = rendered(&[
        "prometheus.service=monitoring/prometheus-operated:web",
        "prometheus.podPort=9095",
        "prometheus.pathPrefix=/select/0/prometheus",
        "prometheus.tenant=platform",
        "prometheus.secret=prometheus-client",
        "prometheus.caKey=ca.crt",
        "prometheus.tokenKey=token",
        "instanceMetrics.enabled=true",
    ]);
    let of = |kind: &str| &objects[&[kind, NAMESPACE, "evenkeel"].map(str::to_owned)];
    let pod = &of("Deployment")["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["args"],
        json!([
            "run",
            "--debug-listen=127.0.0.1:8081",
            "--instance-metrics",
            "--prometheus=monitoring/prometheus-operated:web",
            "--prometheus-path-prefix=/select/0/prometheus",
            "--prometheus-tenant=platform",
            "--prometheus-ca-file=/etc/evenkeel/prometheus/ca.crt",
            "--prometheus-token-file=/etc/evenkeel/prometheus/token",
        ])
    );
    assert_eq!(
        pod["volumes"],
        json!([{"name": "prometheus", "secret": {"secretName": "prometheus-client"}}])
    );
    let mount = json!([{"name": "prometheus", "mountPath": "/etc/evenkeel/prometheus", "readOnly": true}]);
    assert_eq!(pod["containers"][0]["volumeMounts"], mount);
    let egress = of("NetworkPolicy")["spec"]["egress"].as_array().unwrap();
    assert!(
        egress
            .iter()
            .any(|rule| rule["ports"] == json!([{"port": 9095, "protocol": "TCP"}])),
        "{egress:?}"
    );
}

#[test]
fn a_value_that_means_nothing_is_refused() {
    let version = kubernetes_version().unwrap();
    for (value, named) in [
        ("replicas=two", "/replicas"),
        ("replicas=50", "/replicas"),
        ("monitring.enabled=true", "monitring"),
        ("image.repository=registry/evenkeel:1", "/image/repository"),
        ("image.digest=latest", "/image/digest"),
        ("alertmanager.service=alertmanager", "/alertmanager/service"),
        ("alertmanager.tokenFile=/token", "/alertmanager"),
        ("prometheus.tenant=platform", "/prometheus"),
        ("prometheus.secret=client", "/prometheus"),
        ("prometheus.podPort=0", "/prometheus/podPort"),
        ("priorityClass.name=", "/priorityClass/name"),
        (
            "rbac.dataPlaneNamespaces={Kube System}",
            "/rbac/dataPlaneNamespaces",
        ),
        ("extraArgs={listen}", "/extraArgs"),
    ] {
        let arguments = [
            "template",
            "e",
            &chart(),
            "--kube-version",
            &version,
            "--set",
            value,
        ];
        let output = helm(None, &arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains(named),
            "{value}: {errors}"
        );
    }
}

/// What the operator may do is said as the values have it.
fn assert_notes(kubeconfig: &Path) {
    let cases = [
        ("replicas=2", "it changes nothing but statuses"),
        (
            "extraArgs={--remedies}",
            "has no effect without remedyCordon.enabled",
        ),
        (
            "extraArgs={--remedies},remedyCordon.enabled=true",
            "`evenkeel stop --operator-namespace other`",
        ),
    ];
    for (values, expected) in cases {
        let arguments = [
            "install",
            "e",
            &chart(),
            "-n",
            "other",
            "--dry-run=client",
            "--set",
            values,
        ];
        let said = helm_ok(Some(kubeconfig), &arguments);
        let notes = said.split("NOTES:").nth(1).unwrap_or_default();
        assert!(notes.contains(expected), "{values}: {notes}");
        assert!(
            notes.contains("evenkeel status --operator-namespace other\n"),
            "{notes}"
        );
    }
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    let version = kubernetes_version().unwrap();
    let said = helm_ok(None, &["lint", &chart(), "--strict", "--kube-version", &version]);
    assert!(said.contains("0 chart(s) failed"), "{said}");
}

/// Everything that carries our label, of all kinds that can be listed, but for definitions.
fn ours(kubeconfig: &Path) -> Result<Vec<String>> {
    let kinds = kubectl(
        Some(kubeconfig),
        &["api-resources", "--verbs=list,delete", "-o", "name"],
    )?;
    let kinds: Vec<_> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let label = "app.kubernetes.io/name=evenkeel";
    let found = kubectl(
        Some(kubeconfig),
        &["get", &kinds.join(","), "-A", "-l", label, "-o", "name"],
    )?;
    Ok(found.lines().map(str::to_owned).collect())
}

/// On a real API server: installed, the operator works with the rights and the Lease of the release; upgraded, the Lease
/// keeps its holder; uninstalled, nothing is left but the definitions and the policies.
#[tokio::test]
async fn a_release_comes_and_goes() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let kubeconfig = plane.kubeconfig_path();
    assert_notes(kubeconfig);
    let chart = chart();
    let install = ["install", "evenkeel", &chart, "--namespace", NAMESPACE];
    let install = [
        &install,
        &["--create-namespace", "--set", "policyWarnings.enabled=true"] as &[_],
    ];
    helm_ok(Some(kubeconfig), &install.concat());
    let policy = std::fs::read_to_string(root().join("examples/demo/policy.yaml")).unwrap();
    plane
        .apply_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")
        .await
        .unwrap();
    plane.apply_yaml(&policy).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let binary = under_test::binary().unwrap();
    let operator = Operator::start(&plane, binary, "first", &[], folder.path())
        .await
        .unwrap();
    operator.until_ready().await.unwrap();
    let leases: Api<Lease> = Api::namespaced(plane.client().await.unwrap(), NAMESPACE);
    let holder = async || {
        let spec = leases.get("evenkeel").await?.spec;
        spec.and_then(|spec| spec.holder_identity)
            .filter(|holder| holder.starts_with("first_"))
            .context("no operator holds the Lease of the release")
    };
    until("it leads", WITHIN, async || holder().await.map(drop))
        .await
        .unwrap();
    let upgrade = ["upgrade", "evenkeel", &chart, "--namespace", NAMESPACE];
    helm_ok(
        Some(kubeconfig),
        &[&upgrade, &["--set", "replicas=1"] as &[_]].concat(),
    );
    holder().await.unwrap();

    // While the operator runs, so that it would make its Lease again if it could.
    helm_ok(
        Some(kubeconfig),
        &["uninstall", "evenkeel", "--namespace", NAMESPACE],
    );
    until("nothing of ours is left", WITHIN, async || {
        let left = ours(kubeconfig)?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
    .unwrap();
    drop(operator);
    let left = kubectl(
        Some(kubeconfig),
        &["get", "leases,secrets", "-n", NAMESPACE, "-o", "name"],
    );
    assert_eq!(left.unwrap(), "");
    let kept = |kind: &str| kubectl(Some(kubeconfig), &["get", kind, "-A", "-o", "name"]).unwrap();
    assert_eq!(kept("crd").lines().count(), 2, "the definitions stay");
    assert_eq!(kept("thp").lines().count(), 1, "the policy stays");
    helm_ok(Some(kubeconfig), &install.concat());
}
