//! The core's first promise: any order of inputs, judged step by step, gives what judging from nothing gives.
//!
//! A random history (objects that come, change, go, are listed anew or cannot be read, sources that are lost and
//! regained, policies that change) is fed to one core with rounds in between, and what it left behind to a second
//! core in another order with one round at the end. Both must tell the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use evenkeel_core::findings::FindingList;
use evenkeel_core::know::{Mono, Now, Source, Wall};
use evenkeel_core::names::Key;
use evenkeel_core::policy::{
    Beat, Client, ClusterPolicy, Connection, Door, Exception, Hop, Layer, Policy, PortRef, Protocol,
    Remediation, Selector, Server, ServicePick,
};
use evenkeel_core::{Core, Input, checks};
use proptest::prelude::*;
use proptest::sample::{Index, select};

const NAMESPACES: [&str; 3] = ["shop", "pay", "kube-system"];

/// Sources whose objects come as JSON.
const PLAIN: [Source; 10] = [
    Source::Services,
    Source::EndpointSlices,
    Source::Nodes,
    Source::Namespaces,
    Source::Pods,
    Source::DaemonSets,
    Source::Deployments,
    Source::ConfigMaps,
    Source::CiliumNodeConfigs,
    Source::Webhooks,
];

/// Which object: source, namespace, name.
type Id = (Source, String, String);

#[derive(Debug, Clone)]
enum Thing {
    Json(String),
    Policy(Arc<Policy>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Health {
    Complete,
    Silent,
    Lost,
}

/// What a history has left behind.
#[derive(Debug, Default)]
struct World {
    things: BTreeMap<Id, Thing>,
    health: BTreeMap<Source, Health>,
    cluster: Option<Arc<ClusterPolicy>>,
    configz: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
enum Step {
    Put(Source, u8, u8, u8),
    Delete(Source, u8, u8),
    /// A list that leaves out what the mask names, with or without a round before its end, and whether it ends.
    Relist(Source, u16, bool, bool),
    Health(Source, Health),
    Cluster(Option<u8>),
    Configz(u8, Option<u8>),
    Round,
}

fn now() -> Now {
    Now {
        mono: Mono(1_000),
        wall: Wall(1_800_000_000),
    }
}

fn broken(kind: u8, namespace: &str, name: &str, service: &str) -> String {
    let meta = format!(
        r#""name":"{name}","namespace":"{namespace}","labels":{{"kubernetes.io/service-name":"{service}"}}"#
    );
    match kind % 3 {
        0 => {
            format!(r#"{{"metadata":{{{meta}}},"spec":7,"addressType":7,"webhooks":7,"data":7,"status":7}}"#)
        }
        1 => format!(r#"{{"metadata":{{{meta},"annotations":7}}}}"#),
        _ => format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}","labels":{{"kubernetes.io/service-name":null}}}}}}"#
        ),
    }
}

fn service(namespace: &str, name: &str, variant: u8) -> String {
    let spec = match variant {
        0 => r#""type":"ExternalName","externalName":"a.example""#,
        1 => r#""clusterIP":"None","ports":[{"port":80}]"#,
        2 => r#""type":"LoadBalancer","clusterIP":"10.0.0.1","ports":[{"port":80,"name":"http"}]"#,
        3 => {
            r#""clusterIP":"10.0.0.1","ports":[{"port":53,"protocol":"UDP","name":"u"},{"port":53,"name":"t"}]"#
        }
        4 => {
            r#""clusterIP":"10.0.0.1","ports":[{"port":53,"name":"t"},{"port":53,"protocol":"UDP","name":"u"},{"port":80}]"#
        }
        _ => r#""clusterIP":"10.0.0.1","ports":[{"port":80,"name":"http"},{"port":443}]"#,
    };
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}","labels":{{"app":"a{}"}},
        "annotations":{{"service.beta.kubernetes.io/aws-load-balancer-type":"nlb"}}}},"spec":{{{spec}}}}}"#,
        variant % 2
    )
}

