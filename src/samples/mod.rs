//! Pages of samples on their way from a feeder to the core, and what feeders are to measure.
//!
//! A feeder is a task beside the watches. It learns what is wanted by a channel that holds the newest only, and hands over
//! one page after the other by a bounded one: a feeder that is faster than the loop waits, and the loop waits for no
//! feeder. Where no feeder is configured, no task runs and nothing is sent.

mod feed;
mod known;
pub(crate) mod stored;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use evenkeel_core::fleet::SampleWants;
use evenkeel_core::know::{Mono, Now};
use evenkeel_core::sample::{
    Metric, Metrics, Observer, Page, PageGap, PageScope, Sample, SampleSubject, Why,
};

pub(crate) use feed::{SampleFeed, until_stopped};
pub use known::KnownSubjects;

/// What is to be measured, by what it is measured on.
pub type SampleWantsByScope = Arc<BTreeMap<PageScope<Arc<str>>, SampleWants>>;

/// Pages that may wait for the loop.
pub(crate) const WAITING: usize = 4;

/// A number with its own names.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedSample {
    /// What was measured.
    pub metric: Metric,
    /// On what.
    pub subject: SampleSubject<Arc<str>>,
    /// The value, in the metric's unit.
    pub value: f64,
    /// When the observer took it, in milliseconds since 1970.
    pub at: i64,
}

/// One answer of one observer: [`Page`] with its own names.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedPage {
    /// Who was asked.
    pub observer: Observer,
    /// For which metrics.
    pub metrics: Metrics,
    /// About which subjects.
    pub scope: PageScope<Arc<str>>,
    /// When it was asked, in milliseconds since 1970.
    pub asked: i64,
    /// What it answered.
    pub samples: Vec<OwnedSample>,
    /// Why that is nothing, or not all.
    pub gap: Option<(Why, String)>,
}

impl OwnedPage {
    /// Gives it to what takes pages.
    pub fn lend(&self, take: impl FnOnce(&Page<'_>)) {
        let samples: Vec<Sample<'_>> = self
            .samples
            .iter()
            .map(|one| Sample {
                metric: one.metric,
                subject: lend_subject(&one.subject),
                value: one.value,
                at: one.at,
            })
            .collect();
        take(&Page {
            observer: self.observer,
            metrics: self.metrics,
            scope: lend_scope(&self.scope),
            asked: self.asked,
            samples: &samples,
            gap: self
                .gap
                .as_ref()
                .map(|(why, detail)| PageGap { why: *why, detail }),
        });
    }
}

fn lend_subject(subject: &SampleSubject<Arc<str>>) -> SampleSubject<&str> {
    match subject {
        SampleSubject::Cluster => SampleSubject::Cluster,
        SampleSubject::Node(name) => SampleSubject::Node(name),
        SampleSubject::Instance(at) => SampleSubject::Instance(*at),
        SampleSubject::Resource(at, name) => SampleSubject::Resource(*at, name),
        SampleSubject::Backend {
            namespace,
            service,
            port,
            pod,
        } => SampleSubject::Backend {
            namespace,
            service,
            port: *port,
            pod,
        },
    }
}

fn lend_scope(scope: &PageScope<Arc<str>>) -> PageScope<&str> {
    match scope {
        PageScope::Cluster => PageScope::Cluster,
        PageScope::Nodes => PageScope::Nodes,
        PageScope::Instances => PageScope::Instances,
        PageScope::Instance(at) => PageScope::Instance(*at),
        PageScope::Backends { namespace, service } => PageScope::Backends { namespace, service },
    }
}

/// A resource as samples name it, from the labels that API servers give it: `group` and `resource`, or `type` before
/// Kubernetes 1.34 (`storage/etcd3/metrics/metrics.go` of k8s.io/apiserver), which is `deployments.apps`.
pub(crate) fn resource(group: Option<&str>, resource: Option<&str>, kind: Option<&str>) -> Option<Arc<str>> {
    let joined = |group: &str, resource: &str| Arc::from(format!("{group}/{resource}"));
    match (group, resource) {
        (Some(group), Some(resource)) => Some(joined(group, resource)),
        // Before that version some metrics had the group in the resource as well.
        (None, Some(text)) => Some(match text.split_once('.') {
            Some((resource, group)) => joined(group, resource),
            None => Arc::from(text),
        }),
        (_, None) => {
            let text = kind?;
            // A Go type, of older versions: it names the kind and no resource, and is the same in every instance.
            match text.split_once('.').filter(|_| !text.starts_with('*')) {
                Some((resource, group)) => Some(joined(group, resource)),
                None => Some(Arc::from(text)),
            }
        }
    }
}

/// The moment in a core that judges only once at which a page is given to it, of pages that were asked for at different times:
/// it begins a while before the first, as what a page brings was taken before it was asked for. Both are in milliseconds
/// since 1970.
pub(crate) fn asked_after(first: i64, asked: i64) -> Now {
    const BEFORE: u64 = 600_000;
    Now {
        mono: Mono(BEFORE + asked.saturating_sub(first).max(0).unsigned_abs()),
        ..Now::ONCE
    }
}

/// The present moment, in milliseconds since 1970.
pub(crate) fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// The address in a label like `instance`: `192.0.2.1:6443`, `[2001:db8::1]:6443`, or without a port.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip());
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Some("apps"), Some("deployments"), None, "apps/deployments")]
    #[case(None, Some("pods"), None, "pods")]
    #[case(None, Some("deployments.apps"), None, "apps/deployments")]
    #[case(None, None, Some("deployments.apps"), "apps/deployments")]
    #[case(None, None, Some("leases.coordination.k8s.io"), "coordination.k8s.io/leases")]
    #[case(None, None, Some("pods"), "pods")]
    #[case(None, None, Some("*core.Pod"), "*core.Pod")]
    fn one_resource_has_one_name(
        #[case] group: Option<&str>,
        #[case] plural: Option<&str>,
        #[case] kind: Option<&str>,
        #[case] expected: &str,
    ) {
        assert_eq!(resource(group, plural, kind).as_deref(), Some(expected));
    }

    #[rstest]
    #[case("192.0.2.1:6443", Some("192.0.2.1"))]
    #[case("[2001:db8::1]:6443", Some("2001:db8::1"))]
    #[case("192.0.2.1", Some("192.0.2.1"))]
    #[case("cp-1:6443", None)]
    fn an_address_stands_before_its_port(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(address(text).map(|one| one.to_string()).as_deref(), expected);
    }
}
