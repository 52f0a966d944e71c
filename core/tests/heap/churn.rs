//! A cluster that never stands still, one minute at a time: Jobs that come and go, rollouts, nodes of an autoscaler,
//! annotations that change, and Events. Every name in it is new, and stays in no object for long.

use std::sync::Arc;

use evenkeel_core::know::{Mono, Now, Source, Wall};
use evenkeel_core::policy::{
    Client, Connection, Door, Policy, Protocol, Remediation, Selector, Server, ServicePick,
};
use evenkeel_core::{Core, Input};
use serde_json::{Value, json};

/// Nodes that stay.
const NODES: u64 = 10;
/// Services, each of one slice.
const SERVICES: u64 = 8;
/// Pods of Jobs that start in a minute: ten `CronJobs` that run each minute.
const JOBS: u64 = 10;
/// Minutes that a Pod of a Job, or a node of the autoscaler, stays.
const STAY: u64 = 5;

/// The cluster and the core that watches it.
#[derive(Debug)]
pub(crate) struct Churn {
    pub(crate) core: Core,
    minute: u64,
}

impl Churn {
    /// A core that has read the cluster once.
    pub(crate) fn start() -> Self {
        let mut churn = Self {
            core: Core::live(at(0)),
            minute: 0,
        };
        for source in Source::ALL {
            churn.give(Input::Begin(source));
            match source {
                Source::Nodes => {
                    (0..NODES).for_each(|one| churn.object(source, &node(&format!("n{one}"), 0)));
                }
                Source::Services => (0..SERVICES).for_each(|one| churn.object(source, &service(one, 0))),
                Source::EndpointSlices => (0..SERVICES).for_each(|one| churn.object(source, &slice(one, 0))),
                Source::Policies => churn.give(Input::Policy(Arc::new(policy()))),
                _ => {}
            }
            churn.give(Input::Synced(source));
        }
        churn.core.round(at(0));
        churn
    }

    /// Lets a minute pass.
    pub(crate) fn minute(&mut self) {
        self.minute += 1;
        let minute = self.minute;
        for one in 0..JOBS {
            let name = |minute: u64| format!("job-{one}-{minute}-x");
            self.object(Source::Pods, &pod(&name(minute), one, minute));
            if let Some(left) = minute.checked_sub(STAY) {
                self.give(Input::Gone(Source::Pods, "shop", &name(left)));
            }
        }
        // A rollout of one Service: all of its endpoints are others.
        self.object(Source::EndpointSlices, &slice(minute % SERVICES, minute));
        self.object(Source::Services, &service(minute % SERVICES, minute));
        self.object(Source::Events, &event(minute));
        if minute.is_multiple_of(10) {
            self.object(Source::Nodes, &node(&format!("auto-{minute}"), minute));
            self.object(Source::Nodes, &node(&format!("n{}", minute / 10 % NODES), minute));
            if let Some(left) = minute.checked_sub(STAY) {
                self.give(Input::Gone(Source::Nodes, "", &format!("auto-{left}")));
            }
        }
        self.core.round(at(minute));
    }

    fn object(&mut self, source: Source, object: &Value) {
        self.give(Input::object(source, object.to_string().as_bytes()));
    }

    fn give(&mut self, input: Input<'_>) {
        self.core.handle(at(self.minute), input);
    }
}

fn at(minute: u64) -> Now {
    Now {
        mono: Mono(1_000 + minute * 60_000),
        wall: Wall(1_800_000_000 + i64::try_from(minute * 60).unwrap()),
    }
}

fn node(name: &str, minute: u64) -> Value {
    json!({
        "metadata": {
            "name": name,
            "labels": {"topology.kubernetes.io/zone": "z", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name},
            "annotations": {"config.cilium.io/changed": format!("value-{minute}")},
        },
        "spec": {"providerID": format!("aws:///z/i-{name}")},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kernelVersion": format!("6.1.{}", minute / 1440), "kubeletVersion": "v1.33.1"},
        },
    })
}

fn service(one: u64, minute: u64) -> Value {
    json!({
        "metadata": {
            "name": format!("s{one}"), "namespace": "shop", "labels": {"revision": format!("r{minute}")},
            "annotations": {"service.kubernetes.io/changed": format!("{minute}-{}", "x".repeat(1000))},
        },
        "spec": {"clusterIP": "10.96.0.1", "selector": {"app": format!("s{one}")}, "ports": [{"port": 80}]},
    })
}

fn slice(one: u64, minute: u64) -> Value {
    let endpoints: Vec<Value> = (0..5)
        .map(|endpoint| {
            let [_, _, _, .., high, low] = (minute * 5 + endpoint).to_be_bytes();
            json!({
                "addresses": [format!("10.{one}.{high}.{low}")], "conditions": {"ready": true},
                "nodeName": format!("n{}", (minute + endpoint) % NODES), "zone": "z",
            })
        })
        .collect();
    json!({
        "metadata": {
            "name": format!("s{one}-x"), "namespace": "shop", "labels": {"kubernetes.io/service-name": format!("s{one}")},
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80}],
    })
}

fn pod(name: &str, job: u64, minute: u64) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop",
            "labels": {"app": "client", "job-name": format!("job-{job}-{minute}"), "controller-uid": format!("{job}-{minute}")},
        },
        "spec": {"nodeName": format!("n{}", minute % NODES), "containers": [{"name": "work", "image": "example.com/work:1"}]},
        "status": {"phase": "Running"},
    })
}

fn event(minute: u64) -> Value {
    let name = format!("event-{minute}");
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name}, "reason": "Evicted", "count": 1,
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": format!("web-{minute}")},
        "source": {"host": format!("n{}", minute % NODES)},
    })
}

/// Selects the Pods of Jobs, so that they are kept.
fn policy() -> Policy {
    let client = Client {
        pods: Some(Selector {
            labels: vec![("app".into(), "client".into())],
            expressions: Vec::new(),
        }),
        ..Client::undeclared("jobs".into(), Door::Cluster)
    };
    Policy {
        namespace: "shop".into(),
        name: "policy".into(),
        services: ServicePick::Selector(Selector::default()),
        balance: None,
        connections: vec![Connection {
            name: "calls".into(),
            ports: Vec::new(),
            protocol: Protocol::Http1,
            longest_silence_seconds: Some(60),
            longest_request_seconds: None,
            clients: vec![client],
            server: Server::default(),
            hops: Vec::new(),
        }],
        remediation: Remediation::default(),
        exceptions: Vec::new(),
        unknown_fields: Vec::new(),
    }
}
