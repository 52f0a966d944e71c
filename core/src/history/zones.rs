//! Zones that are or were disrupted: the state of a zone is remembered for a while after it has passed.

use std::collections::BTreeMap;

use crate::index::{NodeSums, Place, ZoneSum};
use crate::know::Mono;
use crate::names::Name;

/// Share of a zone at which it counts as disrupted: `--unhealthy-zone-threshold` of kube-controller-manager.
pub const SHARE_PERCENT: usize = 55;
/// Fewest nodes that are down for that: `pkg/controller/nodelifecycle/node_lifecycle_controller.go`, `notReadyNodes > 2`.
pub const DOWN: usize = 3;

/// Whether a zone with so many of its nodes down is disrupted.
pub const fn disrupted(down: usize, nodes: usize) -> bool {
    down >= DOWN && down * 100 >= nodes * SHARE_PERCENT
}

/// Whether a zone is or was disrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Zone {
    /// Whether it is disrupted.
    pub disrupted: bool,
    /// The most nodes that were down in its last disruption, and of how many.
    pub worst: (u32, u32),
    /// When its last disruption ended.
    pub ended: Option<Mono>,
}

impl Zone {
    fn look(&mut self, now: Mono, sum: ZoneSum) -> bool {
        let was = self.disrupted;
        self.disrupted = disrupted(sum.down as usize, sum.nodes as usize);
        if self.disrupted {
            if !was || sum.down > self.worst.0 {
                self.worst = (sum.down, sum.nodes);
            }
            self.ended = None;
        } else if was {
            self.ended = Some(now);
        }
        was != self.disrupted
    }
}

/// Zones that are or were disrupted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Zones(BTreeMap<Place, Zone>);

impl Zones {
    /// Looks at a zone of which a node came, changed or went; says whether a disruption has begun or ended.
    pub(crate) fn fold(&mut self, now: Mono, place: Place, sum: ZoneSum) -> bool {
        let mut zone = self.0.get(&place).copied().unwrap_or_default();
        let news = zone.look(now, sum);
        if zone != Zone::default() {
            self.0.insert(place, zone);
        }
        news
    }

    /// The list of nodes is complete: whatever it brought is looked at as one.
    pub(crate) fn look(&mut self, now: Mono, sums: &NodeSums) {
        for (place, zone) in &mut self.0 {
            zone.look(now, sums.place(*place));
        }
        for (place, sum) in sums.places() {
            self.fold(now, place, sum);
        }
    }

    /// The zones of which anything is remembered.
    pub(crate) fn names(&self) -> impl Iterator<Item = Name> {
        self.0.keys().map(|place| place.0)
    }

    /// The regions that have a zone of this name, with that zone.
    pub fn named(&self, zone: Name) -> impl Iterator<Item = (Name, &Zone)> {
        self.0
            .range((zone, Name::EMPTY)..=(zone, Name::MAX))
            .map(|(at, held)| (at.1, held))
    }
}
