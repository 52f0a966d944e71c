//! Which units a change concerns.

use std::collections::BTreeSet;

use super::Engine;
use super::dirt::Dirt;
use super::unit::{About, Scope, WorkUnit};
use crate::index::{Dep, Deps, Index};
use crate::judge::Judge;
use crate::know::{Mono, Now};
use crate::names::{Key, Name};
use crate::policy::Policy;

impl Engine {
    /// All units there are, may be, or are no more.
    pub(super) fn everything(&self, index: &Index, dirty: &mut BTreeSet<WorkUnit>) {
        dirty.extend(self.units.keys());
        dirty.extend(WorkUnit::lists());
        for (key, _) in index.services.iter() {
            self.of_service(index, key, dirty);
        }
        let nodes = index.nodes.iter().map(|(key, _)| About::Node(key.name));
        dirty.extend(nodes.map(|about| WorkUnit::of(Scope::Node, about)));
        let zones = index.sums.zones().map(About::Zone);
        dirty.extend(zones.map(|about| WorkUnit::of(Scope::Zone, about)));
        let webhooks = index.webhooks.iter().map(|(key, _)| About::Webhook(key));
        dirty.extend(webhooks.map(|about| WorkUnit::of(Scope::Webhook, about)));
        for (at, check) in self.checks.iter().enumerate() {
            if let (Judge::Cluster(_), Ok(at)) = (check.judge, u8::try_from(at)) {
                dirty.insert(WorkUnit::of(Scope::Cluster, About::Check(at)));
            }
        }
    }

    /// The units of a Service: the first of each policy that governs it, and those that are held. Judging one part of the
    /// paths brings the next one where there is none yet.
    fn of_service(&self, index: &Index, key: Key, dirty: &mut BTreeSet<WorkUnit>) {
        let service = index.services.get(key);
        let policies = service.map_or_else(Vec::new, |row| index.policies_of(key, row));
        for scope in Scope::OF_SERVICES {
            let all = WorkUnit::all_of(scope, key);
            let first = *all.start();
            // Without a policy the baseline judges a Service.
            let baseline = scope == Scope::Service && service.is_some() && policies.is_empty();
            dirty.extend(baseline.then_some(first));
            let units = policies.iter().map(|(policy, _)| WorkUnit {
                policy: *policy,
                ..first
            });
            dirty.extend(units.filter(|unit| self.shares.paths(index, *unit).is_some()));
            dirty.extend(self.units.range(all).map(|one| *one.0));
        }
    }

    /// The units of a policy that has said all of this since they were judged, and those of the baseline, which judges what
    /// no policy governs.
    pub(super) fn of_policy(
        &self,
        index: &Index,
        policy: Key,
        said: &[&Policy],
        dirty: &mut BTreeSet<WorkUnit>,
    ) {
        let says = index.policies.get(policy);
        for key in index.services_in.of(policy.namespace) {
            let Some(row) = index.services.get(key) else {
                continue;
            };
            let governs = |one: &Policy| index.governs(one, key, row);
            let governed = says.is_some_and(|says| governs(says));
            if !governed && !said.iter().any(|said| governs(said)) {
                continue;
            }
            for scope in Scope::OF_SERVICES {
                let baseline = WorkUnit::of(scope, About::Service(key));
                let unit = WorkUnit { policy, ..baseline };
                let judged = governed && self.shares.paths(index, unit).is_some();
                dirty.extend(judged.then_some(unit));
                dirty.extend(self.units.range(unit.parts()).map(|one| *one.0));
                let turns = scope == Scope::Service && (!governed || self.units.contains_key(&baseline));
                dirty.extend(turns.then_some(baseline));
            }
        }
    }

    /// The units of a Service that depend on one of these.
    fn depending(&self, key: Key, on: Deps) -> impl Iterator<Item = WorkUnit> {
        Scope::OF_SERVICES
            .into_iter()
            .flat_map(move |scope| self.units.range(WorkUnit::all_of(scope, key)))
            .filter(move |(_, held)| held.deps.meets(on))
            .map(|(unit, _)| *unit)
    }

    /// The units that depend on what has changed.
    pub(super) fn concerned(&self, index: &Index, dirt: &Dirt, dirty: &mut BTreeSet<WorkUnit>) {
        for key in &dirt.services {
            self.of_service(index, *key, dirty);
        }
        for (policy, versions) in dirt.versions() {
            self.of_policy(index, policy, &versions, dirty);
        }
        if !dirt.governing.is_empty() {
            // Whether Services that were not read are missed depends on whether there are policies.
            dirty.extend(Scope::OF_SERVICES.map(|scope| WorkUnit::of(scope, About::List)));
        }
        for key in &dirt.slices {
            dirty.extend(self.depending(*key, Dirt::SLICES.with(Dirt::HISTORY)));
        }
        for key in &dirt.measured_services {
            dirty.extend(self.depending(*key, Dirt::OWN_SAMPLES));
        }
        if self.any(&Scope::OF_SERVICES, Dirt::OWN_PODS) {
            let services = dirt.pods_in.iter().flat_map(|space| index.services_in.of(*space));
            dirty.extend(services.flat_map(|key| self.depending(key, Dirt::OWN_PODS)));
        }
        self.subjects(index, dirt, dirty);
        workloads(dirt, dirty);
        for scope in Scope::ALL {
            let is_service = Scope::OF_SERVICES.contains(&scope);
            let on = if is_service {
                dirt.deps
            } else {
                dirt.deps.with(dirt.history)
            };
            if self.any(&[scope], on) {
                let all = self.units.range(WorkUnit::all(scope));
                dirty.extend(all.filter(|one| one.1.deps.meets(on)).map(|one| *one.0));
            }
        }
        if !dirt.freshness.is_empty() {
            let blind = self
                .units
                .iter()
                .filter(|(unit, held)| dirt.blinds(held.gaps, unit.home()));
            dirty.extend(blind.map(|one| *one.0));
            dirty.extend(WorkUnit::lists());
        }
        let beyond = self.beyond.iter().filter(|unit| {
            let held = self.units.get(unit).and_then(|held| held.beyond.as_deref());
            held.is_some_and(|deps| dirt.touches(deps))
        });
        dirty.extend(beyond);
    }

