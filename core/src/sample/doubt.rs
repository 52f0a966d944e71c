//! When an observer fails: what it has measured before counts for less long.
//!
//! One scrape that fails makes no gap, so a sample counts for two intervals and a half. Where it is the observer that fails,
//! and not one scrape, nothing is gained by waiting: no answer, an answer without anything new, or one in which many of those
//! that it had are missing, as of a shard that is gone.

use super::metric::{Metric, MetricKind, Of};
use super::series::{DroppedSamples, Folded};
use super::store::{Brought, SeriesKey, Taken, Touched, count};
use super::{Observer, Page, PageScope, SampleSubject, Samples, Why};
use crate::know::Mono;

/// So many subjects that are missing in an answer, and one in so many of those it had, are more than a scrape that failed.
const MISSING: usize = 2;
const MISSING_OF: usize = 4;

impl DroppedSamples {
    /// Counts what became of a sample.
    pub(super) const fn note(&mut self, folded: Folded) {
        match folded {
            Folded::New | Folded::Repeated => {}
            Folded::Late => count(&mut self.late),
            Folded::Future => count(&mut self.future),
            Folded::Stale => count(&mut self.stale),
            Folded::Reset => count(&mut self.resets),
            Folded::WrongUnit => count(&mut self.wrong_unit),
        }
    }
}

impl Samples {
    /// Why a value is none of its metric; counted.
    pub(super) fn wrong(&mut self, metric: Metric, value: f64) -> Option<Why> {
        if !value.is_finite() || value < 0.0 {
            count(&mut self.drops.not_a_number);
            return Some(Why::NotANumber);
        }
        let other_unit = metric.is_in_another_unit(value);
        other_unit.then(|| {
            count(&mut self.drops.wrong_unit);
            Why::WrongUnit
        })
    }

    /// The observer says nothing usable of one subject.
    pub(super) fn doubt_one(&mut self, key: SeriesKey, touched: &mut Touched) {
        if let Some(held) = self.series.get_mut(&key)
            && held.doubt()
        {
            touched.note(key.1);
        }
    }

    /// Looks at what a page should have brought and has not. `taken` are its samples, sorted.
    pub(super) fn doubt(
        &mut self,
        now: Mono,
        page: &Page<'_>,
        scope: PageScope,
        brought: &mut Brought,
        taken: &[Taken],
        touched: &mut Touched,
    ) {
        let overdue = brought.overdue.minus(brought.anew);
        if !overdue.is_empty() && brought.anew.is_empty() {
            brought.found.get_or_insert(Why::Stale);
        }
        let failed = match (page.gap, brought.found) {
            (Some(_), _) => page.metrics,
            (None, Some(_)) => page.metrics.minus(brought.anew),
            (None, None) => overdue,
        };
        for metric in failed.iter() {
            self.doubt_all((metric, page.observer, scope), |_| true, touched);
        }
        if page.observer == Observer::Prometheus && page.gap.is_none() {
            for metric in page.metrics.minus(failed).iter() {
                self.doubt_missing(now, (metric, page.observer, scope), taken, touched);
            }
        }
    }

    /// Doubts those that an answer does not have any more, where they are many.
    fn doubt_missing(
        &mut self,
        now: Mono,
        (metric, observer, scope): (Metric, Observer, PageScope),
        taken: &[Taken],
        touched: &mut Touched,
    ) {
        let has = |subject| {
            let found = taken.binary_search_by_key(&(metric, subject), |one| (one.0, one.1));
            found.is_ok()
        };
        let from = (metric, SampleSubject::Cluster, Observer::Prometheus);
        let held = self.series.range(from..).take_while(|(key, _)| key.0 == metric);
        let held = held.filter(|(key, one)| key.2 == observer && scope.holds(key.1) && one.is_fresh(now));
        let (held, missing) = held.fold((0, 0), |(held, missing), (key, _)| {
            (held + 1, missing + usize::from(!has(key.1)))
        });
        if missing >= MISSING && missing * MISSING_OF >= held {
            self.doubt_all((metric, observer, scope), |subject| !has(subject), touched);
        }
    }

    fn doubt_all(
        &mut self,
        (metric, observer, scope): (Metric, Observer, PageScope),
        which: impl Fn(SampleSubject) -> bool,
        touched: &mut Touched,
    ) {
        let from = (metric, SampleSubject::Cluster, Observer::Prometheus);
        let mut until: Option<Mono> = None;
        let all = self.series.range_mut(from..);
        for (key, held) in all.take_while(|(key, _)| key.0 == metric) {
            if key.2 == observer && scope.holds(key.1) && which(key.1) && held.doubt() {
                touched.note(key.1);
            }
            if held.value(metric).is_some() {
                until = until.max(Some(held.until()));
            }
        }
        if metric.of() == Of::Node
            && let Some(until) = until
        {
            self.nodes_until.insert(metric, until);
        }
    }
}

impl Metric {
    /// Whether this cannot be a value of it in its unit. What a counter says, its growth tells.
    fn is_in_another_unit(self, value: f64) -> bool {
        let (least, most) = self.bounds();
        let too_large = self.kind() == MetricKind::Gauge && value > most;
        too_large || (value > 0.0 && value < least)
    }
}
