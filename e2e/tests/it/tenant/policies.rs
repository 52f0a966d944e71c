//! Policies by the hundred.

use serde_json::{Value, json};

use super::attack::Attack;
use super::bed::{UNHEALTHY, WITHIN};
use super::team::{policy, service};

/// A policy of so many connections of so many clients each, which all break.
pub(super) fn wide(name: &str, connections: usize, clients: usize) -> Value {
    let clients: Vec<_> = (0..clients)
        .map(|at| json!({"name": format!("c{at}"), "tcpKeepalive": {"state": "Disabled"}}))
        .collect();
    let connections: Vec<_> = (0..connections)
        .map(|at| {
            json!({"name": format!("k{at}"), "protocol": "TCP", "longestSilenceSeconds": 86_400,
            "server": {"tcpKeepalive": {"state": "Disabled"}}, "clients": clients})
        })
        .collect();
    policy(name, &json!({"connections": connections}))
}

/// More broken policies than are counted one by one, all with names before the victim's.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_broken_policies_hides_no_other() {
    let attack = Attack::begin("a-crowd").await;
    let all = (0..3).map(|at| service(&format!("s{at}"), 1));
    assert_eq!(attack.team.make_all(all).await, 0);
    let exceptions: Vec<_> = ["path-idle-budget", "keepalive-order", "backend-minimum-ready"]
        .iter()
        .map(|check| json!({"check": check, "reason": "*known* | <!channel>", "expiresAt": "2099-01-01T00:00:00Z"}))
        .collect();
    let crowd = (0..201).map(|at| {
        let mut one = wide(&format!("a{at:03}"), 1, 1);
        if at % 2 == 1 {
            one["spec"]["exceptions"] = json!(exceptions);
        }
        one
    });
    let refused = attack.team.make_all(crowd).await;
    assert_eq!(refused, 0, "of 201 policies");
    attack.until_seen().await;
    let own = attack.own_findings().await;
    assert!(own.len() >= 300, "{} findings of the crowd", own.len());
    let accepted = own.iter().filter(|one| one["exception"].is_object()).count();
    assert!(accepted >= 100, "{accepted} findings of the crowd are accepted");
    attack.operator.until_metric(UNHEALTHY, WITHIN).await.unwrap();
    attack.end().await;
}

/// Values of one line of a selector: `maxItems` of the schema.
const VALUES: usize = 32;

/// Hundreds of ways to choose Pods: each would be a watch of its own.
#[tokio::test(flavor = "multi_thread")]
async fn many_selectors_take_nothing_from_others() {
    let attack = Attack::begin("selectors").await;
    attack.team.make(&service("s", 1)).await.unwrap();
    let values: Vec<_> = (0..=VALUES)
        .map(|at| format!("v{at}-{}", "x".repeat(50)))
        .collect();
    let selecting = |at: usize, values: &[String]| {
        let selector = json!({"matchLabels": {"app": format!("a{at}")},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": values}]});
        let clients = json!([{"name": "c", "podSelector": selector}]);
        policy(
            &format!("p{at}"),
            &json!({"connections": [{"name": "k", "protocol": "TCP", "longestSilenceSeconds": 60, "clients": clients}]}),
        )
    };
    let crowd = (0..300).map(|at| selecting(at, &values[..if at % 50 == 0 { VALUES } else { 1 }]));
    assert_eq!(attack.team.make_all(crowd).await, 0, "of 300 selectors");
    let larger = attack.team.make(&selecting(300, &values)).await;
    assert_eq!(larger, Err(422), "one value more than the schema takes");
    attack.until_seen().await;
    let open = attack.open_files();
    eprintln!("300 selectors: {open} files are open");
    assert!(open < 400, "{open} files are open");
    let (_, text) = attack.operator.get("/metrics").await.unwrap();
    let stale: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("evenkeel_source_fresh{") && line.ends_with(" 0.0"))
        .collect();
    assert!(stale.is_empty(), "{stale:?}");
    attack.end().await;
}
