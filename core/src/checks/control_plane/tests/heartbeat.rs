use rstest::rstest;
use serde_json::{Value, json};

use super::WEBHOOK;
use crate::Input;
use crate::know::Source;
use crate::world::{World, node_ready, slice_in};

fn hook(rule: Value, more: &Value) -> Value {
    let mut rule = rule;
    for (key, value) in [("apiVersions", json!(["*"])), ("operations", json!(["*"]))] {
        if rule[key].is_null() {
            rule[key] = value;
        }
    }
    let mut hook = json!({
        "name": "guard.example.com", "failurePolicy": "Fail", "rules": [rule],
        "clientConfig": {"service": {"namespace": "guard", "name": "guard"}},
    });
    for (key, value) in more.as_object().unwrap() {
        hook[key] = value.clone();
    }
    json!({
        "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "guard"}, "webhooks": [hook],
    })
}

fn guarded(ready: usize, hook: Value) -> World {
    let addresses: Vec<String> = (0..ready).map(|at| format!("10.2.0.{at}")).collect();
    let endpoints: Vec<_> = addresses.iter().map(|address| (&**address, "a", true)).collect();
    let namespace = |name: &str, team: &str| json!({"metadata": {"name": name, "labels": {"team": team}}});
    World::complete()
        .with(Source::Nodes, node_ready("a", "", "True"))
        .with(Source::Namespaces, namespace("kube-system", "system"))
        .with(Source::Namespaces, namespace("kube-node-lease", "system"))
        .with(Source::Namespaces, namespace("a", "few"))
        .with(Source::Namespaces, namespace("b", "many"))
        .with(Source::Namespaces, namespace("c", "many"))
        .with(
            Source::DaemonSets,
            json!({
                "metadata": {"name": "cni", "namespace": "kube-system"},
                "spec": {"template": {"metadata": {"labels": {"app": "cni"}}, "spec": {"containers": []}}},
            }),
        )
        .with(Source::Services, guard())
        .with(Source::EndpointSlices, slice_in("guard", "guard", &endpoints))
        .with(Source::Webhooks, hook)
}

/// The Service of the webhooks.
fn guard() -> Value {
    json!({
        "metadata": {"name": "guard", "namespace": "guard"},
        "spec": {"selector": {"app": "guard"}, "ports": [{"port": 443}]},
    })
}

fn leases() -> Value {
    json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]})
}

fn everything() -> Value {
    json!({"apiGroups": ["*"], "resources": ["*"]})
}

const BLOCKED: &[&str] = &["Violated critical Blocked"];
const SLOW: &[&str] = &["AtRisk warning TooSlowToIgnore"];

