//! One small world for every test of the core: objects as JSON, policies as structs, verdicts as text.
//!
//! A [`World`] is a core and the present. [`World::complete`] audits: it judges how things are. [`World::watched`] is fed
//! over time, as the operator is, and remembers what changed. Everything goes through the engine, so a test sees what a
//! user would.

mod chance;
mod clusters;
mod measured;
mod objects;
mod traffic;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub(crate) use chance::Chance;
pub(crate) use clusters::{cilium, kubeadm, set_up};
pub(crate) use measured::instances;
pub(crate) use objects::{
    NEVER, app, balanced, client, connection, cordon, dns, dns_pod, every, evicted, evicted_pod, l4, l7,
    manager, node, node_ready, pod, policy, preempted, preempted_pod, proxy, proxy_config, proxy_pod, rated,
    service, slice, slice_in, slice_of, slice_part, static_proxy,
};

pub(crate) use traffic::{Traffic, measured};

use crate::findings::Finding;
use crate::handle::Input;
use crate::index::{Freshness, Part};
use crate::judge::{Advice, MESSAGE, Verdict};
use crate::know::{Mono, Now, Source, Wall};
use crate::policy::{ClusterPolicy, Policy};
use crate::program::Core;

/// A core with objects in it, and the present.
pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) now: Now,
}

impl World {
    /// When worlds begin: 2027-01-15T08:00:00Z.
    pub(crate) const BEGINNING: Wall = Wall(1_800_000_000);

    /// A world of which every source was read completely; it is empty.
    pub(crate) fn complete() -> Self {
        Self::without(&[])
    }

    /// A world of which every source but these was read.
    pub(crate) fn without(missing: &[Source]) -> Self {
        let now = Now {
            mono: Mono(0),
            wall: Self::BEGINNING,
        };
        let mut world = Self {
            core: Core::default(),
            now,
        };
        for source in Source::ALL {
            if !missing.contains(&source) {
                world.input(Input::Synced(source));
            }
        }
        world
    }

    /// A world that is watched: the first lists brought these objects, and every source is complete.
    pub(crate) fn watched(objects: &[(Source, Value)]) -> Self {
        // Well after the start of the clock: what is an hour old can be said.
        let now = Now {
            mono: Mono(7_000_000),
            wall: Self::BEGINNING,
        };
        let mut world = Self {
            core: Core::live(now),
            now,
        };
        let mut lists: BTreeMap<Source, Vec<&Value>> = BTreeMap::new();
        for (source, object) in objects {
            lists.entry(*source).or_default().push(object);
        }
        for source in Source::ALL {
            world.list(source, lists.get(&source).map_or(&[][..], Vec::as_slice));
        }
        world.core.round(now);
        world
    }

    /// Adds one object.
    #[must_use]
    pub(crate) fn with(mut self, source: Source, object: impl Borrow<Value>) -> Self {
        self.put(source, object.borrow());
        self
    }

    /// Adds several objects.
    #[must_use]
    pub(crate) fn all(self, source: Source, objects: &[Value]) -> Self {
        objects.iter().fold(self, |world, one| world.with(source, one))
    }

    /// Forgets a source: nobody has read it.
    #[must_use]
    pub(crate) fn unread(mut self, source: Source) -> Self {
        self.list(source, &[]);
        self.input(Input::Freshness(source, Part::Whole, Freshness::Missing));
        self
    }

    /// Adds a policy.
    #[must_use]
    pub(crate) fn policy(mut self, policy: Policy) -> Self {
        self.declare(policy);
        self
    }

    /// Sets the platform's policy.
    #[must_use]
    pub(crate) fn platform(mut self, policy: ClusterPolicy) -> Self {
        self.declare_platform(policy);
        self
    }

