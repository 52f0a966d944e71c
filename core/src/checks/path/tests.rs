//! `path-idle-budget` on the ways in which a silent connection lives or dies.

use rstest::rstest;

use crate::know::Source;
use crate::policy::{
    Beat, Client, Connection, Door, Hop, Limit, PortRef, Protocol, Selector, Server, Upstream,
};
use crate::world::{NEVER, World, app, client, connection, every, l4, l7, policy, service, static_proxy};

const ID: &str = "path-idle-budget";

fn world(connection: Connection) -> World {
    World::complete()
        .with(Source::Services, service("api", serde_json::json!({})))
        .policy(policy(vec![connection]))
}

fn path(client_keepalive: Option<Beat>, server_keepalive: Option<Beat>, silence: Option<u32>) -> Connection {
    Connection {
        longest_silence_seconds: silence,
        server: Server {
            tcp_keepalive: server_keepalive,
            ..Server::default()
        },
        hops: vec![l4("ipvs", Some(900))],
        ..connection(
            Protocol::Tcp,
            Client {
                tcp_keepalive: client_keepalive,
                ..client("job")
            },
        )
    }
}

#[rstest]
#[case::founding(NEVER, NEVER, Some(1800), "Violated critical SilenceExceedsTimeout")]
#[case::client_keepalive(every(300), NEVER, Some(1800), "Met")]
#[case::server_keepalive(NEVER, every(300), Some(1800), "Met")]
#[case::undeclared(None, NEVER, Some(1800), "AtRisk warning KeepaliveNotDeclared")]
#[case::undeclared_both(None, None, Some(1800), "AtRisk warning KeepaliveNotDeclared")]
#[case::short_silence(NEVER, NEVER, Some(600), "Met")]
#[case::narrow(NEVER, NEVER, Some(730), "AtRisk warning NarrowMargin")]
#[case::eighty_percent(NEVER, NEVER, Some(720), "Met")]
#[case::exactly(NEVER, NEVER, Some(900), "Violated critical SilenceExceedsTimeout")]
#[case::one_below(NEVER, NEVER, Some(899), "AtRisk warning NarrowMargin")]
#[case::nothing_said(NEVER, NEVER, None, "AtRisk warning SilenceNotDeclared")]
#[case::kernel_default(
    Some(Beat::Enabled(None)),
    NEVER,
    Some(8000),
    "AtRisk warning KeepaliveNotDeclared"
)]
#[case::late(every(1200), NEVER, Some(1800), "Violated critical SilenceExceedsTimeout")]
fn keepalive_and_silence_against_900_s(
    #[case] client: Option<Beat>,
    #[case] server: Option<Beat>,
    #[case] silence: Option<u32>,
    #[case] expected: &str,
) {
    assert_eq!(world(path(client, server, silence)).verdict(ID), expected);
}

#[rstest]
#[case::unknown_only(vec![l4("firewall", None)], "Unknown unknown")]
#[case::a_known_hop_decides(vec![l4("firewall", None), l4("ipvs", Some(900))], "Violated critical SilenceExceedsTimeout")]
#[case::a_wide_hop_does_not(vec![l4("firewall", None), l4("other", Some(7200))], "Unknown unknown")]
#[case::no_table(Vec::new(), "NotApplicable")]
#[case::least_of_two(vec![l4("wide", Some(7200)), l4("narrow", Some(350))], "Violated critical SilenceExceedsTimeout")]
fn the_least_known_hop(#[case] hops: Vec<Hop>, #[case] expected: &str) {
    let connection = Connection {
        hops,
        ..path(NEVER, NEVER, Some(1800))
    };
    assert_eq!(world(connection).verdict(ID), expected);
}

#[test]
fn a_keepalive_ends_at_the_first_l7_hop() {
    let connection = Connection {
        hops: vec![l7("edge", Some(3600), None), l4("ipvs", Some(900))],
        ..path(every(60), NEVER, Some(1800))
    };
    // What the proxy sends on its own side is not known.
    assert_eq!(
        world(connection).verdict(ID),
        "AtRisk warning KeepaliveNotDeclared"
    );
}

