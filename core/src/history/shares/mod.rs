//! How the backends of a Service share what reaches them: evidence that one of them gets another share than its own.
//!
//! Each page is folded once, as one tick: what each backend got since the last one. Counters that were scraped at different
//! times are compared over the same time ([`Reading::growth`]); a backend that came meanwhile, was restarted, was not scraped, or
//! has not been ready for as long as newcomers may take is left out of that tick, and the others go on: given what reaches
//! them together, their shares are as even as before.
//!
//! Evidence is kept per backend and survives the coming and going of others. It is forgotten with its backend, and all of it
//! when what was wrong is right again: what the others got instead is then over as well.

mod fold;

use std::collections::BTreeMap;

use crate::know::{Mono, Wall};
use crate::names::{InUse, Key, Name};
use crate::policy::Balance;
use crate::sample::{Metric, Reading, Tenths};
use crate::statistics::ShareEvidence;

/// Most backends that are remembered, in all: 1 KiB each, so 16 MiB. Those beyond are not judged, and the check says so.
const MOST: usize = 16_384;
/// The same of one namespace.
const MOST_OF_NAMESPACE: usize = 4_096;
/// For how long evidence is kept of a Service of which nothing comes, in milliseconds.
const KEPT: u64 = 600_000;
/// How often what is too old is dropped, in milliseconds.
const SWEEP: u64 = 60_000;
/// How many ticks are remembered of each backend: what messages say it took, and how much requests come in clusters.
const TICKS: usize = 24;

/// One that gets no more than one in so many of its share gets nothing: a stray connection is no traffic.
const NOTHING: f64 = 50.0;
/// Where so much was its share, it is by no chance that it got nothing.
const SURE: f64 = 20.0;

/// By what shares are judged, as a policy declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareBounds {
    /// By how many percent of it a share may deviate.
    pub tolerance_percent: u32,
    /// How long a ready backend may take to reach its share, in seconds.
    pub grace_seconds: u32,
}

impl ShareBounds {
    /// Those that a policy declares.
    pub const fn of(balance: &Balance) -> Self {
        Self {
            tolerance_percent: balance.tolerance_percent,
            grace_seconds: balance.newcomer_grace_seconds,
        }
    }
}

/// A backend that takes new connections, and what was measured of it.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredBackend<'a> {
    /// A hash of its Pod, as endpoints have it.
    pub pod: u32,
    /// Name of its Pod.
    pub name: Name,
    /// Where it is: only backends of one place have alike shares.
    pub place: [Name; 3],
    /// When its Pod started.
    pub started: Option<Wall>,
    /// What was measured, where that is known.
    pub reading: Option<Reading<'a>>,
}

/// What a backend got in some time, beside what was its share.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Took {
    /// How much it got.
    pub count: f64,
    /// How much its share was.
    pub due: f64,
    /// How much it and those that it is compared with got together.
    pub total: f64,
    /// In how many seconds; 0 for what is open at the moment.
    pub seconds: f64,
}

impl Took {
    fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            due: self.due + other.due,
            total: self.total + other.total,
            seconds: self.seconds + other.seconds,
        }
    }
}

/// What is remembered of a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendShare {
    /// A hash of its Pod, as endpoints have it.
    pub pod: u32,
    /// Name of its Pod.
    pub name: Name,
    place: [Name; 3],
    /// It is compared from this moment of the observer's clock on.
    from: Tenths,
    /// Since when it is known here.
    pub seen: Mono,
    /// When it was seen to become ready, until it has once reached half of its share.
    pub came: Option<Mono>,
    evidence: ShareEvidence,
    /// For how many ticks the evidence has been there.
    growing: usize,
    /// Since when its share is another, and what it took until that was sure: this stays as it is as long as it holds.
    pub wrong: Option<(Mono, Took)>,
    ticks: Vec<Took>,
}

impl BackendShare {
    /// Begins anew: there is no evidence.
    fn forget(&mut self) {
        self.evidence = ShareEvidence::default();
        self.growing = 0;
        self.wrong = None;
    }

    /// Whether what it got is beyond the tolerance even with what came before the evidence began: where a burst of connections
    /// was counted in one tick here and in the next one there, that puts it right.
    fn is_beyond(&self, last: Took, tolerance: f64) -> bool {
        let before = self.ticks.iter().rev().filter(|tick| tick.total > 0.0);
        let all = before.take(self.growing).copied().fold(last, Took::and);
        (all.count - all.due).abs() > all.due * tolerance
    }

    /// What it got since the evidence began; of one that gets nothing any more, since it gets nothing.
    fn took_since(&self, last: Took) -> Took {
        let before = || {
            self.ticks
                .iter()
                .rev()
                .take(self.growing.saturating_sub(1))
                .copied()
        };
        let is_nothing = |tick: &Took| tick.count * NOTHING <= tick.due;
        if is_nothing(&last) {
            let nothing = before().take_while(is_nothing).fold(last, Took::and);
            if nothing.due >= SURE {
                return nothing;
            }
        }
        before().fold(last, Took::and)
    }

