//! What is measured comes from the Service that a flag names, and from no other of the same name.

use std::fs;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::attack::Attack;
use super::bed::WITHIN;

/// Where the team would like to be asked: an address of TEST-NET-3 (RFC 5737), which nothing here has, so that a connection
/// shows as one that is begun.
const FORGED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);

/// A Service without selector and a slice of it that leads to the team's address.
fn forged(name: &str, port: &str) -> [Value; 2] {
    [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name,
            "labels": {"operated-prometheus": "true", "app.kubernetes.io/name": "prometheus"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090"}},
            "spec": {"ports": [{"name": port, "port": 9_090, "targetPort": 9_090}]}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"name": port, "port": 9_090}],
            "endpoints": [{"addresses": [FORGED.to_string()], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "namespace": "monitoring", "name": "prometheus-0"}}]}),
    ]
}

/// Services of the team with the names of the Prometheus that a flag names, of the API server and of the Alertmanager.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_named_like_a_prometheus_is_not_asked() {
    let flags = [
        "--prometheus=monitoring/prometheus:web",
        "--alertmanager=monitoring/alertmanager:web",
        "--instance-metrics",
    ];
    let attack = Attack::begin_with("feeders", true, &flags).await;
    let team = &attack.team;
    for (name, port) in [
        ("prometheus", "web"),
        ("alertmanager", "web"),
        ("kubernetes", "https"),
    ] {
        assert_eq!(team.make_all(forged(name, port)).await, 0, "{name}");
    }
    attack.until_seen().await;
    // The feeder is at work: it has looked for the one that the flag names, and says that it is not there.
    attack.until_logged("monitoring/prometheus").await;
    let log = attack.operator.log().unwrap();
    let own = format!("{}/", team.namespace());
    let asks = |line: &&str| line.contains(&own) && line.contains("prometheus");
    assert_eq!(log.lines().find(asks), None);
    for table in ["tcp", "tcp6"] {
        let path = format!("/proc/{}/net/{table}", attack.operator.id());
        let sockets = fs::read_to_string(path).unwrap();
        assert!(!is_called(&sockets), "{sockets}");
    }
    assert!(is_called(&format!(
        "   0: 0100007F:9C40 {}:2382 02\n",
        hexadecimal()
    )));
    attack.end().await;
}

/// Whether a table of sockets (proc(5), `/proc/net/tcp`) has one that leads to the team's address.
fn is_called(sockets: &str) -> bool {
    let address = hexadecimal();
    sockets.lines().any(|line| {
        let remote = line.split_whitespace().nth(2).unwrap_or_default();
        remote.contains(&address)
    })
}

/// The team's address as the kernel writes it: in the order of the machine's bytes.
fn hexadecimal() -> String {
    format!("{:08X}", u32::from_ne_bytes(FORGED.octets()))
}

/// Without a Prometheus to ask, the operator asks the API server for nothing more, and floods nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_team_without_a_prometheus_makes_nobody_ask_for_its_pods() {
    let attack = Attack::begin_with("samples", false, &["--prometheus=monitoring/prometheus:web"]).await;
    let team = &attack.team;
    let services = (0..50).map(|at| super::team::service(&format!("s{at}"), 4));
    assert_eq!(team.make_all(services).await, 0);
    team.policy(
        "measured",
        &json!({"balance": {"measure": "NewConnections", "tolerancePercent": 1}}),
    )
    .await
    .unwrap();
    attack.until_seen().await;
    attack
        .operator
        .until_metric("evenkeel_leader{} 1.0", WITHIN)
        .await
        .unwrap();
    assert!(
        attack.open_files() < 100,
        "{} files are open",
        attack.open_files()
    );
    attack.end().await;
}