#[rstest]
#[case::leases(leases(), json!({}), BLOCKED)]
#[case::everything(everything(), json!({}), BLOCKED)]
#[case::every_subresource(json!({"apiGroups": [""], "resources": ["*/*"]}), json!({}), BLOCKED)]
#[case::node_status(json!({"apiGroups": [""], "resources": ["nodes/status"]}), json!({}), BLOCKED)]
#[case::every_status(json!({"apiGroups": ["*"], "resources": ["*/status"]}), json!({}), BLOCKED)]
#[case::new_pods(json!({"apiGroups": [""], "resources": ["pods"]}), json!({}), BLOCKED)]
#[case::absent_policy_fails(leases(), json!({"failurePolicy": null}), BLOCKED)]
#[case::bindings(json!({"apiGroups": [""], "resources": ["pods/binding"]}), json!({}), BLOCKED)]
#[case::tokens(json!({"apiGroups": [""], "resources": ["serviceaccounts/token"]}), json!({}), BLOCKED)]
#[case::slices(json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]}), json!({}), BLOCKED)]
#[case::approvals(
    json!({"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"]}),
    json!({}),
    &["Violated warning Blocked"]
)]
#[case::certificates(
    json!({"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/status"]}),
    json!({}),
    &["Violated warning Blocked"]
)]
#[case::token_reviews(
    json!({"apiGroups": ["authentication.k8s.io"], "resources": ["*"]}), json!({}), &["Violated warning Blocked"]
)]
#[case::access_reviews(
    json!({"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"]}),
    json!({}),
    &["Violated warning Blocked"]
)]
#[case::certificates(
    json!({"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"]}),
    json!({}),
    &["Violated warning Blocked"]
)]
#[case::an_old_version(
    json!({"apiGroups": ["coordination.k8s.io"], "apiVersions": ["v1beta1"], "resources": ["leases"]}), json!({}), &[]
)]
#[case::its_own_pods(
    json!({"apiGroups": [""], "resources": ["pods"]}),
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "guard"}}}),
    BLOCKED
)]
#[case::some_other_pods(
    json!({"apiGroups": [""], "resources": ["pods"]}),
    json!({"namespaceSelector": {"matchLabels": {"team": "few"}}}),
    &["Violated warning Blocked"]
)]
#[case::most_other_pods(
    json!({"apiGroups": [""], "resources": ["pods"]}),
    json!({"namespaceSelector": {"matchLabels": {"team": "many"}}}),
    BLOCKED
)]
#[case::pods_of_no_namespace(
    json!({"apiGroups": [""], "resources": ["pods"]}),
    json!({"namespaceSelector": {"matchLabels": {"team": "nobody"}}}),
    &[]
)]
#[case::pods_that_ask_for_it(
    json!({"apiGroups": [""], "resources": ["pods"]}), json!({"objectSelector": {"matchLabels": {"sidecar": "yes"}}}), &[]
)]
#[case::pods_of_a_template(
    json!({"apiGroups": [""], "resources": ["pods"]}), json!({"objectSelector": {"matchLabels": {"app": "cni"}}}), BLOCKED
)]
#[case::a_condition_leaves_them_out(
    leases(), json!({"matchConditions": [{"expression": "request.resource.resource != 'leases'"}]}), &[]
)]
#[case::a_condition_leaves_kubelets_out(
    json!({"apiGroups": [""], "resources": ["nodes/status"]}),
    json!({"matchConditions": [{"expression": "!('system:nodes' in request.userInfo.groups)"}]}),
    &[]
)]
#[case::leaders_are_no_kubelets(
    leases(),
    json!({"matchConditions": [{"expression": "!('system:nodes' in request.userInfo.groups)"}]}),
    BLOCKED
)]
#[case::slices_of_the_controller(
    json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]}),
    json!({"objectSelector": {"matchLabels": {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}}}),
    BLOCKED
)]
#[case::slices_of_another(
    json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]}),
    json!({"objectSelector": {"matchLabels": {"app": "endpointslice-controller.k8s.io"}}}),
    &[]
)]
#[case::a_condition_holds(
    leases(), json!({"matchConditions": [{"expression": "request.operation != 'DELETE'"}]}), BLOCKED
)]
#[case::ignores_soon(everything(), json!({"failurePolicy": "Ignore", "timeoutSeconds": 4}), &[])]
#[case::ignores_after_leaders_gave_up(everything(), json!({"failurePolicy": "Ignore", "timeoutSeconds": 5}), SLOW)]
#[case::ignores_before_kubelets_give_up(
    json!({"apiGroups": [""], "resources": ["nodes/status"]}),
    json!({"failurePolicy": "Ignore", "timeoutSeconds": 9}),
    &[]
)]
#[case::ignores_after_kubelets_gave_up(
    json!({"apiGroups": [""], "resources": ["nodes/status"]}),
    json!({"failurePolicy": "Ignore", "timeoutSeconds": 10}),
    SLOW
)]
#[case::ignores_pods(
    json!({"apiGroups": [""], "resources": ["pods"]}), json!({"failurePolicy": "Ignore", "timeoutSeconds": 30}), &[]
)]
#[case::ignores_by_a_url(
    leases(),
    json!({"failurePolicy": "Ignore", "timeoutSeconds": 30, "clientConfig": {"url": "https://guard.example.com"}}),
    SLOW
)]
#[case::other_group(json!({"apiGroups": ["apps"], "resources": ["*"]}), json!({}), &[])]
#[case::delete_only(
    json!({"apiGroups": ["*"], "resources": ["*"], "operations": ["DELETE", "CONNECT"]}), json!({}), &[]
)]
#[case::pod_updates(
    json!({"apiGroups": [""], "resources": ["pods"], "operations": ["UPDATE"]}), json!({}), &[]
)]
#[case::cluster_scope(
    json!({"apiGroups": ["coordination.k8s.io"], "resources": ["*"], "scope": "Cluster"}), json!({}), &[]
)]
#[case::namespaced_nodes(json!({"apiGroups": [""], "resources": ["nodes"], "scope": "Namespaced"}), json!({}), &[])]
#[case::no_rules(json!({"apiGroups": [], "resources": []}), json!({}), &[])]
#[case::conditions(leases(), json!({"matchConditions": [{}]}), &["AtRisk warning BlockedIfConditionsMatch"])]
#[case::by_url(leases(), json!({"clientConfig": {"url": "https://guard.example.com"}}), &["Unknown unknown"])]
#[case::url_elsewhere(
    json!({"apiGroups": ["apps"], "resources": ["*"]}), json!({"clientConfig": {"url": "https://x"}}), &[]
)]
#[case::leaves_the_system_out(
    leases(),
    json!({"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "kube-node-lease"]},
    ]}}),
    &[]
)]
#[case::leaves_kube_system_out_only(
    leases(),
    json!({"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]},
    ]}}),
    BLOCKED
)]
#[case::by_a_label(leases(), json!({"namespaceSelector": {"matchLabels": {"team": "system"}}}), BLOCKED)]
#[case::by_another_label(leases(), json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}}), &[])]
#[case::nodes_have_no_namespace(
    json!({"apiGroups": [""], "resources": ["nodes"]}),
    json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}}),
    BLOCKED
)]
#[case::leases_have_no_labels(leases(), json!({"objectSelector": {"matchLabels": {"app": "x"}}}), &[])]
#[case::leases_lack_the_label(
    leases(), json!({"objectSelector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}}), BLOCKED
)]
#[case::leases_are_renewed_and_not_created(
    json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "operations": ["CREATE"]}),
    json!({}),
    &["Violated warning Blocked"]
)]
#[case::slices_are_updated_and_not_created(
    json!({"apiGroups": ["discovery.k8s.io"], "resources": ["*"], "operations": ["CREATE"]}),
    json!({}),
    &["Violated warning Blocked"]
)]
#[case::new_leases_may_wait(
    json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "operations": ["CREATE"]}),
    json!({"failurePolicy": "Ignore", "timeoutSeconds": 30}),
    &[]
)]
#[case::a_binding_has_no_labels_of_its_pod(
    json!({"apiGroups": [""], "resources": ["pods/binding"]}),
    json!({"objectSelector": {"matchLabels": {"app": "cni"}}}),
    &[]
)]
#[case::a_condition_on_who_asks(
    leases(), json!({"matchConditions": [{"expression": "!request.userInfo.username.startsWith('system:')"}]}), &[]
)]
#[case::a_condition_on_kubelets(
    leases(), json!({"matchConditions": [{"expression": "request.userInfo.username.startsWith('system:node:')"}]}), BLOCKED
)]
#[case::a_condition_on_controllers(
    json!({"apiGroups": [""], "resources": ["pods"]}),
    json!({"matchConditions": [{"expression": "!('system:serviceaccounts' in request.userInfo.groups)"}]}),
    &[]
)]
#[case::a_condition_on_the_scheduler(
    json!({"apiGroups": [""], "resources": ["pods/binding"]}),
    json!({"matchConditions": [{"expression": "request.userInfo.username != 'system:kube-scheduler'"}]}),
    &[]
)]
#[case::a_condition_on_the_kind(
    leases(), json!({"matchConditions": [{"expression": "!(request.kind.kind in ['Lease', 'Node'])"}]}), &[]
)]
#[case::a_condition_on_the_namespace_of_the_object(
    leases(),
    json!({"matchConditions": [{"expression": "object.metadata.namespace.startsWith('shop-')"}]}),
    &[]
)]
#[case::a_port_that_the_service_has_not(leases(), json!({"clientConfig": {"service": {
    "namespace": "guard", "name": "guard", "port": 9443,
}}}), BLOCKED)]
#[case::labelled_nodes(
    json!({"apiGroups": [""], "resources": ["nodes"]}),
    json!({"objectSelector": {"matchLabels": {"kubernetes.io/os": "linux"}}}),
    BLOCKED
)]
#[case::other_nodes(
    json!({"apiGroups": [""], "resources": ["nodes"]}),
    json!({"objectSelector": {"matchLabels": {"kubernetes.io/os": "windows"}}}),
    &[]
)]
#[case::contradiction(
    leases(),
    json!({"namespaceSelector": {"matchLabels": {"team": "system"}, "matchExpressions": [
        {"key": "team", "operator": "NotIn", "values": ["system"]},
    ]}}),
    &[]
)]
fn webhooks_that_are_away(#[case] rule: Value, #[case] more: Value, #[case] expected: &[&str]) {
    assert_eq!(guarded(0, hook(rule, &more)).found(WEBHOOK), expected);
}

