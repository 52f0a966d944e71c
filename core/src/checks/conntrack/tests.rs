use rstest::rstest;
use serde_json::{Value, json};

use crate::dataplane::ProxyMode;
use crate::judge::Setting;
use crate::know::Source;
use crate::policy::{ClusterPolicy, DataPlanePolicy, Door, Range};
use crate::world::{World, app, cilium, kubeadm, node_ready, proxy_config, proxy_pod, rated, service};

const DRIFT: &str = "proxy-config-drift";
const BOUNDS: &str = "proxy-bounds";
const PIN: &str = "ct-port-recycle-pin";
const REUSE: &str = "ipvs-reuse-mode-mismatch";

#[rstest]
#[case::older("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", &[])]
#[case::same_second("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", &[])]
#[case::newer("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", &["AtRisk warning"])]
#[case::no_start("2026-01-02T00:00:00Z", "", &["Unknown unknown"])]
#[case::no_time("", "2026-01-01T00:00:00Z", &["Unknown unknown"])]
fn drift(#[case] written: &str, #[case] started: &str, #[case] expected: &[&str]) {
    let mut cluster = World::complete()
        .with(Source::ConfigMaps, proxy_config("mode: ipvs\n", written))
        .with(Source::Pods, proxy_pod("a", started));
    assert_eq!(cluster.found(DRIFT), expected);
}

#[test]
fn drift_counts_nodes_and_names_the_longest_lag() {
    let mut cluster = World::complete()
        .with(Source::ConfigMaps, proxy_config("", "2026-01-01T01:00:00Z"))
        .with(Source::Pods, proxy_pod("a", "2026-01-01T00:00:00Z"))
        .with(Source::Pods, proxy_pod("b", "2026-01-01T00:59:00Z"))
        .with(Source::Pods, proxy_pod("c", "2026-01-01T02:00:00Z"))
        .with(Source::Pods, proxy_pod("d", ""));
    assert_eq!(
        cluster.message(DRIFT),
        "kube-proxy on 2 nodes (a, b) started up to 3600 s before ConfigMap kube-system/kube-proxy was last written, \
         and may run an earlier text"
    );
}

/// The `DaemonSet` of kube-proxy, by its update strategy and one more argument of its command.
fn proxy_set(strategy: &str, argument: &str) -> Value {
    let mut spec = proxy_pod("", "")["spec"].clone();
    if !argument.is_empty() {
        let command = spec["containers"][0]["command"].as_array_mut().unwrap();
        command.push(json!(argument));
    }
    json!({
        "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "spec": {
            "selector": {"matchLabels": {"k8s-app": "kube-proxy"}},
            "updateStrategy": {"type": strategy},
            "template": {"metadata": {"labels": {"k8s-app": "kube-proxy"}}, "spec": spec},
        },
    })
}

