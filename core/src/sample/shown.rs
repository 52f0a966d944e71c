//! Samples as people read them: what each is of, by whom and how old, and what an observer does not bring.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::metric::{Metric, MetricKind, Metrics};
use super::store::Samples;
use super::{Observer, SampleSubject, Why};
use crate::know::{Mono, Unit};
use crate::names::{Name, Names};

/// One sample that counts.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleView {
    /// The metric.
    pub metric: Metric,
    /// What it was measured on: a Node, an API server, a resource in one, a Pod, `cluster`.
    pub on: String,
    /// The value of a gauge; of a counter its growth in a second, where that is known.
    pub value: Option<f64>,
    /// Who measured it.
    pub observer: Observer,
    /// Seconds since it was taken.
    pub age_seconds: u64,
}

impl SampleView {
    /// The value with its unit.
    pub fn value_text(&self) -> String {
        let Some(value) = self.value else {
            return "one sample, of which no growth is known".to_owned();
        };
        let unit = self.metric.unit();
        match (self.metric.kind(), unit) {
            (MetricKind::Gauge, _) => format!("{}{unit}", rounded(value)),
            (MetricKind::Counter, Unit::Count) => format!("{} a second", rounded(value)),
            (MetricKind::Counter, _) => format!("{}{unit} a second", rounded(value)),
        }
    }
}

/// A number with three digits where it is small, and whole where it is not.
fn rounded(value: f64) -> String {
    if value.fract() == 0.0 || value >= 1_000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

impl Samples {
    /// What is held of some metrics on subjects that are asked for, in order.
    pub fn shown(
        &self,
        now: Mono,
        names: &Names,
        metrics: Metrics,
        of: impl Fn(SampleSubject<&str>) -> bool,
    ) -> Vec<SampleView> {
        let held = self
            .series
            .iter()
            .filter(|(key, held)| metrics.has(key.0) && held.is_fresh(now) && of(named(names, key.1)));
        held.map(|((metric, subject, observer), held)| SampleView {
            metric: *metric,
            on: text(named(names, *subject)),
            value: held.value(*metric),
            observer: *observer,
            age_seconds: now.since(held.taken()) / 1000,
        })
        .collect()
    }

    /// Observers that bring nothing at all of nodes and the control plane, and why. What policies of teams name is theirs.
    pub fn failing(&self) -> BTreeMap<Observer, (Why, Arc<str>)> {
        self.answers.failing()
    }
}

fn named(names: &Names, subject: SampleSubject) -> SampleSubject<&str> {
    let text = |name: Name| names.text(name);
    match subject {
        SampleSubject::Cluster => SampleSubject::Cluster,
        SampleSubject::Node(name) => SampleSubject::Node(text(name)),
        SampleSubject::Instance(at) => SampleSubject::Instance(at),
        SampleSubject::Resource(at, name) => SampleSubject::Resource(at, text(name)),
        SampleSubject::Backend {
            namespace,
            service,
            port,
            pod,
        } => SampleSubject::Backend {
            namespace: text(namespace),
            service: text(service),
            port,
            pod: text(pod),
        },
    }
}

fn text(subject: SampleSubject<&str>) -> String {
    match subject {
        SampleSubject::Cluster => "cluster".to_owned(),
        SampleSubject::Node(name) => name.to_owned(),
        SampleSubject::Instance(at) => at.to_string(),
        SampleSubject::Resource(at, name) => format!("{name} in {at}"),
        SampleSubject::Backend { namespace, pod, .. } => format!("{namespace}/{pod}"),
    }
}
