//! Pages of samples in files: what `evenkeel collect` writes and `--from` reads.
//!
//! A list of kind `SamplePageList` holds what was asked and answered, so that files are judged as the cluster was: a sample
//! counts by its age at the time of asking, and a gap says why there is none.

use std::net::IpAddr;
use std::sync::Arc;

use evenkeel_core::sample::{Metric, Metrics, Observer, Of, PageScope, SampleSubject, Why};
use serde::{Deserialize, Serialize};

use super::{OwnedPage, OwnedSample};

/// The kind of one page.
pub(crate) const KIND: &str = "SamplePage";

/// Most samples of one page: those of the largest question, of all resources of all API servers.
const MOST: usize = Of::Node.most() * 2;

/// One page. `S` is text, borrowed when it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredPage {
    #[serde(rename = "apiVersion", default, skip_serializing)]
    _version: Option<String>,
    #[serde(rename = "kind", default, skip_serializing)]
    _kind: Option<String>,
    observer: String,
    metrics: Vec<String>,
    scope: StoredScope,
    /// Milliseconds since the Unix epoch.
    asked: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gap: Option<StoredGap>,
    samples: Vec<StoredSample>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredGap {
    why: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
}

/// What was asked about. An API server and a Service are named.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum StoredScope {
    Cluster,
    Nodes,
    Instances,
    Instance(IpAddr),
    Backends { namespace: Arc<str>, service: Arc<str> },
}

/// One sample; what it is about are the fields that are there, and the cluster where there are none.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredSample {
    /// Absent where the page is about one metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<Arc<str>>,
    value: f64,
    at: i64,
}

/// A page as JSON, on one line.
pub(crate) fn written(page: &OwnedPage) -> Result<String, serde_json::Error> {
    let one = page.metrics.iter().count() == 1;
    serde_json::to_string(&StoredPage {
        _version: None,
        _kind: None,
        observer: format!("{:?}", page.observer),
        metrics: page.metrics.iter().map(|one| one.name().to_owned()).collect(),
        scope: match &page.scope {
            PageScope::Cluster => StoredScope::Cluster,
            PageScope::Nodes => StoredScope::Nodes,
            PageScope::Instances => StoredScope::Instances,
            PageScope::Instance(at) => StoredScope::Instance(*at),
            PageScope::Backends { namespace, service } => StoredScope::Backends {
                namespace: namespace.clone(),
                service: service.clone(),
            },
        },
        asked: page.asked,
        gap: page.gap.as_ref().map(|(why, detail)| StoredGap {
            why: format!("{why:?}"),
            detail: detail.clone(),
        }),
        // JSON has no word for NaN and the infinities; the core would drop them.
        samples: page
            .samples
            .iter()
            .filter(|sample| sample.value.is_finite())
            .map(|sample| stored(sample, one))
            .collect(),
    })
}

fn stored(sample: &OwnedSample, one: bool) -> StoredSample {
    let base = StoredSample {
        metric: (!one).then(|| sample.metric.name().to_owned()),
        value: sample.value,
        at: sample.at,
        ..StoredSample::default()
    };
    match &sample.subject {
        SampleSubject::Cluster => base,
        SampleSubject::Node(node) => StoredSample {
            node: Some(node.clone()),
            ..base
        },
        SampleSubject::Instance(at) => StoredSample {
            instance: Some(*at),
            ..base
        },
        SampleSubject::Resource(at, resource) => StoredSample {
            instance: Some(*at),
            resource: Some(resource.clone()),
            ..base
        },
        SampleSubject::Backend { port, pod, .. } => StoredSample {
            port: Some(*port),
            pod: Some(pod.clone()),
            ..base
        },
    }
}

/// A page from its JSON; an error says what is wrong.
pub(crate) fn read(json: &str) -> Result<OwnedPage, String> {
    let page: StoredPage = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if page.samples.len() > MOST {
        return Err(format!("samples: more than {MOST}"));
    }
    let observer = Observer::ALL
        .into_iter()
        .find(|one| format!("{one:?}") == page.observer);
    let observer = observer.ok_or_else(|| format!("observer: `{}` is none", page.observer))?;
    let metric =
        |name: &String| Metric::named(name).ok_or_else(|| format!("metrics: `{name}` is none of evenkeel's"));
    let named = page.metrics.iter().map(metric).collect::<Result<Vec<_>, _>>()?;
    let scope = match page.scope {
        StoredScope::Cluster => PageScope::Cluster,
        StoredScope::Nodes => PageScope::Nodes,
        StoredScope::Instances => PageScope::Instances,
        StoredScope::Instance(at) => PageScope::Instance(at),
        StoredScope::Backends { namespace, service } => PageScope::Backends { namespace, service },
    };
    let only = <[Metric; 1]>::try_from(&named[..]).map(|[one]| one).ok();
    let sample = |one: StoredSample| {
        let metric = match &one.metric {
            Some(name) => metric(name)?,
            None => only.ok_or("samples: metric is missing where the page is about several")?,
        };
        Ok(OwnedSample {
            metric,
            subject: subject(&one, &scope)?,
            value: one.value,
            at: one.at,
        })
    };
    let samples = page
        .samples
        .into_iter()
        .map(sample)
        .collect::<Result<_, String>>()?;
    let gap = page.gap.map(|gap| {
        let why = Why::ALL.into_iter().find(|one| format!("{one:?}") == gap.why);
        // A reason of a later version is a reason all the same.
        let why = why.unwrap_or(Why::NotAsked);
        (why, gap.detail)
    });
    Ok(OwnedPage {
        observer,
        metrics: Metrics::of(&named),
        scope,
        asked: page.asked,
        samples,
        gap,
    })
}

