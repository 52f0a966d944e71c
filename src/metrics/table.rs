//! Every metric as data: what the documentation, the registry and the tests are made of.

use std::fmt::Write as _;

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Goes up and down.
    Gauge,
    /// Only goes up, until the process starts anew.
    Counter,
    /// A distribution, in buckets.
    Histogram,
}

impl MetricType {
    /// As in the exposition format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, as scraped.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricType,
    /// Its labels; each has a bounded set of values.
    pub labels: &'static [&'static str],
    /// What it says, with the unit.
    pub help: &'static str,
    /// How many series it can have at most, and why.
    pub bound: &'static str,
}

const fn metric(
    name: &'static str,
    kind: MetricType,
    labels: &'static [&'static str],
    help: &'static str,
    bound: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
        bound,
    }
}

use MetricType::{Counter, Gauge, Histogram};

/// Every metric, in the order of the documentation.
pub const TABLE: &[Metric] = &[
    metric(
        "evenkeel_build_info",
        Gauge,
        &["version", "kubernetes"],
        "Always 1: the version of evenkeel and the Kubernetes versions it supports",
        "1",
    ),
    metric(
        "evenkeel_leader",
        Gauge,
        &[],
        "Whether this replica holds the Lease and writes: 1 or 0",
        "1",
    ),
    metric(
        "evenkeel_ready",
        Gauge,
        &[],
        "Whether everything has been read once: 1 or 0",
        "1",
    ),
    metric(
        "evenkeel_source_fresh",
        Gauge,
        &["source"],
        "Whether a source is complete and current: 1; 0 when it is stale, unreadable or missing, and what rests on it is Unknown",
        "one for each source",
    ),
    metric(
        "evenkeel_source_age_seconds",
        Gauge,
        &["source"],
        "Seconds since the last sign of life of a source's watches, the oldest of them",
        "one for each source",
    ),
    metric(
        "evenkeel_watch_restarts",
        Gauge,
        &["source"],
        "Watches that were opened again since the process began",
        "one for each source",
    ),
    metric(
        "evenkeel_watch_lists",
        Gauge,
        &["source"],
        "Lists that were read since the process began: one is the start, more are expired versions",
        "one for each source",
    ),
    metric(
        "evenkeel_watch_silences",
        Gauge,
        &["source"],
        "Times since the process began that a watch went without a sign of life for too long, so that its source was stale",
        "one for each source",
    ),
    metric(
        "evenkeel_watch_lines",
        Gauge,
        &["source"],
        "Lines received since the process began",
        "one for each source",
    ),
    metric(
        "evenkeel_unreadable",
        Gauge,
        &["source"],
        "Objects of a source that could not be understood",
        "one for each source",
    ),
    metric(
        "evenkeel_findings",
        Gauge,
        &["check", "verdict", "severity"],
        "Findings that no exception accepts",
        "one for each check, verdict and severity",
    ),
    metric(
        "evenkeel_critical_findings",
        Gauge,
        &["check", "namespace", "policy"],
        "Critical findings that are Violated and that no exception accepts; of more than 200 series each namespace has its share",
        "200",
    ),
    metric(
        "evenkeel_truncated",
        Gauge,
        &["what"],
        "How much is left out because there is more than is shown: policies (of evenkeel_policy_unhealthy), findings (series of evenkeel_critical_findings), alerts (of the last push)",
        "3",
    ),
    metric(
        "evenkeel_findings_excepted",
        Gauge,
        &["check"],
        "Findings under an exception",
        "one for each check",
    ),
    metric(
        "evenkeel_policies",
        Gauge,
        &["condition", "status"],
        "Policies by what the conditions in their status say",
        "15",
    ),
    metric(
        "evenkeel_plans",
        Gauge,
        &["remedy", "held_by"],
        "What remedies would do, by the guard that holds it back; an empty held_by is what none holds. Absent in mode Observe, which plans nothing",
        "one for each remedy and guard",
    ),
    metric(
        "evenkeel_storm",
        Gauge,
        &[],
        "Whether so many nodes were not Ready or are fenced that nothing is done to any: 1 or 0. Absent in mode Observe",
        "1",
    ),
    metric(
        "evenkeel_remediations",
        Gauge,
        &["phase"],
        "Records of remedies that are open: Waiting for a person, Intended (what became of it is being found out), InEffect. Absent without --remedies",
        "3",
    ),
    metric(
        "evenkeel_remediations_total",
        Counter,
        &["outcome"],
        "What became of remedies: suggested, fenced, undone, rejected (a person said no), refused (nothing was done), lapsed, failed, left (not known yet). Absent without --remedies",
        "8",
    ),
    metric(
        "evenkeel_policy_unhealthy",
        Gauge,
        &["namespace", "policy"],
        "1 for each policy whose status says Healthy=False; of more than 200 each namespace has its share",
        "200",
    ),
    metric(
        "evenkeel_status_queue",
        Gauge,
        &[],
        "Policies whose status waits to be computed and written",
        "1",
    ),
    metric(
        "evenkeel_status_writes_total",
        Counter,
        &["outcome"],
        "Statuses written or not: written, gone, replaced, busy, timeout, unreachable, forbidden, unauthorized, server-error, refused",
        "10",
    ),
    metric("evenkeel_rounds_total", Counter, &[], "Rounds of judging", "1"),
    metric(
        "evenkeel_round_seconds",
        Histogram,
        &[],
        "How long a round took, in seconds",
        "15 buckets",
    ),
    metric(
        "evenkeel_reaction_seconds",
        Histogram,
        &[],
        "Our own part of a reaction, in seconds: from the line that was received to the request that leaves",
        "15 buckets",
    ),
    metric(
        "evenkeel_alerts_total",
        Counter,
        &["outcome"],
        "Pushes of alerts to an Alertmanager: accepted, refused, unreachable",
        "3",
    ),
    metric(
        "evenkeel_prometheus_queries_total",
        Counter,
        &["outcome"],
        "Queries to the Prometheus that --prometheus names: answered, failed",
        "2",
    ),
    metric(
        "evenkeel_prometheus_answer_bytes_total",
        Counter,
        &[],
        "Bytes of its answers",
        "1",
    ),
    metric(
        "evenkeel_sample_series",
        Gauge,
        &[],
        "Series of samples that are held; absent where nothing is measured",
        "1",
    ),
    metric(
        "evenkeel_samples_dropped",
        Gauge,
        &["reason"],
        "Samples that were not taken since the process began: future, late, stale, not-a-number, duplicate, not-asked, no-subject, beyond, wrong-unit; reset counts counters that began anew",
        "10",
    ),
    metric(
        "evenkeel_http_displaced_total",
        Counter,
        &[],
        "HTTP connections closed to make room for newer ones, first those whose request was not complete",
        "1",
    ),
    metric(
        "evenkeel_process_cpu_seconds_total",
        Counter,
        &[],
        "CPU time of the process, in seconds",
        "1",
    ),
    metric(
        "evenkeel_process_resident_bytes",
        Gauge,
        &[],
        "Resident memory of the process, in bytes",
        "1",
    ),
    metric(
        "evenkeel_process_start_seconds",
        Gauge,
        &[],
        "When the process began, in seconds since the Unix epoch",
        "1",
    ),
];

/// The documentation of all metrics, as `docs/metrics.md` has it.
pub fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Served on `/metrics` of the operator, in the OpenMetrics text format. Every label has a bounded set of values; no\n\
         series is named after a Pod, a node or a Service. Made from the code: `make bless` writes this page.\n\n\
         | metric | type | labels | what it says | series |\n|---|---|---|---|---|\n",
    );
    for one in TABLE {
        let labels = one
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect::<Vec<_>>();
        // Writing into a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            one.name,
            one.kind.name(),
            labels.join(", "),
            one.help,
            one.bound
        );
    }
    page
}

/// A metric of the table by name.
pub fn find(name: &str) -> Option<&'static Metric> {
    TABLE.iter().find(|one| one.name == name)
}
