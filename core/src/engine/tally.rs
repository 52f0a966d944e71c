//! Counts of the verdicts that are not kept one by one, by policy.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{InUse, Key};

/// Most checks: the bits of [`Tally::warming`].
pub(crate) const MOST_CHECKS: usize = u64::BITS as usize;

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
    /// Checks that have not watched for long enough: a bit for each place in the table.
    pub(crate) warming: u64,
}

impl Tally {
    /// How many verdicts it counts.
    pub(super) const fn verdicts(self) -> usize {
        (self.met as usize) + (self.not_applicable as usize) + (self.unknown as usize)
    }

    /// The same when it is no longer known whether what was Met is so.
    pub(super) const fn outdated(self) -> Self {
        Self {
            met: 0,
            unknown: self.unknown + self.met,
            ..self
        }
    }
}

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
pub(crate) struct Tallies {
    counts: BTreeMap<Key, Count>,
    changed: BTreeSet<Key>,
}

impl Tallies {
    /// Replaces what one unit contributes to the count of its policy; the empty key is no policy.
    pub(super) fn replace(&mut self, policy: Key, before: Tally, after: Tally) {
        if before == after {
            return;
        }
        let count = self.counts.entry(policy).or_default();
        count.met = count.met - before.met + after.met;
        count.not_applicable = count.not_applicable - before.not_applicable + after.not_applicable;
        count.unknown = count.unknown - before.unknown + after.unknown;
        count.services = count.services - u32::from(before.governs) + u32::from(after.governs);
        if *count == Count::default() {
            self.counts.remove(&policy);
        }
        self.changed.insert(policy);
    }

    /// Notes the names that they hold.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.counts.keys());
        held.note(&self.changed);
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
