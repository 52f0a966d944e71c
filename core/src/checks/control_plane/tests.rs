use rstest::rstest;
use serde_json::{Value, json};

use crate::know::Source;
use crate::policy::{ClusterPolicy, ControlPlanePolicy};
use crate::world::{World, kubeadm, manager, node_ready, slice_in};

const DETECTION: &str = "detection-vs-grace";
const WEBHOOK: &str = "admission-heartbeat-block";
const INSTANCES: &str = "cp-instances-missing";

fn platform(control_plane: ControlPlanePolicy) -> ClusterPolicy {
    ClusterPolicy {
        control_plane,
        ..ClusterPolicy::default()
    }
}

#[rstest]
#[case::new("v1.32.0", &[], &[])]
#[case::old("v1.31.9", &[], &["AtRisk info DetectionTooSlow"])]
#[case::flag("v1.33.0", &["--node-monitor-grace-period=40s"], &["Violated warning DetectionTooSlow"])]
#[case::one_second("v1.33.0", &["--node-monitor-grace-period=46s"], &["AtRisk info NarrowMargin"])]
#[case::below_the_margin("v1.33.0", &["--node-monitor-grace-period=49s"], &["AtRisk info NarrowMargin"])]
#[case::at_the_margin("v1.33.0", &["--node-monitor-grace-period=50s"], &[])]
#[case::flag_apart("v1.33.0", &["--node-monitor-grace-period", "1m"], &[])]
#[case::last_wins("v1.33.0", &["--node-monitor-grace-period=20s", "--node-monitor-grace-period=60s"], &[])]
#[case::equal("v1.33.0", &["--node-monitor-grace-period=45s"], &["Violated warning DetectionTooSlow"])]
#[case::zero("v1.33.0", &["--node-monitor-grace-period=0s"], &["Violated warning DetectionTooSlow"])]
#[case::nonsense("v1.33.0", &["--node-monitor-grace-period=soon"], &["Unknown unknown"])]
#[case::other_flag("v1.33.0", &["--node-monitor-grace-period-x=1s"], &[])]
fn detection(#[case] version: &str, #[case] flags: &[&str], #[case] expected: &[&str]) {
    let mut cluster = World::complete()
        .with(Source::Nodes, node_ready("a", "", "True"))
        .with(Source::Pods, manager(version, flags));
    assert_eq!(cluster.found(DETECTION), expected);
}

#[rstest]
#[case::in_a_shell("exec /usr/local/bin/kube-controller-manager --v=2 --node-monitor-grace-period=16s > /p 2>&1", &["Violated warning DetectionTooSlow"])]
#[case::long_enough("exec kube-controller-manager --node-monitor-grace-period=1m", &[])]
#[case::without_the_flag("exec kube-controller-manager --v=2", &[])]
#[case::left_to_the_shell("exec kube-controller-manager $FLAGS", &["Unknown unknown"])]
fn detection_behind_a_shell(#[case] script: &str, #[case] expected: &[&str]) {
    let mut pod = manager("v1.33.0", &[]);
    pod["spec"]["containers"][0]["command"] = json!(["/bin/sh", "-c", script]);
    let mut cluster = World::complete()
        .with(Source::Nodes, node_ready("a", "", "True"))
        .with(Source::Pods, pod);
    assert_eq!(cluster.found(DETECTION), expected);
}

#[rstest]
#[case::handed_on("v1.33.1+k3s1", r#"["server","--kube-controller-manager-arg","node-monitor-grace-period=30s"]"#, &["Violated warning DetectionTooSlow"])]
#[case::long_enough("v1.31.1+k3s1", r#"["server","--kube-controller-manager-arg=node-monitor-grace-period=5m"]"#, &[])]
#[case::nothing_handed_on("v1.31.1+k3s1", r#"["server"]"#, &["AtRisk info DetectionTooSlow"])]
#[case::the_default_of_a_server("v1.33.1+k3s1", r#"["server"]"#, &[])]
#[case::an_agent_says_nothing("v1.33.1+k3s1", r#"["agent"]"#, &["Unknown unknown"])]
#[case::no_list("v1.33.1+k3s1", "server", &["Unknown unknown"])]
#[case::nonsense("v1.33.1+k3s1", r#"["server","--kube-controller-manager-arg=node-monitor-grace-period=soon"]"#, &["Unknown unknown"])]
fn detection_in_k3s(#[case] kubelet: &str, #[case] args: &str, #[case] expected: &[&str]) {
    let mut node = node_ready("a", "", "True");
    node["status"]["nodeInfo"]["kubeletVersion"] = json!(kubelet);
    node["metadata"]["annotations"] = json!({"k3s.io/node-args": args});
    assert_eq!(
        World::complete().with(Source::Nodes, node).found(DETECTION),
        expected
    );
}