#[rstest]
#[case::differs("OnDelete", "--v=5", "2026-01-01T01:00:00Z", &["AtRisk warning OlderThanTemplate"])]
#[case::the_same("OnDelete", "", "2026-01-01T01:00:00Z", &[])]
#[case::about_to_be_replaced("RollingUpdate", "--v=5", "2026-01-01T01:00:00Z", &[])]
#[case::not_said("", "--v=5", "2026-01-01T01:00:00Z", &[])]
#[case::the_config_map_counts_first("OnDelete", "--v=5", "2025-12-31T00:00:00Z", &["AtRisk warning"])]
fn drift_from_a_template_that_replaces_no_pod(
    #[case] strategy: &str,
    #[case] argument: &str,
    #[case] started: &str,
    #[case] expected: &[&str],
) {
    // The API server gives each Pod a volume of its own, which no template has.
    let mut pod = proxy_pod("a", started);
    let token = json!({"name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
    let mounts = pod["spec"]["containers"][0]["volumeMounts"]
        .as_array_mut()
        .unwrap();
    mounts.push(token);
    let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
    volumes.push(json!({"name": "kube-api-access-x7k2p", "projected": {"sources": []}}));
    let mut cluster = World::complete()
        .with(Source::ConfigMaps, proxy_config("", "2026-01-01T00:00:00Z"))
        .with(Source::DaemonSets, proxy_set(strategy, argument))
        .with(Source::Pods, pod);
    assert_eq!(cluster.found(DRIFT), expected);
    if expected.len() == 1 && started > "2026-01-01T00:00:00Z" {
        assert_eq!(
            cluster.message(DRIFT),
            "kube-proxy on node a differs from the template of DaemonSet kube-system/kube-proxy, which replaces no \
             Pod (updateStrategy OnDelete)"
        );
    }
}

fn pod(container: Value, volume: &Value) -> Value {
    let mut container = container;
    container["name"] = json!("kube-proxy");
    json!({
        "metadata": {"name": "p", "namespace": "kube-system"},
        "spec": {"nodeName": "a", "containers": [container], "volumes": [volume]},
        "status": {"startTime": "2026-01-01T00:00:00Z"},
    })
}

#[rstest]
#[case::flags(json!({"command": ["kube-proxy", "--proxy-mode=ipvs"]}), &[])]
#[case::file_of_the_node(json!({"command": ["kube-proxy", "--config=/etc/p.yaml"]}), &["Unknown unknown"])]
#[case::left_to_a_variable(json!({"command": ["kube-proxy", "--config=$(FILE)"]}), &["Unknown unknown"])]
#[case::in_a_shell(
    json!({
        "command": ["/bin/bash", "-c", "exec kube-proxy --config=/config/config.conf"],
        "volumeMounts": [{"name": "config", "mountPath": "/config/"}],
    }),
    &["AtRisk warning"]
)]
#[case::a_sibling_of_the_mount(
    json!({
        "command": ["kube-proxy", "--config=/config-of-another/config.conf"],
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }),
    &["Unknown unknown"]
)]
fn drift_reads_every_form_of_start(#[case] container: Value, #[case] expected: &[&str]) {
    let mut cluster = World::complete()
        .with(Source::ConfigMaps, proxy_config("", "2026-01-02T00:00:00Z"))
        .with(
            Source::Pods,
            pod(
                container,
                &json!({"name": "config", "configMap": {"name": "kube-proxy"}}),
            ),
        );
    assert_eq!(cluster.found(DRIFT), expected);
}

#[test]
fn drift_needs_config_maps_only_where_one_is_read() {
    let mut cluster = World::complete().unread(Source::ConfigMaps);
    assert!(cluster.found(DRIFT).is_empty());
    let mut cluster = cluster.with(Source::Pods, proxy_pod("a", "2026-01-01T00:00:00Z"));
    assert_eq!(cluster.found(DRIFT), ["Unknown unknown"]);
    assert_eq!(
        World::complete().unread(Source::Pods).found(DRIFT),
        ["Unknown unknown"]
    );
}

fn bounds(mode: Option<ProxyMode>, range: Option<(Option<i64>, Option<i64>)>) -> ClusterPolicy {
    ClusterPolicy {
        data_plane: DataPlanePolicy {
            proxy_mode: mode,
            service_idle_timeout_seconds: range.map(|(minimum, maximum)| Range { minimum, maximum }),
        },
        ..ClusterPolicy::default()
    }
}

#[rstest]
#[case::nothing_declared(bounds(None, None), &[])]
#[case::right_mode(bounds(Some(ProxyMode::Ipvs), None), &[])]
#[case::wrong_mode(bounds(Some(ProxyMode::Nftables), None), &["Violated warning ProxyMode"])]
#[case::open_bounds(bounds(None, Some((None, None))), &[])]
#[case::inclusive(bounds(None, Some((Some(900), Some(900)))), &[])]
#[case::too_short(bounds(None, Some((Some(901), None))), &["Violated warning IdleTimeoutTooShort"])]
#[case::too_long(bounds(None, Some((Some(0), Some(899)))), &["Violated warning IdleTimeoutTooLong"])]
fn bounds_of_the_platform(#[case] wanted: ClusterPolicy, #[case] expected: &[&str]) {
    let mut cluster = kubeadm(2)
        .with(
            Source::ConfigMaps,
            proxy_config("mode: ipvs\nipvs:\n  tcpTimeout: 0s\n", "2026-01-01T00:00:00Z"),
        )
        .platform(wanted);
    assert_eq!(cluster.found(BOUNDS), expected);
}

#[test]
fn bounds_are_unknown_where_nodes_are() {
    let wanted = || bounds(Some(ProxyMode::Ipvs), None);
    assert_eq!(
        World::complete().platform(wanted()).found(BOUNDS),
        ["Unknown unknown"]
    );
    assert_eq!(
        World::complete()
            .unread(Source::Nodes)
            .platform(wanted())
            .found(BOUNDS),
        ["Unknown unknown"]
    );
    assert!(kubeadm(1).found(BOUNDS).is_empty());
    assert_eq!(
        kubeadm(1).unread(Source::ClusterPolicy).found(BOUNDS),
        ["Unknown unknown"]
    );
}

