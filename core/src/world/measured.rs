//! Samples of a small world, as a feeder hands them over.

use serde_json::{Value, json};

use crate::handle::Input;
use crate::sample::{Metric, Metrics, Observer, Page, PageGap, PageScope, Sample, SampleSubject, Why};
use crate::world::World;

impl World {
    /// The present, in milliseconds since the Unix epoch.
    pub(crate) fn milliseconds(&self) -> i64 {
        self.now.wall.0 * 1000
    }

    /// A page of samples that were taken just now.
    pub(crate) fn measure(
        &mut self,
        observer: Observer,
        scope: PageScope<&str>,
        values: &[(Metric, SampleSubject<&str>, f64)],
    ) {
        let at = self.milliseconds();
        let samples: Vec<_> = values
            .iter()
            .map(|(metric, subject, value)| Sample {
                metric: *metric,
                subject: *subject,
                value: *value,
                at,
            })
            .collect();
        self.page(observer, scope, &samples, None);
    }

    /// A page for every metric that its samples have.
    pub(crate) fn page(
        &mut self,
        observer: Observer,
        scope: PageScope<&str>,
        samples: &[Sample<'_>],
        gap: Option<PageGap<'_>>,
    ) {
        let metrics = samples.iter().map(|one| Metrics::of(&[one.metric]));
        self.input(Input::Samples(&Page {
            observer,
            metrics: metrics.fold(Metrics::NONE, Metrics::with),
            scope,
            asked: self.milliseconds(),
            samples,
            gap,
        }));
    }

    /// An observer gives no answer.
    pub(crate) fn no_answer(
        &mut self,
        observer: Observer,
        scope: PageScope<&str>,
        metrics: Metrics,
        why: Why,
    ) {
        self.input(Input::Samples(&Page {
            observer,
            metrics,
            scope,
            asked: self.milliseconds(),
            samples: &[],
            gap: Some(PageGap {
                why,
                detail: "HTTP 503",
            }),
        }));
    }
}

/// The slice in which the API servers write their addresses.
pub(crate) fn instances(addresses: &[&str]) -> Value {
    let endpoints: Vec<Value> = addresses.iter().map(|at| json!({"addresses": [at]})).collect();
    json!({"metadata": {"namespace": "default", "name": "kubernetes",
        "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "https", "port": 6443}]})
}
