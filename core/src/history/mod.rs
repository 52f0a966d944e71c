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
//! - What a first list brings is how things are, not something that happened. The same holds after a source was
//!   stale or lost: when it happened is not known. So a change counts only while its source is complete, and for ten
//!   seconds after an interruption, while the backlog comes in, it does not.
//! - Ages are monotonic. The wall clock, which may jump, can keep a stored event from being counted but never make
//!   one count.
//!
//! # Memory
//!
//! Everything is bounded. Per subject: 80 bytes for an endpoint whose readiness changes, 72 for one younger than two
//! minutes, 40 for one that is still starting, 56 for a node, 300 for a workload on a node that Pods are evicted from. In all, at most 32,768 such
//! endpoints of each kind (about 8 MB), 8,192 failures of nodes (0.5 MB), 16,384 events (1 MB), 2,048 workloads
//! (0.6 MB), and one count for each minute of a day (6 kB). A quiet cluster of 5,000 nodes has 56 bytes for each
//! node and nothing else.

mod backends;
mod churn;
mod events;
mod newcomers;
mod nodes;
mod times;
mod zones;

pub use backends::{Backends, FLAP_FLIPS, FLAP_WINDOW, Flapping};
pub use churn::{Churn, STORM_FACTOR, Storm, WARM_MINUTES};
pub use events::{EVICT_WINDOW, Events, Evicted, PREEMPT_WINDOW, Preempted};
pub use newcomers::Starting;
pub use nodes::{Failure, Nodes, Traits};
pub use times::Times;
pub use zones::{Disruption, SHARE_PERCENT, Zone, Zones, disruption};

use crate::index::Fresh;
use crate::know::{Gap, Known, Mono, Now, Source, Wall};

/// How long after an interruption what arrives is still taken for what was missed, in milliseconds: a watch that is
/// resumed delivers its backlog at once.
const BACKLOG: u64 = 10_000;

/// How a source was there over time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watch {
    /// Since when it is complete without a gap.
    pub complete: Option<Mono>,
    /// Since when it is no longer complete, having been so.
    pub lost: Option<Mono>,
    /// When it became complete again after that.
    resumed: Option<Mono>,
    /// The last moments at which it stopped being complete.
    pub gaps: Times<8>,
}

/// What was seen to change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    live: bool,
    /// The moment of the input that is being folded.
    pub(crate) now: Mono,
    /// The same on the wall clock, for comparison with what objects say.
    pub(crate) wall: Wall,
    watches: [Watch; Source::ALL.len()],
    pub(crate) backends: Backends,
    pub(crate) nodes: Nodes,
    pub(crate) zones: Zones,
    pub(crate) events: Events,
    /// Up to when it has been judged by.
    judged: Mono,
}

impl History {
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

    /// Takes note of how fresh a source has become.
    pub(crate) fn freshness(&mut self, source: Source, fresh: &Fresh) {
        let now = self.now;
        let Some(watch) = self.watches.get_mut(source as usize).filter(|_| self.live) else {
            return;
        };
        if *fresh == Fresh::Complete {
            watch.complete.get_or_insert(now);
            if watch.lost.take().is_some() {
                watch.resumed = Some(now);
            }
        } else if watch.complete.take().is_some() {
            watch.lost = Some(now);
            watch.gaps.push(now);
        }
        if source == Source::EndpointSlices {
            self.backends.churn.sighted(now, *fresh == Fresh::Complete);
        }
    }

    /// Whether what arrives of a complete source happens now, and is not the backlog of an interruption.
    pub(crate) fn is_current(&self, source: Source) -> bool {
        let resumed = self.watch(source).and_then(|watch| watch.resumed);
        resumed.is_none_or(|at| self.now.since(at) >= BACKLOG)
    }

    /// How a source was there over time.
    pub fn watch(&self, source: Source) -> Option<&Watch> {
        self.watches.get(source as usize)
    }

    /// Whether a source was complete for the last so many milliseconds; while it was not, the answer is that history
    /// is too short.
    pub fn covers(&self, now: Mono, source: Source, window: u64) -> Known<()> {
        let since = self.watch(source).and_then(|watch| watch.complete);
        if since.is_some_and(|since| now.since(since) >= window) {
            Ok(())
        } else {
            Err(Gap::WarmingUp(source, (window / 1000) as u32))
        }
    }

    /// Lets time pass: forgets what no window holds any more, and says whether history has become long enough for
    /// everybody and whether there is something to tell.
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
        let reached = self.reached().is_some_and(|at| at <= now);
        self.judged = self.judged.max(now);
        (reached, storm(self) != before)
    }

    /// When time alone may bring something to tell.
    pub(crate) fn due(&self) -> Option<Mono> {
        [self.reached(), self.backends.churn.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// When slices have been seen for as long as it takes to say that endpoints do not flap: that is waited for by every
    /// Service, so that everything is judged then. Other checks ask to be woken, each for its own window.
    fn reached(&self) -> Option<Mono> {
        let since = self.watch(Source::EndpointSlices)?.complete?;
        Some(since.plus(FLAP_WINDOW)).filter(|at| *at > self.judged)
    }

    /// How often readiness of a Service's endpoints changed.
    pub const fn backends(&self) -> &Backends {
        &self.backends
    }

    /// Nodes that failed.
    pub const fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Zones that are or were disrupted.
    pub const fn zones(&self) -> &Zones {
        &self.zones
    }

    /// Evictions and preemptions.
    pub const fn events(&self) -> &Events {
        &self.events
    }
}
