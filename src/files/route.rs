//! Which objects are read, by group, version and kind.

use evenkeel_core::know::Source;

use crate::api;

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
    /// What whoever made the files could not read.
    Refused,
    /// Nothing that a check reads.
    Ignored,
    /// A kind that is read, in a group or version that is not, and why not.
    Wrong(String),
}

/// One kind that is read.
struct Kind {
    group: &'static str,
    versions: &'static [&'static str],
    name: &'static str,
    source: Source,
    namespaced: bool,
}

const fn kind(
    group: &'static str,
    versions: &'static [&'static str],
    name: &'static str,
    source: Source,
    namespaced: bool,
) -> Kind {
    Kind {
        group,
        versions,
        name,
        source,
        namespaced,
    }
}

const ADMISSION: &str = "admissionregistration.k8s.io";

/// The kinds that are read as they are.
const KINDS: [Kind; 11] = [
    kind("", &["v1"], "Service", Source::Services, true),
    kind("", &["v1"], "Node", Source::Nodes, false),
    kind("", &["v1"], "Namespace", Source::Namespaces, false),
    kind("", &["v1"], "Pod", Source::Pods, true),
    kind("", &["v1"], "ConfigMap", Source::ConfigMaps, true),
    kind("apps", &["v1"], "DaemonSet", Source::DaemonSets, true),
    kind("apps", &["v1"], "Deployment", Source::Deployments, true),
    kind(
        "discovery.k8s.io",
        &["v1"],
        "EndpointSlice",
        Source::EndpointSlices,
        true,
    ),
    kind(
        "cilium.io",
        &["v2", "v2alpha1"],
        "CiliumNodeConfig",
        Source::CiliumNodeConfigs,
        true,
    ),
    kind(
        ADMISSION,
        &["v1"],
        "ValidatingWebhookConfiguration",
        Source::Webhooks,
        false,
    ),
    kind(
        ADMISSION,
        &["v1"],
        "MutatingWebhookConfiguration",
        Source::Webhooks,
        false,
    ),
];

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
        ("kubeproxy.config.k8s.io", "KubeProxyConfiguration") => return Route::ProxyConfiguration,
        _ => {}
    }
    let Some(known) = KINDS.iter().find(|kind| kind.name == name) else {
        return Route::Ignored;
    };
    if known.group == group && known.versions.contains(&version) {
        return Route::Object(known.source, known.namespaced);
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
    Route::Wrong(match (known.source, version) {
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
