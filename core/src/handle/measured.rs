//! What was measured, into [`crate::sample::Samples`].

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::index::{Dep, Deps, Index};
use crate::know::Now;
use crate::names::{Key, Name};
use crate::program::Core;
use crate::sample::{Observer, Page, PageScope, SampleSubject, Touched};

/// Longest name of a resource that is kept, in bytes: a group and a plural of the lengths that Kubernetes allows
/// (`DNS1123SubdomainMaxLength`, `DNS1123LabelMaxLength`), and the slash.
const LONGEST_RESOURCE: usize = 253 + 1 + 63;

impl Core {
    /// Other observers are asked than before.
    pub(super) fn observers(&mut self, observers: &[Observer]) {
        if self.index.samples.observe(observers) {
            self.dirt.all = true;
            self.reading.measured_changed();
        }
    }

    /// Takes a page: only of subjects that the API shows.
    pub(super) fn fold_samples(&mut self, now: Now, page: &Page<'_>) {
        let mut samples = std::mem::take(&mut self.index.samples);
        let index = &mut self.index;
        let scope = scope(index, page.scope);
        let shown = match scope {
            Some(PageScope::Backends { namespace, service }) => ShownSubjects {
                backends: index.backend_pods(Key {
                    namespace,
                    name: service,
                }),
                ..ShownSubjects::default()
            },
            Some(PageScope::Instances | PageScope::Instance(_)) => ShownSubjects {
                instances: index.instances(),
                ..ShownSubjects::default()
            },
            Some(PageScope::Cluster | PageScope::Nodes) | None => ShownSubjects::default(),
        };
        let touched = samples.fold(now.mono, page, scope, |subject| known(index, &shown, subject));
        index.samples = samples;
        for service in &touched.services {
            self.fold_shares(now, *service, page.asked);
        }
        self.touch_samples(now, touched);
    }

    fn touch_samples(&mut self, now: Now, touched: Touched) {
        let mut deps = Deps::NONE;
        for (is, dep) in [
            (touched.instances, Dep::InstanceSamples),
            (touched.gaps, Dep::SampleGaps),
        ] {
            deps = if is { deps.with(Deps::one(dep)) } else { deps };
        }
        self.dirt.deps = self.dirt.deps.with(deps);
        self.measured.note(now.mono, touched.nodes);
        self.dirt.measured_services.extend(touched.services);
    }
}

impl Index {
    /// Whether this is the Service whose endpoints are the API servers.
    pub(crate) fn is_instances(&self, service: Key) -> bool {
        self.names.text(service.namespace) == "default" && self.names.text(service.name) == "kubernetes"
    }

    /// Addresses of the API servers, as they write them into `default/kubernetes`; none where that is not known.
    pub fn instances(&self) -> BTreeSet<IpAddr> {
        let names = ["default", "kubernetes"].map(|text| self.names.find(text).unwrap_or_default());
        let [namespace, name] = names;
        let endpoints = self.endpoints(Key { namespace, name });
        let all = endpoints.iter().flat_map(|all| all.iter());
        all.filter(|one| one.ready).map(|one| one.address).collect()
    }
}

/// The subjects of a page that the API shows, as far as they are not looked up one by one.
#[derive(Debug, Default)]
struct ShownSubjects {
    instances: BTreeSet<IpAddr>,
    /// Pods behind the Service.
    backends: BTreeSet<Name>,
}

/// The subject as the index names it, if the API shows it.
fn known(index: &mut Index, shown: &ShownSubjects, subject: SampleSubject<&str>) -> Option<SampleSubject> {
    let cluster_wide = |name| Key {
        namespace: Name::EMPTY,
        name,
    };
    match subject {
        SampleSubject::Cluster => Some(SampleSubject::Cluster),
        SampleSubject::Node(name) => {
            let name = index.names.find(name)?;
            index.nodes.get(cluster_wide(name))?;
            Some(SampleSubject::Node(name))
        }
        SampleSubject::Instance(at) => shown
            .instances
            .contains(&at)
            .then_some(SampleSubject::Instance(at)),
        SampleSubject::Resource(at, resource) => {
            let fits = (1..=LONGEST_RESOURCE).contains(&resource.len());
            (fits && shown.instances.contains(&at))
                .then(|| SampleSubject::Resource(at, index.names.intern(resource)))
        }
        SampleSubject::Backend {
            namespace,
            service,
            port,
            pod,
        } => {
            let [namespace, service, pod] = [
                index.names.find(namespace)?,
                index.names.find(service)?,
                index.names.find(pod)?,
            ];
            let key = |name| Key { namespace, name };
            index.services.get(key(service))?;
            shown.backends.contains(&pod).then_some(SampleSubject::Backend {
                namespace,
                service,
                port,
                pod,
            })
        }
    }
}

/// What was asked about, as the index names it; `None` for a Service that it does not know.
fn scope(index: &Index, scope: PageScope<&str>) -> Option<PageScope> {
    Some(match scope {
        PageScope::Cluster => PageScope::Cluster,
        PageScope::Nodes => PageScope::Nodes,
        PageScope::Instances => PageScope::Instances,
        PageScope::Instance(at) => PageScope::Instance(at),
        PageScope::Backends { namespace, service } => PageScope::Backends {
            namespace: index.names.find(namespace)?,
            service: index.names.find(service)?,
        },
    })
}
