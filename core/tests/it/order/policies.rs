//! Policies by number.

use std::sync::Arc;

use evenkeel_core::know::Wall;
use evenkeel_core::policy::{
    Balance, Beat, Client, ClusterPolicy, Connection, ControlPlanePolicy, Door, Exception, Hop, Layer, Limit,
    Measure, Operator, Policy, PortRef, Protocol, Remediation, Requirement, Selector, Server, ServicePick,
};

use super::world::{BEGINNING, NAMESPACES};

/// Selectors of each kind that policies are filed under.
fn selector(variant: u8) -> Selector {
    let line = |operator, values: &[&str]| Requirement {
        key: "app".into(),
        operator,
        values: values.iter().map(|value| (*value).into()).collect(),
    };
    let (labels, expressions) = match variant {
        8 => (Vec::new(), vec![line(Operator::In, &["a0", "a1"])]),
        9 => (Vec::new(), vec![line(Operator::Exists, &[])]),
        10 => (Vec::new(), vec![line(Operator::NotIn, &["a1"])]),
        11 => (Vec::new(), Vec::new()),
        12 => (
            vec![("app".into(), "a0".into())],
            vec![line(Operator::NotIn, &["a1"])],
        ),
        _ => (vec![("app".into(), "a1".into())], Vec::new()),
    };
    Selector { labels, expressions }
}

fn connection(name: &str, protocol: Protocol, silence: Option<u32>, variant: u8) -> Connection {
    let client = || Client {
        pods: Some(Selector {
            labels: vec![("app".into(), "a1".into())],
            expressions: Vec::new(),
        }),
        tcp_keepalive: Some(Beat::Enabled(None)),
        ..Client::undeclared(
            "worker".into(),
            if variant & 2 == 0 {
                Door::Cluster
            } else {
                Door::LoadBalancer
            },
        )
    };
    let hop = || Hop {
        name: "proxy".into(),
        layer: Layer::L7,
        idle_timeout: Some(Limit::Seconds(60)),
        request_timeout_seconds: None,
        upstream: evenkeel_core::policy::Upstream::default(),
    };
    Connection {
        name: name.into(),
        ports: match variant % 3 {
            0 => Vec::new(),
            1 => vec![PortRef::Name("http".into())],
            _ => vec![PortRef::Number(53), PortRef::Number(80)],
        },
        protocol,
        longest_silence_seconds: silence,
        longest_request_seconds: None,
        clients: (variant & 1 != 0).then(client).into_iter().collect(),
        server: Server {
            tcp_keepalive: Some(Beat::Disabled),
            ..Server::default()
        },
        hops: (variant & 4 != 0).then(hop).into_iter().collect(),
    }
}

pub(crate) fn policy(at: u8, name: u8, variant: u8) -> Policy {
    Policy {
        namespace: NAMESPACES
            .get(usize::from(at % 2))
            .copied()
            .unwrap_or_default()
            .into(),
        name: format!("p{name}").into(),
        services: if variant & 8 == 0 {
            ServicePick::Names(vec!["o0".into(), "o1".into()])
        } else {
            ServicePick::Selector(selector(variant))
        },
        balance: (variant & 4 == 0).then(|| Balance {
            measure: Measure::NewConnections,
            tolerance_percent: 25,
            newcomer_grace_seconds: 600,
            pod_metric: None,
            minimum_ready_backends: Some(u32::from(variant % 3)),
            max_percent_per_node: Some(40),
            max_percent_per_zone: Some(u32::from(variant) * 10),
        }),
        connections: vec![
            connection("main", Protocol::Tcp, Some(300 * u32::from(variant % 5)), variant),
            connection("calls", Protocol::Grpc, None, variant),
        ],
        remediation: Remediation::default(),
        exceptions: variant
            .is_multiple_of(4)
            .then(|| Exception {
                check: "path-idle-budget".into(),
                reason: "known".into(),
                expires_at: Wall(BEGINNING.0 + i64::from(variant) * 20_000 - 80_000),
                since: (variant == 8).then_some(Wall(BEGINNING.0 - 80_000)),
            })
            .into_iter()
            .collect(),
        unknown_fields: Vec::new(),
    }
}

pub(crate) fn cluster_policy(variant: u8) -> Arc<ClusterPolicy> {
    Arc::new(ClusterPolicy {
        max_exception_days: (variant > 0).then(|| u32::from(variant)),
        control_plane: ControlPlanePolicy {
            expected_instances: Some(u32::from(variant)),
            ..ControlPlanePolicy::default()
        },
        trusted_namespaces: Vec::new(),
        protected_namespaces: vec!["kube-system".into()],
        ..ClusterPolicy::default()
    })
}

pub(crate) fn configz(variant: u8) -> String {
    match variant % 3 {
        0 => r#"{"kubeproxy.config.k8s.io":{"mode":"ipvs","ipvs":{"tcpTimeout":"7m0s"}}}"#.into(),
        1 => r#"{"kubeproxy.config.k8s.io":{"mode":"nftables"}}"#.into(),
        _ => "not a document".into(),
    }
}
