//! Objects of teams, Nodes and Events, as the API server shows them.

use serde_json::{Value, json};

/// Service `shop/NAME` with one TCP port 80 and this much more in its spec.
pub(crate) fn service(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {
            "clusterIP": "10.96.0.10", "selector": {"app": name},
            "ports": [{"name": "main", "port": 80, "protocol": "TCP"}],
        },
    });
    if let (Some(into), Value::Object(more)) = (object["spec"].as_object_mut(), spec) {
        into.extend(more);
    }
    object
}

/// One slice of `shop/SERVICE`: an IPv4 endpoint for each (node, zone); an empty one is left out.
pub(crate) fn slice(service: &str, places: &[(&str, &str)]) -> Value {
    let endpoints: Vec<_> = places
        .iter()
        .enumerate()
        .map(|(at, (node, zone))| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            json!({
                "addresses": [format!("10.0.{}.{}", at / 250, at % 250 + 1)],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": some(node), "zone": some(zone),
            })
        })
        .collect();
    slice_of(service, "a", "IPv4", &Value::Array(endpoints))
}

/// One slice of `shop/SERVICE` with endpoints as given.
pub(crate) fn slice_of(service: &str, suffix: &str, family: &str, endpoints: &Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {
            "name": format!("{service}-{suffix}"), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service},
        },
        "endpoints": endpoints,
        "ports": [{"name": "main", "port": 8080, "protocol": "TCP"}],
    })
}

/// A slice of a Service of any namespace with one endpoint for each (address, node, ready).
pub(crate) fn slice_in(namespace: &str, service: &str, endpoints: &[(&str, &str, bool)]) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(address, node, ready)| {
            let node = if node.is_empty() { Value::Null } else { json!(node) };
            json!({"addresses": [address], "nodeName": node, "conditions": {"ready": ready}})
        })
        .collect();
    json!({
        "metadata": {
            "name": format!("{service}-1"), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 443}],
    })
}

/// One of several slices of `shop/SERVICE`: one endpoint for each (last part of its address, node, ready).
pub(crate) fn slice_part(service: &str, number: u32, endpoints: &[(u32, &str, bool)]) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(at, node, ready)| {
            json!({
                "addresses": [format!("10.{}.{}.{}", at >> 16, (at >> 8) & 255, at & 255)], "nodeName": node,
                "conditions": {"ready": ready, "serving": ready, "terminating": false},
            })
        })
        .collect();
    json!({
        "metadata": {
            "name": format!("{service}-{number}"), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80}],
    })
}

/// A ready Linux node in a zone; an empty zone is left out.
pub(crate) fn node(name: &str, zone: &str) -> Value {
    node_ready(name, zone, "True")
}

/// The same with a status of its condition `Ready`: `True`, `False` or `Unknown`.
pub(crate) fn node_ready(name: &str, zone: &str, ready: &str) -> Value {
    let mut labels = json!({"kubernetes.io/os": "linux"});
    if !zone.is_empty() {
        labels["topology.kubernetes.io/zone"] = json!(zone);
    }
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "nodeInfo": {"operatingSystem": "linux", "kernelVersion": "6.1.0", "kubeletVersion": "v1.33.1"},
        },
    })
}

/// Pod `shop/NAME` of an app, with sysctls.
pub(crate) fn pod(name: &str, app: &str, sysctls: &[(&str, &str)]) -> Value {
    let sysctls: Vec<_> = sysctls
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app}},
        "spec": {"nodeName": "n1", "securityContext": {"sysctls": sysctls}},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// One of several Pods of a workload of namespace `shop`, as a `DaemonSet` names them.
fn name_of(workload: &str, number: u32) -> String {
    let letters: Vec<char> = "bcdfghjklm".chars().collect();
    let digits = format!("{number:05}");
    let end: String = digits
        .bytes()
        .filter_map(|digit| letters.get(usize::from(digit - b'0')))
        .collect();
    format!("{workload}-{end}")
}

/// The Event of an eviction, as a kubelet writes it.
pub(crate) fn evicted(number: u32, workload: &str) -> Value {
    json!({
        "metadata": {"name": format!("{workload}.{number}"), "namespace": "shop", "uid": format!("e{number}")},
        "reason": "Evicted", "count": 1, "source": {"component": "kubelet", "host": "n1"},
        "involvedObject": {
            "kind": "Pod", "namespace": "shop", "name": name_of(workload, number),
            "uid": format!("{workload}-{number}"),
        },
    })
}

/// The same Pod, as the kubelet of a node leaves it.
pub(crate) fn evicted_pod(number: u32, workload: &str, node: &str) -> Value {
    json!({
        "metadata": {
            "name": name_of(workload, number), "namespace": "shop", "uid": format!("{workload}-{number}"),
        },
        "spec": {"nodeName": node},
        "status": {
            "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. ",
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}],
        },
    })
}

/// The Event of a preemption of a Pod of one workload by one of another, as the scheduler writes it.
pub(crate) fn preempted(number: u32, victim: &str, winner: &str) -> Value {
    let related = if winner.is_empty() {
        Value::Null
    } else {
        json!({"kind": "Pod", "namespace": "shop", "name": format!("{winner}-7d9f8c6b5-bcdfg")})
    };
    json!({
        "metadata": {"name": format!("{victim}.{number}"), "namespace": "shop", "uid": format!("e{number}")},
        "reason": "Preempted", "reportingController": "default-scheduler",
        "regarding": {
            "kind": "Pod", "namespace": "shop", "name": name_of(victim, number), "uid": format!("{victim}-{number}"),
        },
        "related": related,
    })
}

/// The same Pod, as the scheduler leaves it before it deletes it.
pub(crate) fn preempted_pod(number: u32, victim: &str, priority: i32) -> Value {
    json!({
        "metadata": {"name": name_of(victim, number), "namespace": "shop", "uid": format!("{victim}-{number}")},
        "spec": {"nodeName": "n1", "priority": priority},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}],
        },
    })
}
