//! What a changed row makes worth judging again, and the sums and lists that are kept of rows.

use std::sync::Arc;

use crate::Core;
use crate::fleet;
use crate::index::{Dep, Deps, InTable, Index, Opaque, Part, READ_BY_NAMESPACE, SYSTEM, Which, place};
use crate::know::{Reads, Source};
use crate::names::Key;
use crate::policy::Policy;
use crate::sources::node::Node;
use crate::sources::service::Service;
use crate::sources::slice::Slice;
use crate::sources::webhook::WebhookConfiguration;
use crate::sources::workload::Pod;

/// Sources that the effective data plane is derived from, apart from Nodes and Pods, whose rows show
/// what changed.
const FLEET_INPUTS: Reads = Reads::of(&[
    Source::DaemonSets,
    Source::ConfigMaps,
    Source::CiliumNodeConfigs,
    Source::FelixConfigurations,
    Source::Installations,
    Source::Configz,
]);

impl Core {
    /// Marks everything that looked at a whole source.
    pub(super) fn touch(&mut self, source: Source) {
        self.mark(Deps::of(Reads::of(&[source])));
        self.wants_changed |= fleet::Wants::READS.has(source);
        if FLEET_INPUTS.has(source) {
            self.mark(Deps::one(Dep::FleetInputs));
        }
    }

    /// Marks everything that a gap in a part of a source concerns.
    pub(super) fn touch_freshness(&mut self, source: Source, part: Part) {
        self.dirt.freshness.insert((source, part));
        let system = Part::Namespace(self.index.names.intern(SYSTEM));
        if part == system && READ_BY_NAMESPACE.has(source) {
            // What reads the whole cluster reads this namespace.
            self.dirt.freshness.insert((source, Part::Whole));
        }
        let of_cluster = part == Part::Whole || part == system;
        if FLEET_INPUTS.has(source) || matches!(source, Source::Nodes | Source::Pods) && of_cluster {
            self.mark(Deps::one(Dep::FleetInputs));
        }
    }

    fn mark(&mut self, deps: Deps) {
        self.dirt.deps = self.dirt.deps.with(deps);
    }

    /// A row changed of which nothing else is kept: it concerns every unit that read its source.
    pub(super) fn plain_changed<R: InTable>(&mut self, _: Key, _: Option<&R>) {
        self.touch(R::SOURCE);
    }

    pub(super) fn remove_cluster_policy(&mut self, which: Which) {
        let unnamed = std::mem::take(&mut self.index.cluster_policy_unnamed);
        if (unnamed || matches!(which, Which::One(_))) && self.index.cluster_policy.take().is_some() {
            self.fold_cluster_policy();
            self.touch(Source::ClusterPolicy);
        }
    }

    pub(super) fn remove_configz(&mut self, which: Which) {
        if let Which::One(key) = which
            && self.index.configz.remove(&key.name).is_some()
        {
            self.touch(Source::Configz);
        }
    }

    pub(super) fn service_changed(&mut self, key: Key, _: Option<&Service>) {
        if self.index.services.get(key).is_some() {
            self.index.services_in.insert(key);
        } else {
            self.index.services_in.remove(key);
        }
        self.dirt.services.insert(key);
        self.touch(Source::Services);
    }

    pub(super) fn slice_changed(&mut self, key: Key, old: Option<&Slice>) {
        let of = |row: &Slice| Key {
            namespace: key.namespace,
            name: row.service,
        };
        let index = &mut self.index;
        if let Some(service) = old.map(of) {
            if let Some(keys) = index.slices_of.get_mut(&service) {
                keys.remove(&key);
                if keys.is_empty() {
                    index.slices_of.remove(&service);
                }
            }
            self.dirt.slices.insert(service);
        }
        if let Some(service) = index.slices.get(key).map(of) {
            index.slices_of.entry(service).or_default().insert(key);
            self.dirt.slices.insert(service);
        }
        self.fold_slice(key, old);
    }

    pub(super) fn node_changed(&mut self, key: Key, old: Option<&Node>) {
        let Index {
            nodes, names, sums, ..
        } = &mut self.index;
        let new = nodes.get(key);
        let changed = sums.exchange(names, old, new);
        if changed.meets(Deps::one(Dep::NodesDown)) {
            let zones = [old, new].into_iter().flatten();
            self.dirt.zones.extend(zones.map(|node| place(names, node).0));
        }
        self.mark(changed);
        self.touch(Source::Nodes);
        self.dirt.nodes.insert(key.name);
        self.fold_node(key, old);
    }

    pub(super) fn webhook_changed(&mut self, key: Key, _: Option<&WebhookConfiguration>) {
        self.dirt.webhooks.insert(key);
        self.touch(Source::Webhooks);
    }

    pub(super) fn pod_changed(&mut self, key: Key, old: Option<&Pod>) {
        let index = &mut self.index;
        let shown = |index: &Index| index.pods_in.of(key.namespace).next().is_some();
        let was_shown = shown(index);
        let new = index.pods.get(key);
        if new.is_some() {
            index.pods_in.insert(key);
        } else {
            index.pods_in.remove(key);
        }
        // In a namespace without any Pod nobody may have asked for Pods.
        let namespace = shown(index) != was_shown;
        let configures = |pod: &Pod| !pod.template.containers.is_empty();
        if new.is_some_and(configures) {
            index.components.insert(key);
        } else {
            index.components.remove(&key);
        }
        let either = |is: &dyn Fn(&Pod) -> bool| old.is_some_and(is) || new.is_some_and(is);
        let (component, proxy) = (
            either(&configures),
            either(&|pod| fleet::is_proxy(&index.names, pod) || fleet::is_agent(&index.names, pod)),
        );
        if component {
            self.mark(Deps::one(Dep::Components));
        }
        if proxy || namespace {
            self.mark(Deps::one(Dep::FleetInputs));
        }
        self.dirt.pods_in.insert(key.namespace);
    }

    pub(super) fn policy_changed(&mut self, key: Key, old: Option<&Arc<Policy>>) {
        let Index {
            policies,
            picks,
            names,
            ..
        } = &mut self.index;
        if let Some(old) = old {
            picks.remove(key, old, names);
            self.dirt.governing.push((key.namespace, old.clone()));
        }
        if let Some(new) = policies.get(key) {
            picks.insert(key, new, names);
            self.dirt.governing.push((key.namespace, new.clone()));
        }
        self.dirt.policies.insert(key);
        self.touch(Source::Policies);
    }

    /// Dirties the Services that an object which was not understood may concern.
    pub(super) fn dirty_opaque(&mut self, source: Source, key: Key, opaque: &Opaque) {
        if source == Source::EndpointSlices {
            let keys = self.index.services.iter().map(|(service, _)| service);
            let keys = keys.filter(|service| opaque.may_belong(key, *service));
            self.dirt.slices.extend(keys);
            // A Service that others name may not exist, and may have had endpoints all the same.
            self.dirt.opaque_slices = true;
        }
    }
}
