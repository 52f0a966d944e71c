//! Endpoints that flip, and how many endpoints each node has and has received.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::Times;
use super::churn::{Backend, Churn};
use super::newcomers::{Newcomers, Starting};
use super::turnover::Turnovers;
use crate::index::Index;
use crate::know::Mono;
use crate::names::{InUse, Key, Name};
use crate::sources::slice::{Endpoint, Slice};

/// Flips of one endpoint within [`FLAP_WINDOW`] from which on it flaps: more than three.
pub const FLAP_FLIPS: usize = 4;
/// The window of flips, in milliseconds: ten minutes.
pub const FLAP_WINDOW: u64 = 600_000;
/// Endpoints whose flips are remembered, in all.
const FLIPPING: usize = 32_768;
/// How often what no window holds is forgotten, in milliseconds.
const SWEEP: u64 = 60_000;
/// Parts that the window of arrivals is cut into.
const SLOTS: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Flips {
    times: Times<FLAP_FLIPS>,
    /// What the last flip made of it: two slices that name one endpoint say each flip twice.
    serving: bool,
}

/// Which of a Service's endpoints flap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flapping {
    /// How many of those asked about.
    pub count: usize,
    /// When one of them stops to, should it not flip again.
    pub until: Option<Mono>,
}

/// How many endpoints a node has, and by how many they grew over a window.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Load {
    count: u32,
    /// Number of the last slot since the clock's zero.
    slot: u64,
    grown: [i16; SLOTS],
}

impl Load {
    fn roll(&mut self, slot: u64) {
        let steps = slot.saturating_sub(self.slot);
        if steps >= SLOTS as u64 {
            self.grown = [0; SLOTS];
        } else {
            let steps = steps as usize;
            self.grown.rotate_right(steps);
            self.grown.iter_mut().take(steps).for_each(|one| *one = 0);
        }
        self.slot = self.slot.max(slot);
    }
}

/// What was seen of endpoints.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Backends {
    flips: HashMap<Key, HashMap<IpAddr, Flips>>,
    flipping: usize,
    loads: HashMap<Name, Load>,
    /// Length of the window of arrivals, in milliseconds; as the platform's policy says.
    window: u64,
    pub(crate) churn: Churn,
    newcomers: Newcomers,
    turnovers: Turnovers,
    /// Node and namespace of endpoints that have just come.
    arrivals: Vec<(Name, Name)>,
    swept: Mono,
}

