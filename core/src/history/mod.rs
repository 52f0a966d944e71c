//! What was seen to change: windows, counters and since-when, folded from each input exactly once.
//!
//! The index knows how things are; this knows how they came to be so. Only a core that is fed all day has a history
//! ([`crate::Core::live`]); an audit has none. It is lost with the process, and what rests on it is Unknown until it
//! is long enough again.
//!
//! Three rules keep it honest:
//!
//! - Only what changes is folded: a row that equals the stored one never arrives here, so repeats and relists count
//!   nothing.
//! - What a first list brings is how things are, not something that happened. The same holds after a source could not be
//!   read, was silent for more than 30 seconds, or was listed anew after a silence: when it happened is not known. So
//!   for ten seconds after such an interruption, while the backlog comes in, a change does not count, and what is covered
//!   begins anew. A shorter silence that ends where it began has missed nothing.
//! - Ages are monotonic. The wall clock, which may jump, can keep a stored event from being counted but never make
//!   one count.
//!
//! # Memory
//!
//! Everything is bounded. Per subject: 80 bytes for an endpoint whose readiness changes, 72 for a Pod younger than two
//! minutes and for one that went within two minutes, 40 for an endpoint that is still starting, 56 for a node, 90 for a
//! Service whose endpoints came within a day, 300 for a workload on a node that Pods are evicted from, 1,024 for a
//! backend whose share is measured (at most 16,384 of these). In all, at most 32,768 of each of these (about 10 MB),
//! 8,192 failures and 8,192 flips of nodes (1 MB), 32,768 Pods that were made to go (1 MB), 2,048 workloads that lost
//! some (1.2 MB), and one count for each minute of a day (6 kB). A quiet cluster of 5,000 nodes has 56 bytes for each
//! node and nothing else.

mod backends;
mod churn;
mod events;
mod flips;
mod lookups;
mod newcomers;
mod nodes;
mod shares;
mod times;
mod turnover;
mod zones;

pub use backends::{Backends, FLAP_FLIPS, FLAP_WINDOW, Flapping};
pub use churn::{Churn, ChurnStorm, STORM_FACTOR, WARM_MINUTES};
pub use events::{EVICT_WINDOW, Events, Evicted, PREEMPT_WINDOW, Preempted};
pub use flips::{Flip, FlipAuthor, NodeFlips, Refill};
pub(crate) use lookups::Answer;
pub use lookups::{PodAnswer, PodQuery};
pub use newcomers::Starting;
pub use nodes::{Failure, NodeHistory, NodeSoftware, Past};
pub use shares::{BackendShare, MeasuredBackend, ServiceShares, ShareBounds, ShareHistory, Took};
pub use times::Times;
pub use zones::{Disruption, SHARE_PERCENT, Zone, Zones, disruption};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::index::{Freshness, Index, Part};
use crate::know::{Gap, Known, Mono, Now, Source, Wall};
use crate::names::{InUse, Key};
use crate::sources::disruption::PodDisruption;
use crate::sources::event::Event;
use crate::sources::slice::Slice;
use lookups::Lookups;

/// How long after an interruption what arrives is still taken for what was missed, in milliseconds: a watch that is
/// resumed delivers its backlog at once.
const BACKLOG: u64 = 10_000;

/// How long a source may be stale without history being interrupted, in milliseconds, when it goes on without a list:
/// then the watch was resumed where it ended and nothing was missed. What came meanwhile is counted late by at most this
/// and the time that silence is not noticed; the shortest window that anything is counted in is a minute.
const SHORT_SILENCE: u64 = 30_000;

/// How well a part of a source was covered over time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Since when nothing that happened can have been missed; short silences that missed nothing do not interrupt it.
    pub complete: Option<Mono>,
    /// Since when it is no longer fresh, having been so.
    pub lost: Option<Mono>,
    /// Why the API server refuses it, where that is the reason.
    pub refused: Option<Arc<str>>,
    /// When it became fresh again after a time in which something may have been missed.
    resumed: Option<Mono>,
    /// Whether a list has begun since it was lost: what it brings may have changed more than once.
    relisted: bool,
    /// The last moments at which it stopped being fresh.
    pub gaps: Times<8>,
    /// Short silences that did not interrupt it, in all.
    pub silences: u32,
}

