//! What is kept says to the core what the whole object says, and nothing that is not needed.

use evenkeel_core::names::Names;
use evenkeel_core::sources::Row;
use evenkeel_core::sources::config_map::ConfigMap;
use evenkeel_core::sources::felix_configuration::FelixConfiguration;
use evenkeel_core::sources::fields::Keep;
use evenkeel_core::sources::installation::Installation;
use evenkeel_core::sources::l2_advertisement::L2Advertisement;
use evenkeel_core::sources::namespace::Namespace;
use evenkeel_core::sources::node::Node;
use evenkeel_core::sources::node_config::CiliumNodeConfig;
use evenkeel_core::sources::priority_class::PriorityClass;
use evenkeel_core::sources::service::Service;
use evenkeel_core::sources::slice::Slice;
use evenkeel_core::sources::webhook::WebhookConfiguration;
use evenkeel_core::sources::workload::{DaemonSet, Deployment, Pod};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::live::page::Items;

fn kind(name: &str) -> &'static Resource {
    Resource::read_once().find(|kind| kind.kind.name == name).unwrap()
}

/// What is kept of an object of this kind.
fn kept_of(resource: &Resource, object: Value) -> Value {
    let fields = resource.source.fields().transpose().unwrap();
    kept(resource.source, fields.as_ref(), object)
}

/// Metadata as servers send it, with secrets where people have left them.
fn metadata(mut own: Value) -> Value {
    let all = own.as_object_mut().unwrap();
    // Kept of Pods alone, which say their own.
    all.entry("uid").or_insert_with(|| "MARKER".into());
    all.insert(
        "managedFields".into(),
        json!([{"manager": "MARKER", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:MARKER": {}}}]),
    );
    let annotations = all.entry("annotations").or_insert_with(|| json!({}));
    annotations["kubectl.kubernetes.io/last-applied-configuration"] = "{\"token\":\"MARKER\"}".into();
    annotations["example.com/token"] = "MARKER".into();
    own
}

/// A Pod's spec with kube-proxy, and with somebody else's container.
fn pod_spec() -> Value {
    json!({
        "nodeName": "n1", "hostNetwork": true, "serviceAccountName": "MARKER",
        "containers": [
            {"name": "kube-proxy", "image": "registry.example/kube-proxy:v1.31.2",
                "command": ["/usr/local/bin/kube-proxy"], "args": ["--config=/etc/config.conf"],
                "env": [{"name": "TOKEN", "value": "MARKER"}, {"name": "FELIX_BPFENABLED", "value": "true"}], "envFrom": [{"secretRef": {"name": "MARKER"}}],
                "volumeMounts": [{"name": "config", "mountPath": "/etc", "subPath": "MARKER"}],
                "resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "MARKER"}},
                "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": "MARKER"}]}}},
            {"name": "shipper", "image": "MARKER", "args": ["--token=MARKER"]},
        ],
        "initContainers": [
            {"name": "wait", "image": "busybox", "command": ["curl", "MARKER"]},
            {"name": "tune", "image": "MARKER", "command": ["sh", "-c", "sysctl -w net.ipv4.tcp_keepalive_time=60; MARKER"],
                "env": [{"name": "TOKEN", "value": "MARKER"}]},
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": "kube-proxy", "items": [{"key": "a", "path": "b", "mode": 1}]}},
            {"name": "MARKER", "secret": {"secretName": "MARKER"}},
        ],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "affinity": {"podAffinity": {"MARKER": {}}, "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}],
                    "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]},
            ]},
        }},
        "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule", "tolerationSeconds": 1}],
        "os": {"name": "linux"},
        "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "300"}], "runAsUser": 0},
        "imagePullSecrets": [{"name": "MARKER"}],
    })
}

fn owner(name: &str) -> Value {
    json!({
        "metadata": metadata(json!({"name": name, "namespace": "kube-system", "labels": {"a": "MARKER"}})),
        "spec": {"replicas": 3,
            "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]},
            "template": {"metadata": metadata(json!({"labels": {"a": "b", "c": "d"}})), "spec": pod_spec()}},
        "status": {"readyReplicas": 2, "observedGeneration": 4, "conditions": [{"message": "MARKER"}]},
    })
}

