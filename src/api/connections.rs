//! What a team declares about one kind of connection: who opens it, who accepts it, what lies between.
//!
//! A field that is absent is unknown, not off: many runtimes enable keepalive by themselves.

#![allow(
    unreachable_pub,
    reason = "the derivation of the schema repeats each type inside a function"
)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LabelSelector, text};

/// One kind of connection to the governed Services.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "self.protocol != 'UDP' || !has(self.server) || !has(self.server.tcpKeepalive)"
).message("UDP has no TCP keepalive").field_path(".server.tcpKeepalive"))]
#[x_kube(validation = Rule::new(
    "self.protocol != 'UDP' || !has(self.clients) || self.clients.all(client, !has(client.tcpKeepalive))"
).message("UDP has no TCP keepalive: remove tcpKeepalive of every client").field_path(".clients"))]
#[x_kube(validation = Rule::new(
    "self.protocol != 'UDP' || !has(self.hops) || self.hops.all(hop, !has(hop.upstream) || !has(hop.upstream.tcpKeepalive))"
).message("UDP has no TCP keepalive: remove tcpKeepalive of every hop's upstream").field_path(".hops"))]
#[x_kube(validation = Rule::new(
    "self.protocol in ['HTTP2', 'GRPC'] || !has(self.server) || !has(self.server.minimumPingIntervalSeconds)"
).message("only HTTP2 and GRPC servers police pings").field_path(".server.minimumPingIntervalSeconds"))]
pub struct Connection {
    /// Name of this kind of connection, unique in the policy.
    #[schemars(length(min = 1, max = 63), regex(pattern = text::DNS_LABEL))]
    pub name: String,
    /// Ports of the Services, by number or name; all ports when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ports: Vec<Port>,
    /// What is spoken on these connections, as far as timeouts care.
    pub protocol: Protocol,
    /// Longest time an open connection carries no byte in either direction, in seconds. Keepalives do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub longest_silence_seconds: Option<i32>,
    /// Longest time that one request takes, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub longest_request_seconds: Option<i32>,
    /// Who opens these connections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub clients: Vec<Client>,
    /// Who accepts these connections: the backends of the Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// Stateful hops that the cluster cannot see, in order from the client to the Service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub hops: Vec<Hop>,
}

/// A port of a Service.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(untagged)]
pub enum Port {
    /// By number.
    Number(i32),
    /// By name.
    Name(String),
}

impl JsonSchema for Port {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = text::port(generator);
        schema.insert(
            "description".into(),
            "A port of a Service: its number or its name.".into(),
        );
        schema
    }
}

/// What is spoken on a connection.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Plain TCP: databases, queues, caches.
    #[serde(rename = "TCP")]
    Tcp,
    /// HTTP/1.1 and before, long poll and websocket included.
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2 that is not gRPC.
    #[serde(rename = "HTTP2")]
    Http2,
    /// The gRPC protocol.
    #[serde(rename = "GRPC")]
    Grpc,
    /// UDP, where a connection is what tables make of it.
    #[serde(rename = "UDP")]
    Udp,
}

/// Who opens connections.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.idleTimeout) || !has(self.idleTimeoutSeconds)")
    .message("idleTimeout Never stands alone, without idleTimeoutSeconds").field_path(".idleTimeout"))]
#[x_kube(validation = Rule::new("!has(self.maxConnectionAge) || !has(self.maxConnectionAgeSeconds)")
    .message("maxConnectionAge Never stands alone, without maxConnectionAgeSeconds").field_path(".maxConnectionAge"))]
pub struct Client {
    /// Name of the client, unique in the connection.
    #[schemars(length(min = 1, max = 63), regex(pattern = text::DNS_LABEL))]
    pub name: String,
    /// By which door the client comes: the Service's cluster address, or its cloud load balancer.
    #[serde(default)]
    pub from: Door,
    /// The client's Pods, in the policy's own namespace; absent when they are elsewhere or not in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// TCP keepalive of the client's sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// HTTP/2 PING or an application's heartbeat that the client sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping: Option<Ping>,
    /// How long the client keeps an idle pooled connection, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub idle_timeout_seconds: Option<i32>,
    /// Says that idle connections are kept for ever; not beside `idleTimeoutSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Unlimited>,
    /// How long the client waits for an answer, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub request_timeout_seconds: Option<i32>,
    /// After how long the client replaces a connection by itself, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub max_connection_age_seconds: Option<i32>,
    /// Says that no connection is ended for its age; not beside `maxConnectionAgeSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connection_age: Option<Unlimited>,
    /// How many connections one client Pod opens in a second, at its busiest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub new_connections_per_second: Option<i32>,
}

/// A time without an end.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlimited {
    /// It never ends.
    Never,
}

/// By which door a client comes.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Door {
    /// From a Pod of the cluster, through the Service's cluster address.
    #[default]
    Cluster,
    /// Through the Service's cloud load balancer.
    LoadBalancer,
}

/// Whether something is switched on.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is on.
    Enabled,
    /// It is known to be off.
    Disabled,
}

