//! Objects that look like the platform's.

use evenkeel_e2e::under_test::evenkeel_json;
use serde_json::{Value, json};

use super::attack::Attack;
use super::team::{pod, policy, service};

/// A container of each kind that data-plane facts are read from: its name, its image, its arguments.
const CONTAINERS: [(&str, &str, &[&str]); 10] = [
    (
        "kube-proxy",
        "registry.k8s.io/kube-proxy:v1.31.2",
        &[
            "/usr/local/bin/kube-proxy",
            "--proxy-mode=iptables",
            "--ipvs-tcp-timeout=2h",
        ],
    ),
    (
        "cilium-agent",
        "quay.io/cilium/cilium:v1.18.2",
        &[
            "cilium-agent",
            "--kube-proxy-replacement=true",
            "--bpf-ct-timeout-service-tcp=10h",
        ],
    ),
    ("calico-node", "docker.io/calico/node:v3.30.0", &[]),
    (
        "antrea-agent",
        "antrea/antrea-agent-ubuntu:v2.4.0",
        &["--config=/etc/antrea/antrea-agent.conf"],
    ),
    (
        "kube-router",
        "docker.io/cloudnativelabs/kube-router:v2.6.0",
        &["--run-service-proxy=true"],
    ),
    ("ovnkube-controller", "quay.io/openshift/ovn-kubernetes:1", &[]),
    ("terway", "registry.example/acs/terway:v1.14.0", &[]),
    (
        "kube-controller-manager",
        "registry.k8s.io/kube-controller-manager:v1.31.2",
        &[
            "kube-controller-manager",
            "--node-monitor-grace-period=5s",
            "--node-eviction-rate=100",
        ],
    ),
    (
        "kube-apiserver",
        "registry.k8s.io/kube-apiserver:v1.31.2",
        &["kube-apiserver"],
    ),
    ("coredns", "registry.k8s.io/coredns/coredns:v1.12.0", &[]),
];

/// Labels by which the platform's Pods are found.
fn labels(container: &str) -> Value {
    let app = match container {
        "cilium-agent" => "cilium",
        "coredns" => "kube-dns",
        other => other,
    };
    json!({"k8s-app": app, "component": container, "tier": "control-plane"})
}

fn dress(spec: &mut Value, (name, image, command): (&str, &str, &[&str])) {
    let folder = "/var/lib/kube-proxy";
    spec["hostNetwork"] = json!(true);
    spec["tolerations"] = json!([{"operator": "Exists"}]);
    spec["containers"] = json!([{"name": name, "image": image, "command": command,
        "env": [{"name": "CILIUM_BPF_CT_TIMEOUT_REGULAR_TCP", "value": "10h"}],
        "volumeMounts": [{"name": "config", "mountPath": folder}]}]);
    spec["volumes"] = json!([{"name": "config", "configMap": {"name": "kube-proxy"}}]);
}

