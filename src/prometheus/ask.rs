//! Questions: what the core wants, as queries.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use evenkeel_core::fleet::SampleWants;
use evenkeel_core::policy::PodMetric;
use evenkeel_core::sample::{Metric, Metrics, Observer, PageScope, Why};

use super::answer::{self, Series};
use super::selector::{any_of, is_label, is_metric, quoted};
use super::server::{AnswerLimits, PrometheusServer, of_answer};
use super::subject::Answered;
use super::table::{MetricQuery, PART, with_times};
use crate::samples::{KnownSubjects, OwnedPage, SampleWantsByScope, now_millis};

/// One metric of one scope, and the query that brings it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Question {
    /// What it is about.
    pub(crate) scope: PageScope<Arc<str>>,
    /// What it brings.
    pub(crate) metric: Metric,
    asks: Asks,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Asks {
    /// A line of the table.
    Line(String),
    /// A metric that policies of a namespace name, and the label that holds the Pod.
    OfPods { namespace: Arc<str>, metric: PodMetric },
}

/// What is wanted, as far as there are queries for it.
pub(crate) fn questions(wants: &SampleWantsByScope) -> Vec<Question> {
    let of = |(scope, wants): (&PageScope<Arc<str>>, &SampleWants)| {
        let questions = wants
            .metrics
            .iter()
            .filter_map(|metric| question(scope, metric, wants));
        questions.collect::<Vec<_>>()
    };
    wants.iter().flat_map(of).collect()
}

fn question(scope: &PageScope<Arc<str>>, metric: Metric, wants: &SampleWants) -> Option<Question> {
    let asks = match scope {
        PageScope::Backends { namespace, .. } => {
            let named = wants.pod_metric.as_ref()?;
            // Checked by the schema as well; nothing else than a name is ever put into a query without quotes.
            let (name, pod) = (&*named.name, &*named.pod_label);
            // Our own label would be written over theirs, and the query fail.
            if !is_metric(name) || !is_label(pod) || pod == PART {
                return None;
            }
            Asks::OfPods {
                namespace: namespace.clone(),
                metric: named.clone(),
            }
        }
        _ => Asks::Line(MetricQuery::of(metric)?.promql()),
    };
    Some(Question {
        scope: scope.clone(),
        metric,
        asks,
    })
}

/// The query for a metric of some Pods of one namespace. A policy there reads nothing of other namespaces by it.
fn of_pods(metric: &PodMetric, namespace: &str, pods: &BTreeSet<Arc<str>>) -> String {
    let (name, pod) = (&metric.name, &*metric.pod_label);
    let named = any_of(pods.iter().map(|pod| &**pod)).map_or_else(
        || format!("{pod}!=\"\""),
        |pattern| format!("{pod}=~{}", quoted(&pattern)),
    );
    let selector = format!("{name}{{namespace={},{named}}}", quoted(namespace));
    with_times(&format!("sum by ({pod}) ({selector})"), pod, &selector)
}

impl Question {
    /// The query.
    fn promql(&self, known: &KnownSubjects) -> String {
        match &self.asks {
            Asks::OfPods { namespace, metric } => of_pods(metric, namespace, &known.pods),
            Asks::Line(promql) => promql.clone(),
        }
    }

    /// The label that holds the Pod; empty where it is about no Pods.
    fn pod_label(&self) -> &str {
        match &self.asks {
            Asks::OfPods { metric, .. } => &metric.pod_label,
            Asks::Line(_) => "",
        }
    }

    /// A page that says why there is no answer.
    pub(super) fn failed(&self, asked: i64, gap: (Why, String)) -> OwnedPage {
        OwnedPage {
            observer: Observer::Prometheus,
            metrics: Metrics::of(&[self.metric]),
            scope: self.scope.clone(),
            asked,
            samples: Vec::new(),
            gap: Some(gap),
        }
    }

    /// The namespace of the policies that name what is asked; `None` where it is the platform's. If such a question fails,
    /// that may be the policy's doing and says nothing of the server.
    pub(super) const fn namespace(&self) -> Option<&Arc<str>> {
        match &self.asks {
            Asks::OfPods { namespace, .. } => Some(namespace),
            Asks::Line(_) => None,
        }
    }

    /// How often it is asked.
    pub(super) fn every(&self) -> std::time::Duration {
        let seconds = Observer::Prometheus.every_seconds(self.metric);
        std::time::Duration::from_secs(seconds.into())
    }
}

