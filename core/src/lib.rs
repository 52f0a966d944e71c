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
mod handle;
pub mod index;
pub mod judge;
pub mod know;
pub mod names;
pub mod paths;
pub mod policy;
pub mod sources;

pub use engine::{Tally, has_data_plane};
pub use handle::Input;

use engine::{Dirt, Engine};
use findings::{FindingList, Summary};
use index::Index;
use judge::Subject;
use know::{Mono, Now};

/// The whole program without IO.
#[derive(Debug)]
pub struct Core {
    index: Index,
    engine: Engine,
    dirt: Dirt,
    /// When exceptions end, in seconds of wall time, sorted, as of the last round.
    ends: Vec<i64>,
}

impl Default for Core {
    fn default() -> Self {
        Self {
            index: Index::default(),
            engine: Engine::default(),
            dirt: Dirt {
                all: true,
                ..Dirt::default()
            },
            ends: Vec::new(),
        }
    }
}

/// What a round brought.
#[derive(Debug, Default)]
pub struct Round {
    /// Checks and subjects whose verdict changed.
    pub transitions: Vec<(usize, Subject)>,
}

impl Core {
    /// Judges what is dirty or due.
    pub fn round(&mut self, now: Now) -> Round {
        let dirt = std::mem::take(&mut self.dirt);
        if dirt.moves_exceptions() {
            let days = self.index.max_exception_days();
            let policies = self.index.policies.iter();
            let exceptions = policies.flat_map(|(_, policy)| &policy.exceptions);
            // One that is counted from now moves on with time: it ends by its own word.
            self.ends = exceptions
                .map(|one| one.ends_at(days, one.expires_at).0)
                .collect();
            self.ends.sort_unstable();
        }
        Round {
            transitions: self.engine.round(now, &self.index, dirt),
        }
    }

    /// When time alone may change what there is to tell, in monotonic time, as of the last round; `None` when only an
    /// input can.
    pub fn deadline(&self, now: Now) -> Option<Mono> {
        let ended = self.ends.partition_point(|end| *end <= now.wall.0);
        let next = self
            .engine
            .again()
            .into_iter()
            .chain(self.ends.get(ended).copied())
            .min()?;
        Some(Mono(
            now.mono.0 + u64::try_from(next - now.wall.0).unwrap_or(0) * 1000,
        ))
    }

    /// Everything there is to tell, as of the last round.
    pub fn findings(&self, now: Now) -> FindingList {
        let mut findings: Vec<_> = self
            .engine
            .bad()
            .filter_map(|(check, subject, held)| findings::tell(&self.index, now.wall, check, subject, held))
            .collect();
        findings::sort(&mut findings);
        let tally = self.engine.tally();
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

    /// What is known of the cluster.
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// What the nodes effectively do, as of the last round.
    pub const fn fleet(&self) -> &facts::Fleet {
        &self.engine.fleet
    }
}
