//! A tenant's Events and Pods that lie, while other things happen over time.
//!
//! Two cores see the same; one of them sees, too, what the tenant writes: Events about Pods of its own and of others, and
//! Pods whose place, labels, annotations and owners are those of the platform. What is found elsewhere must be equal at
//! every moment, and so must be the Pods of others that are asked for.

use std::collections::BTreeMap;

use evenkeel_core::history::{PodAnswer, PodQuery};
use evenkeel_core::know::{Mono, Now, Source};
use evenkeel_core::{Core, Input};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::histories::cases;
use super::objects::object;
use super::tenant::{TENANT, of_others};
use super::world::BEGINNING;
use crate::objects::{self, proxy_pod};

/// Reasons of Events: of those that are looked at, and others.
const REASONS: [&str; 6] = [
    "Preempted",
    "Evicted",
    "BackOff",
    "Killing",
    "NodeNotReady",
    "Unhealthy",
];

/// Namespaces of the objects that Events name.
const ABOUT: [&str; 5] = [TENANT, "shop", "pay", "kube-system", ""];

/// Names that mean something elsewhere.
const NAMES: [&str; 5] = [
    "web-bbbbc",
    "o1",
    "kube-apiserver-o1",
    "kube-proxy-bcdfg",
    "coredns-5d78c9869d-bcdfg",
];

#[derive(Debug, Clone)]
enum Act {
    /// A Pod of `shop` is made to go, as its status says; an Event says so, and the Pod is watched or has to be asked for.
    Happens {
        evicted: bool,
        number: u32,
        watched: bool,
    },
    Forges(Value),
    Lies(Value),
    Removes(&'static str),
    Pass(u64),
}

fn forged() -> impl Strategy<Value = Value> {
    let kinds = select(&["Pod", "Node", "Service"][..]);
    (select(&REASONS[..]), select(&ABOUT[..]), kinds, select(&NAMES[..]), 0..9_u32, any::<bool>()).prop_map(
        |(reason, namespace, kind, name, number, newer)| {
            let object = json!({"kind": kind, "namespace": namespace, "name": name, "uid": format!("web-{number}")});
            let mut event = json!({
                "metadata": {"name": format!("e{number}"), "namespace": TENANT, "uid": format!("forged-{number}")},
                "reason": reason, "count": 50, "source": {"component": "kubelet", "host": "o1"},
                "reportingController": "default-scheduler",
                "related": {"kind": "Pod", "namespace": "shop", "name": "web-bbbbd"},
            });
            event[if newer { "regarding" } else { "involvedObject" }] = object;
            event
        },
    )
}

/// A Pod as its creator may write it: all but its namespace and status.
fn lying() -> impl Strategy<Value = Value> {
    let labels = select(vec![
        json!({"app": "a0"}),
        json!({"k8s-app": "kube-dns"}),
        json!({"k8s-app": "kube-proxy"}),
        json!({"k8s-app": "cilium"}),
        json!({"component": "kube-apiserver", "tier": "control-plane"}),
        json!({"component": "kube-controller-manager", "tier": "control-plane"}),
    ]);
    let owners = select(vec![
        json!([]),
        json!([{"apiVersion": "v1", "kind": "Node", "name": "o1", "uid": "o1", "controller": true}]),
        json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "kube-proxy", "uid": "d", "controller": true}]),
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "coredns-5d78c9869d", "uid": "r", "controller": true}]),
    ]);
    let containers = select(
        &[
            "app",
            "kube-proxy",
            "cilium-agent",
            "coredns",
            "kube-controller-manager",
            "kube-apiserver",
        ][..],
    );
    let nodes = select(&["o0", "o1", "o2", "nowhere"][..]);
    (
        select(&NAMES[..]),
        labels,
        owners,
        containers,
        nodes,
        any::<bool>(),
    )
        .prop_map(|(name, labels, owners, container, node, ready)| {
            json!({
                "metadata": {
                    "name": name, "namespace": TENANT, "uid": format!("own-{name}"), "labels": labels,
                    "ownerReferences": owners,
                    "annotations": {
                        "kubernetes.io/config.mirror": "m", "kubernetes.io/config.source": "file",
                        "kubernetes.io/config.seen": "2026-11-21T13:00:00Z",
                    },
                },
                "spec": {
                    "nodeName": node, "hostNetwork": true, "priority": 2_000_001_000,
                    "priorityClassName": "system-node-critical",
                    "containers": [{
                        "name": container, "image": "registry.k8s.io/kube-proxy:v1.30.0",
                        "command": [container, "--proxy-mode=ipvs", "--node-monitor-grace-period=1s"],
                    }],
                },
                "status": {
                    "phase": if ready { "Running" } else { "Pending" },
                    "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
                },
            })
        })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (any::<bool>(), 0..40_u32, any::<bool>())
            .prop_map(|(evicted, number, watched)| Act::Happens { evicted, number, watched }),
        4 => forged().prop_map(Act::Forges),
        2 => lying().prop_map(Act::Lies),
        1 => select(&NAMES[..]).prop_map(Act::Removes),
        1 => (1..90_u64).prop_map(Act::Pass),
    ]
}

