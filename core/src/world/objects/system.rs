//! What a cluster is run by, as kubeadm sets it up.

use serde_json::{Value, json};

/// The ConfigMap of kube-proxy; no time when `written` is empty.
pub(crate) fn proxy_config(settings: &str, written: &str) -> Value {
    let managed = if written.is_empty() {
        json!([])
    } else {
        json!([{"manager": "kubeadm", "time": written}])
    };
    let text =
        format!("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n{settings}");
    json!({
        "metadata": {"name": "kube-proxy", "namespace": "kube-system", "managedFields": managed},
        "data": {"config.conf": text},
    })
}

/// The DaemonSet of kube-proxy.
pub(crate) fn proxy() -> Value {
    json!({
        "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "spec": {
            "selector": {"matchLabels": {"k8s-app": "kube-proxy"}},
            "template": {"metadata": {"labels": {"k8s-app": "kube-proxy"}}, "spec": proxy_spec("")},
        },
    })
}

fn proxy_spec(node: &str) -> Value {
    json!({
        "nodeName": if node.is_empty() { Value::Null } else { json!(node) },
        "hostNetwork": true,
        "containers": [{
            "name": "kube-proxy", "image": "registry.k8s.io/kube-proxy:v1.33.1",
            "command": [
                "/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf",
                "--hostname-override=$(NODE_NAME)",
            ],
            "volumeMounts": [{"name": "kube-proxy", "mountPath": "/var/lib/kube-proxy"}],
        }],
        "volumes": [{"name": "kube-proxy", "configMap": {"name": "kube-proxy"}}],
    })
}

/// A Pod of kube-proxy; no start when `started` is empty.
pub(crate) fn proxy_pod(node: &str, started: &str) -> Value {
    json!({
        "metadata": {
            "name": format!("kube-proxy-{node}"), "namespace": "kube-system", "labels": {"k8s-app": "kube-proxy"},
            "ownerReferences": [{"kind": "DaemonSet", "name": "kube-proxy", "controller": true}],
        },
        "spec": proxy_spec(node),
        "status": {
            "phase": "Running", "startTime": if started.is_empty() { Value::Null } else { json!(started) },
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// The Deployment of CoreDNS.
pub(crate) fn dns(replicas: u32, ready: u32) -> Value {
    json!({
        "metadata": {"name": "coredns", "namespace": "kube-system"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
            "template": {"metadata": {"labels": {"k8s-app": "kube-dns"}}, "spec": {"containers": []}},
        },
        "status": {"observedGeneration": 1, "readyReplicas": ready},
    })
}

/// A ready Pod of CoreDNS.
pub(crate) fn dns_pod(name: &str, node: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"nodeName": node, "containers": [{"name": "coredns", "image": "coredns:v1.12.0"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// A static Pod of kube-controller-manager.
pub(crate) fn manager(version: &str, flags: &[&str]) -> Value {
    let mut command = vec!["kube-controller-manager"];
    command.extend(flags);
    json!({
        "metadata": {"name": "kube-controller-manager-node-0", "namespace": "kube-system"},
        "spec": {"nodeName": "node-0", "containers": [{
            "name": "kube-controller-manager", "command": command,
            "image": format!("registry.k8s.io/kube-controller-manager:{version}"),
        }]},
        "status": {"phase": "Running"},
    })
}

/// A static kube-proxy Pod on a node, in this mode by flag.
pub(crate) fn static_proxy(name: &str, on: &str, mode: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "kube-system", "ownerReferences": [
            {"kind": "Node", "name": on, "controller": true},
        ]},
        "spec": {"nodeName": on, "containers": [{
            "name": "kube-proxy", "image": "kube-proxy:v1.33.1",
            "command": ["kube-proxy", format!("--proxy-mode={mode}"), format!("--hostname-override={on}")],
        }]},
        "status": {"phase": "Running"},
    })
}
