//! Where a client runs, or may run, decides which tables its connections meet.

use rstest::rstest;
use serde_json::{Value, json};

use crate::Input;
use crate::know::Source;
use crate::policy::{Client, Connection, Door, Protocol, Server};
use crate::world::{NEVER, World, app, client, connection, l4, node, pod, policy, service, static_proxy};

/// A Deployment of an app whose Pods run where this says.
fn deployment(app: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["containers"] = json!([{"name": "main", "image": "x:1"}]);
    json!({
        "metadata": {"name": app, "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "template": {"metadata": {"labels": {"app": app}}, "spec": spec},
        },
    })
}

/// Two pools: kube-proxy runs iptables on `a` and IPVS on `b`, and Pods have to tolerate `b`.
fn pools(missing: &[Source], client: Client) -> World {
    let node = |name: &str| {
        let mut node = node(name, "");
        node["metadata"]["labels"]["pool"] = json!(name);
        if name == "b" {
            node["spec"]["taints"] = json!([{"key": "batch", "effect": "NoSchedule"}]);
        }
        node
    };
    let connection = Connection {
        longest_silence_seconds: Some(1800),
        server: Server {
            tcp_keepalive: NEVER,
            ..Server::default()
        },
        ..connection(
            Protocol::Tcp,
            Client {
                tcp_keepalive: NEVER,
                ..client
            },
        )
    };
    World::without(missing)
        .all(Source::Nodes, &[node("a"), node("b")])
        .with(Source::Services, service("api", json!({})))
        .policy(policy(vec![connection]))
}

fn proxies(world: World) -> World {
    world
        .with(Source::Pods, static_proxy("kp-a", "a", "iptables"))
        .with(Source::Pods, static_proxy("kp-b", "b", "ipvs"))
}

fn jobs() -> Client {
    Client {
        pods: Some(app("job")),
        ..client("job")
    }
}

const CUT: &str = "Violated critical SilenceExceedsTimeout";
const MAYBE: &str = "AtRisk warning PlaceNotKnown";

/// A Deployment that was refused may be the client as well as what was read.
#[test]
fn what_makes_the_client_and_was_refused_may_run_anywhere() {
    let mut world = proxies(pools(&[], jobs())).with(Source::DaemonSets, deployment("job", &json!({})));
    assert_eq!(world.verdict("path-idle-budget"), "Met");
    world.input(Input::Refused(Source::Deployments, "shop", "other", "too long"));
    assert_eq!(world.verdict("path-idle-budget"), MAYBE);
    world.input(Input::Gone(Source::Deployments, "shop", "other"));
    assert_eq!(world.verdict("path-idle-budget"), "Met");
}

#[rstest]
#[case::runs_there(Some("b"), json!({"tolerations": [{"operator": "Exists"}]}), CUT)]
#[case::may_run_there(Some("a"), json!({"tolerations": [{"operator": "Exists"}]}), MAYBE)]
#[case::may_not(Some("a"), json!({}), "Met")]
#[case::no_pod_now(None, json!({"tolerations": [{"operator": "Exists"}]}), MAYBE)]
#[case::no_pod_now_and_may_not(None, json!({}), "Met")]
#[case::only_there(None, json!({"nodeSelector": {"pool": "b"}, "tolerations": [{"operator": "Exists"}]}), CUT)]
fn a_pool_that_the_client_may_run_on(#[case] on: Option<&str>, #[case] spec: Value, #[case] expected: &str) {
    let mut world = proxies(pools(&[], jobs())).with(Source::Deployments, deployment("job", &spec));
    if let Some(on) = on {
        let mut pod = pod("job-1", "job", &[]);
        pod["spec"] = spec;
        pod["spec"]["nodeName"] = json!(on);
        world = world.with(Source::Pods, pod);
    }
    assert_eq!(world.verdict("path-idle-budget"), expected);
}

#[test]
fn where_the_client_runs_is_not_declared() {
    assert_eq!(
        proxies(pools(&[], client("job"))).verdict("path-idle-budget"),
        MAYBE
    );
    // Nor does a Pod of it exist.
    assert_eq!(proxies(pools(&[], jobs())).verdict("path-idle-budget"), MAYBE);
}

