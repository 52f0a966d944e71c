//! Units whose held verdicts are not shown any more, because they were not judged since.
//!
//! A lost source may concern every unit, and judging them again takes many rounds. Until its turn has come each verdict
//! of such a unit is shown as Unknown, and no status is computed in its namespace. The same holds of units that were
//! never judged: that nothing is known of a Service yet is no news about its policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::unit::{Reported, WorkUnit};
use crate::judge::Verdict;
use crate::know::{Gap, Source, Wall};
use crate::names::{InUse, Name};

/// The units, and what is said of them.
#[derive(Debug, Default)]
pub(super) struct Outdated {
    units: BTreeSet<WorkUnit>,
    /// How many there are in each namespace; what is in none counts under the empty name.
    homes: BTreeMap<Name, usize>,
    /// What is said instead of what is held.
    instead: Option<Reported>,
}

impl Outdated {
    /// A source was lost: what is said of those that it made dirty, as of now.
    pub(super) fn lost(&mut self, source: Source, now: Wall) {
        self.instead = Some(Reported {
            verdict: Arc::new(Verdict::Unknown(Gap::Outdated(source))),
            since: now,
        });
    }

    /// Adds a unit; returns whether it is new.
    pub(super) fn insert(&mut self, unit: WorkUnit) -> bool {
        let new = self.units.insert(unit);
        if new {
            *self.homes.entry(unit.home().unwrap_or_default()).or_default() += 1;
        }
        new
    }

    /// A unit was judged.
    pub(super) fn remove(&mut self, unit: WorkUnit) {
        let home = unit.home().unwrap_or_default();
        if self.units.remove(&unit)
            && let Some(count) = self.homes.get_mut(&home)
        {
            *count -= 1;
            if *count == 0 {
                self.homes.remove(&home);
            }
        }
        if self.units.is_empty() {
            self.instead = None;
        }
    }

    /// What is said of each verdict of a unit instead of what is held.
    pub(super) fn instead(&self, unit: &WorkUnit) -> Option<&Reported> {
        self.instead.as_ref().filter(|_| self.units.contains(unit))
    }

    /// Whether any unit of a namespace is outdated; the empty name is for those of none.
    pub(super) fn any_in(&self, namespace: Name) -> bool {
        self.homes.contains_key(&namespace)
    }

    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.note(&self.units);
        held.all(self.homes.keys());
    }
}
