//! A cluster that never stands still, one minute at a time: Jobs that come and go, rollouts, nodes of an autoscaler,
//! annotations that change, and Events. Every name in it is new, and stays in no object for long.

use std::sync::Arc;

use evenkeel_core::know::{Mono, Now, Source, Wall};
use evenkeel_core::policy::{Client, Connection, Policy, Protocol, Selector, ServicePick};
use evenkeel_core::sample::{Metric, Metrics, Observer, Page, PageScope, Sample, SampleSubject};
use evenkeel_core::{Core, Input};
use serde_json::{Value, json};

use crate::objects;

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
        churn.give(Input::Observers(&[Observer::Prometheus]));
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
        self.samples();
        self.core.round(at(minute));
    }

    /// A Prometheus measures each node that is there, and one that is gone.
    fn samples(&mut self) {
        let minute = self.minute;
        let autoscaled = format!("auto-{}", minute / 10 * 10);
        let gone = format!("auto-{}", minute.saturating_sub(100) / 10 * 10);
        let mut names: Vec<String> = (0..NODES).map(|one| format!("n{one}")).collect();
        names.extend([autoscaled, gone]);
        let asked = at(minute).wall.0 * 1_000;
        for metric in [
            Metric::ConntrackEntries,
            Metric::ConntrackLimit,
            Metric::ConntrackDrops,
        ] {
            let samples: Vec<_> = names
                .iter()
                .map(|name| Sample {
                    metric,
                    subject: SampleSubject::Node(&**name),
                    value: if metric == Metric::ConntrackLimit {
                        1e6
                    } else {
                        1e3 + f64::from(minute as u32)
                    },
                    at: asked - 5_000,
                })
                .collect();
            self.give(Input::Samples(&Page {
                observer: Observer::Prometheus,
                metrics: Metrics::of(&[metric]),
                scope: PageScope::Nodes,
                asked,
                samples: &samples,
                gap: None,
            }));
        }
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
    let mut node = objects::node(name, "z");
    node["metadata"]["labels"]["kubernetes.io/hostname"] = name.into();
    node["metadata"]["annotations"] = json!({"config.cilium.io/changed": format!("value-{minute}")});
    node["spec"]["providerID"] = format!("aws:///z/i-{name}").into();
    node["status"]["nodeInfo"]["kernelVersion"] = format!("6.1.{}", minute / 1440).into();
    node
}

fn service(one: u64, minute: u64) -> Value {
    let mut service = objects::service(&format!("s{one}"), json!({}));
    let changed = format!("{minute}-{}", "x".repeat(1000));
    service["metadata"]["labels"]["revision"] = format!("r{minute}").into();
    service["metadata"]["annotations"] = json!({"service.kubernetes.io/changed": changed});
    service
}

fn slice(one: u64, minute: u64) -> Value {
    let endpoints = (0..5).map(|endpoint| {
        let [_, _, _, .., high, low] = (minute * 5 + endpoint).to_be_bytes();
        json!({
            "addresses": [format!("10.{one}.{high}.{low}")], "conditions": {"ready": true},
            "nodeName": format!("n{}", (minute + endpoint) % NODES), "zone": "z",
        })
    });
    objects::slice_of(&format!("s{one}"), "x", "IPv4", &endpoints.collect())
}

fn pod(name: &str, job: u64, minute: u64) -> Value {
    let mut pod = objects::pod(name, "client", &[]);
    pod["metadata"]["labels"]["job-name"] = format!("job-{job}-{minute}").into();
    pod["metadata"]["labels"]["controller-uid"] = format!("{job}-{minute}").into();
    pod["spec"]["nodeName"] = format!("n{}", minute % NODES).into();
    pod["spec"]["containers"] = json!([{"name": "work", "image": "example.com/work:1"}]);
    pod
}

fn event(minute: u64) -> Value {
    let mut event = objects::evicted(u32::try_from(minute).unwrap(), "web");
    event["source"]["host"] = format!("n{}", minute % NODES).into();
    event
}

/// Selects the Pods of Jobs, so that they are kept.
fn policy() -> Policy {
    let jobs = Client {
        pods: Some(objects::app("client")),
        ..objects::client("jobs")
    };
    let calls = Connection {
        longest_silence_seconds: Some(60),
        ..objects::connection(Protocol::Http1, jobs)
    };
    Policy {
        services: ServicePick::Selector(Selector::default()),
        ..objects::policy(vec![calls])
    }
}
