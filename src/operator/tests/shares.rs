//! Shares of backends as pages bring them to the operator: an hour in which nothing is wrong says nothing, and a backend that
//! gets no connections is named.

use std::collections::BTreeMap;

use evenkeel_core::findings::{Finding, FindingVerdict};
use evenkeel_core::know::Source;
use evenkeel_core::sample::{Metric, Metrics, Observer, PageScope, SampleSubject};
use rstest::rstest;
use serde_json::{Value, json};

use super::super::Event;
use super::world::{World, service};
use crate::samples::{OwnedPage, OwnedSample};

/// Seconds between two pages.
const PAGE: u64 = 15;

/// New connections, or requests on kept ones, in a second.
const RATE: u32 = 10;

/// One Pod behind the Service.
#[derive(Debug, Clone, Copy)]
struct Backend {
    /// Its part of what is placed, 1 for an even one.
    weight: f64,
    /// Its counter.
    value: f64,
    ready: bool,
}

/// A Service whose policy names a metric of its Pods.
struct Shop {
    world: World,
    backends: BTreeMap<String, Backend>,
    metric: Metric,
    /// By how much each placement counts.
    cluster: u32,
    chance: fastrand::Rng,
    number: u32,
}

/// kube-proxy as kubeadm runs it on these nodes.
fn kube_proxy(nodes: &[&str]) -> Vec<(Source, Value)> {
    let conf = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: iptables\n";
    let spec = json!({
        "hostNetwork": true,
        "containers": [{
            "name": "kube-proxy", "image": "registry.k8s.io/kube-proxy:v1.33.1",
            "command": ["/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf"],
            "volumeMounts": [{"name": "kube-proxy", "mountPath": "/var/lib/kube-proxy"}],
        }],
        "volumes": [{"name": "kube-proxy", "configMap": {"name": "kube-proxy"}}],
    });
    let labels = json!({"k8s-app": "kube-proxy"});
    let metadata = json!({"namespace": "kube-system", "name": "kube-proxy"});
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    let mut objects = vec![
        (
            Source::ConfigMaps,
            json!({"metadata": metadata, "data": {"config.conf": conf}}),
        ),
        (
            Source::DaemonSets,
            json!({"metadata": metadata, "spec": {"selector": {"matchLabels": labels}, "template": template}}),
        ),
    ];
    for node in nodes {
        let mut spec = spec.clone();
        spec["nodeName"] = json!(node);
        objects.push((
            Source::Pods,
            json!({"metadata": {"namespace": "kube-system", "name": format!("kube-proxy-{node}"), "labels": labels,
                    "ownerReferences": [{"kind": "DaemonSet", "name": "kube-proxy", "controller": true}]},
                "spec": spec,
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
        ));
    }
    objects
}

impl Shop {
    /// Three Pods on three nodes.
    fn of(metric: Metric, counts: &str) -> Self {
        let mut world = World::new();
        let nodes = ["n1", "n2", "n3"];
        for (source, object) in kube_proxy(&nodes) {
            world.put(source, object);
        }
        for name in nodes {
            world.put(
                Source::Nodes,
                json!({"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
                    "status": {"conditions": [{"type": "Ready", "status": "True"}],
                        "nodeInfo": {"operatingSystem": "linux", "kernelVersion": "6.1.0", "kubeletVersion": "v1.33.1"}}}),
            );
        }
        world.put(Source::Services, service("shop"));
        let balance = json!({"podMetric": {"name": "accepted_total", "podLabel": "pod", "counts": counts}});
        world.put(
            Source::Policies,
            json!({"metadata": {"namespace": "shop", "name": "api"},
                "spec": {"services": {"names": ["api"]}, "balance": balance}}),
        );
        let mut world = world.restarted();
        world.deliver(usize::MAX);
        world.lead(5);
        let now = world.now;
        world.operator.observed_by(now, &[Observer::Prometheus]);
        world.settle();
        let mut shop = Self {
            world,
            backends: BTreeMap::new(),
            metric,
            cluster: 1,
            chance: fastrand::Rng::with_seed(7),
            number: 0,
        };
        for _ in 0..3 {
            shop.add();
        }
        shop.show();
        shop
    }

    /// Adds a ready Pod, and returns its name; it is shown by the next [`Shop::show`].
    fn add(&mut self) -> String {
        self.number += 1;
        let name = format!("api-{}", self.number);
        let backend = Backend {
            weight: 1.0,
            value: 0.0,
            ready: true,
        };
        self.backends.insert(name.clone(), backend);
        name
    }

    /// The Pods and their slice, as they are now.
    fn show(&mut self) {
        let mut endpoints = Vec::new();
        for (name, backend) in &self.backends {
            let number: u32 = name.rsplit('-').next().unwrap().parse().unwrap();
            let node = format!("n{}", number % 3 + 1);
            self.world.put(
                Source::Pods,
                json!({"metadata": {"namespace": "shop", "name": name, "labels": {"app": "api"}},
                    "spec": {"nodeName": node},
                    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
            );
            let stored = self.world.stored(Source::Pods, "shop", name).unwrap();
            let uid = stored["metadata"]["uid"].clone();
            endpoints.push(json!({
                "addresses": [format!("10.1.0.{number}")], "nodeName": node,
                "conditions": {"ready": backend.ready, "serving": true, "terminating": !backend.ready},
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": name, "uid": uid},
            }));
        }
        self.world.put(
            Source::EndpointSlices,
            json!({"metadata": {"namespace": "shop", "name": "api-1", "labels": {"kubernetes.io/service-name": "api"}},
                "addressType": "IPv4", "endpoints": endpoints,
                "ports": [{"name": "", "port": 8080, "protocol": "TCP"}]}),
        );
        self.world.settle();
    }

    /// Stops a Pod: it takes no more connections, and is gone a page later.
    fn stop(&mut self, name: &str) {
        self.backends.get_mut(name).unwrap().ready = false;
        self.show();
        self.page();
        self.backends.remove(name);
        self.world.delete(Source::Pods, "shop", name);
        self.show();
    }

    /// The connections of one interval, and the page that Prometheus makes of their counters.
    fn page(&mut self) {
        let total: f64 = self.taking().map(|one| one.weight).sum();
        for _ in 0..RATE * u32::try_from(PAGE).unwrap() {
            let mut left = self.chance.f64() * total;
            let counted = f64::from(self.cluster);
            let chosen = self.taking().find(|one| {
                left -= one.weight;
                left < 0.0
            });
            if let Some(backend) = chosen {
                backend.value += counted;
            }
        }
        self.world.live(PAGE * 1000);
        let at = self.world.now.wall.0 * 1000;
        let samples = self.backends.iter().map(|(name, backend)| OwnedSample {
            metric: self.metric,
            subject: SampleSubject::Backend {
                namespace: "shop".into(),
                service: "api".into(),
                port: 0,
                pod: name.as_str().into(),
            },
            value: backend.value,
            at,
        });
        let page = OwnedPage {
            observer: Observer::Prometheus,
            metrics: Metrics::of(&[self.metric]),
            scope: PageScope::Backends {
                namespace: "shop".into(),
                service: "api".into(),
            },
            asked: at,
            samples: samples.collect(),
            gap: None,
        };
        self.world.step(Event::Measured(page));
        self.world.settle();
    }

    fn taking(&mut self) -> impl Iterator<Item = &mut Backend> {
        self.backends.values_mut().filter(|one| one.ready)
    }

    /// What is said of shares now.
    fn found(&self) -> Vec<Finding> {
        let mut all = self.world.operator.findings(self.world.now).findings;
        all.retain(|one| one.check == "backend-share-skew" || one.check == "backend-starved-newcomer");
        all
    }

    /// So many minutes in which no backend is found at fault.
    fn quiet(&mut self, minutes: u64) {
        for _ in 0..minutes * 60 / PAGE {
            self.page();
            let found = self.found();
            let unknown = found.iter().all(|one| one.verdict == FindingVerdict::Unknown);
            assert!(unknown, "{found:#?}");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hour {
    Even,
    /// One backend gets 15 % more than its share, where 25 % are tolerated.
    BenignSkew,
    /// Each connection is kept and brings fifty requests.
    KeepAlive,
    RollOut,
    ScaleUp,
}

#[rstest]
#[case(Hour::Even)]
#[case(Hour::BenignSkew)]
#[case(Hour::KeepAlive)]
#[case(Hour::RollOut)]
#[case(Hour::ScaleUp)]
fn an_hour_in_which_nothing_is_wrong_says_nothing(#[case] hour: Hour) {
    let mut shop = match hour {
        Hour::KeepAlive => Shop::of(Metric::BackendRequests, "Requests"),
        _ => Shop::of(Metric::BackendConnections, "Connections"),
    };
    shop.quiet(10);
    match hour {
        Hour::Even => {}
        Hour::BenignSkew => shop.backends.get_mut("api-1").unwrap().weight = 1.15,
        Hour::KeepAlive => shop.cluster = 50,
        Hour::RollOut => {
            for old in ["api-1", "api-2", "api-3"] {
                shop.add();
                shop.show();
                shop.quiet(1);
                shop.stop(old);
            }
        }
        Hour::ScaleUp => {
            for _ in 0..3 {
                shop.add();
            }
            shop.show();
        }
    }
    shop.quiet(50);
    // Nothing is Unknown either: every backend is judged.
    assert_eq!(shop.found(), []);
}

#[test]
fn a_backend_without_connections_is_named_within_two_minutes() {
    let mut shop = Shop::of(Metric::BackendConnections, "Connections");
    shop.quiet(10);
    shop.backends.get_mut("api-2").unwrap().weight = 0.0;
    let found = (0..8).find_map(|_| {
        shop.page();
        shop.found().into_iter().find(|one| one.cause == "NoTraffic")
    });
    let message = found.expect("within two minutes").message;
    assert!(message.contains("backend api-2 took 0 of "), "{message}");
}