fn slice(namespace: &str, name: &str, service: u8, variant: u8) -> String {
    let mut endpoints = String::new();
    for at in 0..variant % 4 {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(
            endpoints,
            r#"{comma}{{"addresses":["10.1.0.{at}"],"conditions":{{"ready":{}}},"nodeName":"n{}","zone":"z{}"}}"#,
            variant & 4 == 0 || at == 0,
            (variant + at) % 3,
            variant % 2,
        );
    }
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}",
        "labels":{{"kubernetes.io/service-name":"o{service}"}}}},
        "addressType":"IPv4","endpoints":[{endpoints}],"ports":[{{"port":80}}]}}"#
    )
}

fn node(name: &str, variant: u8) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","labels":{{"topology.kubernetes.io/zone":"z{}","kubernetes.io/os":"linux"}},
        "annotations":{{"config.cilium.io/bpf-ct-timeout-service-tcp":"{}s"}}}},
        "spec":{{"providerID":"{}"}},
        "status":{{"conditions":[{{"type":"Ready","status":"{}"}}],
        "nodeInfo":{{"operatingSystem":"linux","kernelVersion":"{}","kubeletVersion":"v1.3{}.1"}}}}}}"#,
        variant % 3,
        100 + u32::from(variant),
        if variant & 1 == 0 { "aws:///z/i-1" } else { "" },
        if variant & 2 == 0 { "True" } else { "Unknown" },
        if variant & 4 == 0 { "6.6.1" } else { "5.4.0" },
        variant % 4,
    )
}

fn daemon_set(name: &str, namespace: &str, variant: u8) -> String {
    let (container, argv, image) = match variant % 4 {
        0 => (
            "kube-proxy",
            r#""--config=/var/lib/kube-proxy/o1""#,
            "kube-proxy:v1.33.1",
        ),
        1 => ("kube-proxy", r#""--proxy-mode=ipvs""#, "kube-proxy:v1.31.0"),
        2 => ("cilium-agent", r#""--config-dir=/tmp""#, "cilium:v1.16.2"),
        _ => ("other", r#""--x""#, "other:1"),
    };
    let config_map = if variant & 4 == 0 { "kube-proxy" } else { "o1" };
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}"}},"spec":{{"template":{{"spec":{{
        "containers":[{{"name":"{container}","image":"registry/{image}","command":["{container}"],"args":[{argv}],
        "volumeMounts":[{{"name":"c","mountPath":"/var/lib/kube-proxy"}}]}}],
        "volumes":[{{"name":"c","configMap":{{"name":"{config_map}"}}}}]}}}}}}}}"#
    )
}

