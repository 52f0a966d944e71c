//! One page into the evidence: a tick.

use std::collections::BTreeMap;

use super::{BackendShare, MeasuredBackend, ServiceShares, ShareBounds, ShareHistory, TICKS, Took};
use crate::know::{Mono, Now};
use crate::names::{Key, Name};
use crate::sample::{Metric, Tenths};
use crate::statistics::{ShareEvidence, TickShare, TickWeight, dispersion, tick, tolerance, unsteadiness};

/// Counters are compared over at least so long, in tenths of a second: a page may bring one of several that are scraped one
/// after the other.
const SHORTEST: i32 = 50;
/// A backend whose last sample is so much older than the newest of all was not scraped: the others do not wait for it. In
/// seconds, and in intervals of its own where that is longer.
const LATE: f64 = 45.0;
const LATE_INTERVALS: f64 = 1.5;
/// One that has had so many times its share of one counts as having had a chance.
const CHANCE: f64 = 5.0;
/// Requests are judged once so many ticks have shown how much they come in clusters.
const CLUSTERED: usize = 8;
/// Nothing is said before so many ticks have shown that counters can be compared tick by tick.
const STEADY: usize = 3;
/// A connection may bring its requests over several ticks, so that clusters are looked for in so many at once as well.
const BLOCK: usize = 3;

impl ShareHistory {
    /// Takes what a page says of the backends of a Service: all that take new connections. `asked` is when it was asked.
    pub(crate) fn fold(
        &mut self,
        now: Now,
        (service, bounds): (Key, ShareBounds),
        metric: Metric,
        backends: &[MeasuredBackend<'_>],
        asked: Tenths,
    ) {
        let room = self.room(service.namespace);
        let held = self.services.entry(service).or_default();
        if held.get(&bounds).is_some_and(|held| held.metric != metric) {
            held.remove(&bounds);
        }
        let is_new = !held.contains_key(&bounds);
        let shares = held.entry(bounds).or_insert_with(|| ServiceShares {
            metric,
            upto: None,
            compared: false,
            folded: now.mono,
            backends: Vec::new(),
        });
        shares.folded = now.mono;
        let measured: BTreeMap<u32, &MeasuredBackend<'_>> =
            backends.iter().map(|one| (one.pod, one)).collect();
        let last = measured.values().filter_map(|one| one.reading?.last());
        let newest = last.fold(asked, Tenths::max);
        shares.meet(now, bounds, &measured, (newest, is_new), room);
        let joined = |one: &BackendShare| {
            let grace = u64::from(bounds.grace_seconds) * 1000;
            one.came.is_none_or(|came| now.mono.since(came) >= grace)
        };
        let joined: Vec<bool> = shares.backends.iter().map(joined).collect();
        let tolerance = tolerance(bounds.tolerance_percent);
        if metric == Metric::BackendActive {
            shares.levels(now.mono, &measured, &joined, tolerance);
        } else {
            shares.growths(now.mono, &measured, &joined, tolerance);
        }
    }
}

impl ServiceShares {
    /// Brings the backends up to date: those that are gone are forgotten, those that come are compared from
    /// now on.
    fn meet(
        &mut self,
        now: Now,
        bounds: ShareBounds,
        measured: &BTreeMap<u32, &MeasuredBackend<'_>>,
        (newest, is_new): (Tenths, bool),
        room: usize,
    ) {
        self.leave(|pod| measured.contains_key(&pod));
        let known: BTreeMap<u32, usize> = self
            .backends
            .iter()
            .enumerate()
            .map(|(at, one)| (one.pod, at))
            .collect();
        let mut new = Vec::new();
        for (pod, one) in measured {
            if let Some(held) = known.get(pod).and_then(|at| self.backends.get_mut(*at)) {
                if held.place != one.place {
                    held.place = one.place;
                    held.forget();
                }
                continue;
            }
            // When those became ready that were there before is not known; a Pod that has just started is a newcomer.
            let age = one
                .started
                .map(|at| now.wall.0.saturating_sub(at.0).max(0).unsigned_abs());
            let young = age.filter(|age| *age < u64::from(bounds.grace_seconds));
            let came = match (is_new, young) {
                (false, _) => Some(now.mono),
                (true, Some(age)) => Some(Mono(now.mono.0.saturating_sub(age * 1000))),
                (true, None) => None,
            };
            new.push(BackendShare {
                pod: *pod,
                name: one.name,
                place: one.place,
                from: newest,
                seen: now.mono,
                came,
                evidence: ShareEvidence::default(),
                growing: 0,
                wrong: None,
                ticks: Vec::new(),
            });
        }
        self.backends.extend(new.into_iter().take(room));
        self.backends.sort_unstable_by_key(|one| one.pod);
    }

