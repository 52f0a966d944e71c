use rstest::rstest;
use serde_json::{Value, json};

use crate::handle::Input;
use crate::index::{Freshness, Part};
use crate::know::Source;
use crate::policy::{Door, ServicePick};
use crate::world::{World, dns, dns_pod, kubeadm, node_ready, proxy_pod, rated, slice_in};

const ZONE: &str = "node-zone-disruption";
const CORDON: &str = "cordon-lb-safety";
const DNS: &str = "dns-n1-headroom";

fn zone(states: &[(&str, usize)]) -> World {
    let states = states
        .iter()
        .flat_map(|(state, count)| std::iter::repeat_n(*state, *count));
    states
        .enumerate()
        .fold(World::complete(), |cluster, (at, state)| {
            cluster.with(Source::Nodes, node_ready(&format!("n{at}"), "z", state))
        })
}

#[rstest]
#[case::all_ready(&[("True", 10)], &[])]
#[case::one_of_ten(&[("True", 9), ("False", 1)], &[])]
#[case::two_of_three(&[("True", 1), ("False", 2)], &["AtRisk warning OneNodeShort"])]
#[case::two_of_four(&[("True", 2), ("False", 2)], &["AtRisk warning OneNodeShort"])]
#[case::just_below(&[("True", 46), ("Unknown", 54)], &["AtRisk warning OneNodeShort"])]
#[case::just_at(&[("True", 45), ("Unknown", 54), ("False", 1)], &["Violated critical PartialDisruption"])]
#[case::all_of_three(&[("False", 3)], &["Violated critical FullDisruption"])]
#[case::one_of_three(&[("True", 2), ("False", 1)], &[])]
#[case::one_of_two(&[("True", 1), ("False", 1)], &["AtRisk warning OneNodeShort"])]
#[case::one_of_one(&[("Unknown", 1)], &["Violated critical FullDisruption"])]
#[case::two_of_two(&[("False", 2)], &["Violated critical FullDisruption"])]
#[case::nonsense(&[("Maybe", 3)], &["Violated critical FullDisruption"])]
#[case::many(&[("True", 2000), ("Unknown", 3000)], &["Violated critical PartialDisruption"])]
fn zones(#[case] states: &[(&str, usize)], #[case] expected: &[&str]) {
    assert_eq!(zone(states).found(ZONE), expected);
}

#[test]
fn zones_are_judged_one_by_one() {
    let mut cluster = zone(&[("True", 5)])
        .with(Source::Nodes, node_ready("x1", "other", "False"))
        .with(Source::Nodes, node_ready("x2", "other", "False"))
        .with(Source::Nodes, node_ready("x3", "other", "Unknown"));
    assert_eq!(cluster.found(ZONE), ["Violated critical FullDisruption"]);
    assert_eq!(
        cluster.message(ZONE),
        "3 of 3 nodes of this zone are not Ready (100 %): the zone is lost, or cut off from the control plane"
    );
}

#[test]
fn zones_of_one_name_in_two_regions_are_two() {
    let in_region = |name: &str, region: &str, state: &str| {
        let mut node = node_ready(name, "1", state);
        node["metadata"]["labels"]["topology.kubernetes.io/region"] = json!(region);
        node
    };
    let mut cluster = World::complete();
    for at in 0..3 {
        cluster = cluster
            .with(Source::Nodes, in_region(&format!("w{at}"), "west", "False"))
            .with(Source::Nodes, in_region(&format!("e{at}"), "east", "True"))
            .with(Source::Nodes, in_region(&format!("f{at}"), "east", "True"));
    }
    assert_eq!(cluster.found(ZONE), ["Violated critical FullDisruption"]);
}

#[test]
fn zones_need_nodes() {
    assert!(World::complete().found(ZONE).is_empty());
    assert_eq!(
        World::complete().unread(Source::Nodes).found(ZONE),
        ["Unknown unknown"]
    );
}

fn balancer(kind: &str, policy: &str) -> Value {
    json!({
        "metadata": {"name": "edge", "namespace": "shop"},
        "spec": {
            "type": kind, "clusterIP": "10.0.0.2", "externalTrafficPolicy": policy, "selector": {"app": "edge"},
            "ports": [{"port": 443}],
        },
    })
}

