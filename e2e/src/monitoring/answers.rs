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
    /// The answer to one of evenkeel's queries: its parts, each of one metric or of times.
    pub fn answer(&self, promql: &str) -> String {
        let mut series = String::new();
        for part in promql.split("label_replace(").skip(1) {
            self.part(part, &mut series);
        }
        vector(&series)
    }

    fn part(&self, promql: &str, series: &mut String) {
        let now = now();
        let asked = self.values.iter().find(|one| names(promql, one.0));
        let label = promql.split("\"evenkeel\",\"").nth(1);
        let (Some((_, values)), Some(label)) = (asked, label.and_then(|rest| rest.split('"').next())) else {
            return;
        };
        for ((node, address), value) in self.nodes.iter().zip(values) {
            // Where some are asked for, they are by name.
            if promql.contains("{node=~") && !names(promql, node) {
                continue;
            }
            let number = match label {
                "time" => self.taken.unwrap_or(now),
                _ => *value,
            };
            let comma = if series.is_empty() { "" } else { "," };
            // A String takes every write.
            let _ = write!(
                series,
                "{comma}{{\"metric\":{{\"evenkeel\":\"{label}\",\"instance\":\"{address}:9100\",\"node\":\"{node}\"}},\
                 \"value\":[{now:.3},\"{}\"]}}",
                shown(number)
            );
        }
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

/// Whether a query is about this metric or Node: as a whole word.
fn names(promql: &str, metric: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
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