fn managed(kubelet: &str) -> World {
    let mut node = node_ready("a", "", "True");
    node["status"]["nodeInfo"]["kubeletVersion"] = json!(kubelet);
    World::complete().with(Source::Nodes, node)
}

#[rstest]
#[case::new(managed("v1.33.1-eks-1"), &["Unknown unknown"])]
#[case::old(managed("v1.31.4-gke.1"), &["AtRisk info DetectionTooSlow"])]
#[case::no_version(managed(""), &["Unknown unknown"])]
#[case::pods_not_read(managed("v1.33.1").unread(Source::Pods), &["Unknown unknown"])]
#[case::declared(
    managed("").unread(Source::Pods).platform(platform(ControlPlanePolicy {
        node_monitor_grace_seconds: Some(40),
        ..ControlPlanePolicy::default()
    })),
    &["Violated warning DetectionTooSlow"]
)]
#[case::declared_clients(
    managed("v1.31.0").platform(platform(ControlPlanePolicy {
        http2_read_idle_seconds: Some(10),
        http2_ping_timeout_seconds: Some(5),
        node_monitor_grace_seconds: Some(20),
        ..ControlPlanePolicy::default()
    })),
    &[]
)]
#[case::no_pings(
    managed("v1.33.0").platform(platform(ControlPlanePolicy {
        http2_read_idle_seconds: Some(0),
        node_monitor_grace_seconds: Some(u32::MAX),
        ..ControlPlanePolicy::default()
    })),
    &["Violated warning NeverDetected"]
)]
#[case::empty(World::complete(), &[])]
fn detection_where_flags_are_hidden(#[case] mut cluster: World, #[case] expected: &[&str]) {
    assert_eq!(cluster.found(DETECTION), expected);
}

#[test]
fn detection_says_both_numbers() {
    let mut cluster = World::complete().with(
        Source::Pods,
        manager("v1.33.0", &["--node-monitor-grace-period=40s"]),
    );
    assert_eq!(
        cluster.message(DETECTION),
        "clients notice a dead connection to the API server after 45 s, but nodes are declared lost after 40 s of silence"
    );
}

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
        .with(Source::EndpointSlices, slice_in("guard", "guard", &endpoints))
        .with(Source::Webhooks, hook)
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
    let service = json!({
        "metadata": {"name": "guard", "namespace": "guard"},
        "spec": {"selector": {"app": "guard"}, "ports": [{"port": 443}]},
    });
    let addresses: Vec<String> = (0..states.len()).map(|at| format!("10.2.0.{at}")).collect();
    let endpoints: Vec<_> = addresses.iter().map(|one| (&**one, "a", true)).collect();
    let mut slice = slice_in("guard", "guard", &endpoints);
    for (at, (ready, serving, terminating)) in states.iter().enumerate() {
        slice["endpoints"][at]["conditions"] =
            json!({"ready": ready, "serving": serving, "terminating": terminating});
    }
    let mut hook = hook(leases(), &json!({}));
    hook["webhooks"][0]["clientConfig"]["service"]["port"] = json!(port);
    let mut cluster = guarded(0, hook)
        .with(Source::Services, service)
        .with(Source::EndpointSlices, slice);
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

fn servers(serving: usize, expected: Option<u32>, role: &str) -> World {
    let addresses: Vec<String> = (0..serving).map(|at| format!("192.0.2.{at}")).collect();
    let endpoints: Vec<_> = addresses.iter().map(|address| (&**address, "", true)).collect();
    let mut node = node_ready("a", "", "True");
    if !role.is_empty() {
        node["metadata"]["labels"][format!("node-role.kubernetes.io/{role}")] = json!("");
    }
    World::complete()
        .with(Source::Nodes, node)
        .with(
            Source::EndpointSlices,
            slice_in("default", "kubernetes", &endpoints),
        )
        .platform(platform(ControlPlanePolicy {
            expected_instances: expected,
            ..ControlPlanePolicy::default()
        }))
}

