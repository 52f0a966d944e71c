//! How a check reads what is known.

mod nodes;
mod samples;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::dependencies::Dependencies;
use super::selectable::{Among, Selection};
use super::selections::{Selections, select};
use crate::fleet::Fleet;
use crate::history::{self, Evicted, History, Preempted};
use crate::index::{Dep, Deps, Index, Part, PortEndpoints, Table};
use crate::judge::{ServiceCase, Subject};
use crate::know::{Known, Mono, Now, Reads, Source, Wall};
use crate::names::{Key, Name, Names};
use crate::policy::{ClusterPolicy, Policy, Selector};
use crate::sources::config_map::ConfigMap;
use crate::sources::node::Node;
use crate::sources::service::Service;
use crate::sources::slice::Endpoint;
use crate::sources::webhook::WebhookConfiguration;
use crate::sources::workload::{DaemonSet, Deployment, Pod, Template};
pub use nodes::Room;
pub(crate) use samples::SampledUntil;

/// What a check can read: accessors only.
///
/// What was read is remembered twice: as sources, so that a test can compare it with what the check declares, and as
/// what the verdict depends on, so that a change judges again what read it and nothing else. So use the narrowest
/// accessor that does: a check that asks for all Nodes is judged again whenever one of them is cordoned.
#[derive(Debug)]
pub struct Look<'a> {
    /// The present.
    pub now: Now,
    index: &'a Index,
    fleet: &'a Fleet,
    own: Subject,
    seen: Cell<Reads>,
    deps: Cell<Deps>,
    others: RefCell<Dependencies>,
    again: Cell<Option<i64>>,
    history: &'a History,
    wake: Cell<Option<Mono>>,
    sampled: Cell<SampledUntil>,
    /// What selectors were seen to select, where that is remembered from one verdict to the next.
    selections: Option<&'a Selections>,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $row:ty, $source:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> Known<&'a Table<$row>> {
            self.depend_on(Deps::of(Reads::of(&[Source::$source])));
            self.read(Source::$source)?;
            Ok(&self.index.$name)
        }
    )*};
}

impl<'a> Look<'a> {
    /// A new view.
    pub fn new(now: Now, index: &'a Index, fleet: &'a Fleet, history: &'a History) -> Self {
        Self {
            now,
            index,
            fleet,
            own: Subject::Cluster,
            seen: Cell::default(),
            deps: Cell::default(),
            others: RefCell::default(),
            again: Cell::default(),
            history,
            wake: Cell::default(),
            sampled: Cell::default(),
            selections: None,
        }
    }

    /// The same view, which remembers what selectors select: of these very rows.
    pub(crate) const fn remembering(mut self, selections: &'a Selections) -> Self {
        self.selections = Some(selections);
        self
    }

    /// The same view, for the judgement of a subject.
    #[must_use]
    pub const fn at(mut self, subject: Subject) -> Self {
        self.own = subject;
        self
    }

    fn read(&self, source: Source) -> Known<()> {
        self.seen.set(self.seen.get().with(Reads::of(&[source])));
        self.may_miss(source, None);
        self.index.gap(source).map_or(Ok(()), Err)
    }

    /// The same for one namespace alone: others may be missing.
    fn read_in(&self, source: Source, namespace: Name) -> Known<()> {
        self.seen.set(self.seen.get().with(Reads::of(&[source])));
        self.may_miss(source, Some(namespace));
        self.index.gap_in(source, namespace).map_or(Ok(()), Err)
    }

    /// Remembers that a gap in a source, or in one namespace of it, changes the verdict.
    pub(crate) fn may_miss(&self, source: Source, namespace: Option<Name>) {
        let one = Reads::of(&[source]);
        let mut others = self.others.borrow_mut();
        match namespace {
            None => others.gaps.whole = others.gaps.whole.with(one),
            Some(name) if Some(name) == self.own.home() => others.gaps.own = others.gaps.own.with(one),
            Some(name) => drop(others.gaps_in.insert((source, name))),
        }
    }

    fn depend_on(&self, deps: Deps) {
        self.deps.set(self.deps.get().with(deps));
    }

    /// Remembers a look at a Service or its endpoints.
    fn depend_on_service(&self, service: Key, source: Source) {
        if Some(service) == self.own.service() {
            self.depend_on(Deps::of(Reads::of(&[source])));
        } else {
            self.others.borrow_mut().services.insert(service);
        }
    }

