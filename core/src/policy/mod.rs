//! Policies in the form the checks read: compiled, bounded, with exact types.
//!
//! The kinds that people write (with schema, CEL and defaults) live outside this crate; `compile` there makes these.
//! **An absent field is unknown, not "off"**: it is an [`Option`] here, and a check judges both ends of what it may be.

pub mod ceiling;
mod cluster;
mod labels;

use std::sync::Arc;

pub use cluster::{
    Cascade, CiliumTuning, ClusterPolicy, ConntrackPolicy, ControlPlanePolicy, CordonPolicy, DataPlanePolicy,
    ExceptedSubject, FenceEffect, Flap, KernelTuning, NodesPolicy, PlatformException, Pressure, Range, Storm,
};
pub use labels::{Operator, Requirement, Selector};

use crate::know::Wall;

/// A compiled TrafficHealthPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Namespace of the policy, and of every Service it speaks of.
    pub namespace: Arc<str>,
    /// Name of the policy.
    pub name: Arc<str>,
    /// Which Services of its namespace it governs.
    pub services: ServicePick,
    /// What balance is expected; `None` when the team did not say.
    pub balance: Option<Balance>,
    /// One entry for each kind of connection.
    pub connections: Vec<Connection>,
    /// What evenkeel may do about it.
    pub remediation: Remediation,
    /// Findings that people have accepted for a time.
    pub exceptions: Vec<Exception>,
    /// Paths of fields that this version does not know: the policy is judged without them.
    pub unknown_fields: Vec<Arc<str>>,
}

impl Policy {
    /// The names of its connections and of their clients.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.connections.iter().flat_map(|connection| {
            let clients = connection.clients.iter().map(|client| &client.name);
            std::iter::once(&connection.name).chain(clients)
        })
    }
}

/// Which Services a policy governs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServicePick {
    /// By name.
    Names(Vec<Arc<str>>),
    /// By label.
    Selector(Selector),
}

/// What is counted when balance is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// New connections in the window.
    #[default]
    NewConnections,
    /// Connections open at the moment.
    ActiveConnections,
}

/// A metric that each Pod behind a Service has in a Prometheus: it and a label by name, and never a query.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodMetric {
    /// Its name.
    pub name: Arc<str>,
    /// The label that holds the name of the Pod.
    pub pod_label: Arc<str>,
    /// What it counts.
    pub counts: Counts,
}

/// What a metric of a Pod counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Counts {
    /// Connections that the Pod has accepted.
    #[default]
    Connections,
    /// Requests that it has answered.
    Requests,
}

/// Expected balance of the ready backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// What is counted.
    pub measure: Measure,
    /// Deviation from the expected share that is still healthy, in percent.
    pub tolerance_percent: u32,
    /// How long a ready backend may take to reach its share, in seconds.
    pub newcomer_grace_seconds: u32,
    /// Where the number of its connections or requests is to be found; `None` where it is not measured.
    pub pod_metric: Option<PodMetric>,
    /// Fewest ready backends.
    pub minimum_ready_backends: Option<u32>,
    /// Largest share of the ready backends on one node, in percent.
    pub max_percent_per_node: Option<u32>,
    /// Largest share of the ready backends in one zone, in percent.
    pub max_percent_per_zone: Option<u32>,
}

/// The protocol of a connection, as far as timeouts care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Plain TCP.
    Tcp,
    /// HTTP/1.x.
    Http1,
    /// HTTP/2 that is not gRPC.
    Http2,
    /// gRPC.
    Grpc,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Whether a PING frame exists: where it does not, an absent `ping` means none.
    pub const fn has_ping(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc)
    }

    /// As written in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Http1 => "HTTP1",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::Udp => "UDP",
        }
    }
}

/// One kind of connection to the governed Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its name within the policy.
    pub name: Arc<str>,
    /// Ports of the Service; empty means all.
    pub ports: Vec<PortRef>,
    /// Protocol.
    pub protocol: Protocol,
    /// Longest time an open connection carries no byte in either direction, in seconds.
    pub longest_silence_seconds: Option<u32>,
    /// Longest time one request takes, in seconds.
    pub longest_request_seconds: Option<u32>,
    /// Who opens these connections.
    pub clients: Vec<Client>,
    /// Who accepts them.
    pub server: Server,
    /// Stateful hops that the cluster cannot see, in order from client to Service.
    pub hops: Vec<Hop>,
}

/// A port of a Service, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PortRef {
    /// By number.
    Number(u16),
    /// By name.
    Name(Arc<str>),
}

/// By which door a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Door {
    /// From a Pod of the cluster, through the Service's cluster address.
    #[default]
    Cluster,
    /// Through the Service's cloud load balancer.
    LoadBalancer,
}

/// Whether something periodic is on, and how often it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beat {
    /// It is known to be off.
    Disabled,
    /// It is on; `None` without a declared period.
    Enabled(Option<u32>),
}

/// A time that has an end, or is declared to have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// It ends after so many seconds.
    Seconds(u32),
    /// It never ends.
    Never,
}

impl Limit {
    /// Its seconds; `None` when it never ends.
    pub const fn seconds(self) -> Option<u32> {
        match self {
            Self::Seconds(seconds) => Some(seconds),
            Self::Never => None,
        }
    }
}

