//! Advice is safe: a policy that follows it has no new finding, and no finding of it gets worse.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use rstest::rstest;
use serde_json::{Value, json};

use crate::findings::FindingVerdict;
use crate::judge::{Advice, MESSAGE, Severity, Verdict};
use crate::know::Source;
use crate::policy::{
    Balance, Beat, Client, Connection, Door, Hop, Layer, Limit, Policy, Protocol, Server, Upstream,
};
use crate::world::{
    World, app, balanced, client, connection, node, pod, policy, proxy_config, proxy_pod, service, slice,
};

/// The worst of what a check finds.
type Found = BTreeMap<&'static str, (u8, Severity)>;

/// A connection, and where it leads.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    connection: Connection,
    proxy: ServiceProxy,
    front: Front,
    clients: ClientPods,
    balance: Option<Balance>,
}

/// What is known of the client's Pods.
#[derive(Debug, Clone, Copy)]
enum ClientPods {
    /// Which they are is not declared.
    NotDeclared,
    /// None exists now.
    Absent,
    /// One with this keepalive time as a sysctl of its own.
    One(Option<&'static str>),
    /// One that an init container sets up, by a command.
    ByCommand,
    /// One that uses the node's network.
    OfTheNode,
}

const CLIENTS: [ClientPods; 8] = [
    ClientPods::NotDeclared,
    ClientPods::NotDeclared,
    ClientPods::Absent,
    ClientPods::One(None),
    ClientPods::One(Some("60")),
    ClientPods::One(Some("7200")),
    ClientPods::ByCommand,
    ClientPods::OfTheNode,
];

impl ClientPods {
    /// The Pod, where there is one.
    fn object(self) -> Option<Value> {
        let sysctls: &[(&str, &str)] = match self {
            Self::NotDeclared | Self::Absent => return None,
            Self::One(Some(seconds)) => &[("net.ipv4.tcp_keepalive_time", seconds)],
            Self::One(None) | Self::ByCommand | Self::OfTheNode => &[],
        };
        let mut object = pod("web-1", "web", sysctls);
        match self {
            Self::ByCommand => {
                object["spec"]["initContainers"] = json!([{
                    "name": "init", "securityContext": {"privileged": true},
                    "command": ["sysctl", "-w", "net.ipv4.tcp_keepalive_time=60"],
                }]);
            }
            Self::OfTheNode => object["spec"]["hostNetwork"] = json!(true),
            _ => {}
        }
        Some(object)
    }
}

/// What carries Services on the nodes.
#[derive(Debug, Clone, Copy)]
enum ServiceProxy {
    /// It is not known.
    Unknown,
    /// kube-proxy in this mode.
    Mode(&'static str),
}

/// What is in front of the Service.
#[derive(Debug, Clone, Copy)]
enum Front {
    /// Nothing: clients are Pods.
    Nothing,
    /// A node port.
    NodePort,
    /// A load balancer: the provider of the nodes, and an annotation.
    LoadBalancer(&'static str, &'static str, &'static str),
}

const ALIBABA_HTTP: &str = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-protocol-port";
const FRONTS: [Front; 10] = [
    Front::Nothing,
    Front::Nothing,
    Front::NodePort,
    Front::LoadBalancer(
        "aws:///zone/i-1",
        "service.beta.kubernetes.io/aws-load-balancer-type",
        "nlb",
    ),
    Front::LoadBalancer("aws:///zone/i-1", "a", "Classic"),
    Front::LoadBalancer("azure:///x", "a", "b"),
    Front::LoadBalancer("openstack:///x", "a", "b"),
    Front::LoadBalancer(
        "oci://x",
        "service.beta.kubernetes.io/oci-load-balancer-backend-protocol",
        "HTTP",
    ),
    Front::LoadBalancer("cn-hangzhou.i-1", ALIBABA_HTTP, "http:80"),
    Front::LoadBalancer("gce://p/z/n1", "networking.gke.io/load-balancer-type", "Internal"),
];
const PROXIES: [ServiceProxy; 4] = [
    ServiceProxy::Unknown,
    ServiceProxy::Mode(""),
    ServiceProxy::Mode("ipvs"),
    ServiceProxy::Mode("nftables"),
];

impl Scene {
    /// Gives all hops this idle timeout.
    pub(super) fn narrow(&mut self, seconds: u32) {
        for hop in &mut self.connection.hops {
            hop.idle_timeout = Some(Limit::Seconds(seconds));
        }
    }

