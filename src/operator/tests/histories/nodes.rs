//! Nodes that fail, and nodes that are taken out of service.

use evenkeel_core::findings::FindingVerdict;
use evenkeel_core::know::{Source, Wall};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::world::START;
use super::{Node, Story, above_info, nodes, objects};

const HOUR: u64 = 3600;
const CASCADE: &str = "node-cascade-wave";

/// Each of these nodes in turn: `stop` is what is done before it goes down, and its reboot takes so many seconds.
fn upgrade(story: &mut Story, last: &mut [Node], reboot: i64, stop: fn(&mut Node)) {
    for node in last {
        let begin = story.second();
        let before = node.clone();
        stop(node);
        story.node(node);
        story.until(begin + 10);
        story.ready(node, "False");
        story.until(begin + 10 + reboot);
        node.kernel = "6.8.0-B";
        story.ready(node, "True");
        story.until(begin + 20 + reboot);
        (node.cordoned, node.taints) = (before.cordoned, before.taints);
        story.node(node);
        story.until(begin + 50 + reboot);
    }
}

#[rstest]
#[case::the_last_five_of_seventeen(12, 5, 60)]
#[case::the_last_one(16, 1, 60)]
#[case::slow_reboots(12, 5, 600)]
#[case::from_the_first_one_on(0, 8, 60)]
fn a_rolling_upgrade_is_quiet(#[case] done: usize, #[case] left: usize, #[case] reboot: i64) {
    let new: Vec<_> = nodes("new", done)
        .into_iter()
        .map(|one| one.kernel("6.8.0-B"))
        .collect();
    let mut old = nodes("old", left);
    let mut story = Story::watched(HOUR, objects(new.iter().chain(&old))).never("above info", above_info);
    upgrade(&mut story, &mut old, reboot, |node| node.cordoned = true);
    let end = story.second();
    story.until(end + 2100);
}

/// Nodes are added with the new version, the old ones are cordoned and deleted.
#[rstest]
fn a_rolling_upgrade_by_replacement_is_quiet(#[values(false, true)] shut_down: bool) {
    let mut old = nodes("old", 6);
    let mut story = Story::watched(HOUR, objects(&old)).never("above info", above_info);
    for (at, node) in old.iter_mut().enumerate() {
        let mut new = Node::new(format!("new{at}"), node.zone).kernel("6.8.0-B");
        new.created = story.world.now.wall;
        story.ready(&mut new, "False");
        let begin = story.second();
        story.until(begin + 60);
        story.ready(&mut new, "True");
        node.cordoned = true;
        story.node(node);
        story.until(begin + 120);
        if shut_down {
            story.ready(node, "Unknown");
            story.until(begin + 180);
        }
        story.gone(Source::Nodes, "", &node.name);
    }
    let end = story.second();
    story.until(end + 2100);
}

/// Five of seventeen nodes have restarted by themselves into what kills them.
fn first_of_an_update() -> (Story, Vec<Node>) {
    let mut first = nodes("u", 5);
    let mut story = Story::watched(HOUR - 1500, objects(nodes("n", 12).iter().chain(&first)));
    for node in &mut first {
        story.ready(node, "False");
        let begin = story.second();
        story.until(begin + 40);
        node.kernel = "6.8.0-B";
        story.ready(node, "True");
    }
    let begin = story.second();
    story.until(begin + 1300);
    story.zero = story.world.now.wall;
    (story, first)
}

#[test]
fn the_first_nodes_of_an_update_that_kills_are_found_by_its_name() {
    let (mut story, mut first) = first_of_an_update();
    for (at, node) in (0..).zip(&mut first) {
        story.until(at * 20);
        story.ready(node, "Unknown");
        if at == 2 {
            story.until(50);
            let message = story.message("fleet-change-sync");
            assert_eq!(story.says("fleet-change-sync"), "Violated critical Changed");
            assert!(message.contains("6.8.0-B"), "{message}");
        }
    }
    for second in [100, 1000, 7200] {
        story.until(second);
        assert_eq!(story.says("fleet-change-sync"), "Violated critical Changed");
    }
    for node in &mut first {
        story.ready(node, "True");
    }
    assert_eq!(story.says("fleet-change-sync"), "");
}

/// Twelve nodes, and a pool of three that has an image of its own.
fn pool() -> Vec<Node> {
    let mut pool: Vec<_> = (0..3).map(|at| Node::new(format!("gpu{at}"), "a")).collect();
    for node in &mut pool {
        node.image = "GPU Linux";
    }
    pool
}