fn service() -> Value {
    json!({
        "metadata": metadata(json!({"name": "a", "namespace": "shop", "labels": {"app": "a"},
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"}})),
        "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "selector": {"app": "a"},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "http", "targetPort": "MARKER"}],
            "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local", "trafficDistribution": "PreferClose",
            "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
            "loadBalancerClass": "service.k8s.aws/nlb", "publishNotReadyAddresses": true,
            "loadBalancerSourceRanges": ["MARKER"]},
        "status": {"loadBalancer": {"ingress": [{"hostname": "x.elb.example", "ip": "1.2.3.4"}]},
            "conditions": [{"message": "MARKER"}]},
    })
}

fn slice() -> Value {
    json!({
        "metadata": metadata(json!({"name": "a-1", "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "a", "x": "MARKER"}})),
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true},
            "nodeName": "n1", "zone": "z1", "hints": {"forZones": [{"name": "z2"}], "forNodes": [{"name": "n1"}]},
            "hostname": "MARKER", "targetRef": {"resourceVersion": "MARKER"}}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

fn node() -> Value {
    json!({
        "metadata": metadata(json!({"name": "n1", "uid": "u2", "labels": {"topology.kubernetes.io/zone": "z1"},
            "annotations": {"config.cilium.io/bpf-lb-sock": "true"}})),
        "spec": {"providerID": "aws://", "unschedulable": true, "taints": [{"key": "a", "value": "b", "effect": "NoSchedule", "timeAdded": "MARKER"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True", "message": "MARKER"}],
            "nodeInfo": {"operatingSystem": "linux", "kernelVersion": "5.15.0", "kubeletVersion": "v1.31.2",
                "osImage": "Linux 1", "containerRuntimeVersion": "containerd://2.0",
                "machineID": "MARKER"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "images": [{"names": ["MARKER"]}]},
    })
}

fn pod() -> Value {
    json!({
        "metadata": metadata(json!({"name": "p", "namespace": "kube-system", "uid": "u1", "labels": {"k8s-app": "kube-proxy"},
            "ownerReferences": [{"kind": "Node", "name": "n1", "controller": true, "uid": "MARKER"}]})),
        "spec": pod_spec(),
        "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "podIP": "MARKER",
            "containerStatuses": [{"name": "kube-proxy", "imageID": "MARKER",
                "state": {"running": {"startedAt": "2026-02-01T00:00:00Z"}}}],
            "conditions": [{"type": "Ready", "status": "True", "message": "MARKER"}]},
    })
}

fn config_map() -> Value {
    json!({
        "metadata": metadata(json!({"name": "kube-proxy", "namespace": "kube-system"})),
        "data": {"config.conf": "kind: KubeProxyConfiguration\nmode: ipvs\n", "kubeconfig.conf": "token: MARKER"},
        "binaryData": {"x": "MARKER"},
    })
}

fn webhooks() -> Value {
    json!({
        "kind": "ValidatingWebhookConfiguration",
        "metadata": metadata(json!({"name": "a"})),
        "webhooks": [{"name": "a.b.c", "failurePolicy": "Fail", "timeoutSeconds": 5,
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes"], "operations": ["UPDATE"], "scope": "Cluster"}],
            "namespaceSelector": {"matchLabels": {"a": "b"}}, "objectSelector": {"matchExpressions": [{"key": "c", "operator": "Exists"}]},
            "matchConditions": [{"name": "MARKER", "expression": "request.resource.resource != 'nodes'"}],
            "clientConfig": {"service": {"namespace": "x", "name": "y", "port": 8443, "path": "/MARKER"}, "caBundle": "MARKER",
                "url": "https://MARKER"}}],
    })
}

fn node_config() -> Value {
    json!({
        "metadata": metadata(json!({"name": "a", "namespace": "kube-system"})),
        "spec": {"nodeSelector": {"matchLabels": {"a": "b"}}, "defaults": {"bpf-lb-sock": "true"}},
    })
}

/// That the core reads the same from what is kept, and that it holds no marker.
fn same<R: Row + std::fmt::Debug>(name: &str, object: &Value) {
    let mut names = Names::default();
    let mut less = kept_of(kind(name), object.clone());
    let text = less.to_string();
    assert!(!text.contains("MARKER"), "{text}");
    // A list of this kind names it for its items.
    less["kind"] = object["kind"].clone();
    let mut row = |object: &Value| R::parse(object.to_string().as_bytes(), &mut names).unwrap();
    assert_eq!(row(&less), row(object));
}

#[test]
fn the_core_reads_the_same_from_what_is_kept() {
    same::<Service>("Service", &service());
    same::<Slice>("EndpointSlice", &slice());
    same::<Node>("Node", &node());
    same::<Namespace>(
        "Namespace",
        &json!({"metadata": metadata(json!({"name": "shop", "labels": {"a": "b"}})), "spec": {"finalizers": ["MARKER"]}}),
    );
    same::<Pod>("Pod", &pod());
    same::<DaemonSet>("DaemonSet", &owner("kube-proxy"));
    same::<Deployment>("Deployment", &owner("coredns"));
    same::<ConfigMap>("ConfigMap", &config_map());
    same::<CiliumNodeConfig>("CiliumNodeConfig", &node_config());
    same::<WebhookConfiguration>("ValidatingWebhookConfiguration", &webhooks());
    same::<FelixConfiguration>(
        "FelixConfiguration",
        &json!({"metadata": metadata(json!({"name": "default"})), "spec": {"bpfEnabled": true, "x": "MARKER"}}),
    );
    same::<Installation>(
        "Installation",
        &json!({"metadata": metadata(json!({"name": "default"})),
            "spec": {"calicoNetwork": {"linuxDataplane": "BPF", "x": "MARKER"}, "registry": "MARKER"}}),
    );
    same::<L2Advertisement>(
        "L2Advertisement",
        &json!({"metadata": metadata(json!({"name": "a", "namespace": "metallb-system"})), "spec": {"interfaces": ["MARKER"]}}),
    );
    same::<PriorityClass>(
        "PriorityClass",
        &json!({"metadata": metadata(json!({"name": "low"})), "value": -10, "globalDefault": true, "description": "MARKER"}),
    );
}

/// Other annotations may hold secrets. That a source tells its fields at all is asked here, too.
#[test]
fn annotations_are_kept_by_name_only() {
    for source in Source::ALL {
        let Some(fields) = source.fields() else { continue };
        let Ok(Fields::Struct(fields)) = fields else {
            panic!("{source}: {fields:?}");
        };
        let Some(Fields::Struct(metadata)) = fields.get("metadata") else {
            panic!("{source} is read without its metadata");
        };
        if let Some(annotations) = metadata.get("annotations") {
            assert!(matches!(annotations, Fields::Map(Keep::Where(_), _)), "{source}");
        }
    }
}

#[test]
fn a_policy_is_kept_as_it_is_written() {
    let policy = json!({
        "metadata": metadata(json!({"name": "a", "namespace": "shop"})),
        "spec": {"services": {"names": ["a"]}, "exceptions": [{"reason": "why not"}]},
        "status": {"message": "MARKER"},
    });
    let less = kept_of(kind("TrafficHealthPolicy"), policy.clone());
    assert_eq!(less["spec"], policy["spec"]);
    assert_eq!(less["metadata"], json!({"name": "a", "namespace": "shop"}));
    assert_eq!(less.get("status"), None);
}

#[rstest]
#[case::shell(&["/bin/sh", "-c", "API_TOKEN=x kube-proxy --cluster-cidr=10.0.0.0/8"], &["/bin/sh", "-c", "API_TOKEN=removed kube-proxy --cluster-cidr=10.0.0.0/8"])]
#[case::manager(&["kube-controller-manager", "--root-secret=x", "--node-monitor-grace-period", "40s"], &["kube-controller-manager", "--node-monitor-grace-period=40s"])]
#[case::manager_in_a_shell(&["/bin/sh", "-c", "exec /kube-controller-manager --root-secret=x --node-monitor-grace-period=16s > /log"], &["kube-controller-manager", "--node-monitor-grace-period=16s"])]
#[case::manager_filled_in(&["/bin/sh", "-c", "kube-controller-manager ${FLAGS}"], &["kube-controller-manager", "--node-monitor-grace-period=$(REMOVED)"])]
#[case::token_apart(&["kube-proxy", "--token", "x", "--v=2"], &["kube-proxy", "--token", "removed", "--v=2"])]
#[case::manager_equals(&["/usr/bin/kube-controller-manager", "--node-monitor-grace-period=40s", "--token=x"], &["kube-controller-manager", "--node-monitor-grace-period=40s"])]
#[case::cilium(&["cilium-dbg", "build-config", "--source=node:n1", "--token=x"], &["cilium", "build-config", "--source=node:n1"])]
#[case::kube_router(&["kube-router", "--token=x", "--service-tcp-timeout", "1h", "--run-service-proxy=true"], &["kube-router", "--service-tcp-timeout", "1h", "--run-service-proxy=true"])]
#[case::kube_ovn(&["kube-ovn-controller", "--enable-lb=false", "--token=x"], &["kube-ovn-controller", "--enable-lb=false"])]
#[case::agent(&["cilium-agent", "--kvstore-opt=x"], &[])]
#[case::foreign(&["shipper", "--cni=cilium", "--policy=x", "--token=x"], &[])]
fn command_lines(#[case] argv: &[&str], #[case] expected: &[&str]) {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "x", "image": "y", "command": argv}]}});
    let less = kept_of(kind("Pod"), pod);
    let container = &less["spec"]["containers"][0];
    let expected = if expected.is_empty() {
        Value::Null
    } else {
        json!(expected)
    };
    assert_eq!(container["command"], expected, "{less}");
}

#[rstest]
#[case("cilium-config", "bpf-lb-sock", "true", true)]
#[case("cilium-config", "etcd-config", "password", false)]
#[case("eni-config", "10-terway.conf", "{}", true)]
#[case("eni-config", "eni_conf", "access_key", false)]
#[case("antrea-config", "antrea-agent.conf", "antreaProxy: {proxyAll: true}", true)]
#[case("antrea-config", "antrea-controller.conf", "password: x", false)]
#[case("kube-proxy-config", "config", "conntrack: {}", true)]
#[case("kube-proxy-config", "notes", "the password is x", false)]
#[case("kube-proxy", "config.conf", "", true)]
#[case("any", "x", "kind: KubeProxyConfiguration", true)]
#[case("any", "x", "kind: KubeProxyConfiguration\n---\ncurrent-context: a", false)]
#[case("any", "x", "ipvs", false)]
fn keys_of_config_maps(#[case] map: &str, #[case] key: &str, #[case] text: &str, #[case] expected: bool) {
    let less = kept_of(
        kind("ConfigMap"),
        json!({"metadata": {"name": map}, "data": {key: text}}),
    );
    assert_eq!(less["data"].get(key).is_some(), expected);
}

#[rstest]
#[case(
    r#"["server","--token","x","--kube-proxy-arg","proxy-mode=ipvs","--datastore-endpoint=y"]"#,
    r#"["server","--kube-proxy-arg","proxy-mode=ipvs"]"#
)]
#[case(
    r#"["agent","--kube-proxy-arg=conntrack-min=1","--disable-kube-proxy=false"]"#,
    r#"["agent","--kube-proxy-arg=conntrack-min=1","--disable-kube-proxy=false"]"#
)]
#[case(
    r#"["server","--kube-controller-manager-arg","node-monitor-grace-period=30s","--kube-controller-manager-arg","root-ca-file=x","--kube-controller-manager-arg=node-monitor-grace-period=5m","--token=x"]"#,
    r#"["server","--kube-controller-manager-arg","node-monitor-grace-period=30s","--kube-controller-manager-arg=node-monitor-grace-period=5m"]"#
)]
#[case("token x", "")]
fn arguments_of_k3s(#[case] text: &str, #[case] expected: &str) {
    let less = kept_of(
        kind("Node"),
        json!({"metadata": {"name": "n", "annotations": {"k3s.io/node-args": text}}}),
    );
    assert_eq!(less["metadata"]["annotations"]["k3s.io/node-args"], expected);
}

#[test]
fn a_list_that_begins_again_begins_from_nothing_and_a_folder_is_whole_or_not_there() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("out");
    let items = |name: &str| {
        let body = json!({"items": [{"metadata": {"name": name, "namespace": "shop"}}]});
        ListPiece::Items(Items::list(kind("Service"), body.to_string()).0)
    };
    let mut collection = Collection::new(Folder::begin(&target).unwrap());
    collection.page(&ListPiece::Begin(kind("Service"))).unwrap();
    collection.page(&items("old")).unwrap();
    collection.page(&ListPiece::Begin(kind("Service"))).unwrap();
    collection.page(&items("new")).unwrap();
    assert!(!target.exists());
    let contents = collection.finish(&Core::default()).unwrap();
    assert_eq!(
        contents.objects.iter().find(|one| one.0 == "services"),
        Some(&("services", 1))
    );
    let text = std::fs::read_to_string(target.join("services.json")).unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list["kind"], "ServiceList");
    assert_eq!(list["items"][0]["metadata"]["name"], "new");
    let nodes: Value =
        serde_json::from_str(&std::fs::read_to_string(target.join("nodes.json")).unwrap()).unwrap();
    assert_eq!(
        nodes,
        json!({"apiVersion": "v1", "kind": "NodeList", "metadata": {}, "items": []})
    );

    let why = Folder::begin(&target).unwrap_err().to_string();
    assert!(why.contains("is not empty"), "{why}");
    let mut given_up = Collection::new(Folder::begin(&outside.path().join("other")).unwrap());
    given_up.page(&items("x")).unwrap();
    drop(given_up);
    let left: Vec<_> = std::fs::read_dir(outside.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
