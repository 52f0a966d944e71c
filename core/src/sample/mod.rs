//! Samples: numbers that were measured on the running thing, with subject, time and observer.
//!
//! Feeders ask what [`crate::fleet::Wants`] names and hand each answer over as one [`Page`]: the samples, or why there are
//! none. [`Samples`] folds a page once. What it keeps is bounded per subject and in all, and only of subjects that the API
//! shows: Nodes, addresses of `default/kubernetes`, Services. A subject without a fresh sample is Unknown, never zero.
//!
//! Times of samples are the observer's wall clock in milliseconds, compared with the time of asking: the clock of this
//! process ages nothing. From when a page is taken, ages are monotonic.

mod agreement;
mod answers;
mod calm;
mod doubt;
mod metric;
mod reading;
mod series;
mod shown;
mod store;

use std::fmt;
use std::net::IpAddr;

pub(crate) use calm::CalmLevels;
pub use calm::TABLE_FORECAST_PERCENT;
pub use metric::{Metric, MetricKind, Metrics, Of};
pub use reading::{Reading, whole, whole_large};
pub use series::{DroppedSamples, Point, Tenths};
pub use shown::SampleView;
pub(crate) use store::Touched;
pub use store::{MOST_SERIES, Samples};

/// Who measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Observer {
    /// A Prometheus server that scrapes the cluster.
    Prometheus,
    /// The API server itself, by its own `/metrics`.
    Instance,
    /// evenkeel's agent on the node.
    Agent,
    /// Connections of our own to the load balancer before the API servers.
    LoadBalancer,
}

impl Observer {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Prometheus, Self::Instance, Self::Agent, Self::LoadBalancer];

    /// In a sentence.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "Prometheus",
            Self::Instance => "the API server's /metrics",
            Self::Agent => "the agent",
            Self::LoadBalancer => "the load balancer",
        }
    }

    /// After how many seconds it is asked again for a metric.
    pub const fn every_seconds(self, metric: Metric) -> u32 {
        match (self, metric.of()) {
            // Three connections of which each is 5 s after the other.
            (Self::LoadBalancer, _) => 15,
            // A page of an API server may have 50 MB.
            (Self::Instance, _) | (_, Of::Cluster) => 60,
            // The detector of uneven shares gains by each interval.
            (_, Of::Backend) => 15,
            // kube-prometheus-stack scrapes every 30 s: asking more often brings the same samples.
            (_, Of::Node | Of::Instance | Of::Resource) => 30,
        }
    }
}

impl fmt::Display for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a sample is about. `N` is how names are given: texts at the door, [`crate::names::Name`]s inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SampleSubject<N = crate::names::Name> {
    /// The cluster as a whole.
    Cluster,
    /// A Node, by its name.
    Node(N),
    /// An API server, by its address in `default/kubernetes`, without a port.
    Instance(IpAddr),
    /// A resource in an API server: `pods`, `apps/deployments`.
    Resource(IpAddr, N),
    /// A Pod behind a Service.
    Backend {
        /// Namespace of both.
        namespace: N,
        /// The Service.
        service: N,
        /// The port of the Service; 0 where the counter does not tell ports apart.
        port: u16,
        /// The Pod.
        pod: N,
    },
}

/// The subjects that one page is about: what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PageScope<N = crate::names::Name> {
    /// The cluster as a whole.
    Cluster,
    /// All Nodes.
    Nodes,
    /// All API servers, with their resources.
    Instances,
    /// One API server, with its resources.
    Instance(IpAddr),
    /// The Pods behind a Service.
    Backends {
        /// Its namespace.
        namespace: N,
        /// Its name.
        service: N,
    },
}

impl<N: Copy + PartialEq> PageScope<N> {
    /// Whether a subject is one of those that were asked about.
    pub fn holds(self, subject: SampleSubject<N>) -> bool {
        match (self, subject) {
            (Self::Cluster, SampleSubject::Cluster)
            | (Self::Nodes, SampleSubject::Node(_))
            | (Self::Instances, SampleSubject::Instance(_) | SampleSubject::Resource(..)) => true,
            (Self::Instance(one), SampleSubject::Instance(other) | SampleSubject::Resource(other, _)) => {
                one == other
            }
            (
                Self::Backends { namespace, service },
                SampleSubject::Backend {
                    namespace: of,
                    service: by,
                    ..
                },
            ) => namespace == of && service == by,
            _ => false,
        }
    }
}

