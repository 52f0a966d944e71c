//! Which resource of the API each source is read from: the one table that lists, watches and rights share.

use evenkeel_core::know::Source;

use crate::api;
use crate::rights::{Place, Right};

/// One resource of the API that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource {
    /// The source that its objects belong to.
    pub source: Source,
    /// Versions of its group, the preferred one first: later ones are for servers that do not serve the earlier.
    pub versions: &'static [&'static str],
    /// The kind of its objects.
    pub kind: &'static str,
    /// Whether it is read as a whole, or only what the core asks for.
    pub whole: bool,
    /// Whether actions may rest on it, so that its silence has to be noticed within seconds.
    pub evidence: bool,
    /// What reading it needs.
    pub right: Right,
}

/// Where clusters run their data plane; what is read of one namespace only is read here.
const SYSTEM: &str = "kube-system";

const V1: &[&str] = &["v1"];
const OWN: &[&str] = &[api::VERSION];
const HOOKS: &str = "admissionregistration.k8s.io";

const fn whole(
    source: Source,
    group: &'static str,
    kind: &'static str,
    resource: &'static str,
    why: &'static str,
) -> Resource {
    Resource {
        source,
        versions: V1,
        kind,
        whole: true,
        evidence: false,
        right: Right {
            group,
            resource,
            verbs: &["list", "watch"],
            place: Place::Cluster,
            why,
        },
    }
}

impl Resource {
    const fn as_evidence(mut self) -> Self {
        self.evidence = true;
        self
    }

    const fn served_as(mut self, versions: &'static [&'static str]) -> Self {
        self.versions = versions;
        self
    }

    const fn of_system(mut self) -> Self {
        self.right.place = Place::Namespace(SYSTEM);
        self
    }

    /// Read only as far as the core asks for it.
    const fn as_wanted(mut self) -> Self {
        self.whole = false;
        self
    }

    const fn with_verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.right.verbs = verbs;
        self
    }
}

/// Every resource that is read, the largest first: reads that start early end early.
pub const RESOURCES: [Resource; 14] = [
    whole(
        Source::EndpointSlices,
        "discovery.k8s.io",
        "EndpointSlice",
        "endpointslices",
        "which backends every Service has, and where",
    )
    .as_evidence(),
    whole(
        Source::Nodes,
        "",
        "Node",
        "nodes",
        "zones, readiness and versions of nodes",
    )
    .as_evidence(),
    whole(
        Source::Services,
        "",
        "Service",
        "services",
        "what traffic is sent to",
    )
    .as_evidence(),
    whole(
        Source::Policies,
        api::GROUP,
        "TrafficHealthPolicy",
        "traffichealthpolicies",
        "what teams declare",
    )
    .as_evidence()
    .served_as(OWN),
    whole(
        Source::ClusterPolicy,
        api::GROUP,
        "ClusterTrafficHealthPolicy",
        "clustertraffichealthpolicies",
        "what the platform declares",
    )
    .as_evidence()
    .served_as(OWN),
    whole(
        Source::DaemonSets,
        "apps",
        "DaemonSet",
        "daemonsets",
        "which proxy and which network plugin nodes run, and with what configuration",
    ),
    whole(
        Source::Deployments,
        "apps",
        "Deployment",
        "deployments",
        "how many CoreDNS replicas are wanted",
    )
    .of_system(),
    whole(
        Source::Namespaces,
        "",
        "Namespace",
        "namespaces",
        "labels that webhooks select namespaces by",
    ),
    whole(
        Source::CiliumNodeConfigs,
        "cilium.io",
        "CiliumNodeConfig",
        "ciliumnodeconfigs",
        "settings of Cilium that differ between nodes",
    )
    .served_as(&["v2", "v2alpha1"]),
    whole(
        Source::Webhooks,
        HOOKS,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "webhooks that can block the heartbeats of nodes",
    ),
    whole(
        Source::Webhooks,
        HOOKS,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "webhooks that can block the heartbeats of nodes",
    ),
    whole(
        Source::ConfigMaps,
        "",
        "ConfigMap",
        "configmaps",
        "configuration of kube-proxy, Cilium and Terway, each by its name",
    )
    .of_system()
    .as_wanted()
    .with_verbs(&["get", "list", "watch"]),
    whole(
        Source::Pods,
        "",
        "Pod",
        "pods",
        "Pods of proxies, network plugins and DNS, and those that policies select; never all of a cluster",
    )
    .as_wanted(),
    // An audit has no use for them: they are counted over time.
    whole(
        Source::Events,
        "",
        "Event",
        "events",
        "evictions and preemptions of Pods, counted and not kept",
    )
    .as_wanted(),
];

