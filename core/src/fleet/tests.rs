//! What is believed of the fleet: which kube-proxy counts where there are several, and what is known without Nodes.

use rstest::rstest;
use serde_json::{Value, json};

use crate::dataplane::{Profile, ProxyMode};
use crate::fleet::Class;
use crate::handle::Input;
use crate::index::{Freshness, Part};
use crate::know::{Gap, Now, Origin, Source};
use crate::world::{World, node, static_proxy as own};

fn ready(mut pod: Value, since: &str) -> Value {
    pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    pod["status"]["startTime"] = json!(since);
    pod
}

fn class<'a>(world: &'a mut World, node: &str) -> Option<&'a Class> {
    world.core.round(world.now);
    let name = world.core.index().names.find(node)?;
    world.core.fleet().class(name)
}

fn mode(world: &mut World, node: &str) -> String {
    let mode = class(world, node).map(|class| class.profile.mode.clone());
    mode.map_or("none".into(), |mode| {
        mode.map_or("unknown".into(), |mode| mode.value.name().into())
    })
}

const EARLY: &str = "2026-11-21T12:00:00Z";
const LATE: &str = "2026-11-21T13:00:00Z";

#[rstest]
#[case::ready_before_not(ready(own("a", "n1", "ipvs"), EARLY), own("b", "n1", "nftables"), "Ipvs")]
#[case::the_later(
    ready(own("a", "n1", "ipvs"), EARLY),
    ready(own("b", "n1", "nftables"), LATE),
    "Nftables"
)]
#[case::the_first_by_name(
    ready(own("a", "n1", "ipvs"), LATE),
    ready(own("b", "n1", "nftables"), LATE),
    "Ipvs"
)]
fn of_two_on_one_node_one_counts(#[case] one: Value, #[case] other: Value, #[case] expected: &str) {
    for pods in [[&one, &other], [&other, &one]] {
        let mut world = World::complete().with(Source::Nodes, node("n1", "a"));
        for pod in pods {
            world = world.with(Source::Pods, pod);
        }
        assert_eq!(mode(&mut world, "n1").to_lowercase(), expected.to_lowercase());
    }
}

#[test]
fn a_static_pod_shows_its_node_where_nodes_were_not_read() {
    let mut world = World::without(&[Source::Nodes])
        .with(Source::Pods, own("a", "n1", "ipvs"))
        .with(Source::Pods, own("b", "n2", "ipvs"))
        .with(Source::Pods, own("c", "n3", "nftables"));
    assert_eq!(mode(&mut world, "n1").to_lowercase(), "ipvs");
    let fleet = world.core.fleet();
    let counts: Vec<_> = fleet.classes.iter().map(|class| class.nodes).collect();
    // Nodes of equal configuration are one class, whatever their names.
    assert_eq!(counts, [2, 1]);
}

#[test]
fn a_class_cites_the_first_of_its_nodes() {
    let mut world = World::complete()
        .all(Source::Nodes, &[node("n1", "a"), node("n2", "a")])
        .with(Source::Pods, own("p1", "n1", "ipvs"))
        .with(Source::Pods, own("p2", "n2", "ipvs"));
    let cited = |world: &mut World| class(world, "n2").unwrap().profile.mode.clone().unwrap().source;
    assert!(cited(&mut world).contains("kube-system/p1"));
    world.core.handle(Now::ONCE, Input::Gone(Source::Nodes, "", "n1"));
    assert!(cited(&mut world).contains("kube-system/p2"));
}

