//! A Service with traffic: connections that are placed by chance, counters that count them, and a Prometheus that scrapes these.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Chance, World, balanced, service, set_up, slice_of};
use crate::handle::Input;
use crate::know::Source;
use crate::policy::{Balance, Counts, Measure, PodMetric, Policy};
use crate::sample::{Metric, Observer, PageScope, Sample, SampleSubject};

/// Seconds between two scrapes of one Pod, as in kube-prometheus-stack.
const SCRAPE: u64 = 30;
/// Seconds between two pages.
const PAGE: u64 = 15;

/// One Pod behind Service `shop/api`.
#[derive(Debug, Clone)]
pub(crate) struct TrafficPod {
    pub(crate) ready: bool,
    pub(crate) terminating: bool,
    pub(crate) node: String,
    pub(crate) zone: String,
    /// Its part of what is placed, 1 for an even one.
    pub(crate) weight: f64,
    /// Its counter, or what is open.
    pub(crate) value: f64,
    /// Whether its exporter answers.
    pub(crate) scraped: bool,
    uid: u32,
    /// In which second of an interval it is scraped.
    offset: u64,
    last: Option<(f64, i64)>,
}

/// A Service with traffic.
pub(crate) struct Traffic {
    pub(crate) world: World,
    pub(crate) pods: BTreeMap<String, TrafficPod>,
    /// Requests that each placement brings.
    pub(crate) cluster: f64,
    /// Whether Prometheus answers.
    pub(crate) answers: bool,
    metric: Metric,
    chance: Chance,
    uids: u32,
    second: u64,
}

/// A policy of Service `api` whose Pods have this metric.
pub(crate) fn measured(measure: Measure, counts: Counts) -> Policy {
    let mut policy = balanced(None, None, None);
    policy.balance = policy.balance.map(|balance| Balance {
        measure,
        pod_metric: Some(PodMetric {
            name: "accepted_total".into(),
            pod_label: "pod".into(),
            counts,
        }),
        ..balance
    });
    policy
}

impl Traffic {
    /// So many Pods, by new connections, in a cluster of kubeadm whose kube-proxy has these settings.
    pub(crate) fn of(pods: usize, proxy: &str, seed: u64) -> Self {
        let policy = measured(Measure::NewConnections, Counts::Connections);
        Self::by(policy, Metric::BackendConnections, pods, proxy, seed)
    }

    /// The same by a policy of its own.
    pub(crate) fn by(policy: Policy, metric: Metric, pods: usize, proxy: &str, seed: u64) -> Self {
        let mut world = set_up(World::watched(&[]), 3)
            .with(
                Source::ConfigMaps,
                super::proxy_config(proxy, "2026-01-01T00:00:00Z"),
            )
            .with(Source::Services, service("api", json!({})))
            .policy(policy);
        world.input(Input::Observers(&[Observer::Prometheus]));
        let mut traffic = Self {
            world,
            pods: BTreeMap::new(),
            cluster: 1.0,
            answers: true,
            metric,
            chance: Chance(seed),
            uids: 0,
            second: 0,
        };
        for _ in 0..pods {
            traffic.add();
        }
        traffic.show();
        traffic
    }

    /// Adds a ready Pod, and returns its name; it is shown by the next [`Traffic::show`].
    pub(crate) fn add(&mut self) -> String {
        self.uids += 1;
        let name = format!("api-{}", self.uids);
        self.start(&name);
        name
    }

    /// A Pod of this name begins, in place of one that had it before.
    pub(crate) fn start(&mut self, name: &str) {
        self.uids += 1;
        let offset = self.uids.wrapping_mul(11);
        self.pods.insert(
            name.to_owned(),
            TrafficPod {
                ready: true,
                terminating: false,
                node: format!("node-{}", self.uids % 3),
                zone: String::new(),
                weight: 1.0,
                value: 0.0,
                scraped: true,
                uid: self.uids,
                offset: u64::from(offset) % SCRAPE,
                last: None,
            },
        );
    }