/// One number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// What was measured.
    pub metric: Metric,
    /// On what.
    pub subject: SampleSubject<&'a str>,
    /// The value, in the metric's unit.
    pub value: f64,
    /// When the observer took it, in milliseconds since the Unix epoch: for Prometheus the time of the scrape
    /// (`timestamp()` of the series), not that of the query.
    pub at: i64,
}

/// One answer of one observer.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Who was asked.
    pub observer: Observer,
    /// For which metrics. Samples of others are dropped and counted.
    pub metrics: Metrics,
    /// About which subjects. Samples of others are dropped and counted.
    pub scope: PageScope<&'a str>,
    /// When it was asked, in milliseconds since the Unix epoch, by this machine's clock.
    pub asked: i64,
    /// What it answered, in any order.
    pub samples: &'a [Sample<'a>],
    /// Why it answered nothing, or less than everything. What came beside it counts.
    pub gap: Option<PageGap<'a>>,
}

/// Why samples are missing, with words for people: status, limit, address; at most [`MOST_DETAIL`] bytes of it are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageGap<'a> {
    /// The kind of reason.
    pub why: Why,
    /// The particulars; may be empty.
    pub detail: &'a str,
}

/// Longest particulars that are kept, in bytes.
pub const MOST_DETAIL: usize = 120;

/// Why samples are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// No connection, or a certificate that is not trusted.
    Unreachable,
    /// It answered that this client may not ask.
    Refused,
    /// No whole answer within the deadline.
    TimedOut,
    /// The answer has more bytes or series than are taken.
    TooLarge,
    /// The answer ended before it was whole.
    Truncated,
    /// The answer is in a form that this version does not know.
    NotUnderstood,
    /// The values are in another unit.
    WrongUnit,
    /// One subject has several values of one metric.
    Duplicate,
    /// The value is no finite number, or less than zero.
    NotANumber,
    /// The newest sample is too old.
    Stale,
    /// The observer says itself that its answer may be incomplete.
    Partly,
    /// It answered, and has no such series for this subject.
    NoSeries,
    /// No observer was asked, or none has answered yet.
    NotAsked,
    /// All API servers are behind one address.
    Hidden,
    /// Several API servers show the same certificate, so that it does not tell which one has answered.
    SameCertificate,
    /// A certificate that is none of the API servers'.
    OtherCertificate,
    /// Its address is neither declared nor published.
    NoAddress,
    /// Its address is that of an API server.
    NoBalancer,
    /// The questions of its namespace take more than a namespace's share.
    OverBudget,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Unreachable,
        Self::Refused,
        Self::TimedOut,
        Self::TooLarge,
        Self::Truncated,
        Self::NotUnderstood,
        Self::WrongUnit,
        Self::Duplicate,
        Self::NotANumber,
        Self::Stale,
        Self::Partly,
        Self::NoSeries,
        Self::NotAsked,
        Self::Hidden,
        Self::SameCertificate,
        Self::OtherCertificate,
        Self::NoAddress,
        Self::NoBalancer,
        Self::OverBudget,
    ];

    /// What is so, after the name of the observer: `Prometheus cannot be reached`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unreachable => "cannot be reached",
            Self::Refused => "refuses to answer",
            Self::TimedOut => "does not answer in time",
            Self::TooLarge => "answers more than is read",
            Self::Truncated => "ends in the middle of an answer",
            Self::NotUnderstood => "answers in an unknown form",
            Self::WrongUnit => "has it in another unit",
            Self::Duplicate => "has several values for one subject",
            Self::NotANumber => "has a value that is no number",
            Self::Stale => "has no recent sample",
            Self::Partly => "answers in part",
            Self::NoSeries => "has no such series",
            Self::NotAsked => "has not answered yet",
            Self::Hidden => "is behind one address with all others",
            Self::SameCertificate => "shows a certificate that several API servers share",
            Self::OtherCertificate => "shows a certificate of no API server",
            Self::NoAddress => "has no address that is declared or published",
            Self::NoBalancer => "is an API server itself",
            Self::OverBudget => "was not asked",
        }
    }
}

#[cfg(test)]
mod tests;
