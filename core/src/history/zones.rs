//! Zones that are or were disrupted: the state of a zone is remembered for a while after it has passed.

use std::collections::BTreeMap;

use crate::index::{NodeSums, NodeTally, ZoneKey};
use crate::know::{Mono, Now};
use crate::names::Name;

/// Share of a zone at which it counts as disrupted, in percent: `--unhealthy-zone-threshold` of kube-controller-manager.
pub const SHARE_PERCENT: u32 = 55;
/// Fewest nodes that are down for that: `notReadyNodes > 2` in `ComputeZoneState`
/// (`pkg/controller/nodelifecycle/node_lifecycle_controller.go`).
const DOWN: u32 = 3;

/// How far a zone is gone, as `ComputeZoneState` of kube-controller-manager says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disruption {
    /// At least three of its nodes, and 55 % of them, are not Ready.
    Partial,
    /// None of its nodes is Ready, however few there are.
    Full,
}

/// How far a zone with so many of its nodes down is gone.
pub const fn disruption(down: u32, nodes: u32) -> Option<Disruption> {
    if down == 0 {
        None
    } else if down >= nodes {
        Some(Disruption::Full)
    } else if down >= DOWN && down as u64 * 100 >= nodes as u64 * SHARE_PERCENT as u64 {
        Some(Disruption::Partial)
    } else {
        None
    }
}

/// Whether a zone is or was disrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Zone {
    /// Whether it is disrupted.
    pub disrupted: bool,
    /// The most nodes that were down in its last disruption, and of how many.
    pub worst: (u32, u32),
    /// When its last disruption ended.
    pub ended: Option<Mono>,
}

impl Zone {
    fn look(&mut self, now: Mono, tally: NodeTally) -> bool {
        let was = self.disrupted;
        self.disrupted = disruption(tally.down, tally.nodes).is_some();
        if self.disrupted {
            if !was || tally.down > self.worst.0 {
                self.worst = (tally.down, tally.nodes);
            }
            self.ended = None;
        } else if was {
            self.ended = Some(now);
        }
        was != self.disrupted
    }
}

/// Zones that are or were disrupted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Zones(BTreeMap<ZoneKey, Zone>);

impl Zones {
    /// Looks at a zone of which a node came, changed or went; says whether a disruption has begun or ended.
    pub(crate) fn fold(&mut self, now: Mono, place: ZoneKey, tally: NodeTally) -> bool {
        let mut zone = self.0.get(&place).copied().unwrap_or_default();
        let changed = zone.look(now, tally);
        if zone != Zone::default() {
            self.0.insert(place, zone);
        }
        changed
    }

    /// The list of nodes is complete: whatever it brought is looked at as one.
    pub(crate) fn look(&mut self, now: Now, sums: &NodeSums) {
        for (place, zone) in &mut self.0 {
            zone.look(now.mono, sums.place(*place, now.wall));
        }
        for (place, tally) in sums.places(now.wall) {
            self.fold(now.mono, place, tally);
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
