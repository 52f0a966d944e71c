//! What is worth reading beyond whole lists: single `ConfigMaps`, and Pods by selector.
//!
//! A live reader never lists all Pods or all `ConfigMaps`: it first reads what names them, then asks here. Each namespace
//! has a budget of its own, so what one asks for takes nothing from another; `ConfigMaps` are asked for in namespaces of
//! the platform only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kube_proxy::is_kube_proxy;
use super::measured::{self, SampleWants};
use crate::index::{Index, SYSTEM};
use crate::names::{InUse, Key, Name};
use crate::policy::{Beat, Operator, Policy, Requirement, Selector};
use crate::sample::{Metrics, Scope};
use crate::sources::service::Service;
use crate::sources::workload::DaemonSet;

/// What to read next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wants {
    /// `ConfigMaps` by namespace.
    pub config_maps: BTreeMap<Arc<str>, NamedWants>,
    /// Pods by namespace: those that any of its selectors selects. Never empty sets.
    pub pods: BTreeMap<Arc<str>, Arc<BTreeSet<Selector>>>,
    /// What to measure, by what it is measured on; empty where no observer is configured or no check needs any. An observer
    /// that has a metric is asked for it every [`crate::sample::Observer::every_seconds`], and each answer is one
    /// [`crate::sample::Page`].
    pub samples: Arc<BTreeMap<Scope<Arc<str>>, SampleWants>>,
}

/// Objects of one namespace, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedWants {
    /// Their names, at most [`MOST_NAMED`].
    pub names: BTreeSet<Arc<str>>,
    /// How many more there would be: whatever is not among the names is not known.
    pub beyond: usize,
}

/// Objects that are read by name in one namespace. The products that are known mount a handful.
pub const MOST_NAMED: usize = 32;

/// Different selectors of one namespace. Where policies have more, all of its Pods are read: comparing each Pod with
/// thousands of selectors would cost more than the rows do.
pub const MOST_SELECTORS: usize = 256;

/// Where a kubeadm cluster and the managed ones keep the configuration of their data plane.
const USUAL_CONFIG_MAPS: [&str; 4] = ["kube-proxy", "kube-proxy-config", "cilium-config", "eni-config"];

/// Labels of Pods that are worth reading in `kube-system` whatever runs there: kube-proxy (kubeadm, EKS, AKS), static
/// Pods (GKE, kOps, RKE2, kubeadm's control plane) and DNS.
const USUAL_PODS: [(&str, &[&str]); 2] = [
    ("k8s-app", &["kube-proxy", "kube-dns"]),
    (
        "component",
        &["kube-proxy", "kube-controller-manager", "kube-apiserver"],
    ),
];

/// Selectors of Pods by namespace.
type PodsBySpace = BTreeMap<Arc<str>, BTreeSet<Selector>>;

/// Keeps [`Wants`] up to date: only the namespaces that changed are looked at again.
#[derive(Debug)]
pub(crate) struct Reading {
    wants: Wants,
    /// Pods of the data plane, by namespace.
    platform: PodsBySpace,
    spaces: BTreeMap<Arc<str>, Space>,
    changed: Changed,
}

/// What one namespace's policies make worth reading.
#[derive(Debug, Default)]
struct Space {
    /// Pods of clients.
    clients: BTreeSet<Selector>,
    /// Pods of Services, by Service, where a policy rests on them.
    backends: BTreeMap<Arc<str>, Selector>,
}

/// What has changed since it was last looked at.
#[derive(Debug, Default)]
struct Changed {
    platform: bool,
    /// Whether something else may be worth measuring.
    measured: bool,
    /// Namespaces of which policies changed.
    policies: BTreeSet<Name>,
    services: BTreeSet<Key>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            wants: Wants::default(),
            platform: PodsBySpace::new(),
            spaces: BTreeMap::new(),
            changed: Changed {
                platform: true,
                ..Changed::default()
            },
        }
    }
}

impl Reading {
    /// Notes the names that it holds.
    pub(crate) fn hold(&self, held: &mut InUse) {
        held.note(&self.changed.policies);
        held.note(&self.changed.services);
    }

    /// What the data plane consists of has changed, or which namespaces are the platform's.
    pub(crate) const fn platform_changed(&mut self) {
        self.changed.platform = true;
    }

    /// Observers, API servers, or the platform's policy are others than before, or the first Node came.
    pub(crate) const fn measured_changed(&mut self) {
        self.changed.measured = true;
    }

