//! The kinds of objects that are read, and where the API serves them.

use evenkeel_core::know::Source;

/// A kind of object that is read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The source it belongs to.
    pub(crate) source: Source,
    /// Its `apiVersion`; later ones are tried where the server does not serve the earlier.
    versions: &'static [&'static str],
    /// Its name, as in `kind`.
    pub(crate) name: &'static str,
    /// Its resource, as in an address.
    pub(crate) plural: &'static str,
    /// Whether one namespace of it is of use by itself: teams own such objects, and what is judged of them in a
    /// namespace rests on that namespace alone.
    pub(super) by_namespace: bool,
}

const fn kind(
    source: Source,
    version: &'static [&'static str],
    name: &'static str,
    plural: &'static str,
) -> Kind {
    Kind {
        source,
        versions: version,
        name,
        plural,
        by_namespace: matches!(
            source,
            Source::Services | Source::EndpointSlices | Source::Policies | Source::Pods
        ),
    }
}

const APPS: &[&str] = &["apps/v1"];
const CORE: &[&str] = &["v1"];
const HOOKS: &[&str] = &["admissionregistration.k8s.io/v1"];
const OWN: &[&str] = &["evenkeel.dev/v1alpha1"];

/// Every kind that is read. The long ones come first, so that the short ones are read beside them.
pub(crate) static ALL: [Kind; 13] = [
    kind(
        Source::EndpointSlices,
        &["discovery.k8s.io/v1"],
        "EndpointSlice",
        "endpointslices",
    ),
    kind(Source::Nodes, CORE, "Node", "nodes"),
    kind(Source::Services, CORE, "Service", "services"),
    kind(
        Source::Policies,
        OWN,
        "TrafficHealthPolicy",
        "traffichealthpolicies",
    ),
    kind(
        Source::ClusterPolicy,
        OWN,
        "ClusterTrafficHealthPolicy",
        "clustertraffichealthpolicies",
    ),
    kind(Source::DaemonSets, APPS, "DaemonSet", "daemonsets"),
    kind(Source::Deployments, APPS, "Deployment", "deployments"),
    kind(Source::Namespaces, CORE, "Namespace", "namespaces"),
    kind(
        Source::CiliumNodeConfigs,
        &["cilium.io/v2", "cilium.io/v2alpha1"],
        "CiliumNodeConfig",
        "ciliumnodeconfigs",
    ),
    kind(
        Source::Webhooks,
        HOOKS,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    ),
    kind(
        Source::Webhooks,
        HOOKS,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    ),
    kind(Source::ConfigMaps, CORE, "ConfigMap", "configmaps"),
    kind(Source::Pods, CORE, "Pod", "pods"),
];

impl Kind {
    /// The `apiVersion` that is written for it.
    pub(crate) fn version(&self) -> &'static str {
        self.versions.first().copied().unwrap_or_default()
    }

    /// Whether items of a list must be told their kind: two kinds share the source.
    pub(super) fn is_named(&self) -> bool {
        self.source == Source::Webhooks
    }

    /// The addresses of its list, of the whole cluster or of one namespace.
    pub(super) fn paths(&self, namespace: Option<&str>) -> Vec<String> {
        let place = namespace.map_or_else(String::new, |name| format!("namespaces/{name}/"));
        let path = |version: &&str| {
            let root = if version.contains('/') { "apis" } else { "api" };
            format!("/{root}/{version}/{place}{}", self.plural)
        };
        self.versions.iter().map(path).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;

    #[test]
    fn our_own_kinds_have_their_group_and_version() {
        assert_eq!(OWN, [format!("{}/{}", api::GROUP, api::VERSION)]);
    }

    #[test]
    fn addresses() {
        let paths = |plural: &str, namespace| {
            let kind = ALL.iter().find(|kind| kind.plural == plural).unwrap();
            kind.paths(namespace)
        };
        assert_eq!(paths("pods", Some("shop")), ["/api/v1/namespaces/shop/pods"]);
        assert_eq!(
            paths("ciliumnodeconfigs", None),
            [
                "/apis/cilium.io/v2/ciliumnodeconfigs",
                "/apis/cilium.io/v2alpha1/ciliumnodeconfigs"
            ]
        );
    }
}
