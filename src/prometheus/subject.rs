//! Which Node, API server or Pod a series is about.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use evenkeel_core::sample::{Metric, Metrics, Of, PageScope, SampleSubject};

use super::promql::{NODE_LABELS, PART, TIME};
use crate::exposition::SeriesLabels;
use crate::samples::{KnownSubjects, OwnedSample, address, resource};

impl KnownSubjects {
    /// The Node that labels name.
    fn node(&self, labels: &SeriesLabels<'_>) -> Option<Arc<str>> {
        NODE_LABELS.iter().find_map(|label| {
            let text = labels.get(label)?;
            let host = text.rsplit_once(':').map_or(text, |parts| parts.0);
            let by_name = || self.nodes.get(text).or_else(|| self.nodes.get(host));
            let by_address = || self.node_at.get(&address(text)?);
            by_name().or_else(by_address).cloned()
        })
    }

    /// The API server on the machine that labels name: for what another process there exports.
    fn beside(&self, labels: &SeriesLabels<'_>) -> Option<IpAddr> {
        let at = address(labels.get("instance")?)?;
        self.instances.iter().any(|one| one.ip() == at).then_some(at)
    }

    /// Whether a series comes from what runs on a node's own address or under its name, as an exporter of the node does. A
    /// Pod of a team has an address of its own: it can write a node into its labels, and not this.
    fn is_from_the_node(&self, labels: &SeriesLabels<'_>, node: &str) -> bool {
        let Some(text) = labels.get("instance") else {
            return false;
        };
        let host = text.rsplit_once(':').map_or(text, |parts| parts.0);
        let own_address = || address(text).and_then(|at| self.node_at.get(&at));
        text == node || host == node || own_address().is_some_and(|own| &**own == node)
    }

    /// The API server that `instance` names. By its port as well: everything else on its node has the same address.
    fn instance(&self, labels: &SeriesLabels<'_>) -> Option<IpAddr> {
        let at = labels.get("instance")?.parse::<SocketAddr>().ok()?;
        self.instances.contains(&at).then(|| at.ip())
    }

    fn subject(
        &self,
        metric: Metric,
        scope: &PageScope<Arc<str>>,
        labels: &SeriesLabels<'_>,
        pod: &str,
    ) -> Option<SampleSubject<Arc<str>>> {
        match (metric.of(), scope) {
            (Of::Cluster, _) => Some(SampleSubject::Cluster),
            (Of::Node, _) => self.node(labels).map(SampleSubject::Node),
            // etcd and the kubelet export these.
            (Of::Instance, _) if matches!(metric, Metric::EtcdRanges | Metric::MemoryLimit) => {
                self.beside(labels).map(SampleSubject::Instance)
            }
            (Of::Instance, _) => self.instance(labels).map(SampleSubject::Instance),
            (Of::Resource, _) => {
                let name = resource(labels.get("group"), labels.get("resource"), labels.get("type"))?;
                Some(SampleSubject::Resource(self.instance(labels)?, name))
            }
            (Of::Backend, PageScope::Backends { namespace, service }) => Some(SampleSubject::Backend {
                namespace: namespace.clone(),
                service: service.clone(),
                port: 0,
                // A series about a Pod that is not behind this Service is left out.
                pod: self.pods.get(labels.get(pod)?)?.clone(),
            }),
            (Of::Backend, _) => None,
        }
    }
}

/// The values and times of one answer, on their way to samples.
#[derive(Debug)]
pub(super) struct Answered<'k> {
    known: &'k KnownSubjects,
    /// What was asked for: the same of one subject each.
    metrics: Vec<Metric>,
    scope: &'k PageScope<Arc<str>>,
    /// The label that holds the Pod, where it is one.
    pod: &'k str,
    subjects: Vec<AnsweredSubject>,
    /// Where each of them is.
    at: HashMap<Claimed, usize>,
    /// The same by the labels that may hold a Node, and no place for labels that hold none: an answer has a dozen series of
    /// each of thousands.
    at_labels: HashMap<String, Option<usize>>,
    /// The labels that are looked up.
    labels: String,
    /// Of which metric the last value was: those of one come together.
    last: Option<Metric>,
    values: Vec<(usize, Metric, f64)>,
}

/// A subject, and whether it is another that says so: of two that speak of one node the node's own counts.
type Claimed = (SampleSubject<Arc<str>>, bool);

/// A subject, and the time of its oldest sample.
#[derive(Debug)]
struct AnsweredSubject {
    claimed: Claimed,
    time: Option<i64>,
}