#[rstest]
#[case::all(3, Some(3), "", &[])]
#[case::more(5, Some(3), "", &[])]
#[case::one_missing(2, Some(3), "", &["Violated warning"])]
#[case::one_left(1, Some(3), "control-plane", &["Violated critical"])]
#[case::one_left_of_an_old_cluster(1, Some(3), "master", &["Violated critical"])]
#[case::one_of_one(1, Some(1), "", &[])]
#[case::not_said(1, None, "", &[])]
#[case::zero_said(1, Some(0), "", &[])]
#[case::huge(2, Some(u32::MAX), "", &["Violated warning"])]
#[case::no_endpoint(0, Some(3), "", &["Unknown unknown"])]
#[case::hosted(1, Some(3), "", &["Unknown unknown"])]
#[case::hosted_behind_worker_nodes(1, Some(3), "worker", &["Unknown unknown"])]
#[case::hosted_but_two(2, Some(3), "", &["Violated warning"])]
fn instances(
    #[case] serving: usize,
    #[case] expected: Option<u32>,
    #[case] role: &str,
    #[case] says: &[&str],
) {
    assert_eq!(servers(serving, expected, role).found(INSTANCES), says);
}

#[test]
fn an_api_server_to_be_seen_is_not_hidden() {
    let pod = json!({
        "metadata": {"name": "kube-apiserver-a", "namespace": "kube-system"},
        "spec": {"containers": [{"name": "kube-apiserver", "command": ["kube-apiserver"]}]},
    });
    let mut cluster = servers(1, Some(3), "").with(Source::Pods, pod);
    assert_eq!(cluster.found(INSTANCES), ["Violated critical"]);
}

/// Nodes of these names and roles, each with an address of its own, and one address of an API server.
#[rstest]
#[case::of_a_node(&[("a", "control-plane"), ("b", "control-plane")], "192.0.2.1", &["Violated critical"])]
#[case::of_a_node_without_a_role(&[("a", "worker"), ("b", "worker")], "192.0.2.1", &["Violated critical"])]
#[case::of_none_of_several(&[("a", "control-plane"), ("b", "control-plane")], "192.0.2.100", &["Unknown unknown"])]
#[case::beside_the_only_one(&[("a", "control-plane"), ("b", "worker")], "192.0.2.100", &["Violated critical"])]
#[case::of_rke(&[("a", "controlplane"), ("b", "worker")], "192.0.2.100", &["Violated critical"])]
#[case::of_nobody(&[("a", "worker"), ("b", "worker")], "192.0.2.100", &["Unknown unknown"])]
fn an_address_is_one_api_server_where_that_is_known(
    #[case] nodes: &[(&str, &str)],
    #[case] address: &str,
    #[case] expected: &[&str],
) {
    let endpoints = slice_in("default", "kubernetes", &[(address, "", true)]);
    let mut cluster = World::complete()
        .with(Source::EndpointSlices, endpoints)
        .platform(platform(ControlPlanePolicy {
            expected_instances: Some(3),
            ..ControlPlanePolicy::default()
        }));
    for (at, (name, role)) in nodes.iter().enumerate() {
        let mut node = node_ready(name, "", "True");
        node["metadata"]["labels"][format!("node-role.kubernetes.io/{role}")] = json!("");
        node["status"]["addresses"] = json!([
            {"type": "Hostname", "address": name},
            {"type": "InternalIP", "address": format!("192.0.2.{}", at + 1)},
        ]);
        cluster = cluster.with(Source::Nodes, node);
    }
    assert_eq!(cluster.found(INSTANCES), expected);
}

#[rstest]
fn a_clean_cluster_is_quiet(#[values(0, 1, 3)] nodes: usize) {
    let mut cluster = kubeadm(nodes);
    for check in [DETECTION, WEBHOOK, INSTANCES] {
        assert!(
            cluster.found(check).is_empty(),
            "{check}: {:?}",
            cluster.found(check)
        );
    }
}

#[test]
fn slices_that_nobody_read_are_missed_only_where_a_number_is_declared() {
    let unread = || World::complete().unread(Source::EndpointSlices);
    assert!(unread().found(INSTANCES).is_empty());
    let expected = platform(ControlPlanePolicy {
        expected_instances: Some(3),
        ..ControlPlanePolicy::default()
    });
    assert_eq!(unread().platform(expected).found(INSTANCES), ["Unknown unknown"]);
}