fn config_map(name: &str, namespace: &str, variant: u8) -> String {
    let (mode, timeout) = (
        if variant & 1 == 0 { "ipvs" } else { "iptables" },
        u32::from(variant % 3) * 400,
    );
    let data = if name == "cilium-config" {
        format!(r#""bpf-ct-timeout-service-tcp":"{timeout}s","kube-proxy-replacement":"true""#)
    } else {
        format!(
            r#""o1":"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: {mode}\nipvs:\n  tcpTimeout: {timeout}s\n""#
        )
    };
    format!(r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}"}},"data":{{{data}}}}}"#)
}

/// The object of these numbers, and whether it is one that cannot be understood.
fn object(source: Source, at: u8, name: u8, variant: u8) -> (Id, String) {
    let (name, service_at) = match (source, name) {
        (Source::ConfigMaps | Source::DaemonSets, 0) => ("kube-proxy".into(), 0),
        (Source::ConfigMaps, 2) => ("cilium-config".into(), 0),
        _ => (format!("o{name}"), name % 3),
    };
    let namespace = match source {
        Source::Nodes | Source::Namespaces | Source::Webhooks => "",
        Source::ConfigMaps | Source::DaemonSets | Source::CiliumNodeConfigs => "kube-system",
        _ => NAMESPACES.get(usize::from(at % 2)).copied().unwrap_or_default(),
    };
    let name = name.as_str();
    let kind = if source == Source::Webhooks {
        if at == 0 {
            "ValidatingWebhookConfiguration"
        } else {
            "MutatingWebhookConfiguration"
        }
    } else {
        ""
    };
    let json = if variant >= 12 && kind.is_empty() {
        broken(variant, namespace, name, &format!("o{service_at}"))
    } else {
        match source {
            Source::Services => service(namespace, name, variant),
            Source::EndpointSlices => slice(namespace, name, (service_at + variant / 8) % 3, variant),
            Source::Nodes => node(name, variant),
            Source::Pods => format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}","labels":{{"app":"a{}"}}}},
                "spec":{{"nodeName":"o{}","containers":[{{"name":"{}","image":"kube-proxy:v1.30.0",
                "command":["x","--proxy-mode={}"]}}],
                "securityContext":{{"sysctls":[{{"name":"net.ipv4.tcp_keepalive_time","value":"{}"}}]}}}},
                "status":{{"phase":"{}"}}}}"#,
                variant % 2,
                variant % 3,
                if variant & 8 == 0 { "app" } else { "kube-proxy" },
                if variant & 1 == 0 { "ipvs" } else { "nftables" },
                u32::from(variant) * 100,
                if variant == 5 { "Failed" } else { "Running" },
            ),
            Source::DaemonSets => daemon_set(name, namespace, variant),
            Source::ConfigMaps => config_map(name, namespace, variant),
            Source::CiliumNodeConfigs => format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}"}},"spec":{{
                "nodeSelector":{{"matchLabels":{{"topology.kubernetes.io/zone":"z{}"}}}},
                "defaults":{{"bpf-ct-timeout-service-tcp":"{variant}00s"}}}}}}"#,
                variant % 3
            ),
            Source::Webhooks if variant >= 12 => {
                format!(r#"{{"kind":"{kind}","metadata":{{"name":"{name}"}},"webhooks":7}}"#)
            }
            Source::Webhooks => format!(
                r#"{{"kind":"{kind}","metadata":{{"name":"{name}"}},"webhooks":[{{"name":"w{variant}",
                "failurePolicy":"Fail","rules":[{{"apiGroups":[""],"apiVersions":["v1"],"resources":["nodes"],
                "operations":["UPDATE"]}}],"clientConfig":{{"service":{{"namespace":"shop","name":"o0"}}}},
                "timeoutSeconds":{variant}}}]}}"#
            ),
            _ => format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}","labels":{{"l":"{variant}"}}}}}}"#
            ),
        }
    };
    let held = if kind.is_empty() { namespace } else { kind };
    ((source, held.into(), name.into()), json)
}