    /// A Pod.
    pub(crate) fn pod(&mut self, name: &str) -> &mut TrafficPod {
        self.pods.get_mut(name).unwrap()
    }

    /// The Pods and the slice, as they are now.
    pub(crate) fn show(&mut self) {
        let names: Vec<String> = self
            .world
            .core
            .index()
            .pods_behind("shop", "api")
            .iter()
            .map(ToString::to_string)
            .collect();
        for gone in names.iter().filter(|name| !self.pods.contains_key(*name)) {
            self.world.input(Input::Gone(Source::Pods, "shop", gone));
        }
        let mut endpoints = Vec::new();
        for (name, pod) in &self.pods {
            let uid = format!("uid-{}", pod.uid);
            let row = json!({
                "metadata": {"name": name, "namespace": "shop", "labels": {"app": "api"}, "uid": uid},
                "spec": {"nodeName": pod.node},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            });
            self.world.put(Source::Pods, &row);
            let zone = (!pod.zone.is_empty()).then(|| json!([{"name": pod.zone}]));
            endpoints.push(json!({
                "addresses": [format!("10.0.{}.{}", pod.uid / 250, pod.uid % 250 + 1)],
                "conditions": {"ready": pod.ready, "serving": pod.ready, "terminating": pod.terminating},
                "nodeName": pod.node,
                "hints": {"forZones": zone},
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": name, "uid": uid},
            }));
        }
        let slice = slice_of("api", "a", "IPv4", &Value::Array(endpoints));
        self.world.put(Source::EndpointSlices, &slice);
    }

    /// So many seconds with so many placements in each.
    pub(crate) fn flow(&mut self, seconds: u64, in_a_second: u32) {
        for _ in 0..seconds {
            self.place(in_a_second);
            self.second += 1;
            self.scrape();
            if self.second.is_multiple_of(PAGE) {
                self.world.wait(PAGE);
                self.page();
            }
        }
    }

    /// Flows until a check says something, at most so many seconds; says after how many.
    pub(crate) fn until(&mut self, id: &str, seconds: u64, in_a_second: u32) -> Option<u64> {
        let begin = self.second;
        while self.second < begin + seconds {
            self.flow(PAGE - self.second % PAGE, in_a_second);
            if !self.world.found(id).is_empty() {
                return Some(self.second - begin);
            }
        }
        None
    }

    /// What a check says, at each page.
    pub(crate) fn said(&mut self, id: &str, seconds: u64, in_a_second: u32) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..seconds / PAGE {
            self.flow(PAGE, in_a_second);
            said.push(self.world.verdict(id));
        }
        said
    }

    fn place(&mut self, placements: u32) {
        let takes = |pod: &TrafficPod| {
            if pod.ready && !pod.terminating {
                pod.weight
            } else {
                0.0
            }
        };
        let weights: Vec<f64> = self.pods.values().map(takes).collect();
        if weights.iter().sum::<f64>() > 0.0 {
            let placed = self.chance.place(placements, &weights);
            for (pod, count) in self.pods.values_mut().zip(placed) {
                pod.value += count * self.cluster;
            }
        }
    }

    fn scrape(&mut self) {
        let at = World::BEGINNING.0 * 1000 + i64::try_from(self.second).unwrap() * 1000;
        let second = self.second;
        for pod in self.pods.values_mut().filter(|pod| pod.scraped) {
            if second % SCRAPE == pod.offset {
                pod.last = Some((pod.value, at));
            }
        }
    }

    fn page(&mut self) {
        if !self.answers {
            return;
        }
        let samples: Vec<Sample<'_>> = self
            .pods
            .iter()
            .filter_map(|(name, pod)| {
                let (value, at) = pod.last?;
                Some(Sample {
                    metric: self.metric,
                    subject: SampleSubject::Backend {
                        namespace: "shop",
                        service: "api",
                        port: 0,
                        pod: name,
                    },
                    value,
                    at,
                })
            })
            .collect();
        let scope = PageScope::Backends {
            namespace: "shop",
            service: "api",
        };
        self.world.page(Observer::Prometheus, scope, &samples, None);
    }
}