fn proxied(protocol: Protocol, silence: Option<u32>, edge: Hop) -> Connection {
    Connection {
        protocol,
        hops: vec![edge, l4("ipvs", Some(900))],
        ..path(every(30), every(30), silence)
    }
}

/// An L7 hop with a pool of its own towards the Service.
fn edge(front: Option<u32>, upstream: Upstream) -> Hop {
    Hop {
        upstream,
        ..l7("edge", front, None)
    }
}

fn pooled(idle: Option<Limit>, tcp_keepalive: Option<Beat>) -> Upstream {
    Upstream {
        idle_timeout: idle,
        tcp_keepalive,
        ..Upstream::default()
    }
}

/// What an L7 hop does with its two connections: `HAProxy` "timeout client", Envoy TCP proxy `idle_timeout`; keepalives of
/// both ends carry no data.
#[rstest]
#[case::closes_a_silent_stream(
    Protocol::Tcp,
    Some(1800),
    edge(Some(60), Upstream::default()),
    "Violated critical ProxyClosesIdle"
)]
#[case::near(
    Protocol::Tcp,
    Some(1800),
    edge(Some(2000), Upstream::default()),
    "AtRisk warning ProxyClosesIdle"
)]
#[case::outlasts_it(Protocol::Tcp, Some(600), edge(Some(7200), Upstream::default()), "Met")]
#[case::its_own_side_closes(
    Protocol::Tcp,
    Some(600),
    edge(Some(7200), pooled(Some(Limit::Seconds(300)), every(30))),
    "Violated critical ProxyClosesIdle"
)]
#[case::never_closes(Protocol::Tcp, Some(600), Hop { idle_timeout: Some(Limit::Never), ..edge(None, Upstream::default()) }, "Met")]
#[case::idle_requests_are_no_stream(
    Protocol::Http1,
    None,
    edge(Some(60), pooled(Some(Limit::Seconds(60)), NEVER)),
    "Met"
)]
#[case::pool_of_its_own(Protocol::Http1, Some(20), edge(Some(3600), pooled(None, NEVER)), "Met")]
#[case::pool_longer_than_the_table(
    Protocol::Http1,
    Some(20),
    edge(Some(3600), pooled(Some(Limit::Seconds(3600)), NEVER)),
    "Met"
)]
fn an_l7_hop_has_two_connections(
    #[case] protocol: Protocol,
    #[case] silence: Option<u32>,
    #[case] edge: Hop,
    #[case] expected: &str,
) {
    assert_eq!(world(proxied(protocol, silence, edge)).verdict(ID), expected);
}

/// The same where the server sends no keepalive: then the hop's own pool decides.
#[rstest]
#[case::undeclared(pooled(None, None), "AtRisk warning KeepaliveNotDeclared")]
#[case::pool_undeclared(pooled(None, NEVER), "AtRisk warning PoolNotDeclared")]
#[case::pool_too_long(
    pooled(Some(Limit::Seconds(3600)), NEVER),
    "Violated critical SilenceExceedsTimeout"
)]
#[case::pool_without_end(pooled(Some(Limit::Never), NEVER), "Violated critical SilenceExceedsTimeout")]
#[case::pool_short(pooled(Some(Limit::Seconds(60)), NEVER), "Met")]
#[case::kept_alive(pooled(None, every(60)), "Met")]
#[case::replaced(Upstream { max_connection_age: Some(Limit::Seconds(300)), ..pooled(None, NEVER) }, "Met")]
fn the_pool_of_an_l7_hop(#[case] upstream: Upstream, #[case] expected: &str) {
    let mut connection = proxied(Protocol::Http1, Some(20), edge(Some(3600), upstream));
    connection.server.tcp_keepalive = NEVER;
    assert_eq!(world(connection).verdict(ID), expected);
}

