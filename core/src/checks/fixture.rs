//! A small world for tests of checks: objects as JSON, policies as structs, verdicts as one line of text.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::engine::each_path;
use crate::findings::Finding;
use crate::judge::{Check, Judge, Look, ServiceCase, Verdict};
use crate::know::{Known, Mono, Now, Source, Wall};
use crate::policy::{
    Balance, Beat, Client, Connection, Door, Hop, Layer, Limit, Measure, Policy, Protocol, Remediation,
    Selector, Server, ServicePick, Upstream,
};
use crate::{Core, Input};

/// A core with objects in it.
pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) now: Now,
}

impl World {
    /// A world of which every source was read completely; it is empty.
    pub(crate) fn complete() -> Self {
        Self::without(&[])
    }

    /// A world of which every source but these was read.
    pub(crate) fn without(missing: &[Source]) -> Self {
        let mut core = Core::default();
        for source in Source::ALL {
            if !missing.contains(&source) {
                core.handle(Now::ONCE, Input::Synced(source)).unwrap();
            }
        }
        let now = Now {
            mono: Mono(0),
            wall: Wall(1_795_266_000),
        };
        Self { core, now }
    }

    /// Adds one object.
    #[must_use]
    pub(crate) fn with(mut self, source: Source, object: &Value) -> Self {
        let text = object.to_string();
        self.core
            .handle(Now::ONCE, Input::Object(source, text.as_bytes()))
            .unwrap();
        self
    }

    /// Adds several objects.
    #[must_use]
    pub(crate) fn all(self, source: Source, objects: &[Value]) -> Self {
        objects.iter().fold(self, |world, one| world.with(source, one))
    }

    /// Adds a policy.
    #[must_use]
    pub(crate) fn policy(mut self, policy: Policy) -> Self {
        self.core
            .handle(Now::ONCE, Input::Policy(Arc::new(policy)))
            .unwrap();
        self
    }

    /// Sets the platform's policy.
    #[must_use]
    pub(crate) fn platform(mut self, policy: crate::policy::ClusterPolicy) -> Self {
        self.core
            .handle(Now::ONCE, Input::ClusterPolicy(Some(Arc::new(policy))))
            .unwrap();
        self
    }

    /// Judges everything, and returns the findings of one check.
    pub(crate) fn findings(&mut self, id: &str) -> Vec<Finding> {
        self.core.round(self.now);
        let mut all = self.core.findings(self.now).findings;
        all.retain(|one| one.check == id);
        all
    }

    /// Judges everything, and says what a check found: `Violated critical SomeCause` and the like, joined by `; `.
    /// Without findings it is `Met`, else `NotApplicable`, else `nothing` when there was nothing to judge.
    pub(crate) fn verdict(&mut self, id: &str) -> String {
        let found = self.findings(id);
        if found.is_empty() {
            let all = self.judge(super::find(id).unwrap());
            return if all.iter().any(|one| matches!(one, Ok(Verdict::Met))) {
                "Met".into()
            } else if all.is_empty() {
                "nothing".into()
            } else {
                all.into_iter()
                    .map(|one| one.map_or("Unknown", |verdict| verdict.name()))
                    .next()
                    .unwrap()
                    .into()
            };
        }
        let lines: Vec<_> = found
            .iter()
            .map(|one| {
                assert!(!one.message.contains('?'), "evidence is missing: {}", one.message);
                assert!(!one.advice.is_empty(), "no advice");
                format!("{} {} {}", one.verdict, one.severity.name(), one.cause)
                    .trim_end()
                    .to_owned()
            })
            .collect();
        lines.join("; ")
    }

    /// The bare judgements of one check on connections, Services and the cluster.
    fn judge(&self, check: &Check) -> Vec<Known<Verdict>> {
        let index = self.core.index();
        let look = || Look::new(self.now, index, self.core.fleet(), self.core.history());
        let mut all = Vec::new();
        if let Judge::Cluster(judge) = check.judge {
            all.push(judge(&look()));
        }
        for (key, service) in index.services.iter() {
            let policies = index.policies_of(key, service);
            if let Judge::Service(judge) = check.judge {
                let case = |policy| ServiceCase { key, service, policy };
                if policies.is_empty() && check.baseline {
                    all.push(judge(&look(), &case(None)));
                }
                all.extend(
                    policies
                        .iter()
                        .map(|(_, policy)| judge(&look(), &case(Some(policy)))),
                );
            }
            let (namespace, name) = (index.names.text(key.namespace), index.names.text(key.name));
            if let Judge::Path(judge) = check.judge {
                each_path(index, namespace, name, |path| all.push(judge(&look(), path)));
            }
        }
        all
    }
}

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

/// A ready Linux node in a zone; an empty zone is left out.
pub(crate) fn node(name: &str, zone: &str) -> Value {
    let labels = if zone.is_empty() {
        json!({})
    } else {
        json!({"topology.kubernetes.io/zone": zone})
    };
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"operatingSystem": "linux", "kernelVersion": "6.1.0", "kubeletVersion": "v1.34.0"},
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

/// Policy `shop/p` of Service `api`, with these connections.
pub(crate) fn policy(connections: Vec<Connection>) -> Policy {
    Policy {
        namespace: "shop".into(),
        name: "p".into(),
        services: ServicePick::Names(vec!["api".into()]),
        balance: None,
        connections,
        remediation: Remediation::default(),
        exceptions: Vec::new(),
    }
}

/// Policy `shop/p` of Service `api`, with this balance.
pub(crate) fn balanced(minimum: Option<u32>, node: Option<u32>, zone: Option<u32>) -> Policy {
    Policy {
        balance: Some(Balance {
            measure: Measure::NewConnections,
            tolerance_percent: 25,
            newcomer_grace_seconds: 600,
            minimum_ready_backends: minimum,
            max_percent_per_node: node,
            max_percent_per_zone: zone,
        }),
        ..policy(Vec::new())
    }
}

/// A connection of which only the protocol and one client are declared.
pub(crate) fn connection(protocol: Protocol, client: Client) -> Connection {
    Connection {
        name: "main".into(),
        ports: Vec::new(),
        protocol,
        longest_silence_seconds: None,
        longest_request_seconds: None,
        clients: vec![client],
        server: Server::default(),
        hops: Vec::new(),
    }
}

/// A client of which nothing but the name is declared.
pub(crate) fn client(name: &str) -> Client {
    Client::undeclared(name.into(), Door::Cluster)
}

/// Selects the Pods of an app.
pub(crate) fn app(name: &str) -> Selector {
    Selector {
        labels: vec![("app".into(), name.into())],
        expressions: Vec::new(),
    }
}

/// An L4 hop.
pub(crate) fn l4(name: &str, idle: Option<u32>) -> Hop {
    Hop {
        name: name.into(),
        layer: Layer::L4,
        idle_timeout: idle.map(Limit::Seconds),
        request_timeout_seconds: None,
        upstream: Upstream::default(),
    }
}

/// An L7 hop.
pub(crate) fn l7(name: &str, idle: Option<u32>, request: Option<u32>) -> Hop {
    Hop {
        layer: Layer::L7,
        request_timeout_seconds: request,
        ..l4(name, idle)
    }
}

/// A beat of this period.
#[expect(clippy::unnecessary_wraps, reason = "a field of policies takes it as it is")]
pub(crate) const fn every(seconds: u32) -> Option<Beat> {
    Some(Beat::Enabled(Some(seconds)))
}

/// No beat.
pub(crate) const NEVER: Option<Beat> = Some(Beat::Disabled);
