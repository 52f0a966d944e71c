//! What a team accepts, it accepts for itself.

use serde_json::{Value, json};

use super::attack::Attack;
use super::team::service;

/// Checks whose findings others see, and names that are none.
const CHECKS: [&str; 12] = [
    "path-idle-budget",
    "keepalive-order",
    "backend-minimum-ready",
    "dns-n1-headroom",
    "proxy-config-drift",
    "proxy-bounds",
    "node-pressure",
    "admission-heartbeat-block",
    "preemption-cascade",
    "all",
    "check",
    "path-idle-budget-of-others",
];

fn exception(check: &str, at: usize) -> Value {
    json!({"check": check, "reason": format!("{at}: | `x` [y](http://evil.example) <!channel>"),
        "expiresAt": "2099-01-01T00:00:00Z"})
}

/// Exceptions of a team for every check, in policies that are called like those of others, and with the platform's fields.
#[tokio::test(flavor = "multi_thread")]
async fn exceptions_of_a_team_silence_nobody_else() {
    let attack = Attack::begin("exceptions").await;
    let team = &attack.team;
    // The victim's Service by name, and one of the team's own.
    for name in ["reports", "kube-dns"] {
        team.make(&service(name, 2)).await.unwrap();
    }
    let exceptions: Vec<_> = CHECKS
        .iter()
        .enumerate()
        .map(|(at, check)| exception(check, at))
        .collect();
    let broken = json!([{"name": "k", "protocol": "TCP", "longestSilenceSeconds": 86_400,
        "server": {"tcpKeepalive": {"state": "Disabled"}},
        "clients": [{"name": "c", "tcpKeepalive": {"state": "Disabled"}}]}]);
    let more =
        json!({"connections": broken, "exceptions": exceptions, "balance": {"minimumReadyBackends": 1_000}});
    let mut made = 0;
    for name in ["reports", "cluster", "orders", "kube-system"] {
        // Names of checks that are none may be refused; those that are taken are an attack all the same.
        let with = |list: &[Value]| {
            let mut more = more.clone();
            more["exceptions"] = json!(list);
            more
        };
        let all = team.policy(name, &with(&exceptions)).await;
        let known = match all {
            Ok(()) => Ok(()),
            Err(_) => team.policy(name, &with(&exceptions[..3])).await,
        };
        made += usize::from(known.is_ok());
    }
    assert_eq!(made, 4, "policies are taken");
    // An exception of the platform names a subject: a team's may not.
    let mut elsewhere = exception("path-idle-budget", 0);
    elsewhere["subject"] = json!({"kind": "Service", "namespace": "orders", "name": "reports"});
    let mut aimed = more.clone();
    aimed["exceptions"] = json!([elsewhere]);
    eprintln!(
        "an exception with a subject: {:?}",
        team.policy("aimed", &aimed).await
    );
    attack.until_seen().await;
    attack.until_own("path-idle-budget").await;
    let own = attack.own_findings().await;
    let accepted = own.iter().filter(|one| one["exception"].is_object()).count();
    assert!(accepted > 0, "the team's own findings are accepted: {own:#?}");
    attack.end().await;
}

/// What a status says is the operator's: who may write policies may not write it, and what a policy brings as its status
/// counts for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_team_writes_no_status() {
    let attack = Attack::begin("statuses").await;
    let team = &attack.team;
    team.make(&service("own", 1)).await.unwrap();
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "AllMet", "message": "x".repeat(30_000),
            "lastTransitionTime": "2020-01-01T00:00:00Z"})
    };
    let conditions = ["Accepted", "Observed", "Healthy", "Ready"].map(condition);
    let forged = json!({"conditions": conditions,
        "observedGeneration": 99, "findings": []});
    let mut policy = super::team::policy("forged", &json!({"balance": {"minimumReadyBackends": 1_000}}));
    policy["status"] = forged.clone();
    team.make(&policy).await.unwrap();
    let kind = ("evenkeel.dev/v1alpha1", "TrafficHealthPolicy");
    let patch = json!({"status": forged});
    assert_eq!(team.change(kind, "forged/status", &patch).await, Err(403));
    assert_eq!(
        team.change(kind, "forged", &patch).await,
        Ok(()),
        "it is left out"
    );
    attack.until_seen().await;
    attack.until_own("backend-minimum-ready").await;
    let list = team
        .read("/apis/evenkeel.dev/v1alpha1", "traffichealthpolicies")
        .await;
    let mut all = list["items"].as_array().unwrap().iter();
    let told = &all.find(|one| one["metadata"]["name"] == "forged").unwrap()["status"];
    assert!(!told.to_string().contains("xxxx"), "{told:#}");
    attack.end().await;
}