/// Silence within a request and the wait in a pool are two things, and each has its own end.
#[rstest]
#[case::request_is_not_silence(Some(30), None, None, None, "AtRisk warning PoolNotDeclared")]
#[case::short_pool(Some(30), Some(60), None, None, "Met")]
#[case::long_pool(Some(30), Some(3600), None, None, "Violated critical SilenceExceedsTimeout")]
#[case::server_ends_it(Some(30), Some(3600), Some(60), None, "Met")]
#[case::server_ends_it_late(
    Some(30),
    Some(3600),
    Some(7200),
    None,
    "Violated critical SilenceExceedsTimeout"
)]
#[case::replaced(Some(30), Some(3600), None, Some(300), "Met")]
#[case::long_request(Some(3600), Some(60), None, None, "AtRisk warning SilenceNotDeclared")]
fn request_and_pool(
    #[case] request: Option<u32>,
    #[case] pool: Option<u32>,
    #[case] server: Option<u32>,
    #[case] age: Option<u32>,
    #[case] expected: &str,
) {
    let mut connection = path(NEVER, NEVER, None);
    connection.protocol = Protocol::Http1;
    connection.longest_request_seconds = request;
    connection.clients[0].idle_timeout = pool.map(Limit::Seconds);
    connection.clients[0].max_connection_age = age.map(Limit::Seconds);
    connection.server.idle_timeout = server.map(Limit::Seconds);
    assert_eq!(world(connection).verdict(ID), expected);
}

/// gRPC clients do not ping while no call is open unless configured to (grpc doc/keepalive.md).
#[rstest]
#[case::not_declared(Protocol::Grpc, None, "AtRisk warning PingsNeedCalls")]
#[case::off(Protocol::Grpc, Some(false), "AtRisk warning PingsNeedCalls")]
#[case::on(Protocol::Grpc, Some(true), "Met")]
#[case::other_protocols_know_no_calls(Protocol::Http2, None, "Met")]
fn pings_without_calls(#[case] protocol: Protocol, #[case] permitted: Option<bool>, #[case] expected: &str) {
    let mut connection = path(NEVER, NEVER, Some(1800));
    connection.protocol = protocol;
    connection.server.ping = NEVER;
    connection.clients[0].ping = every(60);
    connection.clients[0].ping_without_calls = permitted;
    assert_eq!(world(connection).verdict(ID), expected);
}

#[test]
fn the_message_names_the_numbers_and_the_evidence_their_sources() {
    let mut world = world(path(NEVER, NEVER, Some(1800)));
    let finding = &world.findings(ID)[0];
    assert_eq!(
        finding.message,
        "job is silent for up to 1800 s, but ipvs forgets it after 900 s; no keepalive is sent"
    );
    let sources: Vec<_> = finding
        .evidence
        .iter()
        .map(|one| (one.what, &*one.source))
        .collect();
    assert!(sources.contains(&("silence", "policy shop/p main.longestSilenceSeconds")));
    assert!(sources.contains(&("idleTimeout", "policy shop/p hop ipvs.idleTimeoutSeconds")));
}

#[test]
fn blindness_is_not_health() {
    let mut world = World::without(&[Source::Services]).policy(policy(vec![path(NEVER, NEVER, Some(1))]));
    assert_eq!(world.verdict(ID), "Unknown unknown");
}

#[test]
fn pods_that_nobody_read_may_have_a_shorter_keepalive() {
    let client = Client {
        pods: Some(app("job")),
        ..client("job")
    };
    let connection = Connection {
        clients: vec![Client {
            tcp_keepalive: Some(Beat::Enabled(None)),
            ..client
        }],
        ..path(None, NEVER, Some(8000))
    };
    let mut world = World::without(&[Source::Pods])
        .with(Source::Services, service("api", serde_json::json!({})))
        .policy(policy(vec![connection]));
    assert_eq!(world.verdict(ID), "AtRisk warning KeepaliveNotDeclared");
}

#[rstest]
#[case::declared_hop(vec![l4("firewall", Some(900))], "Violated critical SilenceExceedsTimeout")]
#[case::no_hop(Vec::new(), "NotApplicable")]
fn hops_on_the_way_to_a_headless_service_count(#[case] hops: Vec<Hop>, #[case] expected: &str) {
    let headless = service("api", serde_json::json!({"clusterIP": "None"}));
    let connection = Connection {
        hops,
        ..path(NEVER, NEVER, Some(1800))
    };
    let mut world = World::complete()
        .with(Source::Services, &headless)
        .policy(policy(vec![connection]));
    assert_eq!(world.verdict(ID), expected);
}