#[rstest]
#[case::cluster_autoscaler(|node: &mut Node| node.taints.push("ToBeDeletedByClusterAutoscaler"))]
#[case::karpenter(|node: &mut Node| node.taints.push("karpenter.sh/disrupted"))]
#[case::termination_handler(|node: &mut Node| node.taints.push("aws-node-termination-handler/spot-itn"))]
#[case::cordoned(|node: &mut Node| node.cordoned = true)]
#[case::deleted(|node: &mut Node| node.deleting = true)]
fn a_pool_that_is_taken_away_is_quiet(#[case] mark: fn(&mut Node), #[values(140, 1700)] deleted_after: i64) {
    let mut pool = pool();
    let mut story =
        Story::watched(HOUR, objects(nodes("n", 12).iter().chain(&pool))).never("above info", above_info);
    for node in &mut pool {
        node.since = story.world.now.wall;
        mark(node);
        story.node(node);
    }
    for (at, node) in (0..).zip(&mut pool) {
        story.until(60 + 2 * at);
        story.ready(node, "Unknown");
    }
    story.until(60 + deleted_after);
    for node in &pool {
        story.gone(Source::Nodes, "", &node.name);
    }
    story.until(2400 + deleted_after);
}

#[test]
fn a_pool_that_is_lost_is_found() {
    let mut pool = pool();
    let mut story = Story::watched(HOUR, objects(nodes("n", 12).iter().chain(&pool)));
    for node in &mut pool {
        story.ready(node, "Unknown");
    }
    story.until(10);
    assert_eq!(story.says("node-mass-loss"), "Violated warning Storm");
    let message = story.message("node-mass-loss");
    assert!(message.starts_with("3 of 15 nodes"), "{message}");
    story.until(3600);
    assert_eq!(story.says("node-mass-loss"), "Violated warning Storm");
}

#[rstest]
#[case::at_once(3, 45)]
#[case::slowly(3, 600)]
#[case::one(1, 45)]
#[case::more_than_there_are(12, 120)]
fn a_zone_that_opens_is_quiet(#[case] count: usize, #[case] starts: i64) {
    let old: Vec<_> = (0..6).map(|at| Node::new(format!("n{at}"), "a")).collect();
    let mut story = Story::watched(HOUR, objects(&old)).never("above info", above_info);
    let mut new: Vec<_> = (0..count).map(|at| Node::new(format!("new{at}"), "b")).collect();
    for node in &mut new {
        node.created = story.world.now.wall;
        node.taints = vec!["node.cloudprovider.kubernetes.io/uninitialized"];
        story.ready(node, "False");
    }
    story.until(starts);
    for node in &mut new {
        node.taints.clear();
        story.ready(node, "True");
    }
    story.until(starts + 900);
    let service = "shop/alertmanager:9093".parse().unwrap();
    let alerts = story.world.operator.alerts(story.world.now, &service);
    assert!(alerts.findings.findings.is_empty());
}

#[test]
fn a_zone_that_is_cut_off_is_found_and_ends() {
    let mut zone: Vec<_> = (0..3).map(|at| Node::new(format!("b{at}"), "b")).collect();
    let others: Vec<_> = (0..6).map(|at| Node::new(format!("n{at}"), "a")).collect();
    let mut story = Story::watched(HOUR, objects(others.iter().chain(&zone)));
    for node in &mut zone {
        story.ready(node, "Unknown");
    }
    story.until(10);
    assert_eq!(
        story.says("node-zone-disruption"),
        "Violated critical FullDisruption"
    );
    assert_eq!(story.of("node-zone-disruption")[0].subject.name, "b");
    story.until(120);
    for node in &mut zone {
        story.ready(node, "True");
    }
    story.until(719);
    assert_eq!(story.says("node-zone-disruption"), "AtRisk info JustDisrupted");
    story.until(721);
    assert_eq!(story.says("node-zone-disruption"), "");
}

/// Nodes that have just joined are no excuse for nodes that are lost: these were Ready for four minutes.
#[test]
fn a_zone_that_is_lost_soon_after_it_opened_is_found() {
    let old: Vec<_> = (0..6).map(|at| Node::new(format!("n{at}"), "a")).collect();
    let mut story = Story::watched(HOUR, objects(&old));
    let mut new: Vec<_> = (0..3).map(|at| Node::new(format!("new{at}"), "b")).collect();
    for node in &mut new {
        node.created = story.world.now.wall;
        story.ready(node, "False");
    }
    story.until(45);
    for node in &mut new {
        story.ready(node, "True");
    }
    story.until(285);
    assert_eq!(story.says("node-zone-disruption"), "");
    for node in &mut new {
        story.ready(node, "Unknown");
    }
    story.until(295);
    assert_eq!(
        story.says("node-zone-disruption"),
        "Violated critical FullDisruption"
    );
    assert_eq!(story.says("node-mass-loss"), "Violated warning Storm");
    for node in &mut new {
        story.ready(node, "True");
    }
    story.until(895);
    assert_eq!(story.says("node-zone-disruption"), "");
}

/// A slice of the Service `app` for each node: so many endpoints.
fn load(node: usize, count: usize) -> Value {
    let endpoints: Vec<_> = (0..count)
        .map(|at| {
            json!({
                "addresses": [format!("10.{node}.{}.{}", at / 250, at % 250 + 1)], "nodeName": format!("c{node}"),
                "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": format!("app-{node}-{at}")},
            })
        })
        .collect();
    json!({
        "metadata": {"namespace": "shop", "name": format!("app-{node}"), "labels": {"kubernetes.io/service-name": "app"}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80}],
    })
}

