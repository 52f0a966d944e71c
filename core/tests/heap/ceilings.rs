//! Namespaces that have all that one may have, with everything in them broken: paths, selectors, and Pods that differ.

use std::sync::Arc;

use evenkeel_core::know::{Now, Source};
use evenkeel_core::policy::ceiling::{OF_A_NAMESPACE, OF_A_POLICY, OF_THE_CLUSTER};
use evenkeel_core::policy::{
    Beat, Client, Connection, Door, Operator, Policy, Protocol, Remediation, Requirement, Selector, Server,
    ServicePick,
};
use evenkeel_core::{Core, Input};
use serde_json::{Value, json};

/// Pods of a namespace that an operator keeps (`MOST_PODS` in its `watch::intake`).
pub(crate) const PODS: usize = 20_000;

/// Namespaces that together declare more than is judged of the cluster.
pub(crate) const ALL: u64 = OF_THE_CLUSTER / OF_A_NAMESPACE + 2;

/// Ports of the Service, and connections and clients of each policy: more than is judged of one.
const PORTS: usize = 32;
const CONNECTIONS: usize = 16;
const CLIENTS: usize = 16;

/// A core that has read a cluster of some nodes.
pub(crate) fn start() -> Core {
    let mut core = Core::live(Now::ONCE);
    for source in Source::ALL {
        core.handle(Now::ONCE, Input::Begin(source));
        if source == Source::Nodes {
            (0..100).for_each(|at| give(&mut core, source, &node(at)));
        }
        core.handle(Now::ONCE, Input::Synced(source));
    }
    core.round(Now::ONCE);
    core
}

/// Brings a namespace to its ceilings.
pub(crate) fn fill(core: &mut Core, namespace: &str, pods: usize) {
    give(core, Source::Services, &service(namespace));
    for at in 0..OF_A_NAMESPACE / OF_A_POLICY {
        core.handle(
            Now::ONCE,
            Input::Policy(Arc::new(policy(namespace, &format!("p{at}")))),
        );
    }
    for at in 0..pods {
        give(core, Source::Pods, &pod(namespace, at, 0));
    }
}

/// Changes a Pod of a namespace.
pub(crate) fn change(core: &mut Core, namespace: &str, at: usize, turn: usize) {
    give(core, Source::Pods, &pod(namespace, at, turn));
}

fn give(core: &mut Core, source: Source, object: &Value) {
    core.handle(Now::ONCE, Input::object(source, object.to_string().as_bytes()));
}

fn node(at: usize) -> Value {
    json!({
        "metadata": {"name": format!("n{at}"), "labels": {"kubernetes.io/os": "linux"}},
        "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kernelVersion": "6.1.0"}},
    })
}

fn service(namespace: &str) -> Value {
    let ports: Vec<Value> = (0..PORTS)
        .map(|at| json!({"name": format!("p{at}"), "port": 1000 + at}))
        .collect();
    json!({
        "metadata": {"name": "all", "namespace": namespace},
        "spec": {"clusterIP": "10.96.0.1", "selector": {"app": "server"}, "ports": ports},
    })
}

/// Labels as an attacker would choose them: each value another one, and long.
fn pod(namespace: &str, at: usize, turn: usize) -> Value {
    let own = |label: usize| format!("{namespace}-{label}-{at}-{turn}-{}", "x".repeat(30));
    json!({
        "metadata": {"name": format!("client-{at:05}"), "namespace": namespace,
            "labels": {"app": "c", "a": own(0), "b": own(1), "c": own(2)}},
        "spec": {"nodeName": format!("n{}", at % 100), "containers": []},
    })
}

/// A policy of many clients with a selector each, of which every path breaks.
fn policy(namespace: &str, name: &str) -> Policy {
    let client = |connection: usize, at: usize| Client {
        pods: Some(Selector {
            labels: vec![("app".into(), "c".into())],
            expressions: vec![Requirement {
                key: "a".into(),
                operator: Operator::NotIn,
                values: vec![format!("none-{connection}-{at}").into()],
            }],
        }),
        tcp_keepalive: Some(Beat::Enabled(None)),
        ..Client::undeclared(format!("c{at}").into(), Door::Cluster)
    };
    let connections = (0..CONNECTIONS).map(|connection| Connection {
        name: format!("k{connection}").into(),
        ports: Vec::new(),
        protocol: Protocol::Tcp,
        longest_silence_seconds: Some(86_400),
        longest_request_seconds: None,
        clients: (0..CLIENTS).map(|at| client(connection, at)).collect(),
        server: Server::default(),
        hops: Vec::new(),
    });
    Policy {
        namespace: namespace.into(),
        name: name.into(),
        services: ServicePick::Selector(Selector::default()),
        balance: None,
        connections: connections.collect(),
        remediation: Remediation::default(),
        exceptions: Vec::new(),
        unknown_fields: Vec::new(),
    }
}