/// Nodes a (fine), b (cordoned), c (not ready), d (excluded from load balancers), e (fine), f and g (taken away by Cluster
/// Autoscaler and by Karpenter).
fn edge(kind: &str, policy: &str, endpoints: &[(&str, &str, bool)]) -> World {
    let mut cordoned = node_ready("b", "", "True");
    cordoned["spec"]["unschedulable"] = json!(true);
    let mut excluded = node_ready("d", "", "True");
    excluded["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"] = json!("");
    let slices = slice_in("shop", "edge", endpoints);
    let tainted = |name: &str, key: &str| {
        let mut node = node_ready(name, "", "True");
        node["spec"]["taints"] = json!([{"key": key, "effect": "NoSchedule"}]);
        node
    };
    [
        node_ready("a", "", "True"),
        cordoned,
        node_ready("c", "", "Unknown"),
        excluded,
        node_ready("e", "", "True"),
        tainted("f", "ToBeDeletedByClusterAutoscaler"),
        tainted("g", "karpenter.sh/disrupted"),
    ]
    .into_iter()
    .fold(World::complete(), |cluster, node| {
        cluster.with(Source::Nodes, node)
    })
    .with(Source::Services, balancer(kind, policy))
    .with(Source::EndpointSlices, slices)
}

#[rstest]
#[case::two_left(&[("10.1.0.1", "a", true), ("10.1.0.2", "e", true)], &[])]
#[case::one_left(&[("10.1.0.1", "a", true), ("10.1.0.2", "b", true)], &["AtRisk warning OneLeft"])]
#[case::one_node(&[("10.1.0.1", "a", true), ("10.1.0.2", "a", true)], &["AtRisk info OneNode"])]
#[case::the_other_is_not_ready(&[("10.1.0.1", "a", true), ("10.1.0.2", "e", false)], &["AtRisk info OneNode"])]
#[case::cordoned(&[("10.1.0.1", "b", true)], &["Violated warning NoneLeft"])]
#[case::down(&[("10.1.0.1", "c", true)], &["Violated warning NoneLeft"])]
#[case::excluded(&[("10.1.0.1", "d", true)], &["Violated warning NoneServed"])]
#[case::one_is_excluded(&[("10.1.0.1", "a", true), ("10.1.0.2", "d", true)], &["AtRisk warning OneLeft"])]
#[case::excluded_and_cordoned(&[("10.1.0.1", "b", true), ("10.1.0.2", "d", true)], &["Violated warning NoneLeft"])]
#[case::taken_by_the_autoscaler(&[("10.1.0.1", "f", true)], &["Violated warning NoneLeft"])]
#[case::taken_by_karpenter(&[("10.1.0.1", "g", true)], &["Violated warning NoneLeft"])]
#[case::node_is_gone(&[("10.1.0.1", "gone", true)], &["Violated warning NoneServed"])]
#[case::nobody(&[], &[])]
#[case::nobody_ready(&[("10.1.0.1", "a", false)], &[])]
fn local_balancers(#[case] endpoints: &[(&str, &str, bool)], #[case] expected: &[&str]) {
    assert_eq!(edge("LoadBalancer", "Local", endpoints).found(CORDON), expected);
    assert!(
        edge("LoadBalancer", "Cluster", endpoints)
            .found(CORDON)
            .is_empty()
    );
}

#[rstest]
#[case::cordoned(&[("10.1.0.1", "b", true)], &["Violated warning NoneLeft"])]
#[case::one_left(&[("10.1.0.1", "a", true), ("10.1.0.2", "b", true)], &["AtRisk warning OneLeft"])]
#[case::the_label_is_for_balancers(&[("10.1.0.1", "a", true), ("10.1.0.2", "d", true)], &[])]
fn local_node_ports(#[case] endpoints: &[(&str, &str, bool)], #[case] expected: &[&str]) {
    assert_eq!(edge("NodePort", "Local", endpoints).found(CORDON), expected);
}

#[test]
fn a_balancer_that_sends_to_pods_asks_no_node() {
    let mut edge = balancer("LoadBalancer", "Local");
    edge["metadata"]["annotations"] = json!({"service.beta.kubernetes.io/aws-load-balancer-type": "nlb-ip"});
    let mut cordoned = node_ready("a", "", "True");
    cordoned["spec"]["unschedulable"] = json!(true);
    let mut cluster = World::complete()
        .with(Source::Nodes, cordoned)
        .with(Source::Nodes, node_ready("b", "", "True"))
        .with(Source::Services, edge)
        .with(
            Source::EndpointSlices,
            slice_in("shop", "edge", &[("10.1.0.1", "a", true)]),
        );
    assert!(cluster.found(CORDON).is_empty());
}