#[rstest]
#[case("k3s.io/node-args")]
#[case("rke2.io/node-args")]
fn arguments_are_cited_where_they_stand(#[case] annotation: &str) {
    let mut row = node("n1", "a");
    row["metadata"]["annotations"] =
        json!({annotation: r#"["server","--kube-proxy-arg","proxy-mode=ipvs"]"#});
    let mut world = World::complete().with(Source::Nodes, &row);
    let mode = class(&mut world, "n1").unwrap().profile.mode.clone().unwrap();
    assert!(mode.source.contains(annotation), "{}", mode.source);
}

fn cilium(missing: &[Source]) -> World {
    World::without(missing)
        .with(Source::Nodes, node("n1", "a"))
        .with(
            Source::DaemonSets,
            json!({"metadata": {"name": "cilium", "namespace": "kube-system"}, "spec": {"template": {"spec": {
                "containers": [{"name": "cilium-agent", "image": "cilium:v1.16.2", "command": ["cilium-agent"]}],
            }}}}),
        )
        .with(
            Source::ConfigMaps,
            json!({"metadata": {"name": "cilium-config", "namespace": "kube-system"},
                "data": {"kube-proxy-replacement": "true", "bpf-ct-timeout-service-tcp": "1h"}}),
        )
}

fn of_cilium(world: &mut World) -> Profile {
    class(world, "n1").unwrap().profile.clone()
}

#[rstest]
#[case::veth(r#"{"type":"terway"}"#, Some(ProxyMode::Ipvs), Some(900))]
#[case::said_so(
    r#"{"type":"terway","eniip_virtual_type":"veth"}"#,
    Some(ProxyMode::Ipvs),
    Some(900)
)]
#[case::with_cilium(
    r#"{"type":"terway","eniip_virtual_type":"datapathv2"}"#,
    Some(ProxyMode::Ipvs),
    Some(21600)
)]
#[case::nonsense("terway", None, None)]
fn services_of_terway_without_cilium_are_kube_proxys(
    #[case] config: &str,
    #[case] mode: Option<ProxyMode>,
    #[case] idle: Option<i64>,
) {
    let image = "acs/terway:v1.9.1";
    let set = |name: &str, container: Value| {
        json!({
            "metadata": {"name": name, "namespace": "kube-system"},
            "spec": {"template": {"spec": {"containers": [container]}}},
        })
    };
    let mut world = World::without(&[Source::Pods])
        .with(Source::Nodes, node("n1", "a"))
        .with(
            Source::DaemonSets,
            set("terway-eniip", json!({"name": "policy", "image": image, "command": ["/bin/policyinit.sh"]})),
        )
        .with(
            Source::DaemonSets,
            set("kube-proxy", json!({"name": "kube-proxy", "image": "kube-proxy:v1.33.0", "command": ["kube-proxy", "--proxy-mode=ipvs"]})),
        )
        .with(
            Source::ConfigMaps,
            json!({"metadata": {"name": "eni-config", "namespace": "kube-system"}, "data": {"10-terway.conf": config}}),
        );
    let profile = class(&mut world, "n1").unwrap().profile.clone();
    assert_eq!(profile.mode.ok().map(|mode| mode.value), mode);
    let seconds = profile
        .service_idle_seconds
        .ok()
        .flatten()
        .map(|seconds| seconds.value);
    assert_eq!(seconds, idle);
}

#[test]
fn node_configs_that_nobody_read_leave_a_note() {
    let told = |profile: &Profile| {
        profile
            .notes
            .iter()
            .any(|note| note.contains("CiliumNodeConfigs"))
    };
    let read = of_cilium(&mut cilium(&[]));
    assert!(!told(&read));
    let unread = of_cilium(&mut cilium(&[Source::CiliumNodeConfigs]));
    assert!(told(&unread));
    let seconds = |profile: Profile| profile.cilium.unwrap().unwrap().service_tcp_seconds.unwrap();
    assert_eq!(seconds(read), seconds(unread));
}

#[rstest]
#[case::refused(Input::Freshness(
    Source::CiliumNodeConfigs,
    Part::Whole,
    Freshness::unreadable("forbidden")
))]
#[case::stale(Input::Freshness(Source::CiliumNodeConfigs, Part::Whole, Freshness::Stale))]
fn node_configs_that_cannot_be_read_may_say_anything(#[case] input: Input<'_>) {
    let mut world = cilium(&[]);
    world.core.handle(Now::ONCE, input);
    let settings = of_cilium(&mut world).cilium.unwrap();
    assert!(matches!(
        settings,
        Err(Gap::Unreadable(Source::CiliumNodeConfigs, _) | Gap::Stale(Source::CiliumNodeConfigs))
    ));
}