/// TCP keepalive of a socket.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.state == 'Enabled' || !has(self.idleSeconds)")
    .message("idleSeconds needs state Enabled").field_path(".idleSeconds"))]
pub struct TcpKeepalive {
    /// Whether the sockets have keepalive.
    pub state: State,
    /// Idle time before the first probe, in seconds; when absent the Pod's own kernel setting counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32_767))]
    pub idle_seconds: Option<i32>,
}

/// HTTP/2 PING, or a heartbeat of the application.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.state == 'Enabled' || !has(self.intervalSeconds)")
    .message("intervalSeconds needs state Enabled").field_path(".intervalSeconds"))]
#[x_kube(validation = Rule::new("self.state == 'Enabled' || !has(self.withoutCalls)")
    .message("withoutCalls needs state Enabled").field_path(".withoutCalls"))]
pub struct Ping {
    /// Whether pings are sent.
    pub state: State,
    /// Time between two pings, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub interval_seconds: Option<i32>,
    /// Whether pings are sent while no call is open, as gRPC's `permit_without_stream` makes a client do. A gRPC client
    /// does not unless configured to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_calls: Option<bool>,
}

/// Who accepts connections.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.idleTimeout) || !has(self.idleTimeoutSeconds)")
    .message("idleTimeout Never stands alone, without idleTimeoutSeconds").field_path(".idleTimeout"))]
#[x_kube(validation = Rule::new("!has(self.maxConnectionAge) || !has(self.maxConnectionAgeSeconds)")
    .message("maxConnectionAge Never stands alone, without maxConnectionAgeSeconds").field_path(".maxConnectionAge"))]
pub struct Server {
    /// TCP keepalive of the server's sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// HTTP/2 PING or an application's heartbeat that the server sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping: Option<Ping>,
    /// After how long the server closes an idle connection, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub idle_timeout_seconds: Option<i32>,
    /// Says that idle connections are kept for ever; not beside `idleTimeoutSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Unlimited>,
    /// Pings that come faster than this are punished, in seconds; gRPC servers end the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub minimum_ping_interval_seconds: Option<i32>,
    /// After how long the server gives up on a request, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub request_timeout_seconds: Option<i32>,
    /// After how long the server ends a connection, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub max_connection_age_seconds: Option<i32>,
    /// Says that no connection is ended for its age; not beside `maxConnectionAgeSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connection_age: Option<Unlimited>,
}

/// A stateful hop that the cluster cannot see.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.layer == 'L7' || !has(self.requestTimeoutSeconds)")
    .message("requestTimeoutSeconds needs layer L7: a hop of layer L4 knows no requests")
    .field_path(".requestTimeoutSeconds"))]
#[x_kube(validation = Rule::new("self.layer == 'L7' || !has(self.upstream)")
    .message("upstream needs layer L7: a hop of layer L4 opens no connection").field_path(".upstream"))]
#[x_kube(validation = Rule::new("!has(self.idleTimeout) || !has(self.idleTimeoutSeconds)")
    .message("idleTimeout Never stands alone, without idleTimeoutSeconds").field_path(".idleTimeout"))]
pub struct Hop {
    /// Name of the hop, unique in the connection.
    #[schemars(length(min = 1, max = 63), regex(pattern = text::DNS_LABEL))]
    pub name: String,
    /// The layer it works at. Keepalives pass through L4; L7 ends the connection and opens its own.
    pub layer: Layer,
    /// After how long it forgets an idle connection, in seconds. At layer L7: after how long it closes an idle
    /// connection of its client; keepalives do not reset this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub idle_timeout_seconds: Option<i32>,
    /// Says that idle connections are kept for ever; not beside `idleTimeoutSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Unlimited>,
    /// How long it waits for an answer, in seconds; only at layer L7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub request_timeout_seconds: Option<i32>,
    /// The connections that the hop opens towards the Service, and may keep in a pool; only at layer L7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
}

/// The connections that an L7 hop opens towards the Service.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.idleTimeout) || !has(self.idleTimeoutSeconds)")
    .message("idleTimeout Never stands alone, without idleTimeoutSeconds").field_path(".idleTimeout"))]
#[x_kube(validation = Rule::new("!has(self.maxConnectionAge) || !has(self.maxConnectionAgeSeconds)")
    .message("maxConnectionAge Never stands alone, without maxConnectionAgeSeconds").field_path(".maxConnectionAge"))]
pub struct Upstream {
    /// TCP keepalive of these sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// HTTP/2 PING that the hop sends towards the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping: Option<Ping>,
    /// How long the hop keeps an idle connection for reuse, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub idle_timeout_seconds: Option<i32>,
    /// Says that idle connections are kept for ever; not beside `idleTimeoutSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Unlimited>,
    /// After how long the hop replaces a connection, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub max_connection_age_seconds: Option<i32>,
    /// Says that no connection is ended for its age; not beside `maxConnectionAgeSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connection_age: Option<Unlimited>,
}

/// The layer a hop works at.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// It forwards segments and keeps a table; keepalives pass through it.
    L4,
    /// It ends the TCP connection and opens its own.
    L7,
}