impl Coverage {
    fn becomes(&mut self, now: Mono, freshness: &Freshness) {
        self.refused = match freshness {
            Freshness::Unreadable(why) => Some(why.clone()),
            Freshness::Missing | Freshness::Complete | Freshness::Stale => None,
        };
        match freshness {
            Freshness::Complete => {
                let resumed = self.lost.take();
                let missed = resumed.filter(|at| self.relisted || now.since(*at) > SHORT_SILENCE);
                if missed.is_some() || (resumed.is_some() && self.complete.is_none()) {
                    self.complete = Some(now);
                    self.resumed = Some(now);
                } else if resumed.is_some() {
                    self.silences = self.silences.saturating_add(1);
                }
                self.complete.get_or_insert(now);
                self.relisted = false;
            }
            // Whether anything was missed is known when it is read again.
            Freshness::Stale => self.lose(now),
            Freshness::Missing | Freshness::Unreadable(_) => {
                self.lose(now);
                self.complete = None;
            }
        }
    }

    fn lose(&mut self, now: Mono) {
        if self.lost.is_none() && self.complete.is_some() {
            self.lost = Some(now);
            self.gaps.push(now);
        }
    }

    /// Whether what arrives now counts as happening now.
    fn counts(&self, now: Mono) -> bool {
        self.complete.is_some()
            && match self.lost {
                None => self.resumed.is_none_or(|at| now.since(at) >= BACKLOG),
                Some(at) => !self.relisted && now.since(at) <= SHORT_SILENCE,
            }
    }

    /// Since when it is covered up to now.
    pub fn since(&self) -> Option<Mono> {
        self.complete.filter(|_| self.lost.is_none())
    }
}

/// What was seen to change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    live: bool,
    /// The moment of the input that is being folded.
    pub(crate) now: Mono,
    /// The same on the wall clock, for comparison with what objects say.
    pub(crate) wall: Wall,
    coverage: BTreeMap<(Source, Part), Coverage>,
    pub(crate) backends: Backends,
    pub(crate) nodes: NodeHistory,
    pub(crate) zones: Zones,
    pub(crate) events: Events,
    pub(crate) shares: ShareHistory,
    lookups: Lookups,
    /// Up to when it has been judged by.
    judged: Mono,
}

impl History {
    /// Notes the names that it holds.
    pub(crate) fn hold(&self, held: &mut InUse) {
        held.all(self.coverage.keys().map(|at| at.1));
        self.backends.hold(held);
        held.note(&self.nodes);
        held.note(&self.zones);
        self.events.hold(held);
        self.shares.hold(held);
    }

    /// The history of a core that is fed all day.
    pub(crate) fn live(now: Now) -> Self {
        Self {
            live: true,
            now: now.mono,
            wall: now.wall,
            judged: now.mono,
            ..Self::default()
        }
    }

    /// Whether anything is folded at all.
    pub const fn is_live(&self) -> bool {
        self.live
    }

    /// Takes note of how fresh a part of a source has become.
    pub(crate) fn freshness(&mut self, source: Source, part: Part, freshness: &Freshness) {
        if !self.live {
            return;
        }
        let now = self.now;
        if *freshness == Freshness::Missing && part != Part::Whole {
            // It is no longer read: what holds of the whole holds of it, and namespaces that went hold no memory.
            self.coverage.remove(&(source, part));
        } else {
            let held = self.coverage.entry((source, part)).or_default();
            held.becomes(now, freshness);
        }
        if (source, part) == (Source::EndpointSlices, Part::Whole) {
            self.backends
                .churn
                .sighted(now, *freshness == Freshness::Complete);
        }
    }

    /// A list of a source begins.
    pub(crate) fn begin(&mut self, source: Source) {
        if let Some(held) = self.coverage.get_mut(&(source, Part::Whole)) {
            held.relisted |= held.lost.is_some();
        }
    }

    /// Whether a change of this source is seen to happen now. While a first list runs, and after an interruption, it only
    /// shows the present state; what comes in or after a short silence is late, and counts.
    pub(crate) fn happens(&self, source: Source) -> bool {
        self.happens_in(source, Part::Whole)
    }