#[test]
fn an_endpoint_without_a_node_cannot_be_counted() {
    let mut cluster = edge(
        "LoadBalancer",
        "Local",
        &[("10.1.0.1", "", true), ("10.1.0.2", "a", true)],
    );
    assert!(cluster.found(CORDON).is_empty(), "no policy asks about it");
    let mut asked = rated(Door::LoadBalancer, None);
    asked.services = ServicePick::Names(vec!["edge".into()]);
    assert_eq!(cluster.policy(asked).found(CORDON), ["Unknown unknown"]);
}

#[test]
fn a_single_node_cannot_do_better() {
    let mut cluster = kubeadm(1)
        .with(Source::Services, balancer("LoadBalancer", "Local"))
        .with(
            Source::EndpointSlices,
            slice_in("shop", "edge", &[("10.1.0.1", "node-0", true)]),
        );
    assert!(cluster.found(CORDON).is_empty());
}

fn resolver(nodes: usize, replicas: u32, ready: u32, on: &[&str]) -> World {
    let mut cluster = World::complete().with(Source::Deployments, dns(replicas, ready));
    for at in 0..nodes {
        cluster = cluster.with(Source::Nodes, node_ready(&format!("n{at}"), "", "True"));
    }
    for (at, node) in on.iter().enumerate() {
        cluster = cluster.with(Source::Pods, dns_pod(&format!("coredns-{at}"), node));
    }
    cluster
}

/// CoreDNS as it is written before it is applied, and Pods of it on one node.
fn manifest(ready: &[&str]) -> World {
    let mut set = dns(2, 0);
    set.as_object_mut().unwrap().remove("status");
    let mut cluster = resolver(3, 2, 0, &[]).with(Source::Deployments, set);
    for (at, ready) in ready.iter().enumerate() {
        let mut pod = dns_pod(&format!("coredns-{at}"), "n0");
        pod["status"]["conditions"][0]["status"] = json!(ready);
        cluster = cluster.with(Source::Pods, pod);
    }
    cluster
}

#[rstest]
#[case::spread(resolver(3, 2, 2, &["n0", "n1"]), &[])]
#[case::on_both_of_two_nodes(resolver(2, 2, 2, &["n0", "n1"]), &[])]
#[case::one_node(resolver(3, 2, 2, &["n0", "n0"]), &["AtRisk info OneNode"])]
#[case::one_node_beside_others(
    resolver(3, 2, 2, &["n0", "n0"]).with(Source::Pods, proxy_pod("n1", "2026-01-01T00:00:00Z")),
    &["AtRisk info OneNode"]
)]
#[case::one_replica(resolver(3, 1, 1, &["n0"]), &["AtRisk warning OneReplica"])]
#[case::one_replica_on_one_node(resolver(1, 1, 1, &["n0"]), &["AtRisk info SingleNode"])]
#[case::not_all_on_one_node(resolver(1, 2, 1, &["n0"]), &["AtRisk info SingleNode"])]
#[case::two_on_one_node(resolver(1, 2, 2, &["n0", "n0"]), &["AtRisk info SingleNode"])]
#[case::one_of_ten(resolver(3, 10, 1, &["n0"]), &["Violated critical FewLeft"])]
#[case::one_of_four(resolver(3, 4, 1, &["n0"]), &["Violated critical FewLeft"])]
#[case::one_of_three(resolver(3, 3, 1, &["n0"]), &["AtRisk warning NotAllReady"])]
#[case::nine_of_ten(resolver(3, 10, 9, &["n0"]), &["AtRisk warning NotAllReady"])]
#[case::of_many_one_always_moves(resolver(3, 120, 119, &["n0"]), &["AtRisk info NotAllReady"])]
#[case::not_all(resolver(3, 3, 2, &["n0", "n1"]), &["AtRisk warning NotAllReady"])]
#[case::none(resolver(3, 2, 0, &[]), &["Violated critical NoneReady"])]
#[case::scaled_to_zero(resolver(3, 0, 0, &[]), &["Violated critical NoneReady"])]
#[case::a_manifest_beside_other_pods(manifest(&[]), &["Unknown unknown"])]
#[case::a_manifest_and_its_pods(manifest(&["False"]), &["Violated critical NoneReady"])]
#[case::a_manifest_and_ready_pods(manifest(&["True", "True"]), &["AtRisk info OneNode"])]
#[case::status_is_late(resolver(3, 2, 0, &["n0", "n1"]), &[])]
#[case::more_ready_than_asked(resolver(3, 2, u32::MAX, &["n0", "n1"]), &[])]
#[case::huge(resolver(3, u32::MAX, 1, &["n0"]), &["Violated critical FewLeft"])]
#[case::no_dns(World::complete(), &[])]
#[case::a_manifest_without_status(resolver(3, 2, 0, &[]).unread(Source::Pods), &["Unknown unknown"])]
#[case::no_nodes_read(resolver(0, 1, 1, &["n0"]).unread(Source::Nodes), &["Unknown unknown"])]
fn resolvers(#[case] mut cluster: World, #[case] expected: &[&str]) {
    assert_eq!(cluster.found(DNS), expected);
}

