//! What a verdict can depend on, finer than a whole source: so that a change judges again what depends on it, and nothing
//! else.

use crate::know::Reads;

/// Something that a check may read alone, out of what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Dep {
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
    /// What decides which Pods a Node may hold: labels, lasting taints, operating system.
    NodePlacement,
    /// Pods of which a container was kept: proxies, the CNI, DNS, the control plane.
    Components,
    /// Pods of the namespace of the Service under judgement.
    OwnPods,
    /// What was seen to change, Events aside.
    History,
    /// Evictions and preemptions that were seen.
    PastEvents,
    /// The Node, zone or webhook configuration under judgement.
    Own,
    /// What was seen to happen to the Node or zone under judgement.
    OwnHistory,
    /// What was measured on the Node under judgement, or on the backends of the Service.
    OwnSamples,
    /// What was measured on other Nodes.
    NodeSamples,
    /// What was measured on API servers and on the cluster.
    InstanceSamples,
    /// What is measured at all, and why something is not.
    SampleGaps,
}

/// A set of whole sources and [`Dep`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Deps(u64);

impl Deps {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Whole sources.
    pub const fn of(sources: Reads) -> Self {
        Self(sources.bits() as u64)
    }

    /// One of them.
    pub const fn one(part: Dep) -> Self {
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

/// How often something is depended on: kept as units come and go, so that a change that concerns none costs nothing.
#[derive(Debug)]
pub(crate) struct DepCounts([u32; 64]);

impl Default for DepCounts {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl DepCounts {
    /// Adds what one more depends on.
    pub(crate) fn add(&mut self, deps: Deps) {
        self.each(deps, |count| count.saturating_add(1));
    }

    /// Removes what one depended on.
    pub(crate) fn remove(&mut self, deps: Deps) {
        self.each(deps, |count| count.saturating_sub(1));
    }

    /// Whether any depends on one of these.
    pub(crate) fn meets(&self, deps: Deps) -> bool {
        let mut counts = self.0.iter().enumerate();
        counts.any(|(bit, count)| *count > 0 && deps.0 & (1 << bit) != 0)
    }

    fn each(&mut self, deps: Deps, change: impl Fn(u32) -> u32) {
        let mut bits = deps.0;
        while bits != 0 {
            if let Some(count) = self.0.get_mut(bits.trailing_zeros() as usize) {
                *count = change(*count);
            }
            bits &= bits - 1;
        }
    }
}
