//! How many Pods come each minute, how long those that go have lived, and whether that is a storm.
//!
//! Pods are seen by their endpoints: a slice shows when a Pod gets or loses its address, without a watch of all
//! Pods. One Pod may have several, one for each address family in each of its Services, and counts once.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::know::Mono;
use crate::names::{InUse, Key, Name};
use crate::sources::slice::Endpoint;

/// A life shorter than this is short, in milliseconds: the two minutes of the formula.
const SHORT: u64 = 120_000;
/// Pods younger than that, and Pods that went within that time, which are remembered: so many of each.
const YOUNG: usize = 32_768;
/// Width of a bucket, in milliseconds.
const BUCKET: u64 = 10_000;
/// Buckets that are kept: five minutes, over which lifetimes are compared.
const BUCKETS: usize = 30;
/// Of them, those that make the last minute.
const MINUTE_BUCKETS: usize = 6;
/// Fewest Pods in a minute that can be a storm: below one every two seconds nothing drowns.
const FLOOR: u32 = 30;
/// Fewest ends of lives from which lifetimes are judged.
const ENDS: u32 = 10;
/// A storm is so many times what is usual.
pub const STORM_FACTOR: u32 = 5;
/// Minutes of the baseline: a day.
const BASELINE: usize = 1440;
/// Minutes from which on the baseline is worth building on.
pub const WARM_MINUTES: usize = 60;
/// For how long a storm is reported after it was last seen, in milliseconds.
const HOLD: u64 = 300_000;

/// What an endpoint leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Backend {
    /// A Pod, by its hash.
    Pod(u32),
    /// Something of which no more is said than its address.
    Address(IpAddr),
}