    tables! {
        /// All Services.
        services: Service, Services;
        /// All Nodes; [`Look::node_sums`] has what does not depend on each of them.
        nodes: Node, Nodes;
        /// Namespaces.
        namespaces: crate::sources::namespace::Namespace, Namespaces;
        /// `DaemonSet`s.
        daemon_sets: DaemonSet, DaemonSets;
        /// Deployments.
        deployments: Deployment, Deployments;
        /// MetalLB's announcements on layer 2.
        l2_advertisements: crate::sources::l2_advertisement::L2Advertisement, L2Advertisements;
        /// Priority classes.
        priority_classes: crate::sources::priority_class::PriorityClass, PriorityClasses;
        /// Webhook configurations.
        webhooks: WebhookConfiguration, Webhooks;
        /// Policies of teams.
        policies: Arc<Policy>, Policies;
    }

    /// Whether a policy governs a Service: both rows are at hand already.
    pub fn governs(&self, policy: &Policy, key: Key, service: &Service) -> bool {
        self.index.governs(policy, key, service)
    }

    /// The Services that were read: where files gave only a part, there may be others.
    pub fn known_services(&self) -> Known<&'a Table<Service>> {
        self.depend_on(Deps::of(Reads::of(&[Source::Services])));
        self.index
            .unread(Source::Services)
            .map_or(Ok(&self.index.services), Err)
    }

    /// One webhook configuration, if there is one of this kind and name.
    pub fn webhook(&self, key: Key) -> Known<Option<&'a WebhookConfiguration>> {
        if self.own == Subject::Webhook(key) {
            self.depend_on(Deps::one(Dep::Own));
        } else {
            self.depend_on(Deps::of(Reads::of(&[Source::Webhooks])));
        }
        self.read(Source::Webhooks)?;
        Ok(self.index.webhooks.get(key))
    }

    /// Remembers a look at the Pods of a namespace, or at what makes them.
    fn depend_on_pods(&self, namespace: Name) {
        if Some(namespace) == self.own.home() {
            self.depend_on(Deps::one(Dep::OwnPods));
        } else {
            self.others.borrow_mut().pods_in.insert(namespace);
        }
    }

    /// The Pods of a namespace, in no order.
    pub fn pods_in(&self, namespace: Name) -> Known<impl Iterator<Item = (Key, &'a Pod)> + use<'a>> {
        self.depend_on_pods(namespace);
        self.read_in(Source::Pods, namespace)?;
        if let Some(gap) = self.index.refused_in(Source::Pods, namespace) {
            return Err(gap);
        }
        let index = self.index;
        let keys = index.pods_in.of(namespace);
        Ok(keys.filter_map(|key| Some((key, index.pods.get(key)?))))
    }

    /// The kinds of living Pods that a selector selects in a namespace.
    pub fn selected_pods(&self, namespace: Name, selector: &Selector) -> Known<Selection> {
        self.pods_in(namespace).map(drop)?;
        Ok(self.select(Among::Pods, namespace, selector))
    }

    /// The kinds of Deployments that make such Pods.
    pub fn selected_deployments(&self, namespace: Name, selector: &Selector) -> Known<Selection> {
        self.makers_in(Source::Deployments, namespace)?;
        Ok(self.select(Among::Deployments, namespace, selector))
    }

    /// The same of `DaemonSet`s.
    pub fn selected_daemon_sets(&self, namespace: Name, selector: &Selector) -> Known<Selection> {
        self.makers_in(Source::DaemonSets, namespace)?;
        Ok(self.select(Among::DaemonSets, namespace, selector))
    }

    /// Whether all of a source that makes Pods was read in a namespace: one that was refused may be any.
    fn makers_in(&self, source: Source, namespace: Name) -> Known<()> {
        self.depend_on_pods(namespace);
        self.read_in(source, namespace)?;
        self.index.refused_in(source, namespace).map_or(Ok(()), Err)
    }

    /// The `DaemonSet`s and Deployments of a namespace by what their Pods are made of, in no order.
    pub fn templates_in(&self, namespace: Name) -> Known<impl Iterator<Item = &'a Template> + use<'a>> {
        self.makers_in(Source::DaemonSets, namespace)?;
        self.makers_in(Source::Deployments, namespace)?;
        let here = move |key: Key| key.namespace == namespace;
        let sets = self.index.daemon_sets.iter().filter(move |one| here(one.0));
        let deployments = self.index.deployments.iter().filter(move |one| here(one.0));
        Ok(sets
            .map(|one| &one.1.template)
            .chain(deployments.map(|one| &one.1.template)))
    }

    fn select(&self, among: Among, namespace: Name, selector: &Selector) -> Selection {
        match self.selections {
            Some(known) => known.get(self.index, among, namespace, selector),
            None => select(self.index, among, namespace, selector),
        }
    }

    /// What the Pods of a kind are made of, by the first of them.
    pub fn template(&self, kind: &str, key: Key) -> Option<&'a Template> {
        match kind {
            "Deployment" => self.index.deployments.get(key).map(|one| &one.template),
            "DaemonSet" => self.index.daemon_sets.get(key).map(|one| &one.template),
            _ => self.index.pods.get(key).map(|one| &one.template),
        }
    }

    /// One `DaemonSet`, if there is one of this name.
    pub fn daemon_set(&self, key: Key) -> Known<Option<&'a DaemonSet>> {
        self.depend_on(Deps::of(Reads::of(&[Source::DaemonSets])));
        self.read_in(Source::DaemonSets, key.namespace)?;
        self.index.gap_at(Source::DaemonSets, key).map_or(Ok(()), Err)?;
        Ok(self.index.daemon_sets.get(key))
    }

    /// Pods of the platform of which a container was kept: proxies, the CNI, DNS, the control plane; in no order.
    pub fn components(&self) -> Known<impl Iterator<Item = (Key, &'a Pod)> + use<'a>> {
        self.depend_on(Deps::one(Dep::Components));
        self.read(Source::Pods)?;
        let index = self.index;
        Ok(index.platform_pods())
    }

    /// One `ConfigMap`, if there is one of this name.
    pub fn config_map(&self, key: Key) -> Known<Option<&'a ConfigMap>> {
        self.depend_on(Deps::of(Reads::of(&[Source::ConfigMaps])));
        // Depends on its namespace; the object alone may say more or less.
        let _ = self.read_in(Source::ConfigMaps, key.namespace);
        self.index.gap_at(Source::ConfigMaps, key).map_or(Ok(()), Err)?;
        Ok(self.index.config_maps.get(key))
    }

    /// One Service.
    pub fn service(&self, service: Key) -> Known<Option<&'a Service>> {
        self.depend_on_service(service, Source::Services);
        self.read_in(Source::Services, service.namespace)?;
        // One that was not understood is there all the same.
        self.index.gap_at(Source::Services, service).map_or(Ok(()), Err)?;
        Ok(self.index.services.get(service))
    }

    /// Deduplicated endpoints of a Service, by address.
    pub fn endpoints(&self, service: Key) -> Known<Cow<'a, [Endpoint]>> {
        self.depend_on_service(service, Source::EndpointSlices);
        self.read_in(Source::EndpointSlices, service.namespace)?;
        self.index.endpoints(service)
    }

    /// The endpoints of the Service under judgement by port.
    pub fn endpoints_by_port(&self, case: &ServiceCase<'_>) -> Known<Vec<PortEndpoints<'a>>> {
        self.depend_on_service(case.key, Source::EndpointSlices);
        self.read_in(Source::EndpointSlices, case.key.namespace)?;
        self.index.endpoints_by_port(case.key, case.service)
    }

    /// Whether the policies of a namespace were read; which of them govern a Service is in its case.
    pub fn policies_in(&self, namespace: Name) -> Known<()> {
        self.depend_on(Deps::of(Reads::of(&[Source::Policies])));
        self.read_in(Source::Policies, namespace)
    }

    /// The platform's policy, if there is one.
    pub fn cluster_policy(&self) -> Known<Option<&'a ClusterPolicy>> {
        self.depend_on(Deps::of(Reads::of(&[Source::ClusterPolicy])));
        self.read(Source::ClusterPolicy)?;
        Ok(self.index.cluster_policy.as_deref())
    }

    /// What the nodes effectively do with Service traffic.
    pub fn fleet(&self) -> &'a Fleet {
        self.depend_on(Deps::one(Dep::Fleet));
        self.fleet
    }

    /// Whether objects of a namespace may speak for the whole cluster. When other namespaces are trusted, everything is judged
    /// again.
    pub fn trusts(&self, namespace: Name) -> bool {
        self.index.trusts(namespace)
    }

    /// Interned names.
    pub fn names(&self) -> &'a Names {
        &self.index.names
    }

    /// `namespace/name` of a key.
    pub fn show(&self, key: Key) -> String {
        self.index.show(key)
    }

    /// Asks for another look at this second of wall time at the latest.
    pub fn again_at(&self, wall: i64) {
        self.again
            .set(Some(self.again.get().map_or(wall, |held| held.min(wall))));
    }

    /// The same, where there is such a second.
    pub fn again_when(&self, wall: Option<Wall>) {
        if let Some(Wall(at)) = wall {
            self.again_at(at);
        }
    }

    /// Preemptions of a workload's Pods that were seen.
    pub fn preempted(&self, workload: Key) -> Option<&'a Preempted> {
        let own = self.own == Subject::Workload(workload);
        self.depend_on(Deps::one(if own { Dep::OwnHistory } else { Dep::PastEvents }));
        self.history.events().preempted(workload)
    }

    /// Whether Pods that Events name could be read within the last so many milliseconds.
    pub fn can_look_up(&self, window: u64) -> Known<()> {
        self.depend_on(Deps::one(Dep::PastEvents));
        self.history
            .can_look_up(self.now.mono, window)
            .map_err(|(until, gap)| {
                self.wake_at(until);
                gap
            })
    }

    /// Evictions that were seen from a Node.
    pub fn evicted_from(&self, node: Name) -> impl Iterator<Item = &'a Evicted> + use<'a> {
        let own = self.own == Subject::Node(node);
        self.depend_on(Deps::one(if own { Dep::OwnHistory } else { Dep::PastEvents }));
        self.history.events().evicted(node)
    }

    /// Disruptions that were seen of the zones of this name, by region.
    pub fn disruptions(&self, zone: Name) -> impl Iterator<Item = (Name, &'a history::Zone)> + use<'a> {
        let own = self.own == Subject::Zone(zone);
        self.depend_on(Deps::one(if own { Dep::OwnHistory } else { Dep::History }));
        self.history.zones().named(zone)
    }

    /// What was seen to change, Events aside.
    pub fn history(&self) -> &'a History {
        self.depend_on(Deps::one(Dep::History));
        self.history
    }

    /// Whether that was looked at.
    pub fn saw_history(&self) -> bool {
        let history = [Dep::History, Dep::PastEvents, Dep::OwnHistory].map(Deps::one);
        history.into_iter().any(|dep| self.deps.get().meets(dep))
    }

    /// Asks for another look when a window ends, at this moment at the latest.
    pub fn wake_at(&self, when: Mono) {
        self.wake
            .set(Some(self.wake.get().map_or(when, |held| held.min(when))));
    }

    /// Whether a source was complete for the last so many milliseconds. Where it was not for long enough, another look
    /// is asked for when it will have been: no input need come by then.
    pub fn covered(&self, source: Source, window: u64) -> Known<()> {
        self.may_miss(source, None);
        let answer = self.history.covers(self.now.mono, source, Part::Whole, window);
        let since = self.history.coverage(source).and_then(history::Coverage::since);
        if let (Err(_), Some(since)) = (&answer, since) {
            self.wake_at(since.plus(window));
        }
        answer
    }

    /// When a window ends.
    pub fn wake(&self) -> Option<Mono> {
        self.wake.get()
    }

    /// What of its own subject's samples was read, and until when all of it counts.
    pub(crate) const fn sampled(&self) -> SampledUntil {
        self.sampled.get()
    }

    /// When another look was asked for.
    pub fn again(&self) -> Option<i64> {
        self.again.get()
    }

    /// What was looked at: sources, and whether the effective data plane was.
    pub fn seen(&self) -> (Reads, bool) {
        let fleet = self.deps.get().meets(Deps::one(Dep::Fleet));
        (self.seen.get(), fleet)
    }

    /// What the verdict depends on.
    pub fn dependencies(self) -> Dependencies {
        let mut all = self.others.into_inner();
        all.deps = all.deps.with(self.deps.get());
        all
    }
}