    /// Policies of a namespace have changed.
    pub(crate) fn policies_changed(&mut self, namespace: Name) {
        self.changed.policies.insert(namespace);
    }

    /// A Service came, changed or went.
    pub(crate) fn service_changed(&mut self, key: Key) {
        self.changed.services.insert(key);
    }

    /// What is worth reading now, where that is something else than was last said.
    pub(crate) fn take(&mut self, index: &Index, metrics: Metrics) -> Option<Wants> {
        let Changed {
            platform,
            measured,
            policies,
            services,
        } = std::mem::take(&mut self.changed);
        let mut touched = BTreeSet::new();
        let mut is_news = false;
        if measured || index.samples().is_observed() && !(policies.is_empty() && services.is_empty()) {
            let samples = measured::wants(index, metrics);
            is_news = *self.wants.samples != samples;
            if is_news {
                self.wants.samples = Arc::new(samples);
            }
        }
        if platform {
            let (pods, maps) = of_platform(index);
            touched.extend(self.platform.keys().chain(pods.keys()).cloned());
            self.platform = pods;
            is_news |= self.wants.config_maps != maps;
            self.wants.config_maps = maps;
        }
        for key in services {
            // A namespace of which policies changed is looked at as a whole.
            if !policies.contains(&key.namespace) && self.look_at_service(index, key) {
                touched.insert(index.names.shared(key.namespace));
            }
        }
        for namespace in policies {
            let text = index.names.shared(namespace);
            self.spaces.insert(text.clone(), Space::of(index, namespace));
            touched.insert(text);
        }
        for namespace in touched {
            is_news |= self.settle(namespace);
        }
        is_news.then(|| self.wants.clone())
    }

    /// Looks at one Service; says whether other Pods are wanted for it than before.
    fn look_at_service(&mut self, index: &Index, key: Key) -> bool {
        let [namespace, name] = [key.namespace, key.name].map(|name| index.names.shared(name));
        let new = backends(index, key);
        let held = self.spaces.get(&namespace);
        if held.and_then(|space| space.backends.get(&name)) == new.as_ref() {
            return false;
        }
        let space = self.spaces.entry(namespace).or_default();
        match new {
            Some(selector) => space.backends.insert(name, selector),
            None => space.backends.remove(&name),
        };
        true
    }

    /// Brings what is wanted of a namespace up to date; says whether that is something else than before.
    fn settle(&mut self, namespace: Arc<str>) -> bool {
        let space = self.spaces.get(&namespace);
        let of_space = space
            .into_iter()
            .flat_map(|space| space.clients.iter().chain(space.backends.values()));
        let of_platform = self.platform.get(&namespace).into_iter().flatten();
        let mut pods = BTreeSet::new();
        for selector in of_platform.chain(of_space) {
            if !pods.contains(selector) {
                pods.insert(selector.clone());
            }
            if pods.len() > MOST_SELECTORS || *selector == Selector::default() {
                pods = BTreeSet::from([Selector::default()]);
                break;
            }
        }
        if space.is_some_and(Space::is_empty) {
            self.spaces.remove(&namespace);
        }
        if pods.is_empty() {
            return self.wants.pods.remove(&namespace).is_some();
        }
        if self.wants.pods.get(&namespace).is_some_and(|held| **held == pods) {
            return false;
        }
        self.wants.pods.insert(namespace, Arc::new(pods));
        true
    }
}

impl Space {
    fn of(index: &Index, namespace: Name) -> Self {
        let mut space = Self::default();
        let mut asks = false;
        let policies = index.policies_in.of(namespace);
        for policy in policies.filter_map(|key| index.policies.get(key)) {
            let clients = policy
                .connections
                .iter()
                .flat_map(|connection| &connection.clients);
            space
                .clients
                .extend(clients.filter_map(|client| client.pods.clone()));
            asks |= needs_backends(policy);
        }
        if asks {
            let services = index.services_in.of(namespace);
            space.backends = services
                .filter_map(|key| Some((index.names.shared(key.name), backends(index, key)?)))
                .collect();
        }
        space
    }

    fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.backends.is_empty()
    }
}

/// The Pods behind a Service, where a policy that governs it rests on them.
fn backends(index: &Index, key: Key) -> Option<Selector> {
    let service = index.services.get(key)?;
    if !service.selects() {
        return None;
    }
    let governing = index.picks.may_govern(key, service);
    let mut governing = governing.filter_map(|at| index.policies.get(at));
    governing
        .any(|policy| needs_backends(policy) && index.governs(policy, key, service))
        .then(|| labels(index, service))
}

