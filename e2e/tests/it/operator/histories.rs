//! What virtual time cannot tell in full: what the API server itself says when a right is taken away, a network that
//! swallows what it says, and nodes whose ages and transitions it has written.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evenkeel_core::know::Wall;
use evenkeel_e2e::Proxy;
use evenkeel_e2e::monitoring::free_port;
use evenkeel_e2e::operator::{Operator, verdicts};
use evenkeel_e2e::repository::root;
use evenkeel_e2e::under_test;
use serde_json::{Value, json};

use super::bed::{OperatorBed, WITHIN};

/// An operator, and where it serves `/debug`.
struct Watched {
    operator: Operator,
    debug: SocketAddr,
}

impl Watched {
    async fn start(bed: &OperatorBed) -> Self {
        Self::start_behind(bed, None).await
    }

    /// The same with a port of a proxy between it and the API server.
    async fn start_behind(bed: &OperatorBed, port: Option<u16>) -> Self {
        let access = bed.access("first", port).await;
        let debug = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
        let more = [format!("--debug-listen={debug}")];
        let binary = under_test::binary().unwrap();
        let operator =
            Operator::start_with(&access.kubeconfig(), binary, "first", &more, bed.folder()).unwrap();
        operator.until_ready().await.unwrap();
        bed.until_holds("first").await;
        Self { operator, debug }
    }

    /// What a check has found, Unknown left out.
    async fn of(&self, check: &str) -> Vec<Value> {
        let mut found = verdicts(self.debug).await.unwrap();
        found.retain(|one| one["check"] == check && one["verdict"] != "Unknown");
        found
    }

