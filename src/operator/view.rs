//! What the operator shows: answers to queries, and the state beside the Lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::Core;
use evenkeel_core::findings::FindingList;
use evenkeel_core::fitness::Fitness;
use evenkeel_core::index::Freshness;
use evenkeel_core::know::{Now, Source};
use evenkeel_core::sample::PageScope;
use serde::Serialize;

use super::{Next, Operator};
use crate::alert::MOST;
use crate::api::ConditionStatus;
use crate::escape::line;
use crate::fair::share;
use crate::metrics::{CriticalSeries, SERIES, SampleSnapshot, Snapshot, SourceSnapshot};
use crate::outbound::ServicePort;
use crate::query::{Agenda, Alerts, IndexView, Readiness};
use crate::samples::KnownSubjects;
use crate::watch::WatchStatus;

/// Objects that were not understood, as shown at most.
const OPAQUE: usize = 100;

/// Findings that are listed at most: each is some kilobyte of text.
const LISTED: usize = 2_500;

/// Most bytes of the state beside the Lease.
const STATE: usize = 8 << 10;

impl Operator {
    /// What a scrape shows; `watches` are the states of the watches.
    pub fn snapshot(&self, now: Now, watches: &[WatchStatus]) -> Snapshot {
        let mut snapshot = Snapshot {
            leader: self.leads(now),
            ready: self.warm_by.is_none(),
            queue: self.queue(now),
            samples: samples(&self.core),
            plans: self.core.planned(),
            remediations: self
                .remedies
                .as_ref()
                .map(|one| one.ledger.open())
                .unwrap_or_default(),
            storm: self.core.plans(now).map(|plans| plans.storm_until.is_some()),
            sources: Source::ALL
                .into_iter()
                .filter_map(|one| source(&self.core, one, watches))
                .collect(),
            ..Snapshot::default()
        };
        for ((check, verdict, severity, excepted), count) in self.core.census(now) {
            if excepted {
                *snapshot.excepted.entry(check).or_default() += count;
            } else {
                let key = (check, verdict.name(), severity);
                *snapshot.findings.entry(key).or_default() += count;
            }
        }
        for (policy, kind, status) in self.statuses.conditions() {
            let status_name = match status {
                ConditionStatus::True => "True",
                ConditionStatus::False => "False",
                ConditionStatus::Unknown => "Unknown",
            };
            *snapshot
                .policies
                .entry((kind.to_owned(), status_name))
                .or_default() += 1;
            if kind == "Healthy" && status == ConditionStatus::False {
                snapshot
                    .unhealthy
                    .push((policy.namespace.to_string(), policy.name.to_string()));
            }
        }
        snapshot.unhealthy.sort();
        let (unhealthy, left) = share(snapshot.unhealthy, SERIES, |one| one.0.clone());
        (snapshot.unhealthy, snapshot.unhealthy_left) = (unhealthy, left.len());
        let criticals = self.core.criticals(now).into_iter();
        let criticals = criticals.map(|((check, namespace, policy), count)| CriticalSeries {
            check,
            namespace: namespace.to_owned(),
            policy: policy.to_owned(),
            count,
        });
        let (criticals, left) = share(criticals.collect(), SERIES, |one| one.namespace.clone());
        (snapshot.criticals, snapshot.criticals_left) = (criticals, left.len());
        snapshot
    }

    /// Whether the operator is ready, and why not.
    pub fn readiness(&self, now: Now) -> Readiness {
        Readiness {
            ready: self.warm_by.is_none(),
            not_fresh: not_fresh(&self.core, self.remedies.is_some()),
            leader: self.leads(now),
        }
    }

    /// How much the core holds.
    pub fn index(&self) -> IndexView {
        let index = self.core.index();
        IndexView {
            rows: Source::ALL
                .into_iter()
                .map(|source| (source.name(), index.rows(source)))
                .filter(|one| one.1 > 0)
                .collect(),
            opaque: share(index.opaque_objects().collect(), OPAQUE, |one| one.1.namespace)
                .0
                .into_iter()
                .map(|(source, key, opaque)| {
                    (format!("{source} {}", index.show(key)), opaque.why.to_string())
                })
                .collect(),
            names: index.names.len(),
        }
    }

    /// At most 2,500 findings, of each namespace the worst.
    pub fn findings(&self, now: Now) -> FindingList {
        self.core.findings_since(now, LISTED)
    }

    /// When time alone will change something.
    pub fn agenda(&self, now: Now) -> Agenda {
        Agenda {
            next_look_ms: match self.next(now) {
                Next::Never => None,
                Next::Now => Some(0),
                Next::At(at) => Some(at.since(now.mono)),
            },
            queue: self.queue(now),
        }
    }

