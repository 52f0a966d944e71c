use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::know::Wall;
use crate::policy::{ClusterPolicy, Storm};
use crate::world::{World, node_ready};

const ID: &str = "node-mass-loss";

/// The clock of the fixture.
const NOW: i64 = 1_800_000_000;

fn at(seconds_ago: i64) -> Value {
    json!(Wall(NOW - seconds_ago).to_string())
}

/// Nodes of three zones in turn.
fn nodes(ready: usize, down: usize) -> World {
    (0..ready + down).fold(World::complete(), |cluster, at| {
        let ready = if at < ready { "True" } else { "Unknown" };
        let zone = ["a", "b", "c"][at % 3];
        cluster.with(Source::Nodes, node_ready(&format!("n{at}"), zone, ready))
    })
}

#[rstest]
#[case::none(0, 0, &[])]
#[case::the_only_node(0, 1, &["Violated critical NoneReady"])]
#[case::both(0, 2, &["Violated critical NoneReady"])]
#[case::one_of_two(1, 1, &["Violated critical HalfLost"])]
#[case::one_of_three(2, 1, &[])]
#[case::half_of_many(50, 50, &["Violated critical HalfLost"])]
#[case::below_half(51, 49, &["Violated warning Storm"])]
#[case::at_a_fifth(12, 3, &["Violated warning Storm"])]
#[case::below_a_fifth(13, 3, &[])]
#[case::one_of_five_is_no_storm(4, 1, &[])]
fn shares(#[case] ready: usize, #[case] down: usize, #[case] expected: &[&str]) {
    assert_eq!(nodes(ready, down).found(ID), expected);
}

#[rstest]
#[case::stricter(Some(5), None, 94, 6, &["Violated warning Storm"])]
#[case::laxer(Some(40), None, 70, 30, &[])]
#[case::half_is_critical_whatever_is_declared(Some(90), Some(99), 50, 50, &["Violated critical HalfLost"])]
#[case::too_few(None, Some(4), 12, 3, &[])]
fn the_platform_declares_what_a_storm_is(
    #[case] cluster_unhealthy_percent: Option<u32>,
    #[case] minimum_nodes: Option<u32>,
    #[case] ready: usize,
    #[case] down: usize,
    #[case] expected: &[&str],
) {
    let storm = Storm {
        cluster_unhealthy_percent,
        minimum_nodes,
        ..Storm::default()
    };
    let policy = ClusterPolicy {
        storm,
        ..ClusterPolicy::default()
    };
    assert_eq!(nodes(ready, down).platform(policy).found(ID), expected);
}

fn mark(kind: &str, since: i64, mut node: Value) -> Value {
    node["status"]["conditions"][0]["lastTransitionTime"] = at(since);
    match kind {
        "cordoned" => node["spec"]["unschedulable"] = json!(true),
        "deleted" => node["metadata"]["deletionTimestamp"] = at(since),
        "new" => node["metadata"]["creationTimestamp"] = at(since),
        "" => {}
        taint => node["spec"]["taints"] = json!([{"key": taint, "effect": "NoSchedule"}]),
    }
    node
}

/// Half of a cluster, marked and not Ready for so many seconds.
#[rstest]
#[case::unmarked("", 60, &["Violated critical HalfLost"])]
#[case::cordoned("cordoned", 1799, &[])]
#[case::cordoned_for_too_long("cordoned", 1800, &["Violated critical HalfLost"])]
#[case::deleted("deleted", 60, &[])]
#[case::autoscaler("ToBeDeletedByClusterAutoscaler", 60, &[])]
#[case::only_a_candidate("DeletionCandidateOfClusterAutoscaler", 60, &["Violated critical HalfLost"])]
#[case::karpenter("karpenter.sh/disrupted", 60, &[])]
#[case::aks("remediator.kubernetes.azure.com/unschedulable", 60, &[])]
#[case::unreachable("node.kubernetes.io/unreachable", 60, &["Violated critical HalfLost"])]
#[case::new("new", 899, &[])]
#[case::new_for_too_long("new", 900, &["Violated critical HalfLost"])]
fn nodes_that_join_or_leave(#[case] kind: &str, #[case] since: i64, #[case] expected: &[&str]) {
    let away = (0..6).map(|at| mark(kind, since, node_ready(&format!("away{at}"), "a", "False")));
    let mut cluster = away.fold(nodes(6, 0), |cluster, one| cluster.with(Source::Nodes, one));
    assert_eq!(cluster.found(ID), expected);
    let zone: &[&str] = if expected.is_empty() {
        &[]
    } else {
        &["Violated critical PartialDisruption"]
    };
    assert_eq!(cluster.found("node-zone-disruption"), zone);
}

