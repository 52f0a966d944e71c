//! A situation of what the core knows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::fitness;
use crate::history::History;
use crate::index::{Index, Part, place};
use crate::know::{Gap, Known, Now, Source};
use crate::names::{Key, Name};
use crate::policy::{ClusterPolicy, CordonPolicy, Pressure};
use crate::remedies::{FlapRule, NodeLoad, NodeState, OtherChannel, OwnNode, Situation, StormRule};
use crate::sample::{Metric, Reading, SampleSubject, whole};
use crate::sources::node::{Node, Readiness, Stays};
use crate::sources::service::ServiceType;

/// What counts as pressure where no policy says: the defaults of `nodes.pressure`.
const PRESSURE: Pressure = Pressure {
    cpu_some_percent: 60,
    memory_some_percent: 20,
    io_some_percent: 60,
    for_seconds: 60,
};
/// Over so many seconds the scrapes of an exporter are counted, and from this share on it is unreachable, percent.
const SCRAPES: (f64, u32) = (300.0, 50);

/// What a plan reads.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'c> {
    pub(crate) now: Now,
    pub(crate) index: &'c Index,
    pub(crate) history: &'c History,
    pub(crate) fitness: &'c fitness::Latch,
}

impl Sight<'_> {
    /// The situation, without what an earlier one leaves to it: the storm's latch, records and the slot.
    pub(super) fn situation(
        self,
        policy: &ClusterPolicy,
        cordon: CordonPolicy,
        own_node: OwnNode,
    ) -> Situation {
        let flap = FlapRule::of(policy.nodes.flap);
        let storm = StormRule::of(&policy.storm);
        let instances = self.index.instances();
        let nodes = self.index.nodes.iter();
        let nodes = nodes.map(|(key, row)| self.node(key.name, row, &instances));
        let mut nodes: Vec<NodeState> = nodes.collect();
        nodes.sort_unstable_by_key(|node| node.name);
        let window = flap.window;
        let there = |name: Name| nodes.binary_search_by_key(&name, |node| node.name).is_ok();
        let removed = self.history.nodes().flips().all().filter(|(name, flips)| {
            let recent = flips
                .last()
                .is_some_and(|last| last.touches(self.now.mono, window));
            recent && !there(*name)
        });
        let mut situation = Situation {
            now: self.now.mono,
            policy: cordon,
            flap,
            storm,
            gap: self.gap(window),
            watched_since: self.history.watched_since(Source::Nodes),
            policy_changed: false,
            removed: removed.count() as u32,
            nodes,
            own_node,
            control_plane: self.fitness.fitness(self.now.mono, storm.cooldown),
            records: Vec::new(),
            rejected: Vec::new(),
            approved: false,
            not_narrowed: false,
            storm_until: None,
            slot: None,
        };
        self.measure(&mut situation, policy.nodes.pressure.unwrap_or(PRESSURE));
        situation
    }

    /// One node, without what is measured.
    pub(super) fn node(self, name: Name, row: &Node, instances: &BTreeSet<IpAddr>) -> NodeState {
        let names = &self.index.names;
        let of_instance = row.addresses.iter().any(|at| instances.contains(at));
        let worker = row.is_worker(names) && !of_instance;
        let unasked = || Gap::Unmeasured("not asked for".into());
        NodeState {
            name,
            zone: place(names, row),
            pool: row.pool(names),
            ready: row.ready == Readiness::Ready,
            worker,
            takes_pods: worker && row.ready == Readiness::Ready && !row.unschedulable,
            control_plane: row.is_control_plane(names) || of_instance,
            deallocated: row.deallocated,
            fenced: row.fenced,
            holder: row.holder,
            flips: self.history.nodes().flips().of(name).to_vec(),
            cpu: Err(unasked()),
            memory: Err(unasked()),
            other_channel: OtherChannel::Unmeasured(unasked()),
            sole_entry: Ok(None),
        }
    }

    /// Puts a node as it was just read in the place of what was watched. What is measured stays.
    pub(super) fn patch(self, situation: &mut Situation, name: Name, row: &Node) {
        let read = self.node(name, row, &self.index.instances());
        let Some(held) = situation.nodes.iter_mut().find(|node| node.name == name) else {
            return;
        };
        let watched = std::mem::replace(held, read);
        held.cpu = watched.cpu;
        held.memory = watched.memory;
        held.other_channel = watched.other_channel;
        held.sole_entry = watched.sole_entry;
    }

    /// What is measured, and looked for in Services: only where a node flaps, as each answer takes a look-up for each node.
    fn measure(self, situation: &mut Situation, pressure: Pressure) {
        let (now, flap) = (situation.now, situation.flap);
        let flaps = |node: &NodeState| node.flaps(now, flap);
        if !situation.nodes.iter().any(flaps) {
            return;
        }
        let entries = self.entries();
        for node in &mut situation.nodes {
            node.cpu = self.cpu(node.name);
            node.memory = self.memory(node.name);
            if flaps(node) {
                node.other_channel = self.other_channel(node.name, pressure);
                node.sole_entry = match &entries {
                    Ok(entries) => Ok(entries.get(&node.name).cloned()),
                    Err(gap) => Err(gap.clone()),
                };
            }
        }
    }

    /// What of the inputs is missing, stale, or not known for as long as the window.
    fn gap(self, window: u64) -> Option<Gap> {
        let needed = [Source::Nodes, Source::EndpointSlices, Source::Services];
        let unread = needed.iter().find_map(|source| self.index.gap(*source));
        let covered = |source| {
            self.history
                .covers(self.now.mono, source, Part::Whole, window)
                .err()
        };
        let full = self.history.nodes().flips().is_full();
        unread
            .or_else(|| covered(Source::Nodes))
            .or_else(|| covered(Source::EndpointSlices))
            .or_else(|| full.then(|| Gap::Opaque("more nodes flip than are remembered".into())))
    }

    fn reading(&self, metric: Metric, node: Name) -> Known<Reading<'_>> {
        self.index
            .samples
            .reading(self.now.mono, metric, SampleSubject::Node(node))
            .0
    }

    /// CPUs at work: the most within what is kept, as a node that is silent has just worked its hardest.
    fn cpu(self, node: Name) -> Known<NodeLoad> {
        let busy = self.reading(Metric::CpuBusy, node)?;
        let all = self.reading(Metric::CpuTime, node)?;
        let most = busy
            .points
            .iter()
            .map(|point| f64::from(point.value))
            .fold(busy.value, f64::max);
        Ok(NodeLoad {
            used: most.min(all.value),
            capacity: all.value,
        })
    }

    fn memory(self, node: Name) -> Known<NodeLoad> {
        let available = self.reading(Metric::MemoryAvailable, node)?;
        let total = self.reading(Metric::MemoryTotal, node)?.value;
        let least = available
            .points
            .iter()
            .map(|point| f64::from(point.value))
            .fold(available.value, f64::min);
        Ok(NodeLoad {
            used: (total - least).max(0.0),
            capacity: total,
        })
    }

    /// How a node is by measurement. One sign of trouble is enough; that it is well takes every answer.
    fn other_channel(self, node: Name, pressure: Pressure) -> OtherChannel {
        let mut gap = None;
        let exporter = match self.reading(Metric::ExporterUp, node) {
            Ok(up) => {
                let failed = whole((1.0 - up.mean(SCRAPES.0)).max(0.0) * 100.0);
                if failed >= SCRAPES.1 {
                    return OtherChannel::Unreachable(failed);
                }
                true
            }
            Err(why) => {
                gap = Some(why);
                false
            }
        };
        let resources = [
            ("memory", Metric::MemoryPressure, pressure.memory_some_percent),
            ("storage", Metric::IoPressure, pressure.io_some_percent),
            ("CPU", Metric::CpuPressure, pressure.cpu_some_percent),
        ];
        for (resource, metric, bound) in resources {
            match self.reading(metric, node) {
                Ok(reading) => {
                    let share = stalled(&reading, f64::from(pressure.for_seconds)) * 100.0;
                    if share > f64::from(bound) {
                        return OtherChannel::Stalled {
                            resource,
                            percent: whole(share.min(100.0)),
                            bound,
                        };
                    }
                }
                Err(why) => gap = gap.or(Some(why)),
            }
        }
        match gap {
            Some(gap) => OtherChannel::Unmeasured(gap),
            None if exporter => OtherChannel::Well,
            None => OtherChannel::Unmeasured(Gap::Unmeasured("exporterUp".into())),
        }
    }

    /// Nodes without which fewer than two others serve a Service from outside, as `cordon-lb-safety` judges it: with one of
    /// these Services.
    fn entries(self) -> Known<BTreeMap<Name, Arc<str>>> {
        let mut entries: BTreeMap<Name, Arc<str>> = BTreeMap::new();
        for (key, service) in self.index.services.iter() {
            let from_outside = matches!(service.kind, ServiceType::LoadBalancer | ServiceType::NodePort);
            if !service.external_local || !from_outside {
                continue;
            }
            let endpoints = self.index.endpoints(key)?;
            let with: BTreeSet<Name> = endpoints
                .iter()
                .filter(|one| one.ready)
                .map(|one| one.node)
                .collect();
            if with.contains(&Name::EMPTY) {
                let why = format!("an endpoint of {} does not name its node", self.index.show(key));
                return Err(Gap::Opaque(why.into()));
            }
            let balanced = service.kind == ServiceType::LoadBalancer;
            let stays = |name: &&Name| {
                self.row(**name).is_some_and(|row| {
                    let seen = row.balancing(&self.index.names);
                    seen.stays == Stays::Stays && !row.fenced && !(balanced && seen.left_out)
                })
            };
            let staying: BTreeSet<Name> = with.iter().filter(stays).copied().collect();
            for name in with {
                let others = staying.iter().filter(|one| **one != name).count();
                let shown: Arc<str> = self.index.show(key).into();
                // The first by text, whatever order the table has.
                if others < 2 && entries.get(&name).is_none_or(|held| shown < *held) {
                    entries.insert(name, shown);
                }
            }
        }
        Ok(entries)
    }

    fn row(&self, name: Name) -> Option<&Node> {
        self.index.nodes.get(Key {
            namespace: Name::EMPTY,
            name,
        })
    }
}

/// The highest mean share of time over so many seconds, anywhere in what is kept of a counter of seconds.
fn stalled(reading: &Reading<'_>, seconds: f64) -> f64 {
    let timed = reading.timed();
    let mut most: f64 = 0.0;
    for (at, (from, _)) in timed.iter().enumerate() {
        let (mut sum, mut before) = (0.0, *from);
        for (time, value) in timed.iter().skip(at + 1) {
            sum += value * (time - before);
            before = *time;
            if time - from >= seconds {
                most = most.max(sum / (time - from));
                break;
            }
        }
    }
    most
}