/// The rights that reading needs, one for each line of [`RESOURCES`].
pub const RIGHTS: &[Right] = &{
    let mut rights = [RESOURCES[0].right; RESOURCES.len()];
    let mut at = 0;
    while at < RESOURCES.len() {
        rights[at] = RESOURCES[at].right;
        at += 1;
    }
    rights
};

impl Resource {
    /// The resource that a source which is not read whole comes from.
    pub(crate) fn wanted(source: Source) -> Option<&'static Self> {
        RESOURCES.iter().find(|one| one.source == source && !one.whole)
    }

    /// The paths of its collection, in the order in which to try them; `namespace` narrows what the table does not.
    pub(crate) fn paths(&self, namespace: &str) -> Vec<String> {
        let namespace = match self.right.place {
            Place::Namespace(only) if namespace.is_empty() => only,
            _ => namespace,
        };
        let place = if namespace.is_empty() {
            String::new()
        } else {
            format!("namespaces/{namespace}/")
        };
        let Right { group, resource, .. } = self.right;
        let root = if group.is_empty() {
            "/api".to_owned()
        } else {
            format!("/apis/{group}")
        };
        let path = |version| format!("{root}/{version}/{place}{resource}");
        self.versions.iter().map(path).collect()
    }

    /// Its plural, as in an address.
    pub(crate) const fn plural(&self) -> &'static str {
        self.right.resource
    }

    /// The `apiVersion` that is written for its objects.
    pub(crate) fn version(&self) -> String {
        let version = self.versions.first().copied().unwrap_or_default();
        match self.right.group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }

    /// Whether items of a list must be told their kind, which they do not name: two kinds share the source.
    pub(crate) const fn shares_source(&self) -> bool {
        matches!(self.source, Source::Webhooks)
    }

    /// Whether one namespace of it is of use by itself: teams own such objects, and what is judged of them in a
    /// namespace rests on that namespace alone.
    pub(crate) const fn by_namespace(&self) -> bool {
        matches!(
            self.source,
            Source::Services | Source::EndpointSlices | Source::Policies | Source::Pods
        )
    }

    /// Every resource that is read once: all but Events, which only a watch counts.
    pub(crate) fn read_once() -> impl Iterator<Item = &'static Self> {
        RESOURCES.iter().filter(|one| one.source != Source::Events)
    }

    /// Its name for people: `endpointslices.discovery.k8s.io`.
    pub(crate) fn name(&self) -> String {
        match self.right.group {
            "" => self.right.resource.to_owned(),
            group => format!("{}.{group}", self.right.resource),
        }
    }
}

/// Percent-encodes a query value: everything but what RFC 3986 calls unreserved.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|half| char::from(b"0123456789ABCDEF"[usize::from(half)])));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::core(Source::Nodes, "", &["/api/v1/nodes"])]
    #[case::group(Source::EndpointSlices, "", &["/apis/discovery.k8s.io/v1/endpointslices"])]
    #[case::versions(
        Source::CiliumNodeConfigs,
        "",
        &["/apis/cilium.io/v2/ciliumnodeconfigs", "/apis/cilium.io/v2alpha1/ciliumnodeconfigs"]
    )]
    #[case::one_namespace(Source::Deployments, "", &["/apis/apps/v1/namespaces/kube-system/deployments"])]
    #[case::wanted(Source::Pods, "shop", &["/api/v1/namespaces/shop/pods"])]
    #[case::wanted_elsewhere(Source::ConfigMaps, "cilium", &["/api/v1/namespaces/cilium/configmaps"])]
    fn paths_follow_from_the_table(#[case] source: Source, #[case] namespace: &str, #[case] paths: &[&str]) {
        let resource = RESOURCES.iter().find(|one| one.source == source).unwrap();
        assert_eq!(resource.paths(namespace), paths);
    }

    #[rstest]
    #[case("Pod", "v1")]
    #[case("CiliumNodeConfig", "cilium.io/v2")]
    #[case("TrafficHealthPolicy", "evenkeel.dev/v1alpha1")]
    fn versions_follow_from_the_table(#[case] kind: &str, #[case] version: &str) {
        let resource = RESOURCES.iter().find(|one| one.kind == kind).unwrap();
        assert_eq!(resource.version(), version);
    }

    #[test]
    fn every_source_of_the_api_has_its_lines() {
        for source in Source::ALL {
            let lines: Vec<_> = RESOURCES.iter().filter(|one| one.source == source).collect();
            let expected = match source {
                Source::Configz => 0,
                Source::Webhooks => 2,
                _ => 1,
            };
            assert_eq!(lines.len(), expected, "{source}");
            assert!(
                lines.iter().all(|one| one.shares_source() == (lines.len() > 1)),
                "{source}"
            );
        }
        assert!(RIGHTS.iter().all(|right| !right.why.is_empty()));
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escape("a in (b,c)~"), "a%20in%20%28b%2Cc%29~");
    }
}
