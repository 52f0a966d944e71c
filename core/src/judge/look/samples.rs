//! How a check reads what was measured: only what is fresh, and a gap with its reason for the rest.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::Look;
use crate::fleet::on_pods_of;
use crate::history::{ServiceShares, ShareBounds};
use crate::index::{Dep, Deps};
use crate::judge::Subject;
use crate::know::{Known, Mono, Source};
use crate::names::{Key, Name};
use crate::policy::PodMetric;
use crate::sample::{self, Metric, Metrics, Reading};
use crate::sources::service::Service;

/// Metrics that were read, and until when samples of all of them count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SampledUntil {
    pub(crate) metrics: Metrics,
    pub(crate) until: Option<Mono>,
}

impl SampledUntil {
    /// Both together.
    #[must_use]
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            metrics: self.metrics.with(other.metrics),
            until: self.until.into_iter().chain(other.until).min(),
        }
    }
}

impl<'a> Look<'a> {
    fn reading(&self, metric: Metric, subject: sample::SampleSubject) -> Known<Reading<'a>> {
        let (reading, until) = self.index.samples.reading(self.now.mono, metric, subject);
        if let Some(until) = until {
            self.wake_at(until);
        }
        reading
    }

    /// Whether anything measures.
    pub fn is_observed(&self) -> bool {
        self.depend_on(Deps::one(Dep::SampleGaps));
        self.index.samples.is_observed()
    }

    /// Whether an observer is asked at all.
    pub fn is_observed_by(&self, observer: sample::Observer) -> bool {
        self.depend_on(Deps::one(Dep::SampleGaps));
        self.index.samples.observers().contains(&observer)
    }

    fn depend_on_samples(&self, dep: Dep) {
        self.depend_on(Deps::one(dep).with(Deps::one(Dep::SampleGaps)));
    }

    /// What was measured on a Node.
    pub fn on_node(&self, metric: Metric, node: Name) -> Known<Reading<'a>> {
        let subject = sample::SampleSubject::Node(node);
        if self.own != Subject::Node(node) {
            self.depend_on_samples(Dep::NodeSamples);
            return self.reading(metric, subject);
        }
        self.depend_on_samples(Dep::OwnSamples);
        let (reading, until) = self.index.samples.reading(self.now.mono, metric, subject);
        match (&reading, until) {
            (Ok(_), Some(_)) => {
                let metrics = Metrics::of(&[metric]);
                self.sampled
                    .set(self.sampled.get().with(SampledUntil { metrics, until }));
            }
            (_, Some(until)) => self.wake_at(until),
            (_, None) => {}
        }
        reading
    }

    /// What was measured on an API server.
    pub fn on_instance(&self, metric: Metric, at: IpAddr) -> Known<Reading<'a>> {
        self.depend_on_samples(Dep::InstanceSamples);
        self.reading(metric, sample::SampleSubject::Instance(at))
    }

    /// What was measured on a resource in an API server.
    pub fn on_resource(&self, metric: Metric, at: IpAddr, resource: Name) -> Known<Reading<'a>> {
        self.depend_on_samples(Dep::InstanceSamples);
        self.reading(metric, sample::SampleSubject::Resource(at, resource))
    }

    /// The resources of an API server of which a metric was measured.
    pub fn resources(&self, metric: Metric, at: IpAddr) -> BTreeSet<Name> {
        self.depend_on_samples(Dep::InstanceSamples);
        let from = sample::SampleSubject::Resource(at, Name::EMPTY);
        let own = |one| matches!(one, sample::SampleSubject::Resource(of, _) if of == at);
        let all = self.index.samples.subjects(metric, from, own).into_iter();
        all.filter_map(|one| match one {
            sample::SampleSubject::Resource(_, resource) => Some(resource),
            _ => None,
        })
        .collect()
    }

    /// What was measured on the cluster.
    pub fn on_cluster(&self, metric: Metric) -> Known<Reading<'a>> {
        self.depend_on_samples(Dep::InstanceSamples);
        self.reading(metric, sample::SampleSubject::Cluster)
    }

    /// What was measured on a Pod behind the Service under judgement.
    pub fn on_backend(&self, metric: Metric, service: Key, port: u16, pod: Name) -> Known<Reading<'a>> {
        self.depend_on_samples(Dep::OwnSamples);
        let subject = sample::SampleSubject::Backend {
            namespace: service.namespace,
            service: service.name,
            port,
            pod,
        };
        self.reading(metric, subject)
    }

    /// Names of the Pods of the namespace of the Service under judgement, by the hashes that endpoints have of them.
    pub fn pods_by_hash(&self, service: Key) -> Known<HashMap<u32, Name>> {
        self.depend_on(Deps::one(Dep::OwnPods));
        self.read_in(Source::Pods, service.namespace)?;
        self.index
            .refused_in(Source::Pods, service.namespace)
            .map_or(Ok(()), Err)?;
        Ok(self.index.pods_by_hash(service.namespace))
    }

    /// What is measured on the Pods behind the Service under judgement: what the least of its policies names.
    pub fn measured_on_pods(&self, key: Key, service: &Service) -> Known<Option<(Metric, &'a PodMetric)>> {
        self.policies_in(key.namespace)?;
        Ok(on_pods_of(self.index, key, service))
    }

    /// How the backends of the Service under judgement have shared what reached them.
    pub fn shares(&self, service: Key, bounds: ShareBounds) -> Option<&'a ServiceShares> {
        self.depend_on_samples(Dep::OwnSamples);
        self.depend_on(Deps::one(Dep::OwnHistory));
        self.history.shares().of(service, bounds)
    }
}
