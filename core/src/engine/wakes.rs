//! When time alone may change a verdict that rests on a window: by monotonic time, which no clock change moves.

use std::collections::{BTreeMap, BTreeSet};

use crate::judge::Subject;
use crate::know::Mono;

/// A check of a subject.
type At = (Subject, usize);

/// Checks that asked for another look.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    at: BTreeMap<At, Mono>,
    /// The same by time.
    by: BTreeSet<(Mono, At)>,
}

impl Wakes {
    /// The earliest.
    pub(super) fn first(&self) -> Option<Mono> {
        self.by.first().map(|one| one.0)
    }

    /// Those that are due.
    pub(super) fn due(&self, now: Mono) -> impl Iterator<Item = At> {
        self.by
            .iter()
            .take_while(move |one| one.0 <= now)
            .map(|one| one.1)
    }

    /// Forgets those of a unit: in this range of subjects, and of its own checks.
    pub(super) fn forget(&mut self, from: Subject, to: Subject, inside: impl Fn(&At) -> bool) {
        let range = self.at.range((from, 0)..=(to, usize::MAX));
        let gone: Vec<At> = range.map(|(at, _)| *at).filter(inside).collect();
        for at in gone {
            if let Some(when) = self.at.remove(&at) {
                self.by.remove(&(when, at));
            }
        }
    }

    /// Remembers what a unit asked for.
    pub(super) fn extend(&mut self, wakes: BTreeMap<At, Mono>) {
        self.by.extend(wakes.iter().map(|(at, when)| (*when, *at)));
        self.at.extend(wakes);
    }
}