/// A client that arms keepalive without a time, on a path with a table of 900 s; one Pod of it is there.
fn armed(pods: Option<Selector>, pod: &serde_json::Value) -> String {
    let mut connection = path(Some(Beat::Enabled(None)), NEVER, Some(5000));
    connection.clients[0].pods = pods;
    let pod = serde_json::json!({
        "metadata": {"name": "job-1", "namespace": "shop", "labels": {"app": "job"}}, "spec": pod,
    });
    let mut world = world(connection).with(Source::Pods, &pod);
    world.verdict(ID)
}

#[rstest]
#[case::kernel(serde_json::json!({}), "Violated critical SilenceExceedsTimeout")]
#[case::own(serde_json::json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "300"}]}}), "Met")]
#[case::own_too_long(serde_json::json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "900"}]}}), "Violated critical SilenceExceedsTimeout")]
#[case::of_the_node(serde_json::json!({"hostNetwork": true}), "AtRisk warning KeepaliveNotDeclared")]
fn a_keepalive_without_a_time_takes_the_pods(#[case] pod: serde_json::Value, #[case] expected: &str) {
    assert_eq!(armed(Some(app("job")), &pod), expected);
}

#[test]
fn pods_that_nobody_named_may_set_their_own_time() {
    assert_eq!(
        armed(None, &serde_json::json!({})),
        "AtRisk warning KeepaliveNotDeclared"
    );
    // Nor are the server's Pods looked at.
    let connection = path(NEVER, Some(Beat::Enabled(None)), Some(5000));
    assert_eq!(
        world(connection).verdict(ID),
        "AtRisk warning KeepaliveNotDeclared"
    );
}

/// Google's internal passthrough load balancer forwards by a hash what it has forgotten: to the same node, unless one came
/// or went.
#[rstest]
#[case::far_below(NEVER, 300, "Met")]
#[case::silent_for_longer(NEVER, 1800, "AtRisk info NodesMayChange")]
#[case::kept_alive(every(300), 1800, "Met")]
#[case::not_declared(None, 1800, "AtRisk info NodesMayChange")]
fn a_balancer_that_finds_its_node_again(
    #[case] keepalive: Option<Beat>,
    #[case] silence: u32,
    #[case] expected: &str,
) {
    let mut service = service("api", serde_json::json!({"type": "LoadBalancer"}));
    service["metadata"]["annotations"] =
        serde_json::json!({"networking.gke.io/load-balancer-type": "Internal"});
    let mut connection = path(keepalive, NEVER, Some(silence));
    connection.hops.clear();
    connection.clients[0].from = Door::LoadBalancer;
    let proxy = static_proxy("kube-proxy-n1", "n1", "iptables");
    let mut world = World::complete()
        .with(
            Source::Nodes,
            serde_json::json!({"metadata": {"name": "n1"}, "spec": {"providerID": "gce://p/z/n1"}}),
        )
        .with(Source::Pods, proxy)
        .with(Source::Services, service)
        .policy(policy(vec![connection]));
    assert_eq!(world.verdict(ID), expected);
}

#[test]
fn datagrams_know_no_keepalive() {
    let mut connection = path(None, None, Some(1800));
    connection.protocol = Protocol::Udp;
    let udp = serde_json::json!({"ports": [{"name": "main", "port": 80, "protocol": "UDP"}]});
    let mut world = World::complete()
        .with(Source::Services, service("api", udp))
        .policy(policy(vec![connection]));
    let finding = &world.findings(ID)[0];
    assert_eq!(
        finding.message,
        "job is silent for up to 1800 s, but ipvs forgets it after 900 s; no datagram is sent meanwhile"
    );
    let words = finding.advice.join(" ");
    assert!(
        words.contains("datagram") && !words.contains("keepalive"),
        "{words}"
    );
}

