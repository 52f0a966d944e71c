//! What was measured on the backends of a Service: what both checks of measured shares begin with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::fleet::on_pods;
use crate::history::{BackendShare, ServiceShares, ShareBounds, Took};
use crate::judge::{Evidence, Look, ServiceCase};
use crate::know::{Gap, Known, Unit, Val};
use crate::names::Name;
use crate::policy::PodMetric;
use crate::route::{BackendPlace, ShareLaw, backends, law};
use crate::sample::{Metric, whole_large};
use crate::sources::service::ServiceType;
use crate::sources::slice::Endpoint;

/// A backend that came so short a time ago may not have been scraped yet, in milliseconds: two scrapes of the usual intervals up
/// to a minute, and some.
const FIRST_SCRAPE: u64 = 150_000;

/// What to judge by, or why there is nothing.
pub(super) enum SharesAsked<'a> {
    /// The check does not apply.
    Not(&'static str),
    /// It does.
    Of(Box<MeasuredService<'a>>),
}

/// What is known of the shares of a Service.
pub(super) struct MeasuredService<'a> {
    /// What is measured.
    pub(super) metric: Metric,
    /// As the policy names it.
    pub(super) named: &'a PodMetric,
    /// By what it is judged.
    pub(super) bounds: ShareBounds,
    /// The backends that take new connections.
    pub(super) usable: Vec<Endpoint>,
    /// How connections are shared.
    pub(super) law: ShareLaw,
    /// How they were.
    pub(super) shares: Option<&'a ServiceShares>,
    /// Those of which something was measured lately.
    fresh: BTreeMap<u32, Arc<str>>,
    /// How many are not, one of them, and why.
    missing: Option<(usize, Arc<str>, Gap)>,
}

/// Looks at what was measured of a Service.
pub(super) fn asked<'a>(look: &Look<'a>, case: &ServiceCase<'a>) -> Known<SharesAsked<'a>> {
    let balance = case.policy.and_then(|policy| policy.balance.as_ref());
    let Some((balance, (metric, named))) = balance.and_then(|balance| Some((balance, on_pods(balance)?)))
    else {
        return Ok(SharesAsked::Not("no metric of its Pods is declared"));
    };
    if case.service.kind == ServiceType::ExternalName {
        return Ok(SharesAsked::Not("a DNS alias has no backends"));
    }
    let least = look.measured_on_pods(case.key, case.service)?;
    if let Some((_, other)) = least.filter(|least| *least != (metric, named)) {
        let why = format!(
            "another policy of this Service names {}, which is measured instead",
            other.name
        );
        return Err(Gap::Opaque(why.into()));
    }
    let usable = backends(look, case.key)?;
    if usable.len() < 2 {
        return Ok(SharesAsked::Not("fewer than two backends share the traffic"));
    }
    let law = law(look, case, &usable)?;
    let bounds = ShareBounds::of(balance);
    let mut all = MeasuredService {
        metric,
        named,
        bounds,
        law,
        shares: look.shares(case.key, bounds),
        fresh: BTreeMap::new(),
        missing: None,
        usable,
    };
    all.measure(look, case)?;
    Ok(SharesAsked::Of(Box::new(all)))
}