fn policy(at: u8, name: u8, variant: u8) -> Policy {
    let connection = |name: &str, protocol, silence| Connection {
        name: name.into(),
        ports: match variant % 3 {
            0 => Vec::new(),
            1 => vec![PortRef::Name("http".into())],
            _ => vec![PortRef::Number(53), PortRef::Number(80)],
        },
        protocol,
        longest_silence_seconds: silence,
        longest_request_seconds: None,
        clients: if variant & 1 == 0 {
            Vec::new()
        } else {
            vec![Client {
                name: "worker".into(),
                from: if variant & 2 == 0 {
                    Door::Cluster
                } else {
                    Door::LoadBalancer
                },
                pods: Some(Selector {
                    labels: vec![("app".into(), "a1".into())],
                    expressions: Vec::new(),
                }),
                tcp_keepalive: Some(Beat::Enabled(None)),
                ping: None,
                idle_timeout_seconds: None,
                request_timeout_seconds: None,
                max_connection_age_seconds: None,
                new_connections_per_second: None,
            }]
        },
        server: Server {
            tcp_keepalive: Some(Beat::Disabled),
            ..Server::default()
        },
        hops: if variant & 4 == 0 {
            Vec::new()
        } else {
            vec![Hop {
                name: "proxy".into(),
                layer: Layer::L7,
                idle_timeout_seconds: Some(60),
                request_timeout_seconds: None,
            }]
        },
    };
    Policy {
        namespace: NAMESPACES
            .get(usize::from(at % 2))
            .copied()
            .unwrap_or_default()
            .into(),
        name: format!("p{name}").into(),
        services: if variant & 8 == 0 {
            ServicePick::Names(vec!["o0".into(), "o1".into()])
        } else {
            ServicePick::Selector(Selector {
                labels: vec![("app".into(), "a1".into())],
                expressions: Vec::new(),
            })
        },
        balance: None,
        connections: vec![
            connection("main", Protocol::Tcp, Some(300 * u32::from(variant % 5))),
            connection("calls", Protocol::Grpc, None),
        ],
        remediation: Remediation::default(),
        exceptions: variant
            .is_multiple_of(4)
            .then(|| Exception {
                check: "path-idle-budget".into(),
                reason: "known".into(),
                expires_at: Wall(now().wall.0 + i64::from(variant) - 4),
            })
            .into_iter()
            .collect(),
    }
}

fn cluster_policy(variant: u8) -> Arc<ClusterPolicy> {
    Arc::new(ClusterPolicy {
        max_exception_days: Some(u32::from(variant)),
        protected_namespaces: vec!["kube-system".into()],
        ..ClusterPolicy::default()
    })
}

fn configz(variant: u8) -> String {
    match variant % 3 {
        0 => r#"{"kubeproxy.config.k8s.io":{"mode":"ipvs","ipvs":{"tcpTimeout":"7m0s"}}}"#.into(),
        1 => r#"{"kubeproxy.config.k8s.io":{"mode":"nftables"}}"#.into(),
        _ => "not a document".into(),
    }
}

fn feed(core: &mut Core, id: &Id, thing: &Thing) {
    // An object that cannot be understood is an input as good as any.
    let _ = match thing {
        Thing::Json(json) => core.handle(now(), Input::Object(id.0, json.as_bytes())),
        Thing::Policy(policy) => core.handle(now(), Input::Policy(policy.clone())),
    };
}

fn apply(core: &mut Core, world: &mut World, step: &Step) {
    match *step {
        Step::Put(source, at, name, variant) => {
            let (id, thing) = if source == Source::Policies {
                let policy = Arc::new(policy(at, name, variant));
                let id = (source, policy.namespace.to_string(), policy.name.to_string());
                (id, Thing::Policy(policy))
            } else {
                let (id, json) = object(source, at, name, variant);
                (id, Thing::Json(json))
            };
            feed(core, &id, &thing);
            world.things.insert(id, thing);
        }
        Step::Delete(source, at, name) => {
            let id = if source == Source::Policies {
                let policy = policy(at, name, 0);
                (source, policy.namespace.to_string(), policy.name.to_string())
            } else {
                object(source, at, name, 0).0
            };
            let _ = core.handle(now(), Input::Gone(source, &id.1, &id.2));
            world.things.remove(&id);
        }
        Step::Relist(source, mask, round, ends) => {
            let _ = core.handle(now(), Input::Begin(source));
            let mut left_out = Vec::new();
            let listed = world.things.iter().filter(|(id, _)| id.0 == source);
            for (at, (id, thing)) in listed.enumerate() {
                if (mask >> (at % 16)) & 1 == 0 {
                    feed(core, id, thing);
                } else {
                    left_out.push(id.clone());
                }
            }
            if round {
                core.round(now());
            }
            if ends {
                let _ = core.handle(now(), Input::Synced(source));
                world.health.insert(source, Health::Complete);
                for id in &left_out {
                    world.things.remove(id);
                }
            } else {
                let _ = core.handle(now(), Input::Lost(source, "cut off"));
                world.health.insert(source, Health::Lost);
            }
        }
        Step::Health(source, health) => {
            let _ = match health {
                // What was silent may be heard of again instead of being listed anew.
                Health::Complete if world.health.get(&source) == Some(&Health::Silent) => {
                    core.handle(now(), Input::Alive(source))
                }
                Health::Complete => return apply(core, world, &Step::Relist(source, 0, false, true)),
                Health::Silent => core.handle(now(), Input::Silent(source)),
                Health::Lost => core.handle(now(), Input::Lost(source, "cut off")),
            };
            world.health.insert(source, health);
        }
        Step::Cluster(variant) => {
            world.cluster = variant.map(cluster_policy);
            let _ = core.handle(now(), Input::ClusterPolicy(world.cluster.clone()));
        }
        Step::Configz(node, variant) => {
            let node = if node == 0 {
                String::new()
            } else {
                format!("o{node}")
            };
            if let Some(variant) = variant {
                let body = configz(variant);
                let _ = core.handle(now(), Input::Configz(&node, &body));
                world.configz.insert(node, body);
                world.health.insert(Source::Configz, Health::Complete);
            } else {
                let _ = core.handle(now(), Input::Gone(Source::Configz, "", &node));
                world.configz.remove(&node);
            }
        }
        Step::Round => drop(core.round(now())),
    }
}