    /// The same of a part of it.
    pub(crate) fn happens_in(&self, source: Source, part: Part) -> bool {
        self.coverage_of(source, part)
            .is_some_and(|held| held.counts(self.now))
    }

    /// How well a source was covered as a whole.
    pub fn coverage(&self, source: Source) -> Option<&Coverage> {
        self.coverage_of(source, Part::Whole)
    }

    /// How well a part of a source was covered; without an entry of its own, the whole source.
    pub fn coverage_of(&self, source: Source, part: Part) -> Option<&Coverage> {
        let whole = || self.coverage.get(&(source, Part::Whole));
        self.coverage.get(&(source, part)).or_else(whole)
    }

    /// Since when nothing was missed of a source; `None` while it is not watched.
    pub fn watched_since(&self, source: Source) -> Option<Mono> {
        self.coverage(source).and_then(Coverage::since)
    }

    /// Whether nothing was missed of a part of a source for the last so many milliseconds; where something may have been,
    /// the answer is that history is too short.
    pub fn covers(&self, now: Mono, source: Source, part: Part, window: u64) -> Known<()> {
        let since = self.coverage_of(source, part).and_then(Coverage::since);
        if since.is_some_and(|since| now.since(since) >= window) {
            Ok(())
        } else {
            Err(Gap::WarmingUp(source, (window / 1000) as u32))
        }
    }

    /// Lets time pass: forgets what no window holds any more, and says whether history has become long enough for
    /// every unit, and whether there is a change to report.
    pub(crate) fn tick(&mut self, now: Mono) -> (bool, bool) {
        if !self.live {
            return (false, false);
        }
        let storm = |history: &Self| history.backends.churn.storm(now).map(|storm| storm.minutes);
        let before = storm(self);
        self.now = self.now.max(now);
        self.backends.tick(now);
        self.nodes.tick(now);
        self.events.tick(now);
        self.shares.tick(now);
        let reached = self.reached().is_some_and(|at| at <= now);
        self.judged = self.judged.max(now);
        (reached, storm(self) != before)
    }

