//! Checks as rows of data, verdicts, and the eyes that checks look with.
//!
//! A check declares what it needs and what it may also use. The engine answers Unknown for a gap in what it needs
//! before calling it, and a test fails when a check reads more than it declares.

mod look;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

pub use look::{Look, Rests};

use crate::know::{Gap, Known, Origin, Reads, Unit, Val};
use crate::names::{Key, Name, Names};
use crate::policy::{Client, Connection, Policy, PortRef, Protocol};
use crate::sources::service::{Service, ServicePort, Transport};

/// How bad a finding is. `Unknown` is a level of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nobody can say.
    Unknown,
    /// Worth knowing.
    Info,
    /// Somebody should look in working hours.
    Warning,
    /// Users are or will be hurt.
    Critical,
}

impl Severity {
    /// As written in JSON and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One number or name that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// What it is, in lowerCamelCase; a check's `say` finds it by this word.
    pub what: &'static str,
    /// The value.
    pub value: Datum,
    /// Its unit.
    pub unit: Unit,
    /// How it came to be known.
    pub origin: Origin,
    /// Where it was read.
    pub source: Arc<str>,
}

/// A number or a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum Datum {
    /// A number.
    Number(i64),
    /// A name, a version, a mode.
    Text(Arc<str>),
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Evidence {
    /// A number with its provenance.
    pub fn number(what: &'static str, unit: Unit, val: &Val<i64>) -> Self {
        Self {
            what,
            value: Datum::Number(val.value),
            unit,
            origin: val.origin,
            source: val.source.clone(),
        }
    }

    /// A name with its provenance.
    pub fn text(what: &'static str, val: &Val<Arc<str>>) -> Self {
        Self {
            what,
            value: Datum::Text(val.value.clone()),
            unit: Unit::None,
            origin: val.origin,
            source: val.source.clone(),
        }
    }

    /// A number that was watched.
    pub fn watched(
        what: &'static str,
        unit: Unit,
        value: impl TryInto<i64>,
        source: impl Into<Arc<str>>,
    ) -> Self {
        let value = value.try_into().unwrap_or(i64::MAX);
        Self::number(what, unit, &Val::measured(value, source))
    }

    /// A number counted from objects of a source.
    pub fn count(what: &'static str, value: impl TryInto<i64>, source: impl Into<Arc<str>>) -> Self {
        Self::number(
            what,
            Unit::Count,
            &Val::declared(value.try_into().unwrap_or(i64::MAX), source),
        )
    }
}

/// Why a verdict is bad. Made for bad news only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Case {
    /// A stable `UpperCamelCase` word, for when one check has several causes; may be empty.
    pub cause: &'static str,
    /// What the verdict rests on.
    pub evidence: Vec<Evidence>,
}

impl Case {
    /// A case with a cause.
    pub const fn new(cause: &'static str, evidence: Vec<Evidence>) -> Self {
        Self { cause, evidence }
    }

    /// The evidence of that word.
    pub fn find(&self, what: &str) -> Option<&Evidence> {
        self.evidence.iter().find(|one| one.what == what)
    }

    /// Value and unit of that word, as text: `900 s`; `?` when there is none.
    pub fn show(&self, what: &str) -> String {
        self.find(what)
            .map_or_else(|| "?".into(), |one| format!("{}{}", one.value, one.unit))
    }

    /// Value, unit and where it was read: `900 s (ConfigMap ...)`.
    pub fn cite(&self, what: &str) -> String {
        self.find(what).map_or_else(
            || "?".into(),
            |one| format!("{}{} ({})", one.value, one.unit, one.source),
        )
    }

    /// The number of that word.
    pub fn number(&self, what: &str) -> Option<i64> {
        match self.find(what)?.value {
            Datum::Number(number) => Some(number),
            Datum::Text(_) => None,
        }
    }

    /// Whether any of it is merely assumed: then it is never critical.
    pub fn assumes(&self) -> bool {
        self.evidence.iter().any(|one| one.origin == Origin::Assumed)
    }
}

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
    /// The cluster.
    Cluster,
}

impl Subject {
    /// The namespace that it lives in with everything of its own: endpoints, policies, client Pods.
    pub const fn home(self) -> Option<Name> {
        match self {
            Self::Connection { service, .. } | Self::Service { service, .. } => Some(service.namespace),
            Self::Node(_) | Self::Zone(_) | Self::Webhook(_) | Self::Cluster => None,
        }
    }

    /// The policy that asks for the verdict; `None` for the baseline and for what the platform's policy speaks of.
    pub const fn policy(self) -> Option<Key> {
        match self {
            Self::Connection { policy, .. } => Some(policy),
            Self::Service { policy, .. } => policy,
            Self::Node(_) | Self::Zone(_) | Self::Webhook(_) | Self::Cluster => None,
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
    /// Severity of a bad verdict.
    pub severity: fn(&Verdict) -> Severity,
    /// Without these it cannot say anything.
    pub needs: Reads,
    /// These it reads where they are there.
    pub uses: Reads,
    /// Whether it reads the effective data plane ([`Look::fleet`]).
    pub profiles: bool,
    /// Whether it reads what was seen to change ([`Look::history`]).
    pub history: Memory,
    /// Whether it says something without any policy.
    pub baseline: bool,
    /// The judgement.
    pub judge: Judge,
    /// The message of a case.
    pub say: fn(&Case, &mut fmt::Formatter<'_>) -> fmt::Result,
    /// The next steps for a person, the least invasive first.
    pub advise: fn(&Case) -> Vec<String>,
    /// Its page, in Markdown; the first line is the summary.
    pub doc: &'static str,
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
}

/// Whether a declared connection is one to this port: by name or number where it says so, and always by transport, as
/// UDP and TCP may share a number.
pub fn declares(connection: &Connection, port: &ServicePort, names: &Names) -> bool {
    let transport = match connection.protocol {
        Protocol::Udp => Transport::Udp,
        Protocol::Tcp | Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => Transport::Tcp,
    };
    port.transport == transport
        && (connection.ports.is_empty()
            || connection.ports.iter().any(|one| match one {
                PortRef::Number(number) => *number == port.port,
                PortRef::Name(name) => !name.is_empty() && names.text(port.name) == &**name,
            }))
}
