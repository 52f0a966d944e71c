//! What a changed row makes worth judging again.

use std::sync::Arc;

use crate::fleet;
use crate::index::{Dep, Deps, InTable, Part, READ_BY_NAMESPACE, SYSTEM, Which, place};
use crate::know::{Reads, Source};
use crate::names::Key;
use crate::policy::{ClusterPolicy, Policy};
use crate::program::Core;
use crate::sample;
use crate::sources::node::Node;
use crate::sources::service::Service;
use crate::sources::slice::Slice;
use crate::sources::webhook::WebhookConfiguration;
use crate::sources::workload::Pod;

impl Core {
    /// Marks everything that looked at a whole source.
    pub(super) fn touch(&mut self, source: Source) {
        self.mark(Deps::of(Reads::of(&[source])));
        if matches!(source, Source::DaemonSets | Source::ClusterPolicy) {
            self.reading.platform_changed();
        }
        if source == Source::ClusterPolicy {
            self.reading.measured_changed();
        }
        if fleet::INPUTS.has(source) {
            self.mark(Deps::one(Dep::FleetInputs));
        }
    }

    /// Marks everything that a gap in a part of a source concerns.
    pub(super) fn touch_freshness(&mut self, source: Source, part: Part) {
        self.dirt.parts.insert((source, part));
        // Readers of one object depend on its namespace.
        let part = match part {
            Part::Object(namespace, _) => Part::Namespace(namespace),
            part => part,
        };
        self.dirt.freshness.insert((source, part));
        let system = Part::Namespace(self.index.names.intern(SYSTEM));
        if part == system && READ_BY_NAMESPACE.has(source) {
            // What reads the whole cluster reads this namespace.
            self.dirt.freshness.insert((source, Part::Whole));
        }
        let of_cluster = part == Part::Whole || part == system;
        if fleet::INPUTS.has(source) || matches!(source, Source::Nodes | Source::Pods) && of_cluster {
            self.mark(Deps::one(Dep::FleetInputs));
        }
    }

    fn mark(&mut self, deps: Deps) {
        self.dirt.deps = self.dirt.deps.with(deps);
    }

    /// A row changed of which nothing else is kept: it concerns every unit that read its source.
    pub(super) fn plain_changed<R: InTable>(&mut self, key: Key, _: Option<&R>) {
        if matches!(R::SOURCE, Source::Deployments | Source::DaemonSets) {
            // Who looks for Pods looks for what makes them, too.
            self.dirt.pods_in.insert(key.namespace);
        }
        // The first object and the last say whether there are any at all.
        let alone = R::table(&mut self.index).len() <= 1;
        if alone || key.namespace.is_empty() || self.index.trusts(key.namespace) {
            self.touch(R::SOURCE);
        } else {
            // It says nothing of the data plane.
            self.mark(Deps::of(Reads::of(&[R::SOURCE])));
        }
    }

    /// Judges everything again where other namespaces are trusted than before.
    pub(super) fn trust(&mut self, policy: Option<&ClusterPolicy>) {
        let before = self.index.cluster_policy();
        let [before, now] = [before, policy].map(|one| one.map_or(&[][..], |one| &one.trusted_namespaces));
        self.dirt.all |= before != now;
    }

    /// Counts what namespaces hold as it counts under the platform's policy now.
    pub(super) fn settle_trust(&mut self) {
        let mut shares = std::mem::take(&mut self.index.shares);
        shares.trust(|namespace| self.index.trusts(namespace));
        self.index.shares = shares;
    }

    pub(super) fn remove_cluster_policy(&mut self, which: Which) {
        let unnamed = std::mem::take(&mut self.index.cluster_policy_unnamed);
        if (unnamed || matches!(which, Which::One(_))) && self.index.cluster_policy.is_some() {
            self.trust(None);
            self.index.cluster_policy = None;
            self.settle_trust();
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

    pub(super) fn service_changed(&mut self, key: Key, old: Option<&Service>) {
        self.index.keep_service(key);
        if self.index.services.get(key).is_none() {
            self.index.samples.forget_service(key);
        }
        self.reading.service_changed(key);
        self.engine.shares.service_changed(&self.index, key, old);
        self.dirt.services.insert(key);
        self.touch(Source::Services);
    }

    pub(super) fn slice_changed(&mut self, key: Key, old: Option<&Slice>) {
        let services = self.index.keep_slice(key, old);
        for service in services.into_iter().flatten() {
            if self.index.is_instances(service) {
                self.reading.measured_changed();
                self.dirt.deps = self.dirt.deps.with(Deps::one(Dep::InstanceSamples));
            }
            self.backends_changed(service);
            self.dirt.slices.insert(service);
        }
        self.fold_slice(key, old);
    }

    pub(super) fn node_changed(&mut self, key: Key, old: Option<&Node>) {
        let changed = self.index.keep_node(key, old);
        if changed.meets(Deps::one(Dep::NodesDown)) {
            let nodes = [old, self.index.nodes.get(key)].into_iter().flatten();
            let zones = nodes.map(|node| place(&self.index.names, node).0);
            self.dirt.zones.extend(zones);
        }
        self.mark(changed);
        self.touch(Source::Nodes);
        self.dirt.nodes.insert(key.name);
        if old.is_none() || self.index.nodes.get(key).is_none() {
            self.index.samples.forget(sample::SampleSubject::Node(key.name));
            // Nodes are measured where there is any.
            if self.index.nodes.len() <= 1 {
                self.reading.measured_changed();
            }
        }
        self.fold_node(key, old);
    }

    pub(super) fn webhook_changed(&mut self, key: Key, _: Option<&WebhookConfiguration>) {
        self.dirt.webhooks.insert(key);
        self.touch(Source::Webhooks);
    }

    pub(super) fn pod_changed(&mut self, key: Key, old: Option<&Pod>) {
        self.fold_pod(key, old);
        if let Some(old) = old
            && self.index.pods.get(key).is_none_or(|new| new.uid != old.uid)
        {
            // One of the same name begins its counters anew.
            self.index.samples.forget_pod(key);
        }
        // In a namespace without any Pod, Pods may not have been asked for.
        let namespace = self.index.keep_pod(key);
        let (index, new) = (&self.index, self.index.pods.get(key));
        let either = |is: &dyn Fn(&Pod) -> bool| old.is_some_and(is) || new.is_some_and(is);
        let (component, proxy) = (
            either(&|pod| !pod.template.containers.is_empty()),
            either(&|pod| fleet::is_proxy(&index.names, pod) || fleet::is_agent(&index.names, pod)),
        );
        // Elsewhere they count for nothing, and nothing is judged again for them, unless they are the first Pod or the last.
        if index.pods.len() <= 1 || index.trusts(key.namespace) {
            if component {
                self.mark(Deps::one(Dep::Components));
            }
            if proxy || namespace {
                self.mark(Deps::one(Dep::FleetInputs));
            }
        }
        self.dirt.pods_in.insert(key.namespace);
    }

    pub(super) fn policy_changed(&mut self, key: Key, old: Option<&Arc<Policy>>) {
        self.index.keep_policy(key, old);
        let both = old.into_iter().chain(self.index.policies.get(key));
        let governing = both.map(|policy| (key, policy.clone()));
        self.dirt.governing.extend(governing);
        self.dirt.policies.insert(key);
        self.reading.policies_changed(key.namespace);
        self.touch(Source::Policies);
    }
}
