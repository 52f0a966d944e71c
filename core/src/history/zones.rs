//! Zones that are or were disrupted: the state of a zone is remembered for a while after it has passed.

use std::collections::BTreeMap;

use crate::know::Mono;
use crate::names::{Name, Names};
use crate::sources::node::{Node, REGION, Readiness, ZONE};

/// Share of a zone at which it counts as disrupted: `--unhealthy-zone-threshold` of kube-controller-manager.
pub const SHARE_PERCENT: usize = 55;
/// Fewest nodes that are down for that: `pkg/controller/nodelifecycle/node_lifecycle_controller.go`, `notReadyNodes > 2`.
pub const DOWN: usize = 3;

/// Whether a zone with so many of its nodes down is disrupted.
pub const fn disrupted(down: usize, nodes: usize) -> bool {
    down >= DOWN && down * 100 >= nodes * SHARE_PERCENT
}

/// The nodes of a zone, and whether it was disrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Zone {
    /// Its nodes.
    pub nodes: u32,
    /// Those that are not ready.
    pub down: u32,
    /// Whether it is disrupted.
    pub disrupted: bool,
    /// The most nodes that were down in its last disruption, and of how many.
    pub worst: (u32, u32),
    /// When its last disruption ended.
    pub ended: Option<Mono>,
}

impl Zone {
    fn look(&mut self, now: Mono) -> bool {
        let was = self.disrupted;
        self.disrupted = disrupted(self.down as usize, self.nodes as usize);
        if self.disrupted {
            if !was || self.down > self.worst.0 {
                self.worst = (self.down, self.nodes);
            }
            self.ended = None;
        } else if was {
            self.ended = Some(now);
        }
        was != self.disrupted
    }
}

/// Zones by name and region; zones of equal name in two regions are two.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Zones(BTreeMap<(Name, Name), Zone>);

impl Zones {
    /// Folds the change of one node. While the list of nodes is not complete, counts are not looked at.
    pub(crate) fn fold(
        &mut self,
        now: Mono,
        complete: bool,
        names: &Names,
        old: Option<&Node>,
        new: Option<&Node>,
    ) -> bool {
        let at = |node: &Node| {
            let label = |key| names.find(key).and_then(|key| node.labels.get(key));
            (label(ZONE).unwrap_or_default(), label(REGION).unwrap_or_default())
        };
        let down = |node: &Node| u32::from(node.ready != Readiness::Ready);
        if let Some(old) = old {
            let zone = self.0.entry(at(old)).or_default();
            zone.nodes = zone.nodes.saturating_sub(1);
            zone.down = zone.down.saturating_sub(down(old));
        }
        if let Some(new) = new {
            let zone = self.0.entry(at(new)).or_default();
            zone.nodes += 1;
            zone.down += down(new);
        }
        let mut news = false;
        for node in [old, new].into_iter().flatten().filter(|_| complete) {
            news |= self.0.get_mut(&at(node)).is_some_and(|zone| zone.look(now));
        }
        news
    }

    /// The list of nodes is complete: whatever it brought is looked at as one.
    pub(crate) fn look(&mut self, now: Mono) {
        for zone in self.0.values_mut() {
            zone.look(now);
        }
        self.0
            .retain(|_, zone| zone.nodes > 0 || zone.disrupted || zone.ended.is_some());
    }

    /// A zone of a region.
    pub fn get(&self, zone: Name, region: Name) -> Option<&Zone> {
        self.0.get(&(zone, region))
    }

    /// The regions that have a zone of this name, with that zone.
    pub fn named(&self, zone: Name) -> impl Iterator<Item = (Name, &Zone)> {
        self.0
            .range((zone, Name::EMPTY)..=(zone, Name::MAX))
            .map(|(at, held)| (at.1, held))
    }
}