#[rstest]
#[case::its_own("LoadBalancer", Vec::new(), "Violated critical SilenceExceedsTimeout")]
#[case::of_somebody_else("ClusterIP", Vec::new(), "Unknown unknown")]
#[case::on_the_nodes("NodePort", Vec::new(), "Unknown unknown")]
#[case::declared("ClusterIP", vec![l4("edge", Some(7200))], "Met")]
fn only_a_load_balancer_has_one(#[case] kind: &str, #[case] hops: Vec<Hop>, #[case] expected: &str) {
    let azure = serde_json::json!({"metadata": {"name": "n1"}, "spec": {"providerID": "azure://x"}});
    let mut connection = path(NEVER, NEVER, Some(300));
    connection.hops = hops;
    connection.clients[0].from = Door::LoadBalancer;
    let mut proxy = serde_json::json!({"metadata": {"name": "kube-proxy", "namespace": "kube-system"}});
    proxy["spec"]["template"]["spec"]["containers"] =
        serde_json::json!([{"name": "kube-proxy", "image": "kube-proxy:v1.33.0", "command": ["kube-proxy"]}]);
    let mut world = World::complete()
        .with(
            Source::Services,
            service("api", serde_json::json!({"type": kind})),
        )
        .with(Source::Nodes, &azure)
        .with(Source::DaemonSets, &proxy)
        .policy(policy(vec![connection]));
    assert_eq!(world.verdict(ID), expected);
}

/// Pings are data to a load balancer that forwards bytes, and end at one that forwards requests.
#[rstest]
#[case::bytes("openstack:///x", "", every(20), "Unknown unknown")]
#[case::bytes_without_pings("openstack:///x", "", NEVER, "Violated warning ProxyClosesIdle")]
#[case::requests("cn-hangzhou.i-1", "http:80", every(5), "Violated warning ProxyClosesIdle")]
fn pings_at_a_load_balancer_that_ends_connections(
    #[case] provider: &str,
    #[case] listeners: &str,
    #[case] ping: Option<Beat>,
    #[case] expected: &str,
) {
    let grpc = Connection {
        longest_silence_seconds: Some(1800),
        server: Server {
            tcp_keepalive: NEVER,
            ping: NEVER,
            ..Server::default()
        },
        ..connection(
            Protocol::Grpc,
            Client {
                from: Door::LoadBalancer,
                ping,
                ping_without_calls: Some(true),
                tcp_keepalive: NEVER,
                ..client("phone")
            },
        )
    };
    let mut served = service("api", serde_json::json!({"type": "LoadBalancer"}));
    let listener = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-protocol-port";
    served["metadata"]["annotations"] = serde_json::json!({listener: listeners});
    let mut on = crate::world::node("n1", "");
    on["spec"]["providerID"] = serde_json::json!(provider);
    if listeners.is_empty() {
        served["metadata"]["annotations"] = serde_json::json!({});
    }
    let world = World::complete()
        .with(Source::Services, served)
        .with(Source::Nodes, on);
    assert_eq!(world.policy(policy(vec![grpc])).says(ID), expected);
}

/// A DNS alias, or a headless Service, has ports only if somebody writes some: those that the policy numbers count.
#[rstest]
#[case::alias("ExternalName", &[5432], "Violated critical SilenceExceedsTimeout")]
#[case::alias_of_which_no_port_is_known("ExternalName", &[], "-")]
#[case::headless("ClusterIP", &[5432], "Violated critical SilenceExceedsTimeout")]
fn a_service_without_ports(#[case] kind: &str, #[case] ports: &[u16], #[case] expected: &str) {
    let mut connection = path(NEVER, NEVER, Some(1800));
    connection.ports = ports.iter().map(|port| PortRef::Number(*port)).collect();
    let spec = serde_json::json!({"type": kind, "clusterIP": "None", "ports": []});
    let mut world = World::complete()
        .with(Source::Services, service("api", spec))
        .policy(policy(vec![connection]));
    let found = world.found(ID);
    assert_eq!(found.first().map_or("-", |one| one.as_str()), expected);
}

