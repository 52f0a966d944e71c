//! Queries of the table as PromQL: values of metrics beside the times of their samples, in one answer.

use std::fmt::Write as _;

use evenkeel_core::sample::{Metric, Metrics, Of};

use super::selector::quoted;
use super::table::{Aggregate, MetricQuery};

/// The label by which metrics and times of one answer differ.
pub(super) const PART: &str = "evenkeel";

/// Its value at times; at values it is [`Metric::name`].
pub(super) const TIME: &str = "time";

/// Labels that may hold a node, the surest first: what the Prometheus operator and `attachMetadata` write, what older
/// Helm charts write, and what every target has: `address:port`, or `node:port` with Google's managed collection.
pub(super) const NODE_LABELS: [&str; 4] = ["node", "kubernetes_node", "nodename", "instance"];

impl MetricQuery {
    /// The query for this metric alone.
    pub fn promql(&self) -> String {
        promql(Metrics::of(&[self.metric]), None)
    }

    /// The query for its value, by these labels, where `only` selects some series.
    fn value(&self, by: &str, only: Option<&Only<'_>>) -> String {
        let aggregate = |function: &str, selector: &str| match only {
            Some(only) => only.any(|some| format!("{function} by ({by}) ({selector}{{{some}}})")),
            None => format!("{function} by ({by}) ({selector})"),
        };
        match self.value {
            Aggregate::Sum(selector) => aggregate("sum", selector),
            Aggregate::Most(selector) => aggregate("max", selector),
            Aggregate::Least(selector) => aggregate("min", selector),
            Aggregate::SumOrZero(selector, base) => {
                format!(
                    "({} or 0 * {})",
                    aggregate("sum", selector),
                    aggregate("sum", base)
                )
            }
            Aggregate::Difference(all, part) => {
                format!("({} - {})", aggregate("sum", all), aggregate("sum", part))
            }
        }
    }

    /// The series whose samples' times are those of the value.
    const fn sampled(&self) -> &'static str {
        match self.value {
            Aggregate::Sum(selector) | Aggregate::Most(selector) | Aggregate::Least(selector) => selector,
            Aggregate::SumOrZero(_, base) => base,
            Aggregate::Difference(all, _) => all,
        }
    }
}

/// The Nodes that a query is about where it is not about all: patterns of their names and of their addresses.
#[derive(Debug)]
pub(super) struct Only<'a> {
    pub(super) names: &'a str,
    pub(super) addresses: &'a str,
}

impl Only<'_> {
    /// What is asked for with one label, for each that may hold a Node.
    fn any(&self, of: impl Fn(&str) -> String) -> String {
        let Self { names, addresses } = self;
        let each = NODE_LABELS.map(|label| match label {
            "instance" => of(&format!(
                "{label}=~{}",
                quoted(&format!("({names}|{addresses})(:.*)?"))
            )),
            _ => of(&format!("{label}=~{}", quoted(names))),
        });
        format!("({})", each.join(" or "))
    }
}

/// The query for metrics of the table that are on the same subjects.
pub(super) fn promql(metrics: Metrics, only: Option<&Only<'_>>) -> String {
    let lines: Vec<&MetricQuery> = metrics.iter().filter_map(MetricQuery::of).collect();
    let by = match lines.first().map(|line| line.metric.of()) {
        Some(Of::Node) => NODE_LABELS.join(","),
        Some(Of::Instance) => "instance".to_owned(),
        Some(Of::Resource) => "instance,group,resource,type".to_owned(),
        Some(Of::Cluster | Of::Backend) | None => String::new(),
    };
    let values = lines.iter().map(|line| (line.metric, line.value(&by, only)));
    // One of them has the time of all. What is summed has many series of each subject: another is looked at where there is one.
    let (sums, others): (Vec<&MetricQuery>, Vec<&MetricQuery>) = lines
        .iter()
        .partition(|line| matches!(line.value, Aggregate::Sum(_)));
    let timed = if others.is_empty() { sums } else { others };
    let times = timed.into_iter().map(|line| {
        let selector = line.sampled();
        match only {
            Some(only) => only.any(|some| format!("min by ({by}) (timestamp({selector}{{{some}}}))")),
            None => format!("min by ({by}) (timestamp({selector}))"),
        }
    });
    with_times(values, times)
}

/// Values beside the times of their oldest samples.
pub(super) fn with_times(
    values: impl IntoIterator<Item = (Metric, String)>,
    times: impl IntoIterator<Item = String>,
) -> String {
    let mut query = String::new();
    for (metric, value) in values {
        // A String takes every write.
        let _ = write!(
            query,
            "label_replace({value},\"{PART}\",\"{}\",\"\",\"\") or ",
            metric.name()
        );
    }
    let times: Vec<String> = times.into_iter().collect();
    let _ = write!(
        query,
        "label_replace({},\"{PART}\",\"{TIME}\",\"\",\"\")",
        times.join(" or ")
    );
    query
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::table::TOGETHER;
    use super::*;

    #[test]
    fn a_query_brings_values_with_their_times() {
        assert_eq!(
            MetricQuery::of(Metric::ConntrackEntries).unwrap().promql(),
            "label_replace(max by (node,kubernetes_node,nodename,instance) (node_nf_conntrack_entries),\"evenkeel\",\"conntrackEntries\",\"\",\"\") \
             or label_replace(min by (node,kubernetes_node,nodename,instance) (timestamp(node_nf_conntrack_entries)),\"evenkeel\",\"time\",\"\",\"\")"
        );
        let errors = MetricQuery::of(Metric::EtcdErrors).unwrap().promql();
        assert!(
            errors.contains("(sum by (instance,group,resource,type) (etcd_request_errors_total) or 0 * sum by (instance,group,resource,type) (etcd_requests_total))"),
            "{errors}"
        );
    }

    #[test]
    fn what_one_scrape_has_taken_has_one_time() {
        let query = promql(Metrics::of(&[Metric::CpuBusy, Metric::MemoryTotal]), None);
        let by = NODE_LABELS.join(",");
        assert_eq!(
            query,
            format!(
                "label_replace(max by ({by}) (node_memory_MemTotal_bytes),\"evenkeel\",\"memoryTotal\",\"\",\"\") or \
                 label_replace(sum by ({by}) (node_cpu_seconds_total{{mode!~\"idle|iowait\"}}),\"evenkeel\",\"cpuBusy\",\"\",\"\") or \
                 label_replace(min by ({by}) (timestamp(node_memory_MemTotal_bytes)),\"evenkeel\",\"time\",\"\",\"\")"
            )
        );
        for together in TOGETHER {
            assert!((2..=4).contains(&together.iter().count()));
            assert!(together.iter().all(|one| one.of() == Of::Node));
            let exporters = together
                .iter()
                .filter_map(MetricQuery::of)
                .map(|one| one.exporter);
            assert!(exporters.into_iter().all(|one| one.starts_with("node_exporter")));
        }
    }

    #[test]
    fn some_machines_are_asked_for_by_name_and_address() {
        let only = Only {
            names: "m1",
            addresses: "192\\.0\\.2\\.1",
        };
        let query = promql(Metrics::of(&[Metric::SynCookies]), Some(&only));
        assert!(
            query.starts_with(
                "label_replace((max by (node,kubernetes_node,nodename,instance) (node_netstat_TcpExt_SyncookiesSent{node=~\"m1\"}) or "
            ),
            "{query}"
        );
        let instance =
            "(timestamp(node_netstat_TcpExt_SyncookiesSent{instance=~\"(m1|192\\\\.0\\\\.2\\\\.1)(:.*)?\"}))";
        assert!(query.contains(instance), "{query}");
    }
}