/// Whether the Pods behind a policy's Services tell something that nothing else does: the keepalive time that their sockets
/// take from a sysctl, or where they may run.
fn needs_backends(policy: &Policy) -> bool {
    let limits_places = policy.balance.as_ref().is_some_and(|balance| {
        balance.max_percent_per_node.is_some() || balance.max_percent_per_zone.is_some()
    });
    let mut servers = policy.connections.iter().map(|connection| &connection.server);
    let counted = policy
        .balance
        .as_ref()
        .is_some_and(|balance| balance.counter.is_some());
    limits_places || counted || servers.any(|server| server.tcp_keepalive == Some(Beat::Enabled(None)))
}

/// The selector of a Service.
fn labels(index: &Index, service: &Service) -> Selector {
    let labels = service.selector.iter();
    Selector {
        labels: labels
            .map(|(key, value)| (index.names.shared(key), index.names.shared(value)))
            .collect(),
        expressions: Vec::new(),
    }
}

/// What the data plane makes worth reading: Pods and `ConfigMaps`, by namespace.
fn of_platform(index: &Index) -> (PodsBySpace, BTreeMap<Arc<str>, NamedWants>) {
    let mut pods = PodsBySpace::new();
    let system: Arc<str> = SYSTEM.into();
    let usual = USUAL_PODS.map(|(key, values)| Selector {
        labels: Vec::new(),
        expressions: vec![Requirement {
            key: key.into(),
            operator: Operator::In,
            values: values.iter().map(|value| Arc::from(*value)).collect(),
        }],
    });
    pods.insert(system.clone(), usual.into());
    // By namespace those that are asked for whatever runs there, and those that a DaemonSet mounts.
    let mut maps: BTreeMap<Arc<str>, [BTreeSet<Arc<str>>; 2]> = BTreeMap::new();
    maps.entry(system).or_default()[0].extend(USUAL_CONFIG_MAPS.map(Arc::from));
    for (key, set) in index.platform_sets() {
        let namespace = index.names.shared(key.namespace);
        let containers = &set.template.containers;
        let proxy = containers.iter().any(|one| is_kube_proxy(&index.names, one));
        if proxy || is_network(index, set) {
            let volumes = set.template.volumes.iter();
            let mounted = volumes.map(|volume| index.names.shared(volume.config_map));
            let [usual, others] = maps.entry(namespace.clone()).or_default();
            usual.extend(USUAL_CONFIG_MAPS[2..].iter().map(|name| Arc::from(*name)));
            others.extend(mounted);
        }
        let agent = containers
            .iter()
            .any(|one| index.names.text(one.name) == "cilium-agent");
        if proxy || agent {
            pods.entry(namespace).or_default().insert(set.selector.clone());
        }
    }
    let maps = maps.into_iter();
    let maps = maps.map(|(namespace, [usual, others])| (namespace, NamedWants::of(usual, &others)));
    (pods, maps.collect())
}

impl NamedWants {
    /// As many as there is room for, some of them first.
    fn of(mut names: BTreeSet<Arc<str>>, others: &BTreeSet<Arc<str>>) -> Self {
        let mut beyond = 0;
        for name in others {
            if names.len() < MOST_NAMED {
                names.insert(name.clone());
            } else if !names.contains(name) {
                beyond += 1;
            }
        }
        Self { names, beyond }
    }

    /// Why those that are not among the names are not known, where there are too many.
    pub fn excess(&self) -> Option<String> {
        (self.beyond > 0).then(|| {
            let all = self.names.len() + self.beyond;
            format!("{all} are named in this namespace, and at most {MOST_NAMED} are read")
        })
    }
}

fn is_network(index: &Index, set: &DaemonSet) -> bool {
    set.template.containers.iter().any(|one| {
        let name = index.names.text(one.name);
        matches!(name, "cilium-agent" | "terway" | "antrea-agent")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::handle::Input;
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
            (0..3_usize, 0..3_usize, 0..3_usize, any::<bool>()).prop_map(
                |(name, service, worker, backends)| Step::Policy {
                    name,
                    service,
                    worker,
                    backends
                }
            ),
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
            let mut anew = Reading::default();
            if let Some(shop) = index.names.find("shop") {
                anew.policies_changed(shop);
            }
            prop_assert_eq!(told, anew.take(index, Metrics::NONE));
        }
    }
}
