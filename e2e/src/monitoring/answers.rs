//! What a Prometheus answers that scrapes `node_exporter` on simulated nodes.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Values of metrics of `node_exporter` by node.
#[derive(Debug, Clone, Default)]
pub struct NodeAnswers {
    /// Nodes with their addresses: a series has `node` and `instance`.
    pub nodes: Vec<(String, String)>,
    /// The value of a metric of a node; metrics that are not named have none.
    pub values: Vec<(&'static str, Vec<f64>)>,
    /// When the samples were taken, in seconds since 1970; now where it is absent.
    pub taken: Option<f64>,
}

impl NodeAnswers {
    /// The answer to one of evenkeel's queries.
    pub fn answer(&self, promql: &str) -> String {
        let now = now();
        let taken = self.taken.unwrap_or(now);
        let mut series = String::new();
        if let Some((_, values)) = self.values.iter().find(|one| names(promql, one.0)) {
            for ((node, address), value) in self.nodes.iter().zip(values) {
                for (part, number) in [("value", *value), ("time", taken)] {
                    let comma = if series.is_empty() { "" } else { "," };
                    // A String takes every write.
                    let _ = write!(
                        series,
                        "{comma}{{\"metric\":{{\"evenkeel\":\"{part}\",\"instance\":\"{address}:9100\",\"node\":\"{node}\"}},\
                         \"value\":[{now:.3},\"{}\"]}}",
                        shown(number)
                    );
                }
            }
        }
        vector(&series)
    }
}

/// The answer that is a vector of these series.
pub fn vector(series: &str) -> String {
    format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{series}]}}}}")
}

/// The present, in seconds since 1970.
pub fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |now| now.as_secs_f64())
}

/// Whether a query is about this metric: as a whole word.
fn names(promql: &str, metric: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    promql.match_indices(metric).any(|(at, _)| {
        let before = promql[..at].chars().next_back();
        let after = promql[at + metric.len()..].chars().next();
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

/// A number as Prometheus writes it.
fn shown(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else {
        number.to_string()
    }
}
