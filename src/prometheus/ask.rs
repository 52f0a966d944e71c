//! Questions: what the core wants, as queries.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use evenkeel_core::fleet::SampleWants;
use evenkeel_core::policy::PodMetric;
use evenkeel_core::sample::{Metric, Metrics, Observer, Of, PageScope, Why};

use super::answer::{self, Series};
use super::promql::{Only, PART, promql, with_times};
use super::selector::{any_of, is_label, is_metric, quoted};
use super::server::{AnswerLimits, PrometheusServer, of_answer};
use super::subject::Answered;
use super::table::{MetricQuery, TOGETHER};
use crate::samples::{KnownSubjects, OwnedPage, SampleWantsByScope, now_millis};

/// Metrics of one scope, and the query that brings them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Question {
    /// What it is about.
    pub(crate) scope: PageScope<Arc<str>>,
    /// What it brings: one metric, or what one scrape of Nodes' exporters has taken.
    pub(crate) metrics: Metrics,
    asks: Asks,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Asks {
    /// Lines of the table.
    Lines(String),
    /// Lines of the table, of the Nodes with these addresses.
    OnMachines(BTreeSet<IpAddr>),
    /// A metric that policies of a namespace name, and the label that holds the Pod.
    OfPods {
        namespace: Arc<str>,
        metric: Metric,
        named: PodMetric,
    },
}

/// What is wanted, as far as there are queries for it.
pub(crate) fn questions(wants: &SampleWantsByScope) -> Vec<Question> {
    let mut all = Vec::new();
    for (scope, wants) in wants.iter() {
        let mut left = wants.metrics;
        while let Some(metric) = left.iter().next() {
            let one = Metrics::of(&[metric]);
            let together = TOGETHER.into_iter().find(|some| some.has(metric)).unwrap_or(one);
            let few = wants.on_api_servers.has(metric);
            // Those of few machines and those of all are two questions.
            let same = if few {
                wants.on_api_servers
            } else {
                wants.metrics.minus(wants.on_api_servers)
            };
            let metrics = left.both(together).both(same);
            left = left.minus(metrics);
            all.extend(question(scope, metrics, wants));
        }
    }
    all
}

fn question(scope: &PageScope<Arc<str>>, metrics: Metrics, wants: &SampleWants) -> Option<Question> {
    let metric = metrics.iter().next()?;
    let asks = if let PageScope::Backends { namespace, .. } = scope {
        let named = wants.pod_metric.as_ref()?;
        // Checked by the schema as well; nothing else than a name is ever put into a query without quotes.
        let (name, pod) = (&*named.name, &*named.pod_label);
        // Our own label would be written over theirs, and the query fail.
        if !is_metric(name) || !is_label(pod) || pod == PART {
            return None;
        }
        Asks::OfPods {
            namespace: namespace.clone(),
            metric,
            named: named.clone(),
        }
    } else {
        MetricQuery::of(metric)?;
        if wants.on_api_servers.has(metric) {
            // Where the platform hides the API servers' machines there is nothing to ask.
            (!wants.instances.is_empty()).then(|| Asks::OnMachines(wants.instances.clone()))?
        } else {
            Asks::Lines(promql(metrics, None))
        }
    };
    Some(Question {
        scope: scope.clone(),
        metrics,
        asks,
    })
}

/// The query for a metric of some Pods of one namespace. A policy there reads nothing of other namespaces by it.
fn of_pods(metric: Metric, counted: &PodMetric, namespace: &str, pods: &BTreeSet<Arc<str>>) -> String {
    let (name, pod) = (&counted.name, &*counted.pod_label);
    let named = any_of(pods.iter().map(|pod| &**pod)).map_or_else(
        || format!("{pod}!=\"\""),
        |pattern| format!("{pod}=~{}", quoted(&pattern)),
    );
    let selector = format!("{name}{{namespace={},{named}}}", quoted(namespace));
    with_times(
        [(metric, format!("sum by ({pod}) ({selector})"))],
        [format!("min by ({pod}) (timestamp({selector}))")],
    )
}

impl Question {
    /// The query; `None` where none of the machines that it is about is a Node.
    fn promql(&self, known: &KnownSubjects) -> Option<String> {
        match &self.asks {
            Asks::OfPods {
                namespace,
                metric,
                named,
            } => Some(of_pods(*metric, named, namespace, &known.pods)),
            Asks::Lines(promql) => Some(promql.clone()),
            Asks::OnMachines(machines) => {
                let nodes = machines
                    .iter()
                    .filter_map(|at| Some((at, known.node_at.get(at)?)));
                let names = any_of(nodes.clone().map(|one| &**one.1))?;
                let addresses: Vec<String> = nodes.map(|one| address_pattern(*one.0)).collect();
                let only = Only {
                    names: &names,
                    addresses: &addresses.join("|"),
                };
                Some(promql(self.metrics, Some(&only)))
            }
        }
    }