/// kube-proxy's DaemonSet, with more in its Pods' spec.
fn proxy_set(mode: &str, more: Value) -> Value {
    let mut spec = json!({"containers": [{
        "name": "kube-proxy", "image": "kube-proxy:v1.33.1",
        "command": ["kube-proxy", format!("--proxy-mode={mode}")],
    }]});
    if let (Some(into), Value::Object(more)) = (spec.as_object_mut(), more) {
        into.extend(more);
    }
    json!({
        "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "spec": {"selector": {}, "template": {"metadata": {}, "spec": spec}},
    })
}

/// A Pod of that DaemonSet.
fn of_set(name: &str, on: &str, mode: &str) -> Value {
    let mut pod = own(name, on, mode);
    pod["metadata"]["ownerReferences"] =
        json!([{"kind": "DaemonSet", "name": "kube-proxy", "controller": true}]);
    pod
}

/// Mode, idle seconds and origin of a node, or why they are not known.
fn told(world: &mut World, node: &str) -> String {
    let Some(class) = class(world, node) else {
        return "no class".into();
    };
    match (&class.profile.mode, &class.profile.service_idle_seconds) {
        (Ok(mode), Ok(Some(idle))) => format!("{} {} {:?}", mode.value.name(), idle.value, idle.origin),
        (Err(gap), _) | (_, Err(gap)) => gap.to_string(),
        (Ok(mode), Ok(None)) => format!("{} none", mode.value.name()),
    }
}

#[rstest]
#[case::pods_unread(World::without(&[Source::Pods]), proxy_set("ipvs", json!({})), "Ipvs 900 Default")]
#[case::pods_read_in_part(
    World::without(&[Source::Pods]).with(Source::Pods, of_set("p", "n2", "iptables")),
    proxy_set("ipvs", json!({})),
    "Ipvs 900 Default"
)]
#[case::another_node_has_one(
    World::complete().with(Source::Pods, of_set("p", "n2", "iptables")),
    proxy_set("ipvs", json!({})),
    "has no Pod here"
)]
#[case::no_pod_there(World::complete(), proxy_set("ipvs", json!({})), "has no Pod here")]
#[case::sent_away(
    World::without(&[Source::Pods]),
    proxy_set("ipvs", json!({"nodeSelector": {"proxy": "wanted"}})),
    "may not run here"
)]
#[case::sent_away_by_affinity(
    World::without(&[Source::Pods]),
    proxy_set("ipvs", json!({"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kind", "operator": "NotIn", "values": ["edge"]}]},
        ]},
    }}})),
    "may not run here"
)]
fn a_daemon_set_counts_where_its_pods_run(#[case] world: World, #[case] set: Value, #[case] expected: &str) {
    let mut row = node("n1", "a");
    row["metadata"]["labels"]["kind"] = json!("edge");
    let mut world = world.with(Source::Nodes, &row).with(Source::DaemonSets, &set);
    let told = told(&mut world, "n1");
    assert!(told.contains(expected), "{told}");
}

/// Nodes that were not read are those that a Pod of kube-proxy runs on, where all Pods were read; else there may be others.
#[rstest]
#[case::all_pods(&[Source::Nodes], 1)]
#[case::some_pods(&[Source::Nodes, Source::Pods], 2)]
fn nodes_that_were_not_read(#[case] missing: &[Source], #[case] classes: usize) {
    let mut world = World::without(missing)
        .with(Source::DaemonSets, proxy_set("ipvs", json!({})))
        .with(Source::Pods, of_set("p", "n1", "iptables"));
    world.core.round(world.now);
    assert_eq!(world.core.fleet().classes.len(), classes);
}

