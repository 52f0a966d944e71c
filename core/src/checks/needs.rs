//! Each check comes to a verdict of its own where what it needs was read, and to none without any one of its needs.
//!
//! A new check that no cluster below exercises fails here by itself: add what it judges to one of them.

use serde_json::json;

use crate::checks;
use crate::fleet::ON_API_SERVERS;
use crate::handle::Input;
use crate::index::{Freshness, Part};
use crate::judge::{Check, Judge};
use crate::know::{Source, Unit};
use crate::policy::{
    Beat, Client, ClusterPolicy, Connection, ControlPlanePolicy, DataPlanePolicy, Door, Limit, NodesPolicy,
    Policy, Pressure, Protocol, Range, Server,
};
use crate::sample::{Metric, MetricKind, Metrics, Observer, Of, PageScope, SampleSubject};
use crate::world::{
    Traffic, World, app, balanced, cilium, client, connection, every, instances, l7, node, pod,
    preempted_pod, proxy_config, proxy_pod, rated, service, set_up, slice,
};

/// A policy of Service `api` that declares something for every check of connections and of backends.
fn everything() -> Policy {
    let calls = Client {
        pods: Some(app("worker")),
        tcp_keepalive: every(60),
        ping: every(30),
        ping_without_calls: Some(true),
        idle_timeout: Some(Limit::Seconds(300)),
        request_timeout_seconds: Some(30),
        ..client("calls")
    };
    // Takes the kernel's time, so that its Pods count.
    let kernel = Client {
        tcp_keepalive: Some(Beat::Enabled(None)),
        ..calls.clone()
    };
    let server = Server {
        tcp_keepalive: every(60),
        idle_timeout: Some(Limit::Seconds(600)),
        minimum_ping_interval_seconds: Some(10),
        request_timeout_seconds: Some(20),
        ..Server::default()
    };
    let of = |name: &str, protocol, client| Connection {
        name: name.into(),
        longest_silence_seconds: Some(60),
        longest_request_seconds: Some(10),
        server: server.clone(),
        ..connection(protocol, client)
    };
    let pooled = Connection {
        hops: vec![l7("proxy", Some(600), Some(25))],
        ..of("pooled", Protocol::Http1, calls.clone())
    };
    Policy {
        connections: vec![
            of("calls", Protocol::Grpc, calls),
            of("kernel", Protocol::Tcp, kernel),
            pooled,
        ],
        ..balanced(Some(1), Some(60), Some(100))
    }
}

fn platform() -> ClusterPolicy {
    ClusterPolicy {
        control_plane: ControlPlanePolicy {
            expected_instances: Some(1),
            ..ControlPlanePolicy::default()
        },
        data_plane: DataPlanePolicy {
            proxy_mode: None,
            service_idle_timeout_seconds: Some(Range {
                minimum: Some(60),
                maximum: None,
            }),
        },
        ..ClusterPolicy::default()
    }
}

/// A cluster that kubeadm set up and an operator has watched for two hours.
fn watched() -> World {
    let hook = json!({
        "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "guard"}, "webhooks": [{
            "name": "guard.example.com", "failurePolicy": "Fail",
            "rules": [{"apiGroups": ["coordination.k8s.io"], "apiVersions": ["*"], "operations": ["*"],
                "resources": ["leases"]}],
            "clientConfig": {"service": {"namespace": "shop", "name": "api"}},
        }],
    });
    let local = json!({
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local",
    });
    let places = [("node-0", ""), ("node-1", "")];
    // IPVS reuses ports in another way before Linux 5.9.
    let mut old = node("node-3", "");
    old["status"]["nodeInfo"]["kernelVersion"] = json!("5.4.0");
    let mut world = set_up(World::watched(&[]), 3)
        .with(
            Source::ConfigMaps,
            proxy_config("mode: ipvs\n", "2026-01-01T00:00:00Z"),
        )
        .with(Source::Nodes, old)
        .with(Source::Pods, proxy_pod("node-3", "2026-01-01T00:01:00Z"))
        .with(Source::Webhooks, hook)
        .with(Source::Services, service("api", json!({})))
        .with(Source::Services, service("front", local))
        .with(Source::EndpointSlices, slice("api", &places))
        .with(Source::EndpointSlices, slice("front", &places))
        .with(
            Source::Pods,
            pod("worker-1", "worker", &[("net.ipv4.tcp_keepalive_time", "60")]),
        )
        .policy(everything())
        .platform(platform());
    world.wait(7200);
    world.with(Source::Pods, preempted_pod(1, "worker", 0))
}

/// Cilium tracks connections, and one Service has a rate.
fn tracked() -> World {
    let mut world = cilium("v1.14.5", &json!({})).policy(rated(Door::Cluster, Some(1)));
    world.input(Input::Observers(&[Observer::Prometheus]));
    for seconds in [10.0, 11.0] {
        let values = [
            (Metric::CiliumTablePressure, SampleSubject::Node("a"), 0.1),
            (Metric::CiliumGcSeconds, SampleSubject::Node("a"), seconds),
        ];
        world.measure(Observer::Prometheus, PageScope::Nodes, &values);
        world.wait(30);
    }
    world
}

