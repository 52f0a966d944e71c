//! What the operator says of them, by the API servers' own pages alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use evenkeel_e2e::http::get;
use evenkeel_e2e::monitoring::free_port;
use evenkeel_e2e::operator::Operator;
use evenkeel_e2e::repository::root;
use evenkeel_e2e::under_test::binary;
use evenkeel_e2e::{Channel, ControlPlane};
use serde_json::Value;

use super::bed::{Door, SHRUNK, clients, plane, readers, writes};

/// The operator with the right to read each API server's page.
async fn operator(plane: &ControlPlane, folder: &Path) -> (Operator, SocketAddr) {
    plane.install_operator().await.unwrap();
    let rights = root().join("manifests/components/instance-metrics/rbac.yaml");
    let rights = std::fs::read_to_string(rights).unwrap();
    plane.apply_yaml(&rights).await.unwrap();
    let debug = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
    let more = ["--instance-metrics".to_owned(), format!("--debug-listen={debug}")];
    let operator = Operator::start(plane, binary().unwrap(), "reading", &more, folder)
        .await
        .unwrap();
    operator.until_ready().await.unwrap();
    (operator, debug)
}

/// What a check finds now.
async fn found(debug: SocketAddr, check: &str) -> Option<Value> {
    let (_, text) = get(debug, "/debug/verdicts").await.unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    let all = list["findings"].as_array().unwrap();
    let judged = |one: &&Value| one["check"] == check && one["verdict"] == "Violated";
    all.iter().find(judged).cloned()
}

/// Waits until a check finds something.
async fn until_found(operator: &Operator, debug: SocketAddr, check: &str, within: Duration) -> Value {
    let start = Instant::now();
    loop {
        if let Some(found) = found(debug, check).await {
            eprintln!("{check} after {:?}: {}", start.elapsed(), found["message"]);
            return found;
        }
        let log = operator.log().unwrap();
        assert!(start.elapsed() < within, "no {check} in {within:?}:\n{log}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hot_api_server_and_the_balancer_are_named() {
    let plane = plane(None).await;
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(&plane).await;
    let (operator, debug) = operator(&plane, folder.path()).await;
    let hot = plane.servers()[0];
    door.balancer.believe(&[hot]);
    let found = until_found(&operator, debug, "cp-instance-skew", Duration::from_secs(400)).await;
    assert_eq!(found["cause"], "Balancer", "{found:#}");
    let message = found["message"].as_str().unwrap();
    assert!(message.contains(&hot.ip().to_string()), "{message}");
    let advice = found["advice"].to_string();
    assert!(advice.contains("do not restart"), "{advice}");
    operator.end().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slow_channel_is_named_by_instance_and_resource() {
    let channel = Channel {
        api_server: 1,
        resource: "/configmaps",
    };
    let plane = plane(Some(channel)).await;
    let folder = tempfile::tempdir().unwrap();
    let (operator, debug) = operator(&plane, folder.path()).await;
    let _writes = writes(&plane).await;
    let _readers = readers(&clients(&plane).await);
    // One that has just started fills its caches, and is not judged for ten minutes.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(found(debug, "cp-channel-divergence").await, None);
    plane.channel().unwrap().slow(SHRUNK);
    let within = Duration::from_secs(300);
    let found = until_found(&operator, debug, "cp-channel-divergence", within).await;
    let message = found["message"].as_str().unwrap();
    assert!(
        message.contains(&plane.servers()[1].ip().to_string()),
        "{message}"
    );
    assert!(message.contains("configmaps"), "{message}");
    operator.end().unwrap();
}
