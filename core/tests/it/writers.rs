//! Who may write what each check reads, in a cluster with the roles that Kubernetes brings.
//!
//! A team that may write in one namespace may change the verdicts on what lives there, and no other. The property of the same
//! name in `order` tries it; here is the list by which a new check, or a new thing to read, has to say why it holds.

use std::collections::BTreeMap;

use evenkeel_core::checks;
use evenkeel_core::judge::{Check, Judge};
use evenkeel_core::know::Source;

/// Who writes the objects of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Who administers the cluster.
    Platform,
    /// The platform, and each kubelet its own (admission plugin `NodeRestriction`).
    Node,
    /// Accounts with the role `edit` in a namespace, or with the right to policies there.
    Team,
}

/// The writers of each source. `edit` is aggregated from what the products bring, too, so that what lives in a namespace
/// counts as a team's even where Kubernetes' own part of the role does not name it: EndpointSlices (not since 1.22, but
/// upgraded clusters keep the right) and `CiliumNodeConfigs`.
pub(crate) const fn writer(source: Source) -> Writer {
    match source {
        Source::Services
        | Source::EndpointSlices
        | Source::Pods
        | Source::ConfigMaps
        | Source::DaemonSets
        | Source::Deployments
        | Source::CiliumNodeConfigs
        | Source::Events
        | Source::Policies => Writer::Team,
        Source::Nodes => Writer::Node,
        Source::Namespaces
        | Source::FelixConfigurations
        | Source::Installations
        | Source::L2Advertisements
        | Source::PriorityClasses
        | Source::Webhooks
        | Source::ClusterPolicy
        | Source::Configz
        | Source::Remediations => Writer::Platform,
    }
}

/// What a check reads that teams write.
pub(crate) fn by_teams(check: &Check) -> impl Iterator<Item = Source> {
    let read = move |source: &Source| check.needs.has(*source) || check.uses.has(*source);
    Source::ALL
        .into_iter()
        .filter(move |source| read(source) && writer(*source) == Writer::Team)
}

/// Why objects of one team do not decide over others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Only those in the platform's namespaces count (`index/trust.rs`).
    Trusted,
    /// Only those of the Service that the webhook itself names count, and of `default/kubernetes` those of the API servers.
    OwnBackend,
    /// They only say where to look, and what is found is the team's own.
    WhereToLook,
    /// Load or declarations of all teams are counted, as they meet on what everybody shares: a team can bring the cluster
    /// to it and then is named, and cannot take anything away.
    Shared,
}

use Why::{OwnBackend, Shared, Trusted, WhereToLook};

/// Every check whose subject belongs to no team, with what it reads of teams, in the order of sources, and why that decides
/// nothing for others.
const REACHES: &[(&str, &[(Source, Why)])] = &[
    (
        "admission-heartbeat-block",
        &[
            (Source::Services, OwnBackend),
            (Source::EndpointSlices, OwnBackend),
            (Source::Pods, Trusted),
            (Source::DaemonSets, Trusted),
            (Source::Deployments, OwnBackend),
        ],
    ),
    (
        "cp-instances-missing",
        &[(Source::EndpointSlices, OwnBackend), (Source::Pods, Trusted)],
    ),
    ("detection-vs-grace", &[(Source::Pods, Trusted)]),
    ("cp-stale-watch", &[]),
    ("proxy-bounds", &[]),
    (
        "proxy-config-drift",
        &[
            (Source::Pods, Trusted),
            (Source::DaemonSets, Trusted),
            (Source::ConfigMaps, Trusted),
        ],
    ),
    (
        "ipvs-reuse-mode-mismatch",
        &[
            (Source::Services, Shared),
            (Source::EndpointSlices, Shared),
            (Source::Pods, Shared),
            (Source::DaemonSets, Shared),
            (Source::Deployments, Shared),
            (Source::Policies, Shared),
        ],
    ),
    (
        "preemption-cascade",
        &[(Source::Deployments, WhereToLook), (Source::Events, WhereToLook)],
    ),
    (
        "dns-n1-headroom",
        &[
            (Source::Services, Trusted),
            (Source::EndpointSlices, Trusted),
            (Source::Pods, Trusted),
            (Source::Deployments, Trusted),
        ],
    ),
    ("pod-churn-storm", &[(Source::EndpointSlices, Shared)]),
    ("node-pressure-evict-loop", &[(Source::Events, WhereToLook)]),
    ("node-cascade-wave", &[(Source::EndpointSlices, Shared)]),
    // What is measured no team writes: Prometheus, exporters and API servers are the platform's.
    ("ct-table-pressure", &[]),
    ("ct-drop-rate", &[]),
    ("node-pressure", &[]),
    ("cp-instance-skew", &[(Source::EndpointSlices, OwnBackend)]),
    ("lb-view-mismatch", &[(Source::EndpointSlices, OwnBackend)]),
    ("cp-channel-divergence", &[(Source::EndpointSlices, OwnBackend)]),
    ("cp-overload-brownout", &[(Source::EndpointSlices, OwnBackend)]),
    ("cp-reconnect-storm", &[(Source::EndpointSlices, OwnBackend)]),
    ("cp-memory-headroom", &[(Source::EndpointSlices, OwnBackend)]),
    ("etcd-quota-headroom", &[(Source::EndpointSlices, OwnBackend)]),
    (
        "cp-etcd-pinned",
        &[(Source::EndpointSlices, OwnBackend), (Source::Pods, Trusted)],
    ),
    ("cilium-ct-gc-lag", &[]),
];

#[test]
fn what_teams_write_decides_over_nothing_but_their_own() {
    let stated: BTreeMap<_, _> = REACHES.iter().copied().collect();
    for check in checks::ALL {
        // A Service and its paths live in a namespace: what is read of others is narrowed by `Look`.
        if matches!(check.judge, Judge::Service(_) | Judge::Path(_)) {
            assert!(
                !stated.contains_key(check.id),
                "{} judges what belongs to a team",
                check.id
            );
            continue;
        }
        let reads: Vec<_> = by_teams(check).collect();
        let reasons: Vec<_> = stated
            .get(check.id)
            .into_iter()
            .copied()
            .flatten()
            .map(|one| one.0)
            .collect();
        assert_eq!(
            reads, reasons,
            "{}: why does each of these decide nothing for others?",
            check.id
        );
    }
    for id in stated.keys() {
        assert!(checks::find(id).is_some(), "{id} is no check");
    }
}
