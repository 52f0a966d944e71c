//! How a check reads Nodes: as narrowly as it can, since one of thousands changes every second.

use std::collections::BTreeSet;

use super::Look;
use crate::fleet::Class;
use crate::index::{Dep, Deps, NodeSums, NodeTally};
use crate::judge::Subject;
use crate::know::{Known, Reads, Source};
use crate::names::{Key, Name};
use crate::sources::node::{Balancing, Node, Readiness, Stays};
use crate::sources::placement::Placement;

/// Nodes that could hold a Pod, and their zones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// The nodes.
    pub nodes: BTreeSet<Name>,
    /// Their zones, as far as they are labelled.
    pub zones: BTreeSet<Name>,
}

impl<'a> Look<'a> {
    /// Sums over all Nodes, of which only the given one is read.
    pub fn node_sums(&self, dep: Dep) -> Known<&'a NodeSums> {
        self.depend_on(Deps::one(dep));
        self.read(Source::Nodes)?;
        Ok(&self.index.sums)
    }

    /// Whether a Node of this name takes ordinary Pods.
    pub fn hosts_pods(&self, node: Name) -> Known<bool> {
        self.node_sums(Dep::NodeRoom)?;
        Ok(self.row(node).is_some_and(Node::hosts_pods))
    }

    /// How a load balancer sees a Node of this name; one that does not exist is down.
    pub fn balancing(&self, node: Name) -> Known<Balancing> {
        self.node_sums(Dep::NodesInService)?;
        let gone = Balancing {
            left_out: true,
            stays: Stays::Down,
        };
        let row = self.row(node);
        Ok(row.map_or(gone, |row| row.balancing(&self.index.names)))
    }

    /// The nodes that could hold a Pod of one of these placements, now or soon: ready and not about to be drained.
    pub fn room(&self, placements: &[&Placement]) -> Known<Room> {
        for dep in [Dep::NodeRoom, Dep::NodePlacement, Dep::NodesInService] {
            self.node_sums(dep)?;
        }
        let names = &self.index.names;
        let mut room = Room::default();
        for (key, row) in self.index.nodes.iter() {
            let open = row.ready == Readiness::Ready && !row.unschedulable;
            if open && placements.iter().any(|one| one.allows(key.name, row, names)) {
                room.nodes.insert(key.name);
                room.zones
                    .extend(names.find(row.zone(names)).filter(|zone| !zone.is_empty()));
            }
        }
        Ok(room)
    }

    /// Whether there is a Node of this name.
    pub fn has_node(&self, node: Name) -> Known<bool> {
        self.node_sums(Dep::NodeCount)?;
        Ok(self.row(node).is_some())
    }

    /// The Nodes of the zones of this name that count now, by region.
    pub fn zone(&self, zone: Name) -> Known<impl Iterator<Item = (Name, NodeTally)> + use<'a>> {
        let own = self.own == Subject::Zone(zone);
        self.depend_on(Deps::one(if own { Dep::Own } else { Dep::NodesDown }));
        self.read(Source::Nodes)?;
        Ok(self.index.sums.regions_of(zone, self.now.wall))
    }

    /// One Node, if there is one of this name.
    pub fn node(&self, name: Name) -> Known<Option<&'a Node>> {
        if self.own == Subject::Node(name) {
            self.depend_on(Deps::one(Dep::Own));
        } else {
            self.depend_on(Deps::of(Reads::of(&[Source::Nodes])));
        }
        self.read(Source::Nodes)?;
        Ok(self.row(name))
    }

    /// Whether any node of a class is such. Only where nodes may stand and what they are is looked at.
    pub fn any_node_of(&self, class: &Class, is: impl Fn(Name, &Node) -> bool) -> bool {
        self.depend_on(Deps::one(Dep::NodePlacement).with(Deps::one(Dep::FleetCounts)));
        if self.read(Source::Nodes).is_err() {
            return true;
        }
        let names = self.fleet.names_of(class);
        let mut known = names.filter_map(|text| self.index.names.find(text));
        known.any(|name| self.row(name).is_some_and(|node| is(name, node)))
    }

    /// The operating system of a node, where it is known.
    pub fn os_of(&self, node: Name) -> Option<&'a str> {
        self.depend_on(Deps::one(Dep::NodePlacement));
        let os = self.row(node)?.os;
        (!os.is_empty()).then(|| self.index.names.text(os))
    }

    /// The zone that a node is labelled with; empty where that is not known.
    pub fn zone_of(&self, node: Name) -> Name {
        self.depend_on(Deps::one(Dep::NodePlacement));
        let names = &self.index.names;
        let zone = |node: &Node| names.find(node.zone(names));
        let row = self.read(Source::Nodes).ok().and_then(|()| self.row(node));
        row.and_then(zone).unwrap_or_default()
    }

    fn row(&self, node: Name) -> Option<&'a Node> {
        self.index.nodes.get(Key {
            namespace: Name::EMPTY,
            name: node,
        })
    }
}
