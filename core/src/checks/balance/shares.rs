//! The shares of backends that topology hints ask for, as kube-proxy follows them (`pkg/proxy/topology.go`): a node sends
//! to the backends that are hinted at it, else to those of its zone, else to all.

use std::collections::BTreeMap;

use crate::index::Dep;
use crate::judge::Look;
use crate::know::Known;
use crate::names::Name;
use crate::sources::slice::Endpoint;

/// What one node sends, in parts: shares are whole numbers of these, so that no rounding decides.
const PARTS: u64 = 1_000_000;

/// How many nodes send traffic: those that take ordinary Pods, and those that are hinted at.
pub(super) struct SendingNodes {
    all: u64,
    /// By zone, as far as zones are hinted at.
    by_zone: BTreeMap<Name, u64>,
}

impl SendingNodes {
    /// Counts them; with `by_node` a node that is hinted at counts though it takes no ordinary Pods.
    pub(super) fn of(look: &Look<'_>, backends: &[Endpoint], by_node: bool) -> Known<Self> {
        let nodes = look.node_sums(Dep::NodeRoom)?;
        let mut all = u64::from(nodes.hosts());
        let zones = backends.iter().map(|one| one.hint);
        let mut by_zone: BTreeMap<Name, u64> = zones
            .map(|zone| (zone, u64::from(nodes.hosts_in(zone))))
            .collect();
        if by_node {
            let places: BTreeMap<Name, Name> = backends.iter().map(|one| (one.node_hint, one.hint)).collect();
            for (node, zone) in places {
                if !look.hosts_pods(node)? {
                    all += 1;
                    *by_zone.entry(zone).or_default() += 1;
                }
            }
        }
        if all == 0 {
            // No node is known: then each zone that is hinted at has as many as every other.
            for count in by_zone.values_mut() {
                *count = 1;
            }
            all = by_zone.len() as u64;
        }
        Ok(Self { all, by_zone })
    }

    /// The share of each backend, in percent of the mean.
    pub(super) fn shares(&self, backends: &[Endpoint], by_node: bool, by_zone: bool) -> Vec<u64> {
        let total = backends.len() as u64;
        let count = |of: &dyn Fn(&Endpoint) -> Name| {
            backends
                .iter()
                .fold(BTreeMap::<Name, u64>::new(), |mut counts, one| {
                    *counts.entry(of(one)).or_default() += 1;
                    counts
                })
        };
        let (at_node, at_zone) = (count(&|one| one.node_hint), count(&|one| one.hint));
        // Nodes that have backends of their own, by zone: they need no other.
        let mut served: BTreeMap<Name, u64> = BTreeMap::new();
        if by_node {
            let places: BTreeMap<Name, Name> = backends.iter().map(|one| (one.node_hint, one.hint)).collect();
            for zone in places.into_values() {
                *served.entry(zone).or_default() += 1;
            }
        }
        let of = |counts: &BTreeMap<Name, u64>, name| counts.get(&name).copied().unwrap_or_default();
        let falls_to_zone = |zone| of(&self.by_zone, zone).saturating_sub(of(&served, zone));
        let in_zones: u64 = if by_zone {
            at_zone.keys().map(|zone| falls_to_zone(*zone)).sum()
        } else {
            0
        };
        let on_nodes: u64 = served.values().sum();
        let anywhere = self.all.saturating_sub(in_zones).saturating_sub(on_nodes);
        backends
            .iter()
            .map(|one| {
                let mut parts = anywhere * PARTS / total.max(1);
                if by_node {
                    parts += PARTS / of(&at_node, one.node_hint).max(1);
                }
                if by_zone {
                    parts += falls_to_zone(one.hint) * PARTS / of(&at_zone, one.hint).max(1);
                }
                // Against the mean, which is all / total.
                parts.saturating_mul(total * 100) / (self.all.max(1) * PARTS)
            })
            .collect()
    }
}
