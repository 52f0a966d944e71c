//! Events of one team use up what may be read of its Pods, and nothing of what may be read of others'.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::attack::Attack;
use super::bed::VICTIMS;

fn evicted(namespace: &str, at: usize) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("gone.{at}"), "namespace": namespace},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": format!("gone-{at}"),
            "uid": format!("uid-{at}")},
        "reason": if at.is_multiple_of(2) { "Evicted" } else { "Preempted" }, "type": "Warning", "message": "gone",
        "firstTimestamp": now, "lastTimestamp": now, "source": {"component": "kubelet", "host": "node-a"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_events_takes_no_look_from_others() {
    let attack = Attack::begin("lookups").await;
    let namespace = attack.team.namespace().to_owned();
    let flood = (0..500).map(|at| evicted(&namespace, at));
    assert_eq!(attack.team.make_all(flood).await, 0);
    attack.until_seen().await;
    let asked = attack.asked_for(("get", "pods")).await;
    assert!(asked > 0, "no Event has made it look at a Pod");
    // One Event of another team comes behind all of them.
    let (victim, _, _) = VICTIMS[0];
    attack
        .plane()
        .apply_yaml(&evicted(victim, 1_000).to_string())
        .await
        .unwrap();
    let others = attack.asked_in(victim, ("get", "pods")).await;
    assert!(others > 0, "the Pod of another team is not looked at");
    let asked = attack.asked_for(("get", "pods")).await;
    eprintln!("500 Events: {asked} Pods of the team were read");
    assert!(asked <= 12 * 3, "{asked} reads in less than three minutes");
    attack.end().await;
}
