//! What people read of a newcomer that does not get its share.

use std::fmt;
use std::sync::Arc;

#[cfg(test)]
use super::super::measured::CountedAs;
use super::super::measured::TookShare;
#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain};
use crate::know::{Unit, Val};

/// Why a newcomer gets little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum StarvedBy {
    NotReached,
    Pinned,
    LongLived,
    Local,
    NoNewConnections,
}

/// A newcomer that does not get its share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct StarvedNewcomer {
    /// Its Pod.
    pub(super) pod: Arc<str>,
    pub(super) grace_seconds: u32,
    pub(super) why: StarvedBy,
    /// What it took, where others of its place took more.
    pub(super) took: Option<TookShare>,
    /// Where numbers are from.
    pub(super) source: Arc<str>,
}

impl Explain for StarvedNewcomer {
    fn cause(&self) -> &'static str {
        match self.why {
            StarvedBy::NotReached => "NotReached",
            StarvedBy::Pinned => "Pinned",
            StarvedBy::LongLived => "LongLived",
            StarvedBy::Local => "Local",
            StarvedBy::NoNewConnections => "NoNewConnections",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pod, grace_seconds, ..
        } = self;
        let because = match self.why {
            StarvedBy::NotReached => "nodes do not send to it",
            StarvedBy::Pinned => "clients stay with the old ones",
            StarvedBy::LongLived => "clients keep their connections",
            StarvedBy::Local => "got nothing: no client enters at its place",
            StarvedBy::NoNewConnections => {
                "got nothing: clients open no new connections and keep the old ones"
            }
        };
        write!(f, "backend {pod}, ready for over {grace_seconds} s, ")?;
        match &self.took {
            Some(took) => write!(f, "{took}, {} is its share: {because}", took.due),
            None => f.write_str(because),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = match &self.took {
            Some(took) => took.evidence(),
            None => vec![
                Evidence::name("pod", &self.pod, "EndpointSlices"),
                Evidence::watched("took", Unit::Count, 0, self.source.clone()),
            ],
        };
        evidence.push(Evidence::seconds(
            "readyFor",
            &Val::declared(
                self.grace_seconds.into(),
                "policy balance.newcomerGraceSeconds, and longer",
            ),
        ));
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let first = match self.why {
            StarvedBy::NotReached => {
                "see whether the proxies of the clients' nodes still sync \
                 (kubeproxy_sync_proxy_rules_last_timestamp_seconds); restart one that does not, and look again"
            }
            StarvedBy::Pinned => "wait until the table forgets, or see whether affinity is needed at all",
            StarvedBy::LongLived | StarvedBy::NoNewConnections => {
                "let the server end connections after 5 to 30 minutes with jitter, or balance requests"
            }
            StarvedBy::Local => "spread the Pods as the clients are, or drop the traffic policy",
        };
        vec![
            first.into(),
            "do not scale out further, and leave the newcomer running: the next one gets as little".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let took = |counted| TookShare {
        pod: "checkout-7d9c6b5f4-x2x9k".into(),
        counted,
        count: 0,
        due: 100,
        total: 300,
        seconds: 60,
        tolerance_percent: 25,
        source: "Prometheus, http_connections_accepted_total by pod".into(),
    };
    let of = |why, took| StarvedNewcomer {
        pod: "checkout-7d9c6b5f4-x2x9k".into(),
        grace_seconds: 600,
        why,
        took,
        source: "Prometheus, http_connections_accepted_total by pod".into(),
    };
    vec![
        Verdict::violated(of(StarvedBy::NotReached, Some(took(CountedAs::Connections)))),
        Verdict::at_risk(of(StarvedBy::Pinned, Some(took(CountedAs::Connections)))),
        Verdict::at_risk(of(StarvedBy::LongLived, Some(took(CountedAs::Requests)))),
        Verdict::at_risk(of(StarvedBy::LongLived, Some(took(CountedAs::Open)))),
        Verdict::at_risk(of(StarvedBy::Local, None)),
        Verdict::at_risk(of(StarvedBy::NoNewConnections, None)),
    ]
}