    /// Takes counters.
    fn growths(
        &mut self,
        now: Mono,
        measured: &BTreeMap<u32, &MeasuredBackend<'_>>,
        joined: &[bool],
        tolerance: f64,
    ) {
        let reading = |one: &BackendShare| measured.get(&one.pod)?.reading;
        let Some(newest) = self
            .backends
            .iter()
            .filter_map(|one| reading(one)?.last())
            .reduce(Tenths::max)
        else {
            return;
        };
        let on_time = |one: &BackendShare| {
            let reading = reading(one)?;
            let last = reading.last()?;
            let late = reading
                .interval()
                .map_or(LATE, |interval| LATE.max(interval * LATE_INTERVALS));
            (f64::from(newest.since(last)) / 10.0 <= late).then_some(last)
        };
        let compared = self.backends.iter().zip(joined).filter(|one| *one.1);
        let Some(to) = compared.filter_map(|(one, _)| on_time(one)).reduce(Tenths::min) else {
            return;
        };
        let Some(from) = self.upto else {
            self.upto = Some(to);
            return;
        };
        let passed = to.since(from);
        if passed < SHORTEST {
            return;
        }
        self.upto = Some(to);
        self.compared = true;
        let counts: Vec<Option<f64>> = self
            .backends
            .iter()
            .zip(joined)
            .map(|(one, joined)| {
                let counts = *joined && from.since(one.from) >= 0;
                reading(one).filter(|_| counts)?.growth(from, to)
            })
            .collect();
        self.compare(now, &counts, f64::from(passed) / 10.0, tolerance);
    }

    /// Takes levels: each look is evidence of its own, as the same connections are open at the next.
    fn levels(
        &mut self,
        now: Mono,
        measured: &BTreeMap<u32, &MeasuredBackend<'_>>,
        joined: &[bool],
        tolerance: f64,
    ) {
        for one in &mut self.backends {
            one.evidence = ShareEvidence::default();
        }
        let each = self.backends.iter().zip(joined);
        let counts: Vec<Option<f64>> = each
            .map(|(one, joined)| Some(measured.get(&one.pod)?.reading.filter(|_| *joined)?.value))
            .collect();
        self.compared |= counts.iter().any(Option::is_some);
        self.compare(now, &counts, 0.0, tolerance);
    }

    /// Compares the backends of each place.
    fn compare(&mut self, now: Mono, counts: &[Option<f64>], seconds: f64, tolerance: f64) {
        let mut places: BTreeMap<[Name; 3], Vec<usize>> = BTreeMap::new();
        for (at, (one, count)) in self.backends.iter().zip(counts).enumerate() {
            if count.is_some() {
                places.entry(one.place).or_default().push(at);
            }
        }
        let mut took = vec![Took::default(); self.backends.len()];
        for members in places.values() {
            let each = members.iter().filter_map(|at| counts.get(*at).copied().flatten());
            let total: f64 = each.sum();
            let due = total / f64::from(u32::try_from(members.len()).unwrap_or(u32::MAX));
            for at in members {
                if let (Some(took), Some(Some(count))) = (took.get_mut(*at), counts.get(*at)) {
                    *took = Took {
                        count: *count,
                        due,
                        total,
                        seconds,
                    };
                }
            }
            let ticks = self.ticks_of(members, &took);
            if let Some(scale) = self.scale(&ticks).filter(|_| members.len() > 1) {
                let is_sure = self.metric == Metric::BackendActive || ticks.len() >= STEADY;
                self.tell(now, members, &took, (scale, tolerance, is_sure));
            }
        }
        for (one, took) in self.backends.iter_mut().zip(took) {
            if one.ticks.len() >= TICKS {
                one.ticks.remove(0);
            }
            one.ticks.push(took);
            let lately = one.lately();
            if lately.due >= CHANCE && lately.count * 2.0 >= lately.due {
                one.came = None;
            }
        }
    }

