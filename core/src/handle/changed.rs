//! What a changed row makes worth judging again, and the sums and lists that are kept of rows.

use std::sync::Arc;

use crate::Core;
use crate::facts;
use crate::index::{Dep, Deps, Index, Opaque, Which, place};
use crate::know::{Reads, Source};
use crate::names::Key;
use crate::policy::Policy;
use crate::sources::node::Node;
use crate::sources::service::Service;
use crate::sources::slice::Slice;
use crate::sources::workload::Pod;

/// Sources that the effective data plane is derived from, apart from Nodes and Pods, whose rows tell for themselves.
const FLEET_INPUTS: Reads = Reads::of(&[
    Source::DaemonSets,
    Source::ConfigMaps,
    Source::CiliumNodeConfigs,
    Source::Configz,
]);

impl Core {
    /// Marks everything that looked at a whole source.
    pub(super) fn touch(&mut self, source: Source) {
        self.mark(Deps::of(Reads::of(&[source])));
        if FLEET_INPUTS.has(source) {
            self.mark(Deps::one(Dep::FleetInputs));
        }
    }

    fn mark(&mut self, deps: Deps) {
        self.dirt.deps = self.dirt.deps.with(deps);
    }

    /// Removes rows of a source.
    pub(super) fn remove(&mut self, source: Source, which: Which) {
        let index = &mut self.index;
        match source {
            Source::Services => {
                let gone = index.services.take(which);
                for (key, row) in &gone {
                    self.service_changed(*key, Some(row));
                }
            }
            Source::EndpointSlices => {
                let gone = index.slices.take(which);
                for (key, row) in &gone {
                    self.slice_changed(*key, Some(row));
                }
            }
            Source::Nodes => {
                let gone = index.nodes.take(which);
                for (key, row) in &gone {
                    self.node_changed(*key, Some(row));
                }
            }
            Source::Pods => {
                let gone = index.pods.take(which);
                for (key, row) in &gone {
                    self.pod_changed(*key, Some(row));
                }
            }
            Source::Webhooks => {
                let gone = index.webhooks.take(which);
                for (key, _) in &gone {
                    self.webhook_changed(*key);
                }
            }
            Source::Policies => {
                let gone = index.policies.take(which);
                for (key, row) in &gone {
                    self.policy_changed(*key, Some(row));
                }
            }
            _ => {
                if plain(index, source, which) {
                    if source == Source::ClusterPolicy {
                        self.fold_cluster_policy();
                    }
                    self.touch(source);
                }
            }
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

    pub(super) fn webhook_changed(&mut self, key: Key) {
        self.dirt.webhooks.insert(key);
        self.touch(Source::Webhooks);
    }

    pub(super) fn pod_changed(&mut self, key: Key, old: Option<&Pod>) {
        let index = &mut self.index;
        let new = index.pods.get(key);
        if new.is_some() {
            index.pods_in.insert(key);
        } else {
            index.pods_in.remove(key);
        }
        let tells = |pod: &Pod| !pod.template.containers.is_empty();
        if new.is_some_and(tells) {
            index.components.insert(key);
        } else {
            index.components.remove(&key);
        }
        let either = |is: &dyn Fn(&Pod) -> bool| old.is_some_and(is) || new.is_some_and(is);
        let (component, proxy) = (
            either(&tells),
            either(&|pod| facts::is_own_proxy(&index.names, pod)),
        );
        if component {
            self.mark(Deps::one(Dep::Components));
        }
        if proxy {
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

/// Removes rows of a source of which nothing else is kept; returns whether there were any.
fn plain(index: &mut Index, source: Source, which: Which) -> bool {
    match source {
        Source::Namespaces => !index.namespaces.take(which).is_empty(),
        Source::DaemonSets => !index.daemon_sets.take(which).is_empty(),
        Source::Deployments => !index.deployments.take(which).is_empty(),
        Source::ConfigMaps => !index.config_maps.take(which).is_empty(),
        Source::CiliumNodeConfigs => !index.node_configs.take(which).is_empty(),
        Source::ClusterPolicy => {
            let unnamed = std::mem::take(&mut index.cluster_policy_unnamed);
            (unnamed || matches!(which, Which::One(_))) && index.cluster_policy.take().is_some()
        }
        Source::Configz => match which {
            Which::One(key) => index.configz.remove(&key.name).is_some(),
            Which::Unnamed => false,
        },
        Source::Services
        | Source::EndpointSlices
        | Source::Nodes
        | Source::Pods
        | Source::Webhooks
        | Source::Policies
        | Source::Events => false,
    }
}