    /// When time alone may change something.
    pub(crate) fn due(&self) -> Option<Mono> {
        [self.reached(), self.backends.churn.due(), self.lookups.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// When slices have been seen for as long as it takes to say that endpoints do not flap: that is waited for by every
    /// Service, so that everything is judged then. Other checks ask to be woken, each for its own window.
    fn reached(&self) -> Option<Mono> {
        let since = self.coverage(Source::EndpointSlices)?.since()?;
        Some(since.plus(FLAP_WINDOW)).filter(|at| *at > self.judged)
    }

    /// How often readiness of a Service's endpoints changed.
    pub const fn backends(&self) -> &Backends {
        &self.backends
    }

    /// Folds the change of one slice; see [`Backends::fold`].
    pub(crate) fn fold_slice(&mut self, counts: bool, index: &Index, key: Key, old: Option<&Slice>) {
        self.backends.fold(self.now, counts, index, key, old);
        for (node, namespace) in self.backends.take_arrivals() {
            self.nodes.arrived(node, namespace);
        }
    }

    /// Nodes that failed.
    pub const fn nodes(&self) -> &NodeHistory {
        &self.nodes
    }

    /// Zones that are or were disrupted.
    pub const fn zones(&self) -> &Zones {
        &self.zones
    }

    /// An Event makes a Pod worth a look.
    pub(crate) fn look_up(&mut self, event: &Event) {
        let pod = PodQuery {
            namespace: event.namespace.clone(),
            name: event.pod.clone(),
        };
        self.lookups.want(self.now, pod, event.uid, event.reason);
    }

    /// The Pods to read now.
    pub(crate) fn lookups(&mut self, now: Mono) -> Vec<PodQuery> {
        self.lookups.next(now)
    }

    /// What became of reading a Pod: what its status decides, and whether a gap has opened or closed.
    pub(crate) fn looked_up(&mut self, pod: &PodQuery, answer: &Answer) -> (Option<PodDisruption>, bool) {
        let before = self.lookups.is_refused();
        let decided = self.lookups.answered(self.now, pod, answer);
        (decided, before != self.lookups.is_refused())
    }

    /// Whether Pods that Events name can be read: what was refused within the last so many milliseconds is a gap until then.
    pub(crate) fn can_look_up(&self, now: Mono, window: u64) -> Result<(), (Mono, Gap)> {
        let refused = self.lookups.refused(now, window);
        refused.map_or(Ok(()), |(at, why)| {
            Err((
                at.plus(window).plus(1),
                Gap::Unreadable(Source::Pods, why.clone()),
            ))
        })
    }

    /// How backends share what reaches them.
    pub const fn shares(&self) -> &ShareHistory {
        &self.shares
    }

    /// Evictions and preemptions.
    pub const fn events(&self) -> &Events {
        &self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const HOUR: u64 = 3_600_000;

    /// Nodes that were complete for an hour, then silent for so many seconds.
    fn silent(seconds: u64) -> History {
        let mut history = History::live(Now::ONCE);
        let mut say = |at, freshness| {
            history.now = Mono(at);
            history.freshness(Source::Nodes, Part::Whole, &freshness);
        };
        say(0, Freshness::Complete);
        say(HOUR, Freshness::Stale);
        history.now = Mono(HOUR + seconds * 1000);
        history
    }

    fn covers(history: &History, window: u64) -> bool {
        let covers = history.covers(history.now, Source::Nodes, Part::Whole, window);
        covers.is_ok()
    }

    #[rstest]
    #[case::short(13, false, true)]
    #[case::as_long_as_may_be(30, false, true)]
    #[case::long(31, false, false)]
    #[case::listed_anew(13, true, false)]
    fn a_short_silence_that_missed_nothing_forgets_nothing(
        #[case] seconds: u64,
        #[case] relisted: bool,
        #[case] remembers: bool,
    ) {
        let mut history = silent(seconds);
        assert!(!covers(&history, 1_000), "while it lasts nothing is covered");
        assert_eq!(history.happens(Source::Nodes), seconds <= 30);
        if relisted {
            history.begin(Source::Nodes);
            assert!(!history.happens(Source::Nodes));
        }
        history.freshness(Source::Nodes, Part::Whole, &Freshness::Complete);
        assert_eq!(covers(&history, HOUR), remembers);
        assert_eq!(history.happens(Source::Nodes), remembers);
        let coverage = history.coverage(Source::Nodes).unwrap();
        assert_eq!(coverage.silences, u32::from(remembers));
        history.now = history.now.plus(BACKLOG);
        assert!(history.happens(Source::Nodes) && covers(&history, BACKLOG));
    }

    #[test]
    fn what_was_refused_is_forgotten() {
        let mut history = silent(5);
        history.freshness(Source::Nodes, Part::Whole, &Freshness::unreadable("forbidden"));
        history.freshness(Source::Nodes, Part::Whole, &Freshness::Complete);
        assert!(!covers(&history, 1_000));
    }

    #[test]
    fn a_part_that_is_no_longer_read_takes_no_memory() {
        let mut history = silent(0);
        history.freshness(Source::Nodes, Part::Whole, &Freshness::Complete);
        let part = Part::Namespace(crate::names::Name::MAX);
        history.freshness(Source::Nodes, part, &Freshness::Complete);
        assert_eq!(history.coverage.len(), 2);
        history.freshness(Source::Nodes, part, &Freshness::Missing);
        assert_eq!(history.coverage.len(), 1);
        assert_eq!(
            history.coverage_of(Source::Nodes, part),
            history.coverage(Source::Nodes)
        );
    }

    #[test]
    fn a_part_is_covered_for_itself() {
        let mut history = silent(0);
        history.freshness(Source::Nodes, Part::Whole, &Freshness::Complete);
        let (one, other) = (Part::Namespace(crate::names::Name::MAX), Part::Whole);
        history.freshness(Source::Nodes, one, &Freshness::Complete);
        let covers = |part| history.covers(history.now, Source::Nodes, part, HOUR).is_ok();
        assert_eq!((covers(one), covers(other)), (false, true));
    }
}
