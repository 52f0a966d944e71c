//! What a history is made of, and what it leaves behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_core::know::{Mono, Now, Source, Wall};
use evenkeel_core::policy::{ClusterPolicy, Policy};

/// When every history begins.
pub(crate) const BEGINNING: Wall = Wall(1_800_000_000);

pub(crate) const NAMESPACES: [&str; 3] = ["shop", "pay", "kube-system"];

/// Sources of which a history brings objects as JSON, and of which it loses and regains the list, as it does of
/// policies. The platform's policy and configz documents come by steps of their own; Events are folded and not stored.
pub(crate) const PLAIN: [Source; 14] = [
    Source::Services,
    Source::EndpointSlices,
    Source::Nodes,
    Source::Namespaces,
    Source::Pods,
    Source::DaemonSets,
    Source::Deployments,
    Source::ConfigMaps,
    Source::CiliumNodeConfigs,
    Source::FelixConfigurations,
    Source::Installations,
    Source::L2Advertisements,
    Source::PriorityClasses,
    Source::Webhooks,
];

/// Which object: source, namespace, name.
pub(crate) type Id = (Source, String, String);

#[derive(Debug, Clone)]
pub(crate) enum Thing {
    Json(String),
    Policy(Arc<Policy>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Health {
    Complete,
    Silent,
    Lost,
    /// Read in the first namespace alone.
    Within,
    /// Complete, but stale in the first namespace.
    Torn,
}

/// What a history has left behind.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) things: BTreeMap<Id, Thing>,
    pub(crate) health: BTreeMap<Source, Health>,
    pub(crate) cluster: Option<Arc<ClusterPolicy>>,
    pub(crate) configz: BTreeMap<String, String>,
    /// Seconds that have passed since the beginning.
    pub(crate) passed: u32,
}

impl World {
    /// The present; both clocks go together.
    pub(crate) fn now(&self) -> Now {
        Now {
            mono: Mono(1_000 + u64::from(self.passed) * 1_000),
            wall: Wall(BEGINNING.0 + i64::from(self.passed)),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Put(Source, u8, u8, u8),
    Delete(Source, u8, u8),
    /// A list that leaves out what the mask names, with or without a round before its end, and whether it ends.
    Relist(Source, u16, bool, bool),
    Health(Source, Health),
    Cluster(Option<u8>),
    Configz(u8, Option<u8>),
    /// Time passes: so many seconds, or until the deadline that the core names.
    Pass(Option<u32>),
    Round,
    /// The same, until it has come to about so many verdicts.
    Part(u8),
}