/// Who opens the connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its name within the connection.
    pub name: Arc<str>,
    /// By which door it comes.
    pub from: Door,
    /// Its Pods, in the policy's namespace; `None` when they are elsewhere or unknown.
    pub pods: Option<Selector>,
    /// TCP keepalive; seconds of idleness before the first probe. `None`: not declared.
    pub tcp_keepalive: Option<Beat>,
    /// HTTP/2 PING or an application heartbeat; seconds between two. `None`: not declared.
    pub ping: Option<Beat>,
    /// Whether pings are sent while no call is open. `None`: not declared.
    pub ping_without_calls: Option<bool>,
    /// How long an idle pooled connection is kept.
    pub idle_timeout: Option<Limit>,
    /// How long the client waits for an answer, in seconds.
    pub request_timeout_seconds: Option<u32>,
    /// After how long the client itself replaces a connection.
    pub max_connection_age: Option<Limit>,
    /// How many connections one client address opens in a second.
    pub new_connections_per_second: Option<u32>,
}

impl Client {
    /// One of which nothing is declared but its name and its door.
    pub const fn undeclared(name: Arc<str>, from: Door) -> Self {
        Self {
            name,
            from,
            pods: None,
            tcp_keepalive: None,
            ping: None,
            ping_without_calls: None,
            idle_timeout: None,
            request_timeout_seconds: None,
            max_connection_age: None,
            new_connections_per_second: None,
        }
    }
}

/// Who accepts the connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Server {
    /// TCP keepalive; seconds of idleness before the first probe. `None`: not declared.
    pub tcp_keepalive: Option<Beat>,
    /// HTTP/2 PING or an application heartbeat; seconds between two. `None`: not declared.
    pub ping: Option<Beat>,
    /// Whether pings are sent while no call is open. `None`: not declared.
    pub ping_without_calls: Option<bool>,
    /// After how long the server closes an idle connection.
    pub idle_timeout: Option<Limit>,
    /// Pings that come faster than this are punished, in seconds.
    pub minimum_ping_interval_seconds: Option<u32>,
    /// After how long the server gives up on a request, in seconds.
    pub request_timeout_seconds: Option<u32>,
    /// After how long the server ends a connection.
    pub max_connection_age: Option<Limit>,
}

/// At which layer a hop works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// It forwards segments and keeps a table; keepalives pass through it.
    L4,
    /// It ends the TCP connection and opens its own.
    L7,
}

/// A stateful hop that the cluster cannot see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Its name.
    pub name: Arc<str>,
    /// Its layer.
    pub layer: Layer,
    /// L4: after how long it forgets an idle connection. L7: after how long it closes one of its client.
    pub idle_timeout: Option<Limit>,
    /// L7 only: how long it waits for an answer, in seconds.
    pub request_timeout_seconds: Option<u32>,
    /// L7 only: the connection that it opens towards the Service.
    pub upstream: Upstream,
}

/// The connection that an L7 hop opens towards the Service, and may keep in a pool of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upstream {
    /// TCP keepalive; seconds of idleness before the first probe. `None`: not declared.
    pub tcp_keepalive: Option<Beat>,
    /// HTTP/2 PING or an application heartbeat; seconds between two. `None`: not declared.
    pub ping: Option<Beat>,
    /// Whether pings are sent while no call is open. `None`: not declared.
    pub ping_without_calls: Option<bool>,
    /// How long an idle connection is kept for reuse.
    pub idle_timeout: Option<Limit>,
    /// After how long the hop replaces a connection.
    pub max_connection_age: Option<Limit>,
}

/// How far evenkeel may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum Mode {
    /// Plans nothing.
    #[default]
    Observe,
    /// Asks a person.
    Suggest,
    /// Acts inside budgets.
    Enforce,
}

/// Why a Pod may be recycled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecycleCause {
    /// A client whose table entries keep it on old backends.
    PinnedClient,
    /// The oldest of the hot backends.
    HotBackend,
    /// A client that waits for an answer that was lost.
    StuckClient,
}

/// What the policy allows to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remediation {
    /// Recycling of single Pods.
    pub recycle_pods: Option<RecyclePods>,
}

/// Bounds of Pod recycling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecyclePods {
    /// How far evenkeel may go.
    pub mode: Mode,
    /// Most recycles in an hour.
    pub max_per_hour: u32,
    /// Pause after one, in seconds.
    pub cooldown_seconds: u32,
    /// The causes it may be done for.
    pub causes: Vec<RecycleCause>,
    /// Whether Pods of this namespace may be recycled as clients of another's Service.
    pub as_client: bool,
}

/// A finding that people have accepted for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The check it speaks of.
    pub check: Arc<str>,
    /// Why it is accepted.
    pub reason: Arc<str>,
    /// When it ends by its own word.
    pub expires_at: Wall,
    /// When the policy that holds it was last written; `None` where that is not known, as for a draft.
    pub since: Option<Wall>,
}

impl Exception {
    /// When it stops counting: at its own end, or earlier where the platform allows an exception fewer days.
    ///
    /// The days are counted from the last time the policy was written, so that to accept a finding for longer somebody
    /// has to say so again. Where that is not known they are counted from now: a draft is judged as if it were applied
    /// now.
    pub fn ends_at(&self, max_days: Option<u32>, now: Wall) -> Wall {
        let latest = max_days.map(|days| {
            let from = self.since.unwrap_or(now);
            Wall(from.0.saturating_add(i64::from(days) * 86_400))
        });
        latest.map_or(self.expires_at, |latest| latest.min(self.expires_at))
    }
}