impl<'k> Answered<'k> {
    pub(super) fn new(
        known: &'k KnownSubjects,
        metrics: Metrics,
        scope: &'k PageScope<Arc<str>>,
        pod: &'k str,
    ) -> Self {
        Self {
            known,
            metrics: metrics.iter().collect(),
            scope,
            pod,
            subjects: Vec::new(),
            at: HashMap::new(),
            at_labels: HashMap::new(),
            labels: String::new(),
            last: None,
            values: Vec::new(),
        }
    }

    /// Takes a series. One of a subject that the API does not show is nothing to us.
    pub(super) fn take(&mut self, labels: &SeriesLabels<'_>, value: f64) {
        let part = labels.get(PART).unwrap_or_default();
        let is = |one: &Metric| one.name() == part;
        let metric = if part == TIME {
            self.metrics.first().copied()
        } else {
            let all = || self.metrics.iter().copied().find(is);
            self.last = self.last.filter(is).or_else(all);
            self.last
        };
        let Some(metric) = metric else { return };
        let Some(at) = self.place(metric, labels) else {
            return;
        };
        if part != TIME {
            self.values.push((at, metric, value));
        } else if let Some(time) = crate::exposition::millis(value)
            && let Some(subject) = self.subjects.get_mut(at)
        {
            // `timestamp()` has seconds; the core tells two exporters of one subject apart, by their values.
            subject.time = Some(subject.time.map_or(time, |held| held.min(time)));
        }
    }

    /// Where the subject of a series is, noted when it is new.
    fn place(&mut self, metric: Metric, labels: &SeriesLabels<'_>) -> Option<usize> {
        if metric.of() != Of::Node {
            return self.place_of(metric, labels);
        }
        self.labels.clear();
        for label in NODE_LABELS {
            self.labels.push_str(labels.get(label).unwrap_or_default());
            // No label of a Node has it.
            self.labels.push('\n');
        }
        if let Some(at) = self.at_labels.get(&self.labels) {
            return *at;
        }
        let at = self.place_of(metric, labels);
        self.at_labels.insert(self.labels.clone(), at);
        at
    }

    fn place_of(&mut self, metric: Metric, labels: &SeriesLabels<'_>) -> Option<usize> {
        let subject = self.known.subject(metric, self.scope, labels, self.pod)?;
        let by_another = match &subject {
            SampleSubject::Node(node) => !self.known.is_from_the_node(labels, node),
            _ => false,
        };
        let claimed = (subject, by_another);
        if let Some(at) = self.at.get(&claimed) {
            return Some(*at);
        }
        let at = self.subjects.len();
        self.at.insert(claimed.clone(), at);
        self.subjects.push(AnsweredSubject { claimed, time: None });
        Some(at)
    }

