//! New backends that get nothing, and why.

use rstest::rstest;
use serde_json::json;

use crate::know::Source;
use crate::policy::{Connection, Counts, Measure, Protocol};
use crate::sample::Metric;
use crate::world::{Traffic, client, connection, measured, service};

const ID: &str = "backend-starved-newcomer";
const SKEW: &str = "backend-share-skew";
const IPTABLES: &str = "mode: iptables\n";

/// A Pod comes beside two, and takes this part of a share.
fn joins(traffic: &mut Traffic, weight: f64) -> String {
    traffic.flow(300, 10);
    let new = traffic.add();
    traffic.pod(&new).weight = weight;
    traffic.show();
    new
}

#[test]
fn one_that_nodes_do_not_send_to_is_named_after_its_grace() {
    for seed in 1..6 {
        let mut traffic = Traffic::of(2, IPTABLES, seed);
        let new = joins(&mut traffic, 0.0);
        let after = traffic.until(ID, 1200, 10).expect("found");
        assert!((600..=720).contains(&after), "after {after} s");
        assert_eq!(traffic.world.says(ID), "Violated warning NotReached");
        assert!(
            traffic.world.message(ID).contains(&new),
            "{}",
            traffic.world.message(ID)
        );
        assert_eq!(traffic.world.says(SKEW), "", "one check speaks of it");
        // It reaches its share, and is no newcomer any more.
        traffic.pod(&new).weight = 1.0;
        traffic.flow(600, 10);
        assert_eq!(traffic.world.verdict(ID), "Met");
        traffic.pod(&new).weight = 0.0;
        traffic.flow(300, 10);
        assert_eq!(traffic.world.says(SKEW), "Violated warning NoTraffic");
        assert_eq!(traffic.world.verdict(ID), "Met");
    }
}

#[test]
fn one_that_gets_its_share_is_no_news() {
    let mut traffic = Traffic::of(2, IPTABLES, 3);
    joins(&mut traffic, 1.0);
    let said = traffic.said(ID, 1800, 10);
    assert!(said.iter().all(|one| one == "Met"), "{said:?}");
}

#[rstest]
#[case::affinity(IPTABLES, json!({"sessionAffinity": "ClientIP"}))]
#[case::by_address("mode: ipvs\nipvs: {scheduler: sh}\n", json!({}))]
fn clients_stay_with_the_old_ones(#[case] proxy: &str, #[case] spec: serde_json::Value) {
    let mut traffic = Traffic::of(2, proxy, 3);
    traffic.world.put(Source::Services, &service("api", spec));
    joins(&mut traffic, 0.0);
    traffic.until(ID, 1200, 10).expect("found");
    assert_eq!(traffic.world.says(ID), "AtRisk info Pinned");
}

#[test]
fn requests_come_on_connections_that_clients_keep() {
    let policy = measured(Measure::NewConnections, Counts::Requests);
    let mut traffic = Traffic::by(policy, Metric::BackendRequests, 2, IPTABLES, 3);
    joins(&mut traffic, 0.0);
    traffic.until(ID, 2400, 10).expect("found");
    assert_eq!(traffic.world.says(ID), "AtRisk info LongLived");
}

#[test]
fn no_client_enters_where_it_is() {
    let mut traffic = Traffic::of(2, IPTABLES, 3);
    let local = json!({"internalTrafficPolicy": "Local"});
    traffic.world.put(Source::Services, &service("api", local));
    let new = joins(&mut traffic, 0.0);
    traffic.pod(&new).node = "node-9".into();
    traffic.show();
    traffic.until(ID, 1200, 10).expect("found");
    assert_eq!(traffic.world.says(ID), "AtRisk info Local");
}

#[rstest]
#[case::grpc(Protocol::Grpc, "AtRisk info NoNewConnections")]
#[case::http1(Protocol::Http1, "Met")]
fn no_client_opens_new_connections(#[case] protocol: Protocol, #[case] expected: &str) {
    let mut policy = measured(Measure::NewConnections, Counts::Connections);
    policy.connections = vec![Connection {
        name: "calls".into(),
        ..connection(protocol, client("calls"))
    }];
    let mut traffic = Traffic::by(policy, Metric::BackendConnections, 2, IPTABLES, 3);
    joins(&mut traffic, 1.0);
    traffic.flow(1500, 0);
    assert_eq!(traffic.world.verdict(ID), expected);
}