    /// Whether any unit of these scopes depends on one of these.
    fn any(&self, scopes: &[Scope], on: Deps) -> bool {
        let counts = scopes.iter().filter_map(|scope| self.deps.get(*scope as usize));
        counts.into_iter().any(|counts| counts.meets(on))
    }

    /// Units of Nodes, zones and webhooks that came, went, or read their own subject that has changed.
    fn subjects(&self, index: &Index, dirt: &Dirt, dirty: &mut BTreeSet<WorkUnit>) {
        let node = |name: Name| Key {
            namespace: Name::EMPTY,
            name,
        };
        let has_node = |name: &Name| index.nodes.get(node(*name)).is_some();
        // A unit without anything to remember is not held: what came or went is in the sums.
        let (count, zones) = [Dep::NodeCount, Dep::NodeZones]
            .map(|dep| dirt.deps.meets(Deps::one(dep)))
            .into();
        let nodes = dirt.nodes.iter().map(|name| {
            let unit = WorkUnit::of(Scope::Node, About::Node(*name));
            (unit, count.then(|| has_node(name)), Dirt::OWN)
        });
        let evicted = dirt.evicted_from.iter().map(|name| {
            let unit = WorkUnit::of(Scope::Node, About::Node(*name));
            (unit, None, Dirt::OWN_HISTORY)
        });
        let measured = dirt.measured_nodes.iter().map(|name| {
            let unit = WorkUnit::of(Scope::Node, About::Node(*name));
            (unit, None, Dirt::OWN_SAMPLES)
        });
        let zones = dirt.zones.iter().map(|name| {
            let unit = WorkUnit::of(Scope::Zone, About::Zone(*name));
            let exists = zones.then(|| index.sums.has_zone(*name));
            (unit, exists, Dirt::OWN.with(Dirt::OWN_HISTORY))
        });
        let webhooks = dirt.webhooks.iter().map(|key| {
            let unit = WorkUnit::of(Scope::Webhook, About::Webhook(*key));
            (unit, Some(index.webhooks.get(*key).is_some()), Dirt::OWN)
        });
        for (unit, exists, on) in nodes.chain(evicted).chain(measured).chain(zones).chain(webhooks) {
            let held = self.units.get(&unit);
            let came_or_went = exists.is_some_and(|exists| held.is_some() != exists);
            if came_or_went || held.is_some_and(|held| held.deps.meets(on)) {
                dirty.insert(unit);
            }
        }
    }

    /// Takes the units whose time has come: each is judged now, or waits to be.
    pub(super) fn due(&mut self, now: Now, index: &Index, dirty: &mut BTreeSet<WorkUnit>) {
        while let Some(one) = self.again.first().copied().filter(|one| one.0 <= now.wall.0) {
            self.again.remove(&one);
            dirty.insert(one.1);
        }
        while let Some(one) = self.wakes.first().copied().filter(|one| one.0 <= now.mono) {
            self.wakes.remove(&one);
            match self.still_sampled(now, index, one.1) {
                Some(next) => drop(self.wakes.insert((next, one.1))),
                None => drop(dirty.insert(one.1)),
            }
        }
    }

    /// Until when a unit need not be judged that waits for its samples to count no longer: newer ones have come that change
    /// nothing, or it would be dirty.
    fn still_sampled(&mut self, now: Now, index: &Index, unit: WorkUnit) -> Option<Mono> {
        let About::Node(name) = unit.about else {
            return None;
        };
        let held = self.units.get_mut(&unit)?;
        if held.unsampled.is_some_and(|at| at <= now.mono) {
            return None;
        }
        let next = index.samples().all_until(now.mono, held.sampled, name)?;
        held.wake = held.unsampled.into_iter().chain([next]).min();
        held.wake
    }
}

/// The units of workloads that something happened to: no list says which there are.
pub(super) fn workloads(dirt: &Dirt, dirty: &mut BTreeSet<WorkUnit>) {
    let workloads = dirt.workloads.iter().map(|key| About::Workload(*key));
    dirty.extend(workloads.map(|about| WorkUnit::of(Scope::Workload, about)));
}
