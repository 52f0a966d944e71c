//! The kinds of objects in [`RESOURCES`], as a list of them is written.

use evenkeel_core::know::Source;

use crate::resources::{RESOURCES, Resource};

/// A kind of object that is read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The source it belongs to.
    pub(crate) source: Source,
    /// Its name, as in `kind`.
    pub(crate) name: &'static str,
    /// Its resource, as in an address.
    pub(crate) plural: &'static str,
    /// Whether one namespace of it is of use by itself: teams own such objects, and what is judged of them in a
    /// namespace rests on that namespace alone.
    pub(crate) by_namespace: bool,
}

const fn kind(source: Source, name: &'static str, plural: &'static str) -> Kind {
    Kind {
        source,
        name,
        plural,
        by_namespace: matches!(
            source,
            Source::Services | Source::EndpointSlices | Source::Policies | Source::Pods
        ),
    }
}

/// Every kind that is read once, in the order of [`RESOURCES`]: all but Events, which only a watch counts.
pub(crate) static ALL: [Kind; RESOURCES.len() - 1] = [
    kind(Source::EndpointSlices, "EndpointSlice", "endpointslices"),
    kind(Source::Nodes, "Node", "nodes"),
    kind(Source::Services, "Service", "services"),
    kind(Source::Policies, "TrafficHealthPolicy", "traffichealthpolicies"),
    kind(
        Source::ClusterPolicy,
        "ClusterTrafficHealthPolicy",
        "clustertraffichealthpolicies",
    ),
    kind(Source::DaemonSets, "DaemonSet", "daemonsets"),
    kind(Source::Deployments, "Deployment", "deployments"),
    kind(Source::Namespaces, "Namespace", "namespaces"),
    kind(Source::CiliumNodeConfigs, "CiliumNodeConfig", "ciliumnodeconfigs"),
    kind(
        Source::Webhooks,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    ),
    kind(
        Source::Webhooks,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    ),
    kind(Source::ConfigMaps, "ConfigMap", "configmaps"),
    kind(Source::Pods, "Pod", "pods"),
];

impl Kind {
    fn resource(&self) -> Option<&'static Resource> {
        RESOURCES.iter().find(|one| one.right.resource == self.plural)
    }

    /// The `apiVersion` that is written for it.
    pub(crate) fn version(&self) -> String {
        self.resource().map_or_else(String::new, |one| {
            let version = one.versions.first().copied().unwrap_or_default();
            match one.right.group {
                "" => version.to_owned(),
                group => format!("{group}/{version}"),
            }
        })
    }

    /// Whether items of a list must be told their kind: two kinds share the source.
    pub(super) fn is_named(&self) -> bool {
        self.source == Source::Webhooks
    }

    /// The addresses of its list; an empty namespace is the whole of what is read.
    pub(super) fn paths(&self, namespace: &str) -> Vec<String> {
        self.resource()
            .map_or_else(Vec::new, |resource| resource.paths(namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_has_its_kind() {
        assert_eq!(RESOURCES.last().map(|one| one.source), Some(Source::Events));
        for (kind, resource) in ALL.iter().zip(&RESOURCES) {
            assert_eq!(
                (kind.source, kind.plural),
                (resource.source, resource.right.resource)
            );
            assert!(
                resource.kind.is_empty() || resource.kind == kind.name,
                "{}",
                kind.name
            );
            assert_eq!(kind.paths("shop"), resource.paths("shop"));
        }
        let version = |name: &str| ALL.iter().find(|kind| kind.name == name).map(Kind::version);
        assert_eq!(version("Pod").as_deref(), Some("v1"));
        assert_eq!(version("CiliumNodeConfig").as_deref(), Some("cilium.io/v2"));
        assert_eq!(
            version("TrafficHealthPolicy").as_deref(),
            Some("evenkeel.dev/v1alpha1")
        );
    }
}