/// A Pod of `shop` that was made to go, and its Event.
fn gone(evicted: bool, number: u32) -> (Value, Value) {
    if evicted {
        (
            objects::evicted_pod(number, "web", "o1"),
            objects::evicted(number, "web"),
        )
    } else {
        let mut pod = objects::preempted_pod(number, "web", 0);
        pod["spec"]["nodeName"] = json!("o1");
        (pod, objects::preempted(number, "web", ""))
    }
}

/// A core, and what its API server would answer.
struct Side {
    core: Core,
    pods: BTreeMap<(String, String), String>,
}

impl Side {
    fn start(now: Now) -> Self {
        let mut core = Core::live(now);
        let objects = [
            object(Source::Nodes, 0, 0, 1),
            object(Source::Nodes, 0, 1, 1),
            object(Source::Nodes, 0, 2, 1),
            object(Source::Services, 0, 0, 5),
            object(Source::EndpointSlices, 0, 0, 3),
            object(Source::DaemonSets, 0, 0, 1),
            object(Source::ConfigMaps, 0, 0, 0),
        ];
        for (id, json) in &objects {
            core.handle(now, Input::object(id.0, json.as_bytes()));
        }
        for node in ["o0", "o1", "o2"] {
            core.handle(
                now,
                Input::object(Source::Pods, proxy_pod(node, "").to_string().as_bytes()),
            );
        }
        for source in Source::ALL {
            core.handle(now, Input::Synced(source));
        }
        core.round(now);
        Self {
            core,
            pods: BTreeMap::new(),
        }
    }

    fn put(&mut self, now: Now, source: Source, object: &Value, watched: bool) {
        let json = object.to_string();
        if source == Source::Pods {
            let text = |at| {
                object
                    .pointer(at)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            self.pods.insert(
                (text("/metadata/namespace"), text("/metadata/name")),
                json.clone(),
            );
        }
        if watched {
            self.core.handle(now, Input::object(source, json.as_bytes()));
        }
    }

    fn take(&mut self, now: Now, act: &Act) {
        match act {
            Act::Happens {
                evicted,
                number,
                watched,
            } => {
                let (pod, event) = gone(*evicted, *number);
                self.put(now, Source::Pods, &pod, *watched);
                self.put(now, Source::Events, &event, true);
            }
            Act::Forges(event) => self.put(now, Source::Events, event, true),
            Act::Lies(pod) => self.put(now, Source::Pods, pod, true),
            Act::Removes(name) => {
                self.pods.remove(&(TENANT.to_owned(), (*name).to_owned()));
                self.core.handle(now, Input::Gone(Source::Pods, TENANT, name));
            }
            Act::Pass(_) => {}
        }
    }

    /// Judges, and has every Pod that is asked for read. Returns those of others.
    fn settle(&mut self, now: Now) -> Vec<PodQuery> {
        let mut asked = Vec::new();
        loop {
            let lookups = self.core.round(now).lookups;
            if lookups.is_empty() {
                return asked;
            }
            for pod in lookups {
                let held = self.pods.get(&(pod.namespace.to_string(), pod.name.to_string()));
                let answer = held.map_or(PodAnswer::Gone, |json| PodAnswer::Found(json.as_bytes()));
                self.core.handle(now, Input::Lookup(&pod, answer));
                if &*pod.namespace != TENANT {
                    asked.push(pod);
                }
            }
        }
    }
}

fn later(now: Now, seconds: u64) -> Now {
    let mut later = now;
    later.mono.0 += seconds * 1_000;
    later.wall.0 += i64::try_from(seconds).unwrap();
    later
}

const START: Now = Now {
    mono: Mono(1_000_000),
    wall: BEGINNING,
};

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn what_a_tenant_forges_changes_nothing_elsewhere(acts in vec(act(), 1..60)) {
        let (mut alone, mut beside) = (Side::start(START), Side::start(START));
        // Long enough that first lists are behind.
        let mut now = later(START, 700);
        for act in &acts {
            match act {
                Act::Pass(seconds) => now = later(now, *seconds),
                Act::Happens { .. } => alone.take(now, act),
                Act::Forges(_) | Act::Lies(_) | Act::Removes(_) => {}
            }
            beside.take(now, act);
            prop_assert_eq!(alone.settle(now), beside.settle(now));
            prop_assert_eq!(of_others(&alone.core, now), of_others(&beside.core, now));
        }
    }
}

/// Without forgeries there is something that they could change.
#[test]
fn what_happens_is_found() {
    let mut side = Side::start(START);
    let now = later(START, 700);
    for number in 0..5 {
        for evicted in [true, false] {
            let watched = number % 2 == 0;
            let number = number + if evicted { 0 } else { 20 };
            side.take(
                now,
                &Act::Happens {
                    evicted,
                    number,
                    watched,
                },
            );
        }
        side.settle(now);
    }
    let found = of_others(&side.core, now).join("\n");
    for check in [
        "node-pressure-evict-loop Violated Node o1",
        "preemption-cascade Violated Workload shop/web",
    ] {
        assert!(found.contains(check), "{found}");
    }
}
