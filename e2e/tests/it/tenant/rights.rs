//! No attack: that the operator has no right which it does not use.

use std::collections::BTreeSet;
use std::time::Instant;

use evenkeel::rights::Right;
use evenkeel::{instances, lease, lookup, send, watch};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::attack::Attack;
use super::bed::{EVERY, WITHIN};
use super::team::service;

/// Verb, and resource with its group and its part.
type Use = (String, String);

fn declared() -> BTreeSet<Use> {
    // Other attacks have API servers measured, which is optional.
    let all = [
        watch::RIGHTS,
        lookup::RIGHTS,
        send::RIGHTS,
        lease::RIGHTS,
        instances::RIGHTS,
    ];
    let uses = |right: &Right| {
        let resource = right.resource.split_once('/').map_or_else(
            || named(right.resource, right.group, ""),
            |(resource, part)| named(resource, right.group, part),
        );
        right
            .verbs
            .iter()
            .map(move |verb| ((*verb).to_owned(), resource.clone()))
            .collect::<Vec<_>>()
    };
    all.into_iter().flatten().flat_map(uses).collect()
}

fn used(asked: &[Value]) -> BTreeSet<Use> {
    let uses = asked.iter().filter_map(|one| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &one["objectRef"];
        let resource = named(
            object["resource"].as_str()?,
            &text(&object["apiGroup"]),
            &text(&object["subresource"]),
        );
        Some((text(&one["verb"]), resource))
    });
    uses.collect()
}

fn named(resource: &str, group: &str, part: &str) -> String {
    [resource, group, part].join("|")
}

/// Whether a right is for what this API server does not make necessary.
fn is_spare((verb, resource): &Use) -> bool {
    match (&**verb, &**resource) {
        // This API server streams its lists, and older ones do not. The command line reads single ConfigMaps under the
        // same role.
        ("list", _) | ("get", "configmaps||") => true,
        // Kinds of products that are not installed here: the API server knows no watch of what it does not serve.
        ("watch", resource) => [
            "cilium.io",
            "crd.projectcalico.org",
            "operator.tigera.io",
            "metallb.io",
        ]
        .iter()
        .any(|group| resource.split('|').nth(1) == Some(group)),
        _ => false,
    }
}

/// Waits until the platform's policy has a status.
async fn until_answered(attack: &Attack) {
    let start = Instant::now();
    let is_status = |one: &Value| {
        one["verb"] == "patch" && one["objectRef"]["resource"] == "clustertraffichealthpolicies"
    };
    while !attack.asked_at_all().iter().any(is_status) {
        assert!(start.elapsed() < WITHIN, "the platform's policy has no status");
        tokio::time::sleep(EVERY).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_is_used() {
    let attack = Attack::begin("rights").await;
    let team = &attack.team;
    team.make(&service("own", 1)).await.unwrap();
    team.policy("own", &json!({"balance": {"minimumReadyBackends": 1_000},
        "connections": [{"name": "k", "protocol": "TCP", "longestSilenceSeconds": 60,
            "clients": [{"name": "c", "podSelector": {"matchLabels": {"app": "c"}}, "tcpKeepalive": {"state": "Enabled"}}]}]}))
        .await
        .unwrap();
    let namespace = team.namespace();
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    team.make(&json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "gone.1"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": "gone", "uid": "u"},
        "reason": "Preempted", "type": "Warning", "firstTimestamp": now, "lastTimestamp": now,
        "source": {"component": "default-scheduler"}}))
        .await
        .unwrap();
    attack.until_seen().await;
    let platform = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "ClusterTrafficHealthPolicy",
        "metadata": {"name": "cluster"}, "spec": {"protectedNamespaces": ["kube-system"]}});
    let made = attack.plane().apply_yaml(&platform.to_string()).await.unwrap();
    until_answered(&attack).await;
    attack.plane().remove(&made).await.unwrap();
    attack.until_seen().await;
    assert!(attack.asked_for(("get", "pods")).await > 0);
    assert!(attack.asked_for(("create", "events")).await > 0);
    // Each operator of these attacks took the Lease in turn, the first one made it.
    let declared = declared();
    let start = Instant::now();
    let used = loop {
        let used = used(&attack.asked_at_all());
        let unused: Vec<_> = declared.difference(&used).filter(|one| !is_spare(one)).collect();
        if unused.is_empty() {
            break used;
        }
        // A Lease is renewed after some seconds.
        assert!(start.elapsed() < WITHIN, "declared and not used: {unused:#?}");
        tokio::time::sleep(EVERY).await;
    };
    // What every account may ask.
    let open = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    let beyond: Vec<_> = used
        .difference(&declared)
        .filter(|one| !open.iter().any(|review| one.1.starts_with(review)))
        .collect();
    assert!(beyond.is_empty(), "used without being declared: {beyond:#?}");
    // Not ended as an attack is, which finds that only teams' objects were written: here the platform's policy was.
    drop(attack);
}