    /// Whether it gets less than its share, where it is another.
    pub fn gets_less(&self) -> bool {
        self.wrong.is_some_and(|(_, took)| took.count < took.due)
    }

    /// Whether it is ready for longer than this, in milliseconds, and has never reached half of its share since it came.
    pub fn never_reached(&self, now: Mono, grace: u64) -> bool {
        self.came.is_some_and(|came| now.since(came) >= grace)
    }

    /// Where it is: only backends of one place have alike shares.
    pub const fn place(&self) -> [Name; 3] {
        self.place
    }

    /// What it got over the ticks that are remembered.
    pub fn lately(&self) -> Took {
        self.ticks.iter().copied().fold(Took::default(), Took::and)
    }
}

/// The shares of the backends of one Service, by one pair of bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceShares {
    metric: Metric,
    /// Up to when counters have been compared, by the observer's clock.
    upto: Option<Tenths>,
    /// Whether anything was compared yet.
    pub compared: bool,
    folded: Mono,
    backends: Vec<BackendShare>,
}

impl ServiceShares {
    /// Every backend, in no order that means anything.
    pub fn backends(&self) -> &[BackendShare] {
        &self.backends
    }

    /// Forgets the backends that do not stay. Where one goes of which the share was another, so does what the others got
    /// because of it.
    fn leave(&mut self, stays: impl Fn(u32) -> bool) {
        let gone = self.backends.iter().filter(|one| !stays(one.pod));
        let any_wrong = gone.filter(|one| one.wrong.is_some()).count() > 0;
        self.backends.retain(|one| stays(one.pod));
        if any_wrong {
            self.backends.iter_mut().for_each(BackendShare::forget);
        }
    }

    /// The backend whose share was the first to be another, among those that count; of equal ones that with the smaller part
    /// of its share. The shares of others are others because of it.
    pub fn first_wrong(&self, counts: impl Fn(&BackendShare) -> bool) -> Option<(&BackendShare, Took)> {
        let wrong = self.backends.iter().filter(|one| counts(one));
        let wrong = wrong.filter_map(|one| Some((one, one.wrong?)));
        let first = wrong.min_by(|(a, (since, took)), (b, (other_since, other))| {
            let part = |took: &Took| took.count / took.due.max(1.0);
            since
                .cmp(other_since)
                .then(part(took).total_cmp(&part(other)))
                .then(a.pod.cmp(&b.pod))
        });
        first.map(|(one, (_, took))| (one, took))
    }
}

/// The shares of the backends of every Service of which they are measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ShareHistory {
    services: BTreeMap<Key, BTreeMap<ShareBounds, ServiceShares>>,
    swept: Mono,
}

impl ShareHistory {
    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.services.keys());
        let all = self.services.values().flat_map(BTreeMap::values);
        let backends = all.flat_map(|one| &one.backends);
        held.all(backends.map(|one| (one.name, one.place)));
    }

    /// What is known of a Service by these bounds.
    pub fn of(&self, service: Key, bounds: ShareBounds) -> Option<&ServiceShares> {
        self.services.get(&service)?.get(&bounds)
    }

    /// Forgets a Service, but by bounds that are kept.
    pub(crate) fn keep(&mut self, service: Key, kept: impl Fn(ShareBounds) -> bool) {
        if let Some(held) = self.services.get_mut(&service) {
            held.retain(|bounds, _| kept(*bounds));
            if held.is_empty() {
                self.services.remove(&service);
            }
        }
    }

    /// Whether anything is remembered of a Service.
    pub(crate) fn has(&self, service: Key) -> bool {
        self.services.contains_key(&service)
    }

    /// Forgets the backends of a Service that take no new connections any more: one that comes back is a newcomer.
    pub(crate) fn retain(&mut self, service: Key, usable: impl Fn(u32) -> bool) {
        for held in self
            .services
            .get_mut(&service)
            .into_iter()
            .flat_map(BTreeMap::values_mut)
        {
            held.leave(&usable);
        }
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Mono) {
        if now.since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        self.services.retain(|_, held| {
            held.retain(|_, one| now.since(one.folded) < KEPT);
            !held.is_empty()
        });
    }

    /// For how many more backends of a namespace there is room.
    fn room(&self, namespace: Name) -> usize {
        let (mut all, mut own) = (0, 0);
        for (key, held) in &self.services {
            let count: usize = held.values().map(|one| one.backends.len()).sum();
            all += count;
            own += if key.namespace == namespace { count } else { 0 };
        }
        MOST.saturating_sub(all)
            .min(MOST_OF_NAMESPACE.saturating_sub(own))
    }
}
