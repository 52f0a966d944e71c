//! The task that drives the [`Operator`]: it changes what arrives into events, and effects into tasks and messages.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use evenkeel_core::history::PodQuery;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::client::Link;
use crate::clock::Clock;
use crate::heartbeat::{self, Heartbeat};
use crate::lease::Claim;
use crate::lookup;
use crate::metrics::Metrics;
use crate::operator::{Effects, Event, Next, Operator, Outgoing, ReceivedAt, RemedyRequest, Watched};
use crate::query::Query;
use crate::remedy;
use crate::samples::{OwnedPage, SampleWantsByScope};
use crate::send::{Reply, Sender};
use crate::watch::{self as cluster, Events, Watches};

/// Events of the cluster's objects that are taken in before a step: bounds how long a burst can hold up everything else.
const CHUNK: usize = 512;

/// The same of policies, which come by the thousand when their statuses are written, and each is more work.
const CHUNK_OF_POLICIES: usize = 32;

/// A request that has ended: its number, what became of it, and our own part of the reaction.
type RequestEnded = (u64, Reply, Duration);

/// Everything around the operator.
pub(super) struct Drive {
    pub(super) operator: Operator,
    pub(super) clock: Clock,
    pub(super) watches: Watches,
    pub(super) events: Events,
    pub(super) queries: mpsc::Receiver<Query>,
    pub(super) claim: watch::Receiver<Option<Claim>>,
    pub(super) sender: Sender,
    pub(super) requests: JoinSet<RequestEnded>,
    /// For reading single Pods.
    pub(super) link: Arc<Link>,
    pub(super) lookups: JoinSet<(PodQuery, lookup::LookupResult)>,
    /// Namespace of the operator, where the ledger is.
    pub(super) namespace: Arc<str>,
    /// Requests of remedies: one at a time.
    pub(super) remedies: JoinSet<(u64, evenkeel_core::drive::Reply)>,
    /// What feeders have measured; none where there is no feeder.
    pub(super) pages: mpsc::Receiver<OwnedPage>,
    /// What feeders are to measure.
    pub(super) measure: watch::Sender<SampleWantsByScope>,
    /// What is declared beside the Lease.
    pub(super) state: watch::Sender<String>,
    /// Counts changes of verdicts and of leadership.
    pub(super) changes: watch::Sender<u64>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) heartbeat: Heartbeat,
}

