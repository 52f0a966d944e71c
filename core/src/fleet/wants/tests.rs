use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::handle::Input;
use crate::index::SYSTEM;
use crate::know::Source;
use crate::policy::{Client, ClusterPolicy, Connection, Protocol, Server, ServicePick};
use crate::world::{World, app, client, connection, policy, service};

/// A policy of the namespace `shop` that selects the Pods of a client, and those behind its Services where it asks.
fn asks(name: &str, services: &str, worker: &str, backends: bool) -> Policy {
    let worker = Client {
        pods: Some(app(worker)),
        ..client("worker")
    };
    let server = Server {
        tcp_keepalive: backends.then_some(Beat::Enabled(None)),
        ..Server::default()
    };
    Policy {
        name: name.into(),
        services: ServicePick::Names(vec![services.into()]),
        ..policy(vec![Connection {
            server,
            ..connection(Protocol::Tcp, worker)
        }])
    }
}

fn proxy(namespace: &str, maps: usize) -> Value {
    let volumes: Vec<Value> = (0..maps)
        .map(|at| json!({"name": format!("v{at}"), "configMap": {"name": format!("m{at:04}")}}))
        .collect();
    json!({"metadata": {"namespace": namespace, "name": "kube-proxy"}, "spec": {
        "selector": {"matchLabels": {"app": "proxy"}},
        "template": {"spec": {"volumes": volumes,
            "containers": [{"name": "kube-proxy", "image": "kube-proxy:v1.33.1", "command": ["kube-proxy"]}]}}}})
}

/// By the labels that installers give them.
#[test]
fn pods_of_the_control_plane_are_read_of_every_installer() {
    let wants = World::complete().core.take_wants().expect("the usual ones");
    let reads = |key: &str, value: &str| {
        let mut selectors = wants.pods[SYSTEM].iter();
        selectors.any(|one| one.matches(|asked| (asked == key).then_some(value)))
    };
    for program in ["kube-apiserver", "kube-controller-manager", "kube-proxy"] {
        assert!(
            reads("component", program) && reads("k8s-app", program),
            "{program}"
        );
    }
    assert!(reads("k8s-app", "kube-dns") && !reads("k8s-app", "other"));
}

#[test]
fn a_tenants_look_alike_makes_nothing_worth_reading() {
    let mut world = World::complete();
    let usual = world.core.take_wants().expect("the usual ones");
    let mut world = world.with(Source::DaemonSets, proxy("a-team", 1_500));
    assert_eq!(world.core.take_wants(), None);
    world.declare_platform(ClusterPolicy {
        trusted_namespaces: vec!["a-team".into()],
        ..ClusterPolicy::default()
    });
    let trusted = world.core.take_wants().expect("it is the platform's now");
    assert_eq!(trusted.config_maps.len(), usual.config_maps.len() + 1);
    let maps = &trusted.config_maps["a-team"];
    assert_eq!(
        (maps.names.len(), maps.beyond),
        (MOST_NAMED, 1_500 + 2 - MOST_NAMED)
    );
    assert!(maps.names.contains("cilium-config"), "the usual ones come first");
    assert_eq!(
        maps.excess().as_deref(),
        Some("1502 are named in this namespace, and at most 32 are read")
    );
    assert_eq!(usual.config_maps["kube-system"].excess(), None);
}

#[test]
fn a_namespace_with_too_many_selectors_is_read_as_a_whole_and_others_as_before() {
    let clients = |count: usize| {
        let clients = (0..count).map(|at| Client {
            pods: Some(app(&format!("c{at}"))),
            ..client(&format!("c{at}"))
        });
        policy(vec![Connection {
            clients: clients.collect(),
            ..connection(Protocol::Tcp, client("none"))
        }])
    };
    let mut world = World::complete().policy(clients(MOST_SELECTORS));
    let wants = world.core.take_wants().expect("a policy");
    assert_eq!(wants.pods["shop"].len(), MOST_SELECTORS);
    let system = wants.pods["kube-system"].clone();
    let mut world = world.policy(clients(MOST_SELECTORS + 1));
    let wants = world.core.take_wants().expect("more");
    assert_eq!(*wants.pods["shop"], BTreeSet::from([Selector::default()]));
    assert_eq!(wants.pods["kube-system"], system);
}

#[derive(Debug, Clone)]
enum Step {
    Policy {
        name: usize,
        service: usize,
        worker: usize,
        backends: bool,
    },
    NoPolicy(usize),
    Service {
        name: usize,
        app: usize,
    },
    NoService(usize),
    Ask,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_usize, 0..3_usize, 0..3_usize, any::<bool>()).prop_map(|(name, service, worker, backends)| {
            Step::Policy {
                name,
                service,
                worker,
                backends,
            }
        }),
        (0..3_usize).prop_map(Step::NoPolicy),
        (0..3_usize, 0..3_usize).prop_map(|(name, app)| Step::Service { name, app }),
        (0..3_usize).prop_map(Step::NoService),
        Just(Step::Ask),
    ]
}

proptest! {
    #[test]
    fn what_changes_step_by_step_is_what_it_is_from_nothing(
        steps in proptest::collection::vec(step(), 0..40),
    ) {
        let mut world = World::complete();
        let mut told = world.core.take_wants();
        for step in steps {
            let service_of = |name: usize| format!("s{name}");
            match step {
                Step::Policy { name, service, worker, backends } => {
                    let named = asks(&format!("p{name}"), &service_of(service), &format!("w{worker}"), backends);
                    world.declare(named);
                }
                Step::NoPolicy(name) => {
                    world.input(Input::Gone(Source::Policies, "shop", &format!("p{name}")));
                }
                Step::Service { name, app } => {
                    let selects = json!({"selector": {"app": format!("a{app}")}});
                    world.put(Source::Services, &service(&service_of(name), selects));
                }
                Step::NoService(name) => {
                    world.input(Input::Gone(Source::Services, "shop", &service_of(name)));
                }
                Step::Ask => told = world.core.take_wants().or(told),
            }
        }
        told = world.core.take_wants().or(told);
        let index = world.core.index();
        let mut anew = WantsTracker::default();
        if let Some(shop) = index.names.find("shop") {
            anew.policies_changed(shop);
        }
        prop_assert_eq!(told, anew.take(index, Metrics::NONE));
    }
}
