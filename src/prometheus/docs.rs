//! The page on queries, `docs/queries.md`, from the table.

use std::fmt::Write as _;

use evenkeel_core::know::Unit;
use evenkeel_core::sample::{MetricKind, Metrics, Observer, Of};

use super::promql::promql;
use super::table::{LINES, TOGETHER};

/// What stands before the table.
const HEAD: &str = "# What a Prometheus is asked

<!-- Generated from src/prometheus/table.rs by `make bless`. -->

`evenkeel run --prometheus NAMESPACE/SERVICE:PORT` asks these instant queries, each only while a check needs what it
brings, one at a time and spread over its interval. A query brings values and the times at which their samples were taken:
what an API answers as time is when the query was evaluated. What one scrape of a Node's exporter has taken is asked for
together and has one time, and what is needed of the API servers' own machines is asked for these alone. A query may take
10 s and 12 MiB. Answers with warnings, in part,
with NaN, in another unit or with two values for one subject say nothing, and the reason is shown.

A sample counts for two and a half intervals after it was taken, by its own time, so that one scrape that fails makes no
gap; where the server does not answer, brings nothing new or has lost many of its series, for two. The endpoint that has
answered last is asked first, and after it the others in order. A server that does not answer is asked again after 15 s.

A Node is recognised by the label `node`, `kubernetes_node`, `nodename` or `instance`, as its name or one of its addresses,
with or without a port: kube-prometheus-stack, plain node_exporter, Google's managed collection and VictoriaMetrics differ
in this. Where several series speak of one Node, that counts of which `instance` is the Node itself: a Pod of a team can
write a Node into its labels, and cannot have its address. An API server is recognised by `instance`, as `address:port` of an
endpoint of `default/kubernetes`. A resource is `group` and `resource`, or `type` before Kubernetes 1.34. What the API does
not show is left out; what the answer does not have is Unknown, and never zero.

`evenkeel audit`, `explain` and `collect` ask the same about six moments of the last five minutes, as rates and trends take
several samples, and need not wait for them.

Amazon's managed Prometheus takes signed requests only: put its signing proxy in front, and name the proxy's Service.

| what | unit | of each | every | most series | since | tried with |
|---|---|---|---|---|---|---|
";

/// The page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for line in LINES {
        let metric = line.metric;
        let unit = match (metric.unit(), metric.kind()) {
            (Unit::Seconds, _) => "seconds",
            (Unit::Bytes, _) => "bytes",
            (_, MetricKind::Counter) => "count",
            (_, MetricKind::Gauge) => "number",
        };
        let of = match metric.of() {
            Of::Cluster => "cluster",
            Of::Node => "Node",
            Of::Instance => "API server",
            Of::Resource => "resource of an API server",
            Of::Backend => "Pod",
        };
        // A String takes every write.
        let _ = writeln!(
            page,
            "| `{}` | {unit} | {of} | {} s | {} | {} | {} |",
            metric.name(),
            Observer::Prometheus.every_seconds(metric),
            metric.of().most(),
            line.exporter,
            line.tried_with(),
        );
    }
    page.push_str("\n## The queries\n\n");
    let mut shown = Metrics::NONE;
    for line in LINES {
        let one = Metrics::of(&[line.metric]);
        let together = TOGETHER
            .into_iter()
            .find(|some| some.has(line.metric))
            .unwrap_or(one);
        if shown.has(line.metric) {
            continue;
        }
        shown = shown.with(together);
        let names: Vec<String> = together.iter().map(|one| format!("`{}`", one.name())).collect();
        let _ = write!(
            page,
            "{}\n\n```promql\n{}\n```\n\n",
            names.join(", "),
            promql(together, None)
        );
    }
    page.push_str(
        "## Metrics of Pods\n\n\
         A policy names a metric and the label that holds the Pod (`balance.podMetric`), never a query. It is asked for every \
         15 s, in the policy's own namespace, by the label `namespace`, for the Pods behind each Service by name, or, where \
         their names are longer than 2 KiB together, for all of the namespace. Only Pods behind the Service count; at most 1024 \
         of each Service are taken.\n\n\
         ```promql\nsum by (pod) (accepted_total{namespace=\"shop\",pod=~\"web-1|web-2\"})\n```\n\n\
         Four are asked at the same time, at most one of each namespace, beside the queries above, which wait for none of \
         them. One may take 5 s and 1 MiB. The server may work 12 s a minute for one namespace and answer 4 MiB: beyond \
         that its questions wait, what rests on them is Unknown with that reason, and no others wait.\n",
    );
    page
}
