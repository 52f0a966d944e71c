use rstest::rstest;
use serde_json::{Value, json};

use crate::checks::cluster_fixture::{Cluster, dns, dns_pod, kubeadm, node, policy, slice};
use crate::know::Source;
use crate::policy::{Door, ServicePick};

const ZONE: &str = "node-zone-disruption";
const CORDON: &str = "cordon-lb-safety";
const DNS: &str = "dns-n1-headroom";

fn zone(states: &[(&str, usize)]) -> Cluster {
    let states = states
        .iter()
        .flat_map(|(state, count)| std::iter::repeat_n(*state, *count));
    states.enumerate().fold(Cluster::empty(), |cluster, (at, state)| {
        cluster.with(Source::Nodes, node(&format!("n{at}"), "z", state))
    })
}

#[rstest]
#[case::all_ready(&[("True", 10)], &[])]
#[case::one_of_ten(&[("True", 9), ("False", 1)], &[])]
#[case::two_of_three(&[("True", 1), ("False", 2)], &["AtRisk OneNodeShort warning"])]
#[case::two_of_four(&[("True", 2), ("False", 2)], &["AtRisk OneNodeShort warning"])]
#[case::just_below(&[("True", 46), ("Unknown", 54)], &["AtRisk OneNodeShort warning"])]
#[case::just_at(&[("True", 45), ("Unknown", 54), ("False", 1)], &["Violated PartialDisruption critical"])]
#[case::all_of_three(&[("False", 3)], &["Violated FullDisruption critical"])]
#[case::one_of_three(&[("True", 2), ("False", 1)], &[])]
#[case::one_of_two(&[("True", 1), ("False", 1)], &["AtRisk OneNodeShort warning"])]
#[case::one_of_one(&[("Unknown", 1)], &["Violated FullDisruption critical"])]
#[case::two_of_two(&[("False", 2)], &["Violated FullDisruption critical"])]
#[case::nonsense(&[("Maybe", 3)], &["Violated FullDisruption critical"])]
#[case::many(&[("True", 2000), ("Unknown", 3000)], &["Violated PartialDisruption critical"])]
fn zones(#[case] states: &[(&str, usize)], #[case] expected: &[&str]) {
    assert_eq!(zone(states).says(ZONE), expected);
}

#[test]
fn zones_are_judged_one_by_one() {
    let cluster = zone(&[("True", 5)])
        .with(Source::Nodes, node("x1", "other", "False"))
        .with(Source::Nodes, node("x2", "other", "False"))
        .with(Source::Nodes, node("x3", "other", "Unknown"));
    assert_eq!(cluster.says(ZONE), ["Violated FullDisruption critical"]);
    assert_eq!(
        cluster.message(ZONE),
        "3 of 3 nodes of this zone are not Ready (100 %): the zone is lost, or cut off from the control plane"
    );
}

#[test]
fn zones_of_one_name_in_two_regions_are_two() {
    let in_region = |name: &str, region: &str, state: &str| {
        let mut node = node(name, "1", state);
        node["metadata"]["labels"]["topology.kubernetes.io/region"] = json!(region);
        node
    };
    let mut cluster = Cluster::empty();
    for at in 0..3 {
        cluster = cluster
            .with(Source::Nodes, in_region(&format!("w{at}"), "west", "False"))
            .with(Source::Nodes, in_region(&format!("e{at}"), "east", "True"))
            .with(Source::Nodes, in_region(&format!("f{at}"), "east", "True"));
    }
    assert_eq!(cluster.says(ZONE), ["Violated FullDisruption critical"]);
}