    /// The samples, those of one subject together. A value without its time is none.
    pub(super) fn samples(mut self) -> Vec<OwnedSample> {
        self.values.sort_by_key(|one| one.0);
        let Self { values, subjects, .. } = self;
        // Most often there is no other.
        let has_others = subjects.iter().any(|one| one.claimed.1);
        let of = |at: usize| subjects.get(at).map(|one| (&one.claimed.0, one.claimed.1));
        let own = values
            .iter()
            .filter(|_| has_others)
            .filter_map(|(at, metric, _)| {
                let (subject, by_another) = of(*at)?;
                (!by_another).then_some((*metric, subject))
            });
        let own: HashSet<_> = own.collect();
        let samples = values.iter().filter_map(|(at, metric, value)| {
            let (subject, by_another) = of(*at)?;
            if by_another && own.contains(&(*metric, subject)) {
                return None;
            }
            Some(OwnedSample {
                metric: *metric,
                subject: subject.clone(),
                value: *value,
                at: subjects.get(*at)?.time?,
            })
        });
        samples.collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::{BTreeSet, HashMap, HashSet};

    use rstest::rstest;

    use super::*;

    fn known() -> KnownSubjects {
        KnownSubjects {
            nodes: HashSet::from(["n1".into(), "n2".into()]),
            node_at: HashMap::from([("192.0.2.1".parse().unwrap(), "n1".into())]),
            instances: vec!["192.0.2.1:6443".parse().unwrap()],
            pods: BTreeSet::from(["web-1".into()]),
        }
    }

    fn labels<'a>(of: &[(&'a str, &'a str)]) -> SeriesLabels<'a> {
        let mut labels = SeriesLabels::default();
        for (name, value) in of {
            assert!(labels.add((*name).into(), (*value).into()));
        }
        labels
    }

    #[rstest]
    #[case::prometheus_operator(&[("node", "n2"), ("instance", "192.0.2.1:9100")], Some("n2"))]
    #[case::kube_prometheus_stack(&[("instance", "192.0.2.1:9100")], Some("n1"))]
    #[case::google(&[("instance", "n2:metrics")], Some("n2"))]
    #[case::plain(&[("instance", "n1:9100")], Some("n1"))]
    #[case::old_charts(&[("kubernetes_node", "n2"), ("instance", "192.0.2.9:9100")], Some("n2"))]
    #[case::gone(&[("node", "n9"), ("instance", "192.0.2.9:9100")], None)]
    #[case::nothing(&[], None)]
    fn a_node_is_found(#[case] of: &[(&str, &str)], #[case] expected: Option<&str>) {
        assert_eq!(known().node(&labels(of)).as_deref(), expected);
    }

    #[rstest]
    #[case("192.0.2.1:6443", true)]
    // kube-controller-manager on the same node.
    #[case("192.0.2.1:10257", false)]
    #[case("n1", false)]
    fn an_api_server_is_its_port(#[case] instance: &str, #[case] expected: bool) {
        assert_eq!(
            known().instance(&labels(&[("instance", instance)])).is_some(),
            expected
        );
    }

    #[rstest]
    #[case::a_member_of_etcd(Metric::EtcdRanges, "192.0.2.1:2381", true)]
    #[case::a_kubelet(Metric::MemoryLimit, "192.0.2.1:10250", true)]
    #[case::of_another_machine(Metric::EtcdRanges, "192.0.2.9:2381", false)]
    #[case::no_api_server(Metric::Requests, "192.0.2.1:2381", false)]
    fn what_runs_beside_an_api_server_is_known_by_its_machine(
        #[case] metric: Metric,
        #[case] instance: &str,
        #[case] expected: bool,
    ) {
        let labels = labels(&[("instance", instance)]);
        let found = known().subject(metric, &PageScope::Instances, &labels, "");
        assert_eq!(found.is_some(), expected);
    }

    #[rstest]
    #[case::forged_beside(&["192.0.2.1:9100", "192.0.2.77:80"], &[0.0])]
    #[case::forged_before(&["192.0.2.77:80", "192.0.2.1:9100"], &[1.0])]
    // An exporter that is no Pod of the host's network, such as Cilium's in some charts: no other series is about the node.
    #[case::alone(&["192.0.2.77:80"], &[0.0])]
    // Two of them are two values of one subject, and the core takes neither.
    #[case::two_others(&["192.0.2.77:80", "192.0.2.78:80"], &[0.0, 1.0])]
    fn of_two_that_speak_of_a_node_its_own_counts(#[case] instances: &[&str], #[case] expected: &[f64]) {
        let known = known();
        let mut answered = Answered::new(
            &known,
            Metrics::of(&[Metric::ConntrackEntries]),
            &PageScope::Nodes,
            "",
        );
        for (value, instance) in (0_u32..).zip(instances) {
            let labels = |part| labels(&[("node", "n1"), ("instance", instance), (PART, part)]);
            answered.take(&labels("conntrackEntries"), f64::from(value));
            answered.take(&labels(TIME), 1_700_000_000.0);
        }
        let values: Vec<f64> = answered.samples().iter().map(|one| one.value).collect();
        assert_eq!(values, expected);
    }

    #[rstest]
    #[case::behind_it("web-1", true)]
    #[case::of_another_service("api-1", false)]
    #[case::nothing("", false)]
    fn a_backend_is_a_pod_behind_the_service(#[case] pod: &str, #[case] expected: bool) {
        let scope = PageScope::Backends {
            namespace: "shop".into(),
            service: "web".into(),
        };
        let found = known().subject(
            Metric::BackendConnections,
            &scope,
            &labels(&[("pod", pod)]),
            "pod",
        );
        assert_eq!(found.is_some(), expected);
    }

    #[test]
    fn a_value_has_the_time_of_its_sample() {
        let known = known();
        let mut answered = Answered::new(
            &known,
            Metrics::of(&[Metric::ConntrackEntries]),
            &PageScope::Nodes,
            "",
        );
        answered.take(&labels(&[("node", "n1"), (PART, "conntrackEntries")]), 7.0);
        answered.take(&labels(&[("node", "n2"), (PART, "conntrackEntries")]), 8.0);
        answered.take(&labels(&[("node", "n9"), (PART, "conntrackEntries")]), 9.0);
        answered.take(&labels(&[("node", "n1"), (PART, TIME)]), 1_700_000_000.5);
        let samples = answered.samples();
        assert_eq!(samples.len(), 1, "n2 has no time, and n9 is no Node");
        assert_eq!((samples[0].value, samples[0].at), (7.0, 1_700_000_000_500));
    }
}
