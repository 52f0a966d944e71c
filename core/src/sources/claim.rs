//! Who else holds a Node: people and controllers that take it out of service or are about to, each by its own mark.
//!
//! A remedy yields to all of them. A mark is a taint, whatever its effect, or an annotation of the Node itself; what a
//! controller writes elsewhere (Leases, its own kinds) is not seen, but each of these also cordons the Node before it drains it.

use super::TextMap;
use super::taint::TaintWire;

/// The taint of a Node that evenkeel fences. Cluster Autoscaler from 1.29 takes a taint of this prefix for the node's
/// state and leaves it out of its templates (`cluster-autoscaler/FAQ.md`, "Status taints").
pub const FENCE: &str = "status-taint.cluster-autoscaler.kubernetes.io/evenkeel-fenced";

/// The annotation by which people keep evenkeel off a Node: any value but `false`.
pub const HANDS_OFF: &str = "evenkeel.dev/hands-off";

/// Somebody who holds a Node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    /// It is being deleted.
    Deletion,
    /// People asked to leave it alone.
    HandsOff,
    /// Cluster Autoscaler.
    ClusterAutoscaler,
    /// Karpenter.
    Karpenter,
    /// kured, which reboots it.
    Kured,
    /// A remediator of medik8s.
    Medik8s,
    /// The node maintenance operator.
    NodeMaintenance,
    /// Cluster API, which replaces it.
    ClusterApi,
    /// Gardener's machine controller manager, which replaces it.
    MachineControllerManager,
    /// OpenShift's machine config operator, which drains it.
    MachineConfigOperator,
    /// The provider, or its handler of terminations.
    Provider,
    /// Somebody who cordoned it, a person or a drain.
    Cordon,
}

impl Holder {
    /// In a sentence.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deletion => "its deletion",
            Self::HandsOff => "the annotation evenkeel.dev/hands-off",
            Self::ClusterAutoscaler => "Cluster Autoscaler",
            Self::Karpenter => "Karpenter",
            Self::Kured => "kured",
            Self::Medik8s => "medik8s",
            Self::NodeMaintenance => "the node maintenance operator",
            Self::ClusterApi => "Cluster API",
            Self::MachineControllerManager => "the machine controller manager",
            Self::MachineConfigOperator => "the machine config operator",
            Self::Provider => "the provider's termination handler",
            Self::Cordon => "a cordon",
        }
    }
}