/// Ten nodes of one zone with as many endpoints each.
fn row(endpoints: usize) -> (Story, Vec<Node>) {
    let row: Vec<_> = (0..10).map(|at| Node::new(format!("c{at}"), "a")).collect();
    let mut all = objects(&row);
    all.extend((0..10).map(|at| (Source::EndpointSlices, load(at, endpoints))));
    (Story::watched(HOUR, all), row)
}

/// The default toleration: Pods move 300 s after their node went, and 80 s later the node that took them goes.
#[rstest]
fn a_domino_at_the_default_toleration_is_found(#[values(10, 3, 40)] endpoints: usize) {
    let (mut story, row) = row(endpoints);
    for (step, mut node) in row.into_iter().take(4).enumerate() {
        let begin = 380 * i64::try_from(step).unwrap();
        story.until(begin);
        story.ready(&mut node, "Unknown");
        if step == 2 {
            story.until(begin + 10);
            assert_ne!(story.says(CASCADE), "");
        }
        story.until(begin + 300);
        story.put(Source::EndpointSlices, load(step, 0));
        story.put(Source::EndpointSlices, load(step + 1, endpoints * (step + 2)));
        if step >= 2 {
            assert_ne!(story.says(CASCADE), "");
        }
    }
    assert_eq!(story.says(CASCADE), "Violated critical Wave");
    for second in 1441..1740 {
        story.until(second);
        assert_ne!(story.says(CASCADE), "", "{second}");
    }
    story.until(1800);
    assert_eq!(story.says(CASCADE), "");
}

#[test]
fn nodes_that_fail_in_turn_without_having_received_anything_are_no_domino() {
    let (story, mut row) = row(10);
    let mut story = story.never("a cascade", |one| {
        one.check == CASCADE && one.verdict != FindingVerdict::Unknown
    });
    for (at, second) in [(0, 0), (4, 380), (7, 760)] {
        story.until(second);
        story.ready(&mut row[at], "Unknown");
        story.until(second + 300);
        story.put(Source::EndpointSlices, load(at, 0));
        // What moves goes to nodes that stay.
        story.put(Source::EndpointSlices, load(at + 1, 20));
    }
    story.until(3000);
}

/// A hundred nodes of which thirty run another kernel, down for so long or not at all.
fn found(down_for: Option<i64>) -> Story {
    let mut all = nodes("b", 30);
    for node in &mut all {
        node.kernel = "6.8.0-B";
        if let Some(seconds) = down_for {
            (node.ready, node.since) = ("Unknown", Wall(START.wall.0 - seconds));
        }
    }
    all.extend(nodes("a", 70));
    Story::begins(objects(&all))
}

#[rstest]
fn an_operator_that_starts_in_the_middle_says_what_objects_show(#[values(60, 3000, 80_000)] down_for: i64) {
    let mut story = found(Some(down_for));
    for second in [1, 30, 700, 4000] {
        story.until(second);
        let message = story.message("node-mass-loss");
        assert!(message.starts_with("30 of 100 nodes"), "{message}");
        let message = story.message("fleet-change-sync");
        assert!(message.contains("kernelVersion 6.8.0-B"), "{message}");
    }
}

#[test]
fn an_operator_that_has_just_started_says_what_it_cannot_know_yet() {
    let mut story = found(Some(3000));
    let not_judged = |story: &Story| story.world.operator.findings(story.world.now).not_judged;
    story.until(30);
    let told = not_judged(&story).unwrap();
    assert!(told.checks.contains(&"node-cascade-wave"), "{told:?}");
    assert!(told.reason.contains("long enough"), "{told:?}");
    story.until(3600);
    assert_eq!(not_judged(&story), None);
}

#[test]
fn an_operator_that_starts_beside_another_kernel_is_quiet() {
    let mut story = found(None).never("above info", above_info);
    story.until(700);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the size of the cluster and its zones: half of the nodes lost is critical at once, and taking as many
    /// away on purpose is quiet.
    #[test]
    fn half_of_the_nodes(size in 2_usize..40, more in 0_usize..20, on_purpose: bool) {
        let mut all = nodes("n", size);
        let lost = (size.div_ceil(2) + more).min(if on_purpose { size - 1 } else { size });
        let mut story = Story::watched(60, objects(&all));
        if on_purpose {
            story = story.never("above info", above_info);
        }
        for node in &mut all[..lost] {
            node.cordoned = on_purpose;
            story.ready(node, "Unknown");
        }
        story.until(10);
        if !on_purpose {
            let says = story.says("node-mass-loss");
            prop_assert!(says.starts_with("Violated critical"), "{lost} of {size}: {says}");
        }
        for node in &mut all[..lost] {
            story.ready(node, "True");
        }
        story.until(20);
        prop_assert_eq!(story.says("node-mass-loss"), "");
        story.until(700);
        prop_assert!(story.found().iter().all(|one| !above_info(one)));
    }
}
