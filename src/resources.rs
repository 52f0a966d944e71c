//! Which resources of the API are listed and watched, and with which rights: made from the core's table of sources.

use evenkeel_core::know::Source;
use evenkeel_core::sources::kind::{Extent, Kind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::lease::NAMESPACE;
use crate::rights::{Right, RightScope};

/// One resource of the API that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource {
    /// The source that its objects belong to.
    pub source: Source,
    /// The kind of its objects.
    pub kind: &'static Kind,
    /// What reading it needs.
    pub right: Right,
}

/// Where clusters run their data plane; objects that are read by name are read here, and where the core knows more.
pub(crate) const SYSTEM: &str = "kube-system";

impl Resource {
    const fn of(source: Source, kind: &'static Kind) -> Self {
        let named = matches!(kind.extent, Extent::Named);
        let scope = match kind.extent {
            Extent::Named => RightScope::Namespace(SYSTEM),
            Extent::Own => RightScope::Namespace(NAMESPACE),
            Extent::Whole | Extent::Selected => RightScope::Cluster,
        };
        Self {
            source,
            kind,
            right: Right {
                group: kind.group,
                resource: kind.plural,
                verbs: if named {
                    &["get", "list", "watch"]
                } else {
                    &["list", "watch"]
                },
                scope,
                why: kind.why,
            },
        }
    }
}

const COUNT: usize = {
    let (mut count, mut at) = (0, 0);
    while at < Source::ALL.len() {
        count += Source::ALL[at].kinds().len();
        at += 1;
    }
    count
};

/// Every resource that is read, in the order of [`Source::ALL`].
pub const RESOURCES: [Resource; COUNT] = {
    let first = Source::ALL[0];
    let mut all = [Resource::of(first, &first.kinds()[0]); COUNT];
    let (mut next, mut at) = (0, 0);
    while at < Source::ALL.len() {
        let source = Source::ALL[at];
        let mut of_source = 0;
        while of_source < source.kinds().len() {
            all[next] = Resource::of(source, &source.kinds()[of_source]);
            next += 1;
            of_source += 1;
        }
        at += 1;
    }
    all
};

const READ_BY_ALL: usize = {
    let (mut count, mut at) = (0, 0);
    while at < RESOURCES.len() {
        count += !RESOURCES[at].is_own() as usize;
        at += 1;
    }
    count
};

/// The rights that reading needs, one for each line of [`RESOURCES`] but those of the ledger: these are
/// [`crate::remedy::RIGHTS`], which only an operator that acts has.
pub const RIGHTS: &[Right] = &{
    let mut rights = [RESOURCES[0].right; READ_BY_ALL];
    let (mut next, mut at) = (0, 0);
    while at < RESOURCES.len() {
        if !RESOURCES[at].is_own() {
            rights[next] = RESOURCES[at].right;
            next += 1;
        }
        at += 1;
    }
    rights
};

impl Resource {
    /// The resource that a source which is not read whole comes from.
    pub(crate) fn wanted(source: Source) -> Option<&'static Self> {
        RESOURCES
            .iter()
            .find(|one| one.source == source && !one.is_whole())
    }

    /// The paths of its collection, in the order in which to try them; `namespace` narrows what the table does not.
    pub(crate) fn paths(&self, namespace: &str) -> Vec<String> {
        let namespace = match self.right.scope {
            RightScope::Namespace(only) if namespace.is_empty() => only,
            _ => namespace,
        };
        let place = if namespace.is_empty() {
            String::new()
        } else {
            format!("namespaces/{namespace}/")
        };
        let resource = self.right.resource;
        let path = |root| format!("{root}/{place}{resource}");
        self.roots().map(path).collect()
    }

    /// The paths of its group in each version, which tell what is served there.
    pub(crate) fn roots(&self) -> impl Iterator<Item = String> {
        let root = match self.right.group {
            "" => "/api".to_owned(),
            group => format!("/apis/{group}"),
        };
        let versions = self.kind.versions.iter();
        versions.map(move |version| format!("{root}/{version}"))
    }

    /// Whether every object is read, and not only those that the core asks for.
    pub(crate) const fn is_whole(&self) -> bool {
        matches!(self.kind.extent, Extent::Whole)
    }

    /// Whether it is of the ledger: read by an operator that acts, and by nobody else.
    pub(crate) const fn is_own(&self) -> bool {
        matches!(self.kind.extent, Extent::Own)
    }

    /// Its plural, as in an address.
    pub(crate) const fn plural(&self) -> &'static str {
        self.right.resource
    }

    /// The `apiVersion` that is written for its objects.
    pub(crate) fn version(&self) -> String {
        let version = self.kind.versions.first().copied().unwrap_or_default();
        match self.right.group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }

    /// Whether items of a list must be given their kind, which they do not name: two kinds share the source.
    pub(crate) const fn shares_source(&self) -> bool {
        self.source.kinds().len() > 1
    }

    /// Whether one namespace of it is of use by itself: teams own such objects, and what is judged of them in a
    /// namespace rests on that namespace alone.
    pub(crate) const fn by_namespace(&self) -> bool {
        matches!(
            self.source,
            Source::Services | Source::EndpointSlices | Source::Policies | Source::Pods
        )
    }

    /// Every resource that is read once: all but Events, which only a watch counts, and the ledger.
    pub(crate) fn read_once() -> impl Iterator<Item = &'static Self> {
        let once = |one: &&Self| one.source != Source::Events && !one.is_own();
        RESOURCES.iter().filter(once)
    }

    /// Its name for people: `endpointslices.discovery.k8s.io`.
    pub(crate) fn name(&self) -> String {
        match self.right.group {
            "" => self.right.resource.to_owned(),
            group => format!("{}.{group}", self.right.resource),
        }
    }
}

/// What RFC 3986 calls unreserved.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Percent-encodes a query value: everything but what RFC 3986 calls unreserved.
pub(crate) fn escape(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api;

    #[rstest]
    #[case::core(Source::Nodes, "", &["/api/v1/nodes"])]
    #[case::group(Source::EndpointSlices, "", &["/apis/discovery.k8s.io/v1/endpointslices"])]
    #[case::versions(
        Source::CiliumNodeConfigs,
        "",
        &["/apis/cilium.io/v2/ciliumnodeconfigs", "/apis/cilium.io/v2alpha1/ciliumnodeconfigs"]
    )]
    #[case::one_namespace(Source::ConfigMaps, "", &["/api/v1/namespaces/kube-system/configmaps"])]
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
        let resource = RESOURCES.iter().find(|one| one.kind.name == kind).unwrap();
        assert_eq!(resource.version(), version);
    }

    #[test]
    fn every_source_but_configz_is_a_resource() {
        for source in Source::ALL {
            let found = RESOURCES.iter().any(|one| one.source == source);
            assert_eq!(found, source != Source::Configz, "{source}");
        }
        assert!(RIGHTS.iter().all(|right| !right.why.is_empty()));
        let policies = Source::Policies
            .kinds()
            .iter()
            .chain(Source::ClusterPolicy.kinds());
        for kind in policies {
            assert_eq!(
                (kind.group, kind.versions),
                (api::GROUP, [api::VERSION].as_slice())
            );
        }
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escape("a in (b,c)~"), "a%20in%20%28b%2Cc%29~");
    }
}
