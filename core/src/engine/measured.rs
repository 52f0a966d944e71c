//! Nodes that were measured, and wait to be judged for it.

use std::collections::BTreeSet;

use super::dirt::Dirt;
use crate::index::{Dep, Deps};
use crate::know::Mono;
use crate::names::{InUse, Name};

/// How long nodes that were measured wait to be judged, in milliseconds: half the interval of queries
/// (`src/prometheus/schedule.rs`). A dozen of these change something of every node, so each would be judged for each.
const APART: u64 = 15_000;

/// Nodes that were measured since they were last judged for it.
#[derive(Debug, Default)]
pub(crate) struct MeasuredNodes {
    nodes: BTreeSet<Name>,
    /// When they are judged.
    due: Option<Mono>,
}

impl MeasuredNodes {
    /// Notes nodes that were just measured.
    pub(crate) fn note(&mut self, now: Mono, nodes: impl IntoIterator<Item = Name>) {
        self.nodes.extend(nodes);
        if !self.nodes.is_empty() {
            self.due.get_or_insert(now.plus(APART));
        }
    }

    /// Makes them dirty when they are due, or where everything is to be judged now.
    pub(crate) fn settle(&mut self, now: Mono, all: bool, dirt: &mut Dirt) {
        if self.due.is_some_and(|due| all || due <= now) {
            self.due = None;
            dirt.deps = dirt.deps.with(Deps::one(Dep::NodeSamples));
            dirt.measured_nodes.append(&mut self.nodes);
        }
    }

    /// When they are judged, if there are any.
    pub(crate) const fn due(&self) -> Option<Mono> {
        self.due
    }

    /// Notes the names that it holds.
    pub(crate) fn hold(&self, held: &mut InUse) {
        held.note(&self.nodes);
    }
}
