//! Connections, their clients, servers and hops.

use std::sync::Arc;

use evenkeel_core::policy as core;

use super::super::{Client, Connection, Hop, Ping, Port, Server, State, TcpKeepalive, Unlimited, Upstream};
use super::reader::ProblemReader;

pub(super) fn connection(
    connection: &Connection,
    path: &str,
    reader: &mut ProblemReader,
) -> core::Connection {
    reader.unique(
        &format!("{path}.clients"),
        connection.clients.iter().map(|client| &*client.name),
    );
    reader.unique(
        &format!("{path}.hops"),
        connection.hops.iter().map(|hop| &*hop.name),
    );
    core::Connection {
        name: Arc::from(&*connection.name),
        ports: ports(&connection.ports, path, reader),
        protocol: connection.protocol.into(),
        longest_silence_seconds: reader.optional(
            &format!("{path}.longestSilenceSeconds"),
            connection.longest_silence_seconds,
        ),
        longest_request_seconds: reader.optional(
            &format!("{path}.longestRequestSeconds"),
            connection.longest_request_seconds,
        ),
        clients: connection
            .clients
            .iter()
            .enumerate()
            .map(|(index, entry)| client(entry, &format!("{path}.clients[{index}]"), reader))
            .collect(),
        server: connection
            .server
            .as_ref()
            .map(|entry| server(entry, &format!("{path}.server"), reader))
            .unwrap_or_default(),
        hops: connection
            .hops
            .iter()
            .enumerate()
            .map(|(index, entry)| hop(entry, &format!("{path}.hops[{index}]"), reader))
            .collect(),
    }
}

fn ports(ports: &[Port], path: &str, reader: &mut ProblemReader) -> Vec<core::PortRef> {
    let mut compiled = Vec::with_capacity(ports.len());
    for (index, port) in ports.iter().enumerate() {
        let field = format!("{path}.ports[{index}]");
        let port = match port {
            Port::Number(number) => core::PortRef::Number(reader.port(&field, *number)),
            Port::Name(name) => core::PortRef::Name(Arc::from(&**name)),
        };
        if compiled.contains(&port) {
            reader.problem(field, "occurs twice");
        }
        compiled.push(port);
    }
    compiled
}

fn client(client: &Client, path: &str, reader: &mut ProblemReader) -> core::Client {
    core::Client {
        name: Arc::from(&*client.name),
        from: client.from.into(),
        pods: client
            .pod_selector
            .as_ref()
            .map(|pods| reader.selector(&format!("{path}.podSelector"), pods)),
        tcp_keepalive: keepalive(client.tcp_keepalive.as_ref(), path, reader),
        ping: ping(client.ping.as_ref(), path, reader),
        ping_without_calls: client.ping.as_ref().and_then(|ping| ping.without_calls),
        idle_timeout: limit(
            &format!("{path}.idleTimeoutSeconds"),
            client.idle_timeout,
            client.idle_timeout_seconds,
            reader,
        ),
        request_timeout_seconds: reader.optional(
            &format!("{path}.requestTimeoutSeconds"),
            client.request_timeout_seconds,
        ),
        max_connection_age: limit(
            &format!("{path}.maxConnectionAgeSeconds"),
            client.max_connection_age,
            client.max_connection_age_seconds,
            reader,
        ),
        new_connections_per_second: reader.optional(
            &format!("{path}.newConnectionsPerSecond"),
            client.new_connections_per_second,
        ),
    }
}

fn server(server: &Server, path: &str, reader: &mut ProblemReader) -> core::Server {
    core::Server {
        tcp_keepalive: keepalive(server.tcp_keepalive.as_ref(), path, reader),
        ping: ping(server.ping.as_ref(), path, reader),
        ping_without_calls: server.ping.as_ref().and_then(|ping| ping.without_calls),
        idle_timeout: limit(
            &format!("{path}.idleTimeoutSeconds"),
            server.idle_timeout,
            server.idle_timeout_seconds,
            reader,
        ),
        minimum_ping_interval_seconds: reader.optional(
            &format!("{path}.minimumPingIntervalSeconds"),
            server.minimum_ping_interval_seconds,
        ),
        request_timeout_seconds: reader.optional(
            &format!("{path}.requestTimeoutSeconds"),
            server.request_timeout_seconds,
        ),
        max_connection_age: limit(
            &format!("{path}.maxConnectionAgeSeconds"),
            server.max_connection_age,
            server.max_connection_age_seconds,
            reader,
        ),
    }
}

fn hop(hop: &Hop, path: &str, reader: &mut ProblemReader) -> core::Hop {
    core::Hop {
        name: Arc::from(&*hop.name),
        layer: hop.layer.into(),
        idle_timeout: limit(
            &format!("{path}.idleTimeoutSeconds"),
            hop.idle_timeout,
            hop.idle_timeout_seconds,
            reader,
        ),
        request_timeout_seconds: reader.optional(
            &format!("{path}.requestTimeoutSeconds"),
            hop.request_timeout_seconds,
        ),
        upstream: hop
            .upstream
            .as_ref()
            .map(|entry| upstream(entry, &format!("{path}.upstream"), reader))
            .unwrap_or_default(),
    }
}

fn upstream(upstream: &Upstream, path: &str, reader: &mut ProblemReader) -> core::Upstream {
    core::Upstream {
        tcp_keepalive: keepalive(upstream.tcp_keepalive.as_ref(), path, reader),
        ping: ping(upstream.ping.as_ref(), path, reader),
        ping_without_calls: upstream.ping.as_ref().and_then(|ping| ping.without_calls),
        idle_timeout: limit(
            &format!("{path}.idleTimeoutSeconds"),
            upstream.idle_timeout,
            upstream.idle_timeout_seconds,
            reader,
        ),
        max_connection_age: limit(
            &format!("{path}.maxConnectionAgeSeconds"),
            upstream.max_connection_age,
            upstream.max_connection_age_seconds,
            reader,
        ),
    }
}

/// A time that has an end or is declared to have none; where both stand, which a rule refuses, the end counts.
fn limit(
    field: &str,
    never: Option<Unlimited>,
    seconds: Option<i32>,
    reader: &mut ProblemReader,
) -> Option<core::Limit> {
    match (reader.optional(field, seconds), never) {
        (Some(seconds), _) => Some(core::Limit::Seconds(seconds)),
        (None, Some(Unlimited::Never)) => Some(core::Limit::Never),
        (None, None) => None,
    }
}

fn keepalive(keepalive: Option<&TcpKeepalive>, path: &str, reader: &mut ProblemReader) -> Option<core::Beat> {
    let keepalive = keepalive?;
    Some(match keepalive.state {
        State::Disabled => core::Beat::Disabled,
        State::Enabled => core::Beat::Enabled(reader.optional(
            &format!("{path}.tcpKeepalive.idleSeconds"),
            keepalive.idle_seconds,
        )),
    })
}

fn ping(ping: Option<&Ping>, path: &str, reader: &mut ProblemReader) -> Option<core::Beat> {
    let ping = ping?;
    Some(match ping.state {
        State::Disabled => core::Beat::Disabled,
        State::Enabled => core::Beat::Enabled(
            reader.optional(&format!("{path}.ping.intervalSeconds"), ping.interval_seconds),
        ),
    })
}
