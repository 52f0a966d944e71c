//! What is worth reading beyond whole lists: single `ConfigMaps`, and Pods by selector.
//!
//! A live reader never lists all Pods or all `ConfigMaps`: it first reads what names them, then asks here. Each namespace
//! has a budget of its own, so what one asks for takes nothing from another; `ConfigMaps` are asked for in namespaces of
//! the platform only.

mod platform;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::measured::{self, SampleWants};
use crate::index::Index;
use crate::names::{InUse, Key, Name};
use crate::policy::{Beat, Policy, Selector};
use crate::sample::{Metrics, PageScope};
use crate::sources::service::Service;
use platform::of_platform;

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
    pub samples: Arc<BTreeMap<PageScope<Arc<str>>, SampleWants>>,
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

/// Selectors of Pods by namespace.
type PodsBySpace = BTreeMap<Arc<str>, BTreeSet<Selector>>;

/// Keeps [`Wants`] up to date: only the namespaces that changed are looked at again.
#[derive(Debug)]
pub(crate) struct WantsTracker {
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

impl Default for WantsTracker {
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

impl WantsTracker {
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
        .is_some_and(|balance| balance.pod_metric.is_some());
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
