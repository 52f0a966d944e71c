//! The check on traffic that is placed by chance, and counted by Pods that are scraped one after the other.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use crate::know::Source;
use crate::policy::{Counts, Measure};
use crate::sample::Metric;
use crate::world::{Traffic, measured, service};

const ID: &str = "backend-share-skew";
const IPTABLES: &str = "mode: iptables\n";

/// Three Pods and an hour behind them.
fn three(seed: u64) -> Traffic {
    let mut traffic = Traffic::of(3, IPTABLES, seed);
    traffic.flow(300, 10);
    assert_eq!(traffic.world.verdict(ID), "Met");
    traffic
}

fn first(traffic: &Traffic) -> String {
    traffic.pods.keys().next().unwrap().clone()
}

/// With 10 connections in a second: the rest of the interval in which it begins, two scrapes that agree, a page, and what the
/// evidence takes beyond that.
#[rstest]
#[case::nothing(0.0, "NoTraffic", 105)]
#[case::a_tenth(0.1, "Starved", 150)]
#[case::three_times_that_of_others(3.0, "Hot", 210)]
#[case::twice_its_share(4.0, "Hot", 135)]
fn the_backend_is_named_in_time(#[case] weight: f64, #[case] cause: &str, #[case] within: u64) {
    for seed in 1..8 {
        let mut traffic = three(seed);
        let name = first(&traffic);
        traffic.pod(&name).weight = weight;
        let after = traffic.until(ID, 600, 10).expect("found");
        assert!(after <= within, "seed {seed}: after {after} s");
        assert_eq!(traffic.world.says(ID), format!("Violated warning {cause}"));
        let message = traffic.world.message(ID);
        assert!(message.contains(&format!("backend {name} took ")), "{message}");
    }
}

