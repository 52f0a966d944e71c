//! The pure core of evenkeel.
//!
//! Facts come in as JSON through [`Core::handle`], verdicts and findings go out through [`Core::round`] and
//! [`Core::findings`]; nothing here reads a clock, a socket, a file or a log. The same core serves the operator, the
//! live audit, an audit of files, simulations and tests: they differ only in who feeds and who drains.

pub mod checks;
pub mod dataplane;
mod engine;
pub mod facts;
pub mod findings;
mod fold;
mod handle;
pub mod history;
pub mod index;
pub mod judge;
pub mod know;
pub mod names;
pub mod paths;
pub mod policy;
pub mod sources;
pub mod standing;

pub use engine::{Tally, has_data_plane};
pub use handle::Input;

use std::collections::{BTreeMap, BTreeSet};

use engine::{Dirt, Engine};
use findings::{FindingList, Summary};
use history::History;
use index::Index;
use judge::{Severity, Subject};
use know::{Mono, Now, Reads, Source};
use names::Key;
use standing::Standings;

/// The whole program without IO.
#[derive(Debug)]
pub struct Core {
    index: Index,
    history: History,
    engine: Engine,
    standings: Standings,
    dirt: Dirt,
}

impl Default for Core {
    fn default() -> Self {
        Self {
            index: Index::default(),
            history: History::default(),
            engine: Engine::default(),
            standings: Standings::default(),
            dirt: Dirt {
                all: true,
                ..Dirt::default()
            },
        }
    }
}

/// What a round brought.
#[derive(Debug, Default)]
pub struct Round {
    /// Checks and subjects whose verdict changed.
    pub transitions: Vec<(usize, Subject)>,
    /// Teams' policies whose [`standing`] may have changed, by namespace and name; the empty key is the platform's.
    /// Names are those of [`Core::index`].
    pub standings: BTreeSet<Key>,
}

impl Core {
    /// Judges what is dirty or due.
    pub fn round(&mut self, now: Now) -> Round {
        // What was too short to be judged by is long enough now, for whoever rests on it.
        let (reached, news) = self.history.tick(now.mono);
        self.dirt.all |= reached;
        self.dirt.history |= news;
        let dirt = std::mem::take(&mut self.dirt);
        let transitions = self.engine.round(now, &self.index, &self.history, &dirt);
        let mut standings = self.standings.follow(&self.engine, &transitions);
        standings.extend(self.engine.take_recounted());
        standings.extend(dirt.policies);
        // What a policy needs to be observed at all may have become fresh or stale without any verdict changing.
        if dirt.all {
            standings.extend(self.index.policies.iter().map(|(key, _)| key));
            standings.insert(Key::default());
        }
        if dirt.sources.meets(Reads::of(&[Source::ClusterPolicy])) {
            standings.insert(Key::default());
        }
        Round {
            transitions,
            standings,
        }
    }

    /// When time alone may change a verdict, in monotonic time; `None` when only an input can.
    pub fn deadline(&self, now: Now) -> Option<Mono> {
        let ends = self
            .index
            .policies
            .iter()
            .flat_map(|(_, policy)| policy.exceptions.iter().map(|one| one.expires_at.0));
        let next = self
            .engine
            .again()
            .into_iter()
            .chain(ends.filter(|end| *end > now.wall.0))
            .min();
        let next = next.map(|next| {
            let seconds = u64::try_from(next - now.wall.0).unwrap_or(0);
            now.mono.plus(seconds.saturating_mul(1000))
        });
        [next, self.engine.woken(), self.history.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Everything there is to tell, as of the last round.
    pub fn findings(&self, now: Now) -> FindingList {
        self.list(now, false)
    }

    /// The same with since when each verdict holds: for a core that has judged for a while.
    pub fn findings_since(&self, now: Now) -> FindingList {
        self.list(now, true)
    }

    fn list(&self, now: Now, since: bool) -> FindingList {
        let tell = |(check, subject, held): (_, _, &engine::Held)| {
            let mut finding = findings::tell(&self.index, now.wall, check, subject, held)?;
            finding.since = since.then_some(held.since.0);
            Some(finding)
        };
        let mut findings: Vec<_> = self.engine.bad().filter_map(tell).collect();
        findings::sort(&mut findings);
        let tally = self.engine.ledger().total();
        let count = |verdict| findings.iter().filter(|one| one.verdict == verdict).count() as u32;
        let summary = Summary {
            met: tally.met,
            at_risk: count("AtRisk"),
            violated: count("Violated"),
            unknown: tally.unknown + count("Unknown"),
            not_applicable: tally.not_applicable,
        };
        FindingList {
            api_version: "evenkeel.dev/v1alpha1",
            kind: "FindingList",
            findings,
            unreadable: findings::unreadable(&self.index),
            summary,
        }
    }

    /// How many findings there are, without their texts: by check, verdict, severity and whether somebody has
    /// accepted them.
    pub fn census(&self, now: Now) -> BTreeMap<(&'static str, &'static str, Severity, bool), u32> {
        let mut census = BTreeMap::new();
        for (check, subject, held) in self.engine.bad() {
            let excepted = subject
                .policy()
                .is_some_and(|key| findings::exception(&self.index, now.wall, check, key).is_some());
            let severity = findings::severity(check, &held.verdict);
            *census
                .entry((check.id, held.verdict.name(), severity, excepted))
                .or_default() += 1;
        }
        census
    }

    /// What is known of the cluster.
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// What the nodes effectively do, as of the last round.
    pub const fn fleet(&self) -> &facts::Fleet {
        &self.engine.fleet
    }

    /// Marks everything that reads one of these sources for judging.
    fn touch(&mut self, sources: Reads) {
        self.dirt.sources = self.dirt.sources.with(sources);
    }
}