#[rstest]
#[case::slow("v1.14.5", Some(235), &[])]
#[case::fast("v1.14.5", Some(236), &["Violated warning RateAboveThreshold"])]
#[case::huge("v1.14.5", Some(u32::MAX), &["Violated warning RateAboveThreshold"])]
#[case::zero("v1.14.5", Some(0), &[])]
#[case::not_said("v1.14.5", None, &["AtRisk info RateNotDeclared"])]
#[case::old_fast("v1.11.16", Some(1), &["Violated warning RateAboveThreshold"])]
#[case::old_not_said("v1.11.16", None, &["AtRisk warning RateNotDeclared"])]
#[case::fixed("v1.16.0", Some(100_000), &[])]
fn pinned_ports(#[case] version: &str, #[case] rate: Option<u32>, #[case] expected: &[&str]) {
    let mut cluster = cilium(version, &json!({})).policy(rated(Door::Cluster, rate));
    assert_eq!(cluster.found(PIN), expected);
}

#[test]
fn a_pin_names_its_threshold() {
    let mut cluster = cilium("v1.11.16", &json!({})).policy(rated(Door::Cluster, None));
    let message = cluster.message(PIN);
    assert!(
        message.contains("0.65 connections/s") && message.contains("21600 s"),
        "{message}"
    );
}

/// Without replacement kube-proxy carries node ports; with it Cilium does, packet by packet (cilium
/// `Documentation/network/kubernetes/kubeproxy-free.rst`, `bpf/lib/nodeport.h`).
#[rstest]
#[case::nobody_that_is_known_carries_it("false", &["Unknown unknown"])]
#[case::cilium_carries_it("true", &["Violated warning RateAboveThreshold"])]
fn a_client_from_outside_meets_who_carries_node_ports(#[case] replaces: &str, #[case] expected: &[&str]) {
    let cluster = cilium("v1.14.5", &json!({"kube-proxy-replacement": replaces}));
    assert_eq!(
        cluster.policy(rated(Door::LoadBalancer, Some(9999))).found(PIN),
        expected
    );
}

#[rstest]
#[case::grace_zero(
    cilium("v1.14.5", &json!({"bpf-ct-timeout-service-tcp-grace": "0s"})).policy(rated(Door::Cluster, Some(9999)))
)]
#[case::no_cilium(kubeadm(2).with(Source::Services, service("web", json!({}))).policy(rated(Door::Cluster, Some(9999))))]
#[case::no_policy(cilium("v1.11.16", &json!({})))]
fn nothing_is_pinned(#[case] mut cluster: World) {
    assert!(cluster.found(PIN).is_empty(), "{:?}", cluster.found(PIN));
}

fn ipvs(kernel: &str) -> World {
    let mut old = node_ready("node-0", "", "True");
    old["status"]["nodeInfo"]["kernelVersion"] = json!(kernel);
    World::complete()
        .with(
            Source::ConfigMaps,
            proxy_config("mode: ipvs\n", "2026-01-01T00:00:00Z"),
        )
        .with(Source::Pods, proxy_pod("node-0", "2026-01-01T00:01:00Z"))
        .with(Source::Nodes, old)
}

#[rstest]
#[case::new("5.9.0", None, &[])]
#[case::newer("6.1.0-13-amd64", Some(1000), &[])]
#[case::old("5.4.0-150-generic", None, &["AtRisk warning OldBackend"])]
#[case::old_slow("4.19.91-26.al7.x86_64", Some(117), &["AtRisk warning OldBackend"])]
#[case::old_fast("4.19.91-26.al7.x86_64", Some(118), &["Violated warning OldBackend"])]
#[case::ancient("3.10.0-1160.el7.x86_64", None, &["AtRisk warning Delay"])]
#[case::no_kernel("", None, &["Unknown unknown"])]
#[case::nonsense("linux", Some(1000), &["Unknown unknown"])]
fn reused_ports(#[case] kernel: &str, #[case] rate: Option<u32>, #[case] expected: &[&str]) {
    let cluster = ipvs(kernel).with(Source::Services, service("web", json!({})));
    assert_eq!(cluster.policy(rated(Door::Cluster, rate)).found(REUSE), expected);
}

