//! What a team can make the operator write.

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::attack::Attack;
use super::team::service;

/// A policy of this group.
const POLICY: (&str, &str) = ("evenkeel.dev/v1alpha1", "TrafficHealthPolicy");

/// A status is written when it says something else, and not when its object is touched: labels, annotations and finalizers of
/// a policy change its version and nothing that is judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_touched_all_the_time_is_written_once() {
    let attack = Attack::begin("touched").await;
    let team = &attack.team;
    team.make(&service("own", 1)).await.unwrap();
    team.policy("busy", &json!({"balance": {"minimumReadyBackends": 1_000}}))
        .await
        .unwrap();
    attack.until_own("backend-minimum-ready").await;
    attack.until_seen().await;
    let before = attack.asked_for(("patch", "traffichealthpolicies")).await;
    let refused = stream::iter(0..300)
        .map(async |at: usize| {
            let patch = json!({"metadata": {"labels": {"turn": format!("t{at}")},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": format!("{{{at}}}")}}});
            team.change(POLICY, "busy", &patch).await.is_err()
        })
        .buffer_unordered(8)
        .filter(|refused| std::future::ready(*refused))
        .count()
        .await;
    assert_eq!(refused, 0, "of 300 patches");
    // The status of this one is a write, too.
    attack.until_seen().await;
    let after = attack.asked_for(("patch", "traffichealthpolicies")).await;
    eprintln!("300 patches of labels: {} statuses were written", after - before);
    assert!(after - before <= 5, "{} writes", after - before);
    attack.end().await;
}

/// A policy that declares something else all the time, and one that goes and comes back under its name: what is written
/// for it is bounded, and the next policy is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_turns_all_the_time_has_a_budget_of_writes() {
    let attack = Attack::begin("turning").await;
    let team = &attack.team;
    team.make(&service("own", 1)).await.unwrap();
    let broken = json!({"minimumReadyBackends": 1_000});
    team.policy("turning", &json!({"balance": broken})).await.unwrap();
    attack.until_own("backend-minimum-ready").await;
    for turn in 0..300 {
        let balance = if turn % 2 == 0 { &Value::Null } else { &broken };
        let patch = json!({"spec": {"balance": balance}});
        team.change(POLICY, "turning", &patch).await.unwrap();
        if turn % 10 == 0 {
            team.delete_all(POLICY).await;
            team.policy("turning", &json!({"balance": broken})).await.unwrap();
        }
    }
    let seen = attack.until_seen().await;
    let statuses = attack.asked_for(("patch", "traffichealthpolicies")).await;
    let events = attack.asked_for(("create", "events")).await;
    eprintln!("300 turns: {statuses} statuses, {events} Events; the next policy was answered after {seen:?}");
    // At most one status of each generation, and one Event of each transition of the conditions.
    assert!(statuses <= 400, "{statuses} statuses");
    assert!(events <= 2 * statuses, "{events} Events");
    attack.end().await;
}

/// Exceptions that end one after the other, each of them a moment at which the policy is judged anew.
#[tokio::test(flavor = "multi_thread")]
async fn exceptions_that_end_every_second_cost_no_other() {
    let attack = Attack::begin("endings").await;
    let team = &attack.team;
    let services = (0..4).map(|at| service(&format!("own-{at}"), 4));
    assert_eq!(team.make_all(services).await, 0);
    let now = k8s_openapi::jiff::Timestamp::now().as_second();
    let policies = (0..60).map(|at| {
        let end = k8s_openapi::jiff::Timestamp::from_second(now + 20 + at).unwrap();
        let exception =
            json!({"check": "backend-minimum-ready", "reason": "soon", "expiresAt": end.to_string()});
        super::team::policy(
            &format!("ending-{at:02}"),
            &json!({"balance": {"minimumReadyBackends": 1_000}, "exceptions": [exception]}),
        )
    });
    assert_eq!(team.make_all(policies).await, 0, "of 60 policies");
    attack.until_own("backend-minimum-ready").await;
    // While they end, one each second.
    tokio::time::sleep(std::time::Duration::from_secs(40)).await;
    attack.until_seen().await;
    let own = attack.own_findings().await;
    let open = own.iter().filter(|one| one["exception"].is_null()).count();
    assert!(open > 0, "none of the exceptions has ended");
    attack.end().await;
}