/// The checks that come to a verdict of their own: neither Unknown nor `NotApplicable`.
fn says_something(verdict: &&'static str) -> bool {
    matches!(*verdict, "Met" | "AtRisk" | "Violated")
}

fn speaks(world: &World, check: &Check) -> bool {
    world.judged(check.id).iter().any(says_something)
}

/// Everything is measured on a node, and an API server.
fn measured() -> World {
    let mut machine = node("n1", "z");
    machine["status"]["addresses"] = json!([{"type": "InternalIP", "address": "192.0.2.1"}]);
    let api_server = json!({
        "metadata": {"name": "kube-apiserver-n1", "namespace": "kube-system"},
        "spec": {"nodeName": "n1", "containers": [{"name": "kube-apiserver",
            "command": ["kube-apiserver", "--etcd-servers=https://192.0.2.1:2379,https://192.0.2.2:2379"]}]},
    });
    let mut world = World::watched(&[
        (Source::Nodes, machine),
        (Source::EndpointSlices, instances(&["192.0.2.1", "192.0.2.2"])),
        (Source::Pods, api_server),
    ])
    .platform(ClusterPolicy {
        nodes: NodesPolicy {
            pressure: Some(Pressure {
                cpu_some_percent: 60,
                memory_some_percent: 20,
                io_some_percent: 60,
                for_seconds: 60,
            }),
            ..NodesPolicy::default()
        },
        ..platform()
    });
    world.input(Input::Observers(&[Observer::Prometheus, Observer::LoadBalancer]));
    let servers = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
    for step in 0..16 {
        if step > 0 {
            world.wait(30);
        }
        // Counters grow by ten in a second, those of waiting by half a second, and levels stand still.
        let value = |metric: Metric| match (metric.kind(), metric.of(), metric.unit()) {
            (MetricKind::Counter, Of::Node, Unit::Seconds) => f64::from(step) * 15.0,
            (MetricKind::Counter, ..) => f64::from(step) * 300.0,
            (MetricKind::Gauge, ..) => 1e9,
        };
        for (of, scope) in [
            (Of::Node, PageScope::Nodes),
            (Of::Instance, PageScope::Instances),
            (Of::Resource, PageScope::Instances),
            (Of::Cluster, PageScope::Cluster),
        ] {
            let subjects: Vec<SampleSubject<&str>> = match of {
                Of::Node => vec![SampleSubject::Node("n1")],
                Of::Instance => servers.map(SampleSubject::Instance).to_vec(),
                Of::Resource => servers.map(|at| SampleSubject::Resource(at, "pods")).to_vec(),
                Of::Cluster | Of::Backend => vec![SampleSubject::Cluster],
            };
            let metrics: Vec<Metric> = Metrics::on(of).iter().collect();
            let values: Vec<_> = metrics
                .iter()
                .flat_map(|metric| subjects.iter().map(|subject| (*metric, *subject, value(*metric))))
                .collect();
            world.measure(Observer::Prometheus, scope, &values);
        }
    }
    world
}

/// A Service of which the backends are measured.
fn counted() -> World {
    let mut traffic = Traffic::of(3, "mode: iptables\n", 1);
    traffic.flow(180, 10);
    traffic.world
}

const CLUSTERS: [fn() -> World; 4] = [watched, tracked, measured, counted];

#[test]
fn every_check_comes_to_a_verdict() {
    let mut worlds = CLUSTERS.map(|make| make());
    for world in &mut worlds {
        world.core.round(world.now);
    }
    let silent: Vec<_> = checks::ALL
        .iter()
        .filter(|check| !worlds.iter().any(|world| speaks(world, check)))
        .map(|check| (check.id, worlds.each_ref().map(|world| world.judged(check.id))))
        .collect();
    assert!(silent.is_empty(), "no cluster of this file exercises {silent:#?}");
}

/// What is asked of the API servers' machines alone: a check of all Nodes would have nothing of the others.
#[test]
fn no_check_of_nodes_rests_on_what_is_measured_of_few() {
    for check in checks::ALL {
        let few = check.samples.both(ON_API_SERVERS);
        let is_of_nodes = matches!(check.judge, Judge::Node(_));
        assert!(!is_of_nodes || few.is_empty(), "{}", check.id);
    }
    let all = checks::ALL
        .iter()
        .fold(Metrics::NONE, |set, check| set.with(check.samples));
    assert!(ON_API_SERVERS.minus(all).is_empty(), "each is needed");
}

#[test]
fn without_what_it_needs_no_check_comes_to_a_verdict() {
    for make in CLUSTERS {
        let mut whole = make();
        whole.core.round(whole.now);
        for lost in Source::ALL {
            let mut world = make();
            let refused = Freshness::unreadable("forbidden");
            world.input(Input::Freshness(lost, Part::Whole, refused));
            world.core.round(world.now);
            let needing = checks::ALL.iter().filter(|check| check.needs.has(lost));
            for check in needing.filter(|check| speaks(&whole, check)) {
                let judged = world.judged(check.id);
                let blind = judged.contains(&"Unknown") && !judged.iter().any(says_something);
                assert!(blind, "{} without {}: {judged:?}", check.id, lost.name());
            }
        }
    }
}