/// The finding does not move with each page, and ends when the share is right again.
#[test]
fn it_stays_as_it_was_found_and_ends() {
    let mut traffic = three(3);
    let name = first(&traffic);
    traffic.pod(&name).weight = 0.0;
    traffic.until(ID, 600, 10).expect("found");
    let message = traffic.world.message(ID);
    traffic.flow(1800, 10);
    assert_eq!(traffic.world.message(ID), message);
    traffic.pod(&name).weight = 1.0;
    let said = traffic.said(ID, 300, 10);
    let ended = said.iter().position(|one| one == "Met").expect("ended");
    assert!(ended <= 8, "{said:?}");
    assert!(said[ended..].iter().all(|one| one == "Met"), "{said:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// An hour of even traffic, and of a harmless skew.
    #[test]
    fn even_traffic_says_nothing(
        seed in any::<u64>(),
        pods in 2..9_usize,
        rate in 1..60_u32,
        weight in 0.87..1.15_f64,
    ) {
        let mut traffic = Traffic::of(pods, IPTABLES, seed);
        let name = first(&traffic);
        traffic.pod(&name).weight = weight;
        let said = traffic.said(ID, 3600, rate);
        prop_assert!(said.iter().all(|one| one == "Met" || one.starts_with("Unknown")), "{said:?}");
        prop_assert!(said[16..].iter().all(|one| one == "Met"), "{said:?}");
    }

    /// Connections that bring fifty requests each.
    #[test]
    fn clusters_of_requests_say_nothing(seed in any::<u64>(), pods in 2..6_usize, rate in 1..6_u32) {
        let policy = measured(Measure::NewConnections, Counts::Requests);
        let mut traffic = Traffic::by(policy, Metric::BackendRequests, pods, IPTABLES, seed);
        traffic.cluster = 50.0;
        let said = traffic.said(ID, 3600, rate);
        prop_assert!(said.iter().all(|one| one == "Met" || one.starts_with("Unknown")), "{said:?}");
        prop_assert_eq!(said.last().map(String::as_str), Some("Met"));
    }

    /// A roll-out, one Pod after the other, under load.
    #[test]
    fn a_roll_out_says_nothing(seed in any::<u64>(), pods in 2..6_usize, pause in 20..90_u64) {
        let mut traffic = Traffic::of(pods, IPTABLES, seed);
        let mut said = traffic.said(ID, 300, 20);
        for old in traffic.pods.keys().cloned().collect::<Vec<_>>() {
            traffic.add();
            traffic.show();
            traffic.flow(pause, 20);
            traffic.pod(&old).terminating = true;
            traffic.show();
            said.extend(traffic.said(ID, 30, 20));
            traffic.pods.remove(&old);
            traffic.show();
        }
        said.extend(traffic.said(ID, 1200, 20));
        prop_assert!(said.iter().all(|one| !one.starts_with(['V', 'A'])), "{said:?}");
        prop_assert_eq!(said.last().map(String::as_str), Some("Met"));
    }

    /// Twice as many Pods, whose clients take a while to find them.
    #[test]
    fn a_scale_up_says_nothing(seed in any::<u64>(), slow in 0..500_u64) {
        let mut traffic = three(seed);
        let new: Vec<String> = (0..3).map(|_| traffic.add()).collect();
        traffic.show();
        for name in &new {
            traffic.pod(name).weight = 0.0;
        }
        let mut said = traffic.said(ID, slow, 20);
        for name in &new {
            traffic.pod(name).weight = 1.0;
        }
        said.extend(traffic.said(ID, 1500, 20));
        prop_assert!(said.iter().all(|one| !one.starts_with(['V', 'A'])), "{said:?}");
        prop_assert_eq!(said.last().map(String::as_str), Some("Met"));
    }

    /// Prometheus is away, scrapes fail, and a Pod of the same name begins anew.
    #[test]
    fn what_is_not_scraped_says_nothing(seed in any::<u64>(), away in 15..400_u64, rate in 1..40_u32) {
        let mut traffic = three(seed);
        traffic.answers = false;
        let mut said = traffic.said(ID, away, rate);
        traffic.answers = true;
        said.extend(traffic.said(ID, 300, rate));
        let name = first(&traffic);
        traffic.pod(&name).scraped = false;
        said.extend(traffic.said(ID, away, rate));
        traffic.pod(&name).scraped = true;
        said.extend(traffic.said(ID, 300, rate));
        // A container that restarts: its counter begins anew.
        traffic.pod(&name).value = 0.0;
        said.extend(traffic.said(ID, 300, rate));
        traffic.start(&name);
        traffic.show();
        said.extend(traffic.said(ID, 300, rate));
        prop_assert!(said.iter().all(|one| !one.starts_with(['V', 'A'])), "{said:?}");
        prop_assert_eq!(said.last().map(String::as_str), Some("Met"));
    }
}

#[test]
fn requests_that_stay_on_one_backend_are_reported_as_such() {
    let policy = measured(Measure::NewConnections, Counts::Requests);
    let mut traffic = Traffic::by(policy, Metric::BackendRequests, 3, IPTABLES, 5);
    let name = first(&traffic);
    traffic.pod(&name).weight = 0.1;
    traffic.until(ID, 1800, 20).expect("found");
    assert_eq!(traffic.world.says(ID), "AtRisk info Requests");
}

#[test]
fn open_connections_are_judged_at_each_look() {
    let policy = measured(Measure::ActiveConnections, Counts::Connections);
    let mut traffic = Traffic::by(
        policy,
        Metric::BackendActive,
        3,
        "mode: ipvs\nipvs: {scheduler: lc}\n",
        5,
    );
    for pod in traffic.pods.values_mut() {
        pod.value = 400.0;
    }
    traffic.flow(60, 0);
    assert_eq!(traffic.world.verdict(ID), "Met");
    let name = first(&traffic);
    traffic.pod(&name).value = 30.0;
    traffic.flow(60, 0);
    assert_eq!(traffic.world.says(ID), "Violated warning Starved");
    traffic.pod(&name).value = 390.0;
    traffic.flow(60, 0);
    assert_eq!(traffic.world.verdict(ID), "Met");
}

/// What carries connections decides what is expected of shares.
#[rstest]
#[case::iptables("mode: iptables\n", json!({}), "Violated warning NoTraffic")]
#[case::nftables("mode: nftables\n", json!({}), "Violated warning NoTraffic")]
#[case::ipvs_round_robin("mode: ipvs\n", json!({}), "Violated warning NoTraffic")]
#[case::ipvs_least_connections("mode: ipvs\nipvs: {scheduler: lc}\n", json!({}), "Unknown unknown")]
#[case::ipvs_by_destination("mode: ipvs\nipvs: {scheduler: dh}\n", json!({}), "Unknown unknown")]
#[case::ipvs_by_client("mode: ipvs\nipvs: {scheduler: sh}\n", json!({}), "NotApplicable")]
#[case::affinity("mode: iptables\n", json!({"sessionAffinity": "ClientIP"}), "NotApplicable")]
#[case::headless("mode: iptables\n", json!({"clusterIP": "None"}), "Unknown unknown")]
#[case::each_on_its_node("mode: iptables\n", json!({"internalTrafficPolicy": "Local"}), "NotApplicable")]
fn by_what_nodes_choose(#[case] proxy: &str, #[case] spec: serde_json::Value, #[case] expected: &str) {
    let mut traffic = Traffic::of(3, proxy, 11);
    traffic.world.put(Source::Services, &service("api", spec));
    let name = first(&traffic);
    traffic.pod(&name).weight = 0.0;
    traffic.flow(300, 10);
    assert_eq!(traffic.world.verdict(ID), expected);
}

/// With Local traffic a node with few clients has less, and that is no fault; a backend beside another one that gets nothing is.
#[rstest]
#[case::a_quiet_node([1.0, 1.0, 0.1, 0.1], "Met")]
#[case::one_of_two_gets_nothing([1.0, 0.0, 0.5, 0.5], "Violated warning NoTraffic")]
fn backends_of_one_node_are_compared(#[case] weights: [f64; 4], #[case] expected: &str) {
    let mut traffic = Traffic::of(4, IPTABLES, 4);
    let local = json!({"internalTrafficPolicy": "Local"});
    traffic.world.put(Source::Services, &service("api", local));
    for (at, (pod, weight)) in traffic.pods.values_mut().zip(weights).enumerate() {
        pod.node = format!("node-{}", at / 2);
        pod.weight = weight;
    }
    traffic.show();
    traffic.flow(900, 20);
    assert_eq!(traffic.world.verdict(ID), expected);
}

#[rstest]
#[case::a_quiet_zone([1.0, 1.0, 0.1, 0.1], "Met")]
#[case::one_of_two_gets_nothing([1.0, 0.0, 0.5, 0.5], "Violated warning NoTraffic")]
fn backends_with_one_hint_are_compared(#[case] weights: [f64; 4], #[case] expected: &str) {
    let mut traffic = Traffic::of(4, IPTABLES, 4);
    for (at, (pod, weight)) in traffic.pods.values_mut().zip(weights).enumerate() {
        pod.zone = format!("zone-{}", at / 2);
        pod.weight = weight;
    }
    traffic.show();
    traffic.flow(900, 20);
    assert_eq!(traffic.world.verdict(ID), expected);
}

#[test]
fn a_backend_without_a_series_is_unknown_and_never_zero() {
    let mut traffic = Traffic::of(3, IPTABLES, 6);
    let name = first(&traffic);
    traffic.pod(&name).scraped = false;
    traffic.flow(600, 10);
    assert_eq!(traffic.world.verdict(ID), "Unknown unknown");
    let message = traffic.world.message(ID);
    assert!(
        message.contains("1 of 3 backends") && message.contains("has no such series"),
        "{message}"
    );
}

#[test]
fn without_traffic_nothing_is_wrong() {
    let mut traffic = Traffic::of(3, IPTABLES, 6);
    traffic.flow(600, 0);
    assert_eq!(traffic.world.verdict(ID), "Met");
}

#[test]
fn of_two_policies_that_name_other_metrics_one_is_not_judged() {
    let mut traffic = three(7);
    let mut other = measured(Measure::NewConnections, Counts::Requests);
    other.name = "q".into();
    traffic.world.declare(other);
    traffic.flow(60, 10);
    let messages: Vec<String> = traffic
        .world
        .findings(ID)
        .iter()
        .map(|one| one.message.clone())
        .collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(
        messages[0].contains("another policy of this Service"),
        "{messages:?}"
    );
}