/// The Service of cluster DNS and its endpoints, beside a Deployment of so many replicas.
fn served(replicas: u32, endpoints: &[(&str, &str, bool)]) -> World {
    resolver(3, replicas, replicas, &["n0", "n1"])
        .with(
            Source::Services,
            json!({
                "metadata": {"name": "kube-dns", "namespace": "kube-system"},
                "spec": {"clusterIP": "10.96.0.10", "selector": {"k8s-app": "kube-dns"}, "ports": [{"port": 53}]},
            }),
        )
        .with(Source::EndpointSlices, slice_in("kube-system", "kube-dns", endpoints))
}

#[rstest]
#[case::well(served(2, &[("10.1.0.1", "n0", true), ("10.1.0.2", "n1", true)]), &[])]
#[case::another_workload_serves(served(0, &[("10.1.0.1", "n0", true), ("10.1.0.2", "n1", true)]), &[])]
#[case::the_service_selects_nothing(served(2, &[]), &["Violated critical NoEndpoints"])]
#[case::one_of_two(served(2, &[("10.1.0.1", "n0", true), ("10.1.0.2", "n1", false)]), &["AtRisk warning NotAllReady"])]
#[case::one_of_five(served(5, &[("10.1.0.1", "n0", true)]), &["Violated critical FewLeft"])]
#[case::all_on_one_node(served(2, &[("10.1.0.1", "n0", true), ("10.1.0.2", "n0", true)]), &["AtRisk info OneNode"])]
#[case::nearly_all_on_one_node(
    served(2, &[("10.1.0.1", "n0", true), ("10.1.0.2", "n0", true), ("10.1.0.3", "n0", true), ("10.1.0.4", "n1", true)]),
    &["AtRisk info OneNode"]
)]
#[case::a_third_starts_in_a_rollout(
    served(2, &[("10.1.0.1", "n0", true), ("10.1.0.2", "n1", true), ("10.1.0.3", "n1", false)]),
    &[]
)]
#[case::too_many_start_for_a_rollout(
    served(2, &[
        ("10.1.0.1", "n0", true), ("10.1.0.2", "n1", true), ("10.1.0.3", "n1", false), ("10.1.0.4", "n1", false),
    ]),
    &["AtRisk warning NotAllReady"]
)]
#[case::endpoints_were_not_read(served(2, &[]).unread(Source::EndpointSlices), &[])]
#[case::nothing_but_endpoints(
    served(2, &[("10.1.0.1", "n0", false)]).unread(Source::Deployments).unread(Source::Pods),
    &["Violated critical NoneReady"]
)]
fn what_the_service_says_counts(#[case] mut cluster: World, #[case] expected: &[&str]) {
    assert_eq!(cluster.found(DNS), expected);
}

#[test]
fn a_service_that_was_not_read_hides_none_that_was() {
    let service = json!({
        "metadata": {"name": "dns-default", "namespace": "openshift-dns"},
        "spec": {"clusterIP": "172.30.0.10", "selector": {"dns": "default"}, "ports": [{"port": 53}]},
    });
    let slice = slice_in("openshift-dns", "dns-default", &[("10.1.0.1", "n0", false)]);
    let mut cluster = resolver(3, 2, 2, &["n0", "n1"])
        .with(Source::Services, service)
        .with(Source::EndpointSlices, slice);
    let elsewhere = Freshness::unreadable("missing right: list services");
    cluster.input(Input::Freshness(Source::Services, Part::Whole, elsewhere));
    let here = Part::Namespace("openshift-dns");
    cluster.input(Input::Freshness(Source::Services, here, Freshness::Complete));
    assert_eq!(cluster.found(DNS), ["Violated critical NoEndpoints"]);
}

