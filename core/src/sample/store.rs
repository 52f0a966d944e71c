//! What is kept of all samples.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::agreement::differ;
use super::answers::Answers;
use super::calm::CalmLevels;
use super::metric::{Metric, Metrics, Of};
use super::reading::Reading;
use super::series::{DroppedSamples, Folded, Series};
use super::{Observer, Page, PageGap, PageScope, SampleSubject, Why};
use crate::know::{Gap, Known, Mono};
use crate::names::{InUse, Key, Name};

/// Most series in all. One takes about 200 bytes with its points, so that is about 50 MB at most; a cluster of 5,000 nodes
/// that one Prometheus measures has 60,000.
pub const MOST_SERIES: usize = 262_144;
/// How often what no longer counts is forgotten, in milliseconds.
const SWEEP: u64 = 60_000;

/// What a series is of, and who says it.
pub(super) type SeriesKey = (Metric, SampleSubject, Observer);

/// A sample of a subject that the API shows: metric, subject, value and time.
pub(super) type Taken = (Metric, SampleSubject, f64, i64);

/// What a page has brought.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// Metrics of which something is newer than before.
    pub(super) anew: Metrics,
    /// Metrics of which something is as before, and should be newer by now.
    pub(super) overdue: Metrics,
    /// What is wrong with some of it.
    pub(super) found: Option<Why>,
}

/// What a page has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Nodes of which a check may say something else.
    pub(crate) nodes: BTreeSet<Name>,
    /// Services of which backends were measured.
    pub(crate) services: BTreeSet<Key>,
    /// Whether an API server or the cluster was measured.
    pub(crate) instances: bool,
    /// Whether it is another reason why something is missing, or other metrics are measured at all.
    pub(crate) gaps: bool,
}

/// All samples that count, by metric, subject and observer.
#[derive(Debug, Default)]
pub struct Samples {
    /// Who is asked at all, in order.
    observers: Vec<Observer>,
    pub(super) series: BTreeMap<SeriesKey, Series>,
    pub(super) answers: Answers,
    /// Of which values of Nodes no check says anything.
    levels: CalmLevels,
    /// Until when at least one node has a value of a metric.
    pub(super) nodes_until: BTreeMap<Metric, Mono>,
    /// The metrics of which at least one node has a value, as of the last tick.
    on_nodes: Metrics,
    pub(super) drops: DroppedSamples,
    swept: Mono,
}

impl Samples {
    /// Notes the names that it holds.
    pub(crate) fn hold(&self, held: &mut InUse) {
        held.all(self.series.keys());
        self.answers.hold(held);
    }

    /// Says who is asked; what others have said is forgotten. Returns whether that is a change.
    pub(crate) fn observe(&mut self, observers: &[Observer]) -> bool {
        let mut observers = observers.to_vec();
        observers.sort_unstable();
        observers.dedup();
        if self.observers == observers {
            return false;
        }
        self.series.retain(|key, _| observers.contains(&key.2));
        self.answers.keep_only(&observers);
        self.observers = observers;
        true
    }

    /// Takes the levels up to which Nodes are well.
    pub(crate) const fn set_levels(&mut self, levels: CalmLevels) {
        self.levels = levels;
    }

    /// Whether anybody is asked: without an observer nothing is measured, and no check asks for it.
    pub fn is_observed(&self) -> bool {
        !self.observers.is_empty()
    }

    /// Who is asked.
    pub fn observers(&self) -> &[Observer] {
        &self.observers
    }

    /// What was not taken, since the beginning.
    pub const fn drops(&self) -> DroppedSamples {
        self.drops
    }

