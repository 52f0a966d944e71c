//! What drafts say of small clusters, and that whatever stands in objects they are taken by the API server's rules.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use evenkeel_core::know::{Now, Source, Wall};
use evenkeel_core::{Core, Input};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Heading, WrittenPolicies, platform, team};
use crate::api::{compile, compile_cluster, local};

const NOW: Now = Now {
    mono: evenkeel_core::know::Mono(0),
    wall: Wall(1_800_000_000),
};

const HEAD: Heading<'static> = Heading {
    seen: "in the cluster at 2027-01-15T08:00:00Z",
    next: "evenkeel audit -n shop --policy FILE",
};

/// A core that has read these objects and knows that there are no others.
fn core(objects: &[(Source, Value)]) -> Core {
    let mut core = Core::default();
    for source in Source::ALL {
        let own = objects.iter().filter(|one| one.0 == source);
        for (_, object) in own {
            core.handle(Now::ONCE, Input::object(source, object.to_string().as_bytes()));
        }
        core.handle(Now::ONCE, Input::Synced(source));
    }
    core.round(NOW);
    core
}

fn service(name: &str, spec: &Value) -> (Source, Value) {
    (
        Source::Services,
        json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec}),
    )
}

/// Web servers: so many ready ones on each of these nodes.
fn slice(service: &str, nodes: &[(&str, usize)]) -> (Source, Value) {
    let all = nodes
        .iter()
        .flat_map(|(node, count)| std::iter::repeat_n(*node, *count));
    let endpoints: Vec<_> = all
        .enumerate()
        .map(|(at, node)| {
            let zone = format!("zone-{}", &node[1..]);
            json!({"addresses": [format!("10.0.0.{at}")], "conditions": {"ready": true}, "nodeName": node, "zone": zone,
                "targetRef": {"kind": "Pod", "name": format!("{service}-{at}"), "namespace": "shop"}})
        })
        .collect();
    let object = json!({
        "metadata": {"name": service, "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}, {"name": "grpc", "port": 9000}, {"name": "dns", "port": 53, "protocol": "UDP"}],
    });
    (Source::EndpointSlices, object)
}

fn node(name: &str) -> (Source, Value) {
    let info = json!({"operatingSystem": "linux", "kernelVersion": "6.1.0", "kubeletVersion": "v1.34.0"});
    let labels = json!({"topology.kubernetes.io/zone": format!("zone-{}", &name[1..])});
    let conditions = json!([{"type": "Ready", "status": "True"}]);
    (
        Source::Nodes,
        json!({"metadata": {"name": name, "labels": labels}, "status": {"nodeInfo": info, "conditions": conditions}}),
    )
}

/// kube-proxy in mode ipvs on every node, as kubeadm installs it.
fn kube_proxy() -> [(Source, Value); 2] {
    let config = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\n";
    let named = json!({"name": "kube-proxy", "namespace": "kube-system"});
    let labels = json!({"k8s-app": "kube-proxy"});
    let container = json!({
        "name": "kube-proxy", "image": "registry.k8s.io/kube-proxy:v1.34.0",
        "command": ["/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf"],
        "volumeMounts": [{"name": "kube-proxy", "mountPath": "/var/lib/kube-proxy"}],
    });
    let spec = json!({"hostNetwork": true, "containers": [container], "tolerations": [{"operator": "Exists"}],
        "volumes": [{"name": "kube-proxy", "configMap": {"name": "kube-proxy"}}]});
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    [
        (
            Source::ConfigMaps,
            json!({"metadata": named, "data": {"config.conf": config}}),
        ),
        (
            Source::DaemonSets,
            json!({"metadata": named, "spec": {"selector": {"matchLabels": labels}, "template": template}}),
        ),
    ]
}

fn web() -> Value {
    json!({"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]})
}

/// The documents of a draft, each taken and compiled; then once more with every field that was left to people.
fn documents(draft: &WrittenPolicies) -> Vec<Value> {
    let filled: String = draft.text.lines().map(|row| filled_in(row) + "\n").collect();
    let whole = parsed(&filled);
    assert_eq!(whole.len(), draft.policies, "{filled}");
    parsed(&draft.text)
}

/// A line whose field counts: `#` stands right before it, or before the spaces of an inner one.
fn filled_in(row: &str) -> String {
    match row.split_once('#') {
        Some((indent, rest)) if indent.trim().is_empty() => {
            let mut rest_of = rest.chars();
            let prose = rest_of.next() == Some(' ') && rest_of.next() != Some(' ');
            if prose {
                String::new()
            } else {
                format!("{indent}{rest}")
            }
        }
        _ => row.to_owned(),
    }
}

fn parsed(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").skip(1);
    documents
        .map(|text| {
            let object: Value = serde_saphyr::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"));
            match local::validate(&object).unwrap_or_else(|why| panic!("{why:?}: {text}")) {
                local::Draft::Policy(policy) => drop(compile(&policy, &|_| true).unwrap()),
                local::Draft::Cluster(policy) => drop(compile_cluster(&policy).unwrap()),
            }
            object
        })
        .collect()
}

fn of_shop(objects: &[(Source, Value)]) -> WrittenPolicies {
    team(&core(objects), NOW, "shop", &HEAD).unwrap()
}

#[test]
fn what_is_seen_is_declared() {
    let balanced = json!({"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [
        {"name": "http", "port": 80}, {"name": "grpc", "port": 9000, "appProtocol": "grpc"}, {"name": "dns", "port": 53, "protocol": "UDP"},
    ]});
    let pod = json!({"metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}}, "spec": {
        "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "120"}]}}});
    let objects = [
        service("web", &balanced),
        slice("web", &[("n1", 2), ("n2", 1), ("n3", 1)]),
        (Source::Pods, pod),
        node("n1"),
        node("n2"),
        node("n3"),
    ];
    let draft = of_shop(&[&objects[..], &kube_proxy()].concat());
    insta::assert_snapshot!("a_service", draft.text);
    documents(&draft);
}

#[test]
fn services_that_are_alike_share_a_policy() {
    let draft = of_shop(&[
        service("b", &web()),
        slice("b", &[("n1", 1), ("n2", 1)]),
        service("a", &web()),
        slice("a", &[("n1", 1), ("n2", 1)]),
        service("lonely", &web()),
        slice("lonely", &[("n1", 1)]),
    ]);
    let all = documents(&draft);
    let names: Vec<_> = all.iter().map(|one| &one["spec"]["services"]["names"]).collect();
    assert_eq!(names, [&json!(["a", "b"]), &json!(["lonely"])]);
    assert_eq!((draft.policies, draft.services), (2, 3));
    assert_eq!(all[0]["spec"]["balance"]["maxPercentPerNode"], 50);
    assert_eq!(all[1]["spec"]["balance"].get("maxPercentPerNode"), None);
}

#[test]
fn nothing_is_said_twice_of_a_service() {
    let mut core = core(&[
        service("web", &web()),
        service("old", &web()),
        service(
            "alias",
            &json!({"type": "ExternalName", "externalName": "example.com"}),
        ),
    ]);
    let policy = super::Policy {
        name: "web".into(),
        services: super::ServicePick::Names(vec!["old".into()]),
        ..super::scaffold("shop")
    };
    core.handle(Now::ONCE, Input::Policy(std::sync::Arc::new(policy)));
    core.round(NOW);
    let draft = team(&core, NOW, "shop", &HEAD).unwrap();
    let all = documents(&draft);
    assert_eq!(all.len(), 1);
    // The name of the policy that is there stays its own.
    assert_eq!(all[0]["metadata"]["name"], "web-2");
    assert!(
        draft.text.contains("# Left out: old (governed by policy web)."),
        "{}",
        draft.text
    );
    assert!(
        draft.text.contains("# Left out: alias (an alias in DNS"),
        "{}",
        draft.text
    );
}

/// However many alike there are, no policy names more than the schema allows or declares more paths than are judged.
#[rstest]
#[case::of_one_port(130, 1, 3)]
#[case::of_many_ports(130, 20, 3)]
fn policies_stay_small(#[case] services: usize, #[case] ports: u16, #[case] expected: usize) {
    let ports: Vec<_> = (0..ports)
        .map(|at| json!({"name": format!("p{at}"), "port": 8000 + at}))
        .collect();
    let spec = json!({"selector": {"app": "web"}, "ports": ports});
    let all: Vec<_> = (0..services)
        .map(|at| service(&format!("web-{at}"), &spec))
        .collect();
    let draft = of_shop(&all);
    assert_eq!((draft.policies, draft.services), (expected, services));
    documents(&draft);
}

#[test]
fn the_platform_is_declared_as_it_is() {
    let servers = json!({
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4", "ports": [{"name": "https", "port": 6443}],
        "endpoints": (1..=3).map(|at| json!({"addresses": [format!("192.0.2.{at}")], "conditions": {"ready": true}})).collect::<Vec<_>>(),
    });
    let objects = [node("n1"), node("n2"), (Source::EndpointSlices, servers)];
    let core = core(&[&objects[..], &kube_proxy()].concat());
    let draft = platform(&core, NOW, &HEAD).unwrap();
    insta::assert_snapshot!("a_platform", draft.text);
    let all = documents(&draft);
    assert_eq!(all[0]["spec"]["controlPlane"]["expectedInstances"], 3);
}

#[test]
fn a_second_policy_of_the_platform_is_not_written() {
    let mut core = core(&[]);
    let policy = evenkeel_core::policy::ClusterPolicy::default();
    core.handle(Now::ONCE, Input::ClusterPolicy(Some(std::sync::Arc::new(policy))));
    let said = platform(&core, NOW, &HEAD).unwrap_err().to_string();
    assert!(
        said.contains("has a ClusterTrafficHealthPolicy already"),
        "{said}"
    );
}

#[test]
fn what_may_not_be_seen_is_no_empty_namespace() {
    let mut core = Core::default();
    core.handle(
        Now::ONCE,
        Input::Freshness(
            Source::Services,
            evenkeel_core::index::Part::Whole,
            evenkeel_core::index::Freshness::unreadable("missing right"),
        ),
    );
    core.round(NOW);
    assert!(team(&core, NOW, "shop", &HEAD).is_err());
}

/// Names as objects in files may have them.
fn name_of_any() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{1,20}",
        prop::sample::select(vec![
            "on",
            "null",
            "1e5",
            "0x10",
            "~",
            "a: b",
            "a\nkind: Secret",
            "- x",
            "#",
            "}",
            "\u{2028}"
        ])
        .prop_map(str::to_owned),
        ".{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_stands_in_objects_drafts_are_valid(
        services in prop::collection::vec((name_of_any(), name_of_any(), name_of_any(), any::<u16>(), 0..4_usize), 0..6),
    ) {
        let kinds = ["ClusterIP", "LoadBalancer", "NodePort", "ExternalName"];
        let mut objects = Vec::new();
        for (name, port, application, number, kind) in &services {
            let protocol = ["TCP", "UDP", "SCTP", "TCP"][kind % 4];
            objects.push(service(name, &json!({
                "type": kinds[*kind], "selector": {"app": name},
                "ports": [{"name": port, "port": number.max(&1), "appProtocol": application, "protocol": protocol}],
            })));
            objects.push(slice("web", &[("n1", 1)]));
        }
        let draft = team(&core(&objects), NOW, "shop", &HEAD).unwrap();
        let all = documents(&draft);
        prop_assert_eq!(all.len(), draft.policies);
    }
}
