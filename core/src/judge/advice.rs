//! What a person can do about a finding, in words and, where a policy shows it, as an edit of that policy.
//!
//! The edit is what makes advice testable: applied to the policy, it must leave no new finding of any check.

use std::fmt;
use std::sync::Arc;

use crate::policy::{Beat, Connection, Layer, Limit};

/// One next step for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// In words, active, without a full stop.
    pub text: String,
    /// What the policy says once it is done and declared; empty when no policy shows it.
    pub changes: Vec<Change>,
}

impl Advice {
    /// Advice that shows in the policy once it is done and declared.
    pub fn with(text: impl Into<String>, changes: impl IntoIterator<Item = Change>) -> Self {
        Self {
            text: text.into(),
            changes: changes.into_iter().collect(),
        }
    }
}

impl From<String> for Advice {
    fn from(text: String) -> Self {
        Self::with(text, [])
    }
}

impl From<&str> for Advice {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An edit of the connection that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose field is set.
    pub at: End,
    /// The field and its new value.
    pub set: Setting,
}

/// Who has settings on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum End {
    /// The client of the finding.
    Client,
    /// A hop, by its name: its client-facing side.
    Hop(Arc<str>),
    /// An L7 hop, by its name: the connections that it opens towards the Service.
    Upstream(Arc<str>),
    /// The server.
    Server,
    /// The connection itself.
    Connection,
}

/// A field of a policy and its value, in seconds unless stated otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setting {
    /// `tcpKeepalive: {state: Enabled, idleSeconds}`.
    TcpKeepalive(u32),
    /// `ping: {state: Enabled, intervalSeconds, withoutCalls: true}`.
    Ping(u32),
    /// `idleTimeoutSeconds`.
    IdleTimeout(u32),
    /// `requestTimeoutSeconds`.
    RequestTimeout(u32),
    /// `minimumPingIntervalSeconds`.
    MinimumPingInterval(u32),
    /// `maxConnectionAgeSeconds`.
    MaxConnectionAge(u32),
    /// `longestSilenceSeconds`.
    LongestSilence(u32),
    /// `longestRequestSeconds`.
    LongestRequest(u32),
    /// `newConnectionsPerSecond`, connections in a second.
    NewConnections(u32),
}

impl Change {
    /// Makes the change; `client` is the name of the client of the finding. Whether the connection has such a field.
    pub fn apply(&self, connection: &mut Connection, client: &str) -> bool {
        match &self.at {
            End::Client => {
                let mut clients = connection.clients.iter_mut();
                let Some(client) = clients.find(|one| &*one.name == client) else {
                    return false;
                };
                match self.set {
                    Setting::TcpKeepalive(seconds) => {
                        client.tcp_keepalive = Some(Beat::Enabled(Some(seconds)));
                    }
                    Setting::Ping(seconds) => {
                        client.ping = Some(Beat::Enabled(Some(seconds)));
                        client.ping_without_calls = Some(true);
                    }
                    Setting::IdleTimeout(seconds) => client.idle_timeout = Some(Limit::Seconds(seconds)),
                    Setting::RequestTimeout(seconds) => client.request_timeout_seconds = Some(seconds),
                    Setting::MaxConnectionAge(seconds) => {
                        client.max_connection_age = Some(Limit::Seconds(seconds));
                    }
                    Setting::NewConnections(rate) => client.new_connections_per_second = Some(rate),
                    Setting::MinimumPingInterval(_)
                    | Setting::LongestSilence(_)
                    | Setting::LongestRequest(_) => return false,
                }
            }
            End::Server => {
                let server = &mut connection.server;
                match self.set {
                    Setting::TcpKeepalive(seconds) => {
                        server.tcp_keepalive = Some(Beat::Enabled(Some(seconds)));
                    }
                    Setting::Ping(seconds) => {
                        server.ping = Some(Beat::Enabled(Some(seconds)));
                        server.ping_without_calls = Some(true);
                    }
                    Setting::IdleTimeout(seconds) => server.idle_timeout = Some(Limit::Seconds(seconds)),
                    Setting::RequestTimeout(seconds) => server.request_timeout_seconds = Some(seconds),
                    Setting::MinimumPingInterval(seconds) => {
                        server.minimum_ping_interval_seconds = Some(seconds);
                    }
                    Setting::MaxConnectionAge(seconds) => {
                        server.max_connection_age = Some(Limit::Seconds(seconds));
                    }
                    Setting::LongestSilence(_) | Setting::LongestRequest(_) | Setting::NewConnections(_) => {
                        return false;
                    }
                }
            }
            End::Hop(name) => {
                let mut hops = connection.hops.iter_mut();
                let Some(hop) = hops.find(|one| one.name == *name) else {
                    return false;
                };
                match self.set {
                    Setting::IdleTimeout(seconds) => hop.idle_timeout = Some(Limit::Seconds(seconds)),
                    Setting::RequestTimeout(seconds) if hop.layer == Layer::L7 => {
                        hop.request_timeout_seconds = Some(seconds);
                    }
                    _ => return false,
                }
            }
            End::Upstream(name) => {
                let mut hops = connection.hops.iter_mut();
                let Some(hop) = hops.find(|one| one.name == *name && one.layer == Layer::L7) else {
                    return false;
                };
                let upstream = &mut hop.upstream;
                match self.set {
                    Setting::TcpKeepalive(seconds) => {
                        upstream.tcp_keepalive = Some(Beat::Enabled(Some(seconds)));
                    }
                    Setting::Ping(seconds) => {
                        upstream.ping = Some(Beat::Enabled(Some(seconds)));
                        upstream.ping_without_calls = Some(true);
                    }
                    Setting::IdleTimeout(seconds) => upstream.idle_timeout = Some(Limit::Seconds(seconds)),
                    Setting::MaxConnectionAge(seconds) => {
                        upstream.max_connection_age = Some(Limit::Seconds(seconds));
                    }
                    _ => return false,
                }
            }
            End::Connection => match self.set {
                Setting::LongestSilence(seconds) => connection.longest_silence_seconds = Some(seconds),
                Setting::LongestRequest(seconds) => connection.longest_request_seconds = Some(seconds),
                _ => return false,
            },
        }
        true
    }
}
