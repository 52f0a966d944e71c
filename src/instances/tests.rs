//! Pages of API servers of several versions, and servers that answer badly.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_core::sample::{Metric, Metrics, SampleSubject, Why};
use http::Response;
use kube::Client;
use rstest::rstest;

use super::page::{BROUGHT, METRICS};
use super::read;
use crate::client::scripted::{endless, link, whole};
use crate::exposition::Wanted;
use crate::samples::OwnedPage;

const AT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// Lines as Kubernetes 1.36 writes them.
const PAGE: &str = r#"# TYPE apiserver_request_total counter
apiserver_request_total{code="200",component="apiserver",group="",resource="pods",verb="LIST"} 90
apiserver_request_total{code="504",component="apiserver",group="",resource="pods",verb="LIST"} 3
apiserver_request_total{code="200",component="apiserver",group="apps",resource="deployments",verb="PUT"} 7
apiserver_request_total{code="429",component="apiserver",group="apps",resource="deployments",verb="PUT"} 2
apiserver_request_total{code="200",component="apiserver",group="apps",resource="deployments",verb="WATCH"} 1000
apiserver_request_total{code="200",component="",group="",resource="",verb="GET"} 5
apiserver_request_duration_seconds_bucket{group="",resource="pods",verb="LIST",le="8"} 80
apiserver_request_duration_seconds_bucket{group="",resource="pods",verb="LIST",le="10"} 89
apiserver_request_duration_seconds_bucket{group="",resource="pods",verb="LIST",le="+Inf"} 93
apiserver_request_duration_seconds_count{group="",resource="pods",verb="LIST"} 93
apiserver_request_duration_seconds_count{group="",resource="pods",verb="WATCH"} 500
apiserver_longrunning_requests{component="apiserver",resource="pods",verb="WATCH"} 12
apiserver_longrunning_requests{component="apiserver",resource="pods",verb="CONNECT"} 2
apiserver_storage_size_bytes{storage_cluster_id="etcd-0"} 100
apiserver_storage_size_bytes{storage_cluster_id="etcd-1"} 400
etcd_request_duration_seconds_bucket{group="",operation="get",resource="pods",le="10"} 8
etcd_request_duration_seconds_sum{group="",operation="get",resource="pods"} 1.5
etcd_requests_total{group="",operation="get",resource="pods"} 8
etcd_requests_total{group="",operation="list",resource="pods"} 2
etcd_requests_total{group="apps",operation="get",resource="deployments"} 1
etcd_request_errors_total{group="",operation="get",resource="pods"} 4
apiserver_watch_cache_resource_version{group="",resource="pods"} 1234
apiserver_watch_cache_consistent_read_total{fallback="true",group="",resource="pods",success="false"} 6
apiserver_watch_cache_consistent_read_total{fallback="false",group="",resource="pods",success="true"} 60
process_resident_memory_bytes 3e+08
process_start_time_seconds 1.7e+09
"#;

async fn page_of(client: &Client, metrics: Metrics) -> OwnedPage {
    read::read(client, AT, metrics, &Wanted::new(METRICS)).await
}

async fn client(code: u16, body: &'static str) -> Client {
    link(move |request| async move {
        assert_eq!(request.uri().path(), "/metrics");
        whole(code, body)
    })
    .client()
    .await
    .unwrap()
}

fn by_subject(page: &OwnedPage) -> BTreeMap<(String, Metric), f64> {
    let of = |subject: &SampleSubject<std::sync::Arc<str>>| match subject {
        SampleSubject::Instance(_) => String::new(),
        SampleSubject::Resource(_, name) => name.to_string(),
        other => panic!("{other:?}"),
    };
    page.samples
        .iter()
        .map(|one| ((of(&one.subject), one.metric), one.value))
        .collect()
}

