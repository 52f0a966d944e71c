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
    /// The kind, for resources that share a source and whose items in a list do not name it; else empty.
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

const fn whole(source: Source, group: &'static str, resource: &'static str, why: &'static str) -> Resource {
    Resource {
        source,
        versions: V1,
        kind: "",
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

const fn evidence(
    source: Source,
    group: &'static str,
    resource: &'static str,
    why: &'static str,
) -> Resource {
    Resource {
        evidence: true,
        ..whole(source, group, resource, why)
    }
}

/// Every resource that is read, the largest first: reads that start early end early.
pub const RESOURCES: [Resource; 14] = [
    evidence(
        Source::EndpointSlices,
        "discovery.k8s.io",
        "endpointslices",
        "which backends every Service has, and where",
    ),
    evidence(
        Source::Nodes,
        "",
        "nodes",
        "zones, readiness and versions of nodes",
    ),
    evidence(Source::Services, "", "services", "what traffic is sent to"),
    Resource {
        versions: OWN,
        ..evidence(
            Source::Policies,
            api::GROUP,
            "traffichealthpolicies",
            "what teams declare",
        )
    },
    Resource {
        versions: OWN,
        ..evidence(
            Source::ClusterPolicy,
            api::GROUP,
            "clustertraffichealthpolicies",
            "what the platform declares",
        )
    },
    whole(
        Source::DaemonSets,
        "apps",
        "daemonsets",
        "which proxy and which network plugin nodes run, and with what configuration",
    ),
    Resource {
        right: Right {
            place: Place::Namespace(SYSTEM),
            ..whole(
                Source::Deployments,
                "apps",
                "deployments",
                "how many CoreDNS replicas are wanted",
            )
            .right
        },
        ..whole(Source::Deployments, "apps", "deployments", "")
    },
    whole(
        Source::Namespaces,
        "",
        "namespaces",
        "labels that webhooks select namespaces by",
    ),
    Resource {
        versions: &["v2", "v2alpha1"],
        ..whole(
            Source::CiliumNodeConfigs,
            "cilium.io",
            "ciliumnodeconfigs",
            "settings of Cilium that differ between nodes",
        )
    },
    Resource {
        kind: "ValidatingWebhookConfiguration",
        ..whole(
            Source::Webhooks,
            HOOKS,
            "validatingwebhookconfigurations",
            "webhooks that can block the heartbeats of nodes",
        )
    },
    Resource {
        kind: "MutatingWebhookConfiguration",
        ..whole(
            Source::Webhooks,
            HOOKS,
            "mutatingwebhookconfigurations",
            "webhooks that can block the heartbeats of nodes",
        )
    },
    Resource {
        whole: false,
        right: Right {
            verbs: &["get", "list", "watch"],
            place: Place::Namespace(SYSTEM),
            ..whole(
                Source::ConfigMaps,
                "",
                "configmaps",
                "configuration of kube-proxy, Cilium and Terway, each by its name",
            )
            .right
        },
        ..whole(Source::ConfigMaps, "", "configmaps", "")
    },
    Resource {
        whole: false,
        ..whole(
            Source::Pods,
            "",
            "pods",
            "Pods of proxies, network plugins and DNS, and those that policies select; never all of a cluster",
        )
    },
    Resource {
        // An audit has no use for them: they are counted over time.
        whole: false,
        ..whole(
            Source::Events,
            "",
            "events",
            "evictions and preemptions of Pods, counted and not kept",
        )
    },
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

    #[test]
    fn every_source_of_the_api_has_its_lines_and_kinds_only_where_shared() {
        for source in Source::ALL {
            let lines: Vec<_> = RESOURCES.iter().filter(|one| one.source == source).collect();
            let expected = match source {
                Source::Configz => 0,
                Source::Webhooks => 2,
                _ => 1,
            };
            assert_eq!(lines.len(), expected, "{source}");
            assert!(
                lines.iter().all(|one| one.kind.is_empty() == (lines.len() == 1)),
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
