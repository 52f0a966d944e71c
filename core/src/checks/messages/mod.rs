//! Every message and every advice of every check in one reviewed file, `snapshots/…__messages__all.snap`.
//!
//! Each check gives examples of its evidence: the path checks from connections at random, the others by hand, in an
//! `examples()` beside the type. What the examples must show is read from the type itself: every variant of its enums,
//! every `Option` both ways, every `bool` both ways. So a new variant without an example fails here.

mod scenes;
mod shapes;

use std::collections::{BTreeMap, BTreeSet};

use super::{ALL, balance, conntrack, control_plane, find, nodes};
use crate::judge::{Case, Datum, MESSAGE, Verdict};
use scenes::by_scenes;
use shapes::{Shape, demands, has, shapes};

/// What is shown of one check.
struct Shown {
    id: &'static str,
    /// The type that its cases are of.
    evidence: &'static str,
    /// The files that hold it and the types of its fields.
    files: &'static [&'static str],
    examples: fn() -> Vec<Verdict>,
}

macro_rules! shown {
    ($id:literal, $evidence:literal, [$($file:literal),+], $examples:expr) => {
        Shown {
            id: $id,
            evidence: $evidence,
            #[expect(clippy::disallowed_macros, reason = "the types are read from their source")]
            files: &[$(include_str!(concat!("../", $file))),+],
            examples: $examples,
        }
    };
}