    /// Any input.
    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.core.handle(self.now, input);
    }

    /// A whole list.
    pub(crate) fn list(&mut self, source: Source, objects: &[&Value]) {
        self.input(Input::Begin(source));
        for object in objects {
            self.put(source, object);
        }
        self.input(Input::Synced(source));
    }

    /// One object.
    pub(crate) fn put(&mut self, source: Source, object: &Value) {
        let json = object.to_string();
        let before = self.core.index().opaque_objects().count();
        self.input(Input::object(source, json.as_bytes()));
        assert_eq!(
            self.core.index().opaque_objects().count(),
            before,
            "not understood: {json}"
        );
    }

    /// A policy.
    pub(crate) fn declare(&mut self, policy: Policy) {
        self.input(Input::Policy(Arc::new(policy)));
    }

    /// The platform's policy.
    pub(crate) fn declare_platform(&mut self, policy: ClusterPolicy) {
        self.input(Input::ClusterPolicy(Some(Arc::new(policy))));
    }

    /// Lets time pass, in seconds; whatever falls due meanwhile is judged when it does.
    pub(crate) fn wait(&mut self, seconds: u64) {
        let end = self.now.mono.0 + seconds * 1000;
        loop {
            self.core.round(self.now);
            let next = self.core.deadline(self.now).map_or(end, |at| at.0.min(end));
            // A deadline in the past would be one that no round ever serves.
            assert!(next > self.now.mono.0 || next == end, "stuck at {next}");
            let passed = next - self.now.mono.0;
            self.now.mono.0 = next;
            self.now.wall.0 += i64::try_from(passed / 1000).unwrap();
            if next == end {
                break;
            }
        }
        self.core.round(self.now);
    }

    /// The interned form of a text that is known.
    pub(crate) fn name(&self, text: &str) -> crate::names::Name {
        self.core.index().names.find(text).unwrap()
    }

    /// Judges what is due, and returns the findings of one check.
    pub(crate) fn findings(&mut self, id: &str) -> Vec<Finding> {
        let known = self.core.engine.checks().iter().any(|check| check.id == id);
        assert!(known, "no check {id}");
        self.core.round(self.now);
        let mut all = self.core.findings(self.now).findings;
        all.retain(|one| one.check == id);
        for one in &all {
            assert!(!one.message.contains('?'), "evidence is missing: {}", one.message);
            assert!(!one.message.is_empty(), "{id} has no message");
            assert!(
                one.advice.iter().all(|advice| !advice.is_empty()),
                "empty advice: {}",
                one.message
            );
            let bad = one.verdict.name() != "Unknown";
            assert!(!bad || !one.advice.is_empty(), "no advice: {}", one.message);
            assert!(!bad || !one.evidence.is_empty(), "no evidence: {}", one.message);
            let length = one.message.chars().count();
            assert!(!bad || length <= MESSAGE, "{length} characters: {}", one.message);
        }
        all
    }

    /// What a check advises, with the changes of policies.
    pub(crate) fn advised(&mut self, id: &str) -> Vec<Advice> {
        self.core.round(self.now);
        let mut advised = Vec::new();
        for (check, _, reported) in self.core.engine.bad() {
            if let (true, Verdict::AtRisk(case) | Verdict::Violated(case)) =
                (check.id == id, &*reported.verdict)
            {
                advised.extend(case.advice());
            }
        }
        advised
    }

    /// What a check finds, one text for each finding: `Violated critical SomeCause` and the like.
    pub(crate) fn found(&mut self, id: &str) -> Vec<String> {
        let text = |one: &Finding| {
            format!("{} {} {}", one.verdict, one.severity.name(), one.cause)
                .trim_end()
                .to_owned()
        };
        self.findings(id).iter().map(text).collect()
    }

    /// The same in one text, joined by `; `; empty when there is nothing to find.
    pub(crate) fn says(&mut self, id: &str) -> String {
        self.found(id).join("; ")
    }

    /// The same, but where there is nothing to find it says why: `Met`, `NotApplicable`, `Unknown` (of what is counted
    /// and not listed), or `nothing` when there was nothing to judge.
    pub(crate) fn verdict(&mut self, id: &str) -> String {
        let says = self.says(id);
        if !says.is_empty() {
            return says;
        }
        let all = self.judged(id);
        let met = all.iter().find(|one| **one == "Met");
        met.or(all.first()).copied().unwrap_or("nothing").to_owned()
    }

    /// The verdict of one check on each of its subjects, as the engine comes to it.
    pub(crate) fn judged(&self, id: &str) -> Vec<&'static str> {
        let core = &self.core;
        core.engine.judged(self.now, &core.index, &core.history, id)
    }

    /// The message of the only finding of a check.
    pub(crate) fn message(&mut self, id: &str) -> String {
        let found = self.findings(id);
        assert_eq!(found.len(), 1, "{found:?}");
        found.first().unwrap().message.clone()
    }
}