impl Drive {
    /// Runs until `stop` becomes true, and until every request has ended. An error is a part that has broken.
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) -> Result<()> {
        let outcome = self.until(stop).await;
        self.step(Event::Stop);
        while let Some(ended) = self.requests.join_next().await {
            self.ended(ended)?;
        }
        // What was left is settled by the next leader; only nothing may be on its way.
        while self.remedies.join_next().await.is_some() {}
        outcome
    }

    async fn until(&mut self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut next = self.step(Event::Tick);
        let mut idle = interval(heartbeat::INTERVAL);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stop.borrow() {
            self.heartbeat.beat();
            let at = match next {
                Next::At(at) => Some(self.clock.instant(at)),
                Next::Never | Next::Now => None,
            };
            next = tokio::select! {
                event = self.events.recv() => {
                    let Some(event) = event else { bail!("the watches have ended") };
                    let watched = self.take_in(event);
                    self.step(Event::Watched(watched))
                }
                Some(query) = self.queries.recv() => {
                    self.answer(query);
                    continue;
                }
                Some(ended) = self.requests.join_next() => self.ended(ended)?,
                Some(read) = self.lookups.join_next() => match read {
                    Ok((pod, answer)) => self.step(Event::Lookup(pod, answer)),
                    Err(error) => bail!("reading a Pod has failed: {error}"),
                },
                Some(ended) = self.remedies.join_next() => match ended {
                    Ok((id, reply)) => self.step(Event::RemedyReply { id, reply }),
                    Err(error) => bail!("a request of a remedy has failed: {error}"),
                },
                Some(page) = self.pages.recv() => self.step(Event::Measured(page)),
                // Everything else that waits for this thread comes first.
                () = tokio::task::yield_now(), if next == Next::Now => self.step(Event::Tick),
                changed = self.claim.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let claim = *self.claim.borrow_and_update();
                    self.step(Event::Claim(claim))
                }
                () = sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => self.step(Event::Tick),
                _ = idle.tick() => continue,
                broken = self.watches.broken() => bail!(broken),
                _ = stop.changed() => break,
            };
        }
        Ok(())
    }

    /// An event and what has come with it.
    fn take_in(&mut self, first: cluster::WatchEvent) -> Vec<Watched> {
        let watched = |event: cluster::WatchEvent| Watched {
            cause: ReceivedAt(self.clock.at(event.received)),
            event,
        };
        let mut all = vec![watched(first)];
        let cluster = std::iter::from_fn(|| self.events.try_cluster());
        all.extend(cluster.take(CHUNK).map(watched));
        let policies = std::iter::from_fn(|| self.events.try_policies());
        all.extend(policies.take(CHUNK_OF_POLICIES).map(watched));
        all
    }

    fn ended(&mut self, ended: Result<RequestEnded, JoinError>) -> Result<Next> {
        match ended {
            Ok((id, reply, reaction)) => Ok(self.step(Event::Reply { id, reply, reaction })),
            Err(error) => bail!("a request has failed: {error}"),
        }
    }

    /// Steps and carries out the effects.
    fn step(&mut self, event: Event) -> Next {
        let began = Instant::now();
        let effects = self.operator.step(self.clock.now(), event);
        if effects.judged {
            self.metrics.round(began.elapsed());
        }
        let Effects {
            send,
            remedy,
            remedied,
            lookups,
            measure,
            watches,
            urgent,
            state,
            turned,
            judged: _,
            written,
            next,
        } = effects;
        for outgoing in send {
            self.send(outgoing);
        }
        if let Some(RemedyRequest { id, permit, request }) = remedy {
            let (link, clock, namespace) = (self.link.clone(), self.clock, self.namespace.clone());
            self.remedies.spawn(async move {
                let reply = remedy::send(&link, clock, permit, &namespace, &request).await;
                (id, reply)
            });
        }
        for outcome in remedied {
            self.metrics.remedied(outcome);
        }
        for pod in lookups {
            let link = self.link.clone();
            self.lookups.spawn(async move {
                let answer = lookup::read(&link, &pod).await;
                (pod, answer)
            });
        }
        if let Some(wants) = measure {
            self.measure.send_replace(wants);
        }
        self.watches.apply(watches);
        if let Some(namespaces) = urgent {
            self.watches.set_urgent(namespaces);
        }
        if let Some(state) = state {
            self.state.send_replace(state);
        }
        if turned {
            self.changes.send_modify(|changes| *changes += 1);
        }
        if let Some((outcome, reaction)) = written {
            self.metrics.wrote(outcome, reaction);
        }
        next
    }

    fn send(&mut self, outgoing: Outgoing) {
        let Outgoing {
            id,
            permit,
            request,
            cause,
        } = outgoing;
        let (sender, clock) = (self.sender.clone(), self.clock);
        self.requests.spawn(async move {
            let reaction = clock.elapsed().saturating_sub(cause.0);
            (id, sender.send(permit, &request).await, reaction)
        });
    }

    fn answer(&self, query: Query) {
        let (now, operator) = (self.clock.now(), &self.operator);
        // The asker may have gone away.
        match query {
            Query::Snapshot(answer) => drop(answer.send(operator.snapshot(now, &self.watches.snapshot()))),
            Query::Readiness(answer) => drop(answer.send(operator.readiness(now))),
            Query::Watches(answer) => drop(answer.send(self.watches.snapshot())),
            Query::Index(answer) => drop(answer.send(operator.index())),
            Query::Verdicts(answer) => drop(answer.send(operator.findings(now))),
            Query::Agenda(answer) => drop(answer.send(operator.agenda(now))),
            Query::Sockets { service, answer } => drop(answer.send(operator.sockets(&service))),
            Query::KnownSubjects { scope, answer } => drop(answer.send(operator.known(&scope))),
            Query::Alerts { service, answer } => drop(answer.send(operator.alerts(now, &service))),
        }
    }
}