#[test]
fn what_runs_counts_and_not_what_the_template_says_now() {
    let mut world = World::complete()
        .all(Source::Nodes, &[node("n1", "a"), node("n2", "a")])
        .with(Source::DaemonSets, proxy_set("iptables", json!({})))
        .with(Source::Pods, of_set("p1", "n1", "ipvs"))
        .with(Source::Pods, of_set("p2", "n2", "iptables"));
    assert_eq!(told(&mut world, "n1"), "Ipvs 900 Default");
    assert_eq!(told(&mut world, "n2"), "Iptables 86400 Default");
    let cited = class(&mut world, "n2")
        .unwrap()
        .profile
        .mode
        .clone()
        .unwrap()
        .source;
    assert!(cited.contains("DaemonSet kube-system/kube-proxy"), "{cited}");
}

/// kube-proxy's ConfigMap, written at a time.
fn config_map(text: &str, written: &str) -> Value {
    json!({
        "metadata": {
            "name": "kube-proxy", "namespace": "kube-system",
            "managedFields": [{"manager": "kubectl-edit", "time": written}],
        },
        "data": {"config.conf": text},
    })
}

const IPVS: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\n";

#[rstest]
#[case::started_after(LATE, None, "Ipvs 900 Default")]
#[case::started_before(EARLY, None, "Ipvs 900 Assumed")]
#[case::container_started_after(EARLY, Some("2026-11-22T00:00:00Z"), "Ipvs 900 Default")]
fn an_edit_after_the_start_makes_it_assumed(
    #[case] started: &str,
    #[case] container: Option<&str>,
    #[case] expected: &str,
) {
    let mut pod = ready(of_set("p1", "n1", "ipvs"), started);
    pod["spec"]["containers"][0]["command"] = json!(["kube-proxy", "--config=/c/config.conf"]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "c", "mountPath": "/c"}]);
    pod["spec"]["volumes"] = json!([{"name": "c", "configMap": {"name": "kube-proxy"}}]);
    if let Some(at) = container {
        pod["status"]["containerStatuses"] =
            json!([{"name": "kube-proxy", "state": {"running": {"startedAt": at}}}]);
    }
    let mut world = World::complete()
        .with(Source::Nodes, node("n1", "a"))
        .with(Source::Pods, &pod)
        .with(Source::ConfigMaps, config_map(IPVS, "2026-11-21T12:30:00Z"));
    assert_eq!(told(&mut world, "n1"), expected);
}

#[rstest]
#[case::alone(World::without(&[Source::Pods, Source::DaemonSets]), IPVS, "Ipvs 900 Assumed")]
#[case::pods_unread(World::without(&[Source::Pods]), IPVS, "Ipvs 900 Assumed")]
#[case::nobody_reads_it(World::complete(), IPVS, "left over")]
#[case::empty(World::without(&[Source::Pods]), "", "ConfigMap kube-system/kube-proxy key config.conf")]
fn a_config_map_without_a_process(#[case] world: World, #[case] text: &str, #[case] expected: &str) {
    let mut world = world
        .with(Source::Nodes, node("n1", "a"))
        .with(Source::ConfigMaps, config_map(text, EARLY));
    let told = told(&mut world, "n1");
    assert!(told.contains(expected), "{told}");
}

/// Where `DaemonSets` were read and none is an agent, a `cilium-config` is left over, and kube-proxy carries Services.
#[rstest]
#[case::not_read(&[Source::DaemonSets], Some(8000))]
#[case::read(&[], Some(900))]
fn the_settings_of_a_cilium_that_is_gone(#[case] missing: &[Source], #[case] expected: Option<i64>) {
    let mut world = World::without(missing)
        .with(Source::Nodes, node("n1", "a"))
        .with(Source::Pods, own("a", "n1", "ipvs"))
        .with(
            Source::ConfigMaps,
            json!({"metadata": {"name": "cilium-config", "namespace": "kube-system"}, "data": {
                "kube-proxy-replacement": "false", "bpf-ct-timeout-service-tcp": "8000s",
            }}),
        );
    let idle = of_cilium(&mut world).service_idle_seconds.unwrap();
    assert_eq!(idle.map(|idle| idle.value), expected);
}

