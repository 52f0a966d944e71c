//! What pages say of the backends of a Service, into [`crate::history::ShareHistory`].

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::{on_pods, on_pods_of};
use crate::history::{MeasuredBackend, ShareBounds, ShareHistory};
use crate::judge::{Look, ServiceCase, Subject};
use crate::know::{Known, Now, Source};
use crate::names::Key;
use crate::policy::Policy;
use crate::program::Core;
use crate::route::{backends, law};
use crate::sample::{self, Metric, Tenths};

/// Most pairs of bounds by which one Service is judged: what more policies declare is not judged.
const MOST_BOUNDS: usize = 4;

impl Core {
    /// Folds what a page, asked for at this time, has said of the backends of a Service.
    pub(super) fn fold_shares(&mut self, now: Now, service: Key, asked: i64) {
        if !self.history.is_live() {
            return;
        }
        let mut shares = std::mem::take(&mut self.history.shares);
        self.shares_of(now, service, Tenths::of(asked), &mut shares);
        self.history.shares = shares;
    }

    fn shares_of(&self, now: Now, key: Key, asked: Tenths, shares: &mut ShareHistory) {
        let index = &self.index;
        let row = index.services.get(key);
        let asked_for = row.and_then(|row| Some((row, on_pods_of(index, key, row)?)));
        // Half of the Pods is not all of them.
        let refused = || index.refused_in(Source::Pods, key.namespace);
        let pods = index.gap_in(Source::Pods, key.namespace).or_else(refused);
        let Some((row, (metric, named))) = asked_for.filter(|_| pods.is_none()) else {
            shares.keep(key, |_| false);
            return;
        };
        let mut all: BTreeMap<ShareBounds, (Key, &Policy)> = BTreeMap::new();
        for (at, policy) in index.policies_of(key, row) {
            if let Some(balance) = &policy.balance
                && on_pods(balance) == Some((metric, named))
            {
                all.insert(ShareBounds::of(balance), (at, policy));
            }
        }
        while all.len() > MOST_BOUNDS {
            all.pop_last();
        }
        shares.keep(key, |bounds| all.contains_key(&bounds));
        for (bounds, (at, policy)) in all {
            let subject = Subject::Service {
                service: key,
                policy: Some(at),
            };
            let look = Look::new(now, index, &self.engine.fleet, &self.history).at(subject);
            let case = ServiceCase {
                key,
                service: row,
                policy: Some(policy),
            };
            match self.measured_backends(&look, &case, metric) {
                Ok(backends) => shares.fold(now, (key, bounds), metric, &backends, asked),
                Err(_) => shares.keep(key, |one| one != bounds),
            }
        }
    }

    /// The backends that take new connections and of which the Pod is known, with what was measured.
    fn measured_backends(
        &self,
        look: &Look<'_>,
        case: &ServiceCase<'_>,
        metric: Metric,
    ) -> Known<Vec<MeasuredBackend<'_>>> {
        let key = case.key;
        let usable = backends(look, key)?;
        let places = law(look, case, &usable)?.places;
        let names = self.index.pods_by_hash(key.namespace);
        let measured = usable.iter().filter_map(|one| {
            let name = *names.get(&one.pod)?;
            let pod = self.index.pods.get(Key {
                namespace: key.namespace,
                name,
            })?;
            let subject = sample::SampleSubject::Backend {
                namespace: key.namespace,
                service: key.name,
                port: 0,
                pod: name,
            };
            let (reading, _) = self.index.samples.reading(look.now.mono, metric, subject);
            Some(MeasuredBackend {
                pod: one.pod,
                name,
                place: places.of(one),
                started: pod.started,
                reading: reading.ok(),
            })
        });
        Ok(measured.collect())
    }

    /// The slices of a Service have changed: a backend that takes no new connections any more is a newcomer when it comes
    /// back.
    pub(super) fn backends_changed(&mut self, service: Key) {
        if !self.history.shares.has(service) {
            return;
        }
        // What is not known leaves as well: it is compared from then on when it is known again.
        let endpoints = self.index.endpoints(service);
        let usable: BTreeSet<u32> = endpoints
            .iter()
            .flat_map(|all| all.iter())
            .filter(|one| one.ready && one.serving && !one.terminating)
            .map(|one| one.pod)
            .collect();
        self.history.shares.retain(service, |pod| usable.contains(&pod));
    }
}
