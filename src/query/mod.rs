//! What others may ask of the loop. The loop owns the core; no other task sees it, all of them ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_core::findings::{Alertable, FindingList};
use evenkeel_core::sample::PageScope;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Snapshot;
use crate::outbound::ServicePort;
use crate::samples::KnownSubjects;
use crate::watch::WatchStatus;

/// A question to the loop, with where the answer goes.
#[derive(Debug)]
pub enum Query {
    /// What a scrape shows.
    Snapshot(oneshot::Sender<Snapshot>),
    /// Whether the operator is ready, and why not.
    Readiness(oneshot::Sender<Readiness>),
    /// What each watch is doing.
    Watches(oneshot::Sender<Vec<WatchStatus>>),
    /// How much the index holds.
    Index(oneshot::Sender<IndexView>),
    /// Every finding.
    Verdicts(oneshot::Sender<FindingList>),
    /// When time alone will change something.
    Agenda(oneshot::Sender<Agenda>),
    /// `address:port` of every ready endpoint of a Service's port.
    Sockets {
        /// The Service.
        service: ServicePort,
        /// The answer.
        answer: oneshot::Sender<Vec<std::net::SocketAddr>>,
    },
    /// What labels of series may name.
    KnownSubjects {
        /// What the series are about.
        scope: PageScope<Arc<str>>,
        /// The answer.
        answer: oneshot::Sender<KnownSubjects>,
    },
    /// What to push to an Alertmanager, and the addresses of the Service's ready endpoints.
    Alerts {
        /// The Alertmanager's Service.
        service: ServicePort,
        /// The answer.
        answer: oneshot::Sender<Alerts>,
    },
}

/// Whether the operator is ready.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Whether the first read of the cluster is complete.
    pub ready: bool,
    /// Sources that are not complete and current, and why.
    pub not_fresh: BTreeMap<&'static str, String>,
    /// Whether this replica writes.
    pub leader: bool,
}

/// How much the index holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexView {
    /// Rows by source.
    pub rows: BTreeMap<&'static str, usize>,
    /// Objects that were not understood, at most 100.
    pub opaque: Vec<(String, String)>,
    /// Interned names.
    pub names: usize,
}

/// When time alone will change something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agenda {
    /// Milliseconds until the next look; absent when only an input brings one.
    pub next_look_ms: Option<u64>,
    /// Policies whose status waits to be computed and written.
    pub queue: usize,
}

/// What to push.
#[derive(Debug, Clone, Default)]
pub struct Alerts {
    /// Whether this replica is the one to push.
    pub leader: bool,
    /// What is worth an alert: what fired before for one that is Unknown now, or beyond the share of its namespace, has not
    /// ended.
    pub findings: Alertable,
    /// `address:port` of every ready endpoint of the Service.
    pub endpoints: Vec<std::net::SocketAddr>,
}

/// The way to ask.
#[derive(Debug, Clone)]
pub struct Handle(mpsc::Sender<Query>);

/// Queries that may wait.
const WAITING: usize = 16;

/// A handle, and where its queries arrive.
pub fn channel() -> (Handle, mpsc::Receiver<Query>) {
    let (query_tx, query_rx) = mpsc::channel(WAITING);
    (Handle(query_tx), query_rx)
}

impl Handle {
    /// Asks; `None` when the loop has ended or does not answer.
    pub async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
        let (answer_tx, answer_rx) = oneshot::channel();
        self.0.send(question(answer_tx)).await.ok()?;
        answer_rx.await.ok()
    }

    /// `address:port` of every API server, from the endpoints of `default/kubernetes`; none when the loop has ended.
    pub(crate) async fn api_servers(&self) -> Vec<std::net::SocketAddr> {
        let service = ServicePort {
            namespace: "default".into(),
            service: "kubernetes".into(),
            port: "https".into(),
        };
        let sockets = self.ask(|answer| Query::Sockets { service, answer }).await;
        sockets.unwrap_or_default()
    }
}
