use rstest::rstest;
use serde_json::json;

use super::{DETECTION, platform};
use crate::know::Source;
use crate::policy::ControlPlanePolicy;
use crate::world::{World, manager, node_ready};

#[rstest]
#[case::new("v1.32.0", &[], &[])]
#[case::old("v1.31.9", &[], &["AtRisk info DetectionTooSlow"])]
#[case::flag("v1.33.0", &["--node-monitor-grace-period=40s"], &["Violated warning DetectionTooSlow"])]
#[case::one_second("v1.33.0", &["--node-monitor-grace-period=46s"], &["AtRisk info NarrowMargin"])]
#[case::below_the_margin("v1.33.0", &["--node-monitor-grace-period=49s"], &["AtRisk info NarrowMargin"])]
#[case::at_the_margin("v1.33.0", &["--node-monitor-grace-period=50s"], &[])]
#[case::flag_apart("v1.33.0", &["--node-monitor-grace-period", "1m"], &[])]
#[case::last_wins("v1.33.0", &["--node-monitor-grace-period=20s", "--node-monitor-grace-period=60s"], &[])]
#[case::equal("v1.33.0", &["--node-monitor-grace-period=45s"], &["Violated warning DetectionTooSlow"])]
#[case::zero("v1.33.0", &["--node-monitor-grace-period=0s"], &["Violated warning DetectionTooSlow"])]
#[case::nonsense("v1.33.0", &["--node-monitor-grace-period=soon"], &["Unknown unknown"])]
#[case::other_flag("v1.33.0", &["--node-monitor-grace-period-x=1s"], &[])]
fn detection(#[case] version: &str, #[case] flags: &[&str], #[case] expected: &[&str]) {
    let mut cluster = World::complete()
        .with(Source::Nodes, node_ready("a", "", "True"))
        .with(Source::Pods, manager(version, flags));
    assert_eq!(cluster.found(DETECTION), expected);
}

#[rstest]
#[case::in_a_shell("exec /usr/local/bin/kube-controller-manager --v=2 --node-monitor-grace-period=16s > /p 2>&1", &["Violated warning DetectionTooSlow"])]
#[case::long_enough("exec kube-controller-manager --node-monitor-grace-period=1m", &[])]
#[case::without_the_flag("exec kube-controller-manager --v=2", &[])]
#[case::left_to_the_shell("exec kube-controller-manager $FLAGS", &["Unknown unknown"])]
fn detection_behind_a_shell(#[case] script: &str, #[case] expected: &[&str]) {
    let mut pod = manager("v1.33.0", &[]);
    pod["spec"]["containers"][0]["command"] = json!(["/bin/sh", "-c", script]);
    let mut cluster = World::complete()
        .with(Source::Nodes, node_ready("a", "", "True"))
        .with(Source::Pods, pod);
    assert_eq!(cluster.found(DETECTION), expected);
}

#[rstest]
#[case::handed_on("v1.33.1+k3s1", r#"["server","--kube-controller-manager-arg","node-monitor-grace-period=30s"]"#, &["Violated warning DetectionTooSlow"])]
#[case::long_enough("v1.31.1+k3s1", r#"["server","--kube-controller-manager-arg=node-monitor-grace-period=5m"]"#, &[])]
#[case::nothing_handed_on("v1.31.1+k3s1", r#"["server"]"#, &["AtRisk info DetectionTooSlow"])]
#[case::the_default_of_a_server("v1.33.1+k3s1", r#"["server"]"#, &[])]
#[case::an_agent_says_nothing("v1.33.1+k3s1", r#"["agent"]"#, &["Unknown unknown"])]
#[case::no_list("v1.33.1+k3s1", "server", &["Unknown unknown"])]
#[case::nonsense("v1.33.1+k3s1", r#"["server","--kube-controller-manager-arg=node-monitor-grace-period=soon"]"#, &["Unknown unknown"])]
fn detection_in_k3s(#[case] kubelet: &str, #[case] args: &str, #[case] expected: &[&str]) {
    let mut node = node_ready("a", "", "True");
    node["status"]["nodeInfo"]["kubeletVersion"] = json!(kubelet);
    node["metadata"]["annotations"] = json!({"k3s.io/node-args": args});
    assert_eq!(
        World::complete().with(Source::Nodes, node).found(DETECTION),
        expected
    );
}

fn managed(kubelet: &str) -> World {
    let mut node = node_ready("a", "", "True");
    node["status"]["nodeInfo"]["kubeletVersion"] = json!(kubelet);
    World::complete().with(Source::Nodes, node)
}

#[rstest]
#[case::new(managed("v1.33.1-eks-1"), &["Unknown unknown"])]
#[case::old(managed("v1.31.4-gke.1"), &["AtRisk info DetectionTooSlow"])]
#[case::no_version(managed(""), &["Unknown unknown"])]
#[case::pods_not_read(managed("v1.33.1").unread(Source::Pods), &["Unknown unknown"])]
#[case::declared(
    managed("").unread(Source::Pods).platform(platform(ControlPlanePolicy {
        node_monitor_grace_seconds: Some(40),
        ..ControlPlanePolicy::default()
    })),
    &["Violated warning DetectionTooSlow"]
)]
#[case::declared_clients(
    managed("v1.31.0").platform(platform(ControlPlanePolicy {
        http2_read_idle_seconds: Some(10),
        http2_ping_timeout_seconds: Some(5),
        node_monitor_grace_seconds: Some(20),
        ..ControlPlanePolicy::default()
    })),
    &[]
)]
#[case::no_pings(
    managed("v1.33.0").platform(platform(ControlPlanePolicy {
        http2_read_idle_seconds: Some(0),
        node_monitor_grace_seconds: Some(u32::MAX),
        ..ControlPlanePolicy::default()
    })),
    &["Violated warning NeverDetected"]
)]
#[case::empty(World::complete(), &[])]
fn detection_where_flags_are_hidden(#[case] mut cluster: World, #[case] expected: &[&str]) {
    assert_eq!(cluster.found(DETECTION), expected);
}

#[test]
fn detection_says_both_numbers() {
    let mut cluster = World::complete().with(
        Source::Pods,
        manager("v1.33.0", &["--node-monitor-grace-period=40s"]),
    );
    assert_eq!(
        cluster.message(DETECTION),
        "clients notice a dead connection to the API server after 45 s, but nodes are declared lost after 40 s of silence"
    );
}