#[test]
fn a_static_pod_shows_its_neighbours_where_nothing_else_was_read() {
    let mut world = World::without(&[Source::DaemonSets])
        .all(Source::Nodes, &[node("n1", "a"), node("n2", "a")])
        .with(Source::Pods, own("a", "n1", "ipvs"));
    assert_eq!(told(&mut world, "n1"), "Ipvs 900 Default");
    assert_eq!(told(&mut world, "n2"), "Ipvs 900 Assumed");
}

#[test]
fn a_variable_that_the_object_gives_is_put_in() {
    let mut set = proxy_set("$(MODE)", json!({}));
    let mut world = |env: Value| {
        set["spec"]["template"]["spec"]["containers"][0]["env"] = env;
        let mut world = World::without(&[Source::Pods])
            .with(Source::Nodes, node("n1", "a"))
            .with(Source::DaemonSets, &set);
        told(&mut world, "n1")
    };
    assert_eq!(
        world(json!([{"name": "MODE", "value": "ipvs"}])),
        "Ipvs 900 Default"
    );
    let elsewhere =
        world(json!([{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}]));
    assert!(elsewhere.contains("$(MODE)"), "{elsewhere}");
}

#[test]
fn agents_of_k3s_follow_their_server() {
    let k3s = |name: &str, args: &str| {
        let mut row = node(name, "a");
        row["metadata"]["annotations"] = json!({"k3s.io/node-args": args});
        row
    };
    let mut world = World::complete()
        .with(Source::Nodes, k3s("agent", r#"["agent"]"#))
        .with(Source::Nodes, k3s("server", r#"["server"]"#));
    assert_eq!(told(&mut world, "agent"), "Iptables 432000 Default");
    let mut world = world.with(
        Source::Nodes,
        k3s("server", r#"["server","--disable-kube-proxy"]"#),
    );
    assert!(told(&mut world, "agent").contains("neither kube-proxy"));
}

/// A DaemonSet with one container.
fn set(namespace: &str, name: &str, container: &Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": {"spec": {"containers": [container]}}},
    })
}

#[rstest]
#[case::environment(&[], json!([{"name": "FELIX_BPFENABLED", "value": "true"}]), "Other 3600 Default")]
#[case::environment_first(&[("default", "true", "2h")], json!([{"name": "FELIX_BPFENABLED", "value": "false"}]), "neither")]
#[case::configured(&[("default", "true", "2h")], json!([]), "Other 7200 Declared")]
#[case::of_the_node(&[("default", "false", "2h"), ("node.n1", "true", "3h")], json!([]), "Other 10800 Declared")]
#[case::of_another_node(&[("default", "false", "2h"), ("node.n2", "true", "3h")], json!([]), "neither")]
fn calico_by_what_configures_felix(
    #[case] felix: &[(&str, &str, &str)],
    #[case] env: Value,
    #[case] expected: &str,
) {
    let mut world = World::complete()
        .all(Source::Nodes, &[node("n1", "a"), node("n2", "a")])
        .with(
            Source::DaemonSets,
            set(
                "calico-system",
                "calico-node",
                &json!({"name": "calico-node", "env": env}),
            ),
        );
    for (name, enabled, tcp) in felix {
        world = world.with(
            Source::FelixConfigurations,
            json!({
                "metadata": {"name": name},
                "spec": {"bpfEnabled": *enabled == "true", "bpfConntrackTimeouts": {"tcpEstablished": tcp}},
            }),
        );
    }
    let told = told(&mut world, "n1");
    assert!(told.contains(expected), "{told}");
}

/// The agent's environment counts before its ConfigMap.
#[rstest]
#[case::set(json!({"name": "CILIUM_BPF_CT_TIMEOUT_SERVICE_TCP", "value": "20m"}), Some(1200))]
#[case::another(json!({"name": "CILIUM_K8S_NAMESPACE", "value": "20m"}), Some(3600))]
#[case::from_elsewhere(
    json!({"name": "CILIUM_BPF_CT_TIMEOUT_SERVICE_TCP", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y"}}}),
    None
)]
fn the_environment_of_an_agent(#[case] variable: Value, #[case] expected: Option<i64>) {
    let mut world = cilium(&[]).with(
        Source::DaemonSets,
        json!({"metadata": {"name": "cilium", "namespace": "kube-system"}, "spec": {"template": {"spec": {
            "containers": [{
                "name": "cilium-agent", "image": "cilium:v1.16.2", "command": ["cilium-agent"], "env": [variable],
            }],
        }}}}),
    );
    let found = of_cilium(&mut world).cilium.unwrap().unwrap().service_tcp_seconds;
    assert_eq!(found.ok().map(|found| found.value), expected);
}

/// What an agent runs with counts, whatever its DaemonSet and ConfigMap say by now.
#[rstest]
#[case::as_written("cilium:v1.16.2", &["cilium-agent"], "", 8000, Origin::Default)]
#[case::another_version("cilium:v1.11.20", &["cilium-agent"], "", 21600, Origin::Default)]
#[case::a_flag("cilium:v1.16.2", &["cilium-agent", "--bpf-ct-timeout-service-tcp=30m"], "", 1800, Origin::Declared)]
#[case::a_flag_in_two_words("cilium:v1.16.2", &["cilium-agent", "--bpf-ct-timeout-service-tcp", "30m"], "", 1800, Origin::Declared)]
#[case::started_before("cilium:v1.16.2", &["cilium-agent"], "2026-01-01T00:00:00Z", 8000, Origin::Assumed)]
#[case::started_after("cilium:v1.16.2", &["cilium-agent"], "2026-01-03T00:00:00Z", 8000, Origin::Default)]
fn the_agent_that_runs_counts(
    #[case] image: &str,
    #[case] command: &[&str],
    #[case] started: &str,
    #[case] seconds: i64,
    #[case] origin: Origin,
) {
    let agent = json!({
        "metadata": {"name": "cilium-x", "namespace": "kube-system",
            "ownerReferences": [{"kind": "DaemonSet", "name": "cilium", "controller": true}]},
        "spec": {"nodeName": "n1", "containers": [{"name": "cilium-agent", "image": image, "command": command}]},
        "status": {"phase": "Running", "startTime": (!started.is_empty()).then_some(started)},
    });
    let mut world = cilium(&[]).with(Source::Pods, agent).with(
        Source::ConfigMaps,
        json!({
            "metadata": {
                "name": "cilium-config", "namespace": "kube-system",
                "managedFields": [{"manager": "helm", "time": "2026-01-02T00:00:00Z"}],
            },
            "data": {},
        }),
    );
    let found = of_cilium(&mut world)
        .cilium
        .unwrap()
        .unwrap()
        .service_tcp_seconds
        .unwrap();
    assert_eq!((found.value, found.origin), (seconds, origin), "{}", found.source);
}

#[test]
fn a_configuration_file_by_itself_is_assumed() {
    let mut world = World::without(&[Source::ConfigMaps, Source::DaemonSets, Source::Pods])
        .with(Source::Nodes, node("n1", "a"));
    let text = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\n";
    world.input(Input::ProxyDocument("file proxy.yaml", text));
    let mode = class(&mut world, "n1").map(|class| class.profile.mode.clone());
    let mode = mode.unwrap().unwrap();
    assert_eq!((mode.value, mode.origin), (ProxyMode::Ipvs, Origin::Assumed));
}

#[test]
fn the_token_of_a_pod_makes_no_class() {
    let pod = |on: &str| {
        let mut pod = own(&format!("kube-proxy-{on}"), on, "ipvs");
        let mount = json!([{"name": format!("kube-api-access-{on}"), "mountPath": "/var/run/secrets"}]);
        pod["spec"]["containers"][0]["volumeMounts"] = mount;
        pod
    };
    let mut world = World::complete();
    for on in ["n1", "n2"] {
        world = world
            .with(Source::Nodes, node(on, "a"))
            .with(Source::Pods, pod(on));
    }
    world.core.round(world.now);
    assert_eq!(world.core.fleet().classes.len(), 1);
}
