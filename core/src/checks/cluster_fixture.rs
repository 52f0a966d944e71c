//! A cluster for tests of checks: objects in, one check's verdict out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::findings::Finding;
use crate::know::{Mono, Now, Source, Wall};
use crate::policy::{
    Client, ClusterPolicy, Connection, Door, Policy, Protocol, Remediation, Server, ServicePick,
};
use crate::{Core, Input};

/// Objects by source; a source that is held is complete, even with nothing in it.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    objects: BTreeMap<Source, Vec<Value>>,
    policies: Vec<Policy>,
    platform: Option<ClusterPolicy>,
}

impl Cluster {
    /// A cluster whose sources are all complete and empty.
    pub(crate) fn empty() -> Self {
        let mut cluster = Self::default();
        for source in Source::ALL {
            if source != Source::Configz {
                cluster.objects.insert(source, Vec::new());
            }
        }
        cluster
    }

    /// Adds an object.
    pub(crate) fn with(mut self, source: Source, object: Value) -> Self {
        self.objects.entry(source).or_default().push(object);
        self
    }

    /// Forgets a source: nobody has read it.
    pub(crate) fn without(mut self, source: Source) -> Self {
        self.objects.remove(&source);
        self
    }

    /// Adds a policy.
    pub(crate) fn policy(mut self, policy: Policy) -> Self {
        self.policies.push(policy);
        self
    }

    /// Sets the platform's policy.
    pub(crate) fn platform(mut self, policy: ClusterPolicy) -> Self {
        self.platform = Some(policy);
        self
    }

    /// Everything that is found.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut core = Core::default();
        for policy in &self.policies {
            core.handle(Now::ONCE, Input::Policy(Arc::new(policy.clone())))
                .unwrap();
        }
        core.handle(
            Now::ONCE,
            Input::ClusterPolicy(self.platform.clone().map(Arc::new)),
        )
        .unwrap();
        for (source, objects) in &self.objects {
            for object in objects {
                let json = serde_json::to_vec(object).unwrap();
                core.handle(Now::ONCE, Input::Object(*source, &json)).unwrap();
            }
            core.handle(Now::ONCE, Input::Synced(*source)).unwrap();
        }
        let now = Now {
            mono: Mono(0),
            wall: Wall(1_800_000_000),
        };
        core.round(now);
        core.findings(now).findings
    }

    /// What a check finds: `verdict cause severity` of each finding; empty when it is content or does not apply.
    pub(crate) fn says(&self, check: &str) -> Vec<String> {
        assert!(super::find(check).is_some(), "no check {check}");
        let mut all: Vec<_> = self
            .findings()
            .iter()
            .filter(|one| one.check == check)
            .map(|one| {
                assert!(
                    !one.message.contains('?'),
                    "a word without evidence: {}",
                    one.message
                );
                let words = [one.verdict.name(), one.cause, one.severity.name()];
                words
                    .into_iter()
                    .filter(|word| !word.is_empty())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        all.sort();
        all
    }

    /// The message of the only finding of a check.
    pub(crate) fn message(&self, check: &str) -> String {
        let findings = self.findings();
        let mut found = findings.iter().filter(|one| one.check == check);
        let message = found.next().unwrap().message.clone();
        assert!(found.next().is_none());
        message
    }
}

/// A node of a zone; `ready` is the status of its condition.
pub(crate) fn node(name: &str, zone: &str, ready: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone, "kubernetes.io/os": "linux"}},
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "nodeInfo": {"operatingSystem": "linux", "kernelVersion": "6.1.0", "kubeletVersion": "v1.33.1"},
        },
    })
}

/// A slice of a Service with one endpoint for each (address, node, ready).
pub(crate) fn slice(namespace: &str, service: &str, endpoints: &[(&str, &str, bool)]) -> Value {
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

/// A policy over Service `shop/web` with one client from a door at a declared rate.
pub(crate) fn policy(from: Door, rate: Option<u32>) -> Policy {
    let client = Client {
        new_connections_per_second: rate,
        ..Client::undeclared("front".into(), from)
    };
    Policy {
        namespace: "shop".into(),
        name: "web".into(),
        services: ServicePick::Names(vec!["web".into()]),
        balance: None,
        connections: vec![Connection {
            name: "http".into(),
            ports: Vec::new(),
            protocol: Protocol::Http1,
            longest_silence_seconds: None,
            longest_request_seconds: None,
            clients: vec![client],
            server: Server::default(),
            hops: Vec::new(),
        }],
        remediation: Remediation::default(),
        exceptions: Vec::new(),
    }
}

/// Service `shop/web`.
pub(crate) fn service() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "selector": {"app": "web"}, "ports": [{"port": 80}]},
    })
}

/// A cluster as kubeadm leaves it: some nodes, kube-proxy from a ConfigMap, CoreDNS on the first node, one control
/// plane.
pub(crate) fn kubeadm(nodes: usize) -> Cluster {
    let mut cluster = Cluster::empty()
        .with(
            Source::ConfigMaps,
            proxy_config("mode: \"\"\n", "2026-01-01T00:00:00Z"),
        )
        .with(
            Source::DaemonSets,
            json!({
                "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
                "spec": {
                    "selector": {"matchLabels": {"k8s-app": "kube-proxy"}},
                    "template": {"metadata": {"labels": {"k8s-app": "kube-proxy"}}, "spec": proxy_spec("")},
                },
            }),
        )
        .with(Source::Deployments, dns(2, 2))
        .with(
            Source::EndpointSlices,
            slice("default", "kubernetes", &[("192.0.2.1", "", true)]),
        )
        .with(Source::Pods, manager("v1.33.1", &[]));
    for at in 0..nodes {
        let name = format!("node-{at}");
        cluster = cluster
            .with(Source::Nodes, node(&name, "", "True"))
            .with(Source::Pods, proxy_pod(&name, "2026-01-01T00:01:00Z"));
    }
    for at in 0..2 {
        cluster = cluster.with(Source::Pods, dns_pod(&format!("coredns-{at}"), "node-0"));
    }
    cluster
}

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
