//! What is read of an API server's `/metrics`, and the samples that are made of it.
//!
//! The names are in k8s.io/apiserver: `pkg/endpoints/metrics/metrics.go` (requests), `pkg/storage/etcd3/metrics/metrics.go`
//! (etcd) and `pkg/storage/cacher/metrics/metrics.go` (the watch cache); `process_*` are of Prometheus'
//! client for Go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use evenkeel_core::sample::{Metric, Metrics, SampleSubject};

use crate::exposition::{Sample, SeriesKind, WantedMetric};
use crate::samples::{OwnedSample, resource};

/// Most resources of one API server: as many as samples are kept of (`sample::Of::most` in the core), and room for those
/// that are not served.
const MOST_RESOURCES: usize = 512;

/// The bucket of requests that took at most 10 s.
const TEN_SECONDS: &str = "10";

macro_rules! read {
    ($($name:ident $text:literal $kind:ident $(only $only:literal)?;)*) => {
        /// A metric that is read, by its place in [`METRICS`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Read {
            $($name,)*
        }

        impl Read {
            const ALL: &[Self] = &[$(Self::$name),*];
        }

        /// What is read of a page.
        pub(super) const METRICS: &[WantedMetric] = &[$(WantedMetric {
            name: $text,
            kind: SeriesKind::$kind,
            only: read!(@only $($only)?),
        },)*];
    };
    (@only) => { None };
    (@only $only:literal) => { Some($only) };
}

read! {
    Requests "apiserver_request_total" Counter;
    // Some 30 buckets of each series are skipped.
    WithinTenSeconds "apiserver_request_duration_seconds_bucket" Histogram only "le=\"10\"";
    Durations "apiserver_request_duration_seconds_count" Histogram;
    LongRunning "apiserver_longrunning_requests" Gauge;
    StartTime "process_start_time_seconds" Gauge;
    ResidentMemory "process_resident_memory_bytes" Gauge;
    StorageSize "apiserver_storage_size_bytes" Gauge;
    EtcdRequests "etcd_requests_total" Counter;
    EtcdErrors "etcd_request_errors_total" Counter;
    EtcdSeconds "etcd_request_duration_seconds_sum" Histogram;
    WatchCacheRevision "apiserver_watch_cache_resource_version" Gauge;
    ConsistentReads "apiserver_watch_cache_consistent_read_total" Counter;
}

/// What a page can bring.
pub(super) const BROUGHT: Metrics = Metrics::of(&[
    Metric::Requests,
    Metric::ServerErrors,
    Metric::TooManyRequests,
    Metric::SlowRequests,
    Metric::OpenWatches,
    Metric::StartTime,
    Metric::ResidentMemory,
    Metric::EtcdDatabaseSize,
    Metric::ResourceRequests,
    Metric::GatewayTimeouts,
    Metric::EtcdRequests,
    Metric::EtcdErrors,
    Metric::EtcdSeconds,
    Metric::WatchCacheRevision,
    Metric::ConsistentReadFallbacks,
]);

/// Sums of a page. What no line of the page speaks of stays absent: a counter that is there without a single error is
/// zero errors, one that is not there is not known.
#[derive(Debug, Default)]
pub(super) struct Sums {
    whole: BTreeMap<Metric, f64>,
    resources: BTreeMap<Arc<str>, BTreeMap<Metric, f64>>,
    within_ten_seconds: Option<f64>,
    durations: Option<f64>,
    beyond: bool,
}

impl Sums {
    /// Takes one sample, of the metric at this place.
    pub(super) fn add(&mut self, at: usize, sample: &Sample<'_>) {
        let Some(read) = Read::ALL.get(at) else { return };
        let (labels, value) = (&sample.labels, sample.value);
        let verb = labels.get("verb");
        // A watch, an exec or a port forward lasts as long as its client wishes.
        let lasting = matches!(verb, Some("WATCH" | "CONNECT"));
        let code = labels.get("code").unwrap_or_default();
        let when = |is: bool| if is { value } else { 0.0 };
        match read {
            Read::Requests if !lasting => {
                self.sum(Metric::Requests, value);
                self.sum(Metric::ServerErrors, when(code.starts_with('5')));
                self.sum(Metric::TooManyRequests, when(code == "429"));
                self.of_resource(sample, Metric::ResourceRequests, value);
                self.of_resource(sample, Metric::GatewayTimeouts, when(code == "504"));
            }
            Read::WithinTenSeconds if !lasting && labels.get("le") == Some(TEN_SECONDS) => {
                *self.within_ten_seconds.get_or_insert_default() += value;
            }
            Read::Durations if !lasting => *self.durations.get_or_insert_default() += value,
            Read::Requests | Read::WithinTenSeconds | Read::Durations => {}
            Read::LongRunning => self.sum(Metric::OpenWatches, when(verb == Some("WATCH"))),
            Read::StartTime => self.most(Metric::StartTime, value),
            Read::ResidentMemory => self.most(Metric::ResidentMemory, value),
            Read::StorageSize => self.most(Metric::EtcdDatabaseSize, value),
            Read::EtcdRequests => {
                self.of_resource(sample, Metric::EtcdRequests, value);
                self.of_resource(sample, Metric::EtcdErrors, 0.0);
            }
            Read::EtcdErrors => self.of_resource(sample, Metric::EtcdErrors, value),
            Read::EtcdSeconds => self.of_resource(sample, Metric::EtcdSeconds, value),
            Read::WatchCacheRevision => self.of_resource(sample, Metric::WatchCacheRevision, value),
            Read::ConsistentReads => {
                let fallback = labels.get("fallback") == Some("true");
                self.of_resource(sample, Metric::ConsistentReadFallbacks, when(fallback));
            }
        }
    }

    fn sum(&mut self, metric: Metric, value: f64) {
        *self.whole.entry(metric).or_default() += value;
    }

    fn most(&mut self, metric: Metric, value: f64) {
        let held = self.whole.entry(metric).or_insert(value);
        *held = held.max(value);
    }

    fn of_resource(&mut self, sample: &Sample<'_>, metric: Metric, value: f64) {
        let labels = &sample.labels;
        let Some(name) = resource(labels.get("group"), labels.get("resource"), labels.get("type")) else {
            // Requests that concern no resource, as of /healthz.
            return;
        };
        if self.resources.len() >= MOST_RESOURCES && !self.resources.contains_key(&name) {
            self.beyond = true;
            return;
        }
        *self.resources.entry(name).or_default().entry(metric).or_default() += value;
    }

    /// Whether there were more resources than are taken.
    pub(super) const fn is_beyond(&self) -> bool {
        self.beyond
    }

    /// The samples of what is wanted, of the API server at this address, taken at this time.
    pub(super) fn samples(mut self, instance: IpAddr, wanted: Metrics, at: i64) -> Vec<OwnedSample> {
        // NaN stays NaN, which the core refuses.
        if let (Some(all), Some(within)) = (self.durations, self.within_ten_seconds) {
            self.whole
                .insert(Metric::SlowRequests, (all - within).clamp(0.0, f64::INFINITY));
        }
        let whole = self.whole.into_iter();
        let whole = whole.map(|(metric, value)| (metric, SampleSubject::Instance(instance), value));
        let resources = self.resources.into_iter().flat_map(|(name, values)| {
            let of = move |(metric, value)| (metric, SampleSubject::Resource(instance, name.clone()), value);
            values.into_iter().map(of)
        });
        whole
            .chain(resources)
            .filter(|one| wanted.has(one.0))
            .map(|(metric, subject, value)| OwnedSample {
                metric,
                subject,
                value,
                at,
            })
            .collect()
    }
}