#[test]
fn of_requests_that_hurt_alike_the_first_of_the_table_is_named() {
    let message = guarded(0, hook(everything(), &json!({}))).message(WEBHOOK);
    assert!(
        message.contains("refuses Leases in kube-node-lease now"),
        "{message}"
    );
}

/// Slices of a Service with the port 443, and the port that the webhook asks at.
#[rstest]
#[case::its_port(443, &[(true, true, false)], "1 ready endpoint")]
#[case::another_port(9443, &[(true, true, false)], "no port 9443")]
#[case::the_last_one_ends_and_still_serves(443, &[(false, true, true), (false, false, false)], "1 ready endpoint")]
#[case::published_though_not_ready(443, &[(true, false, false)], "1 ready endpoint")]
#[case::the_last_one_has_ended(443, &[(false, false, true)], "no ready endpoint")]
fn what_answers_a_webhook(#[case] port: u16, #[case] states: &[(bool, bool, bool)], #[case] says: &str) {
    let addresses: Vec<String> = (0..states.len()).map(|at| format!("10.2.0.{at}")).collect();
    let endpoints: Vec<_> = addresses.iter().map(|one| (&**one, "a", true)).collect();
    let mut slice = slice_in("guard", "guard", &endpoints);
    for (at, (ready, serving, terminating)) in states.iter().enumerate() {
        slice["endpoints"][at]["conditions"] =
            json!({"ready": ready, "serving": serving, "terminating": terminating});
    }
    let mut hook = hook(leases(), &json!({}));
    hook["webhooks"][0]["clientConfig"]["service"]["port"] = json!(port);
    let mut cluster = guarded(0, hook).with(Source::EndpointSlices, slice);
    let message = cluster.message(WEBHOOK);
    assert!(message.contains(says), "{message}");
}

