//! What a verdict can rest on, finer than a whole source: so that a change re-judges those who looked, and nobody else.

use crate::know::Reads;

/// A part of what is known that a check may look at alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// What the nodes effectively do with Service traffic.
    Fleet = 32,
    /// How many nodes do the same, and which: findings say so, while verdicts do not depend on it.
    FleetCounts,
    /// What that is derived from, Nodes aside.
    FleetInputs,
    /// How many Nodes there are, and their names.
    NodeCount,
    /// In which zones Nodes are.
    NodeZones,
    /// How many Nodes each zone has, and how many of them are not ready.
    NodesDown,
    /// Which Nodes a load balancer may send to.
    NodesInService,
    /// Which providers their IDs name.
    NodeProviders,
    /// Which versions their kubelets have.
    NodeKubelets,
    /// Which Nodes could hold a backend.
    NodeRoom,
    /// Pods of which a container was kept: proxies, the CNI, DNS, the control plane.
    Components,
    /// Pods of the namespace of the Service under judgement.
    OwnPods,
    /// What was seen to change, Events aside.
    History,
    /// Evictions and preemptions that were seen.
    PastEvents,
}

/// A set of whole sources and [`Part`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts(u64);

impl Parts {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Whole sources.
    pub const fn of(sources: Reads) -> Self {
        Self(sources.bits() as u64)
    }

    /// One part.
    pub const fn one(part: Part) -> Self {
        Self(1 << part as u8)
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the two sets share something.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
