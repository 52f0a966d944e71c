//! Checks as rows of data, verdicts, and the view by which checks read.
//!
//! A check declares what it needs and what it may also use. The engine answers Unknown for a gap in what it needs
//! before calling it, and a test fails when a check reads more than it declares.

mod advice;
mod case;
mod dependencies;
mod look;
mod selectable;
mod selections;
mod severity;

pub use advice::{Advice, Change, End, Setting};
pub use case::{Case, Compare, Datum, Evidence, Explain, MESSAGE};
pub use dependencies::{Dependencies, Gaps};
pub(crate) use look::SampledUntil;
pub use look::{Look, Room};
pub use selectable::{Alike, KINDS, Selection};
pub(crate) use selections::Selections;
pub use severity::{Severities, Severity};

use crate::know::{Gap, Known, Reads};
use crate::names::{Key, Name, Names};
use crate::policy::{Client, Connection, Policy, PortRef, Protocol};
use crate::sample::Metrics;
use crate::sources::service::{Service, ServicePort, Transport};

/// What a check has to say of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// As it should be.
    Met,
    /// The check does not apply here, and why.
    NotApplicable(&'static str),
    /// Not wrong yet, or wrong only if the worst of what is not known holds.
    AtRisk(Case),
    /// Wrong.
    Violated(Case),
    /// An input is missing or stale. Neither healthy nor unhealthy.
    Unknown(Gap),
}

impl Verdict {
    /// [`Verdict::AtRisk`] with the check's own case.
    pub fn at_risk(case: impl Explain) -> Self {
        Self::AtRisk(Case::new(case))
    }

    /// [`Verdict::Violated`] with the check's own case.
    pub fn violated(case: impl Explain) -> Self {
        Self::Violated(Case::new(case))
    }

    /// Which of two verdicts matters more: the one with the larger weight.
    pub const fn weight(&self) -> u8 {
        match self {
            Self::Violated(_) => 3,
            Self::AtRisk(_) => 2,
            Self::Unknown(_) => 1,
            Self::Met | Self::NotApplicable(_) => 0,
        }
    }

    /// As written in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Met => "Met",
            Self::NotApplicable(_) => "NotApplicable",
            Self::AtRisk(_) => "AtRisk",
            Self::Violated(_) => "Violated",
            Self::Unknown(_) => "Unknown",
        }
    }
}

/// What a verdict is about. Made of names, so that it is stable over any order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// One kind of connection of one client to one port of a Service, as one policy declares it.
    Connection {
        /// The Service.
        service: Key,
        /// Its port.
        port: u16,
        /// The policy.
        policy: Key,
        /// Name of the connection in the policy.
        connection: Name,
        /// Name of the client in the connection; empty when none is declared.
        client: Name,
    },
    /// A Service, by one of its policies or by the baseline.
    Service {
        /// The Service.
        service: Key,
        /// The policy; `None` is the baseline.
        policy: Option<Key>,
    },
    /// A node.
    Node(Name),
    /// A zone.
    Zone(Name),
    /// A webhook configuration: kind and name.
    Webhook(Key),
    /// A workload, as far as the names of its Pods show it: whatever one namespace causes or suffers besides Services.
    Workload(Key),
    /// The cluster.
    Cluster,
}

impl Subject {
    /// The namespace that it lives in with everything of its own: endpoints, policies, client Pods.
    pub const fn home(self) -> Option<Name> {
        match self {
            Self::Connection { service, .. } | Self::Service { service, .. } => Some(service.namespace),
            Self::Workload(workload) => Some(workload.namespace),
            Self::Node(_) | Self::Zone(_) | Self::Webhook(_) | Self::Cluster => None,
        }
    }

    /// The Service, if it is about one.
    pub const fn service(self) -> Option<Key> {
        match self {
            Self::Connection { service, .. } | Self::Service { service, .. } => Some(service),
            Self::Node(_) | Self::Zone(_) | Self::Webhook(_) | Self::Workload(_) | Self::Cluster => None,
        }
    }

    /// The policy that asks for the verdict; `None` for the baseline and for what the platform's policy speaks of.
    pub const fn policy(self) -> Option<Key> {
        match self {
            Self::Connection { policy, .. } => Some(policy),
            Self::Service { policy, .. } => policy,
            Self::Node(_) | Self::Zone(_) | Self::Webhook(_) | Self::Workload(_) | Self::Cluster => None,
        }
    }
}

/// One connection under judgement: a client on its way to a port of a Service.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    /// Key of the Service.
    pub key: Key,
    /// The Service.
    pub service: &'a Service,
    /// Its port.
    pub port: &'a ServicePort,
    /// The policy that declares the connection.
    pub policy: &'a Policy,
    /// The connection.
    pub connection: &'a Connection,
    /// The client; one of which nothing is known when none is declared.
    pub client: &'a Client,
}