#[rstest]
#[case::two(2, everything(), &["AtRisk info InTheWay"])]
#[case::one(1, leases(), &["AtRisk warning InTheWay"])]
#[case::pods_only(1, json!({"apiGroups": [""], "resources": ["pods"]}), &[])]
fn webhooks_that_answer(#[case] ready: usize, #[case] rule: Value, #[case] expected: &[&str]) {
    assert_eq!(guarded(ready, hook(rule, &json!({}))).found(WEBHOOK), expected);
}

/// The Pods of a `StatefulSet` that its own webhook refuses: none is there, and its template is not read.
#[rstest]
#[case::none_of_them_is_there(json!({"app": "guard"}), None, BLOCKED)]
#[case::others_are_meant(json!({"app": "sidecar"}), None, &[])]
#[case::their_template_has_a_mark(json!({"app": "guard"}), Some(json!({"app": "guard", "unguarded": "yes"})), &[])]
fn what_the_service_of_a_webhook_selects(
    #[case] labels: Value,
    #[case] template: Option<Value>,
    #[case] expected: &[&str],
) {
    let unmarked = json!([{"key": "unguarded", "operator": "DoesNotExist"}]);
    let selector = json!({"objectSelector": {"matchLabels": labels, "matchExpressions": unmarked}});
    let pods = json!({"apiGroups": [""], "resources": ["pods"]});
    let mut cluster = guarded(0, hook(pods, &selector));
    if let Some(labels) = template {
        cluster = cluster.with(
            Source::Deployments,
            json!({
                "metadata": {"name": "guard", "namespace": "guard"},
                "spec": {"template": {"metadata": {"labels": labels}, "spec": {"containers": []}}},
            }),
        );
    }
    assert_eq!(cluster.found(WEBHOOK), expected);
}

