//! `evenkeel.dev` kinds: policies come to the core compiled, so only the kinds are named here.

use super::kind::Kind;

/// The policies of teams.
pub const TEAM: [Kind; 1] = [Kind {
    group: "evenkeel.dev",
    versions: &["v1alpha1"],
    evidence: true,
    ..Kind::v1(
        "TrafficHealthPolicy",
        "traffichealthpolicies",
        "what teams declare",
    )
}];

/// The policy of the platform.
pub const CLUSTER: [Kind; 1] = [Kind {
    group: "evenkeel.dev",
    versions: &["v1alpha1"],
    namespaced: false,
    evidence: true,
    ..Kind::v1(
        "ClusterTrafficHealthPolicy",
        "clustertraffichealthpolicies",
        "what the platform declares",
    )
}];
