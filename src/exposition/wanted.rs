//! The metrics that are read from a page. Everything else is skipped.

use std::collections::HashMap;
use std::fmt;

/// What a metric is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesKind {
    /// It only grows, and begins again with its process.
    Counter,
    /// It is what it is now.
    Gauge,
    /// One of the counters of a histogram or summary: its sum, its count, one of its buckets.
    Histogram,
}

impl fmt::Display for SeriesKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// A metric that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedMetric {
    /// Its name, with its suffix.
    pub name: &'static str,
    /// What it is read as.
    pub kind: SeriesKind,
    /// A text that its lines must hold to be wanted, as one bucket of thirty: `le="10"`.
    pub only: Option<&'static str>,
}

/// A list of metrics that are read, each known by its place in it.
#[derive(Debug)]
pub struct Wanted {
    metrics: &'static [WantedMetric],
    by_name: HashMap<&'static [u8], usize>,
    /// By the name in a `# TYPE` line, which may lack the suffix.
    by_family: HashMap<&'static [u8], Vec<usize>>,
}

impl Wanted {
    /// This list.
    pub fn new(metrics: &'static [WantedMetric]) -> Self {
        let mut by_family: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (at, metric) in metrics.iter().enumerate() {
            for family in families(metric) {
                by_family.entry(family.as_bytes()).or_default().push(at);
            }
        }
        Self {
            metrics,
            by_name: metrics
                .iter()
                .enumerate()
                .map(|(at, metric)| (metric.name.as_bytes(), at))
                .collect(),
            by_family,
        }
    }

    /// The place of a metric in the list.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The metric at this place.
    pub(super) fn metric(&self, at: usize) -> Option<&'static WantedMetric> {
        self.metrics.get(at)
    }

    /// The first metric of a family that a page declares to be something else than it is read as.
    pub(super) fn contradiction(&self, family: &[u8], declared: &[u8]) -> Option<&'static WantedMetric> {
        let members = self.by_family.get(family)?;
        let mut metrics = members.iter().filter_map(|at| self.metric(*at));
        metrics.find(|metric| !agrees(metric.kind, declared))
    }
}

/// The names under which a `# TYPE` line may declare a metric: OpenMetrics leaves `_total` out, and both formats leave the
/// suffixes of a histogram out.
fn families(metric: &WantedMetric) -> Vec<&'static str> {
    let suffixes: &[&str] = match metric.kind {
        SeriesKind::Counter => &["_total"],
        SeriesKind::Gauge => &[],
        SeriesKind::Histogram => &["_bucket", "_count", "_sum"],
    };
    let stripped = suffixes
        .iter()
        .find_map(|suffix| metric.name.strip_suffix(suffix));
    std::iter::once(metric.name).chain(stripped).collect()
}

/// Whether a metric may be read as this where a page declares it to be that. What is declared to be nothing may be
/// anything.
fn agrees(kind: SeriesKind, declared: &[u8]) -> bool {
    match declared {
        b"untyped" | b"unknown" => true,
        b"counter" => kind == SeriesKind::Counter,
        b"gauge" => kind == SeriesKind::Gauge,
        b"histogram" | b"summary" => kind == SeriesKind::Histogram,
        _ => false,
    }
}
