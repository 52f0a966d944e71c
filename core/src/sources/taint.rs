//! Taints of Nodes: which last, which come and go, and which say that the node leaves.

use serde::Deserialize;

use super::{Text, or_default};
use crate::names::{Name, Names};

/// Taints by which a controller says that it takes the node away. `DeletionCandidateOfClusterAutoscaler` is none of
/// them: such a node is only considered.
///
/// Sources: Cluster Autoscaler `utils/taints`, Karpenter `pkg/apis/v1/taints.go` (and `v1beta1`), AWS Node Termination
/// Handler `pkg/node`, GKE "impending node termination", AKS "node auto-drain" (its key changed with "node auto-repair" in
/// the release notes), `k8s.io/api/core/v1/well_known_taints.go` for the cordon.
const LEAVING: [&str; 11] = [
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "aws-node-termination-handler/spot-itn",
    "aws-node-termination-handler/scheduled-maintenance",
    "aws-node-termination-handler/asg-lifecycle-termination",
    "aws-node-termination-handler/rebalance-recommendation",
    "cloud.google.com/impending-node-termination",
    "remediator.aks.microsoft.com/unschedulable",
    "remediator.kubernetes.azure.com/unschedulable",
    "node.kubernetes.io/unschedulable",
];

/// The taint of a node whose machine is shut down (`k8s.io/cloud-provider/api`, `TaintNodeShutdown`).
const SHUT_DOWN: &str = "node.cloudprovider.kubernetes.io/shutdown";

/// Prefixes of taints that show the node's present state, and not which Pods it is for: they come and go, and daemons
/// bear them (`pkg/controller/daemon/util`).
const PASSING: [&str; 11] = [
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    // Cluster API, until it has linked the Machine (`api/core/v1beta2`, `NodeUninitializedTaint`).
    "node.cluster.x-k8s.io/",
    // Network plugins and CSI drivers, until they are ready on the node.
    "node.cilium.io/agent-not-ready",
    "ebs.csi.aws.com/agent-not-ready",
    "efs.csi.aws.com/agent-not-ready",
    "remediator.aks.microsoft.com/",
    "remediator.kubernetes.azure.com/",
    // A node that is to go still has its Pods: Cluster Autoscaler (`utils/taints`) and Karpenter (`pkg/apis/v1`).
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
    "karpenter.sh/",
];

/// Whether a taint or toleration of this key shows the node's present state, and not which Pods it is for.
pub(crate) fn is_passing(key: &str) -> bool {
    PASSING.iter().any(|prefix| key.starts_with(prefix))
}

/// A taint that keeps Pods away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Taint {
    /// Its key.
    pub key: Name,
    /// Its value; empty when absent.
    pub value: Name,
    /// `NoSchedule` or `NoExecute`.
    pub effect: Name,
}

/// Whether a taint of this effect keeps Pods from a node; `PreferNoSchedule` is a wish.
fn keeps_away(effect: &str) -> bool {
    matches!(effect, "NoSchedule" | "NoExecute")
}

/// One of `spec.taints`.
#[derive(Deserialize)]
pub(super) struct TaintWire<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    key: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    value: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    effect: Text<'a>,
}

impl TaintWire<'_> {
    /// Its key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether it says that a controller takes the node away.
    pub(super) fn takes_away(&self) -> bool {
        LEAVING.contains(&&*self.key)
    }

    /// Whether it says that the node's machine is shut down.
    pub(super) fn says_shut_down(&self) -> bool {
        self.key == SHUT_DOWN
    }

    /// The row of a taint that keeps Pods away and lasts; `None` of any other.
    pub(super) fn row(&self, names: &mut Names) -> Option<Taint> {
        (keeps_away(&self.effect) && !is_passing(&self.key)).then(|| Taint {
            key: names.intern(&self.key),
            value: names.intern(&self.value),
            effect: names.intern(&self.effect),
        })
    }
}
