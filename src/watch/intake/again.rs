//! Kinds of which the core refused objects for want of room, and that are read anew as there is room again: a pump by itself
//! lists only after a break.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_core::index::Freshness;
use evenkeel_core::know::{Mono, Source};

use super::{Intake, TargetChange};
use crate::watch::holders::{Sink, SourcePart};

/// How long after it was read anew for the first time a part is not read so again, in milliseconds, and how long at last: each
/// time it is twice as long, until for so long nothing was to be read. What is freed bit by bit is known soon, and a namespace
/// that fills and empties its share all the time costs the API server a list of a kind every five minutes.
const APART_AT_FIRST: u64 = 10_000;
const APART_AT_LAST: u64 = 300_000;

/// The parts of sources that are to be read anew.
#[derive(Debug, Default)]
pub(super) struct ReadAgain {
    wanted: BTreeSet<SourcePart>,
    /// When each may be again.
    from: BTreeMap<SourcePart, NextReading>,
}

/// When a part may be read anew, and how long after that it may be once more.
#[derive(Debug, Clone, Copy)]
struct NextReading {
    from: Mono,
    apart: u64,
}

impl ReadAgain {
    /// When a part may be read anew.
    fn opens(&self, part: &SourcePart) -> Mono {
        self.from.get(part).map(|next| next.from).unwrap_or_default()
    }

    /// A part is read anew now.
    fn reads(&mut self, part: &SourcePart, now: Mono) {
        self.wanted.remove(part);
        let apart = self.from.get(part).map_or(APART_AT_FIRST, |next| next.apart);
        let next = NextReading {
            from: now.plus(apart),
            apart: (apart * 2).min(APART_AT_LAST),
        };
        self.from.insert(part.clone(), next);
    }
}

impl Intake {
    /// Reads kinds anew, each named with the namespace that has room again. What is known of them stays known meanwhile.
    pub fn read_again(
        &mut self,
        now: Mono,
        with_room: impl IntoIterator<Item = (Source, Arc<str>)>,
        sink: &mut Sink<'_>,
    ) -> TargetChange {
        let parts = with_room.into_iter().flat_map(|(source, namespace)| {
            // A kind is watched by namespace or as a whole.
            [(source, namespace.to_string()), (source, String::new())]
        });
        let fills = &self.fills;
        self.again
            .wanted
            .extend(parts.filter(|part| fills.contains_key(part)));
        let again = &mut self.again;
        again.from.retain(|_, next| now < next.from.plus(APART_AT_LAST));
        let next = again.wanted.iter().find(|part| again.opens(part) <= now);
        let mut change = TargetChange::default();
        let Some(part) = next.cloned() else { return change };
        again.reads(&part, now);
        for id in self.fills.get(&part).cloned().unwrap_or_default() {
            // Where more objects were left out than these, [`Intake::retry`] reads anew.
            let Some(held) = self.targets.get(&id).filter(|held| held.overfull.is_none()) else {
                continue;
            };
            let (target, selected) = (held.target.clone(), held.selected.clone());
            let is_known = held.freshness == Freshness::Complete;
            let mut start = self.start(target, selected);
            if is_known && let Some(held) = self.targets.get_mut(&start.id) {
                held.freshness = Freshness::Complete;
                start.known = true;
            }
            change.start.push(start);
            change.stop.push(id);
            self.stop(id, sink);
        }
        self.tell(&part, sink);
        change
    }

    /// When one that waits for it may be read anew.
    pub fn due(&self) -> Option<Mono> {
        let wanted = self.again.wanted.iter();
        wanted.map(|part| self.again.opens(part)).min()
    }
}
