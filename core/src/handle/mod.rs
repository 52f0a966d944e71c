//! The one door for facts: parse, store, mark dirty. It never judges.

mod backends;
mod changed;
mod measured;
mod opaque;

use std::sync::Arc;

use crate::drive::RemediationRecord;
use crate::history::{PodAnswer, PodQuery};
use crate::index::{Freshness, InTable, Opaque, Part, Which};
use crate::know::{Now, Source};
use crate::names::{Key, Name};
use crate::policy::{ClusterPolicy, Policy};
use crate::program::Core;
use crate::remedies::OwnNode;
use crate::sample::{Observer, Page};
use crate::sources::{self, DecodeError, Place, Row};

/// Something that a feeder learned.
#[derive(Debug)]
pub enum Input<'a> {
    /// A list of this source begins: what it does not name until [`Input::Synced`] is gone.
    Begin(Source),
    /// One object, as JSON. Policies come compiled.
    Object {
        /// What it is read from.
        source: Source,
        /// Its text.
        json: &'a [u8],
        /// Where it was read, for messages; `None` where its name says enough.
        place: Option<&'a dyn Place>,
    },
    /// One object is gone: namespace and name.
    Gone(Source, &'a str, &'a str),
    /// The list is complete: what it did not name is gone.
    Synced(Source),
    /// How fresh a part of a source is now; repeats are ignored. Complete comes without a list only for what was listed
    /// before and missed nothing since; Missing withdraws the freshness of the part.
    Freshness(Source, Part<&'a str>, Freshness),
    /// A policy of a team.
    Policy(Arc<Policy>),
    /// An object of this source (namespace, name) that its reader refused, and why: policies that do not compile, and what
    /// is too long to be read.
    Refused(Source, &'a str, &'a str, &'a str),
    /// The platform's policy, or that there is none any more.
    ClusterPolicy(Option<Arc<ClusterPolicy>>),
    /// What kube-proxy's `/configz` answers on a node; the name is empty when the node is unknown.
    Configz(&'a str, &'a str),
    /// A `KubeProxyConfiguration` outside of any object, as `kubeadm` and installers take it: where it was read, and
    /// its YAML or JSON text. It counts where no process and no `ConfigMap` says more.
    ProxyDocument(&'a str, &'a str),
    /// The observers that are asked for [`crate::fleet::Wants::samples`] from now on, in any order; none at first. What
    /// others have measured is forgotten.
    Observers(&'a [Observer]),
    /// What one observer answered when it was asked for samples.
    Samples(&'a Page<'a>),
    /// The node that this replica runs on; `None` where it runs outside of the cluster. Until it is said, no plan goes ahead.
    OwnNode(Option<&'a str>),
    /// This operator carries out what is planned: the ledger counts among the inputs of plans.
    Acts,
    /// Every stored record of what was done to Nodes: the ledger, as it was just read.
    Remediations(&'a [RemediationRecord]),
    /// What became of reading a Pod that [`crate::Round::lookups`] asked for.
    Lookup(&'a PodQuery, PodAnswer<'a>),
}

impl<'a> Input<'a> {
    /// One object, as JSON, of which the name says where it is from.
    pub const fn object(source: Source, json: &'a [u8]) -> Self {
        Self::Object {
            source,
            json,
            place: None,
        }
    }
}

impl Core {
    /// Takes one input, at a time that never goes back. An object that cannot be understood is skipped, listed among what
    /// [`Core::findings`] could not read, and makes its dependents Unknown.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        self.history.now = self.history.now.max(now.mono);
        self.history.wall = now.wall;
        match input {
            Input::Begin(source) => self.begin(source),
            Input::Object { source, json, place } => self.object(now, source, json, place),
            Input::Gone(source, namespace, name) => self.gone(source, namespace, name),
            Input::Synced(source) => self.synced(source),
            Input::Freshness(source, part, freshness) => {
                let part = part.map(|name| self.index.names.intern(name));
                self.fresh(source, part, freshness);
            }
            Input::Policy(policy) => self.policy(policy),
            Input::Refused(source, namespace, name, why) => self.refused(source, namespace, name, why),
            Input::ClusterPolicy(policy) => self.cluster_policy(policy),
            Input::Configz(node, body) => {
                let node = self.index.names.intern(node);
                let held = self.index.configz.insert(node, body.into());
                self.fresh(Source::Configz, Part::Whole, Freshness::Complete);
                if held.as_deref() != Some(body) {
                    self.touch(Source::Configz);
                }
            }
            Input::OwnNode(node) => {
                let node = node.map(|name| self.index.names.intern(name));
                self.planner
                    .runs_on(node.map_or(OwnNode::Outside, OwnNode::Named));
            }
            Input::Acts => self.planner.acts(),
            Input::Remediations(records) => self.planner.remember(records, &mut self.index.names, now),
            Input::Observers(observers) => self.observers(observers),
            Input::Samples(page) => self.fold_samples(now, page),
            Input::Lookup(pod, answer) => self.fold_answer(now, pod, &answer),
            Input::ProxyDocument(place, text) => {
                self.index.proxy_documents.insert(place.into(), text.into());
                self.touch(Source::ConfigMaps);
            }
        }
    }

    fn refused(&mut self, source: Source, namespace: &str, name: &str, why: &str) {
        self.gone(source, namespace, name);
        let names = &mut self.index.names;
        let key = Key {
            namespace: names.intern(namespace),
            name: names.intern(name),
        };
        let opaque = Opaque {
            why: why.into(),
            place: None,
            service: Name::EMPTY,
            unnamed: false,
        };
        self.remember_opaque(source, key, opaque);
        if source == Source::Policies {
            self.dirt.policies.insert(key);
        }
    }

    fn cluster_policy(&mut self, policy: Option<Arc<ClusterPolicy>>) {
        self.index.cluster_policy_unnamed = false;
        // There is only one: it replaces whatever was refused before.
        self.index
            .opaque
            .retain(|(at, _), _| *at != Source::ClusterPolicy);
        if self.index.cluster_policy != policy {
            self.trust(policy.as_deref());
            self.index.cluster_policy = policy;
            self.settle_trust();
            self.fold_cluster_policy();
            self.touch(Source::ClusterPolicy);
        }
    }

    fn fresh(&mut self, source: Source, part: Part, freshness: Freshness) {
        if self.index.set_freshness(source, part, freshness) {
            // Single objects are configuration: nothing that happens over time rests on them.
            if !matches!(part, Part::Object(..)) {
                self.fold_freshness(source, part);
            }
            self.touch_freshness(source, part);
        }
    }

    fn policy(&mut self, policy: Arc<Policy>) {
        let names = &mut self.index.names;
        let key = Key {
            namespace: names.intern(&policy.namespace),
            name: names.intern(&policy.name),
        };
        for text in policy.names() {
            names.intern(text);
        }
        if self.index.opaque.remove(&(Source::Policies, key)).is_some() {
            self.dirt.policies.insert(key);
        }
        if let Some(old) = self.index.policies.put(key, policy) {
            self.policy_changed(key, old.as_ref());
        }
    }

    fn object(&mut self, now: Now, source: Source, json: &[u8], place: Option<&dyn Place>) {
        if source == Source::Events {
            self.fold_event(now, json);
        } else if let Err(why) = self.row(source, json) {
            self.opaque(source, json, &why, place);
        }
    }

    /// Stores a row, and says when it is another than before.
    fn put<R: Row + InTable>(
        &mut self,
        json: &[u8],
        changed: impl FnOnce(&mut Self, Key, Option<&R>),
    ) -> Result<(), DecodeError> {
        let (key, row) = R::parse(json, &mut self.index.names)?;
        self.admit(key, &row)?;
        let old = R::table(&mut self.index).put(key, row);
        // What could not be understood had no row, so the first that can is always another.
        self.forget_opaque(R::SOURCE, key);
        if let Some(old) = old {
            changed(self, key, old.as_ref());
        }
        Ok(())
    }

    /// Counts a row for its namespace; an error where that has its share already.
    fn admit<R: InTable>(&mut self, key: Key, row: &R) -> Result<(), DecodeError> {
        let weight = row.weight(&self.index.names);
        if weight == 0 {
            return Ok(());
        }
        let bounded = !self.index.trusts(key.namespace);
        let admitted = self.index.shares.admit(R::SOURCE, key, weight, bounded);
        admitted.map_err(|full| DecodeError::of(full.why()))
    }

    /// Removes rows, and says so for each.
    fn take<R: InTable>(&mut self, which: Which, mut changed: impl FnMut(&mut Self, Key, Option<&R>)) {
        for (key, row) in R::table(&mut self.index).take(which) {
            self.index.shares.release(R::SOURCE, key);
            changed(self, key, Some(&row));
        }
    }

    fn begin(&mut self, source: Source) {
        self.history.begin(source);
        self.index.shares.begin(source);
        self.begin_table(source);
        // What was not understood stays until the list has ended without naming it.
        let opaque = self.index.opaque.iter_mut();
        for (_, opaque) in opaque.filter(|(at, _)| at.0 == source) {
            opaque.unnamed = true;
        }
        self.index.crowds.begin(source);
    }

    fn synced(&mut self, source: Source) {
        self.remove(source, Which::Unnamed);
        self.index.shares.look_again();
        if source == Source::Nodes {
            self.fold_nodes_listed();
        }
        self.sweep_opaque(source);
        self.fresh(source, Part::Whole, Freshness::Complete);
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
        self.forget_opaque(source, key);
        self.remove(source, Which::One(key));
    }
}

macro_rules! by_source {
    ($(
        $(#[$doc:meta])*
        $source:ident $text:literal
        $(row $row:ty => $table:ident, $changed:ident)?
        $(compiled $compiled:ty => $compiled_table:ident, $compiled_changed:ident)?
        $(of $kinds:expr)?;
    )*) => {
        impl Core {
            /// Reads an object into its row.
            fn row(&mut self, source: Source, json: &[u8]) -> Result<(), DecodeError> {
                match source {
                    $($(Source::$source => self.put::<$row>(json, Self::$changed),)?)*
                    Source::Policies
                    | Source::ClusterPolicy
                    | Source::Configz
                    | Source::Events
                    | Source::Remediations => {
                        Err(DecodeError::of(format!("{source} do not come as plain objects")))
                    }
                }
            }

            fn begin_table(&mut self, source: Source) {
                match source {
                    $(
                        $(Source::$source => <$row>::table(&mut self.index).begin(),)?
                        $(Source::$source => <$compiled>::table(&mut self.index).begin(),)?
                    )*
                    Source::ClusterPolicy => self.index.cluster_policy_unnamed = true,
                    Source::Configz | Source::Events | Source::Remediations => {}
                }
            }

            /// Removes rows of a source.
            fn remove(&mut self, source: Source, which: Which) {
                match source {
                    $(
                        $(Source::$source => self.take::<$row>(which, Self::$changed),)?
                        $(Source::$source => self.take::<$compiled>(which, Self::$compiled_changed),)?
                    )*
                    Source::ClusterPolicy => self.remove_cluster_policy(which),
                    Source::Configz => self.remove_configz(which),
                    Source::Events | Source::Remediations => {}
                }
            }
        }
    };
}
crate::source::sources!(by_source);
