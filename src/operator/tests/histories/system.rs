//! What the cluster itself needs: DNS and admission, in rollouts and when they fail.

use evenkeel_core::findings::Finding;
use evenkeel_core::judge::Severity;
use evenkeel_core::know::Source;
use serde_json::{Value, json};

use super::{Story, above_info, nodes, objects};

const DNS: &str = "dns-n1-headroom";
const WEBHOOK: &str = "admission-heartbeat-block";

/// A slice of these endpoints: node, ready, and on its way out while it still serves.
fn slice(service: &str, namespace: &str, port: u16, endpoints: &[(&str, bool, bool)]) -> (Source, Value) {
    let one = |(at, (node, ready, ends)): (usize, &(&str, bool, bool))| {
        json!({
            "addresses": [format!("10.9.0.{}", at + 1)], "nodeName": node,
            "conditions": {"ready": *ready && !ends, "serving": ready, "terminating": ends},
        })
    };
    let endpoints: Vec<Value> = endpoints.iter().enumerate().map(one).collect();
    let slice = json!({
        "metadata": {"name": format!("{service}-x"), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": port}],
    });
    (Source::EndpointSlices, slice)
}

fn service(name: &str, namespace: &str, port: u16) -> (Source, Value) {
    let service = json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "10.96.0.10", "selector": {"app": name}, "ports": [{"port": port}]},
    });
    (Source::Services, service)
}

fn dns(ready: u32) -> (Source, Value) {
    let labels = json!({"k8s-app": "kube-dns"});
    let set = json!({
        "metadata": {"name": "coredns", "namespace": "kube-system"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": []}}},
        "status": {"observedGeneration": 1, "readyReplicas": ready},
    });
    (Source::Deployments, set)
}

/// Three nodes and cluster DNS with two Pods.
fn resolver() -> Story {
    let mut all = objects(&nodes("n", 3));
    all.extend([
        service("kube-dns", "kube-system", 53),
        slice(
            "kube-dns",
            "kube-system",
            53,
            &[("n0", true, false), ("n1", true, false)],
        ),
        dns(2),
    ]);
    Story::watched(60, all)
}

fn endpoints(story: &mut Story, service: &str, namespace: &str, port: u16, of: &[(&str, bool, bool)]) {
    let (source, slice) = slice(service, namespace, port, of);
    story.put(source, slice);
}

#[test]
fn a_rollout_of_dns_is_quiet() {
    let mut story = resolver().never("above info", above_info);
    // One more Pod starts, becomes ready, and an old one goes; twice.
    let steps: [&[(&str, bool, bool)]; 6] = [
        &[("n0", true, false), ("n1", true, false), ("n2", false, false)],
        &[("n0", true, false), ("n1", true, false), ("n2", true, false)],
        &[("n0", true, true), ("n1", true, false), ("n2", true, false)],
        &[("n0", false, false), ("n1", true, false), ("n2", true, false)],
        &[("n0", true, false), ("n1", true, true), ("n2", true, false)],
        &[("n0", true, false), ("n2", true, false)],
    ];
    for (at, step) in (1..).zip(steps) {
        endpoints(&mut story, "kube-dns", "kube-system", 53, step);
        story.until(at * 15);
    }
    story.until(600);
}

#[test]
fn dns_that_loses_its_pods_is_found() {
    let mut story = resolver();
    endpoints(
        &mut story,
        "kube-dns",
        "kube-system",
        53,
        &[("n0", true, false), ("n1", false, false)],
    );
    story.until(5);
    assert_eq!(story.says(DNS), "AtRisk warning NotAllReady");
    endpoints(
        &mut story,
        "kube-dns",
        "kube-system",
        53,
        &[("n0", false, false), ("n1", false, false)],
    );
    story.until(10);
    assert_eq!(story.says(DNS), "Violated critical NoneReady");
    endpoints(
        &mut story,
        "kube-dns",
        "kube-system",
        53,
        &[("n0", true, false), ("n1", true, false)],
    );
    story.until(20);
    assert_eq!(story.says(DNS), "");
}

/// A webhook for every change of Leases, with one Pod.
fn guarded() -> Story {
    let hook = json!({
        "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "guard"},
        "webhooks": [{
            "name": "guard.example.com", "failurePolicy": "Fail",
            "rules": [{"apiGroups": ["coordination.k8s.io"], "apiVersions": ["*"], "operations": ["*"],
                "resources": ["leases"]}],
            "clientConfig": {"service": {"namespace": "guard", "name": "guard"}},
        }],
    });
    let mut all = objects(&nodes("n", 3));
    all.extend([
        service("guard", "guard", 443),
        slice("guard", "guard", 443, &[("n0", true, false)]),
        (Source::Webhooks, hook),
    ]);
    Story::watched(60, all)
}

#[test]
fn a_webhook_that_rolls_refuses_nothing() {
    let critical = |one: &Finding| one.severity == Severity::Critical;
    let mut story = guarded().never("critical", critical);
    let steps: [&[(&str, bool, bool)]; 4] = [
        &[("n0", true, false), ("n1", false, false)],
        &[("n0", true, true), ("n1", false, false)],
        &[("n0", true, true), ("n1", true, false)],
        &[("n1", true, false)],
    ];
    for (at, step) in (1..).zip(steps) {
        endpoints(&mut story, "guard", "guard", 443, step);
        story.until(at * 10);
        assert_eq!(story.says(WEBHOOK), "AtRisk warning InTheWay");
    }
}

#[test]
fn a_webhook_whose_node_is_lost_is_found_and_ends() {
    let mut story = guarded();
    story.until(5);
    endpoints(&mut story, "guard", "guard", 443, &[("n0", false, false)]);
    story.until(10);
    assert_eq!(story.says(WEBHOOK), "Violated critical Blocked");
    endpoints(&mut story, "guard", "guard", 443, &[("n1", true, false)]);
    story.until(15);
    assert_eq!(story.says(WEBHOOK), "AtRisk warning InTheWay");
}
