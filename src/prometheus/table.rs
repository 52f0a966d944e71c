//! Every query that a Prometheus is asked, and what its answer means.
//!
//! Only instant queries, each with the labels that it keeps, so that the number of its series is bounded by what it is
//! about and not by how the server labels. A query brings values beside the time at which their samples were taken: what an
//! API answers as time is when the query was evaluated, and a server that has stopped scraping would look alive for five
//! minutes. What one scrape of a Node's exporter brings is asked for together (`TOGETHER`), with one time.

use evenkeel_core::sample::{Metric, Metrics};

/// How a value comes of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    /// The sum of what the selector selects.
    Sum(&'static str),
    /// The largest.
    Most(&'static str),
    /// The least.
    Least(&'static str),
    /// The sum of the first, and zero where only the second is there: a counter of errors has no series before the first.
    SumOrZero(&'static str, &'static str),
    /// The sum of the first without that of the second.
    Difference(&'static str, &'static str),
}

/// A query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricQuery {
    /// What it brings.
    pub metric: Metric,
    /// Who exports it.
    pub exporter: &'static str,
    pub(super) value: Aggregate,
}

/// What one query brings of each Node: one scrape of `node_exporter` has taken it all. At most four, as an answer about the
/// most Nodes has to stay within the limit of one answer.
pub(super) const TOGETHER: [Metrics; 4] = [
    Metrics::of(&[
        Metric::ConntrackEntries,
        Metric::ConntrackLimit,
        Metric::ConntrackDrops,
        Metric::ConntrackEarlyDrops,
    ]),
    Metrics::of(&[
        Metric::CpuPressure,
        Metric::MemoryPressure,
        Metric::IoPressure,
        Metric::MemoryAvailable,
    ]),
    Metrics::of(&[Metric::MemoryTotal, Metric::CpuBusy, Metric::CpuTime]),
    Metrics::of(&[
        Metric::SynCookies,
        Metric::ListenOverflows,
        Metric::EstablishedConnections,
        Metric::AcceptedConnections,
    ]),
];

/// Since when `node_exporter` has what is asked for under these names, by its CHANGELOG.md: the table since "Add Linux conntrack
/// collector", its drops since "Add conntrack statistics metrics" (#1155), PSI since "Add pressure collector" (#1174), and
/// units in names and the counters of `netstat` that it exposes by default since 0.16.
const CONNTRACK: &str = "node_exporter 0.12";
const CONNTRACK_STATISTICS: &str = "node_exporter 1.2";
const PRESSURE: &str = "node_exporter 0.18";
const NODE_EXPORTER: &str = "node_exporter 0.16";
/// `etcd_requests_total` since 1.28 (kubernetes#117222); the watch cache's own metrics since 1.31 (kubernetes#125377).
const API_SERVER: &str = "kube-apiserver 1.28";
const WATCH_CACHE: &str = "kube-apiserver 1.31";

macro_rules! line {
    ($metric:ident, $exporter:expr, $shape:ident($($selector:expr),+)) => {
        MetricQuery { metric: Metric::$metric, exporter: $exporter, value: Aggregate::$shape($($selector),+) }
    };
}

/// Requests that end by themselves. Written as a macro, as a selector is one literal.
macro_rules! short {
    ($name:literal) => {
        concat!($name, "{verb!~\"WATCH|CONNECT\"}")
    };
    ($name:literal, $more:literal) => {
        concat!($name, "{verb!~\"WATCH|CONNECT\",", $more, "}")
    };
}

/// The API servers' own process, by the names that kube-prometheus-stack, Prometheus' example configuration and
/// VictoriaMetrics' stack give the job: everything else exports the same metric.
macro_rules! of_api_server {
    ($name:literal) => {
        concat!($name, "{job=~\"apiserver|kube-apiserver|kubernetes-apiservers\"}")
    };
}

/// All of them.
pub static LINES: &[MetricQuery] = &[
    line!(ConntrackEntries, CONNTRACK, Most("node_nf_conntrack_entries")),
    line!(ConntrackLimit, CONNTRACK, Most("node_nf_conntrack_entries_limit")),
    line!(
        ConntrackDrops,
        CONNTRACK_STATISTICS,
        Most("node_nf_conntrack_stat_drop")
    ),
    line!(
        ConntrackEarlyDrops,
        CONNTRACK_STATISTICS,
        Most("node_nf_conntrack_stat_early_drop")
    ),
    line!(
        CiliumTableDrops,
        "cilium-agent 1.12",
        SumOrZero(
            "cilium_drop_count_total{reason=~\"CT: Map insertion failed|No mapping for NAT masquerade\"}",
            "cilium_drop_count_total"
        )
    ),
    line!(
        CpuPressure,
        PRESSURE,
        Most("node_pressure_cpu_waiting_seconds_total")
    ),
    line!(
        MemoryPressure,
        PRESSURE,
        Most("node_pressure_memory_waiting_seconds_total")
    ),
    line!(
        IoPressure,
        PRESSURE,
        Most("node_pressure_io_waiting_seconds_total")
    ),
    line!(MemoryTotal, NODE_EXPORTER, Most("node_memory_MemTotal_bytes")),
    line!(
        MemoryAvailable,
        NODE_EXPORTER,
        Most("node_memory_MemAvailable_bytes")
    ),
    line!(
        CpuBusy,
        NODE_EXPORTER,
        Sum("node_cpu_seconds_total{mode!~\"idle|iowait\"}")
    ),
    line!(CpuTime, NODE_EXPORTER, Sum("node_cpu_seconds_total")),
    line!(
        ExporterUp,
        "Prometheus, of node_exporter",
        // The names that kube-prometheus-stack, Prometheus' example configuration and the chart of its community give the job.
        Most("up{job=~\"node-exporter|node_exporter|prometheus-node-exporter|kubernetes-node-exporter\"}")
    ),
    line!(
        SynCookies,
        NODE_EXPORTER,
        Most("node_netstat_TcpExt_SyncookiesSent")
    ),
    line!(
        ListenOverflows,
        NODE_EXPORTER,
        Most("node_netstat_TcpExt_ListenOverflows")
    ),
    line!(
        EstablishedConnections,
        NODE_EXPORTER,
        Most("node_netstat_Tcp_CurrEstab")
    ),
    line!(
        CiliumTablePressure,
        "cilium-agent 1.16",
        Most("cilium_bpf_map_pressure{map_name=~\"(cilium_)?(ct|snat).*\"}")
    ),
    line!(
        CiliumGcSeconds,
        "cilium-agent 1.12",
        Sum("cilium_datapath_conntrack_gc_duration_seconds_sum")
    ),
    line!(
        AcceptedConnections,
        NODE_EXPORTER,
        Most("node_netstat_Tcp_PassiveOpens")
    ),
    line!(Requests, API_SERVER, Sum(short!("apiserver_request_total"))),
    line!(
        ServerErrors,
        API_SERVER,
        SumOrZero(
            short!("apiserver_request_total", "code=~\"5..\""),
            short!("apiserver_request_total")
        )
    ),
    line!(
        TooManyRequests,
        API_SERVER,
        SumOrZero(
            short!("apiserver_request_total", "code=\"429\""),
            short!("apiserver_request_total")
        )
    ),
    line!(
        SlowRequests,
        API_SERVER,
        Difference(
            short!("apiserver_request_duration_seconds_count"),
            // Prometheus 3 writes whole bounds as floats (docs/migration.md, "le and quantile label values").
            short!("apiserver_request_duration_seconds_bucket", "le=~\"10|10[.]0\"")
        )
    ),
    line!(
        OpenWatches,
        API_SERVER,
        Sum("apiserver_longrunning_requests{verb=\"WATCH\"}")
    ),
    line!(
        StartTime,
        API_SERVER,
        Most(of_api_server!("process_start_time_seconds"))
    ),
    line!(
        ResidentMemory,
        API_SERVER,
        Most(of_api_server!("process_resident_memory_bytes"))
    ),
    line!(
        MemoryLimit,
        "cAdvisor of the kubelet",
        Most("container_spec_memory_limit_bytes{namespace=\"kube-system\",container=\"kube-apiserver\"}")
    ),
    line!(
        EtcdRanges,
        "etcd 3.4",
        Sum("grpc_server_started_total{grpc_service=\"etcdserverpb.KV\",grpc_method=\"Range\"}")
    ),
    line!(EtcdDatabaseSize, API_SERVER, Most("apiserver_storage_size_bytes")),
    line!(
        ResourceRequests,
        API_SERVER,
        Sum(short!("apiserver_request_total"))
    ),
    line!(
        GatewayTimeouts,
        API_SERVER,
        SumOrZero(
            short!("apiserver_request_total", "code=\"504\""),
            short!("apiserver_request_total")
        )
    ),
    line!(EtcdRequests, API_SERVER, Sum("etcd_requests_total")),
    line!(
        EtcdErrors,
        API_SERVER,
        SumOrZero("etcd_request_errors_total", "etcd_requests_total")
    ),
    line!(EtcdSeconds, API_SERVER, Sum("etcd_request_duration_seconds_sum")),
    line!(
        WatchCacheRevision,
        WATCH_CACHE,
        Most("apiserver_watch_cache_resource_version")
    ),
    line!(
        ConsistentReadFallbacks,
        WATCH_CACHE,
        SumOrZero(
            "apiserver_watch_cache_consistent_read_total{fallback=\"true\"}",
            "apiserver_watch_cache_consistent_read_total"
        )
    ),
    line!(
        DnsMemory,
        "cAdvisor of the kubelet",
        Most("container_memory_working_set_bytes{namespace=\"kube-system\",container=\"coredns\"}")
    ),
    line!(EtcdQuota, "etcd 3.4", Least("etcd_server_quota_backend_bytes")),
];

impl MetricQuery {
    /// The version of the exporter that a test of ours has read it from, or what is known of it else.
    pub(super) fn tried_with(&self) -> &'static str {
        match self.exporter.split_whitespace().next() {
            Some("node_exporter") => "node_exporter 1.5.0, Prometheus 2.42",
            Some("kube-apiserver") => "kube-apiserver 1.36, Prometheus 2.42",
            Some("etcd") => "etcd 3.6, Prometheus 2.42",
            _ => "its documentation",
        }
    }

    /// The line of a metric; those of Pods are built of what a policy names.
    pub fn of(metric: Metric) -> Option<&'static Self> {
        LINES.iter().find(|line| line.metric == metric)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_has_one_line_but_those_of_policies_and_of_no_exporter() {
        let lines: BTreeSet<_> = LINES.iter().map(|line| line.metric).collect();
        assert_eq!(lines.len(), LINES.len());
        let without: Vec<_> = Metric::ALL
            .into_iter()
            .filter(|one| !lines.contains(one))
            .collect();
        assert_eq!(
            without,
            [
                // Our own connections.
                Metric::BalancerHandshakes,
                Metric::BackendConnections,
                Metric::BackendRequests,
                Metric::BackendActive,
                Metric::BalancerChanges,
            ]
        );
    }
}
