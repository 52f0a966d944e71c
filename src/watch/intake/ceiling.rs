//! How many Pods are kept: what is left out beyond that, and when it is read anew.

use std::collections::BTreeMap;

use evenkeel_core::know::Source;

use super::held::Overfull;
use super::{Intake, TargetChange, place};
use crate::watch::holders::{Sink, SourcePart};
use crate::watch::target::Id;

/// Pods of one namespace that are kept, beside the platform's: far above what Kubernetes is tested with (3,000 in a
/// namespace, `kubernetes/community`, `sig-scalability/configs-and-limits/thresholds.md`), and some megabytes.
const MOST_PODS: usize = 20_000;

/// Pods of all namespaces together that are kept, beside the platform's: three namespaces at their ceiling, or 60 of each of a
/// thousand. Where there are more, the namespace that has most gives up all of its own and is a gap until there is room,
/// so that those with few lose none.
const MOST_PODS_IN_ALL: usize = 60_000;

impl Overfull {
    /// Why not all is known, for people.
    pub(super) fn why(self) -> String {
        match self {
            Self::Namespace => {
                format!("policies select more than {MOST_PODS} Pods of this namespace, and no more are kept")
            }
            Self::All => format!(
                "policies select more than {MOST_PODS_IN_ALL} Pods of all namespaces, of which this one has most, and none of its own are kept"
            ),
        }
    }
}

impl Intake {
    /// Why no more objects of a target are kept, where that is so. Makes room where another namespace has more.
    pub(super) fn overfull(&mut self, id: Id, place: &SourcePart, sink: &mut Sink<'_>) -> Option<Overfull> {
        if place.0 != Source::Pods || self.is_platform(&place.1) {
            return None;
        }
        let own = self.targets.get(&id).and_then(|held| held.overfull);
        if own == Some(Overfull::All) {
            return own;
        }
        if self.holders.count(place) >= MOST_PODS {
            return Some(Overfull::Namespace);
        }
        if self.holders.objects() < MOST_PODS_IN_ALL {
            return None;
        }
        let largest = self
            .holders
            .largest(Source::Pods, |namespace| !self.is_platform(namespace))?;
        if largest.in_all < MOST_PODS_IN_ALL {
            return None;
        }
        if largest.objects <= self.holders.count(place) {
            self.give_up(place, sink);
            return Some(Overfull::All);
        }
        let other = largest.part.clone();
        self.give_up(&other, sink);
        None
    }

    /// Lets go of all that a part holds: each of its targets leaves everything out until it is listed anew.
    fn give_up(&mut self, place: &SourcePart, sink: &mut Sink<'_>) {
        self.holders.clear(place, sink);
        for id in self.fills.get(place).into_iter().flatten() {
            if let Some(held) = self.targets.get_mut(id) {
                held.overfull = Some(Overfull::All);
            }
        }
        self.leaves_out = true;
        self.tell(place, sink);
    }

    /// Reads a namespace anew of which objects were left out, where there is room again: a pump by itself lists only after a
    /// break. Of the room for all there has to be as much as a namespace can fill, so that no other gives up for it.
    pub fn retry(&mut self, sink: &mut Sink<'_>) -> TargetChange {
        let mut change = TargetChange::default();
        if !self.leaves_out {
            return change;
        }
        let left_out: BTreeMap<SourcePart, Overfull> = self
            .targets
            .values()
            .filter_map(|held| Some((place(&held.target), held.overfull?)))
            .collect();
        self.leaves_out = !left_out.is_empty();
        let largest = self
            .holders
            .largest(Source::Pods, |namespace| !self.is_platform(namespace));
        let in_all = largest.map_or(0, |one| one.in_all);
        let has_room = |part: &SourcePart, why: Overfull| match why {
            Overfull::Namespace => self.holders.count(part) <= MOST_PODS / 2,
            Overfull::All => in_all < MOST_PODS_IN_ALL - MOST_PODS,
        };
        let Some((part, _)) = left_out.into_iter().find(|(part, why)| has_room(part, *why)) else {
            return change;
        };
        for id in self.fills.get(&part).cloned().unwrap_or_default() {
            let Some(held) = self.targets.get(&id).filter(|held| held.overfull.is_some()) else {
                continue;
            };
            let (target, selected) = (held.target.clone(), held.selected.clone());
            change.start.push(self.start(target, selected));
            change.stop.push(id);
            self.stop(id, sink);
        }
        self.tell(&part, sink);
        change
    }

    /// Whether a namespace is one of the platform's, which have no ceiling.
    fn is_platform(&self, namespace: &str) -> bool {
        let wants = self.wants.as_ref();
        wants.is_some_and(|wants| wants.config_maps.contains_key(namespace))
    }

    /// An object was left out: the part is not known until it is listed anew.
    pub(super) fn overfill(&mut self, id: Id, place: &SourcePart, why: Overfull, sink: &mut Sink<'_>) {
        if let Some(held) = self.targets.get_mut(&id)
            && held.overfull.replace(why) != Some(why)
        {
            self.leaves_out = true;
            self.tell(place, sink);
        }
    }
}