    pub(super) fn world(&self) -> World {
        let mut served = service("api", json!({}));
        let mut connection = self.connection.clone();
        if connection.protocol == Protocol::Udp {
            served["spec"]["ports"][0]["protocol"] = json!("UDP");
        }
        if !matches!(self.clients, ClientPods::NotDeclared) {
            for client in &mut connection.clients {
                client.pods = Some(app("web"));
            }
        }
        let mut provider = "";
        if !matches!(self.front, Front::Nothing) {
            for client in &mut connection.clients {
                client.from = Door::LoadBalancer;
            }
        }
        match self.front {
            Front::Nothing => {}
            Front::NodePort => served["spec"]["type"] = json!("NodePort"),
            Front::LoadBalancer(id, key, value) => {
                provider = id;
                served["spec"]["type"] = json!("LoadBalancer");
                served["metadata"]["annotations"] = json!({key: value});
            }
        }
        let mut world = World::complete()
            .with(Source::Services, served)
            .with(Source::EndpointSlices, slice("api", &[("n1", "a"), ("n2", "b")]))
            .policy(Policy {
                balance: self.balance.clone(),
                ..policy(vec![connection])
            });
        if let Some(pod) = self.clients.object() {
            world = world.with(Source::Pods, pod);
        }
        for name in ["n1", "n2", "n3"] {
            let mut one = node(name, "");
            one["spec"]["providerID"] = json!(provider);
            world = world.with(Source::Nodes, one);
            if let ServiceProxy::Mode(_) = self.proxy {
                world = world.with(Source::Pods, proxy_pod(name, "2026-01-01T00:01:00Z"));
            }
        }
        if let ServiceProxy::Mode(mode) = self.proxy {
            let config = proxy_config(&format!("mode: '{mode}'\n"), "2026-01-01T00:00:00Z");
            world = world.with(Source::ConfigMaps, config);
        }
        world.core.round(world.now);
        world
    }
}

prop_compose! {
    pub(super) fn any_scene()(
        connection in any_connection(), proxy in select(&PROXIES[..]), front in select(&FRONTS[..]),
        clients in select(&CLIENTS[..]), minimum in proptest::option::of(1_u32..4), most in proptest::option::of(select(vec![40_u32, 50, 60])),
    ) -> Scene {
        Scene { connection, proxy, front, clients, balance: balanced(minimum, most, most).balance }
    }
}

/// What is found, and what is advised about it.
fn judge(scene: &Scene) -> (Found, Vec<(&'static str, Advice)>) {
    let world = scene.world();
    let (mut found, mut advised) = (Found::new(), Vec::new());
    for (check, _, held) in world.core.engine.bad() {
        let verdict = &*held.verdict;
        let (Verdict::AtRisk(case) | Verdict::Violated(case)) = verdict else {
            continue;
        };
        let severity = check.severity_of(verdict);
        let worst = found.entry(check.id).or_insert((0, Severity::Unknown));
        *worst = (*worst).max((verdict.weight(), severity));
        advised.extend(case.advice().into_iter().map(|one| (check.id, one)));
        let message = case.to_string();
        assert!(message.chars().count() <= MESSAGE, "{}: {message}", check.id);
        assert!(!case.advice().is_empty(), "{}: no advice", check.id);
        assert!(FindingVerdict::of(verdict).is_some());
    }
    (found, advised)
}

fn seconds() -> impl Strategy<Value = u32> {
    select(vec![
        10_u32, 20, 30, 60, 90, 120, 240, 300, 330, 350, 600, 900, 1800, 3600, 7200,
    ])
}

fn maybe() -> impl Strategy<Value = Option<u32>> {
    proptest::option::of(seconds())
}

fn limit() -> impl Strategy<Value = Option<Limit>> {
    prop_oneof![
        2 => Just(None),
        3 => seconds().prop_map(|seconds| Some(Limit::Seconds(seconds))),
        1 => Just(Some(Limit::Never)),
    ]
}

fn beat() -> impl Strategy<Value = Option<Beat>> {
    prop_oneof![
        Just(None),
        Just(Some(Beat::Disabled)),
        Just(Some(Beat::Enabled(None))),
        seconds().prop_map(|seconds| Some(Beat::Enabled(Some(seconds)))),
    ]
}

fn without_calls() -> impl Strategy<Value = Option<bool>> {
    proptest::option::of(any::<bool>())
}

prop_compose! {
    fn any_client()(
        tcp in beat(), ping in beat(), calls in without_calls(), idle in limit(), request in maybe(), age in limit(),
    ) -> Client {
        Client {
            tcp_keepalive: tcp,
            ping,
            ping_without_calls: calls,
            idle_timeout: idle,
            request_timeout_seconds: request,
            max_connection_age: age,
            ..client("web")
        }
    }
}

prop_compose! {
    fn any_server()(
        tcp in beat(), ping in beat(), calls in without_calls(), idle in limit(), floor in maybe(), request in maybe(),
        age in limit(),
    ) -> Server {
        Server {
            tcp_keepalive: tcp,
            ping,
            ping_without_calls: calls,
            idle_timeout: idle,
            minimum_ping_interval_seconds: floor,
            request_timeout_seconds: request,
            max_connection_age: age,
        }
    }
}

prop_compose! {
    fn any_upstream()(
        tcp in beat(), ping in beat(), calls in without_calls(), idle in limit(), age in limit(),
    ) -> Upstream {
        Upstream {
            tcp_keepalive: tcp,
            ping,
            ping_without_calls: calls,
            idle_timeout: idle,
            max_connection_age: age,
        }
    }
}

prop_compose! {
    fn any_hop()(l7: bool, idle in limit(), request in maybe(), upstream in any_upstream()) -> Hop {
        Hop {
            name: "hop".into(),
            layer: if l7 { Layer::L7 } else { Layer::L4 },
            idle_timeout: idle,
            request_timeout_seconds: request.filter(|_| l7),
            upstream: if l7 { upstream } else { Upstream::default() },
        }
    }
}

prop_compose! {
    fn any_connection()(
        protocol in select(vec![Protocol::Tcp, Protocol::Http1, Protocol::Http2, Protocol::Grpc, Protocol::Udp]),
        silence in maybe(), request in maybe(), client in any_client(), server in any_server(),
        hops in proptest::collection::vec(any_hop(), 0..3),
    ) -> Connection {
        let hops = hops.into_iter().enumerate();
        let hops = hops.map(|(at, hop)| Hop { name: format!("hop{at}").into(), ..hop });
        Connection {
            longest_silence_seconds: silence,
            longest_request_seconds: request,
            server,
            hops: hops.collect(),
            ..connection(protocol, client)
        }
    }
}

/// Each seed is another walk through all scenes.
#[rstest]
fn who_follows_advice_has_no_new_finding(#[values(1, 2, 3, 4)] seed: u64) {
    let config = ProptestConfig {
        cases: 160,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(&any_scene(), |scene| {
            let (before, advised) = judge(&scene);
            for (check, advice) in advised {
                if advice.changes.is_empty() {
                    continue;
                }
                let mut followed = scene.clone();
                for change in &advice.changes {
                    let applies = change.apply(&mut followed.connection, "web");
                    prop_assert!(applies, "{check}: {advice} has no field to set");
                }
                let (after, _) = judge(&followed);
                for (id, now) in after {
                    let was = before.get(id).copied().unwrap_or((0, Severity::Unknown));
                    prop_assert!(
                        now <= was,
                        "{check}: {advice}\nmakes {id} {now:?} of {was:?} in {followed:?}"
                    );
                }
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