/// A rate that no Service of the cluster takes meets no table, nor does one of a headless Service.
#[rstest]
#[case::no_service(None)]
#[case::headless(Some(json!("None")))]
fn a_rate_that_meets_no_ipvs_is_no_rate(#[case] address: Option<Value>) {
    let mut cluster = ipvs("4.19.0");
    if let Some(address) = address {
        let mut headless = service("web", json!({}));
        headless["spec"]["clusterIP"] = address;
        cluster = cluster.with(Source::Services, headless);
    }
    let mut cluster = cluster.policy(rated(Door::Cluster, Some(1000)));
    assert_eq!(cluster.found(REUSE), ["AtRisk warning OldBackend"]);
}

/// Node ports are IPVS's too.
#[rstest]
#[case::node_port("NodePort", "Violated warning OldBackend")]
#[case::no_way_in("ExternalName", "AtRisk warning OldBackend")]
fn a_rate_from_outside_meets_the_ipvs_of_a_node_port(#[case] kind: &str, #[case] expected: &str) {
    let mut outside = service("web", json!({}));
    outside["spec"]["type"] = json!(kind);
    let cluster = ipvs("4.19.0").with(Source::Services, outside);
    let mut cluster = cluster.policy(rated(Door::LoadBalancer, Some(118)));
    assert_eq!(cluster.found(REUSE), [expected]);
}

/// A Pod with fewer source ports comes round sooner.
#[rstest]
#[case::default_range(None, 117, "AtRisk warning OldBackend")]
#[case::narrow_range(Some("40000 41999"), 8, "AtRisk warning OldBackend")]
#[case::narrow_range_too_fast(Some("40000 41999"), 9, "Violated warning OldBackend")]
#[case::no_range(Some("all of them"), 117, "AtRisk warning OldBackend")]
fn a_pod_has_a_port_range_of_its_own(#[case] range: Option<&str>, #[case] rate: u32, #[case] expected: &str) {
    let mut declared = rated(Door::Cluster, Some(rate));
    declared.connections[0].clients[0].pods = Some(app("cart"));
    let sysctls: Vec<_> = range
        .iter()
        .map(|range| ("net.ipv4.ip_local_port_range", *range))
        .collect();
    let mut cluster = ipvs("4.19.0")
        .with(Source::Services, service("web", json!({})))
        .with(Source::Pods, crate::world::pod("cart", "cart", &sysctls))
        .policy(declared);
    assert_eq!(cluster.found(REUSE), [expected]);
}

#[test]
fn without_policies_an_old_kernel_is_still_reported() {
    let mut cluster = ipvs("4.19.0").unread(Source::Policies);
    assert_eq!(cluster.found(REUSE), ["AtRisk warning OldBackend"]);
}

#[rstest]
fn a_clean_cluster_is_quiet(#[values(0, 1, 3)] nodes: usize) {
    let mut cluster = kubeadm(nodes);
    for check in [DRIFT, BOUNDS, PIN, REUSE] {
        assert!(
            cluster.found(check).is_empty(),
            "{check}: {:?}",
            cluster.found(check)
        );
    }
}

#[rstest]
#[case::read(kubeadm(2), Some(ProxyMode::Nftables), "decide which is right")]
#[case::assumed(cilium("latest", &json!({"kube-proxy-replacement": "false"})), None, "find out what these nodes really run")]
fn what_is_assumed_is_to_be_found_out_first(
    #[case] cluster: World,
    #[case] mode: Option<ProxyMode>,
    #[case] expected: &str,
) {
    let mut cluster = cluster.platform(bounds(mode, Some((Some(1_000_000), None))));
    let advice = cluster.advised(BOUNDS);
    assert!(advice[0].to_string().starts_with(expected), "{advice:?}");
}

/// A whole number of connections can be declared, and below one there is none.
#[rstest]
#[case::many("v1.14.5", &[235])]
#[case::less_than_one("v1.11.16", &[])]
fn the_rate_that_is_advised(#[case] version: &str, #[case] expected: &[u32]) {
    let mut cluster = cilium(version, &json!({})).policy(rated(Door::Cluster, None));
    let set: Vec<_> = cluster
        .advised(PIN)
        .iter()
        .flat_map(|one| &one.changes)
        .map(|change| change.set)
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|rate| Setting::NewConnections(*rate))
        .collect();
    assert_eq!(set, expected);
}