/// Asks, at this endpoint where it is one of several, and makes a page of the answer; beside it the bytes that were read.
/// `at` is the time to evaluate the query at, in milliseconds since 1970: the present where it is absent.
pub(crate) async fn ask(
    server: &PrometheusServer,
    endpoint: Option<SocketAddr>,
    question: &Question,
    known: &KnownSubjects,
    at: Option<i64>,
    limits: AnswerLimits,
) -> (OwnedPage, usize) {
    let asked = at.unwrap_or_else(now_millis);
    let mut answered = Answered::new(known, question.metric, &question.scope, question.pod_label());
    // Each subject has a value and a time.
    let most = question.metric.of().most() * 2;
    let body = match server.query(endpoint, &question.promql(known), at, limits).await {
        Ok(body) => body,
        Err(gap) => return (question.failed(asked, gap), 0),
    };
    let mut take = |series: &Series<'_>| answered.take(&series.labels, series.value);
    let page = match answer::read(&body, most, &mut take) {
        Ok(()) => OwnedPage {
            samples: answered.samples(),
            gap: None,
            ..question.failed(asked, (Why::NoSeries, String::new()))
        },
        Err(error) => question.failed(asked, of_answer(&error)),
    };
    (page, body.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;

    use evenkeel_core::policy::Counts;
    use rstest::rstest;

    use super::*;

    fn counted(metric: &str, pod: &str, namespace: &str) -> Vec<Question> {
        let scope = PageScope::Backends {
            namespace: namespace.into(),
            service: "web".into(),
        };
        let wants = SampleWants {
            metrics: Metrics::of(&[Metric::BackendConnections]),
            pod_metric: Some(PodMetric {
                name: metric.into(),
                pod_label: pod.into(),
                counts: Counts::Connections,
            }),
            ..SampleWants::default()
        };
        questions(&Arc::new(BTreeMap::from([(scope, wants)])))
    }

    fn query(question: &Question, pods: &[&str]) -> String {
        question.promql(&KnownSubjects {
            pods: pods.iter().map(|pod| Arc::from(*pod)).collect(),
            ..KnownSubjects::default()
        })
    }

    #[test]
    fn a_metric_of_pods_is_asked_for_in_its_namespace_alone() {
        let questions = counted("accepted_total", "pod", "shop");
        let [question] = &questions[..] else {
            panic!("{questions:?}")
        };
        assert_eq!(
            query(question, &[]),
            "label_replace(sum by (pod) (accepted_total{namespace=\"shop\",pod!=\"\"}),\"evenkeel\",\"value\",\"\",\"\") \
             or label_replace(min by (pod) (timestamp(accepted_total{namespace=\"shop\",pod!=\"\"})),\"evenkeel\",\"time\",\"\",\"\")"
        );
    }

    #[rstest]
    #[case::another_query("up) or vector(1", "pod")]
    #[case::another_namespace("up{namespace=\"other\"} or up", "pod")]
    #[case::label("up", "pod) (up) or sum by (pod")]
    #[case::own_label("up", "__name__")]
    #[case::label_of_the_query("up", "evenkeel")]
    #[case::nothing("", "pod")]
    fn what_is_no_name_is_never_asked(#[case] metric: &str, #[case] pod: &str) {
        assert_eq!(counted(metric, pod, "shop"), []);
    }

    #[test]
    fn a_namespace_stays_in_its_quotes() {
        let promql = query(&counted("up", "pod", "x\"} or up{a=\"").remove(0), &[]);
        let expected = r#"up{namespace="x\"} or up{a=\"",pod!=""}"#;
        assert!(promql.contains(expected), "{promql}");
    }

    #[test]
    fn only_the_pods_behind_the_service_are_asked_for() {
        let question = counted("up", "pod", "shop").remove(0);
        let promql = query(&question, &["web-1", "web-2.a"]);
        let expected = r#"up{namespace="shop",pod=~"web-1|web-2\\.a"}"#;
        assert!(promql.contains(expected), "{promql}");
        // What no API server gives as a name is in no query.
        for hostile in [".*", "a|.*", "a\"} or up{b=\"", "a\\"] {
            let promql = query(&question, &[hostile, "web-1"]);
            assert!(promql.contains(r#"{namespace="shop",pod=~"web-1"}"#), "{promql}");
        }
    }

    /// A query that named thousands of Pods would be longer than servers take.
    #[test]
    fn many_pods_are_asked_for_by_their_namespace() {
        let question = counted("up", "pod", "shop").remove(0);
        let names: Vec<String> = (0..600).map(|at| format!("web-{at:020}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let promql = query(&question, &names);
        assert!(promql.contains(r#"{namespace="shop",pod!=""}"#) && promql.len() < 500);
    }
}