impl MeasuredService<'_> {
    fn measure(&mut self, look: &Look<'_>, case: &ServiceCase<'_>) -> Known<()> {
        let names = look.pods_by_hash(case.key)?;
        let known = self.shares.map_or(&[][..], ServiceShares::backends);
        for one in &self.usable {
            let pod = names.get(&one.pod).copied();
            let reading = pod.map_or_else(
                || {
                    Err(Gap::Opaque(
                        format!("the Pod behind {} is not known", one.address).into(),
                    ))
                },
                |pod| look.on_backend(self.metric, case.key, 0, pod),
            );
            let name: Arc<str> = look.names().shared(pod.unwrap_or(Name::EMPTY));
            let Err(gap) = reading else {
                self.fresh.insert(one.pod, name);
                continue;
            };
            let seen = known
                .iter()
                .find(|held| held.name == pod.unwrap_or(Name::EMPTY))
                .map(|held| held.seen);
            if let Some(seen) = seen.filter(|seen| look.now.mono.since(*seen) < FIRST_SCRAPE) {
                look.wake_at(seen.plus(FIRST_SCRAPE));
                continue;
            }
            let count = self.missing.take().map_or((0, name, gap), |held| held);
            self.missing = Some((count.0 + 1, count.1, count.2));
        }
        Ok(())
    }

    /// How long a backend may take to reach its share, in milliseconds.
    pub(super) const fn grace(&self) -> u64 {
        self.bounds.grace_seconds as u64 * 1000
    }

    /// The first backend of which the share is another, among those that count and are still measured; its Pod and what it took.
    pub(super) fn first_wrong(&self, counts: impl Fn(&BackendShare) -> bool) -> Option<(Arc<str>, Took)> {
        let fresh = |one: &BackendShare| self.name(one).is_some() && counts(one);
        let (first, took) = self.shares?.first_wrong(fresh)?;
        Some((self.name(first)?, took))
    }

    /// The Pod of a backend that is measured.
    pub(super) fn name(&self, one: &BackendShare) -> Option<Arc<str>> {
        self.fresh.get(&one.pod).cloned()
    }

    /// How many backends each place has.
    pub(super) fn places(&self) -> BTreeMap<BackendPlace, usize> {
        let mut places = BTreeMap::new();
        for one in &self.usable {
            *places.entry(self.law.places.of(one)).or_default() += 1;
        }
        places
    }

    /// Nothing where enough was measured to call it even.
    pub(super) fn complete(&self) -> Known<()> {
        if let Some((count, pod, gap)) = &self.missing {
            if *count == self.usable.len() {
                return Err(gap.clone());
            }
            let why = format!("{count} of {} backends, such as {pod}: {gap}", self.usable.len());
            return Err(Gap::Unmeasured(why.into()));
        }
        let Some(shares) = self.shares.filter(|shares| shares.compared) else {
            return Err(Gap::TooFewSamples(self.metric.name().into()));
        };
        let held: BTreeSet<u32> = shares.backends().iter().map(|one| one.pod).collect();
        let beyond = self.fresh.keys().filter(|pod| !held.contains(pod)).count();
        if beyond > 0 {
            let why = format!("{beyond} of its backends are beyond those that evenkeel compares");
            return Err(Gap::Opaque(why.into()));
        }
        Ok(())
    }

    /// Where the numbers are from.
    pub(super) fn source(&self) -> Arc<str> {
        format!("Prometheus, {} by {}", self.named.name, self.named.pod_label).into()
    }
}

/// What one backend took, in whole numbers, as of when its share was found to be another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TookShare {
    /// Its Pod.
    pub(super) pod: Arc<str>,
    /// What is counted.
    pub(super) counted: CountedAs,
    pub(super) count: u64,
    pub(super) due: u64,
    pub(super) total: u64,
    pub(super) seconds: u64,
    pub(super) tolerance_percent: u32,
    /// Where the numbers are from.
    pub(super) source: Arc<str>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CountedAs {
    Connections,
    Requests,
    Open,
}

impl TookShare {
    pub(super) fn of(measured: &MeasuredService<'_>, pod: Arc<str>, took: Took) -> Self {
        let whole = |value: f64| whole_large(value + 0.5);
        Self {
            pod,
            counted: match measured.metric {
                Metric::BackendRequests => CountedAs::Requests,
                Metric::BackendActive => CountedAs::Open,
                _ => CountedAs::Connections,
            },
            count: whole(took.count),
            due: whole(took.due),
            total: whole(took.total),
            seconds: whole(took.seconds),
            tolerance_percent: measured.bounds.tolerance_percent,
            source: measured.source(),
        }
    }

    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let number = |what, unit, value: u64| Evidence::watched(what, unit, value, self.source.clone());
        let mut evidence = vec![
            Evidence::name("pod", &self.pod, "EndpointSlices"),
            number("took", Unit::Count, self.count),
            number("expected", Unit::Count, self.due),
            number("ofAll", Unit::Count, self.total),
            Evidence::number(
                "tolerance",
                Unit::Percent,
                &Val::declared(self.tolerance_percent.into(), "policy balance.tolerancePercent"),
            ),
        ];
        if self.counted != CountedAs::Open {
            evidence.push(number("window", Unit::Seconds, self.seconds));
        }
        evidence
    }
}

/// `took 0 of 300 new connections in 60 s`.
impl fmt::Display for TookShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            count,
            total,
            seconds,
            ..
        } = self;
        match self.counted {
            CountedAs::Connections => write!(f, "took {count} of {total} new connections in {seconds} s"),
            CountedAs::Requests => write!(f, "answered {count} of {total} requests in {seconds} s"),
            CountedAs::Open => write!(f, "has {count} of {total} open connections"),
        }
    }
}