impl Backends {
    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.flips.keys());
        held.all(self.loads.keys());
        self.churn.hold(held);
        self.newcomers.hold(held);
        self.turnovers.hold(held);
    }

    /// Folds the change of one slice, which the index already has in its new form.
    ///
    /// `counts` says whether the change was seen to happen; else it only shows the present state.
    pub(crate) fn fold(&mut self, now: Mono, counts: bool, index: &Index, key: Key, old: Option<&Slice>) {
        let new = index.slices.get(key);
        let (old_service, new_service) = (old.map(|one| one.service), new.map(|one| one.service));
        let service = |name| Key {
            namespace: key.namespace,
            name,
        };
        if let (Some(one), Some(other)) = (old_service, new_service)
            && one == other
        {
            self.differ(now, counts, index, (service(one), key), old, new);
            return;
        }
        if let Some(name) = old_service {
            self.differ(now, counts, index, (service(name), key), old, None);
        }
        if let Some(name) = new_service {
            self.differ(now, counts, index, (service(name), key), None, new);
        }
    }

    /// Folds what two forms of a slice (`at`: its Service, its key) differ in.
    fn differ(
        &mut self,
        now: Mono,
        counts: bool,
        index: &Index,
        at: (Key, Key),
        old: Option<&Slice>,
        new: Option<&Slice>,
    ) {
        let (old, new) = changed(endpoints(old), endpoints(new));
        let elsewhere = Elsewhere::of(index, at, old.len() + new.len());
        let (mut before, mut after) = (old.iter().peekable(), new.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (Some(one), Some(other)) => one.address.cmp(&other.address),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => break,
            };
            let one = before.next_if(|_| order.is_le());
            let other = after.next_if(|_| order.is_ge());
            match (one, other) {
                (Some(one), Some(other)) => self.kept(now, counts, at.0, one, other),
                (Some(one), None) if !elsewhere.has(one.address) => {
                    self.load(now, counts, one.node, -1);
                    self.newcomers.left(at.0, one.address);
                    if counts {
                        self.churn.died(now, Backend::of(one));
                        if one.ready {
                            self.turnovers.went(now, at.0, Backend::of(one));
                        }
                    }
                }
                (None, Some(other)) if !elsewhere.has(other.address) => {
                    self.load(now, counts, other.node, 1);
                    if counts {
                        self.arrivals.push((other.node, at.0.namespace));
                        self.churn.born(now, at.0, Backend::of(other));
                        self.turnovers.came(now, at.0, Backend::of(other));
                        if !other.ready && !other.terminating {
                            self.newcomers.came(now, at.0, other.address);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Node and namespace of each endpoint that has come since this was last asked.
    pub(super) fn take_arrivals(&mut self) -> impl Iterator<Item = (Name, Name)> + '_ {
        self.arrivals.drain(..)
    }

    /// An endpoint that stays in its slice.
    fn kept(&mut self, now: Mono, counts: bool, service: Key, old: &Endpoint, new: &Endpoint) {
        if old.node != new.node {
            self.load(now, counts, old.node, -1);
            self.load(now, counts, new.node, 1);
        }
        if new.ready || new.terminating {
            self.newcomers.left(service, new.address);
        }
        if counts && old.ready && new.terminating && !old.terminating {
            self.turnovers.went(now, service, Backend::of(new));
        }
        // The end of a Pod is no flip.
        if !counts || old.serving == new.serving || new.terminating || old.terminating {
            return;
        }
        let full = self.flipping >= FLIPPING;
        let flips = self.flips.entry(service).or_default();
        if let Some(held) = flips.get_mut(&new.address) {
            // What no window holds any more is forgotten, whether or not somebody has cleaned up.
            if held.serving != new.serving || held.times.count(now, FLAP_WINDOW) == 0 {
                held.serving = new.serving;
                held.times.push(now);
            }
        } else if !full {
            let mut first = Flips {
                serving: new.serving,
                ..Flips::default()
            };
            first.times.push(now);
            flips.insert(new.address, first);
            self.flipping += 1;
        }
    }

    /// A node has one endpoint more or less.
    fn load(&mut self, now: Mono, counts: bool, node: Name, by: i16) {
        if node.is_empty() {
            return;
        }
        let slot = self.slot(now);
        let load = self.loads.entry(node).or_default();
        load.count = load.count.saturating_add_signed(i32::from(by));
        if counts {
            load.roll(slot);
            if let Some(first) = load.grown.first_mut() {
                *first = first.saturating_add(by);
            }
        }
        if load.count == 0 && load.grown == [0; SLOTS] {
            self.loads.remove(&node);
        }
    }

    fn slot(&self, now: Mono) -> u64 {
        now.0 / (self.window / SLOTS as u64).max(1)
    }

    /// Sets the window of arrivals, in milliseconds; another one starts from nothing.
    pub(crate) fn set_window(&mut self, window: u64) {
        if self.window != window {
            self.window = window;
            self.loads
                .values_mut()
                .for_each(|load| (load.slot, load.grown) = (0, [0; SLOTS]));
        }
    }

    /// The window of arrivals, in milliseconds.
    pub(crate) const fn window(&self) -> u64 {
        self.window
    }

    /// How many endpoints a node had when the window began, and by how many they grew since; never negative.
    pub(crate) fn grown(&self, now: Mono, node: Name) -> (u32, u32) {
        let Some(load) = self.loads.get(&node) else {
            return (0, 0);
        };
        let mut load = load.clone();
        load.roll(self.slot(now));
        let grown: i32 = load.grown.iter().map(|one| i32::from(*one)).sum();
        let before = load.count.saturating_add_signed(-grown);
        (before, u32::try_from(grown).unwrap_or(0))
    }

    /// How many of these endpoints of a Service flap.
    pub fn flapping(&self, now: Mono, service: Key, endpoints: impl Iterator<Item = IpAddr>) -> Flapping {
        let Some(flips) = self.flips.get(&service) else {
            return Flapping::default();
        };
        let ends =
            endpoints.filter_map(|address| flips.get(&address)?.times.below(FLAP_FLIPS, now, FLAP_WINDOW));
        ends.fold(Flapping::default(), |sum, end| Flapping {
            count: sum.count + 1,
            until: Some(sum.until.map_or(end, |until| until.min(end))),
        })
    }

    /// How many of these endpoints of a Service came within the last so many milliseconds and are still starting.
    pub fn starting(
        &self,
        now: Mono,
        service: Key,
        endpoints: impl Iterator<Item = IpAddr>,
        grace: u64,
    ) -> Starting {
        self.newcomers.starting(now, service, endpoints, grace)
    }

    /// How many backends of a Service went a moment ago while others came within the last so many milliseconds: in a
    /// rollout each has a successor.
    pub fn awaited(&self, now: Mono, service: Key, grace: u64) -> Starting {
        self.turnovers.awaited(now, service, grace)
    }

    /// Endpoints that come and go.
    pub const fn churn(&self) -> &Churn {
        &self.churn
    }

    /// Whether more endpoints flip than are remembered.
    pub const fn is_full(&self) -> bool {
        self.flipping >= FLIPPING
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: Mono) {
        self.churn.tick(now);
        if now.since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        self.newcomers.sweep(now);
        self.turnovers.sweep(now);
        self.flips.retain(|_, flips| {
            flips.retain(|_, one| one.times.count(now, FLAP_WINDOW) > 0);
            !flips.is_empty()
        });
        self.flipping = self.flips.values().map(HashMap::len).sum();
        let slot = self.slot(now);
        // Nodes that are gone had their last endpoints leave.
        self.loads.retain(|_, load| {
            load.roll(slot);
            load.count > 0 || load.grown != [0; SLOTS]
        });
    }
}

fn endpoints(slice: Option<&Slice>) -> &[Endpoint] {
    slice.map_or(&[], |slice| &slice.endpoints)
}

/// What differs between two lists, by address: what they begin and end with alike is left out, which is nearly all of
/// it in most changes.
fn changed(old: &[Endpoint], new: &[Endpoint]) -> (Vec<Endpoint>, Vec<Endpoint>) {
    let same = |pair: &(&Endpoint, &Endpoint)| pair.0 == pair.1;
    let head = old.iter().zip(new).take_while(same).count();
    let (old, new) = (
        old.get(head..).unwrap_or_default(),
        new.get(head..).unwrap_or_default(),
    );
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    let cut = |list: &[Endpoint]| {
        let mut cut = list
            .get(..list.len() - tail)
            .map(<[Endpoint]>::to_vec)
            .unwrap_or_default();
        cut.sort_by_key(|one| one.address);
        // One slice may say the same address twice; it is one endpoint.
        cut.dedup_by_key(|one| one.address);
        cut
    };
    (cut(old), cut(new))
}

/// Which addresses other slices of the same Service hold: an endpoint that moves between slices neither comes nor goes.
enum Elsewhere<'a> {
    Few(Vec<&'a Slice>),
    Many(HashSet<IpAddr>),
}

impl<'a> Elsewhere<'a> {
    /// Of a slice at (Service, key), for so many questions.
    fn of(index: &'a Index, at: (Key, Key), questions: usize) -> Self {
        let keys = index.slices_of.get(&at.0).into_iter().flatten();
        let others: Vec<&Slice> = keys
            .filter(|key| **key != at.1)
            .filter_map(|key| index.slices.get(*key))
            .collect();
        if questions > 4 && others.len() > 1 {
            let all = others.iter().flat_map(|slice| &slice.endpoints);
            Self::Many(all.map(|one| one.address).collect())
        } else {
            Self::Few(others)
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        match self {
            Self::Few(slices) => slices
                .iter()
                .any(|slice| slice.endpoints.iter().any(|one| one.address == address)),
            Self::Many(all) => all.contains(&address),
        }
    }
}
