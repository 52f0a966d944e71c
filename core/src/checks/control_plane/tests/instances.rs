use rstest::rstest;
use serde_json::json;

use super::{DETECTION, INSTANCES, WEBHOOK, platform};
use crate::know::Source;
use crate::policy::ControlPlanePolicy;
use crate::world::{World, kubeadm, node_ready, slice_in};

fn servers(serving: usize, expected: Option<u32>, role: &str) -> World {
    let addresses: Vec<String> = (0..serving).map(|at| format!("192.0.2.{at}")).collect();
    let endpoints: Vec<_> = addresses.iter().map(|address| (&**address, "", true)).collect();
    let mut node = node_ready("a", "", "True");
    if !role.is_empty() {
        node["metadata"]["labels"][format!("node-role.kubernetes.io/{role}")] = json!("");
    }
    World::complete()
        .with(Source::Nodes, node)
        .with(
            Source::EndpointSlices,
            slice_in("default", "kubernetes", &endpoints),
        )
        .platform(platform(ControlPlanePolicy {
            expected_instances: expected,
            ..ControlPlanePolicy::default()
        }))
}

#[rstest]
#[case::all(3, Some(3), "", &[])]
#[case::more(5, Some(3), "", &[])]
#[case::one_missing(2, Some(3), "", &["Violated warning"])]
#[case::one_left(1, Some(3), "control-plane", &["Violated critical"])]
#[case::one_left_of_an_old_cluster(1, Some(3), "master", &["Violated critical"])]
#[case::one_of_one(1, Some(1), "", &[])]
#[case::not_said(1, None, "", &[])]
#[case::zero_said(1, Some(0), "", &[])]
#[case::huge(2, Some(u32::MAX), "", &["Violated warning"])]
#[case::no_endpoint(0, Some(3), "", &["Unknown unknown"])]
#[case::hosted(1, Some(3), "", &["Unknown unknown"])]
#[case::hosted_behind_worker_nodes(1, Some(3), "worker", &["Unknown unknown"])]
#[case::hosted_but_two(2, Some(3), "", &["Violated warning"])]
fn instances(
    #[case] serving: usize,
    #[case] expected: Option<u32>,
    #[case] role: &str,
    #[case] says: &[&str],
) {
    assert_eq!(servers(serving, expected, role).found(INSTANCES), says);
}

#[test]
fn an_api_server_to_be_seen_is_not_hidden() {
    let pod = json!({
        "metadata": {"name": "kube-apiserver-a", "namespace": "kube-system"},
        "spec": {"containers": [{"name": "kube-apiserver", "command": ["kube-apiserver"]}]},
    });
    let mut cluster = servers(1, Some(3), "").with(Source::Pods, pod);
    assert_eq!(cluster.found(INSTANCES), ["Violated critical"]);
}

/// Nodes of these names and roles, each with an address of its own, and one address of an API server.
#[rstest]
#[case::of_a_node(&[("a", "control-plane"), ("b", "control-plane")], "192.0.2.1", &["Violated critical"])]
#[case::of_a_node_without_a_role(&[("a", "worker"), ("b", "worker")], "192.0.2.1", &["Violated critical"])]
#[case::of_none_of_several(&[("a", "control-plane"), ("b", "control-plane")], "192.0.2.100", &["Unknown unknown"])]
#[case::beside_the_only_one(&[("a", "control-plane"), ("b", "worker")], "192.0.2.100", &["Violated critical"])]
#[case::of_rke(&[("a", "controlplane"), ("b", "worker")], "192.0.2.100", &["Violated critical"])]
#[case::of_nobody(&[("a", "worker"), ("b", "worker")], "192.0.2.100", &["Unknown unknown"])]
fn an_address_is_one_api_server_where_that_is_known(
    #[case] nodes: &[(&str, &str)],
    #[case] address: &str,
    #[case] expected: &[&str],
) {
    let endpoints = slice_in("default", "kubernetes", &[(address, "", true)]);
    let mut cluster = World::complete()
        .with(Source::EndpointSlices, endpoints)
        .platform(platform(ControlPlanePolicy {
            expected_instances: Some(3),
            ..ControlPlanePolicy::default()
        }));
    for (at, (name, role)) in nodes.iter().enumerate() {
        let mut node = node_ready(name, "", "True");
        node["metadata"]["labels"][format!("node-role.kubernetes.io/{role}")] = json!("");
        node["status"]["addresses"] = json!([
            {"type": "Hostname", "address": name},
            {"type": "InternalIP", "address": format!("192.0.2.{}", at + 1)},
        ]);
        cluster = cluster.with(Source::Nodes, node);
    }
    assert_eq!(cluster.found(INSTANCES), expected);
}

#[rstest]
fn a_clean_cluster_is_quiet(#[values(0, 1, 3)] nodes: usize) {
    let mut cluster = kubeadm(nodes);
    for check in [DETECTION, WEBHOOK, INSTANCES] {
        assert!(
            cluster.found(check).is_empty(),
            "{check}: {:?}",
            cluster.found(check)
        );
    }
}

#[test]
fn slices_that_nobody_read_are_missed_only_where_a_number_is_declared() {
    let unread = || World::complete().unread(Source::EndpointSlices);
    assert!(unread().found(INSTANCES).is_empty());
    let expected = platform(ControlPlanePolicy {
        expected_instances: Some(3),
        ..ControlPlanePolicy::default()
    });
    assert_eq!(unread().platform(expected).found(INSTANCES), ["Unknown unknown"]);
}