    /// How many series are kept.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        let one = size_of::<SeriesKey>() + size_of::<Series>();
        let points: usize = self.series.values().map(Series::heap).sum();
        self.series.len() * one + points
    }

    /// Takes a page once. `known` gives the subject as the API shows it, if it does.
    pub(crate) fn fold(
        &mut self,
        now: Mono,
        page: &Page<'_>,
        scope: Option<PageScope>,
        mut known: impl FnMut(SampleSubject<&str>) -> Option<SampleSubject>,
    ) -> Touched {
        let mut touched = Touched::default();
        let Some(scope) = scope.filter(|_| self.observers.contains(&page.observer)) else {
            let count = u32::try_from(page.samples.len()).unwrap_or(u32::MAX);
            self.drops.not_asked = self.drops.not_asked.saturating_add(count);
            return touched;
        };
        let mut taken: Vec<Taken> = Vec::with_capacity(page.samples.len());
        let mut brought = Brought::default();
        // Samples of one subject stand together, most often: it is looked up once.
        let mut last = None;
        for sample in page.samples {
            let metric = sample.metric;
            let of = of(sample.subject);
            if !page.metrics.has(metric) || metric.of() != of || !page.scope.holds(sample.subject) {
                count(&mut self.drops.not_asked);
                continue;
            }
            let subject = match last {
                Some((text, subject)) if text == sample.subject => subject,
                _ => known(sample.subject),
            };
            last = Some((sample.subject, subject));
            let Some(subject) = subject else {
                count(&mut self.drops.no_subject);
                continue;
            };
            if let Some(why) = self.wrong(metric, sample.value) {
                brought.found.get_or_insert(why);
                self.doubt_one((metric, subject, page.observer), &mut touched);
            } else {
                taken.push((metric, subject, sample.value, sample.at));
            }
        }
        taken.sort_unstable_by_key(|one| (one.0, one.1));
        let mut rest = &taken[..];
        let (mut of_metric, mut counted) = (None, 0);
        while let Some(first) = rest.first() {
            let same = rest.iter().take_while(|one| (one.0, one.1) == (first.0, first.1));
            let (one, more) = rest.split_at(same.count());
            rest = more;
            if of_metric.replace(first.0) != Some(first.0) {
                counted = 0;
            }
            counted += 1;
            let [only] = one else {
                self.drops.duplicate = self.drops.duplicate.saturating_add(one.len() as u32);
                brought.found.get_or_insert(Why::Duplicate);
                self.doubt_one((first.0, first.1, page.observer), &mut touched);
                continue;
            };
            if counted > only.0.of().most() {
                count(&mut self.drops.beyond);
                brought.found.get_or_insert(Why::TooLarge);
            } else {
                self.one(now, page, *only, &mut brought, &mut touched);
            }
        }
        self.doubt(now, page, scope, &mut brought, &taken, &mut touched);
        let found = brought.found.map(|why| PageGap { why, detail: "" });
        touched.gaps |= self.answers.note(now, page, scope, page.gap.or(found));
        touched.gaps |= self.tick(now);
        touched
    }

    /// Takes one sample.
    fn one(
        &mut self,
        now: Mono,
        page: &Page<'_>,
        (metric, subject, value, at): Taken,
        brought: &mut Brought,
        touched: &mut Touched,
    ) {
        let every = u64::from(page.observer.every_seconds(metric)) * 1000;
        let key = (metric, subject, page.observer);
        let limit = || {
            let limit = self.series.get(&(Metric::ConntrackLimit, subject, page.observer));
            limit.filter(|held| held.is_fresh(now)).map(Series::last)
        };
        let level = self.levels.level(metric, limit);
        let is_full = self.series.len() >= MOST_SERIES;
        let mut place = self.series.entry(key);
        let lasts = |held: &Series| held.value(metric).map(|_| held.until());
        let (folded, changed, until) = match &mut place {
            // One that counts no longer is as good as forgotten, whether or not it was swept.
            Entry::Occupied(held) if held.get().is_fresh(now) => {
                let held = held.get_mut();
                let before = (held.value(metric), calm(held, metric, level));
                let folded = held.fold(metric, (value, at), page.asked, now, every);
                let after = (held.value(metric), calm(held, metric, level));
                let same = metric.points() == 1 && before == after;
                // A counter that has a rate for the first time is news, however calm.
                let known = before.0.is_some() && after.0.is_some();
                let calm = known && before.1 && after.1 && held.is_fresh(now);
                if folded == Folded::Repeated && held.is_overdue(page.asked) {
                    brought.overdue = brought.overdue.with(Metrics::of(&[metric]));
                }
                (folded, !(same || calm), lasts(held))
            }
            Entry::Vacant(_) if is_full => {
                count(&mut self.drops.beyond);
                brought.found.get_or_insert(Why::TooLarge);
                return;
            }
            _ => match Series::begin(metric, (value, at), page.asked, now, every) {
                Ok(series) => {
                    let until = lasts(&series);
                    match place {
                        Entry::Occupied(mut held) => drop(held.insert(series)),
                        Entry::Vacant(free) => _ = free.insert(series),
                    }
                    (Folded::New, true, until)
                }
                Err(why) => (why, false, None),
            },
        };
        self.drops.note(folded);
        match folded {
            Folded::New | Folded::Reset => {
                brought.anew = brought.anew.with(Metrics::of(&[metric]));
                if changed {
                    touched.note(subject);
                }
                if metric.of() == Of::Node
                    && let Some(until) = until
                {
                    let latest = self.nodes_until.entry(metric).or_default();
                    *latest = (*latest).max(until);
                }
            }
            Folded::WrongUnit => {
                brought.found.get_or_insert(Why::WrongUnit);
                touched.note(subject);
            }
            Folded::Stale => drop(brought.found.get_or_insert(Why::Stale)),
            Folded::Repeated | Folded::Late | Folded::Future => {}
        }
    }

    /// Lets time pass: forgets what no longer counts; says whether other metrics are measured on nodes at all, or what is
    /// said of a gap is another reason.
    pub(crate) fn tick(&mut self, now: Mono) -> bool {
        if now.since(self.swept) >= SWEEP {
            self.swept = now;
            self.series.retain(|_, held| held.is_fresh(now));
        }
        let forgotten = self.answers.forget_old(now);
        let on_nodes = self.nodes_until.iter().filter(|one| now < *one.1);
        let on_nodes = on_nodes.fold(Metrics::NONE, |set, one| set.with(Metrics::of(&[*one.0])));
        (std::mem::replace(&mut self.on_nodes, on_nodes) != on_nodes) | forgotten
    }

    /// When time alone may change something. A series that no longer counts is forgotten when something else happens.
    pub(crate) fn due(&self) -> Option<Mono> {
        let ends = self.nodes_until.iter().filter(|one| self.on_nodes.has(*one.0));
        ends.map(|one| *one.1).chain(self.answers.due()).min()
    }

    /// Forgets what was measured on a subject that is gone.
    pub(crate) fn forget(&mut self, subject: SampleSubject) {
        for metric in Metric::ALL {
            for observer in Observer::ALL {
                self.series.remove(&(metric, subject, observer));
            }
        }
    }

    /// The same of the Pods behind a Service.
    pub(crate) fn forget_service(&mut self, gone: Key) {
        if self.series.is_empty() {
            return;
        }
        let of = |subject| matches!(subject, SampleSubject::Backend { namespace, service, .. } if gone == Key { namespace, name: service });
        self.series.retain(|key, _| !of(key.1));
    }

    /// The same of one Pod, behind whatever Services of its namespace.
    pub(crate) fn forget_pod(&mut self, gone: Key) {
        let of = |subject| matches!(subject, SampleSubject::Backend { namespace, .. } if namespace == gone.namespace);
        let from = SampleSubject::Backend {
            namespace: gone.namespace,
            service: Name::EMPTY,
            port: 0,
            pod: Name::EMPTY,
        };
        let mut subjects = BTreeSet::new();
        for metric in Metrics::on(Of::Backend).iter() {
            let all = self.subjects(metric, from, of).into_iter();
            subjects.extend(
                all.filter(|one| matches!(one, SampleSubject::Backend { pod, .. } if *pod == gone.name)),
            );
        }
        for subject in subjects {
            self.forget(subject);
        }
    }

    /// Why no node at all has any of these metrics; `None` where one has.
    pub(crate) fn none_on_nodes(&self, metrics: Metrics) -> Option<Gap> {
        let some = !self.on_nodes.both(metrics).is_empty();
        let first = metrics.iter().find(|one| one.of() == Of::Node)?;
        (!some).then(|| {
            self.answers
                .missing(&self.observers, first, SampleSubject::Node(Name::EMPTY))
        })
    }

    /// What is known of a metric of a subject, and until when. Where two observers differ by more than is usual, nothing is.
    pub(crate) fn reading(
        &self,
        now: Mono,
        metric: Metric,
        subject: SampleSubject,
    ) -> (Known<Reading<'_>>, Option<Mono>) {
        let held = |observer: &Observer| {
            let held = self.series.get(&(metric, subject, *observer))?;
            held.is_fresh(now).then_some((*observer, held))
        };
        let mut until = None;
        let mut best: Option<(Observer, &Series)> = None;
        for (observer, series) in self.observers.iter().filter_map(held) {
            until = until.into_iter().chain([series.until()]).min();
            let Some((other, held)) = best else {
                best = Some((observer, series));
                continue;
            };
            if let Some(gap) = differ(metric, (other, held), (observer, series)) {
                return (Err(gap), until);
            }
            if series.points().len() > held.points().len() {
                best = Some((observer, series));
            }
        }
        let Some((observer, series)) = best else {
            return (Err(self.answers.missing(&self.observers, metric, subject)), until);
        };
        let reading = series.value(metric).map(|value| Reading {
            metric,
            observer,
            value,
            points: series.points(),
            base: series.base(),
            last: series.last(),
        });
        let few = || {
            if series.is_in_another_unit() {
                // No next sample is waited for.
                let why = Why::WrongUnit.text();
                Gap::Unmeasured(format!("{}: {observer} {why}", metric.name()).into())
            } else {
                Gap::TooFewSamples(metric.name().into())
            }
        };
        (reading.ok_or_else(few), until)
    }

    /// Until when samples of all these metrics of a Node count; `None` where one of them does not.
    pub(crate) fn all_until(&self, now: Mono, metrics: Metrics, node: Name) -> Option<Mono> {
        let mut all: Option<Mono> = None;
        for metric in metrics.iter() {
            let of = |observer: &Observer| self.series.get(&(metric, SampleSubject::Node(node), *observer));
            let mut measured = false;
            for held in self.observers.iter().filter_map(of) {
                if !held.is_fresh(now) {
                    return None;
                }
                measured = true;
                all = all.into_iter().chain([held.until()]).min();
            }
            if !measured {
                return None;
            }
        }
        all
    }

    /// The subjects of which a metric is kept, among those of a range: resources of an API server, backends of a Service.
    pub(crate) fn subjects(
        &self,
        metric: Metric,
        from: SampleSubject,
        holds: impl Fn(SampleSubject) -> bool,
    ) -> BTreeSet<SampleSubject> {
        let range = self.series.range((metric, from, Observer::Prometheus)..);
        let own = range.take_while(move |(key, _)| key.0 == metric && holds(key.1));
        own.map(|(key, _)| key.1).collect()
    }
}