#[test]
fn a_foreign_coredns_is_not_cluster_dns() {
    let mut other = dns(1, 0);
    other["metadata"]["namespace"] = json!("team");
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "coredns"});
    assert!(
        World::complete()
            .with(Source::Deployments, other)
            .found(DNS)
            .is_empty()
    );
}

/// A Deployment of kube-system is cluster DNS by its name or by the label of its Pods.
#[rstest]
#[case::by_both("coredns", "kube-dns", &["Violated critical NoneReady"])]
#[case::by_name("coredns", "other", &["Violated critical NoneReady"])]
#[case::by_label("rke2-coredns", "kube-dns", &["Violated critical NoneReady"])]
#[case::by_neither("metrics-server", "metrics-server", &[])]
fn cluster_dns_is_found(#[case] name: &str, #[case] label: &str, #[case] expected: &[&str]) {
    let mut set = dns(2, 0);
    set["metadata"]["name"] = json!(name);
    set["spec"]["template"]["metadata"]["labels"]["k8s-app"] = json!(label);
    let mut cluster = resolver(3, 2, 2, &[]).unread(Source::Deployments);
    cluster.list(Source::Deployments, &[&set]);
    assert_eq!(cluster.found(DNS), expected);
}

/// What a person reads of each cause, and what is the first step.
#[rstest]
#[case::one_node(&[("10.1.0.1", "a", true)], "all ready backends are on node a", "do not drain a")]
#[case::none_left(&[("10.1.0.1", "b", true)], "the only node with a ready backend does not stay: 1 leaving; then nothing", "uncordon a node")]
#[case::none_served(&[("10.1.0.1", "d", true)], "nothing reaches it from outside", "run backends on nodes without")]
#[case::one_left(&[("10.1.0.1", "a", true), ("10.1.0.2", "b", true)], "only a of 2 nodes with a ready backend stays: 1 leaving", "uncordon a node")]
fn a_balancer_with_few_nodes_says_why(
    #[case] endpoints: &[(&str, &str, bool)],
    #[case] message: &str,
    #[case] advice: &str,
) {
    let found = edge("LoadBalancer", "Local", endpoints).findings(CORDON);
    assert!(found[0].message.contains(message), "{}", found[0].message);
    assert!(found[0].advice[0].starts_with(advice), "{:?}", found[0].advice);
}

#[rstest]
fn a_clean_cluster_is_quiet(#[values(0, 1, 3)] nodes: usize) {
    let mut cluster = kubeadm(nodes);
    for check in [ZONE, CORDON] {
        assert!(
            cluster.found(check).is_empty(),
            "{check}: {:?}",
            cluster.found(check)
        );
    }
    // Both Pods of CoreDNS land on the first node there is.
    let expected = if nodes > 1 {
        "AtRisk info OneNode"
    } else {
        "AtRisk info SingleNode"
    };
    assert_eq!(cluster.found(DNS), [expected]);
}

/// Bytes that the largest Pod of cluster DNS holds, of a limit as it is written.
#[rstest]
#[case::room(42, "170Mi", "")]
#[case::with_twice_the_load_it_is_killed(70, "170Mi", "AtRisk warning LittleMemory")]
#[case::by_gibibytes(300, "1Gi", "AtRisk warning LittleMemory")]
#[case::in_bytes(20, "100000000", "")]
#[case::no_limit(4000, "", "")]
fn memory_of_cluster_dns(#[case] mebibytes: u32, #[case] limit: &str, #[case] expected: &str) {
    use crate::sample::{Metric, Observer, PageScope, SampleSubject};
    let mut set = dns(2, 2);
    let limits = if limit.is_empty() {
        json!({})
    } else {
        json!({"memory": limit})
    };
    set["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "coredns", "image": "coredns", "resources": {"limits": limits}}]);
    let mut world = World::complete().with(Source::Deployments, set);
    for at in 0..2 {
        world = world
            .with(Source::Nodes, node_ready(&format!("node-{at}"), "", "True"))
            .with(
                Source::Pods,
                dns_pod(&format!("coredns-{at}"), &format!("node-{at}")),
            );
    }
    assert_eq!(world.says(DNS), "", "not measured");
    world.input(Input::Observers(&[Observer::Prometheus]));
    let held = f64::from(mebibytes) * 1_048_576.0;
    world.measure(
        Observer::Prometheus,
        PageScope::Cluster,
        &[(Metric::DnsMemory, SampleSubject::Cluster, held)],
    );
    assert_eq!(world.says(DNS), expected);
}
