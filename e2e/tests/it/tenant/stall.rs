//! Policies that cost much to judge.

use std::time::{Duration, Instant};

use serde_json::json;

use super::attack::Attack;
use super::bed::WITHIN;
use super::policies::wide;
use super::team::{pod, service};

/// A policy of 256 clients for each port of so many Services, which changes five times: each change makes all of it due.
async fn stalls(name: &str, services: usize, ports: u16) {
    let attack = Attack::begin(name).await;
    let leader = leader(&attack).await;
    let all = (0..services).map(|at| service(&format!("s{at}"), ports));
    assert_eq!(attack.team.make_all(all).await, 0);
    attack.team.make(&wide("wide", 16, 16)).await.unwrap();
    for at in 0..5 {
        let patch = json!({"spec": {"connections": wide("wide", 16, 16 - at)["spec"]["connections"]}});
        let kind = ("evenkeel.dev/v1alpha1", "TrafficHealthPolicy");
        attack.team.change(kind, "wide", &patch).await.unwrap();
    }
    let seen = attack.until_seen().await;
    eprintln!("{name}: the next policy was answered after {seen:?}");
    until_in_part(&attack).await;
    assert_eq!(leader, self::leader(&attack).await, "{name}: the Lease was lost");
    attack.end().await;
}

/// Waits until the status of the wide policy says that it is judged in part.
async fn until_in_part(attack: &Attack) {
    let start = Instant::now();
    loop {
        let list = attack
            .team
            .read("/apis/evenkeel.dev/v1alpha1", "traffichealthpolicies")
            .await;
        let mut all = list["items"].as_array().unwrap().iter();
        let wide = all.find(|one| one["metadata"]["name"] == "wide").unwrap();
        let mut conditions = wide["status"]["conditions"].as_array().into_iter().flatten();
        let accepted = conditions.find(|one| one["type"] == "Accepted");
        if accepted.is_some_and(|one| one["reason"] == "JudgedInPart") {
            return;
        }
        assert!(start.elapsed() < WITHIN, "{accepted:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Holder and count of changes of the Lease.
async fn leader(attack: &Attack) -> (Option<String>, Option<i32>) {
    use k8s_openapi::api::coordination::v1::Lease;
    let client = attack.plane().client().await.unwrap();
    let leases: kube::Api<Lease> = kube::Api::namespaced(client, "evenkeel-system");
    let spec = leases.get("evenkeel").await.unwrap().spec.unwrap();
    (spec.holder_identity, spec.lease_transitions)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_policy_delays_no_other() {
    stalls("wide", 10, 32).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_very_wide_policy_delays_no_other() {
    stalls("wider", 50, 64).await;
}

/// Pods that are alike in nothing, under as many selectors as a policy may have: each change of one makes all clients due.
#[tokio::test(flavor = "multi_thread")]
async fn pods_that_all_differ_hold_up_nobody() {
    let attack = Attack::begin("differing").await;
    let leader = leader(&attack).await;
    let team = &attack.team;
    team.make(&service("s", 8)).await.unwrap();
    let differing = |at: usize, turn: usize| {
        let mut pod = pod(&format!("differing-{at}"), "it");
        pod["metadata"]["labels"] =
            json!({"app": "differing", "own": format!("own-{at}"), "turn": format!("turn-{turn}")});
        pod["spec"]["nodeSelector"] = json!({format!("example.com/{at}"): "x"});
        pod["spec"]["tolerations"] = (0..20)
            .map(|n| json!({"key": format!("example.com/{at}-{n}"), "operator": "Exists"}))
            .collect();
        pod
    };
    assert_eq!(team.make_all((0..500).map(|at| differing(at, 0))).await, 0);
    let connections: Vec<_> = (0..16)
        .map(|at| {
            let clients: Vec<_> = (0..16)
                .map(|client| {
                    let none = format!("none-{at}-{client}");
                    json!({"name": format!("c{client}"), "tcpKeepalive": {"state": "Enabled"},
                        "podSelector": {"matchLabels": {"app": "differing"},
                            "matchExpressions": [{"key": "own", "operator": "NotIn", "values": [none]}]}})
                })
                .collect();
            json!({"name": format!("k{at}"), "protocol": "TCP", "longestSilenceSeconds": 86_400,
                "server": {"tcpKeepalive": {"state": "Disabled"}}, "clients": clients})
        })
        .collect();
    for at in 0..5 {
        let more = json!({"connections": connections});
        team.policy(&format!("wide-{at}"), &more).await.unwrap();
    }
    for turn in 1..=20 {
        let patch = json!({"metadata": {"labels": {"turn": format!("turn-{turn}")}}});
        let name = format!("differing-{turn}");
        team.change(("v1", "Pod"), &name, &patch).await.unwrap();
    }
    let seen = attack.until_seen().await;
    eprintln!("500 Pods that all differ: the next policy was answered after {seen:?}");
    // It has reached it: of such a client nothing is known.
    let start = Instant::now();
    loop {
        let own = attack.own_findings().await;
        if own
            .iter()
            .any(|one| one.to_string().contains("differ in more than 64 ways"))
        {
            break;
        }
        assert!(start.elapsed() < WITHIN, "nothing is said of the clients");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(leader, self::leader(&attack).await, "the Lease was lost");
    attack.end().await;
}
