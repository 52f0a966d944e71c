//! Counts of the verdicts that are not kept one by one, by policy.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::Key;

/// How many subjects had a verdict that is not kept one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Met.
    pub met: u32,
    /// Not applicable.
    pub not_applicable: u32,
    /// Unknown to the baseline, where no policy asks.
    pub unknown: u32,
    /// Of one Service: whether the policy governs it.
    pub(crate) governs: bool,
}

/// The tallies of one unit, by policy; the empty key is no policy.
pub(crate) type Tallies = BTreeMap<Key, Tally>;

/// What is summed of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) met: u32,
    pub(crate) not_applicable: u32,
    pub(crate) unknown: u32,
    /// Services that the policy governs.
    pub(crate) services: u32,
}

/// The sums, and which of them have changed.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    counts: BTreeMap<Key, Count>,
    changed: BTreeSet<Key>,
}

impl Ledger {
    /// Replaces what one unit contributes.
    pub(super) fn replace(&mut self, before: &Tallies, after: &Tallies) {
        if before == after {
            return;
        }
        for (key, tally) in before {
            let count = self.counts.entry(*key).or_default();
            count.met -= tally.met;
            count.not_applicable -= tally.not_applicable;
            count.unknown -= tally.unknown;
            count.services -= u32::from(tally.governs);
            if *count == Count::default() {
                self.counts.remove(key);
            }
        }
        for (key, tally) in after {
            let count = self.counts.entry(*key).or_default();
            count.met += tally.met;
            count.not_applicable += tally.not_applicable;
            count.unknown += tally.unknown;
            count.services += u32::from(tally.governs);
        }
        self.changed.extend(
            before
                .keys()
                .chain(after.keys())
                .filter(|key| before.get(key) != after.get(key)),
        );
    }

    /// What is summed of one policy; the empty key is no policy.
    pub(crate) fn of(&self, policy: Key) -> Count {
        self.counts.get(&policy).copied().unwrap_or_default()
    }

    /// Everything summed.
    pub(crate) fn total(&self) -> Count {
        self.counts.values().fold(Count::default(), |sum, one| Count {
            met: sum.met + one.met,
            not_applicable: sum.not_applicable + one.not_applicable,
            unknown: sum.unknown + one.unknown,
            services: sum.services + one.services,
        })
    }

    pub(super) fn take_changed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.changed)
    }
}