/// AKS keeps the Nodes of machines that it has deallocated; of other clouds a machine that is shut down is a loss.
#[rstest]
#[case::of_azure("azure:///subscriptions/x", "node.cloudprovider.kubernetes.io/shutdown", 2, &[])]
#[case::of_aks_by_its_labels("", "node.cloudprovider.kubernetes.io/shutdown", 2, &[])]
#[case::of_azure_but_not_shut_down(
    "azure:///subscriptions/x", "node.kubernetes.io/unreachable", 2, &["Violated critical HalfLost"]
)]
#[case::of_aws("aws:///a/i-1", "node.cloudprovider.kubernetes.io/shutdown", 2, &["Violated critical HalfLost"])]
#[case::none_left("azure:///subscriptions/x", "node.cloudprovider.kubernetes.io/shutdown", 0, &["Violated critical NoneReady"])]
fn deallocated_machines(
    #[case] provider: &str,
    #[case] taint: &str,
    #[case] ready: usize,
    #[case] expected: &[&str],
) {
    let away = (0..6).map(|at| {
        let mut node = mark(taint, 90_000, node_ready(&format!("away{at}"), "a", "Unknown"));
        if provider.is_empty() {
            node["metadata"]["labels"]["kubernetes.azure.com/agentpool"] = json!("batch");
        } else {
            node["spec"]["providerID"] = json!(provider);
        }
        node
    });
    let mut cluster = away.fold(nodes(ready, 0), |cluster, one| cluster.with(Source::Nodes, one));
    assert_eq!(cluster.found(ID), expected);
}

#[test]
fn nodes_without_a_state_are_not_lost() {
    let silent = |name: &str| {
        let mut node = node_ready(name, "b", "True");
        node["status"] = json!({"nodeInfo": {"kubeletVersion": "v1.33.1"}});
        node
    };
    let all: Vec<Value> = ["s1", "s2", "s3"].map(silent).into();
    let mut cluster = World::complete().all(Source::Nodes, &all);
    assert_eq!(cluster.found(ID), ["Unknown unknown"]);
    assert!(cluster.found("node-zone-disruption").is_empty());
    let mut beside_others = nodes(2, 0).all(Source::Nodes, &all);
    assert!(beside_others.found(ID).is_empty());
}

/// A node that has been Ready does not join any more, however young it is.
#[rstest]
#[case::its_first_report_is_late(300, 181, &[])]
#[case::it_was_ready(300, 180, &["Violated critical HalfLost"])]
#[case::it_was_ready_for_long(800, 10, &["Violated critical HalfLost"])]
fn young_nodes_that_are_lost(#[case] age: i64, #[case] since: i64, #[case] expected: &[&str]) {
    let young = (0..6).map(|number| {
        let mut one = mark("", since, node_ready(&format!("young{number}"), "a", "Unknown"));
        one["metadata"]["creationTimestamp"] = at(age);
        one
    });
    let mut cluster = young.fold(nodes(6, 0), |cluster, one| cluster.with(Source::Nodes, one));
    assert_eq!(cluster.found(ID), expected);
}

#[test]
fn no_ready_node_is_critical_whatever_the_marks() {
    let away = (0..3).map(|at| mark("cordoned", 60, node_ready(&format!("n{at}"), "a", "False")));
    let mut cluster = away.fold(World::complete(), |cluster, one| cluster.with(Source::Nodes, one));
    assert_eq!(cluster.found(ID), ["Violated critical NoneReady"]);
    assert_eq!(
        cluster.message(ID),
        "3 of 3 nodes of the cluster are not Ready (100 %), since 2027-01-15T07:59:00Z"
    );
    assert!(cluster.found("node-zone-disruption").is_empty());
}

#[test]
fn time_alone_ends_the_excuse() {
    let up: Vec<_> = (0..6)
        .map(|at| (Source::Nodes, node_ready(&format!("up{at}"), "a", "True")))
        .collect();
    let away = (0..6).map(|at| {
        (
            Source::Nodes,
            mark("cordoned", 60, node_ready(&format!("n{at}"), "b", "False")),
        )
    });
    let mut live = World::watched(&up.into_iter().chain(away).collect::<Vec<_>>());
    assert_eq!(live.says(ID), "");
    live.wait(1739);
    assert_eq!(live.says(ID), "");
    live.wait(1);
    assert_eq!(live.says(ID), "Violated critical HalfLost");
    assert_eq!(
        live.says("node-zone-disruption"),
        "Violated critical FullDisruption"
    );
}

/// Nodes that join or leave are evidence where there are any.
#[rstest]
#[case::none(0, None)]
#[case::two(2, Some("2"))]
fn those_that_are_not_counted_are_shown(#[case] leaving: usize, #[case] expected: Option<&str>) {
    let away = (0..leaving).map(|at| mark("deleted", 60, node_ready(&format!("away{at}"), "a", "False")));
    let mut cluster = away.fold(nodes(2, 2), |cluster, one| cluster.with(Source::Nodes, one));
    let found = cluster.findings(ID);
    let shown = found[0]
        .evidence
        .iter()
        .find(|one| one.what == "joiningOrLeaving");
    assert_eq!(shown.map(|one| one.value.to_string()).as_deref(), expected);
}
