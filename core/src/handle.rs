//! The one door for facts: parse, store, mark dirty. It never judges.

use std::sync::Arc;

use serde_json::Value;

use crate::Core;
use crate::index::{Fresh, Opaque, Table};
use crate::know::{Now, Reads, Source};
use crate::names::{Key, Names};
use crate::policy::{ClusterPolicy, Policy};
use crate::sources::slice::{SERVICE_NAME, Slice};
use crate::sources::{Row, Why};

/// Something that a feeder learned.
#[derive(Debug)]
pub enum Input<'a> {
    /// A list of this source begins: what it does not name until [`Input::Synced`] is gone.
    Begin(Source),
    /// One object, as JSON. Policies come compiled.
    Object(Source, &'a [u8]),
    /// One object is gone: namespace and name.
    Gone(Source, &'a str, &'a str),
    /// The list is complete.
    Synced(Source),
    /// The source's last sign of life is too old.
    Silent(Source),
    /// A silent source is heard of again, and nothing was missed: complete without a list. Of a source that was
    /// never read, or was lost, it says nothing.
    Alive(Source),
    /// The source was refused or failed as a whole.
    Lost(Source, &'a str),
    /// A policy of a team.
    Policy(Arc<Policy>),
    /// An object of this source (namespace, name) that its reader refused, and why: policies that do not compile.
    Refused(Source, &'a str, &'a str, &'a str),
    /// The platform's policy, or that there is none any more.
    ClusterPolicy(Option<Arc<ClusterPolicy>>),
    /// What kube-proxy's `/configz` said on a node; the name is empty when nobody said which.
    Configz(&'a str, &'a str),
    /// A `KubeProxyConfiguration` outside of any object, as `kubeadm` and installers take it: where it was read, and
    /// its YAML or JSON text. It counts where no process and no `ConfigMap` tells more.
    ProxyDocument(&'a str, &'a str),
}

impl Core {
    /// Takes one input at a time that never goes back. An object that cannot be understood is skipped, listed, and makes its dependents Unknown; the
    /// returned error is for feeders that can name the file.
    pub fn handle(&mut self, now: Now, input: Input<'_>) -> Result<(), Why> {
        self.history.now = self.history.now.max(now.mono);
        match input {
            Input::Begin(source) => self.begin(source),
            Input::Object(source, json) => return self.object(now, source, json),
            Input::Gone(source, namespace, name) => self.gone(source, namespace, name),
            Input::Synced(source) => self.synced(source),
            Input::Silent(source) => self.fresh(source, Fresh::Stale),
            Input::Alive(source) => {
                if *self.index.fresh(source) == Fresh::Stale {
                    self.fresh(source, Fresh::Complete);
                }
            }
            Input::Lost(source, why) => self.fresh(source, Fresh::Unreadable(why.into())),
            Input::Policy(policy) => self.policy(policy),
            Input::Refused(source, namespace, name, why) => {
                self.gone(source, namespace, name);
                let names = &mut self.index.names;
                let key = Key {
                    namespace: names.intern(namespace),
                    name: names.intern(name),
                };
                let opaque = Opaque {
                    why: why.into(),
                    service: crate::names::Name::EMPTY,
                    unnamed: false,
                };
                self.index.opaque.insert((source, key), opaque);
                if source == Source::Policies {
                    self.dirt.policies.insert(key);
                }
            }
            Input::ClusterPolicy(policy) => {
                self.index.cluster_policy = policy;
                self.fold_cluster_policy();
                self.index.cluster_policy_unnamed = false;
                // There is only one: its word replaces whatever was refused before.
                self.index
                    .opaque
                    .retain(|(at, _), _| *at != Source::ClusterPolicy);
                self.touch(Reads::of(&[Source::ClusterPolicy]));
            }
            Input::Configz(node, body) => {
                let node = self.index.names.intern(node);
                self.index.configz.insert(node, body.into());
                self.fresh(Source::Configz, Fresh::Complete);
                self.touch(Reads::of(&[Source::Configz]));
            }
            Input::ProxyDocument(place, text) => {
                self.index.proxy_documents.insert(place.into(), text.into());
                self.touch(Reads::of(&[Source::ConfigMaps]));
            }
        }
        Ok(())
    }

    fn fresh(&mut self, source: Source, fresh: Fresh) {
        if self.index.set_fresh(source, fresh) {
            self.fold_freshness(source);
            self.touch(Reads::of(&[source]));
            // Freshness of a source that dirties by name concerns everybody.
            self.dirt.all = true;
        }
    }

    fn policy(&mut self, policy: Arc<Policy>) {
        let names = &mut self.index.names;
        let key = Key {
            namespace: names.intern(&policy.namespace),
            name: names.intern(&policy.name),
        };
        for connection in &policy.connections {
            names.intern(&connection.name);
            for client in &connection.clients {
                names.intern(&client.name);
            }
        }
        if self.index.opaque.remove(&(Source::Policies, key)).is_some() {
            self.dirt.policies.insert(key);
        }
        if self.index.policies.put(key, policy).is_some() {
            self.dirty_namespace(key);
        }
    }

    fn dirty_namespace(&mut self, policy: Key) {
        self.dirt.policies.insert(policy);
        let keys = self
            .index
            .services
            .iter()
            .map(|(key, _)| key)
            .filter(|key| key.namespace == policy.namespace);
        self.dirt.services.extend(keys);
        // The unit without a key says what is unknown while Services were not read.
        self.dirt.services.insert(Key::default());
        self.touch(Reads::of(&[Source::Policies]));
    }

    fn object(&mut self, now: Now, source: Source, json: &[u8]) -> Result<(), Why> {
        let result = match source {
            // There may be more of them than of anything else: one that is not understood is not remembered either.
            Source::Events => return self.fold_event(now, json),
            Source::Services => self.service(json),
            Source::EndpointSlices => self.slice(json),
            Source::Nodes => self.node(json),
            Source::Namespaces => self.put(json, |index| (&mut index.namespaces, &mut index.names)),
            Source::Pods => self.put(json, |index| (&mut index.pods, &mut index.names)),
            Source::DaemonSets => self.put(json, |index| (&mut index.daemon_sets, &mut index.names)),
            Source::Deployments => self.put(json, |index| (&mut index.deployments, &mut index.names)),
            Source::ConfigMaps => self.put(json, |index| (&mut index.config_maps, &mut index.names)),
            Source::CiliumNodeConfigs => self.put(json, |index| (&mut index.node_configs, &mut index.names)),
            Source::Webhooks => self.put(json, |index| (&mut index.webhooks, &mut index.names)),
            Source::Policies | Source::ClusterPolicy | Source::Configz => {
                Err(Why(format!("{source} do not come as plain objects")))
            }
        };
        if let Err(why) = &result {
            self.opaque(source, json, why);
        }
        result
    }

    /// Stores a row of a kind that needs nothing beyond its table.
    fn put<R: Row>(
        &mut self,
        json: &[u8],
        at: impl Fn(&mut crate::index::Index) -> (&mut Table<R>, &mut Names),
    ) -> Result<(), Why> {
        let (_, names) = at(&mut self.index);
        let (key, row) = R::parse(json, names)?;
        let (table, _) = at(&mut self.index);
        let changed = table.put(key, row).is_some();
        let healed = self.index.opaque.remove(&(R::SOURCE, key)).is_some();
        if changed || healed {
            self.touch(Reads::of(&[R::SOURCE]));
        }
        Ok(())
    }

    fn service(&mut self, json: &[u8]) -> Result<(), Why> {
        let (key, row) = Row::parse(json, &mut self.index.names)?;
        let changed = self.index.services.put(key, row).is_some();
        if self.index.opaque.remove(&(Source::Services, key)).is_some() || changed {
            self.dirt.services.insert(key);
            self.touch(Reads::of(&[Source::Services]));
        }
        Ok(())
    }

    fn slice(&mut self, json: &[u8]) -> Result<(), Why> {
        let (key, row) = Slice::parse(json, &mut self.index.names)?;
        let service = Key {
            namespace: key.namespace,
            name: row.service,
        };
        let healed = self.index.opaque.remove(&(Source::EndpointSlices, key));
        if let Some(opaque) = &healed {
            self.dirty_opaque(Source::EndpointSlices, key, opaque);
        }
        let put = self.index.slices.put(key, row);
        if put.is_none() && healed.is_none() {
            return Ok(());
        }
        let changed = put.is_some();
        let old = put.flatten();
        if let Some(old) = &old {
            self.unlink(key, old);
        }
        self.index.slices_of.entry(service).or_default().insert(key);
        if changed {
            self.fold_slice(key, old.as_ref());
        }
        self.dirt.services.insert(service);
        self.touch(Reads::of(&[Source::EndpointSlices]));
        Ok(())
    }

    fn node(&mut self, json: &[u8]) -> Result<(), Why> {
        let (key, row) = Row::parse(json, &mut self.index.names)?;
        let changed = self.index.nodes.put(key, row);
        if let Some(old) = &changed {
            self.fold_node(key, old.as_ref());
        }
        if self.index.opaque.remove(&(Source::Nodes, key)).is_some() || changed.is_some() {
            self.touch(Reads::of(&[Source::Nodes]));
        }
        Ok(())
    }

    fn unlink(&mut self, key: Key, row: &Slice) {
        let service = Key {
            namespace: key.namespace,
            name: row.service,
        };
        if let Some(keys) = self.index.slices_of.get_mut(&service) {
            keys.remove(&key);
            if keys.is_empty() {
                self.index.slices_of.remove(&service);
            }
        }
        self.dirt.services.insert(service);
        self.touch(Reads::of(&[Source::EndpointSlices]));
    }

    fn begin(&mut self, source: Source) {
        let index = &mut self.index;
        match source {
            Source::Services => index.services.begin(),
            Source::EndpointSlices => index.slices.begin(),
            Source::Nodes => index.nodes.begin(),
            Source::Namespaces => index.namespaces.begin(),
            Source::Pods => index.pods.begin(),
            Source::DaemonSets => index.daemon_sets.begin(),
            Source::Deployments => index.deployments.begin(),
            Source::ConfigMaps => index.config_maps.begin(),
            Source::CiliumNodeConfigs => index.node_configs.begin(),
            Source::Webhooks => index.webhooks.begin(),
            Source::Policies => index.policies.begin(),
            Source::ClusterPolicy => index.cluster_policy_unnamed = true,
            Source::Configz | Source::Events => {}
        }
        // What was not understood stays until the list has ended without naming it.
        for (_, opaque) in index.opaque.iter_mut().filter(|(at, _)| at.0 == source) {
            opaque.unnamed = true;
        }
    }

    fn synced(&mut self, source: Source) {
        let index = &mut self.index;
        let swept = match source {
            Source::Services => {
                let gone = index.services.sweep();
                self.dirt.services.extend(gone.iter().map(|one| one.0));
                !gone.is_empty()
            }
            Source::EndpointSlices => {
                let gone = index.slices.sweep();
                for (key, row) in &gone {
                    self.unlink(*key, row);
                    self.fold_slice(*key, Some(row));
                }
                !gone.is_empty()
            }
            Source::Policies => {
                let gone = index.policies.sweep();
                for (key, _) in &gone {
                    self.dirty_namespace(*key);
                }
                !gone.is_empty()
            }
            Source::Nodes => {
                let gone = index.nodes.sweep();
                for (key, row) in &gone {
                    self.fold_node(*key, Some(row));
                }
                self.fold_nodes_listed();
                !gone.is_empty()
            }
            Source::Namespaces => !index.namespaces.sweep().is_empty(),
            Source::Pods => !index.pods.sweep().is_empty(),
            Source::DaemonSets => !index.daemon_sets.sweep().is_empty(),
            Source::Deployments => !index.deployments.sweep().is_empty(),
            Source::ConfigMaps => !index.config_maps.sweep().is_empty(),
            Source::CiliumNodeConfigs => !index.node_configs.sweep().is_empty(),
            Source::Webhooks => !index.webhooks.sweep().is_empty(),
            Source::ClusterPolicy => {
                let gone = std::mem::take(&mut index.cluster_policy_unnamed)
                    && index.cluster_policy.take().is_some();
                self.fold_cluster_policy();
                gone
            }
            Source::Configz | Source::Events => false,
        };
        if swept | self.sweep_opaque(source) {
            self.touch(Reads::of(&[source]));
        }
        self.fresh(source, Fresh::Complete);
    }

    /// Forgets what was not understood and is no longer listed; returns whether there was any.
    fn sweep_opaque(&mut self, source: Source) -> bool {
        let gone: Vec<Key> = self
            .index
            .opaque
            .iter()
            .filter(|(at, opaque)| at.0 == source && opaque.unnamed)
            .map(|(at, _)| at.1)
            .collect();
        for key in &gone {
            if let Some(opaque) = self.index.opaque.remove(&(source, *key)) {
                self.dirty_opaque(source, *key, &opaque);
            }
        }
        !gone.is_empty()
    }

    /// Dirties the Services that an object which was not understood may concern.
    fn dirty_opaque(&mut self, source: Source, key: Key, opaque: &Opaque) {
        if source == Source::EndpointSlices {
            let keys = self.index.services.iter().map(|(service, _)| service);
            let keys = keys.filter(|service| opaque.may_belong(key, *service));
            self.dirt.services.extend(keys);
        }
    }

    fn gone(&mut self, source: Source, namespace: &str, name: &str) {
        // An event that went says nothing, and its name is worth no memory.
        if source == Source::Events {
            return;
        }
        let key = Key {
            namespace: self.index.names.intern(namespace),
            name: self.index.names.intern(name),
        };
        let index = &mut self.index;
        let opaque = index.opaque.remove(&(source, key));
        if let Some(opaque) = opaque {
            self.dirty_opaque(source, key, &opaque);
        }
        let index = &mut self.index;
        match source {
            Source::EndpointSlices => {
                if let Some(row) = index.slices.remove(key) {
                    self.unlink(key, &row);
                    self.fold_slice(key, Some(&row));
                }
            }
            Source::Services => {
                index.services.remove(key);
                self.dirt.services.insert(key);
            }
            Source::Policies => {
                if index.policies.remove(key).is_some() {
                    self.dirty_namespace(key);
                }
            }
            Source::ClusterPolicy => {
                index.cluster_policy = None;
                self.fold_cluster_policy();
            }
            Source::Nodes => {
                if let Some(row) = index.nodes.remove(key) {
                    self.fold_node(key, Some(&row));
                }
            }
            Source::Namespaces => drop(index.namespaces.remove(key)),
            Source::Pods => drop(index.pods.remove(key)),
            Source::DaemonSets => drop(index.daemon_sets.remove(key)),
            Source::Deployments => drop(index.deployments.remove(key)),
            Source::ConfigMaps => drop(index.config_maps.remove(key)),
            Source::CiliumNodeConfigs => drop(index.node_configs.remove(key)),
            Source::Webhooks => drop(index.webhooks.remove(key)),
            Source::Configz => drop(index.configz.remove(&key.name)),
            Source::Events => {}
        }
        self.touch(Reads::of(&[source]));
    }

    /// Remembers an object that was not understood, as far as its metadata still tells which it is. What was known of
    /// it before is dropped: an old word is not the present one.
    fn opaque(&mut self, source: Source, json: &[u8], why: &Why) {
        // Field by field: what is wrong with one must not hide which object it is.
        let bare: Value = serde_json::from_slice(json).unwrap_or_default();
        let text = |at: &str| bare.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let names = &mut self.index.names;
        let key = match text("/metadata/name") {
            "" => Key::default(),
            name => Key {
                // Two kinds of webhook configurations share a table, told apart by their kind.
                namespace: names.intern(text(if source == Source::Webhooks {
                    "/kind"
                } else {
                    "/metadata/namespace"
                })),
                name: names.intern(name),
            },
        };
        let service = bare
            .pointer("/metadata/labels")
            .and_then(|labels| labels.get(SERVICE_NAME)?.as_str());
        let service = names.intern(service.unwrap_or_default());
        let (namespace, name) = (names.shared(key.namespace), names.shared(key.name));
        self.gone(source, &namespace, &name);
        let opaque = Opaque {
            why: why.0.as_str().into(),
            service,
            unnamed: false,
        };
        self.dirty_opaque(source, key, &opaque);
        self.index.opaque.insert((source, key), opaque);
    }
}
