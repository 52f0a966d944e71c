//! Checks of balance: how many backends there are, where they are, what policy does to their shares, and what these are where
//! they are measured.

pub mod flap;
pub mod local_holes;
mod measured;
pub mod minimum_ready;
pub mod no_rebalance;
pub mod none_ready;
pub mod placement_skew;
pub mod policy_skew;
pub mod share_skew;
mod shares;
pub mod starved_newcomer;

use std::collections::BTreeMap;

use crate::judge::{Check, Look};
use crate::know::Gap;
use crate::names::{Key, Name};
use crate::route::{PortBackends, backends, backends_by_port};
use crate::sources::slice::Endpoint;

/// The checks of this family, in the order of their pages.
pub(super) const CHECKS: &[Check] = &[
    no_rebalance::CHECK,
    policy_skew::CHECK,
    share_skew::CHECK,
    starved_newcomer::CHECK,
    minimum_ready::CHECK,
    none_ready::CHECK,
    local_holes::CHECK,
    placement_skew::CHECK,
    flap::CHECK,
];

/// Backends by node or zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups {
    /// How many backends are at each place.
    pub sizes: BTreeMap<Name, u32>,
    /// A backend without a domain, and how many there are.
    pub lost: Option<(Endpoint, u32)>,
}

impl Groups {
    /// Groups backends by a place; the empty name is none.
    pub fn by(backends: &[Endpoint], place: impl Fn(&Endpoint) -> Name) -> Self {
        let mut groups = Self::default();
        for one in backends {
            let at = place(one);
            if at.is_empty() {
                let count = groups.lost.map_or(0, |held| held.1);
                groups.lost = Some((groups.lost.map_or(*one, |held| held.0), count + 1));
            } else {
                *groups.sizes.entry(at).or_default() += 1;
            }
        }
        groups
    }

    /// How many backends have no place.
    pub fn homeless(&self) -> u32 {
        self.lost.map_or(0, |held| held.1)
    }

    /// The fullest place and its size; of equal ones the first by text.
    pub fn fullest(&self, look: &Look<'_>) -> Option<(Name, u32)> {
        self.pick(look, u32::MAX)
    }

    /// The emptiest place that has a backend, and its size; of equal ones the first by text.
    pub fn emptiest(&self, look: &Look<'_>) -> Option<(Name, u32)> {
        self.pick(look, 0)
    }

    /// The place whose size is nearest to an end.
    fn pick(&self, look: &Look<'_>, end: u32) -> Option<(Name, u32)> {
        self.sizes
            .iter()
            .min_by_key(|(name, size)| (end.abs_diff(**size), look.names().text(**name)))
            .map(|(name, size)| (*name, *size))
    }

    /// Why the places are not all known.
    pub fn gap(&self, look: &Look<'_>, service: Key, field: &str) -> Option<Gap> {
        let (one, count) = self.lost?;
        Some(Gap::Opaque(
            format!(
                "EndpointSlices of {}: {count} ready endpoints, such as {}, have no {field}",
                look.show(service),
                one.address
            )
            .into(),
        ))
    }
}

/// A topology domain: what can fail, or be too full, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Domain {
    /// Nodes.
    Node,
    /// Zones.
    Zone,
}

impl Domain {
    /// The domain of an endpoint; empty when unknown. One that does not name its zone is in that of its node, from which
    /// the control plane takes it as well (`k8s.io/endpointslice`).
    fn of(self, look: &Look<'_>, one: &Endpoint) -> Name {
        match self {
            Self::Node => one.node,
            Self::Zone if one.zone.is_empty() && !one.node.is_empty() => look.zone_of(one.node),
            Self::Zone => one.zone,
        }
    }

    /// In words.
    const fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Zone => "zone",
        }
    }

    /// As an EndpointSlice calls it.
    const fn field(self) -> &'static str {
        match self {
            Self::Node => "nodeName",
            Self::Zone => "zone",
        }
    }

    /// The label of nodes by which Pods are spread over such places (`k8s.io/api/core/v1/well_known_labels.go`).
    const fn topology_key(self) -> &'static str {
        match self {
            Self::Node => "kubernetes.io/hostname",
            Self::Zone => "topology.kubernetes.io/zone",
        }
    }
}

/// Ports, as shown to people: nothing where all ports of a Service are meant.
fn of_ports(ports: &[u16]) -> String {
    match ports {
        [] => String::new(),
        [one] => format!(" of port {one}"),
        [one, more @ ..] => format!(" of port {one} and {} more", more.len()),
    }
}

#[cfg(test)]
mod adversarial;