/// A Pod on a node that claims to be the node's own, as static Pods do, or else its DaemonSet's.
fn claiming(is_static: bool, container: (&str, &str, &[&str]), node: (&str, &Value)) -> Value {
    let claim = if is_static { "static" } else { "owned" };
    let mut pod = pod(&format!("{}-{claim}-{}", container.0, node.0), container.0);
    dress(&mut pod["spec"], container);
    pod["metadata"]["labels"] = labels(container.0);
    pod["spec"]["nodeName"] = json!(node.0);
    let owner = |version: &str, kind: &str, name: &str, uid: &Value| json!([{"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true}]);
    if is_static {
        let marks =
            ["mirror", "hash", "source"].map(|one| (format!("kubernetes.io/config.{one}"), json!("file")));
        pod["metadata"]["annotations"] = Value::Object(marks.into_iter().collect());
        pod["metadata"]["ownerReferences"] = owner("v1", "Node", node.0, node.1);
        // The API server takes no static Pod with an account.
        pod["spec"].as_object_mut().unwrap().remove("serviceAccountName");
    } else {
        pod["metadata"]["ownerReferences"] = owner("apps/v1", "DaemonSet", container.0, node.1);
    }
    pod
}

fn daemon_set(container: (&str, &str, &[&str])) -> Value {
    let labels = labels(container.0);
    let mut set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": container.0, "labels": labels},
        "spec": {"selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {}}}});
    dress(&mut set["spec"]["template"]["spec"], container);
    set
}

/// Configuration by the names that the platform's has.
fn config_maps() -> Vec<Value> {
    let proxy = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: iptables\n\
                 ipvs: {tcpTimeout: 10h}\n";
    let cilium = json!({"kube-proxy-replacement": "true", "bpf-ct-timeout-service-tcp": "10h"});
    let map = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    vec![
        map("kube-proxy", json!({"config.conf": proxy})),
        map("cilium-config", cilium),
        map("eni-config", json!({"eni_conf": "{}"})),
        map("coredns", json!({"Corefile": ". {}"})),
        map("evenkeel-stop", json!({"stop": "true"})),
        map("evenkeel-callers", json!({"callers": "everybody"})),
    ]
}

/// Policies that name the look-alikes as clients, so that the operator reads these Pods.
fn policies() -> Vec<Value> {
    let clients: Vec<_> = CONTAINERS
        .iter()
        .map(|one| {
            json!({"name": one.0, "podSelector": {"matchLabels": {"component": one.0}},
            "tcpKeepalive": {"state": "Enabled"}})
        })
        .collect();
    let connection =
        json!({"name": "all", "protocol": "TCP", "longestSilenceSeconds": 60, "clients": clients});
    let stolen = json!({"services": {"names": ["reports", "kube-dns", "kubernetes"]}, "connections": [connection.clone()]});
    vec![
        policy("clients", &json!({"connections": [connection]})),
        policy("reports", &stolen),
    ]
}

async fn node_uid(attack: &Attack, name: &str) -> Value {
    use k8s_openapi::api::core::v1::Node;
    let nodes: kube::Api<Node> = kube::Api::all(attack.plane().client().await.unwrap());
    json!(nodes.get(name).await.unwrap().metadata.uid)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_the_platform_is_not_believed() {
    let attack = Attack::begin("impersonation").await;
    let team = &attack.team;
    for object in [&config_maps()[..], &policies()].concat() {
        team.make(&object).await.unwrap();
    }
    for name in ["reports", "kube-dns", "kubernetes", "metrics-server"] {
        let mut service = service(name, 1);
        service["metadata"]["labels"] =
            json!({"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true"});
        service["spec"]["selector"] = json!({"k8s-app": "kube-dns"});
        team.make(&service).await.unwrap();
    }
    for container in CONTAINERS {
        team.make(&daemon_set(container)).await.unwrap();
        for node in ["node-a", "node-b"] {
            let uid = node_uid(&attack, node).await;
            for is_static in [true, false] {
                let pod = claiming(is_static, container, (node, &uid));
                team.make(&pod).await.unwrap();
            }
        }
    }
    attack.until_seen().await;
    // Seen and named, not merely overlooked.
    let kubeconfig = attack.plane().kubeconfig_path().to_str().unwrap();
    let (shown, _) = evenkeel_json(&["dataplane", "-o", "json", "--kubeconfig", kubeconfig]).unwrap();
    let shown = &shown["lookAlikes"];
    // A DaemonSet of each kind, and four Pods of it.
    assert_eq!(shown["count"], 5 * CONTAINERS.len(), "{shown}");
    assert!(shown["first"].to_string().contains(team.namespace()), "{shown}");
    attack.end().await;
}

/// The twin: where the platform writes the same, others do see it. Without it the test above could not fail.
#[tokio::test(flavor = "multi_thread")]
async fn the_platforms_own_word_does_count() {
    let attack = Attack::begin("platform").await;
    let mut set = daemon_set(CONTAINERS[1]);
    set["metadata"]["namespace"] = json!("kube-system");
    let made = attack.plane().apply_yaml(&set.to_string()).await.unwrap();
    attack.until_seen().await;
    let start = std::time::Instant::now();
    while !attack.changed().await {
        assert!(
            start.elapsed() < super::bed::WITHIN,
            "the platform's agent is not seen"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    attack.plane().remove(&made).await.unwrap();
}
