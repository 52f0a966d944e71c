//! Which objects are read, by group, version and kind.

use evenkeel_core::know::Source;
use evenkeel_core::sources::kind::Kind;

use crate::api;
use crate::samples::stored;

/// What an object is to evenkeel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// An object of the core; whether it lives in a namespace.
    Object(Source, bool),
    /// A policy of a team.
    Policy,
    /// The platform's policy.
    ClusterPolicy,
    /// kube-proxy's configuration file by itself.
    ProxyConfiguration,
    /// What could not be read when the files were made.
    Refused,
    /// What was measured when the files were made.
    Samples,
    /// Nothing that a check reads.
    Ignored,
    /// A kind that is read, in a group or version that is not, and why not.
    Wrong(String),
}

/// The kind of this name that is read as it is, and its source.
fn known(name: &str) -> Option<(Source, &'static Kind)> {
    let apart = [
        Source::Policies,
        Source::ClusterPolicy,
        Source::Events,
        Source::Remediations,
    ];
    let plain = |source: &Source| !apart.contains(source);
    Source::ALL.into_iter().filter(plain).find_map(|source| {
        let kind = source.kinds().iter().find(|kind| kind.name == name)?;
        Some((source, kind))
    })
}

/// Groups in which a known kind's name can only be a slip: those of Kubernetes itself.
fn is_builtin(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// What an object of this apiVersion and kind is.
pub(super) fn route(api_version: &str, name: &str) -> Route {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    match (group, name) {
        (api::GROUP, "TrafficHealthPolicy") => return Route::Policy,
        (api::GROUP, "ClusterTrafficHealthPolicy") => return Route::ClusterPolicy,
        (api::GROUP, "Unreadable") => return Route::Refused,
        (api::GROUP, stored::KIND) => return Route::Samples,
        ("kubeproxy.config.k8s.io", "KubeProxyConfiguration") => return Route::ProxyConfiguration,
        // Calico's own API server and tools show its objects in a group of their own.
        ("projectcalico.org", "FelixConfiguration") => {
            return Route::Object(Source::FelixConfigurations, false);
        }
        _ => {}
    }
    let Some((source, known)) = known(name) else {
        return Route::Ignored;
    };
    if known.group == group && known.versions.contains(&version) {
        return Route::Object(source, known.namespaced);
    }
    if known.group != group && !is_builtin(group) {
        return Route::Ignored;
    }
    let expected: Vec<_> = known
        .versions
        .iter()
        .map(|version| match known.group {
            "" => (*version).to_owned(),
            group => format!("{group}/{version}"),
        })
        .collect();
    let expected = expected.join(" or ");
    Route::Wrong(match (source, version) {
        (Source::EndpointSlices, "v1beta1") if known.group == group => format!(
            "apiVersion {api_version} is not read: Kubernetes 1.25 removed it; get {expected} with `kubectl get endpointslices.v1.discovery.k8s.io -A -o yaml`"
        ),
        _ if api_version.is_empty() => format!("apiVersion: missing or empty; a {name} has {expected}"),
        _ => format!("apiVersion {api_version} has no {name} that evenkeel reads; expected {expected}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("v1", "Service", Route::Object(Source::Services, true))]
    #[case(
        "cilium.io/v2alpha1",
        "CiliumNodeConfig",
        Route::Object(Source::CiliumNodeConfigs, true)
    )]
    #[case("serving.knative.dev/v1", "Service", Route::Ignored)]
    #[case("v1", "Secret", Route::Ignored)]
    #[case("evenkeel.dev/v1", "TrafficHealthPolicy", Route::Policy)]
    fn routes(#[case] version: &str, #[case] kind: &str, #[case] expected: Route) {
        assert_eq!(route(version, kind), expected);
    }

    #[rstest]
    #[case("", "Service")]
    #[case("v2", "Service")]
    #[case("apps/v1", "Service")]
    #[case("extensions/v1beta1", "Deployment")]
    #[case("discovery.k8s.io/v1beta1", "EndpointSlice")]
    fn wrong_versions(#[case] version: &str, #[case] kind: &str) {
        assert!(matches!(route(version, kind), Route::Wrong(_)));
    }
}
