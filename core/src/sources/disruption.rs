//! What a Pod's status says of who made it go: the scheduler, for a Pod of a higher priority, or a kubelet that was short of
//! something.
//!
//! The status decides, because the role `edit` cannot write it: `pods/status` is in the role `view` to read, and to write
//! in no role of users; at creation it is emptied (`k8s.io/kubernetes`, `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`
//! and `PrepareForCreate` in `pkg/registry/core/pod/strategy.go`). A kubelet writes it of its own Pods alone (admission
//! plugin `NodeRestriction`). Events say the same, and anybody may write them.

use crate::know::Wall;

/// Who made a Pod go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisruptionReason {
    /// The kubelet evicted or refused it for want of memory, storage or process ids: phase `Failed` and reason `Evicted`
    /// (`evictPod` and `Admit` in `pkg/kubelet/eviction/eviction_manager.go`, `rejectPod` in `pkg/kubelet/kubelet.go`).
    Evicted,
    /// The scheduler made room for another Pod: condition `DisruptionTarget` with reason `PreemptionByScheduler`, written
    /// before the Pod is deleted and before the Event (`pkg/scheduler/framework/preemption/executor.go`; on by default
    /// since Kubernetes 1.26).
    Preempted,
}

/// That a Pod was made to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PodDisruption {
    /// Why.
    pub reason: DisruptionReason,
    /// When, as far as its status says.
    pub at: Option<Wall>,
    /// A hash of the Pod's uid; 0 where it has none, as in files that were never applied.
    pub uid: u64,
    /// Whether it was there to make way: a Pod of a priority below 0.
    pub placeholder: bool,
}

/// How the messages of a node that is short of something begin (`nodeLowMessageFmt` and `nodeConditionMessageFmt` in
/// `pkg/kubelet/eviction/helpers.go`). Those of a Pod over a limit of its own begin otherwise: its node lacks nothing.
const SHORT: [&str; 2] = ["The node was low on resource: ", "The node had condition: "];

/// What `rejectPod` puts before the message of a Pod that the kubelet does not admit; older kubelets wrote the second.
const REJECTED: [&str; 2] = ["Pod was rejected: ", "Pod "];

/// The fields of a Pod that say so.
#[derive(Debug)]
pub(super) struct DisruptionWire<'a> {
    pub(super) phase: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    /// Reason and last transition of the condition `DisruptionTarget`, where it is `True`.
    pub(super) target: Option<(&'a str, &'a str)>,
    pub(super) start_time: &'a str,
}

impl DisruptionWire<'_> {
    pub(super) fn read(&self, uid: &str, priority: Option<i32>) -> Option<PodDisruption> {
        let (reason, at) = match self.target {
            Some(("PreemptionByScheduler", at)) => (DisruptionReason::Preempted, at),
            target => {
                let rejected = self.evicted()?;
                // A Pod that was refused starts when it is refused, and has no condition.
                let start = if rejected { self.start_time } else { "" };
                (DisruptionReason::Evicted, target.map_or(start, |one| one.1))
            }
        };
        Some(PodDisruption {
            reason,
            at: Wall::parse(at),
            uid: super::uid_hash(uid),
            placeholder: priority.is_some_and(|priority| priority < 0),
        })
    }

    /// Whether its kubelet was short of something; and then whether the Pod was not admitted.
    fn evicted(&self) -> Option<bool> {
        if self.phase != "Failed" || self.reason != "Evicted" {
            return None;
        }
        let is_short = |message: &str| SHORT.iter().any(|begin| message.starts_with(begin));
        if is_short(self.message) {
            return Some(false);
        }
        let mut rest = REJECTED
            .iter()
            .filter_map(|begin| self.message.strip_prefix(begin));
        rest.any(is_short).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const LOW: &str = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 20Mi. ";

    #[rstest]
    #[case::short(LOW, Some(DisruptionReason::Evicted))]
    #[case::short_of_inodes("The node was low on resource: inodes. ", Some(DisruptionReason::Evicted))]
    #[case::condition("The node had condition: [DiskPressure]. ", Some(DisruptionReason::Evicted))]
    #[case::refused(
        "Pod was rejected: The node had condition: [MemoryPressure]. ",
        Some(DisruptionReason::Evicted)
    )]
    #[case::refused_by_an_older_one(
        "Pod The node had condition: [MemoryPressure]. ",
        Some(DisruptionReason::Evicted)
    )]
    #[case::by_a_container_of_a_telling_name(
        "The node was low on resource: memory. Container exceeds-limit was using 2Gi, request is 1Gi, has larger \
         consumption of memory. ",
        Some(DisruptionReason::Evicted)
    )]
    #[case::own_volume("Usage of EmptyDir volume \"work\" exceeds the limit \"1Gi\". ", None)]
    #[case::own_storage(
        "Pod ephemeral local storage usage exceeds the total limit of containers 2Gi. ",
        None
    )]
    #[case::own_container("Container app exceeded its local ephemeral storage limit \"1Gi\". ", None)]
    #[case::silent("", None)]
    fn a_kubelet_says_what_its_node_lacks(#[case] message: &str, #[case] expected: Option<DisruptionReason>) {
        let wire = DisruptionWire {
            phase: "Failed",
            reason: "Evicted",
            message,
            target: None,
            start_time: "2026-11-21T12:00:00Z",
        };
        let read = wire.read("u1", None);
        assert_eq!(read.map(|one| one.reason), expected);
        let rejected = message.starts_with("Pod ");
        assert_eq!(
            read.is_some_and(|one| one.at.is_some()),
            rejected && expected.is_some()
        );
        let running = DisruptionWire {
            phase: "Running",
            ..wire
        };
        assert_eq!(running.read("u1", None), None);
    }

    #[rstest]
    #[case::scheduler("PreemptionByScheduler", Some(DisruptionReason::Preempted))]
    #[case::drained("EvictionByEvictionAPI", None)]
    #[case::taint("DeletionByTaintManager", None)]
    #[case::collected("DeletionByPodGC", None)]
    #[case::shutdown("TerminationByKubelet", None)]
    fn the_scheduler_says_whom_it_preempts(#[case] target: &str, #[case] expected: Option<DisruptionReason>) {
        let wire = DisruptionWire {
            phase: "Running",
            reason: "",
            message: "",
            target: Some((target, "2026-11-21T13:00:00Z")),
            start_time: "2026-11-21T12:00:00Z",
        };
        let read = wire.read("u1", Some(-10));
        assert_eq!(read.map(|one| one.reason), expected);
        assert!(read.is_none_or(|one| one.placeholder && one.at == Some(Wall(1_795_266_000))));
    }
}