/// One line for each check; the name of its evidence type, its files, and its examples.
const SHOWN: &[Shown] = &[
    shown!(
        "path-idle-budget",
        "Outlasted",
        ["path/idle_budget.rs", "path/advice.rs"],
        || by_scenes("path-idle-budget")
    ),
    shown!(
        "keepalive-order",
        "Order",
        ["path/keepalive_order/order.rs"],
        || { by_scenes("keepalive-order") }
    ),
    shown!(
        "keepalive-ping-floor",
        "PingRule",
        ["path/ping_floor/rule.rs"],
        || { by_scenes("keepalive-ping-floor") }
    ),
    shown!(
        "keepalive-netns-gap",
        "LateKeepalive",
        ["path/netns_gap.rs"],
        || by_scenes("keepalive-netns-gap")
    ),
    shown!(
        "l7-deadline-order",
        "Deadlines",
        ["path/deadline_order/deadlines.rs"],
        || by_scenes("l7-deadline-order")
    ),
    shown!(
        "proxy-config-drift",
        "Stale",
        ["conntrack/config_drift.rs"],
        conntrack::config_drift::examples
    ),
    shown!(
        "proxy-bounds",
        "Outside",
        ["conntrack/proxy_bounds.rs"],
        conntrack::proxy_bounds::examples
    ),
    shown!(
        "ct-port-recycle-pin",
        "PinnedPorts",
        ["conntrack/port_recycle.rs"],
        conntrack::port_recycle::examples
    ),
    shown!(
        "ipvs-reuse-mode-mismatch",
        "ReusedPort",
        ["conntrack/ipvs_reuse.rs"],
        conntrack::ipvs_reuse::examples
    ),
    shown!(
        "backend-no-rebalance-path",
        "Unending",
        ["balance/no_rebalance/unending.rs"],
        balance::no_rebalance::examples
    ),
    shown!(
        "backend-policy-induced-skew",
        "Skew",
        ["balance/policy_skew/skew.rs"],
        balance::policy_skew::examples
    ),
    shown!(
        "backend-minimum-ready",
        "BackendShortage",
        ["balance/minimum_ready/shortage.rs", "balance/mod.rs"],
        balance::minimum_ready::examples
    ),
    shown!(
        "backend-none-ready",
        "NothingAnswers",
        ["balance/none_ready.rs"],
        balance::none_ready::examples
    ),
    shown!(
        "backend-local-holes",
        "Holes",
        ["balance/local_holes.rs"],
        balance::local_holes::examples
    ),
    shown!(
        "backend-placement-skew",
        "Crowd",
        ["balance/placement_skew.rs", "balance/mod.rs"],
        balance::placement_skew::examples
    ),
    shown!(
        "endpoint-flap",
        "Unsteady",
        ["balance/flap.rs"],
        balance::flap::examples
    ),
    shown!(
        "cordon-lb-safety",
        "Exposure",
        ["nodes/cordon_lb.rs"],
        nodes::cordon_lb::examples
    ),
    shown!(
        "node-zone-disruption",
        "ZoneLoss",
        ["nodes/zone_disruption.rs"],
        nodes::zone_disruption::examples
    ),
    shown!(
        "node-mass-loss",
        "NodeLoss",
        ["nodes/mass_loss/loss.rs"],
        nodes::mass_loss::examples
    ),
    shown!(
        "dns-n1-headroom",
        "DnsShortage",
        ["nodes/dns_headroom/shortage.rs"],
        nodes::dns_headroom::examples
    ),
    shown!(
        "pod-churn-storm",
        "Rush",
        ["nodes/churn_storm.rs"],
        nodes::churn_storm::examples
    ),
    shown!(
        "node-cascade-wave",
        "Domino",
        ["nodes/cascade/domino.rs"],
        nodes::cascade::examples
    ),
    shown!(
        "fleet-change-sync",
        "Sync",
        ["nodes/fleet_change/sync.rs"],
        nodes::fleet_change::examples
    ),
    shown!(
        "detection-vs-grace",
        "Slow",
        ["control_plane/detection.rs"],
        control_plane::detection::examples
    ),
    shown!(
        "admission-heartbeat-block",
        "InTheWay",
        [
            "control_plane/heartbeat/in_the_way.rs",
            "control_plane/requests.rs"
        ],
        control_plane::heartbeat::examples
    ),
    shown!(
        "cp-instances-missing",
        "Missing",
        ["control_plane/instances.rs"],
        control_plane::instances::examples
    ),
    shown!(
        "cp-stale-watch",
        "WatchTrouble",
        ["control_plane/stale_watch.rs"],
        control_plane::stale_watch::examples
    ),
    shown!(
        "node-pressure-evict-loop",
        "ComesBack",
        ["nodes/evict_loop.rs"],
        nodes::evict_loop::examples
    ),
    shown!(
        "preemption-cascade",
        "Loses",
        ["nodes/preemption.rs"],
        nodes::preemption::examples
    ),
    shown!(
        "cp-instance-skew",
        "InstanceSkew",
        ["control_plane/instance_skew.rs"],
        control_plane::instance_skew::examples
    ),
    shown!(
        "cp-channel-divergence",
        "Channel",
        ["control_plane/channel_divergence.rs"],
        control_plane::channel_divergence::examples
    ),
    shown!(
        "cp-overload-brownout",
        "Overload",
        ["control_plane/overload.rs"],
        control_plane::overload::examples
    ),
    shown!(
        "cp-reconnect-storm",
        "Reconnections",
        ["control_plane/reconnect_storm.rs"],
        control_plane::reconnect_storm::examples
    ),
    shown!(
        "cp-memory-headroom",
        "NoRoom",
        ["control_plane/memory_headroom.rs"],
        control_plane::memory_headroom::examples
    ),
    shown!(
        "etcd-quota-headroom",
        "Grown",
        ["control_plane/etcd_quota.rs"],
        control_plane::etcd_quota::examples
    ),
    shown!(
        "ct-table-pressure",
        "TablePressure",
        ["conntrack/table_pressure.rs"],
        conntrack::table_pressure::examples
    ),
    shown!(
        "ct-drop-rate",
        "DroppedPackets",
        ["conntrack/drop_rate.rs"],
        conntrack::drop_rate::examples
    ),
    shown!(
        "node-pressure",
        "Waits",
        ["nodes/pressure.rs"],
        nodes::pressure::examples
    ),
];