/// How a holder marks a Node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A taint of this key, or of a key that begins so where it ends with a slash.
    Taint(&'static str),
    /// An annotation of this key with a value other than empty and `false`.
    Annotation(&'static str),
    /// An annotation of this key with a value that begins so.
    AnnotationPrefix(&'static str, &'static str),
}

/// A holder, its mark, and where its project defines it.
pub type HolderMark = (Holder, Mark, &'static str);

/// Every mark, the first that is found counts. A Node that is being deleted or cordoned is looked at by its fields.
pub const MARKS: &[HolderMark] = &[
    (Holder::HandsOff, Mark::Annotation(HANDS_OFF), "evenkeel"),
    (
        Holder::ClusterAutoscaler,
        Mark::Taint("ToBeDeletedByClusterAutoscaler"),
        "kubernetes/autoscaler cluster-autoscaler/utils/taints",
    ),
    (
        Holder::ClusterAutoscaler,
        Mark::Taint("DeletionCandidateOfClusterAutoscaler"),
        "kubernetes/autoscaler cluster-autoscaler/utils/taints",
    ),
    (
        Holder::Karpenter,
        Mark::Taint("karpenter.sh/"),
        "kubernetes-sigs/karpenter pkg/apis/v1/taints.go (disrupted, unregistered), v1beta1 (disruption)",
    ),
    (
        Holder::Kured,
        Mark::Annotation("weave.works/kured-reboot-in-progress"),
        "kubereboot/kured cmd/kured/main.go",
    ),
    (
        Holder::NodeMaintenance,
        Mark::Taint("medik8s.io/drain"),
        "medik8s/node-maintenance-operator controllers/taint.go",
    ),
    (
        Holder::Medik8s,
        Mark::Taint("medik8s.io/"),
        "medik8s/self-node-remediation, medik8s/fence-agents-remediation (medik8s.io/remediation)",
    ),
    (
        Holder::Medik8s,
        Mark::Taint("node.kubernetes.io/out-of-service"),
        "k8s.io/api/core/v1/well_known_taints.go (TaintNodeOutOfService)",
    ),
    (
        Holder::ClusterApi,
        Mark::Taint("node.cluster.x-k8s.io/"),
        "kubernetes-sigs/cluster-api api/core/v1beta2 (NodeOutdatedRevisionTaint, NodeUninitializedTaint)",
    ),
    (
        Holder::MachineControllerManager,
        Mark::Taint("deployment.machine.sapcloud.io/prefer-no-schedule"),
        "gardener/machine-controller-manager pkg/controller (PreferNoScheduleKey)",
    ),
    (
        Holder::MachineConfigOperator,
        Mark::AnnotationPrefix("machineconfiguration.openshift.io/desiredDrain", "drain-"),
        "openshift/machine-config-operator pkg/daemon/constants",
    ),
];

/// Whether an annotation of this name may be a mark, so that it is kept.
pub(super) fn keeps_annotation(key: &str) -> bool {
    MARKS.iter().any(|(_, mark, _)| match mark {
        Mark::Annotation(name) | Mark::AnnotationPrefix(name, _) => *name == key,
        Mark::Taint(_) => false,
    })
}

/// Who holds a Node with these taints and annotations.
pub(super) fn holder(
    deleting: bool,
    unschedulable: bool,
    taints: &[TaintWire<'_>],
    annotations: &TextMap<'_>,
) -> Option<Holder> {
    if deleting {
        return Some(Holder::Deletion);
    }
    let marked = |mark: &Mark| match *mark {
        Mark::Taint(prefix) if prefix.ends_with('/') => {
            taints.iter().any(|one| one.key().starts_with(prefix))
        }
        Mark::Taint(key) => taints.iter().any(|one| one.key() == key),
        Mark::Annotation(name) => annotations
            .get(name)
            .is_some_and(|value| !value.is_empty() && &**value != "false"),
        Mark::AnnotationPrefix(name, prefix) => annotations
            .get(name)
            .is_some_and(|value| value.starts_with(prefix)),
    };
    let marked = MARKS.iter().find(|(_, mark, _)| marked(mark)).map(|one| one.0);
    let cordoned = || unschedulable.then_some(Holder::Cordon);
    let taken = || {
        let leaves = taints.iter().any(TaintWire::takes_away);
        leaves.then_some(Holder::Provider)
    };
    marked.or_else(cordoned).or_else(taken)
}

/// Whether a Node carries evenkeel's own taint.
pub(super) fn is_fenced(taints: &[TaintWire<'_>]) -> bool {
    taints.iter().any(|one| one.key() == FENCE)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::names::Names;
    use crate::sources::Row;
    use crate::sources::node::Node;

    #[allow(clippy::needless_pass_by_value, reason = "they are made for this call")]
    fn read(spec: Value, annotations: Value) -> Node {
        let node = json!({"metadata": {"name": "n", "annotations": annotations}, "spec": spec});
        Node::parse(node.to_string().as_bytes(), &mut Names::default())
            .unwrap()
            .1
    }

    fn taint(key: &str) -> Value {
        json!({"taints": [{"key": key, "effect": "PreferNoSchedule"}]})
    }

    #[rstest]
    #[case::nobody(json!({}), json!({"a": "b"}), None)]
    #[case::a_person(json!({"unschedulable": true}), json!({}), Some(Holder::Cordon))]
    #[case::autoscaler(taint("DeletionCandidateOfClusterAutoscaler"), json!({}), Some(Holder::ClusterAutoscaler))]
    #[case::karpenter(taint("karpenter.sh/disrupted"), json!({}), Some(Holder::Karpenter))]
    #[case::kured(json!({"unschedulable": true}), json!({"weave.works/kured-reboot-in-progress": "2027-01-15T08:00:00Z"}),
        Some(Holder::Kured))]
    #[case::maintenance(taint("medik8s.io/drain"), json!({}), Some(Holder::NodeMaintenance))]
    #[case::remediation(taint("medik8s.io/remediation"), json!({}), Some(Holder::Medik8s))]
    #[case::cluster_api(taint("node.cluster.x-k8s.io/outdated-revision"), json!({}), Some(Holder::ClusterApi))]
    #[case::gardener(taint("deployment.machine.sapcloud.io/prefer-no-schedule"), json!({}),
        Some(Holder::MachineControllerManager))]
    #[case::openshift_drains(json!({}), json!({"machineconfiguration.openshift.io/desiredDrain": "drain-rendered-a"}),
        Some(Holder::MachineConfigOperator))]
    #[case::openshift_is_done(json!({}), json!({"machineconfiguration.openshift.io/desiredDrain": "uncordon-rendered-a"}),
        None)]
    #[case::spot(taint("aws-node-termination-handler/spot-itn"), json!({}), Some(Holder::Provider))]
    #[case::hands_off(json!({}), json!({HANDS_OFF: "true"}), Some(Holder::HandsOff))]
    #[case::hands_off_withdrawn(json!({}), json!({HANDS_OFF: "false"}), None)]
    #[case::the_nodes_own_purpose(taint("example.com/gpu"), json!({}), None)]
    fn holders(#[case] spec: Value, #[case] annotations: Value, #[case] expected: Option<Holder>) {
        assert_eq!(read(spec, annotations).holder, expected);
    }

    #[test]
    fn our_own_fence_is_no_holder() {
        let node = read(taint(FENCE), json!({}));
        assert_eq!((node.holder, node.fenced), (None, true));
        assert!(!read(taint("other"), json!({})).fenced);
    }

    #[test]
    fn what_marks_need_is_kept_of_a_collected_node() {
        let kept = <Node as Row>::KEPT_KEYS[0].1;
        assert!(kept(HANDS_OFF) && kept("weave.works/kured-reboot-in-progress"));
        assert!(!kept("example.com/other"));
    }
}
