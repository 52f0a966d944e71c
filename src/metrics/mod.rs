//! The operator's metrics for Prometheus.
//!
//! Counters and distributions are counted where things happen. Everything that the core knows is read from it at the
//! moment of a scrape ([`Snapshot`]), so that nothing is kept twice and nothing goes stale.

#![allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]

mod process;
mod table;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use evenkeel_core::judge::Severity;
use evenkeel_core::know::Source;
use evenkeel_core::sample::DroppedSamples;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

use crate::escape;

pub use table::{MetricType, TABLE, find, page};

/// The Kubernetes versions that are supported: those that k8s-openapi's types span, tested on the newest built here.
pub const KUBERNETES: &str = "1.33-1.37";

/// Most series of a metric that names namespaces and policies.
pub const SERIES: usize = 200;

/// What may become of a remedy.
const REMEDIED: [&str; 8] = [
    "suggested",
    "fenced",
    "undone",
    "rejected",
    "refused",
    "lapsed",
    "failed",
    "left",
];

type MetricLabels = Vec<(&'static str, String)>;

/// What a scrape shows of the core and its surroundings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Whether this replica writes.
    pub leader: bool,
    /// Whether the first read of the cluster is complete.
    pub ready: bool,
    /// Each source.
    pub sources: Vec<SourceSnapshot>,
    /// Findings that are not accepted, by check, verdict and severity.
    pub findings: BTreeMap<(&'static str, &'static str, Severity), u32>,
    /// Findings under an exception, by check.
    pub excepted: BTreeMap<&'static str, u32>,
    /// Policies by condition and status.
    pub policies: BTreeMap<(String, &'static str), u32>,
    /// Namespace and name of policies that are not healthy, at most [`SERIES`].
    pub unhealthy: Vec<(String, String)>,
    /// How many more there are.
    pub unhealthy_left: usize,
    /// Critical findings, at most [`SERIES`].
    pub criticals: Vec<CriticalSeries>,
    /// How many more series there would be.
    pub criticals_left: usize,
    /// Statuses that wait.
    pub queue: usize,
    /// Plans by remedy and by the guard that holds them back, empty for none.
    pub plans: BTreeMap<(&'static str, &'static str), u32>,
    /// Records of remedies that are open, by how far they have come; none where the operator does not act.
    pub remediations: BTreeMap<&'static str, u32>,
    /// Whether too much is unhealthy to do anything; `None` where nothing is planned.
    pub storm: Option<bool>,
    /// Samples that are held, where anybody measures.
    pub samples: Option<SampleSnapshot>,
}

/// What a scrape shows of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SampleSnapshot {
    /// Series that are held.
    pub series: usize,
    /// What was not taken, since the process began.
    pub dropped: DroppedSamples,
}

/// Critical findings that are Violated and not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CriticalSeries {
    /// Their check.
    pub check: &'static str,
    /// The namespace that they are about; empty for the cluster and its nodes.
    pub namespace: String,
    /// Name of the policy; empty for the baseline.
    pub policy: String,
    /// How many.
    pub count: u32,
}

/// What a scrape shows of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSnapshot {
    /// The source.
    pub source: Source,
    /// Whether it is complete and current.
    pub fresh: bool,
    /// Seconds since the last sign of life of its watches, the oldest of them; `None` without watches.
    pub age_seconds: Option<f64>,
    /// Watches opened again.
    pub restarts: u64,
    /// Lists read.
    pub lists: u64,
    /// Times that its watches fell silent.
    pub silences: u64,
    /// Lines received.
    pub lines: u64,
    /// Objects that were not understood.
    pub opaque: u32,
}

