//! What a person can do about a finding, in words and, where a policy shows it, as an edit of that policy.
//!
//! The edit is what makes advice testable: applied to the policy, it must leave no new finding of any check.

use std::fmt;
use std::sync::Arc;

use crate::policy::{Beat, Client, Connection, Hop, Layer, Limit, Server};

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
        let hop = |name: &str, connection: &mut Connection, set: fn(Setting, &mut Hop) -> bool| {
            let found = connection.hops.iter_mut().find(|one| &*one.name == name);
            found.is_some_and(|hop| set(self.set, hop))
        };
        match &self.at {
            End::Client => {
                let found = connection.clients.iter_mut().find(|one| &*one.name == client);
                found.is_some_and(|client| self.set.of_client(client))
            }
            End::Server => self.set.of_server(&mut connection.server),
            End::Hop(name) => hop(name, connection, Setting::of_hop),
            End::Upstream(name) => hop(name, connection, Setting::of_upstream),
            End::Connection => {
                match self.set {
                    Setting::LongestSilence(seconds) => connection.longest_silence_seconds = Some(seconds),
                    Setting::LongestRequest(seconds) => connection.longest_request_seconds = Some(seconds),
                    _ => return false,
                }
                true
            }
        }
    }
}

/// Each sets one field and says whether there is such a field.
impl Setting {
    fn of_client(self, client: &mut Client) -> bool {
        match self {
            Self::TcpKeepalive(seconds) => client.tcp_keepalive = Some(Beat::Enabled(Some(seconds))),
            Self::Ping(seconds) => {
                client.ping = Some(Beat::Enabled(Some(seconds)));
                client.ping_without_calls = Some(true);
            }
            Self::IdleTimeout(seconds) => client.idle_timeout = Some(Limit::Seconds(seconds)),
            Self::RequestTimeout(seconds) => client.request_timeout_seconds = Some(seconds),
            Self::MaxConnectionAge(seconds) => client.max_connection_age = Some(Limit::Seconds(seconds)),
            Self::NewConnections(rate) => client.new_connections_per_second = Some(rate),
            Self::MinimumPingInterval(_) | Self::LongestSilence(_) | Self::LongestRequest(_) => return false,
        }
        true
    }

    fn of_server(self, server: &mut Server) -> bool {
        match self {
            Self::TcpKeepalive(seconds) => server.tcp_keepalive = Some(Beat::Enabled(Some(seconds))),
            Self::Ping(seconds) => {
                server.ping = Some(Beat::Enabled(Some(seconds)));
                server.ping_without_calls = Some(true);
            }
            Self::IdleTimeout(seconds) => server.idle_timeout = Some(Limit::Seconds(seconds)),
            Self::RequestTimeout(seconds) => server.request_timeout_seconds = Some(seconds),
            Self::MinimumPingInterval(seconds) => server.minimum_ping_interval_seconds = Some(seconds),
            Self::MaxConnectionAge(seconds) => server.max_connection_age = Some(Limit::Seconds(seconds)),
            Self::LongestSilence(_) | Self::LongestRequest(_) | Self::NewConnections(_) => return false,
        }
        true
    }

    fn of_hop(self, hop: &mut Hop) -> bool {
        match self {
            Self::IdleTimeout(seconds) => hop.idle_timeout = Some(Limit::Seconds(seconds)),
            Self::RequestTimeout(seconds) if hop.layer == Layer::L7 => {
                hop.request_timeout_seconds = Some(seconds);
            }
            _ => return false,
        }
        true
    }

    /// The connection that an L7 hop opens towards the Service.
    fn of_upstream(self, hop: &mut Hop) -> bool {
        if hop.layer != Layer::L7 {
            return false;
        }
        let upstream = &mut hop.upstream;
        match self {
            Self::TcpKeepalive(seconds) => upstream.tcp_keepalive = Some(Beat::Enabled(Some(seconds))),
            Self::Ping(seconds) => {
                upstream.ping = Some(Beat::Enabled(Some(seconds)));
                upstream.ping_without_calls = Some(true);
            }
            Self::IdleTimeout(seconds) => upstream.idle_timeout = Some(Limit::Seconds(seconds)),
            Self::MaxConnectionAge(seconds) => upstream.max_connection_age = Some(Limit::Seconds(seconds)),
            _ => return false,
        }
        true
    }
}