impl Backend {
    pub(crate) const fn of(endpoint: &Endpoint) -> Self {
        match endpoint.pod {
            0 => Self::Address(endpoint.address),
            pod => Self::Pod(pod),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Bucket {
    born: u32,
    short: u32,
    long: u32,
}

/// A storm, as of its beginning: numbers that change with every Pod would be a new finding with every Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChurnStorm {
    /// When it was last seen.
    pub last: Mono,
    /// Pods that came within a minute.
    pub born: u32,
    /// What 95 of 100 minutes of the baseline stay below or at.
    pub usual: u32,
    /// Ends of lives shorter than two minutes, in five minutes.
    pub short: u32,
    /// All other ends of lives.
    pub long: u32,
    /// The Service that most young Pods are of in the namespace that more than half of them are of, and how many.
    pub top: Option<(Key, u32)>,
    /// Minutes of the baseline.
    pub minutes: usize,
}

impl ChurnStorm {
    /// When it is over, should it not be seen again.
    pub const fn until(&self) -> Mono {
        self.last.plus(HOLD + 1)
    }
}

/// Pods that come and go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Churn {
    young: HashMap<Backend, Mono>,
    queue: VecDeque<(Mono, Key, Backend)>,
    /// Those that went a moment ago: their other endpoints go as well.
    gone: HashMap<Backend, Mono>,
    went: VecDeque<(Mono, Backend)>,
    /// When somebody young was last not remembered for want of room.
    overflow: Option<Mono>,
    buckets: VecDeque<Bucket>,
    /// Number of the last bucket since the clock's zero.
    at: u64,
    /// Since when everything that happens is seen.
    sighted: Option<Mono>,
    /// The present minute, by its number, and what came in it.
    minute: (u64, u32),
    baseline: VecDeque<u32>,
    /// The 95th percentile of the baseline.
    usual: u32,
    storm: Option<ChurnStorm>,
    /// A moment that is to be looked at when it has passed.
    open: Option<Mono>,
}

impl Churn {
    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.queue.iter().map(|one| one.1));
        held.note(&self.storm.and_then(|storm| storm.top));
    }

    /// Slices are seen from now on, or no longer.
    pub(crate) fn sighted(&mut self, now: Mono, sighted: bool) {
        self.tick(now);
        self.sighted = sighted.then(|| self.sighted.unwrap_or(now));
    }

    /// An endpoint of a Service came.
    pub(crate) fn born(&mut self, now: Mono, service: Key, backend: Backend) {
        self.tick(now);
        if self.young.contains_key(&backend) {
            return;
        }
        self.gone.remove(&backend);
        self.minute.1 = self.minute.1.saturating_add(1);
        if let Some(bucket) = self.buckets.back_mut() {
            bucket.born = bucket.born.saturating_add(1);
        }
        if self.queue.len() < YOUNG {
            self.young.insert(backend, now);
            self.queue.push_back((now, service, backend));
        } else {
            self.overflow = Some(now);
        }
        self.note(now);
    }

    /// An endpoint went.
    pub(crate) fn died(&mut self, now: Mono, backend: Backend) {
        self.tick(now);
        if self.gone.contains_key(&backend) {
            return;
        }
        if self.went.len() < YOUNG {
            self.gone.insert(backend, now);
            self.went.push_back((now, backend));
        }
        let young = self.young.remove(&backend).is_some();
        // One that is not remembered is old, unless there was no room to remember the young.
        let unclear = self.overflow.is_some_and(|at| now.since(at) <= SHORT);
        if let Some(bucket) = self.buckets.back_mut() {
            if young {
                bucket.short = bucket.short.saturating_add(1);
            } else if !unclear {
                bucket.long = bucket.long.saturating_add(1);
            }
        }
        self.note(now);
    }

    /// Lets time pass: Pods that are no longer young are forgotten, and minutes that ended join the baseline.
    pub(crate) fn tick(&mut self, now: Mono) {
        if let Some(open) = self.open.take_if(|open| *open < now) {
            self.look(open);
        }
        while let Some((born, _, backend)) = self.queue.front().copied()
            && now.since(born) >= SHORT
        {
            self.queue.pop_front();
            if self.young.get(&backend) == Some(&born) {
                self.young.remove(&backend);
            }
        }
        while let Some((at, backend)) = self.went.front().copied()
            && now.since(at) >= SHORT
        {
            self.went.pop_front();
            if self.gone.get(&backend) == Some(&at) {
                self.gone.remove(&backend);
            }
        }
        let at = now.0 / BUCKET;
        let steps = at.saturating_sub(self.at).min(BUCKETS as u64);
        for _ in 0..steps {
            self.buckets.push_back(Bucket::default());
        }
        if self.buckets.is_empty() {
            self.buckets.push_back(Bucket::default());
        }
        while self.buckets.len() > BUCKETS {
            self.buckets.pop_front();
        }
        self.at = self.at.max(at);
        self.minutes(now.0 / 60_000);
    }

    /// Closes the minutes before this one.
    fn minutes(&mut self, minute: u64) {
        let (mut open, mut born) = self.minute;
        if minute <= open {
            return;
        }
        // Nothing is known of minutes that were not seen from their beginning.
        let from = self.sighted.map_or(u64::MAX, |at| at.0.div_ceil(60_000));
        open = open.max(minute.saturating_sub(BASELINE as u64));
        while open < minute {
            // A storm is not what is usual, else it would excuse itself.
            let storms = born >= FLOOR && born > self.usual.saturating_mul(STORM_FACTOR);
            if open >= from && !(storms && self.storm.is_some()) {
                self.baseline.push_back(born);
            }
            born = 0;
            open += 1;
        }
        while self.baseline.len() > BASELINE {
            self.baseline.pop_front();
        }
        self.minute = (minute, 0);
        let mut sorted: Vec<u32> = self.baseline.iter().copied().collect();
        sorted.sort_unstable();
        // The nearest-rank percentile.
        let rank = (sorted.len() * 95).div_ceil(100).saturating_sub(1);
        self.usual = sorted.get(rank).copied().unwrap_or(0);
    }

    /// Pods that came within the last minute.
    fn minute_born(&self) -> u32 {
        let minute = self.buckets.iter().rev().take(MINUTE_BUCKETS);
        minute.map(|one| one.born).sum()
    }

    /// Remembers to look at this moment once it has passed: what comes first in it must not matter.
    fn note(&mut self, now: Mono) {
        let born = self.minute_born();
        if born >= FLOOR && born > self.usual.saturating_mul(STORM_FACTOR) {
            self.open = Some(now);
        }
    }

    /// When there is something to look at.
    pub(crate) fn due(&self) -> Option<Mono> {
        self.open.map(|at| at.plus(1))
    }

    /// Looks whether there was a storm at a moment that has passed.
    fn look(&mut self, now: Mono) {
        if self.storm.is_some_and(|storm| now >= storm.until()) {
            self.storm = None;
        }
        let born = self.minute_born();
        let sum = |of: fn(&Bucket) -> u32| self.buckets.iter().map(of).sum::<u32>();
        let (short, long) = (sum(|one| one.short), sum(|one| one.long));
        // More than half of the lives were short: so is the median.
        if short + long < ENDS || short <= long {
            return;
        }
        let minutes = self.baseline.len();
        match &mut self.storm {
            Some(storm) if storm.minutes >= WARM_MINUTES || minutes < WARM_MINUTES => storm.last = now,
            _ => {
                self.storm = Some(ChurnStorm {
                    last: now,
                    born,
                    usual: self.usual,
                    short,
                    long,
                    top: self.top(),
                    minutes,
                });
            }
        }
    }

    /// The Service that most young Pods are of, in the namespace that more than half of them are of: there is one at most.
    fn top(&self) -> Option<(Key, u32)> {
        let mut counts: HashMap<Key, u32> = HashMap::new();
        let mut spaces: HashMap<Name, u32> = HashMap::new();
        for (_, service, _) in &self.queue {
            *counts.entry(*service).or_default() += 1;
            *spaces.entry(service.namespace).or_default() += 1;
        }
        let half = |count: u32| count as usize * 2 > self.queue.len();
        let (space, _) = spaces.into_iter().find(|(_, count)| half(*count))?;
        let own = counts
            .into_iter()
            .filter(|(service, _)| service.namespace == space);
        own.max_by_key(|(service, count)| (*count, *service))
    }

    /// The storm that there is or was a moment ago.
    pub fn storm(&self, now: Mono) -> Option<ChurnStorm> {
        self.storm.filter(|storm| now < storm.until())
    }
}