    /// What to push to the Alertmanager that this Service is.
    pub fn alerts(&self, now: Now, service: &ServicePort) -> Alerts {
        if !self.leads(now) || self.warm_by.is_some() {
            return Alerts::default();
        }
        Alerts {
            leader: true,
            findings: self.core.alertable(now, MOST),
            endpoints: self.sockets(service),
        }
    }

    /// `address:port` of every ready endpoint of a Service's port.
    pub fn sockets(&self, service: &ServicePort) -> Vec<std::net::SocketAddr> {
        let index = self.core.index();
        index.ready_sockets(&service.namespace, &service.service, &service.port)
    }

    /// What labels of series may name.
    pub fn known(&self, scope: &PageScope<Arc<str>>) -> KnownSubjects {
        KnownSubjects::of(&self.core, scope)
    }

    /// How many policies wait to be compared with their status, as far as is known: a standby writes none.
    fn queue(&self, now: Now) -> usize {
        if self.leads(now) { self.look_at.len() } else { 0 }
    }
}

/// What is held of samples, where anybody measures.
fn samples(core: &Core) -> Option<SampleSnapshot> {
    let samples = core.index().samples();
    samples.is_observed().then(|| SampleSnapshot {
        series: samples.len(),
        dropped: samples.drops(),
    })
}

/// A source that is watched; the others would be series that never move.
fn source(core: &Core, source: Source, watches: &[WatchStatus]) -> Option<SourceSnapshot> {
    let parts: Vec<&WatchStatus> = watches.iter().filter(|one| one.source == source).collect();
    if parts.is_empty() {
        return None;
    }
    let oldest = parts.iter().filter_map(|one| one.last_line_age_ms).max();
    let index = core.index();
    Some(SourceSnapshot {
        source,
        fresh: *index.worst_freshness(source) == Freshness::Complete,
        age_seconds: oldest.map(|millis| Duration::from_millis(millis).as_secs_f64()),
        restarts: parts.iter().map(|one| one.restarts).sum(),
        lists: parts.iter().map(|one| one.lists).sum(),
        silences: parts.iter().map(|one| one.silences).sum(),
        lines: parts.iter().map(|one| one.lines).sum(),
        opaque: index.opaque_objects().filter(|one| one.0 == source).count() as u32,
    })
}

/// Sources that are not complete and current, and observers that bring nothing, and why.
pub(super) fn not_fresh(core: &Core, acts: bool) -> BTreeMap<&'static str, String> {
    let failing = core.index().samples().failing().into_iter();
    let failing = failing.map(|(observer, (why, detail))| {
        let colon = if detail.is_empty() { "" } else { ": " };
        (observer.name(), format!("it {}{colon}{detail}", why.text()))
    });
    let sources = Source::ALL
        .into_iter()
        // No watch brings these to an operator, the latter to one that only plans.
        .filter(|source| *source != Source::Configz)
        .filter(|source| *source != Source::Remediations || acts)
        .filter_map(|source| {
            let why = match core.index().worst_freshness(source) {
                Freshness::Complete => return None,
                Freshness::Missing => "not read yet".to_owned(),
                Freshness::Stale => "silent for too long".to_owned(),
                Freshness::Unreadable(why) => why.to_string(),
            };
            Some((source.name(), why))
        });
    sources.chain(failing).collect()
}

/// What the holder declares beside the Lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderState {
    /// Version of the holder.
    pub version: String,
    /// Whether its first read of the cluster is complete.
    pub ready: bool,
    /// Sources that are not complete and current, and why.
    pub not_fresh: BTreeMap<String, String>,
    /// Why the control plane is not fit for acts on nodes, where a check finds something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfit: Option<String>,
}

/// Why no node is to be acted on, as far as the control plane is concerned; nothing where that is only not known.
fn unfit(now: Now, core: &Core) -> Option<String> {
    match core.fitness(now) {
        Fitness::Unfit { check, finding } => Some(format!("{check}: {finding}")),
        Fitness::Recovering { check, .. } => Some(format!("{check} has ended a short time ago")),
        Fitness::NotJudged | Fitness::Fit | Fitness::Unmeasured { .. } => None,
    }
}

/// The state as JSON, bounded: reasons are cut before a source is left out.
pub(super) fn state(now: Now, core: &Core, ready: bool, acts: bool) -> String {
    let not_fresh = not_fresh(core, acts)
        .into_iter()
        // `kubectl describe` prints annotations as they are.
        .map(|(source, why)| (source.to_owned(), line(&why).chars().take(200).collect()))
        .collect();
    let state = HolderState {
        version: env!("CARGO_PKG_VERSION").into(),
        ready,
        not_fresh,
        unfit: unfit(now, core).map(|why| line(&why).chars().take(200).collect()),
    };
    // Our own maps of text can be written as JSON.
    let text = serde_json::to_string(&state).unwrap_or_default();
    if text.len() <= STATE { text } else { String::new() }
}