/// Every metric.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    gauges: BTreeMap<&'static str, Family<MetricLabels, Gauge<f64, AtomicU64>>>,
    /// Statuses written, by outcome.
    status_writes: Family<MetricLabels, Counter>,
    alerts: Family<MetricLabels, Counter>,
    /// Queries to a Prometheus, by outcome, and the bytes of their answers.
    queries: Family<MetricLabels, Counter>,
    answer_bytes: Counter,
    displaced: Counter,
    /// What became of remedies, by outcome.
    remediations: Family<MetricLabels, Counter>,
    /// Alerts that the last push left out.
    alerts_left: AtomicUsize,
    rounds: Counter,
    round_seconds: Histogram,
    reaction_seconds: Histogram,
    cpu: Counter<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let mut gauges = BTreeMap::new();
        for one in TABLE.iter().filter(|one| one.kind == MetricType::Gauge) {
            let family: Family<MetricLabels, Gauge<f64, AtomicU64>> = Family::default();
            registry.register(one.name, one.help, family.clone());
            gauges.insert(one.name, family);
        }
        // 10 µs to about 0.3 s.
        let buckets = || Histogram::new(exponential_buckets(1e-5, 2.0, 15));
        let mut metrics = Self {
            registry,
            gauges,
            status_writes: Family::default(),
            alerts: Family::default(),
            queries: Family::default(),
            answer_bytes: Counter::default(),
            displaced: Counter::default(),
            remediations: Family::default(),
            alerts_left: AtomicUsize::new(0),
            rounds: Counter::default(),
            round_seconds: buckets(),
            reaction_seconds: buckets(),
            cpu: Counter::default(),
        };
        metrics.register("evenkeel_status_writes_total", metrics.status_writes.clone());
        metrics.register("evenkeel_alerts_total", metrics.alerts.clone());
        metrics.register("evenkeel_prometheus_queries_total", metrics.queries.clone());
        metrics.register(
            "evenkeel_prometheus_answer_bytes_total",
            metrics.answer_bytes.clone(),
        );
        metrics.register("evenkeel_http_displaced_total", metrics.displaced.clone());
        metrics.register("evenkeel_remediations_total", metrics.remediations.clone());
        metrics.register("evenkeel_rounds_total", metrics.rounds.clone());
        metrics.register("evenkeel_round_seconds", metrics.round_seconds.clone());
        metrics.register("evenkeel_reaction_seconds", metrics.reaction_seconds.clone());
        metrics.register("evenkeel_process_cpu_seconds_total", metrics.cpu.clone());
        metrics
    }
}

impl Metrics {
    fn register(&mut self, name: &'static str, metric: impl Metric) {
        let help = find(name).map_or("", |one| one.help);
        // The encoder itself appends what OpenMetrics demands of a counter's name.
        self.registry
            .register(name.strip_suffix("_total").unwrap_or(name), help, metric);
    }

    /// Counts what became of a request for a status, and how long our own part took until it left.
    pub fn wrote(&self, outcome: &'static str, reaction: Duration) {
        self.status_writes
            .get_or_create(&vec![("outcome", outcome.to_owned())])
            .inc();
        self.reaction_seconds.observe(reaction.as_secs_f64());
    }

    /// Counts a push of alerts.
    pub fn pushed(&self, outcome: &'static str) {
        self.alerts
            .get_or_create(&vec![("outcome", outcome.to_owned())])
            .inc();
    }

    /// Counts a query to a Prometheus, and the bytes of its answer.
    pub fn asked_prometheus(&self, outcome: &'static str, bytes: usize) {
        self.queries
            .get_or_create(&vec![("outcome", outcome.to_owned())])
            .inc();
        self.answer_bytes.inc_by(bytes as u64);
    }

    /// The operator acts: what may become of remedies is counted from zero on, so that the first is an increase.
    pub fn acts(&self) {
        for outcome in REMEDIED {
            let labels = vec![("outcome", outcome.to_owned())];
            drop(self.remediations.get_or_create(&labels));
        }
    }

    /// Counts what became of a remedy.
    pub fn remedied(&self, outcome: &'static str) {
        let labels = vec![("outcome", outcome.to_owned())];
        self.remediations.get_or_create(&labels).inc();
    }

    /// Notes how many alerts a push left out.
    pub fn left_out(&self, alerts: usize) {
        self.alerts_left.store(alerts, Ordering::Relaxed);
    }

    /// Counts a connection that was closed to make room for a newer one.
    pub fn displaced(&self) {
        self.displaced.inc();
    }

    /// Counts a round.
    pub fn round(&self, took: Duration) {
        self.rounds.inc();
        self.round_seconds.observe(took.as_secs_f64());
    }

    #[allow(clippy::needless_pass_by_value, reason = "labels are made for this call")]
    fn set(&self, name: &'static str, mut labels: MetricLabels, value: f64) {
        if let Some(family) = self.gauges.get(name) {
            // The encoder escapes what ends a label or a line, and no more.
            for (_, text) in &mut labels {
                if let Cow::Owned(shown) = escape::line(text) {
                    *text = shown;
                }
            }
            family.get_or_create(&labels).set(value);
        }
    }