fn cases(shown: &Shown) -> Vec<(Verdict, Case)> {
    let all = (shown.examples)().into_iter();
    all.filter_map(|verdict| match &verdict {
        Verdict::AtRisk(case) | Verdict::Violated(case) => Some((verdict.clone(), case.clone())),
        Verdict::Met | Verdict::NotApplicable(_) | Verdict::Unknown(_) => None,
    })
    .collect()
}

#[test]
fn every_check_is_shown() {
    let mut listed: Vec<&str> = SHOWN.iter().map(|one| one.id).collect();
    listed.sort_unstable();
    let mut all: Vec<&str> = ALL.iter().map(|check| check.id).collect();
    all.sort_unstable();
    assert_eq!(listed, all);
}

#[test]
fn every_variant_has_an_example() {
    let mut missing = Vec::new();
    for shown in SHOWN {
        let shapes: BTreeMap<String, Shape> = shown.files.iter().flat_map(|file| shapes(file)).collect();
        assert!(
            shapes.contains_key(shown.evidence),
            "{}: no type {}",
            shown.id,
            shown.evidence
        );
        let mut demanded = BTreeSet::new();
        // As `Debug` of a case prints its evidence.
        demands(&shapes, "explain", shown.evidence, 6, &mut demanded);
        let all: Vec<String> = cases(shown).iter().map(|(_, case)| format!("{case:?}")).collect();
        assert!(!all.is_empty(), "{}: no example", shown.id);
        let gone = demanded
            .into_iter()
            .filter(|one| !all.iter().any(|text| has(text, one)));
        missing.extend(gone.map(|one| format!("{}: {one}", shown.id)));
    }
    assert!(missing.is_empty(), "no example shows\n{}", missing.join("\n"));
}

/// A text without the numbers and names that differ from example to example.
fn pattern(text: &str, case: &Case) -> String {
    let mut names: Vec<String> = case
        .evidence()
        .into_iter()
        .filter_map(|one| match one.value {
            Datum::Text(text) => Some(text.to_string()),
            Datum::Number(_) => None,
        })
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let mut text = text.to_owned();
    for name in names.iter().filter(|name| name.len() > 2) {
        text = text.replace(name.as_str(), "_");
    }
    let mut pattern = String::new();
    for word in text.split(' ') {
        let number = word.starts_with(|first: char| first.is_ascii_digit());
        pattern.push_str(if number { "#" } else { word });
        pattern.push(' ');
    }
    pattern
}

/// What is shown of one cause of a check: its severities, and one of each message and advice.
#[derive(Default)]
struct Told {
    severities: BTreeSet<&'static str>,
    messages: BTreeMap<String, String>,
    advice: BTreeMap<String, String>,
}

#[test]
fn all() {
    let mut text = Vec::new();
    for shown in SHOWN {
        let check = find(shown.id).unwrap();
        let mut causes: BTreeMap<&str, Told> = BTreeMap::new();
        for (verdict, case) in cases(shown) {
            let told = causes.entry(case.cause()).or_default();
            told.severities
                .insert(crate::findings::severity(check, &verdict).name());
            let message = case.to_string();
            assert!(message.chars().count() <= MESSAGE, "{}: {message}", shown.id);
            told.messages.entry(pattern(&message, &case)).or_insert(message);
            for advice in case.advice() {
                told.advice
                    .entry(pattern(&advice.text, &case))
                    .or_insert(advice.text);
            }
        }
        for (cause, told) in causes {
            let severities: Vec<&str> = told.severities.into_iter().collect();
            text.push(format!("{} {cause} ({})", shown.id, severities.join(", ")));
            text.extend(told.messages.into_values().map(|message| format!("  {message}")));
            text.extend(told.advice.into_values().map(|advice| format!("  - {advice}")));
            text.push(String::new());
        }
    }
    insta::assert_snapshot!(text.join("\n"));
}