/// One Service under judgement.
#[derive(Debug, Clone, Copy)]
pub struct ServiceCase<'a> {
    /// Key of the Service.
    pub key: Key,
    /// The Service.
    pub service: &'a Service,
    /// The policy; `None` is the baseline.
    pub policy: Option<&'a Policy>,
}

/// A check's judgement, by what it judges.
#[derive(Debug, Clone, Copy)]
pub enum Judge {
    /// Each declared connection.
    Path(fn(&Look<'_>, &Path<'_>) -> Known<Verdict>),
    /// Each Service.
    Service(fn(&Look<'_>, &ServiceCase<'_>) -> Known<Verdict>),
    /// Each node.
    Node(fn(&Look<'_>, Name) -> Known<Verdict>),
    /// Each zone.
    Zone(fn(&Look<'_>, Name) -> Known<Verdict>),
    /// Each webhook configuration.
    Webhook(fn(&Look<'_>, Key) -> Known<Verdict>),
    /// Each workload that something happened to.
    Workload(fn(&Look<'_>, Key) -> Known<Verdict>),
    /// The cluster as a whole.
    Cluster(fn(&Look<'_>) -> Known<Verdict>),
}

/// Whether a check reads what was seen to change: the operator has that, an audit has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// It judges how things are.
    Unused,
    /// It says more where there is a history, and something where there is none.
    Used,
    /// Without a history it does not speak at all.
    Needed,
}

impl Memory {
    /// Whether it is read where it is there.
    pub const fn is_used(self) -> bool {
        !matches!(self, Self::Unused)
    }
}

/// One check: a line of the table in [`crate::checks`].
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its id: stable, part of the API.
    pub id: &'static str,
    /// Severities of its bad verdicts.
    pub severity: Severities,
    /// Without these it cannot say anything.
    pub needs: Reads,
    /// These it reads where they are there.
    pub uses: Reads,
    /// Whether it reads the effective data plane ([`Look::fleet`]).
    pub profiles: bool,
    /// Whether it reads what was seen to change ([`Look::history`]).
    pub history: Memory,
    /// What it rests on that is measured: it says something where any of it is. Where nothing measures, it does not speak,
    /// unless they only help ([`Metrics::helpful`]).
    pub samples: Metrics,
    /// Whether it says something without any policy.
    pub baseline: bool,
    /// The judgement.
    pub judge: Judge,
    /// Its page, in Markdown; the first line is the summary.
    pub doc: &'static str,
    /// Bad verdicts of every form of its evidence, for the file of all messages.
    #[cfg(test)]
    pub(crate) examples: fn() -> Vec<Verdict>,
}

impl Check {
    /// First line of its page.
    pub fn summary(&self) -> &'static str {
        self.doc.trim_start().lines().next().unwrap_or("")
    }

    /// Whether it can say nothing without an agent on the nodes.
    pub const fn needs_agent(&self) -> bool {
        self.needs.meets(Reads::OF_AGENT)
    }

    /// Everything it may read.
    pub const fn reads(&self) -> Reads {
        self.needs.with(self.uses)
    }

    /// How bad a verdict of it is. What rests on an assumption is never critical.
    pub fn severity_of(&self, verdict: &Verdict) -> Severity {
        let (usual, case) = match verdict {
            Verdict::Violated(case) => (self.severity.violated, case),
            Verdict::AtRisk(case) => (self.severity.at_risk, case),
            Verdict::Unknown(_) | Verdict::Met | Verdict::NotApplicable(_) => return Severity::Unknown,
        };
        let most = if case.assumes() {
            Severity::Warning
        } else {
            Severity::Critical
        };
        usual.min(case.at_most()).min(most)
    }
}

/// The ports of a Service that a declared connection is one to. A Service without any, as a DNS alias or a headless Service
/// may be, has those that the connection numbers.
pub fn declared_ports(
    connection: &Connection,
    service: &Service,
    names: &Names,
) -> impl Iterator<Item = ServicePort> {
    let own = service.ports.iter().copied();
    let own = own.filter(move |port| declares(connection, port, names));
    let refs = connection.ports.iter().filter(move |_| service.ports.is_empty());
    let numbered = refs.filter_map(move |one| match one {
        PortRef::Number(number) => Some(ServicePort {
            name: Name::EMPTY,
            port: *number,
            transport: transport(connection),
            app_protocol: Name::EMPTY,
        }),
        PortRef::Name(_) => None,
    });
    own.chain(numbered)
}

const fn transport(connection: &Connection) -> Transport {
    match connection.protocol {
        Protocol::Udp => Transport::Udp,
        Protocol::Tcp | Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => Transport::Tcp,
    }
}

/// Whether a declared connection is one to this port: by name or number where it says so, and always by transport, as
/// UDP and TCP may share a number.
pub fn declares(connection: &Connection, port: &ServicePort, names: &Names) -> bool {
    port.transport == transport(connection)
        && (connection.ports.is_empty()
            || connection.ports.iter().any(|one| match one {
                PortRef::Number(number) => *number == port.port,
                PortRef::Name(name) => !name.is_empty() && names.text(port.name) == &**name,
            }))
}
