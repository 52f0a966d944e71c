//! The objects of the world by their numbers. Nodes, Services and slices are written out as long as an API server shows
//! them: how long it takes to read them is measured.

use std::fmt::Write as _;

use evenkeel_core::policy::{
    Client, ClusterPolicy, Connection, ControlPlanePolicy, Policy, Protocol, Selector, Server, ServicePick,
};

use crate::objects::{self, NEVER};
use crate::{ENDPOINTS, NAMESPACES, NODES};

pub(crate) fn node(at: usize) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"node-{at}","labels":{{
        "kubernetes.io/os":"linux","kubernetes.io/arch":"amd64","kubernetes.io/hostname":"node-{at}",
        "node.kubernetes.io/instance-type":"m5.xlarge","topology.kubernetes.io/region":"r",
        "topology.kubernetes.io/zone":"r{}"}},"resourceVersion":"{at}"}},
        "spec":{{"providerID":"aws:///r/i-{at}"}},
        "status":{{"conditions":[{{"type":"MemoryPressure","status":"False"}},
        {{"type":"Ready","status":"True","lastHeartbeatTime":"2026-11-21T13:00:00Z"}}],
        "nodeInfo":{{"operatingSystem":"linux","kernelVersion":"6.6.1","kubeletVersion":"v1.33.1"}}}}}}"#,
        at % 3
    )
}

pub(crate) fn service(at: usize) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"service-{at}","namespace":"team-{}",
        "labels":{{"app.kubernetes.io/name":"app-{}","tier":"t{}"}},"resourceVersion":"{at}"}},
        "spec":{{"type":"ClusterIP","clusterIP":"10.96.{}.{}","selector":{{"app.kubernetes.io/name":"app-{at}"}},
        "ports":[{{"name":"http","port":80,"targetPort":8080,"protocol":"TCP"}}]}},"status":{{"loadBalancer":{{}}}}}}"#,
        at % NAMESPACES,
        at % 50,
        at / NAMESPACES % 4,
        at / 256,
        at % 256
    )
}

pub(crate) fn slice(at: usize, odd: bool) -> String {
    let namespace = at % NAMESPACES;
    let mut endpoints = String::new();
    for one in 0..ENDPOINTS {
        let (comma, host) = (if one == 0 { "" } else { "," }, (at * ENDPOINTS + one) % NODES);
        let ready = !(odd && one == at % ENDPOINTS);
        let id = at * ENDPOINTS + one;
        let _ = write!(
            endpoints,
            r#"{comma}{{"addresses":["10.{}.{}.{}"],"conditions":{{"ready":{ready},"serving":{ready},"terminating":false}},
            "nodeName":"node-{host}","zone":"r{}","targetRef":{{"kind":"Pod","namespace":"team-{namespace}",
            "name":"service-{at}-7d4b9c6f5-{one:05}","uid":"00000000-0000-0000-0000-{id:012}"}}}}"#,
            id >> 16,
            id >> 8 & 255,
            id & 255,
            host % 3
        );
    }
    format!(
        r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{{"name":"service-{at}-x7k2p",
        "generateName":"service-{at}-","namespace":"team-{namespace}","uid":"00000000-0000-0000-0001-{at:012}",
        "resourceVersion":"{}","generation":3,"creationTimestamp":"2026-11-21T13:00:00Z",
        "labels":{{"kubernetes.io/service-name":"service-{at}",
        "endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io"}},
        "ownerReferences":[{{"apiVersion":"v1","kind":"Service","name":"service-{at}","controller":true}}]}},
        "addressType":"IPv4","endpoints":[{endpoints}],"ports":[{{"name":"http","port":8080,"protocol":"TCP"}}]}}"#,
        at * 2 + usize::from(odd)
    )
}

/// The settings of kube-proxy in this world.
pub(crate) const IPVS: &str = "mode: ipvs\nipvs:\n  tcpTimeout: 0s\n";

/// Two policies for each namespace, together over half of its Services.
pub(crate) fn policy(at: usize) -> Policy {
    let web = Client {
        tcp_keepalive: NEVER,
        ..objects::client("web")
    };
    Policy {
        namespace: format!("team-{}", at / 2).into(),
        name: format!("policy-{}", at % 2).into(),
        services: ServicePick::Selector(Selector {
            labels: vec![("tier".into(), format!("t{}", at % 2).into())],
            expressions: Vec::new(),
        }),
        ..objects::policy(vec![Connection {
            longest_silence_seconds: Some(if at.is_multiple_of(8) { 1_200 } else { 60 }),
            server: Server {
                tcp_keepalive: NEVER,
                ..Server::default()
            },
            ..objects::connection(Protocol::Tcp, web)
        }])
    }
}

/// One of very many policies of one namespace: each selects by a label of its own.
pub(crate) fn crowded(at: usize) -> Policy {
    Policy {
        namespace: "team-0".into(),
        name: format!("crowd-{at}").into(),
        services: ServicePick::Selector(Selector {
            labels: vec![("app.kubernetes.io/name".into(), format!("app-{at}").into())],
            expressions: Vec::new(),
        }),
        ..policy(0)
    }
}

/// The platform asks for three API servers and bounds the proxies.
pub(crate) fn platform() -> ClusterPolicy {
    ClusterPolicy {
        control_plane: ControlPlanePolicy {
            expected_instances: Some(3),
            ..ControlPlanePolicy::default()
        },
        ..ClusterPolicy::default()
    }
}

/// A webhook in the way of node heartbeats, served by a Service of the world.
pub(crate) fn webhook() -> String {
    r#"{"kind":"ValidatingWebhookConfiguration","metadata":{"name":"w"},"webhooks":[{"name":"w.example",
    "failurePolicy":"Fail","rules":[{"apiGroups":["*"],"apiVersions":["*"],"resources":["*"],
    "operations":["*"]}],"clientConfig":{"service":{"namespace":"team-1","name":"service-1"}}}]}"#
        .into()
}