    /// Adds to the evidence what the backends of one place got.
    fn tell(
        &mut self,
        now: Mono,
        members: &[usize],
        took: &[Took],
        (scale, tolerance, is_sure): (f64, f64, bool),
    ) {
        let metric = self.metric;
        let mut own = members.iter().copied().peekable();
        let mut group: Vec<(&mut BackendShare, Took)> = Vec::with_capacity(members.len());
        for (at, one) in self.backends.iter_mut().enumerate() {
            if own.next_if_eq(&at).is_some()
                && let Some(took) = took.get(at)
            {
                group.push((one, *took));
            }
        }
        let mut ticks: Vec<TickShare<'_>> = group
            .iter_mut()
            .map(|(one, took)| TickShare {
                evidence: &mut one.evidence,
                count: took.count / scale,
                share: 1.0,
            })
            .collect();
        let at_most = if metric == Metric::BackendActive {
            TickWeight::All
        } else {
            TickWeight::Half
        };
        tick(tolerance, &mut ticks, at_most);
        let mut is_over = false;
        for (one, took) in &mut group {
            one.growing = if one.evidence.log() > 0.0 {
                one.growing + 1
            } else {
                0
            };
            if one.wrong.is_some() {
                is_over |= one.evidence.is_over();
            } else if is_sure && one.evidence.is_enough() && one.is_beyond(*took, tolerance) {
                let took = match metric {
                    Metric::BackendActive => *took,
                    _ => one.took_since(*took),
                };
                one.wrong = Some((now, took));
            }
        }
        if is_over {
            for (one, _) in &mut group {
                one.forget();
            }
        }
    }

    /// What each of these backends got in each tick in which all of them were compared, the newest first.
    fn ticks_of(&self, members: &[usize], took: &[Took]) -> Vec<Vec<f64>> {
        let own: Vec<(&BackendShare, &Took)> = members
            .iter()
            .filter_map(|at| Some((self.backends.get(*at)?, took.get(*at)?)))
            .collect();
        let length = own.iter().map(|one| one.0.ticks.len()).min().unwrap_or_default();
        let nth = |back: usize, one: &(&BackendShare, &Took)| match back.checked_sub(1) {
            None => Some(*one.1),
            Some(back) => one.0.ticks.iter().rev().nth(back).copied(),
        };
        (0..=length)
            .filter_map(|back| {
                let tick: Vec<Took> = own.iter().map(|one| nth(back, one)).collect::<Option<_>>()?;
                let compared = tick.iter().all(|took| took.due > 0.0);
                compared.then(|| tick.iter().map(|took| took.count).collect())
            })
            .collect()
    }

    /// By what counts are divided, so that each counts for as much as an independent one: requests by how much they come in
    /// clusters, once that is known; connections by nothing, as long as their counters can be compared tick by tick.
    fn scale(&self, ticks: &[Vec<f64>]) -> Option<f64> {
        match self.metric {
            Metric::BackendRequests => {
                // Without the last one, which is what is asked about.
                let before = ticks.get(1..).filter(|before| before.len() >= CLUSTERED)?;
                let blocks: Vec<Vec<f64>> = before.chunks_exact(BLOCK).map(sum).collect();
                let single = dispersion(before)?;
                let clusters = dispersion(&blocks).map_or(single, |blocks| blocks.max(single));
                Some(clusters.max(unsteadiness(ticks)))
            }
            Metric::BackendActive => Some(1.0),
            _ => Some(unsteadiness(ticks)),
        }
    }
}

/// What each backend got in several ticks.
fn sum(ticks: &[Vec<f64>]) -> Vec<f64> {
    let mut all = ticks.iter();
    let first = all.next().cloned().unwrap_or_default();
    all.fold(first, |sum, tick| {
        sum.iter().zip(tick).map(|(a, b)| a + b).collect()
    })
}