/// A Deployment says what its Pods are like, whether or not these were read.
#[test]
fn pods_that_were_not_read_are_as_their_template() {
    let proxy = |name: &str, mode: &str| {
        let mut set = json!({"metadata": {"name": format!("kp-{name}"), "namespace": "kube-system"}});
        set["spec"]["template"]["spec"] = json!({
            "nodeSelector": {"pool": name}, "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "kube-proxy", "image": "kube-proxy:v1.33.1",
                "command": ["kube-proxy", format!("--proxy-mode={mode}")]}],
        });
        set
    };
    let world = pools(&[Source::Pods], jobs())
        .with(Source::DaemonSets, proxy("a", "iptables"))
        .with(Source::DaemonSets, proxy("b", "ipvs"));
    let mut world = world.with(Source::Deployments, deployment("job", &json!({})));
    assert_eq!(world.verdict("path-idle-budget"), "Met");
}

/// From outside, connections come in at every node that is sent to.
#[test]
fn a_node_port_is_open_on_every_node() {
    let client = Client {
        from: Door::LoadBalancer,
        ..client("outside")
    };
    let mut world = proxies(pools(&[], client.clone()));
    let connection = Connection {
        longest_silence_seconds: Some(1800),
        hops: vec![l4("firewall", Some(7200))],
        server: Server {
            tcp_keepalive: NEVER,
            ..Server::default()
        },
        ..connection(
            Protocol::Tcp,
            Client {
                tcp_keepalive: NEVER,
                ..client
            },
        )
    };
    world.declare(policy(vec![connection]));
    world.put(Source::Services, &service("api", json!({"type": "NodePort"})));
    assert_eq!(world.verdict("path-idle-budget"), CUT);
}

/// Nodes that have just joined never turn what is broken into a risk; where most nodes are not known, nor is the verdict.
#[rstest]
#[case::one_joins(&["c"], CUT)]
#[case::most_are_not_known(&["c", "d", "e"], "Unknown unknown")]
#[case::as_many_are_not_known(&["c", "d"], "Unknown unknown")]
fn nodes_whose_table_is_not_known(#[case] joined: &[&str], #[case] expected: &str) {
    let mut world = pools(&[], client("job"))
        .with(Source::Pods, static_proxy("kp-a", "a", "ipvs"))
        .with(Source::Pods, static_proxy("kp-b", "b", "ipvs"));
    for name in joined {
        world.put(Source::Nodes, &node(name, ""));
    }
    assert_eq!(world.verdict("path-idle-budget"), expected);
}

/// Where a client runs on a node whose table is not known, those that it only may run on prove nothing; where it runs on
/// both, those that are known do.
#[rstest]
#[case::on_it_alone(&["c"], MAYBE)]
#[case::on_another_too(&["b", "c"], CUT)]
fn a_client_on_a_node_whose_table_is_not_known(#[case] on: &[&str], #[case] expected: &str) {
    let mut world = pools(&[], jobs())
        .with(Source::Pods, static_proxy("kp-a", "a", "ipvs"))
        .with(Source::Pods, static_proxy("kp-b", "b", "ipvs"))
        .with(Source::Nodes, node("c", ""));
    for name in on {
        let mut pod = pod(&format!("job-{name}"), "job", &[]);
        pod["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
        pod["spec"]["nodeName"] = json!(name);
        world = world.with(Source::Pods, pod);
    }
    assert_eq!(world.verdict("path-idle-budget"), expected);
}

/// What nodes whose table is not known could excuse counts for nothing where a hop that is met forgets sooner.
#[test]
fn a_hop_that_is_met_decides_whatever_the_nodes_keep() {
    let connection = Connection {
        longest_silence_seconds: Some(1800),
        hops: vec![l4("firewall", Some(240))],
        server: Server {
            tcp_keepalive: NEVER,
            ping: NEVER,
            minimum_ping_interval_seconds: Some(300),
            ..Server::default()
        },
        ..connection(
            Protocol::Grpc,
            Client {
                tcp_keepalive: NEVER,
                ping: NEVER,
                ..client("job")
            },
        )
    };
    let mut world = pools(&[], client("job"))
        .with(Source::Pods, static_proxy("kp-a", "a", "ipvs"))
        .with(Source::Pods, static_proxy("kp-b", "b", "ipvs"));
    for name in ["c", "d"] {
        world.put(Source::Nodes, &node(name, ""));
    }
    world.declare(policy(vec![connection]));
    assert_eq!(
        world.verdict("keepalive-ping-floor"),
        "Violated warning NoLegalInterval"
    );
}
