//! Services and EndpointSlices that lie about whose they are.

use serde_json::{Value, json};

use super::attack::Attack;
use super::team::{policy, service};

/// A slice that says it belongs to another team's Service, with backends that are another team's Pods on nodes and in
/// zones of its choice.
pub(super) fn slice(at: usize, owner: &str, endpoints: usize) -> Value {
    let endpoints: Vec<_> = (0..endpoints)
        .map(|n| {
            json!({"addresses": [format!("10.{}.{}.{}", 200 + at % 50, n / 250, n % 250 + 1)],
                "conditions": {"ready": n % 2 == 0, "serving": false, "terminating": n % 3 == 0},
                "nodeName": if n % 2 == 0 { "node-a" } else { "no-such-node" }, "zone": "east-2",
                "hints": {"forZones": [{"name": "nowhere"}]},
                "targetRef": {"kind": "Pod", "namespace": "orders", "name": format!("reports-{n}"), "uid": format!("{at}-{n}")}})
        })
        .collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("forged-{at}"), "labels": {"kubernetes.io/service-name": owner,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            "app.kubernetes.io/part-of": "x".repeat(60)},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": owner, "uid": "00000000-0000-0000-0000-000000000000"}]},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "p0", "port": 1, "protocol": "TCP"}],
        "endpoints": endpoints})
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_slices_reach_no_other_service() {
    let attack = Attack::begin_as("slices", true).await;
    let team = &attack.team;
    for name in ["reports", "kube-dns", "kubernetes", "evenkeel"] {
        team.make(&service(name, 1)).await.unwrap();
    }
    team.policy(
        "reports",
        &json!({"balance": {"minimumReadyBackends": 1_000, "maxPercentPerNode": 1, "maxPercentPerZone": 1}}),
    )
    .await
    .unwrap();
    let owners = ["reports", "kube-dns", "kubernetes", "evenkeel", "nobody"];
    let small = (0..1_000).map(|at| slice(at, owners[at % owners.len()], 2));
    let refused = team.make_all(small).await;
    let large = (1_000..1_020).map(|at| slice(at, owners[at % 4], 1_000));
    let refused = refused + team.make_all(large).await;
    eprintln!("{refused} of 1020 slices were refused");
    assert_eq!(refused, 0);
    attack.until_seen().await;
    // The garbage collector does not run here: the operator has to hold all of them.
    attack.end().await;
}

/// Slices that come and go as if hundreds of Pods lived for seconds: a storm, of this team alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_one_team_is_its_own() {
    let attack = Attack::begin_as("storm", true).await;
    let team = &attack.team;
    for name in ["one", "two"] {
        team.make(&service(name, 1)).await.unwrap();
    }
    for round in 0..4 {
        let slices = (0..40).map(|at| slice(round * 100 + at, ["one", "two"][at % 2], 4));
        assert_eq!(team.make_all(slices).await, 0);
        team.delete_all(("discovery.k8s.io/v1", "EndpointSlice")).await;
    }
    attack.until_own("pod-churn-storm").await;
    attack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_claim_others_reach_nobody() {
    let attack = Attack::begin("services").await;
    let team = &attack.team;
    let mut refused = Vec::new();
    for (name, more) in claims() {
        let mut one = service(name, 2);
        for (field, value) in more.as_object().unwrap() {
            if field == "metadata" {
                for (part, value) in value.as_object().unwrap() {
                    one["metadata"][part] = value.clone();
                }
            } else {
                one["spec"][field] = value.clone();
            }
        }
        if let Err(code) = team.make(&one).await {
            refused.push((name, code));
        }
    }
    eprintln!("refused: {refused:?}");
    assert!(refused.len() < claims().len(), "some are taken");
    // Its status says where a balancer is: not a team's to write.
    let status =
        json!({"status": {"loadBalancer": {"ingress": [{"hostname": "a.elb.us-east-1.amazonaws.com"}]}}});
    assert_eq!(
        team.change(("v1", "Service"), "balanced/status", &status).await,
        Err(403)
    );
    for from in ["LoadBalancer", "Cluster"] {
        let clients = json!([{"name": "c", "from": from}]);
        let connection =
            json!([{"name": "k", "protocol": "TCP", "longestSilenceSeconds": 4_000, "clients": clients}]);
        let made = team
            .make(&policy(&from.to_lowercase(), &json!({"connections": connection})))
            .await;
        assert_eq!(made, Ok(()), "a policy of clients from {from}");
    }
    // What else `edit` may write that could be mistaken for ours.
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "evenkeel"},
        "spec": {"holderIdentity": "team", "leaseDurationSeconds": 3_600}});
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "all"},
        "spec": {"defaultBackend": {"service": {"name": "balanced", "port": {"number": 1_000}}}}});
    let deny = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"},
        "spec": {"podSelector": {}}});
    for object in [lease, ingress, deny] {
        eprintln!("{}: {:?}", object["kind"], team.make(&object).await);
    }
    attack.until_seen().await;
    // They have reached it: of each Service that was taken it finds something, but where no node has a table.
    let own = attack.own_findings().await;
    for (name, _) in claims() {
        let is_taken = !refused.iter().any(|one| one.0 == name);
        let is_judged = own.iter().any(|one| one["subject"]["name"] == name);
        assert!(
            !is_taken || is_judged || ["named", "headless"].contains(&name),
            "nothing is said of Service {name}"
        );
    }
    attack.end().await;
}

/// Fields that speak of more than their own namespace.
fn claims() -> Vec<(&'static str, Value)> {
    let cloud = json!({
        "service.beta.kubernetes.io/aws-load-balancer-type": "nlb",
        "service.beta.kubernetes.io/aws-load-balancer-attributes": "tcp.idle_timeout.seconds=60",
        "service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout": "4",
        "metallb.universe.tf/allow-shared-ip": "orders",
        "metallb.io/loadBalancerIPs": "10.96.0.1",
    });
    vec![
        (
            "external",
            json!({"externalIPs": ["10.96.0.1", "10.96.0.10", "192.0.2.1"]}),
        ),
        (
            "balanced",
            json!({"type": "LoadBalancer", "metadata": {"annotations": cloud}, "externalTrafficPolicy": "Local"}),
        ),
        (
            "class",
            json!({"type": "LoadBalancer", "loadBalancerClass": "service.k8s.aws/nlb", "allocateLoadBalancerNodePorts": false}),
        ),
        (
            "named",
            json!({"type": "ExternalName", "externalName": "reports.orders.svc.cluster.local"}),
        ),
        (
            "headless",
            json!({"clusterIP": "None", "publishNotReadyAddresses": true, "selector": {"app": "reports"}}),
        ),
        (
            "proxied",
            json!({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": "mine",
            "service.kubernetes.io/headless": ""}}}),
        ),
        (
            "sticky",
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86_400}}}),
        ),
        (
            "near",
            json!({"trafficDistribution": "PreferClose", "internalTrafficPolicy": "Local"}),
        ),
        (
            "node-port",
            json!({"type": "NodePort", "externalTrafficPolicy": "Local"}),
        ),
        (
            "reports",
            json!({"selector": {"app": "reports"}, "metadata": {"labels": {"app": "reports"}}}),
        ),
    ]
}