/// Whether the advice about a keepalive without a time names the sysctl of the client's Pods.
#[rstest]
#[case::own_network(Door::Cluster, Some(Beat::Enabled(None)), &[false], true)]
#[case::network_of_the_node(Door::Cluster, Some(Beat::Enabled(None)), &[true], false)]
#[case::one_of_two_on_the_node(Door::Cluster, Some(Beat::Enabled(None)), &[false, true], false)]
#[case::no_pod(Door::Cluster, Some(Beat::Enabled(None)), &[], false)]
#[case::no_keepalive(Door::Cluster, NEVER, &[false], false)]
#[case::a_time_of_its_own(Door::Cluster, every(1200), &[false], false)]
#[case::from_outside(Door::LoadBalancer, Some(Beat::Enabled(None)), &[false], false)]
fn a_sysctl_is_advised_where_pods_can_have_it(
    #[case] from: Door,
    #[case] keepalive: Option<Beat>,
    #[case] on_the_node: &[bool],
    #[case] expected: bool,
) {
    let mut connection = path(keepalive, NEVER, Some(9000));
    connection.clients[0].pods = Some(app("job"));
    connection.clients[0].from = from;
    let mut world = world(connection);
    for (at, host) in on_the_node.iter().enumerate() {
        let pod = serde_json::json!({
            "metadata": {"name": format!("job-{at}"), "namespace": "shop", "labels": {"app": "job"}},
            "spec": {"hostNetwork": host},
        });
        world = world.with(Source::Pods, &pod);
    }
    let advice = world.advised(ID);
    assert!(!advice.is_empty());
    let sysctl = advice
        .iter()
        .any(|one| one.to_string().contains("net.ipv4.tcp_keepalive_time"));
    assert_eq!(sysctl, expected, "{advice:?}");
}

#[test]
fn pings_without_calls_are_advised_to_the_client_that_pings() {
    let mut connection = path(NEVER, NEVER, Some(1800));
    connection.protocol = Protocol::Grpc;
    connection.server.ping = NEVER;
    connection.clients[0].ping = every(60);
    let advice = world(connection.clone()).advised(ID);
    assert!(
        advice[0].to_string().contains("let job ping without calls too"),
        "{advice:?}"
    );
    // A hop that pings towards the Service has an interval of its own: the client's says nothing of it.
    connection.clients[0].ping_without_calls = Some(true);
    connection.hops = vec![
        edge(
            Some(7200),
            Upstream {
                ping: every(60),
                ..pooled(None, NEVER)
            },
        ),
        l4("ipvs", Some(900)),
    ];
    let mut behind = world(connection);
    assert_eq!(behind.verdict(ID), "AtRisk warning PingsNeedCalls");
    let advice = behind.advised(ID);
    assert!(
        !advice.is_empty()
            && !advice
                .iter()
                .any(|one| one.to_string().contains("ping without calls")),
        "{advice:?}"
    );
}

/// What was not declared is shown as evidence when either end leaves it open.
#[rstest]
#[case::client(None, NEVER, "not declared")]
#[case::server(NEVER, None, "not declared")]
#[case::neither(NEVER, NEVER, "none")]
fn an_undeclared_keepalive_is_evidence(
    #[case] client: Option<Beat>,
    #[case] server: Option<Beat>,
    #[case] expected: &str,
) {
    let found = world(path(client, server, Some(1800))).findings(ID);
    let keepalive = found[0].evidence.iter().find(|one| one.what == "keepalive");
    assert_eq!(keepalive.unwrap().value.to_string(), expected);
}

/// A load balancer that forwards bytes closes its connection to the backend as well; one with a pool of its own drops
/// an idle one, which no request notices.
#[rstest]
#[case::bytes("openstack:///x", "", 50)]
#[case::bytes_by_instances_without_a_scheme("ocid1.instance.oc1.eu-frankfurt-1.abc", "", 300)]
#[case::requests("cn-hangzhou.i-1", "http:80", 0)]
fn who_forwards_bytes_closes_on_both_sides(
    #[case] provider: &str,
    #[case] listeners: &str,
    #[case] expected: i64,
) {
    let mut served = service("api", serde_json::json!({"type": "LoadBalancer"}));
    if !listeners.is_empty() {
        let listener = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-protocol-port";
        served["metadata"]["annotations"] = serde_json::json!({listener: listeners});
    }
    let mut on = crate::world::node("n1", "");
    on["spec"]["providerID"] = serde_json::json!(provider);
    let from = Client {
        from: Door::LoadBalancer,
        ..client("phone")
    };
    let mut world = World::complete()
        .with(Source::Services, served)
        .with(Source::Nodes, on)
        .policy(policy(vec![connection(Protocol::Http1, from)]));
    world.core.round(world.now);
    let paths = world.core.paths(world.now, "shop", "api", None, None);
    let last = paths[0].segments.last().unwrap();
    assert_eq!(last.closes_after.unwrap_or(0), expected);
}