/// Where its Service is gone no slice is needed to know, as where only those of other Services were given.
#[test]
fn a_webhook_whose_service_is_gone_is_away() {
    let mut both = hook(
        json!({"apiGroups": ["apps"], "resources": ["deployments"]}),
        &json!({}),
    );
    let mut gone = hook(leases(), &json!({}))["webhooks"][0].clone();
    gone["name"] = json!("gone.example.com");
    gone["clientConfig"]["service"]["name"] = json!("gone");
    both["webhooks"].as_array_mut().unwrap().push(gone);
    let mut cluster = guarded(2, both).unread(Source::EndpointSlices);
    assert_eq!(cluster.found(WEBHOOK), BLOCKED);
}

/// What may be in the way and cannot be read weighs more than what is there and answers.
#[test]
fn a_webhook_that_cannot_be_judged_hides_behind_no_other() {
    let mut both = hook(everything(), &json!({}));
    let mut unknown = both["webhooks"][0].clone();
    unknown["name"] = json!("other.example.com");
    unknown["clientConfig"] = json!({"url": "https://guard.example.com"});
    both["webhooks"].as_array_mut().unwrap().push(unknown);
    assert_eq!(guarded(2, both).found(WEBHOOK), ["Unknown unknown"]);
}

#[test]
fn a_webhook_needs_only_what_decides() {
    let by_label = json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}});
    let mut cluster = guarded(0, hook(leases(), &by_label)).unread(Source::Namespaces);
    assert_eq!(cluster.found(WEBHOOK), ["Unknown unknown"]);
    let by_name = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}});
    assert!(
        guarded(0, hook(leases(), &by_name))
            .unread(Source::Namespaces)
            .found(WEBHOOK)
            .is_empty()
    );
    let mut cluster = guarded(0, hook(leases(), &json!({}))).unread(Source::EndpointSlices);
    assert_eq!(cluster.found(WEBHOOK), ["Unknown unknown"]);
    let mut another_port = hook(leases(), &json!({}));
    another_port["webhooks"][0]["clientConfig"]["service"]["port"] = json!(9443);
    let mut cluster = guarded(0, another_port).unread(Source::EndpointSlices);
    assert_eq!(cluster.found(WEBHOOK), ["Unknown unknown"]);
}

#[test]
fn an_alias_has_no_endpoints_to_count() {
    let alias = json!({
        "metadata": {"name": "guard", "namespace": "guard"},
        "spec": {"type": "ExternalName", "externalName": "guard.example.com"},
    });
    let mut cluster = guarded(0, hook(leases(), &json!({}))).with(Source::Services, alias);
    assert_eq!(cluster.found(WEBHOOK), ["Unknown unknown"]);
}

/// The API server says that it cannot route to such a Service, and asks none of the ready endpoints.
#[rstest]
#[case::at_its_address(Some("--v=2"), BLOCKED, "has no cluster address")]
#[case::at_its_endpoints(Some("--enable-aggregator-routing=true"), &["AtRisk info InTheWay"], "")]
#[case::not_to_be_seen(None, &["Unknown unknown"], "")]
fn a_headless_service_is_called_by_its_endpoints_alone(
    #[case] flag: Option<&str>,
    #[case] expected: &[&str],
    #[case] end: &str,
) {
    let headless = json!({
        "metadata": {"name": "guard", "namespace": "guard"},
        "spec": {"clusterIP": "None", "selector": {"app": "guard"}, "ports": [{"port": 443}]},
    });
    let mut cluster = guarded(2, hook(leases(), &json!({}))).with(Source::Services, headless);
    if let Some(flag) = flag {
        let server = json!({
            "metadata": {"name": "kube-apiserver-a", "namespace": "kube-system"},
            "spec": {"containers": [{"name": "kube-apiserver", "command": ["kube-apiserver", flag]}]},
        });
        cluster = cluster.with(Source::Pods, server);
    }
    assert_eq!(cluster.found(WEBHOOK), expected);
    let message = cluster.message(WEBHOOK);
    assert!(message.ends_with(end), "{message}");
}

/// It is there, and may be of any kind.
#[test]
fn a_service_that_was_not_understood_is_unknown() {
    let mut cluster = guarded(0, hook(leases(), &json!({})));
    cluster.input(Input::Gone(Source::Services, "guard", "guard"));
    assert_eq!(cluster.found(WEBHOOK), BLOCKED);
    cluster.input(Input::Refused(Source::Services, "guard", "guard", "too long"));
    assert_eq!(cluster.found(WEBHOOK), ["Unknown unknown"]);
}