#[rstest]
#[case::now(PAGE.to_owned())]
// Before 1.34 the group was part of the resource, or of a type.
#[case::before(
    PAGE.replace("etcd_requests_total{group=\"\",operation=\"get\",resource=\"pods\"}", "etcd_requests_total{operation=\"get\",type=\"pods\"}")
        .replace("etcd_requests_total{group=\"apps\",operation=\"get\",resource=\"deployments\"}", "etcd_requests_total{operation=\"get\",type=\"deployments.apps\"}")
        .replace("resource_version{group=\"\",", "resource_version{")
)]
#[tokio::test(start_paused = true)]
async fn a_page_becomes_samples(#[case] text: String) {
    let page = page_of(&client(200, text.leak()).await, BROUGHT).await;
    assert_eq!(page.gap, None);
    let seen = by_subject(&page);
    let expected = [
        ("", Metric::Requests, 107.0),
        ("", Metric::ServerErrors, 3.0),
        ("", Metric::TooManyRequests, 2.0),
        ("", Metric::SlowRequests, 4.0),
        ("", Metric::OpenWatches, 12.0),
        ("", Metric::StartTime, 1.7e9),
        ("", Metric::ResidentMemory, 3e8),
        ("", Metric::EtcdDatabaseSize, 400.0),
        ("pods", Metric::ResourceRequests, 93.0),
        ("pods", Metric::GatewayTimeouts, 3.0),
        ("apps/deployments", Metric::ResourceRequests, 9.0),
        ("apps/deployments", Metric::GatewayTimeouts, 0.0),
        ("pods", Metric::EtcdRequests, 10.0),
        ("pods", Metric::EtcdErrors, 4.0),
        ("pods", Metric::EtcdSeconds, 1.5),
        ("apps/deployments", Metric::EtcdRequests, 1.0),
        ("apps/deployments", Metric::EtcdErrors, 0.0),
        ("pods", Metric::WatchCacheRevision, 1234.0),
        ("pods", Metric::ConsistentReadFallbacks, 6.0),
    ];
    let expected = expected.map(|(name, metric, value)| ((name.to_owned(), metric), value));
    assert_eq!(seen, BTreeMap::from(expected));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_wanted_is_handed_over() {
    let wanted = Metrics::of(&[Metric::StartTime]);
    let page = page_of(&client(200, PAGE).await, wanted).await;
    assert_eq!((page.samples.len(), page.metrics), (1, wanted));
}

#[tokio::test(start_paused = true)]
async fn what_a_page_leaves_out_is_not_zero() {
    let page = page_of(&client(200, "process_start_time_seconds 1\n").await, BROUGHT).await;
    assert_eq!(page.samples.len(), 1, "{:?}", page.samples);
}

#[rstest]
#[case::forbidden(403, "{}", Why::Refused)]
#[case::login(401, "", Why::Refused)]
#[case::busy(503, "", Why::Unreachable)]
#[case::nothing(200, "", Why::Truncated)]
#[case::torn(200, "process_start_time_seconds 1.7", Why::Truncated)]
#[case::page_of_a_login(200, "<html>\n<a href=\"process_start_time_seconds\">", Why::Truncated)]
#[case::wrong(200, "process_start_time_seconds many\n", Why::NotUnderstood)]
#[case::twice(
    200,
    "process_start_time_seconds 1\nprocess_start_time_seconds 1\n",
    Why::Duplicate
)]
#[tokio::test(start_paused = true)]
async fn a_page_that_cannot_be_read_is_a_gap(
    #[case] code: u16,
    #[case] body: &'static str,
    #[case] why: Why,
) {
    let page = page_of(&client(code, body).await, BROUGHT).await;
    assert_eq!(page.gap.map(|gap| gap.0), Some(why));
    assert!(page.samples.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_page_that_does_not_end_is_given_up() {
    let client = link(|_| async { endless(200, PAGE) }).client().await.unwrap();
    let page = page_of(&client, BROUGHT).await;
    assert_eq!(page.gap.map(|gap| gap.0), Some(Why::TimedOut));
    assert!(page.samples.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_huge_page_is_given_up_at_its_limit() {
    use futures::stream;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::{Bytes, Frame};

    let client = link(|_| async {
        let line = Bytes::from("other_metric{a=\"b\"} 1\n".repeat(50_000));
        let lines = stream::repeat_with(move || Ok::<_, std::convert::Infallible>(Frame::data(line.clone())));
        Response::new(BodyExt::boxed(StreamBody::new(lines)))
    });
    let page = page_of(&client.client().await.unwrap(), BROUGHT).await;
    let (why, detail) = page.gap.unwrap();
    assert_eq!((why, &*detail), (Why::TooLarge, "more than 2000000 lines"));
}