#[test]
fn zones_need_nodes() {
    assert!(Cluster::empty().says(ZONE).is_empty());
    assert_eq!(
        Cluster::empty().without(Source::Nodes).says(ZONE),
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
fn edge(kind: &str, policy: &str, endpoints: &[(&str, &str, bool)]) -> Cluster {
    let mut cordoned = node("b", "", "True");
    cordoned["spec"]["unschedulable"] = json!(true);
    let mut excluded = node("d", "", "True");
    excluded["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"] = json!("");
    let slices = slice("shop", "edge", endpoints);
    let tainted = |name: &str, key: &str| {
        let mut node = node(name, "", "True");
        node["spec"]["taints"] = json!([{"key": key, "effect": "NoSchedule"}]);
        node
    };
    [
        node("a", "", "True"),
        cordoned,
        node("c", "", "Unknown"),
        excluded,
        node("e", "", "True"),
        tainted("f", "ToBeDeletedByClusterAutoscaler"),
        tainted("g", "karpenter.sh/disrupted"),
    ]
    .into_iter()
    .fold(Cluster::empty(), |cluster, node| {
        cluster.with(Source::Nodes, node)
    })
    .with(Source::Services, balancer(kind, policy))
    .with(Source::EndpointSlices, slices)
}

#[rstest]
#[case::two_left(&[("10.1.0.1", "a", true), ("10.1.0.2", "e", true)], &[])]
#[case::one_left(&[("10.1.0.1", "a", true), ("10.1.0.2", "b", true)], &["AtRisk OneLeft warning"])]
#[case::one_node(&[("10.1.0.1", "a", true), ("10.1.0.2", "a", true)], &["AtRisk OneNode info"])]
#[case::the_other_is_not_ready(&[("10.1.0.1", "a", true), ("10.1.0.2", "e", false)], &["AtRisk OneNode info"])]
#[case::cordoned(&[("10.1.0.1", "b", true)], &["Violated NoneLeft warning"])]
#[case::down(&[("10.1.0.1", "c", true)], &["Violated NoneLeft warning"])]
#[case::excluded(&[("10.1.0.1", "d", true)], &["Violated NoneServed warning"])]
#[case::one_is_excluded(&[("10.1.0.1", "a", true), ("10.1.0.2", "d", true)], &["AtRisk OneLeft warning"])]
#[case::excluded_and_cordoned(&[("10.1.0.1", "b", true), ("10.1.0.2", "d", true)], &["Violated NoneLeft warning"])]
#[case::taken_by_the_autoscaler(&[("10.1.0.1", "f", true)], &["Violated NoneLeft warning"])]
#[case::taken_by_karpenter(&[("10.1.0.1", "g", true)], &["Violated NoneLeft warning"])]
#[case::node_is_gone(&[("10.1.0.1", "gone", true)], &["Violated NoneServed warning"])]
#[case::nobody(&[], &[])]
#[case::nobody_ready(&[("10.1.0.1", "a", false)], &[])]
fn local_balancers(#[case] endpoints: &[(&str, &str, bool)], #[case] expected: &[&str]) {
    assert_eq!(edge("LoadBalancer", "Local", endpoints).says(CORDON), expected);
    assert!(edge("LoadBalancer", "Cluster", endpoints).says(CORDON).is_empty());
}

#[rstest]
#[case::cordoned(&[("10.1.0.1", "b", true)], &["Violated NoneLeft warning"])]
#[case::one_left(&[("10.1.0.1", "a", true), ("10.1.0.2", "b", true)], &["AtRisk OneLeft warning"])]
#[case::the_label_is_for_balancers(&[("10.1.0.1", "a", true), ("10.1.0.2", "d", true)], &[])]
fn local_node_ports(#[case] endpoints: &[(&str, &str, bool)], #[case] expected: &[&str]) {
    assert_eq!(edge("NodePort", "Local", endpoints).says(CORDON), expected);
}

#[test]
fn a_balancer_that_sends_to_pods_asks_no_node() {
    let mut edge = balancer("LoadBalancer", "Local");
    edge["metadata"]["annotations"] = json!({"service.beta.kubernetes.io/aws-load-balancer-type": "nlb-ip"});
    let mut cordoned = node("a", "", "True");
    cordoned["spec"]["unschedulable"] = json!(true);
    let cluster = Cluster::empty()
        .with(Source::Nodes, cordoned)
        .with(Source::Nodes, node("b", "", "True"))
        .with(Source::Services, edge)
        .with(
            Source::EndpointSlices,
            slice("shop", "edge", &[("10.1.0.1", "a", true)]),
        );
    assert!(cluster.says(CORDON).is_empty());
}

#[test]
fn an_endpoint_without_a_node_cannot_be_counted() {
    let cluster = edge(
        "LoadBalancer",
        "Local",
        &[("10.1.0.1", "", true), ("10.1.0.2", "a", true)],
    );
    assert!(cluster.says(CORDON).is_empty(), "without a policy nobody asked");
    let mut asked = policy(Door::LoadBalancer, None);
    asked.services = ServicePick::Names(vec!["edge".into()]);
    assert_eq!(cluster.policy(asked).says(CORDON), ["Unknown unknown"]);
}

#[test]
fn a_single_node_cannot_do_better() {
    let cluster = kubeadm(1)
        .with(Source::Services, balancer("LoadBalancer", "Local"))
        .with(
            Source::EndpointSlices,
            slice("shop", "edge", &[("10.1.0.1", "node-0", true)]),
        );
    assert!(cluster.says(CORDON).is_empty());
}

fn resolver(nodes: usize, replicas: u32, ready: u32, on: &[&str]) -> Cluster {
    let mut cluster = Cluster::empty().with(Source::Deployments, dns(replicas, ready));
    for at in 0..nodes {
        cluster = cluster.with(Source::Nodes, node(&format!("n{at}"), "", "True"));
    }
    for (at, node) in on.iter().enumerate() {
        cluster = cluster.with(Source::Pods, dns_pod(&format!("coredns-{at}"), node));
    }
    cluster
}

/// CoreDNS as it is written before it is applied, and Pods of it on one node.
fn manifest(ready: &[&str]) -> Cluster {
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
#[case::one_node(resolver(3, 2, 2, &["n0", "n0"]), &["AtRisk OneNode info"])]
#[case::one_replica(resolver(3, 1, 1, &["n0"]), &["AtRisk OneReplica warning"])]
#[case::one_replica_on_one_node(resolver(1, 1, 1, &["n0"]), &["AtRisk SingleNode info"])]
#[case::not_all_on_one_node(resolver(1, 2, 1, &["n0"]), &["AtRisk SingleNode info"])]
#[case::two_on_one_node(resolver(1, 2, 2, &["n0", "n0"]), &["AtRisk SingleNode info"])]
#[case::one_of_ten(resolver(3, 10, 1, &["n0"]), &["Violated FewLeft critical"])]
#[case::one_of_four(resolver(3, 4, 1, &["n0"]), &["Violated FewLeft critical"])]
#[case::one_of_three(resolver(3, 3, 1, &["n0"]), &["AtRisk NotAllReady warning"])]
#[case::nine_of_ten(resolver(3, 10, 9, &["n0"]), &["AtRisk NotAllReady warning"])]
#[case::of_many_one_always_moves(resolver(3, 120, 119, &["n0"]), &["AtRisk NotAllReady info"])]
#[case::not_all(resolver(3, 3, 2, &["n0", "n1"]), &["AtRisk NotAllReady warning"])]
#[case::none(resolver(3, 2, 0, &[]), &["Violated NoneReady critical"])]
#[case::scaled_to_zero(resolver(3, 0, 0, &[]), &["Violated NoneReady critical"])]
#[case::a_manifest_beside_other_pods(manifest(&[]), &["Unknown unknown"])]
#[case::a_manifest_and_its_pods(manifest(&["False"]), &["Violated NoneReady critical"])]
#[case::a_manifest_and_ready_pods(manifest(&["True", "True"]), &["AtRisk OneNode info"])]
#[case::status_is_late(resolver(3, 2, 0, &["n0", "n1"]), &[])]
#[case::more_ready_than_asked(resolver(3, 2, u32::MAX, &["n0", "n1"]), &[])]
#[case::huge(resolver(3, u32::MAX, 1, &["n0"]), &["Violated FewLeft critical"])]
#[case::no_dns(Cluster::empty(), &[])]
#[case::a_manifest_without_status(resolver(3, 2, 0, &[]).without(Source::Pods), &["Unknown unknown"])]
#[case::no_nodes_read(resolver(0, 1, 1, &["n0"]).without(Source::Nodes), &["Unknown unknown"])]
fn resolvers(#[case] cluster: Cluster, #[case] expected: &[&str]) {
    assert_eq!(cluster.says(DNS), expected);
}

/// The Service of cluster DNS and its endpoints, beside a Deployment of so many replicas.
fn served(replicas: u32, endpoints: &[(&str, &str, bool)]) -> Cluster {
    resolver(3, replicas, replicas, &["n0", "n1"])
        .with(
            Source::Services,
            json!({
                "metadata": {"name": "kube-dns", "namespace": "kube-system"},
                "spec": {"clusterIP": "10.96.0.10", "selector": {"k8s-app": "kube-dns"}, "ports": [{"port": 53}]},
            }),
        )
        .with(Source::EndpointSlices, slice("kube-system", "kube-dns", endpoints))
}

#[rstest]
#[case::well(served(2, &[("10.1.0.1", "n0", true), ("10.1.0.2", "n1", true)]), &[])]
#[case::another_workload_serves(served(0, &[("10.1.0.1", "n0", true), ("10.1.0.2", "n1", true)]), &[])]
#[case::the_service_selects_nothing(served(2, &[]), &["Violated NoEndpoints critical"])]
#[case::one_of_two(served(2, &[("10.1.0.1", "n0", true), ("10.1.0.2", "n1", false)]), &["AtRisk NotAllReady warning"])]
#[case::one_of_five(served(5, &[("10.1.0.1", "n0", true)]), &["Violated FewLeft critical"])]
#[case::all_on_one_node(served(2, &[("10.1.0.1", "n0", true), ("10.1.0.2", "n0", true)]), &["AtRisk OneNode info"])]
#[case::nearly_all_on_one_node(
    served(2, &[("10.1.0.1", "n0", true), ("10.1.0.2", "n0", true), ("10.1.0.3", "n0", true), ("10.1.0.4", "n1", true)]),
    &["AtRisk OneNode info"]
)]
#[case::endpoints_were_not_read(served(2, &[]).without(Source::EndpointSlices), &[])]
#[case::nothing_but_endpoints(
    served(2, &[("10.1.0.1", "n0", false)]).without(Source::Deployments).without(Source::Pods),
    &["Violated NoneReady critical"]
)]
fn what_the_service_says_counts(#[case] cluster: Cluster, #[case] expected: &[&str]) {
    assert_eq!(cluster.says(DNS), expected);
}

#[test]
fn a_foreign_coredns_is_not_cluster_dns() {
    let mut other = dns(1, 0);
    other["metadata"]["namespace"] = json!("team");
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "coredns"});
    assert!(
        Cluster::empty()
            .with(Source::Deployments, other)
            .says(DNS)
            .is_empty()
    );
}

#[rstest]
fn a_clean_cluster_is_quiet(#[values(0, 1, 3)] nodes: usize) {
    let cluster = kubeadm(nodes);
    for check in [ZONE, CORDON] {
        assert!(
            cluster.says(check).is_empty(),
            "{check}: {:?}",
            cluster.says(check)
        );
    }
    // Both Pods of CoreDNS land on the first node there is.
    let expected = if nodes > 1 {
        "AtRisk OneNode info"
    } else {
        "AtRisk SingleNode info"
    };
    assert!(cluster.says(DNS).iter().all(|one| one == expected));
}