/// A core that is told only what is left, in an order of its own.
fn from_nothing(world: &World, mut order: u64) -> Core {
    let mut core = Core::default();
    let mut things: Vec<_> = world.things.iter().collect();
    for at in (1..things.len()).rev() {
        // A linear congruential step (Knuth's MMIX constants) is random enough for a shuffle.
        order = order
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        things.swap(at, (order >> 33) as usize % (at + 1));
    }
    for (id, thing) in things {
        feed(&mut core, id, thing);
    }
    for (node, body) in &world.configz {
        let _ = core.handle(now(), Input::Configz(node, body));
    }
    let _ = core.handle(now(), Input::ClusterPolicy(world.cluster.clone()));
    for (source, health) in &world.health {
        let _ = match health {
            Health::Complete => core.handle(now(), Input::Synced(*source)),
            Health::Silent => core.handle(now(), Input::Silent(*source)),
            Health::Lost => core.handle(now(), Input::Lost(*source, "cut off")),
        };
    }
    core.round(now());
    core
}

/// Everything a core has to tell, in one comparable form.
fn told(core: &Core, world: &World) -> (FindingList, Vec<String>) {
    let mut list = core.findings(now());
    for finding in &mut list.findings {
        finding.since = None;
    }
    let index = core.index();
    let mut joins = Vec::new();
    for (_, namespace, name) in world.things.keys().filter(|id| id.0 == Source::Services) {
        let find = |text: &str| index.names.find(text).unwrap_or_default();
        let text = match index.endpoints(Key {
            namespace: find(namespace),
            name: find(name),
        }) {
            Err(gap) => gap.to_string(),
            Ok(endpoints) => endpoints.iter().fold(String::new(), |mut text, one| {
                let (node, zone) = (index.names.text(one.node), index.names.text(one.zone));
                let _ = write!(text, "{} {node} {zone} {} ", one.address, one.ready);
                text
            }),
        };
        joins.push(format!("{namespace}/{name}: {text}"));
    }
    for class in &core.fleet().classes {
        joins.push(format!("{class:?}"));
    }
    (list, joins)
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        4 => Just(Source::Services),
        4 => Just(Source::EndpointSlices),
        4 => Just(Source::Policies),
        6 => select(&PLAIN[2..]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let health = prop_oneof![2 => Just(Health::Complete), 1 => Just(Health::Silent), 1 => Just(Health::Lost)];
    prop_oneof![
        12 => (source(), 0..2_u8, 0..4_u8, 0..15_u8).prop_map(|(s, at, name, v)| Step::Put(s, at, name, v)),
        3 => (source(), 0..2_u8, 0..4_u8).prop_map(|(s, at, name)| Step::Delete(s, at, name)),
        3 => (source(), any::<u16>(), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(s, mask, round, ends)| Step::Relist(s, mask, round, ends)),
        3 => (select(&Source::ALL[..11]), health).prop_map(|(s, health)| Step::Health(s, health)),
        1 => prop::option::of(0..3_u8).prop_map(Step::Cluster),
        1 => (0..3_u8, prop::option::of(0..3_u8)).prop_map(|(node, v)| Step::Configz(node, v)),
        8 => Just(Step::Round),
    ]
}

/// A history that starts with some sources complete, so that more than gaps is told.
fn history() -> impl Strategy<Value = Vec<Step>> {
    let start = prop::collection::vec(prop::bool::weighted(0.85), 11);
    (start, prop::collection::vec(step(), 1..60)).prop_map(|(start, steps)| {
        let complete = Source::ALL.into_iter().zip(start).filter(|one| one.1);
        let complete = complete.map(|(source, _)| Step::Relist(source, 0, false, true));
        complete.chain(steps).collect()
    })
}

fn cases(usual: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::with_cases(
            std::env::var("PROPTEST_CASES").map_or(usual, |text| text.parse().unwrap_or(usual)),
        )
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn step_by_step_is_from_nothing(steps in history(), order in any::<u64>()) {
        let (mut core, mut world) = (Core::default(), World::default());
        for step in &steps {
            apply(&mut core, &mut world, step);
        }
        core.round(now());
        let other = from_nothing(&world, order);
        let (one, two) = (told(&core, &world), told(&other, &world));
        prop_assert_eq!(one.0, two.0);
        prop_assert_eq!(one.1, two.1);
    }

    #[test]
    fn judging_twice_changes_nothing(steps in history()) {
        let (mut core, mut world) = (Core::default(), World::default());
        for step in &steps {
            apply(&mut core, &mut world, step);
        }
        core.round(now());
        let before = told(&core, &world);
        prop_assert!(core.round(now()).transitions.is_empty());
        prop_assert_eq!(&before, &told(&core, &world));
        // Also when everything is judged again and nothing has changed.
        for source in Source::ALL {
            for (id, thing) in world.things.iter().filter(|(id, _)| id.0 == source) {
                feed(&mut core, id, thing);
            }
        }
        prop_assert!(core.round(now()).transitions.is_empty());
        prop_assert_eq!(before, told(&core, &world));
    }

    #[test]
    fn without_what_it_needs_no_check_is_met(steps in history(), lost in select(&Source::ALL[..])) {
        let (mut core, mut world) = (Core::default(), World::default());
        for step in &steps {
            apply(&mut core, &mut world, step);
        }
        core.round(now());
        let before = core.findings(now());
        let _ = core.handle(now(), Input::Lost(lost, "cut off"));
        core.round(now());
        let after = core.findings(now());
        let needing = || checks::ALL.iter().filter(|check| check.needs.has(lost));
        for check in needing() {
            let mut told = after.findings.iter().filter(|one| one.check == check.id);
            prop_assert!(told.all(|one| one.verdict == "Unknown"));
            for finding in before.findings.iter().filter(|one| one.check == check.id) {
                // Where the objects themselves are lost, one word on the cluster stands for all of them.
                let stands = |one: &&_| -> bool {
                    let one: &evenkeel_core::findings::Finding = one;
                    one.id == finding.id || one.subject.kind == "Cluster"
                };
                let told = after.findings.iter().filter(|one| one.check == check.id);
                prop_assert!(told.filter(stands).count() > 0);
            }
        }
        if needing().count() == checks::ALL.len() {
            prop_assert_eq!((after.summary.met, after.summary.not_applicable), (0, 0));
            let judged = before.summary.met + before.summary.not_applicable;
            prop_assert!(judged == 0 || after.summary.unknown > 0);
        }
    }
}

/// A change of some bytes of an object.
#[derive(Debug, Clone)]
enum Mutation {
    Byte(Index, u8),
    Cut(Index, u8),
    Insert(Index, Vec<u8>),
    /// The value after the colon of that number becomes another.
    Value(Index, &'static str),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let values = [
        "null",
        "-1",
        "1e999",
        "18446744073709551616",
        "\"\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "[]",
        "{}",
        "[null]",
        "{\"\":null}",
        "true",
        "\"é\"",
        "0.5",
    ];
    prop_oneof![
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, len)| Mutation::Cut(at, len)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 0..8)).prop_map(|(at, new)| Mutation::Insert(at, new)),
        6 => (any::<Index>(), select(values.to_vec())).prop_map(|(at, value)| Mutation::Value(at, value)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let len = bytes.len();
    if len == 0 {
        return;
    }
    match mutation {
        Mutation::Byte(at, byte) => bytes
            .iter_mut()
            .skip(at.index(len))
            .take(1)
            .for_each(|old| *old = *byte),
        Mutation::Cut(at, cut) => {
            let from = at.index(len);
            bytes.drain(from..len.min(from + usize::from(*cut)));
        }
        Mutation::Insert(at, new) => {
            let at = at.index(len);
            bytes.splice(at..at, new.iter().copied());
        }
        Mutation::Value(at, value) => {
            let colons: Vec<usize> = (0..len).filter(|at| bytes.get(*at) == Some(&b':')).collect();
            let Some(from) = (!colons.is_empty())
                .then(|| colons.get(at.index(colons.len())))
                .flatten()
            else {
                return;
            };
            // As far as the value reaches, strings and brackets counted.
            let (mut depth, mut quoted, mut to) = (0_u32, false, from + 1);
            while let Some(byte) = bytes.get(to) {
                match byte {
                    b'"' => quoted = !quoted,
                    b'{' | b'[' if !quoted => depth += 1,
                    b',' | b'}' | b']' if !quoted && depth == 0 => break,
                    b'}' | b']' if !quoted => depth -= 1,
                    _ => {}
                }
                to += 1;
            }
            bytes.splice(from + 1..to, value.bytes());
        }
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn no_bytes_panic(
        objects in prop::collection::vec(
            (select(&PLAIN[..]), 0..2_u8, 0..4_u8, 0..15_u8, prop::collection::vec(mutation(), 0..4)),
            1..12,
        ),
        garbage in prop::collection::vec(any::<u8>(), 0..40),
        body in ".{0,40}",
        policies in prop::collection::vec((0..2_u8, 0..2_u8, 0..15_u8), 0..3),
    ) {
        let mut core = Core::default();
        for source in Source::ALL {
            let _ = core.handle(now(), Input::Begin(source));
            let _ = core.handle(now(), Input::Object(source, &garbage));
        }
        for (at, name, variant) in policies {
            let _ = core.handle(now(), Input::Policy(Arc::new(policy(at, name, variant))));
        }
        for (source, at, name, variant, mutations) in &objects {
            let mut bytes = object(*source, *at, *name, *variant).1.into_bytes();
            for one in mutations {
                mutate(&mut bytes, one);
            }
            let _ = core.handle(now(), Input::Object(*source, &bytes));
            // And as an object of every other kind.
            for other in Source::ALL {
                let _ = core.handle(now(), Input::Object(other, &bytes));
            }
        }
        let _ = core.handle(now(), Input::Configz("o1", &body));
        for source in Source::ALL {
            let _ = core.handle(now(), Input::Synced(source));
        }
        core.round(now());
        let list = core.findings(now());
        prop_assert!(serde_json::to_string(&list).is_ok());
    }
}