fn subject(one: &StoredSample, scope: &PageScope<Arc<str>>) -> Result<SampleSubject<Arc<str>>, String> {
    Ok(match (scope, &one.node, one.instance, &one.resource, &one.pod) {
        (PageScope::Nodes, Some(node), None, None, None) => SampleSubject::Node(node.clone()),
        (PageScope::Instances | PageScope::Instance(_), None, Some(at), None, None) => {
            SampleSubject::Instance(at)
        }
        (PageScope::Instances | PageScope::Instance(_), None, Some(at), Some(resource), None) => {
            SampleSubject::Resource(at, resource.clone())
        }
        (PageScope::Backends { namespace, service }, None, None, None, Some(pod)) => SampleSubject::Backend {
            namespace: namespace.clone(),
            service: service.clone(),
            port: one.port.unwrap_or(0),
            pod: pod.clone(),
        },
        (PageScope::Cluster, None, None, None, None) => SampleSubject::Cluster,
        _ => return Err("samples: the subject is none of the page's scope".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rstest::rstest;

    use super::*;

    fn page(
        metrics: &[Metric],
        scope: PageScope<Arc<str>>,
        samples: &[(Metric, SampleSubject<Arc<str>>)],
    ) -> OwnedPage {
        OwnedPage {
            observer: Observer::Prometheus,
            metrics: Metrics::of(metrics),
            scope,
            asked: 1_800_000_000_123,
            samples: samples
                .iter()
                .map(|(metric, subject)| OwnedSample {
                    metric: *metric,
                    subject: subject.clone(),
                    value: 7.5,
                    at: 1_800_000_000_000,
                })
                .collect(),
            gap: None,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let at: IpAddr = "192.0.2.1".parse().unwrap();
        let backends = PageScope::Backends {
            namespace: "shop".into(),
            service: "web".into(),
        };
        let backend = SampleSubject::Backend {
            namespace: "shop".into(),
            service: "web".into(),
            port: 80,
            pod: "web-1".into(),
        };
        let mut failed = page(&[Metric::EtcdQuota], PageScope::Cluster, &[]);
        failed.gap = Some((Why::OverBudget, "12 s".to_owned()));
        let all = [
            page(
                &[Metric::ConntrackEntries],
                PageScope::Nodes,
                &[(Metric::ConntrackEntries, SampleSubject::Node("n1".into()))],
            ),
            page(
                &[Metric::Requests, Metric::EtcdSeconds],
                PageScope::Instance(at),
                &[
                    (Metric::Requests, SampleSubject::Instance(at)),
                    (
                        Metric::EtcdSeconds,
                        SampleSubject::Resource(at, "apps/deployments".into()),
                    ),
                ],
            ),
            page(
                &[Metric::EtcdQuota],
                PageScope::Cluster,
                &[(Metric::EtcdQuota, SampleSubject::Cluster)],
            ),
            page(
                &[Metric::BackendRequests],
                backends,
                &[(Metric::BackendRequests, backend)],
            ),
            page(&[Metric::Requests], PageScope::Instances, &[]),
            failed,
        ];
        for one in all {
            assert_eq!(read(&written(&one).unwrap()).unwrap(), one);
        }
    }

    #[rstest]
    #[case::field(
        r#"{"observer":"Prometheus","metrics":[],"scope":"nodes","asked":1,"samples":[],"x":1}"#,
        "unknown field"
    )]
    #[case::observer(
        r#"{"observer":"me","metrics":[],"scope":"nodes","asked":1,"samples":[]}"#,
        "observer: `me`"
    )]
    #[case::metric(
        r#"{"observer":"Agent","metrics":["up"],"scope":"nodes","asked":1,"samples":[]}"#,
        "metrics: `up`"
    )]
    #[case::subject(
        r#"{"observer":"Agent","metrics":["memoryTotal"],"scope":"cluster","asked":1,"samples":[{"node":"n1","value":1,"at":1}]}"#,
        "none of the page's scope"
    )]
    #[case::which_metric(
        r#"{"observer":"Agent","metrics":["memoryTotal","cpuPressure"],"scope":"nodes","asked":1,"samples":[{"node":"n1","value":1,"at":1}]}"#,
        "metric is missing"
    )]
    #[case::number(
        r#"{"observer":"Agent","metrics":["memoryTotal"],"scope":"nodes","asked":1,"samples":[{"node":"n1","value":1e999,"at":1}]}"#,
        "number out of range"
    )]
    fn what_is_no_page_says_why(#[case] json: &str, #[case] expected: &str) {
        let why = read(json).unwrap_err();
        assert!(why.contains(expected), "{why}");
    }
}
