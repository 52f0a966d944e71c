//! Sums over all Nodes, kept up to date row by row: a check that asks how many zones there are must not go through five
//! thousand Nodes, nor be judged again because one of them was cordoned.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::deps::{Dep, Deps};
use crate::know::Wall;
use crate::names::{InUse, Name, Names};
use crate::sources::node::{Balancing, Node, REGION, ZONE};

/// Sums over all Nodes.
#[derive(Debug, Default)]
pub struct NodeSums {
    count: u32,
    places: BTreeMap<ZoneKey, ZoneSum>,
    providers: NameCounts,
    auto_mode: u32,
    kubelets: NameCounts,
    hosts: u32,
    host_zones: NameCounts,
}

/// A zone and its region: zones of equal name in two regions are two zones. Empty where a Node has no such label.
pub type ZoneKey = (Name, Name);

/// The Nodes of a zone, or of the cluster, that count at a moment. Nodes that are not Ready while they join or leave
/// count neither as nodes nor as down ([`Node::excused_until`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeTally {
    /// How many count.
    pub nodes: u32,
    /// Those of them that are not Ready.
    pub down: u32,
    /// Those that are left out.
    pub excused: u32,
    /// When the first of those will count, should nothing change.
    pub until: Option<Wall>,
}

impl NodeTally {
    /// Nodes that are Ready.
    pub const fn ready(&self) -> u32 {
        self.nodes.saturating_sub(self.down)
    }

    /// The tally of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            nodes: self.nodes + other.nodes,
            down: self.down + other.down,
            excused: self.excused + other.excused,
            until: [self.until, other.until].into_iter().flatten().min(),
        }
    }
}

/// The Nodes of one zone of one region.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct ZoneSum {
    /// How many there are.
    nodes: u32,
    /// Those that are not Ready, by the second from which on that is a failure.
    down: BTreeMap<Wall, u32>,
}

impl ZoneSum {
    fn at(&self, now: Wall) -> NodeTally {
        let after = (Bound::Excluded(now), Bound::Unbounded);
        let excused = self.down.range(after).map(|one| one.1).sum();
        let all: u32 = self.down.values().sum();
        NodeTally {
            nodes: self.nodes.saturating_sub(excused),
            down: all - excused,
            excused,
            until: self
                .down
                .range(after)
                .next()
                .map(|one| *one.0)
                .filter(|at| at.0 < i64::MAX),
        }
    }

    fn count(&mut self, down: Option<Wall>) {
        self.nodes += 1;
        if let Some(from) = down {
            *self.down.entry(from).or_default() += 1;
        }
    }

    fn discount(&mut self, down: Option<Wall>) {
        self.nodes = self.nodes.saturating_sub(1);
        if let Some(from) = down
            && let Some(count) = self.down.get_mut(&from)
        {
            *count -= 1;
            if *count == 0 {
                self.down.remove(&from);
            }
        }
    }
}

/// How often each name occurs; none occurs zero times.
#[derive(Debug, Default)]
struct NameCounts(BTreeMap<Name, u32>);

impl NameCounts {
    /// Returns whether the name is new.
    fn add(&mut self, name: Name) -> bool {
        let count = self.0.entry(name).or_default();
        *count += 1;
        *count == 1
    }

    /// Returns whether it was the last of that name.
    fn sub(&mut self, name: Name) -> bool {
        match self.0.get_mut(&name) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            Some(_) => self.0.remove(&name).is_some(),
            None => false,
        }
    }

    /// Moves one from a name to another; returns whether the names that occur are others than before.
    fn shift(&mut self, from: Option<Name>, to: Option<Name>) -> bool {
        if from == to {
            return false;
        }
        let new = to.is_some_and(|name| self.add(name));
        let gone = from.is_some_and(|name| self.sub(name));
        new || gone
    }
}

/// What of a Node is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    place: ZoneKey,
    /// From when on it is a failure that it is not Ready; `None` while it is.
    down: Option<Wall>,
    provider: Name,
    /// Whether EKS Auto Mode runs it.
    auto_mode: bool,
    kubelet: Name,
    host: bool,
    balancing: Balancing,
}

impl Share {
    fn of(names: &Names, node: &Node) -> Self {
        Self {
            place: place(names, node),
            down: node.excused_until(),
            provider: node.provider,
            auto_mode: node.is_of_auto_mode(names),
            kubelet: node.kubelet,
            host: node.hosts_pods(),
            balancing: node.balancing(names),
        }
    }
}