    /// The text of a scrape.
    pub fn text(&self, snapshot: &Snapshot) -> String {
        for family in self.gauges.values() {
            family.clear();
        }
        self.set_gauges(snapshot);
        if let Some(process) = process::read() {
            self.set("evenkeel_process_resident_bytes", vec![], process.resident_bytes);
            self.set("evenkeel_process_start_seconds", vec![], process.start_seconds);
            let before = self.cpu.get();
            if process.cpu_seconds > before {
                self.cpu.inc_by(process.cpu_seconds - before);
            }
        }
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn set_gauges(&self, snapshot: &Snapshot) {
        let truth = |holds: bool| f64::from(u8::from(holds));
        self.set(
            "evenkeel_build_info",
            vec![
                ("version", env!("CARGO_PKG_VERSION").into()),
                ("kubernetes", KUBERNETES.into()),
            ],
            1.0,
        );
        self.set("evenkeel_leader", vec![], truth(snapshot.leader));
        self.set("evenkeel_ready", vec![], truth(snapshot.ready));
        self.set_sources(snapshot);
        for ((check, verdict, severity), count) in &snapshot.findings {
            let labels = vec![
                ("check", (*check).to_owned()),
                ("verdict", (*verdict).to_owned()),
                ("severity", severity.name().to_owned()),
            ];
            self.set("evenkeel_findings", labels, f64::from(*count));
        }
        for (check, count) in &snapshot.excepted {
            let labels = vec![("check", (*check).to_owned())];
            self.set("evenkeel_findings_excepted", labels, f64::from(*count));
        }
        for ((condition, status), count) in &snapshot.policies {
            let labels = vec![("condition", condition.clone()), ("status", (*status).to_owned())];
            self.set("evenkeel_policies", labels, f64::from(*count));
        }
        for (namespace, policy) in snapshot.unhealthy.iter().take(SERIES) {
            let labels = vec![("namespace", namespace.clone()), ("policy", policy.clone())];
            self.set("evenkeel_policy_unhealthy", labels, 1.0);
        }
        for one in snapshot.criticals.iter().take(SERIES) {
            let labels = vec![
                ("check", one.check.to_owned()),
                ("namespace", one.namespace.clone()),
                ("policy", one.policy.clone()),
            ];
            self.set("evenkeel_critical_findings", labels, f64::from(one.count));
        }
        for (what, left) in [
            ("policies", snapshot.unhealthy_left),
            ("findings", snapshot.criticals_left),
            ("alerts", self.alerts_left.load(Ordering::Relaxed)),
        ] {
            self.set("evenkeel_truncated", vec![("what", what.to_owned())], left as f64);
        }
        self.set("evenkeel_status_queue", vec![], snapshot.queue as f64);
        if let Some(samples) = &snapshot.samples {
            self.set_samples(samples);
        }
        for ((remedy, held_by), count) in &snapshot.plans {
            let labels = vec![
                ("remedy", (*remedy).to_owned()),
                ("held_by", (*held_by).to_owned()),
            ];
            self.set("evenkeel_plans", labels, f64::from(*count));
        }
        for (phase, count) in &snapshot.remediations {
            let labels = vec![("phase", (*phase).to_owned())];
            self.set("evenkeel_remediations", labels, f64::from(*count));
        }
        if let Some(storm) = snapshot.storm {
            self.set("evenkeel_storm", vec![], truth(storm));
        }
    }

    fn set_samples(&self, samples: &SampleSnapshot) {
        self.set("evenkeel_sample_series", vec![], samples.series as f64);
        let dropped = samples.dropped;
        for (reason, count) in [
            ("future", dropped.future),
            ("late", dropped.late),
            ("stale", dropped.stale),
            ("not-a-number", dropped.not_a_number),
            ("duplicate", dropped.duplicate),
            ("not-asked", dropped.not_asked),
            ("no-subject", dropped.no_subject),
            ("beyond", dropped.beyond),
            ("wrong-unit", dropped.wrong_unit),
            ("reset", dropped.resets),
        ] {
            let labels = vec![("reason", reason.to_owned())];
            self.set("evenkeel_samples_dropped", labels, f64::from(count));
        }
    }

    fn set_sources(&self, snapshot: &Snapshot) {
        for one in &snapshot.sources {
            let labels = || vec![("source", one.source.name().to_owned())];
            self.set("evenkeel_source_fresh", labels(), f64::from(u8::from(one.fresh)));
            if let Some(age) = one.age_seconds {
                self.set("evenkeel_source_age_seconds", labels(), age);
            }
            self.set("evenkeel_watch_restarts", labels(), one.restarts as f64);
            self.set("evenkeel_watch_lists", labels(), one.lists as f64);
            self.set("evenkeel_watch_silences", labels(), one.silences as f64);
            self.set("evenkeel_watch_lines", labels(), one.lines as f64);
            self.set("evenkeel_unreadable", labels(), f64::from(one.opaque));
        }
    }
}