impl Touched {
    pub(super) fn note(&mut self, subject: SampleSubject) {
        match subject {
            SampleSubject::Cluster | SampleSubject::Instance(_) | SampleSubject::Resource(..) => {
                self.instances = true;
            }
            SampleSubject::Node(name) => drop(self.nodes.insert(name)),
            SampleSubject::Backend {
                namespace, service, ..
            } => {
                self.services.insert(Key {
                    namespace,
                    name: service,
                });
            }
        }
    }
}

/// Whether no check says anything of a series, as it is and as it was; `level` is what is declared.
fn calm(series: &Series, metric: Metric, level: Option<f64>) -> bool {
    let is_calm = |value: f64| level.map_or_else(|| metric.is_calm(value), |level| value <= level);
    let mut points = series.points().iter();
    points.all(|point| is_calm(f64::from(point.value)))
}

/// What a metric would have to be measured on.
const fn of(subject: SampleSubject<&str>) -> Of {
    match subject {
        SampleSubject::Cluster => Of::Cluster,
        SampleSubject::Node(_) => Of::Node,
        SampleSubject::Instance(_) => Of::Instance,
        SampleSubject::Resource(..) => Of::Resource,
        SampleSubject::Backend { .. } => Of::Backend,
    }
}

pub(super) const fn count(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}
