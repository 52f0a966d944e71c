//! Whole clusters, as their makers set them up.

use serde_json::{Value, json};

use super::World;
use super::objects::{
    dns, dns_pod, manager, node, node_ready, proxy, proxy_config, proxy_pod, service, slice_in,
};
use crate::know::Source;

/// A cluster as kubeadm leaves it: some nodes, kube-proxy from a ConfigMap, CoreDNS on the first node, one control
/// plane.
pub(crate) fn kubeadm(nodes: usize) -> World {
    set_up(World::complete(), nodes)
}

/// The same in a world that may be watched.
pub(crate) fn set_up(world: World, nodes: usize) -> World {
    let mut cluster = world
        .with(
            Source::ConfigMaps,
            proxy_config("mode: \"\"\n", "2026-01-01T00:00:00Z"),
        )
        .with(Source::DaemonSets, proxy())
        .with(Source::Deployments, dns(2, 2))
        .with(
            Source::EndpointSlices,
            slice_in("default", "kubernetes", &[("192.0.2.1", "", true)]),
        )
        .with(Source::Pods, manager("v1.33.1", &[]));
    for at in 0..nodes {
        let name = format!("node-{at}");
        cluster = cluster
            .with(Source::Nodes, node_ready(&name, "", "True"))
            .with(Source::Pods, proxy_pod(&name, "2026-01-01T00:01:00Z"));
    }
    for at in 0..2 {
        cluster = cluster.with(Source::Pods, dns_pod(&format!("coredns-{at}"), "node-0"));
    }
    cluster
}

/// Node `a` and Service `shop/web` in a cluster whose connections are tracked by Cilium of a version, with more settings in its
/// ConfigMap.
pub(crate) fn cilium(version: &str, settings: &Value) -> World {
    let replacement = if version < "v1.14" { "disabled" } else { "false" };
    let mut data = json!({"bpf-lb-sock": "false", "kube-proxy-replacement": replacement});
    for (key, value) in settings.as_object().unwrap() {
        data[key] = value.clone();
    }
    let labels = json!({"k8s-app": "cilium"});
    let spec = json!({"nodeName": "a", "hostNetwork": true, "containers": [{
        "name": "cilium-agent", "image": format!("quay.io/cilium/cilium:{version}"),
        "command": ["cilium-agent"], "args": ["--config-dir=/tmp/cilium/config-map"],
    }]});
    World::complete()
        .with(Source::Nodes, node("a", ""))
        .with(Source::Services, service("web", json!({})))
        .with(
            Source::ConfigMaps,
            json!({
                "metadata": {"name": "cilium-config", "namespace": "kube-system"}, "data": data,
            }),
        )
        .with(
            Source::DaemonSets,
            json!({
                "metadata": {"name": "cilium", "namespace": "kube-system", "labels": labels},
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": spec},
                },
            }),
        )
        .with(
            Source::Pods,
            json!({
                "metadata": {"name": "cilium-a", "namespace": "kube-system", "labels": labels,
                    "ownerReferences": [{"kind": "DaemonSet", "name": "cilium", "controller": true}]},
                "spec": spec, "status": {"phase": "Running"},
            }),
        )
}