    /// Waits until a check finds nothing that is Violated.
    async fn until_quiet(&self, check: &str) {
        let start = Instant::now();
        while self
            .of(check)
            .await
            .iter()
            .any(|one| one["verdict"] == "Violated")
        {
            assert!(start.elapsed() < WITHIN, "{check} stays Violated");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until a check finds something of this cause; empty: nothing.
    async fn until(&self, check: &str, cause: &str) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let found = self.of(check).await;
            assert!(
                check != STALE || found.iter().all(|one| one["severity"] != "critical"),
                "{found:#?}"
            );
            let causes: Vec<_> = found.iter().filter_map(|one| one["cause"].as_str()).collect();
            if causes.first().copied().unwrap_or_default() == cause {
                return found;
            }
            assert!(start.elapsed() < WITHIN, "{check} is not {cause:?}: {found:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

const STALE: &str = "cp-stale-watch";

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_is_named_and_comes_back() {
    let mut bed = OperatorBed::start().await;
    let watched = Watched::start(&bed).await;
    watched.until(STALE, "").await;
    let rights = fs::read_to_string(root().join("manifests/rbac.yaml")).unwrap();
    let less = rights.replace("[services, nodes, namespaces]", "[services, nodes]");
    assert_ne!(rights, less);
    bed.plane.apply_yaml(&less).await.unwrap();
    // A server looks at rights when a watch begins: this ends those that run.
    bed.plane.process("kube-apiserver").unwrap().restart().unwrap();
    bed.plane.ready().await.unwrap();
    let found = watched.until(STALE, "Refused").await;
    let [one] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(one["severity"], "warning");
    let message = one["message"].as_str().unwrap();
    assert!(
        message.contains("namespaces") && message.contains("403"),
        "{message}"
    );
    let evidence = one["evidence"].to_string();
    assert!(evidence.contains("cannot"), "the server's own answer: {evidence}");
    bed.plane.apply_yaml(&rights).await.unwrap();
    watched.until(STALE, "").await;
    watched.operator.end().unwrap();
}

/// The twin of a right that is taken away: nothing is refused, connections stay open, and nothing comes.
#[tokio::test(flavor = "multi_thread")]
async fn watches_that_a_network_swallows_are_silent_and_then_deaf() {
    /// When to give up: 180 s after a watch is lost it is Violated, and what others wait for anything comes on top.
    const DEAF_WITHIN: Duration = Duration::from_secs(180 + WITHIN.as_secs());
    let bed = OperatorBed::start().await;
    let proxy = Proxy::start(bed.port()).await.unwrap();
    let watched = Watched::start_behind(&bed, Some(proxy.port())).await;
    watched.until(STALE, "").await;
    let start = Instant::now();
    proxy.freeze();
    let mut causes: Vec<String> = Vec::new();
    let found = loop {
        let found = watched.of(STALE).await;
        let cause = found
            .first()
            .and_then(|one| one["cause"].as_str())
            .unwrap_or_default();
        if causes.last().is_none_or(|last| last != cause) {
            causes.push(cause.to_owned());
        }
        if found.iter().any(|one| one["verdict"] == "Violated") {
            break found;
        }
        assert!(start.elapsed() < DEAF_WITHIN, "{causes:?}: {found:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert_eq!(causes, ["", "Silent", "Deaf"], "{found:#?}");
    proxy.cut();
    proxy.heal();
    watched.until_quiet(STALE).await;
    watched.operator.end().unwrap();
}

/// A Node as its kubelet writes it.
fn node(name: &str, zone: &str, ready: &str) -> String {
    node_since(name, zone, ready, 0)
}

/// The same, with a transition so many seconds from now: the server says when a Node was created.
fn node_since(name: &str, zone: &str, ready: &str, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = Wall(i64::try_from(now.as_secs()).unwrap() + seconds).to_string();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", "topology.kubernetes.io/zone": zone}},
        "status": {"conditions": [{"type": "Ready", "status": ready, "reason": "KubeletNotReady",
            "message": "network plugin is not initialized", "lastHeartbeatTime": now, "lastTransitionTime": now}]},
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_opens_is_quiet_and_no_ready_node_is_not() {
    let bed = OperatorBed::start().await;
    let watched = Watched::start(&bed).await;
    let names = ["new-0", "new-1", "new-2"];
    for name in names {
        bed.plane
            .apply_yaml(&node(name, "east-9", "False"))
            .await
            .unwrap();
    }
    // What the operator has seen it has judged: the Nodes are there when something else has come after them.
    bed.apply("demo/policy").await;
    bed.until("Healthy", "False", "Violated").await;
    for check in ["node-zone-disruption", "node-mass-loss"] {
        assert_eq!(watched.of(check).await, Vec::<Value>::new());
    }
    for name in names {
        bed.plane.apply_yaml(&node(name, "east-9", "True")).await.unwrap();
    }
    // The twin: all that the cluster has is gone, old or new.
    let all = ["node-a", "node-b"].into_iter().chain(names);
    for name in all {
        let zone = if name.starts_with("new") {
            "east-9"
        } else {
            "east-1"
        };
        assert_eq!(watched.of("node-mass-loss").await, Vec::<Value>::new());
        bed.plane.apply_yaml(&node(name, zone, "Unknown")).await.unwrap();
    }
    let found = watched.until("node-mass-loss", "NoneReady").await;
    assert_eq!(found[0]["severity"], "critical", "{found:#?}");
    watched.operator.end().unwrap();
}

/// The twin of a zone that opens: its nodes were Ready when they went.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_lost_is_critical_and_an_info_once_it_is_back() {
    let bed = OperatorBed::start().await;
    let watched = Watched::start(&bed).await;
    let zone = "node-zone-disruption";
    let names = ["west-a", "west-b", "west-c"];
    for name in names {
        bed.plane.apply_yaml(&node(name, "west-9", "True")).await.unwrap();
    }
    watched.until(zone, "").await;
    for name in names {
        // Later than a node's first report, whose change would be a start that takes long.
        let lost = node_since(name, "west-9", "Unknown", 300);
        bed.plane.apply_yaml(&lost).await.unwrap();
    }
    let found = watched.until(zone, "FullDisruption").await;
    let [one] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(
        (&one["severity"], &one["subject"]["name"]),
        (&json!("critical"), &json!("west-9"))
    );
    for name in names {
        bed.plane.apply_yaml(&node(name, "west-9", "True")).await.unwrap();
    }
    let found = watched.until(zone, "JustDisrupted").await;
    assert_eq!(found[0]["severity"], "info", "{found:#?}");
    watched.operator.end().unwrap();
}
