//! A Prometheus that is there already, asked for what it has measured.
//!
//! Instant queries only, of a fixed table ([`table`]), each only while a check needs it, one at a time and spread over the
//! interval in which it is asked again. A team names a metric and a label for its own Pods and never a query; what is
//! asked then is built and quoted here ([`selector`]). A server that does not answer is asked once in a while, and everything
//! that it was to measure is Unknown with the reason meanwhile. What a policy names fails alone: no team can make the
//! measurements of others Unknown by a query that fails.

pub mod answer;
mod ask;
mod docs;
mod schedule;
pub mod selector;
mod server;
mod subject;
pub mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use evenkeel_core::sample::{Metrics, Observer, PageScope, Why};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::outbound::ServicePort;
use crate::query::{Handle, Query};
use crate::repeats::Repeats;
use crate::samples::{KnownSubjects, OwnedPage, SampleWantsByScope, now_millis};
pub(crate) use ask::{Question, ask, questions};
pub use docs::page;
use schedule::Schedule;
pub use server::Options;
pub(crate) use server::PrometheusServer;

/// How soon after a failure of the whole server the next query is tried.
const RETRY: Duration = Duration::from_secs(15);

/// Most endpoints that one query is tried at: with all of them silent it has ended before it is due again.
const ENDPOINTS: usize = 5;

/// The feeder.
pub struct PrometheusFeeder {
    at: ServicePort,
    server: PrometheusServer,
    handle: Handle,
    wants: watch::Receiver<SampleWantsByScope>,
    page_tx: mpsc::Sender<OwnedPage>,
    schedule: Schedule,
    warned: Repeats,
}

impl PrometheusFeeder {
    /// A feeder for the Prometheus that the options name. An error is a file that cannot be read.
    pub(crate) fn new(
        options: &Options,
        handle: Handle,
        wants: watch::Receiver<SampleWantsByScope>,
        page_tx: mpsc::Sender<OwnedPage>,
    ) -> Result<Self> {
        Ok(Self {
            at: options.at.clone(),
            server: PrometheusServer::of(options)?,
            handle,
            wants,
            page_tx,
            schedule: Schedule::default(),
            warned: Repeats::default(),
        })
    }

    /// Asks until `stop` becomes true.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let wants = self.wants.borrow_and_update().clone();
            self.schedule.want(questions(&wants), Instant::now());
            tokio::select! {
                goes_on = self.step() => if !goes_on { break },
                _ = stop.changed() => break,
            }
        }
    }

    /// Waits for the next question or for other wants; false when the loop has ended.
    async fn step(&mut self) -> bool {
        let Some((due, question)) = self.schedule.next() else {
            return self.wants.changed().await.is_ok();
        };
        tokio::select! {
            changed = self.wants.changed() => return changed.is_ok(),
            () = sleep_until(due) => {}
        }
        let Some(known) = self.known(&question).await else {
            return false;
        };
        let page = self.ask(&question, &known).await;
        self.schedule.asked(&question, Instant::now());
        match page.gap.clone() {
            Some((why, _)) if is_the_servers(why) && question.is_a_policys() => {
                self.page_tx.send(page).await.is_ok()
            }
            Some((why, detail)) if is_the_servers(why) => self.all_failed(why, &detail).await,
            _ => {
                self.warned.end();
                self.page_tx.send(page).await.is_ok()
            }
        }
    }

    /// The subjects that the API shows, as far as this question is about them; `None` when the loop has ended.
    async fn known(&self, question: &Question) -> Option<KnownSubjects> {
        let nodes = question.scope == PageScope::Nodes;
        self.handle
            .ask(|answer| Query::KnownSubjects { nodes, answer })
            .await
    }

    /// Asks one endpoint after the other until one answers.
    async fn ask(&self, question: &Question, known: &KnownSubjects) -> OwnedPage {
        let service = self.at.clone();
        let sockets = self.handle.ask(|answer| Query::Sockets { service, answer }).await;
        let mut endpoints: Vec<Option<SocketAddr>> = sockets
            .unwrap_or_default()
            .into_iter()
            .take(ENDPOINTS)
            .map(Some)
            .collect();
        if endpoints.is_empty() {
            endpoints.push(None);
        }
        let mut last = None;
        for endpoint in endpoints {
            let page = ask(&self.server, endpoint, question, known).await;
            let failed = page.gap.as_ref().is_some_and(|gap| is_the_servers(gap.0));
            last = Some(page);
            if !failed {
                break;
            }
        }
        last.unwrap_or_else(|| question.failed(now_millis(), (Why::Unreachable, String::new())))
    }

    /// Says of everything that is wanted why it is not there, and asks nothing for a while.
    async fn all_failed(&mut self, why: Why, detail: &str) -> bool {
        if let Some(times) = self.warned.due(detail) {
            tracing::warn!(service = %self.at, why = detail, times, "cannot ask Prometheus");
        }
        self.schedule.wait(Instant::now() + RETRY);
        for (scope, metrics) in self.schedule.all() {
            let page = OwnedPage {
                observer: Observer::Prometheus,
                metrics,
                scope,
                asked: now_millis(),
                samples: Vec::new(),
                gap: Some((why, detail.to_owned())),
            };
            if self.page_tx.send(page).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// Whether it is the whole server that does not answer, and not one question that it cannot.
const fn is_the_servers(why: Why) -> bool {
    matches!(why, Why::Unreachable | Why::TimedOut | Why::Refused)
}

/// What is wanted of Prometheus of one scope.
pub(crate) type Scoped = (PageScope<Arc<str>>, Metrics);
