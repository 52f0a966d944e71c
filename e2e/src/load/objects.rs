//! The objects of a load, each a function of its index.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::Size;

pub(super) const SERVICES_PER_NAMESPACE: u32 = 200;

const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
const IMAGES: u32 = 25;

/// A collection's path, and an object for it.
type Object = (String, Value);

fn namespace_name(index: u32) -> String {
    format!("load-{index:03}")
}

fn node_name(index: u32) -> String {
    format!("node-{index:05}")
}

fn service_name(index: u32) -> String {
    format!("service-{index:05}")
}

fn zone(node: u32) -> &'static str {
    ZONES[node as usize % ZONES.len()]
}

/// The address `slot` of a node's pod network, which starts at 10.128.0.0.
fn pod_address(node: u32, slot: u32) -> String {
    format!("10.{}.{}.{}", 128 + (node >> 8), node & 255, slot + 2)
}

/// An endpoint of a Service, and where it is.
struct PlacedEndpoint {
    service: u32,
    node: u32,
    address: String,
    pod: String,
}

impl PlacedEndpoint {
    fn of(endpoint: u32, size: &Size) -> Self {
        let (service, member) = (
            endpoint / size.endpoints_per_service,
            endpoint % size.endpoints_per_service,
        );
        let node = endpoint % size.nodes;
        Self {
            service,
            node,
            address: pod_address(node, endpoint / size.nodes),
            pod: format!("{}-{member:04}", service_name(service)),
        }
    }

    fn namespace(&self) -> String {
        namespace_name(self.service / SERVICES_PER_NAMESPACE)
    }
}

pub(super) fn namespace(index: u32) -> Object {
    let object =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace_name(index)}});
    ("/api/v1/namespaces".into(), object)
}

pub(super) fn node(index: u32) -> Object {
    let name = node_name(index);
    let resources = json!({
        "cpu": "16", "memory": "65842420Ki", "ephemeral-storage": "203056560Ki", "pods": "250",
        "hugepages-1Gi": "0", "hugepages-2Mi": "0",
    });
    let network = format!("10.{}.{}.0/24", 128 + (index >> 8), index & 255);
    let object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
                "topology.kubernetes.io/region": "region-1", "topology.kubernetes.io/zone": zone(index),
                "node.kubernetes.io/instance-type": "large",
            },
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {"podCIDR": network, "podCIDRs": [network], "providerID": format!("bed://{}/{name}", zone(index))},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": format!("10.0.{}.{}", index >> 8, index & 255)},
                {"type": "Hostname", "address": name},
            ],
            "capacity": resources,
            "allocatable": resources,
            "conditions": node_conditions(),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "osImage": "Debian GNU/Linux 13 (trixie)",
                "kernelVersion": "6.12.0-cloud-amd64", "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": "v1.36.3", "kubeProxyVersion": "",
                "bootID": format!("00000000-0000-4000-8000-{index:012x}"),
                "machineID": format!("{index:032x}"), "systemUUID": format!("{index:032x}"),
            },
            "images": (0..IMAGES).map(|image| image_of(index, image)).collect::<Vec<_>>(),
        },
    });
    ("/api/v1/nodes".into(), object)
}

fn node_conditions() -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": format!("kubelet says {reason}"),
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    json!([
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        condition("Ready", "True", "KubeletReady"),
    ])
}

fn image_of(node: u32, image: u32) -> Value {
    let repository = format!(
        "registry.example/team-{}/application-{}",
        image % 7,
        (node + image) % 400
    );
    json!({
        "names": [
            format!("{repository}@sha256:{:064x}", u64::from(node) << 32 | u64::from(image)),
            format!("{repository}:v1.{image}.0"),
        ],
        "sizeBytes": 20_000_000 + image * 1_000_003,
    })
}

/// Asks for an address of its own from the test bed's range: having the server
/// look for a free one takes several times as long.
pub(super) fn service(index: u32) -> Object {
    let namespace = namespace_name(index / SERVICES_PER_NAMESPACE);
    let address = format!(
        "10.{}.{}.{}",
        100 + (index >> 16),
        (index >> 8) & 255,
        index & 255
    );
    let object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service_name(index), "labels": {"app.kubernetes.io/name": service_name(index)}},
        "spec": {"clusterIP": address, "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]},
    });
    (format!("/api/v1/namespaces/{namespace}/services"), object)
}

pub(super) fn slice(service: u32, size: &Size) -> Object {
    let first = service * size.endpoints_per_service;
    let namespace = namespace_name(service / SERVICES_PER_NAMESPACE);
    let endpoints: Vec<_> = (first..first + size.endpoints_per_service)
        .map(|endpoint| {
            let place = PlacedEndpoint::of(endpoint, size);
            json!({
                "addresses": [place.address],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": node_name(place.node),
                "zone": zone(place.node),
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": place.pod},
            })
        })
        .collect();
    let object = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-00000", service_name(service)),
            "labels": {
                "kubernetes.io/service-name": service_name(service),
                "endpointslice.kubernetes.io/managed-by": "evenkeel-e2e",
            },
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    });
    (
        format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"),
        object,
    )
}

pub(super) fn pod(endpoint: u32, size: &Size) -> Object {
    let place = PlacedEndpoint::of(endpoint, size);
    let namespace = place.namespace();
    let object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": place.pod, "labels": {"app.kubernetes.io/name": service_name(place.service)}},
        "spec": {
            "nodeName": node_name(place.node),
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "application", "image": "registry.example/application:v1",
                "ports": [{"name": "http", "containerPort": 8080}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            }],
        },
    });
    (format!("/api/v1/namespaces/{namespace}/pods"), object)
}

pub(super) fn pod_status(endpoint: u32, size: &Size) -> Value {
    let place = PlacedEndpoint::of(endpoint, size);
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now}));
    json!({"status": {
        "phase": "Running",
        "podIP": place.address,
        "podIPs": [{"ip": place.address}],
        "startTime": now,
        "conditions": conditions,
        "containerStatuses": [{
            "name": "application", "ready": true, "started": true, "restartCount": 0,
            "image": "registry.example/application:v1", "imageID": "", "state": {"running": {"startedAt": now}},
        }],
    }})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeSet;

    use k8s_openapi::api::core::v1::{Node, Pod, Service};
    use k8s_openapi::api::discovery::v1::EndpointSlice;

    use super::*;

    #[test]
    fn objects_are_of_their_kinds() {
        let size = Size::of_nodes(3);
        serde_json::from_value::<Node>(node(1).1).unwrap();
        serde_json::from_value::<Service>(service(1).1).unwrap();
        serde_json::from_value::<EndpointSlice>(slice(1, &size).1).unwrap();
        serde_json::from_value::<Pod>(pod(1, &size).1).unwrap();
    }

    #[test]
    fn no_two_endpoints_share_an_address_or_a_pod() {
        let size = Size::of_nodes(300);
        let places: Vec<_> = (0..size.endpoints())
            .map(|index| PlacedEndpoint::of(index, &size))
            .collect();
        assert_eq!(
            places
                .iter()
                .map(|place| &place.address)
                .collect::<BTreeSet<_>>()
                .len(),
            places.len()
        );
        assert_eq!(
            places
                .iter()
                .map(|place| &place.pod)
                .collect::<BTreeSet<_>>()
                .len(),
            places.len()
        );
    }
}
