//! Policies of teams.

use evenkeel_core::policy::{
    Balance, Beat, Client, Connection, CordonPolicy, Door, FenceEffect, Hop, Layer, Limit, Measure, Mode,
    Policy, Protocol, Remediation, Selector, Server, ServicePick, Upstream,
};

/// Policy `shop/p` of Service `api`, with these connections.
pub(crate) fn policy(connections: Vec<Connection>) -> Policy {
    Policy {
        namespace: "shop".into(),
        name: "p".into(),
        services: ServicePick::Names(vec!["api".into()]),
        balance: None,
        connections,
        remediation: Remediation::default(),
        exceptions: Vec::new(),
        unknown_fields: Vec::new(),
    }
}

/// Policy `shop/p` of Service `api`, with this balance.
pub(crate) fn balanced(minimum: Option<u32>, node: Option<u32>, zone: Option<u32>) -> Policy {
    Policy {
        balance: Some(Balance {
            measure: Measure::NewConnections,
            tolerance_percent: 25,
            newcomer_grace_seconds: 600,
            pod_metric: None,
            minimum_ready_backends: minimum,
            max_percent_per_node: node,
            max_percent_per_zone: zone,
        }),
        ..policy(Vec::new())
    }
}

/// Policy `shop/web` of Service `web` with one client from a door at a declared rate.
pub(crate) fn rated(from: Door, rate: Option<u32>) -> Policy {
    let client = Client {
        new_connections_per_second: rate,
        ..Client::undeclared("front".into(), from)
    };
    Policy {
        name: "web".into(),
        services: ServicePick::Names(vec!["web".into()]),
        ..policy(vec![connection(Protocol::Http1, client)])
    }
}

/// A connection of which only the protocol and one client are declared.
pub(crate) fn connection(protocol: Protocol, client: Client) -> Connection {
    Connection {
        name: "main".into(),
        ports: Vec::new(),
        protocol,
        longest_silence_seconds: None,
        longest_request_seconds: None,
        clients: vec![client],
        server: Server::default(),
        hops: Vec::new(),
    }
}

/// A client of which nothing but the name is declared.
pub(crate) fn client(name: &str) -> Client {
    Client::undeclared(name.into(), Door::Cluster)
}

/// Selects the Pods of an app.
pub(crate) fn app(name: &str) -> Selector {
    Selector {
        labels: vec![("app".into(), name.into())],
        expressions: Vec::new(),
    }
}

/// An L4 hop.
pub(crate) fn l4(name: &str, idle: Option<u32>) -> Hop {
    Hop {
        name: name.into(),
        layer: Layer::L4,
        idle_timeout: idle.map(Limit::Seconds),
        request_timeout_seconds: None,
        upstream: Upstream::default(),
    }
}

/// An L7 hop.
pub(crate) fn l7(name: &str, idle: Option<u32>, request: Option<u32>) -> Hop {
    Hop {
        layer: Layer::L7,
        request_timeout_seconds: request,
        ..l4(name, idle)
    }
}

/// A beat of this period.
#[expect(clippy::unnecessary_wraps, reason = "a field of policies takes it as it is")]
pub(crate) const fn every(seconds: u32) -> Option<Beat> {
    Some(Beat::Enabled(Some(seconds)))
}

/// No beat.
pub(crate) const NEVER: Option<Beat> = Some(Beat::Disabled);

/// Bounds of fencing nodes as they are where nothing else is declared.
pub(crate) fn cordon(mode: Mode) -> CordonPolicy {
    CordonPolicy {
        mode,
        effect: FenceEffect::PreferNoSchedule,
        max_percent: 10,
        max_nodes: 5,
        max_percent_of_pool: 25,
        max_per_hour: 2,
        steady_seconds: 1800,
        ceiling_percent: 85,
    }
}