    /// The label that holds the Pod; empty where it is about no Pods.
    fn pod_label(&self) -> &str {
        match &self.asks {
            Asks::OfPods { named, .. } => &named.pod_label,
            Asks::Lines(_) | Asks::OnMachines(_) => "",
        }
    }

    /// A page that says why there is no answer.
    pub(super) fn failed(&self, asked: i64, gap: (Why, String)) -> OwnedPage {
        OwnedPage {
            observer: Observer::Prometheus,
            metrics: self.metrics,
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
            Asks::Lines(_) | Asks::OnMachines(_) => None,
        }
    }

    /// How often it is asked.
    pub(super) fn every(&self) -> std::time::Duration {
        let each = self
            .metrics
            .iter()
            .map(|one| Observer::Prometheus.every_seconds(one));
        std::time::Duration::from_secs(each.min().unwrap_or(u32::MAX).into())
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
    let page_of = |samples| OwnedPage {
        samples,
        gap: None,
        ..question.failed(asked, (Why::NoSeries, String::new()))
    };
    let Some(promql) = question.promql(known) else {
        return (page_of(Vec::new()), 0);
    };
    let mut answered = Answered::new(known, question.metrics, &question.scope, question.pod_label());
    // Each subject has its values and a time.
    let of = question
        .metrics
        .iter()
        .map(Metric::of)
        .map(Of::most)
        .max()
        .unwrap_or_default();
    let most = of * (question.metrics.iter().count() + 1);
    let body = match server.query(endpoint, &promql, at, limits).await {
        Ok(body) => body,
        Err(gap) => return (question.failed(asked, gap), 0),
    };
    let mut take = |series: &Series<'_>| answered.take(series.labels, series.value);
    let page = match answer::read(&body, most, &mut take) {
        Ok(()) => page_of(answered.samples()),
        Err(error) => question.failed(asked, of_answer(&error)),
    };
    (page, body.len())
}

/// A pattern that means this address and nothing else, as `instance` writes it: RFC 5952's text, in brackets where it is IPv6.
fn address_pattern(at: IpAddr) -> String {
    let text = at.to_string().replace('.', "\\.");
    if at.is_ipv6() {
        format!("\\[?{text}\\]?")
    } else {
        text
    }
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
        question
            .promql(&KnownSubjects {
                pods: pods.iter().map(|pod| Arc::from(*pod)).collect(),
                ..KnownSubjects::default()
            })
            .unwrap()
    }

    #[test]
    fn what_one_scrape_takes_is_one_question_and_of_few_machines_another() {
        let on_api_servers = Metrics::of(&[Metric::SynCookies, Metric::MemoryTotal]);
        let all = [
            Metric::ConntrackEntries,
            Metric::ConntrackLimit,
            Metric::CpuBusy,
            Metric::ExporterUp,
        ];
        let at: IpAddr = "192.0.2.1".parse().unwrap();
        let mut wants = SampleWants {
            metrics: on_api_servers.with(Metrics::of(&all)),
            on_api_servers,
            instances: BTreeSet::from([at]),
            ..SampleWants::default()
        };
        let asked =
            |wants: &SampleWants| questions(&Arc::new(BTreeMap::from([(PageScope::Nodes, wants.clone())])));
        let of = |questions: &[Question]| questions.iter().map(|one| one.metrics).collect::<Vec<_>>();
        assert_eq!(
            of(&asked(&wants)),
            [
                Metrics::of(&all[..2]),
                Metrics::of(&[Metric::MemoryTotal]),
                Metrics::of(&[Metric::CpuBusy]),
                Metrics::of(&[Metric::ExporterUp]),
                Metrics::of(&[Metric::SynCookies]),
            ]
        );
        let cookies = asked(&wants).remove(4);
        let nothing = KnownSubjects::default();
        assert_eq!(cookies.promql(&nothing), None, "its machine is no Node");
        let known = KnownSubjects {
            node_at: [(at, "m1".into())].into(),
            ..nothing
        };
        let promql = cookies.promql(&known).unwrap();
        assert!(
            promql.contains(r#"{instance=~"(m1|192\\.0\\.2\\.1)(:.*)?"}"#),
            "{promql}"
        );
        wants.instances.clear();
        assert_eq!(of(&asked(&wants)).len(), 3, "nobody is there to ask about");
    }

    #[test]
    fn a_metric_of_pods_is_asked_for_in_its_namespace_alone() {
        let questions = counted("accepted_total", "pod", "shop");
        let [question] = &questions[..] else {
            panic!("{questions:?}")
        };
        assert_eq!(
            query(question, &[]),
            "label_replace(sum by (pod) (accepted_total{namespace=\"shop\",pod!=\"\"}),\"evenkeel\",\"backendConnections\",\"\",\"\") \
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