/// The zone and region that a Node says it is in.
pub(crate) fn place(names: &Names, node: &Node) -> ZoneKey {
    let label = |key| names.find(key).and_then(|key| node.labels.get(key));
    (label(ZONE).unwrap_or_default(), label(REGION).unwrap_or_default())
}

impl NodeSums {
    /// Notes the names that they hold.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.places.keys());
        for counts in [&self.providers, &self.kubelets, &self.host_zones] {
            held.all(counts.0.keys());
        }
    }

    /// Takes one row in exchange for another, and says which sums are others than before.
    pub(crate) fn exchange<'n>(
        &mut self,
        names: &Names,
        old: Option<&'n Node>,
        new: Option<&'n Node>,
    ) -> Deps {
        let placement = |node: &'n Node| (&node.labels, &node.taints, node.os);
        let mut deps = if old.map(placement) == new.map(placement) {
            Deps::NONE
        } else {
            Deps::one(Dep::NodePlacement)
        };
        let share = |node: &Node| Share::of(names, node);
        let (old, new) = (old.map(share), new.map(share));
        if old == new {
            return deps;
        }
        let mut mark = |changed: bool, part| {
            if changed {
                deps = deps.with(Deps::one(part));
            }
        };
        let host = |share: &Share| share.host;
        mark(old.is_none() != new.is_none(), Dep::NodeCount);
        let (was, is) = [old, new]
            .map(|one| one.map(|share| (share.place, share.down)))
            .into();
        mark(was != is, Dep::NodesDown);
        mark(self.move_place(was, is), Dep::NodeZones);
        let balancing = |share: Share| share.balancing;
        mark(old.map(balancing) != new.map(balancing), Dep::NodesInService);
        mark(
            self.providers
                .shift(old.map(|one| one.provider), new.map(|one| one.provider)),
            Dep::NodeProviders,
        );
        let auto_mode = |share: &Share| share.auto_mode;
        let [was, is] = [old, new].map(|one| u32::from(one.as_ref().is_some_and(auto_mode)));
        self.auto_mode = (self.auto_mode + is).saturating_sub(was);
        mark(was != is, Dep::NodeProviders);
        mark(
            self.kubelets
                .shift(old.map(|one| one.kubelet), new.map(|one| one.kubelet)),
            Dep::NodeKubelets,
        );
        let zone = |share: Share| share.place.0;
        let (was, is) = (old.filter(host).map(zone), new.filter(host).map(zone));
        self.host_zones.shift(was, is);
        // Which Nodes these are counts as well: one may have taken the place of another.
        mark(was != is, Dep::NodeRoom);
        self.count = (self.count + u32::from(new.is_some())).saturating_sub(u32::from(old.is_some()));
        self.hosts = (self.hosts + u32::from(is.is_some())).saturating_sub(u32::from(was.is_some()));
        deps
    }

    /// Moves one from a place to another; returns whether the zones that there are are others than before.
    fn move_place(
        &mut self,
        from: Option<(ZoneKey, Option<Wall>)>,
        to: Option<(ZoneKey, Option<Wall>)>,
    ) -> bool {
        let mut other = false;
        if let Some((place, down)) = to {
            other |= !self.has_zone(place.0);
            self.places.entry(place).or_default().count(down);
        }
        if let Some((place, down)) = from
            && let Some(sum) = self.places.get_mut(&place)
        {
            sum.discount(down);
            if sum.nodes == 0 {
                self.places.remove(&place);
                other |= !self.has_zone(place.0);
            }
        }
        other
    }

    /// The Nodes of each zone that count now, by zone and region.
    pub fn places(&self, now: Wall) -> impl Iterator<Item = (ZoneKey, NodeTally)> + '_ {
        self.places.iter().map(move |(place, sum)| (*place, sum.at(now)))
    }

    /// The Nodes of one zone of one region that count now.
    pub fn place(&self, place: ZoneKey, now: Wall) -> NodeTally {
        self.places.get(&place).map(|sum| sum.at(now)).unwrap_or_default()
    }

    /// The regions that have a zone of this name, with the Nodes of each that count now.
    pub fn regions_of(&self, zone: Name, now: Wall) -> impl Iterator<Item = (Name, NodeTally)> + '_ {
        self.regions(zone).map(move |(place, sum)| (place.1, sum.at(now)))
    }

    /// Whether some Node is in a zone of this name.
    pub fn has_zone(&self, zone: Name) -> bool {
        self.regions(zone).next().is_some()
    }

    fn regions(&self, zone: Name) -> impl Iterator<Item = (&ZoneKey, &ZoneSum)> + '_ {
        self.places.range((zone, Name::EMPTY)..=(zone, Name::MAX))
    }

    /// The Nodes of the whole cluster that count now.
    pub fn all(&self, now: Wall) -> NodeTally {
        self.places(now)
            .fold(NodeTally::default(), |all, one| all.with(one.1))
    }

    /// How many Nodes there are.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Zones of all Nodes; the empty name where some Node has none.
    pub fn zones(&self) -> impl Iterator<Item = Name> + '_ {
        // In order: those of equal name in several regions stand beside each other.
        let mut last = None;
        let names = self.places.keys().map(|place| place.0);
        names.filter(move |zone| last.replace(*zone) != Some(*zone))
    }

    /// What their provider IDs say of the provider; the empty name where some Node has none.
    pub fn providers(&self) -> impl Iterator<Item = Name> + '_ {
        self.providers.0.keys().copied()
    }

    /// Whether EKS Auto Mode runs any of them.
    pub const fn has_auto_mode(&self) -> bool {
        self.auto_mode > 0
    }

    /// Versions of their kubelets; the empty name where some Node has none.
    pub fn kubelets(&self) -> impl Iterator<Item = Name> + '_ {
        self.kubelets.0.keys().copied()
    }

    /// How many Nodes take ordinary Pods.
    pub const fn hosts(&self) -> u32 {
        self.hosts
    }

    /// How many of them are in a zone.
    pub fn hosts_in(&self, zone: Name) -> u32 {
        self.host_zones.0.get(&zone).copied().unwrap_or_default()
    }

    /// Zones of those Nodes; the empty name where one has none.
    pub fn host_zones(&self) -> impl Iterator<Item = Name> + '_ {
        self.host_zones.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Row;

    fn node(names: &mut Names, zone: &str, kubelet: &str, ready: bool) -> Node {
        let json = format!(
            r#"{{"metadata":{{"name":"n","labels":{{"{ZONE}":"{zone}"}}}},"spec":{{"providerID":"aws:///x"}},
            "status":{{"conditions":[{{"type":"Ready","status":"{}"}}],"nodeInfo":{{"kubeletVersion":"{kubelet}"}}}}}}"#,
            if ready { "True" } else { "False" }
        );
        Node::parse(json.as_bytes(), names).unwrap().1
    }

    #[test]
    fn only_the_sums_that_change_are_named() {
        let mut names = Names::default();
        let a = node(&mut names, "a", "v1", true);
        let sick = node(&mut names, "a", "v1", false);
        let b = node(&mut names, "b", "v1", true);
        let mut sums = NodeSums::default();
        let has = |parts: Deps, part| parts.meets(Deps::one(part));

        let first = sums.exchange(&names, None, Some(&a));
        assert!(has(first, Dep::NodeCount) && has(first, Dep::NodeZones) && has(first, Dep::NodeRoom));
        let second = sums.exchange(&names, None, Some(&a));
        assert!(has(second, Dep::NodeCount) && !has(second, Dep::NodeZones) && has(second, Dep::NodeRoom));
        assert!(sums.exchange(&names, Some(&a), Some(&a)).is_empty());
        assert_eq!(
            sums.exchange(&names, Some(&a), Some(&sick)),
            Deps::one(Dep::NodeRoom)
                .with(Deps::one(Dep::NodesDown))
                .with(Deps::one(Dep::NodesInService))
        );
        let tally = sums.all(Wall(0));
        assert_eq!((tally.nodes, tally.down, tally.excused), (2, 1, 0));
        assert_eq!((sums.count(), sums.hosts()), (2, 1));
        let moved = sums.exchange(&names, Some(&a), Some(&b));
        assert!(has(moved, Dep::NodeZones) && !has(moved, Dep::NodeKubelets));
        assert_eq!(sums.zones().count(), 2);
        assert_eq!(
            sums.host_zones().map(|zone| names.text(zone)).collect::<Vec<_>>(),
            ["b"]
        );
        for gone in [&sick, &b] {
            sums.exchange(&names, Some(gone), None);
        }
        assert_eq!((sums.count(), sums.hosts(), sums.zones().count()), (0, 0, 0));
        assert_eq!(sums.places(Wall(0)).count(), 0);
    }
}
