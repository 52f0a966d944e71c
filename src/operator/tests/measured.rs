//! What two observers of one API server measure: where they agree a finding rests on it, where they differ none does.

use std::net::IpAddr;
use std::sync::Arc;

use evenkeel_core::know::Source;
use evenkeel_core::sample::{Metric, Metrics, Observer, PageScope, SampleSubject, Why};
use serde_json::json;

use super::super::Event;
use super::world::World;
use crate::samples::{OwnedPage, OwnedSample};

const CHECK: &str = "etcd-quota-headroom";

const GIB: f64 = 1_073_741_824.0;

/// An operator with one API server that both observers measure.
fn world() -> World {
    let mut world = World::leading();
    world.apply(
        Source::EndpointSlices,
        json!({"metadata": {"namespace": "default", "name": "kubernetes",
            "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}],
            "ports": [{"name": "https", "port": 6443}]}),
    );
    let now = world.now;
    world
        .operator
        .observed_by(now, &[Observer::Prometheus, Observer::Instance]);
    world.settle();
    world
}

impl World {
    /// An observer says how large the database is, in GiB, or why it does not.
    fn database(&mut self, observer: Observer, size: Result<f64, Why>) {
        let at: IpAddr = "192.0.2.1".parse().unwrap();
        let scope: PageScope<Arc<str>> = match observer {
            Observer::Instance => PageScope::Instance(at),
            _ => PageScope::Instances,
        };
        let asked = self.now.wall.0 * 1_000;
        let sample = size.ok().map(|size| OwnedSample {
            metric: Metric::EtcdDatabaseSize,
            subject: SampleSubject::Instance(at),
            value: size * GIB,
            at: asked,
        });
        self.step(Event::Measured(OwnedPage {
            observer,
            metrics: Metrics::of(&[Metric::EtcdDatabaseSize]),
            scope,
            asked,
            samples: sample.into_iter().collect(),
            gap: size.err().map(|why| (why, String::new())),
        }));
        self.work();
    }

    /// What the check says: verdict and message.
    fn says(&self) -> String {
        let list = self.operator.findings(self.now);
        let found = list.findings.iter().find(|one| one.check == CHECK);
        found.map_or_else(
            || "nothing".to_owned(),
            |one| format!("{}: {}", one.verdict, one.message),
        )
    }
}

#[test]
fn a_finding_rests_on_observers_that_agree_and_on_none_that_differ() {
    let mut world = world();
    world.database(Observer::Prometheus, Ok(1.96));
    assert!(world.says().starts_with("Violated: "), "{}", world.says());
    world.database(Observer::Instance, Ok(1.99));
    assert!(world.says().starts_with("Violated: "), "{}", world.says());
    world.pass(30_000);
    world.database(Observer::Instance, Ok(0.5));
    let said = world.says();
    assert!(
        said.starts_with("Unknown: ")
            && said.contains("Prometheus says 2100000000 and the API server's /metrics says 540000000"),
        "{said}"
    );
    world.pass(30_000);
    world.database(Observer::Instance, Ok(1.99));
    world.database(Observer::Prometheus, Ok(1.97));
    assert!(world.says().starts_with("Violated: "), "{}", world.says());
}

#[test]
fn where_one_of_them_falls_silent_the_other_counts_and_who_fails_is_shown() {
    let mut world = world();
    world.database(Observer::Prometheus, Ok(1.96));
    world.database(Observer::Instance, Ok(0.5));
    assert!(world.says().starts_with("Unknown: "), "{}", world.says());
    for _ in 0..4 {
        world.pass(30_000);
        world.database(Observer::Instance, Err(Why::Unreachable));
        world.database(Observer::Prometheus, Ok(1.96));
    }
    assert!(world.says().starts_with("Violated: "), "{}", world.says());
    let not_fresh = world.operator.readiness(world.now).not_fresh;
    assert_eq!(
        not_fresh.get("the API server's /metrics").map(String::as_str),
        Some("it cannot be reached"),
        "{not_fresh:?}"
    );
    assert!(!not_fresh.contains_key("Prometheus"), "{not_fresh:?}");
}
