//! Alerts pushed to an Alertmanager, for clusters whose Prometheus does not load our rules, or is itself in trouble.
//!
//! The Service that the flag names is resolved to its ready endpoints from the index, and each of them gets every push:
//! members of an Alertmanager cluster deduplicate among themselves, and a load balancer in between would reach only one.
//! No cluster DNS is on the way. An alert is repeated while its finding holds, carries the time at which it
//! ends unless it is repeated, and is resolved explicitly when the finding is gone.

mod body;
mod client;
mod firing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::join_all;
use hyper::body::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::metrics::Metrics;
use crate::outbound::{self, HttpClient, ServicePort, Trust};
use crate::query::{Handle, Query};
use crate::repeats::Repeats;
use body::Alert;
use firing::Firing;

#[cfg(test)]
pub(crate) use body::tests::texts;

/// How often a firing alert is repeated.
const REPEAT: Duration = Duration::from_secs(60);

/// How long a finding must hold before it fires: a rollout, a node that restarts. The `for` of `EvenkeelCriticalFinding` in
/// `manifests/components/prometheus/rules.yaml`.
const HOLDS: Duration = Duration::from_secs(60);

/// When an alert that is not repeated ends: four repeats may be lost, as Prometheus allows for its own alerts
/// (`rules/manager.go`, `sendAlerts`: four times the resend delay).
const LASTS: Duration = Duration::from_secs(4 * 60);

/// How soon a push that an endpoint did not take is tried again.
const RETRY: Duration = Duration::from_secs(15);

/// How soon after one push the next may follow: a burst of verdicts is one push.
const APART: Duration = Duration::from_secs(1);

/// How often a resolved alert is pushed, so that one lost push leaves nothing firing.
const FAREWELLS: u8 = 3;

/// Most alerts in a push, the worst of each namespace first.
pub(crate) const MOST: usize = 500;

/// Where to push, and with what credentials.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Alertmanager's Service.
    pub at: ServicePort,
    /// How it is reached.
    pub outbound: outbound::Options,
}

/// Pushes.
#[derive(Debug)]
pub struct Push {
    options: Options,
    client: HttpClient,
    handle: Handle,
    changes: watch::Receiver<u64>,
    metrics: Arc<Metrics>,
    firing: Firing,
    warned: Repeats,
}

impl Push {
    /// A push to the Alertmanager that the options name. `changes` changes when verdicts have.
    pub fn new(
        options: Options,
        handle: Handle,
        changes: watch::Receiver<u64>,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let name = options.at.server_name();
        let client =
            HttpClient::new(options.outbound.clone(), Trust::Name(&name)).context("--alertmanager")?;
        Ok(Self {
            options,
            client,
            handle,
            changes,
            metrics,
            firing: Firing::default(),
            warned: Repeats::default(),
        })
    }

    /// Pushes until `stop` becomes true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let earliest = Instant::now() + APART;
            let repeat = Instant::now() + self.push().await;
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { break },
                () = sleep_until(repeat) => {}
                _ = stop.changed() => break,
            }
            sleep_until(earliest).await;
        }
    }

    /// Looks at what fires and what has ended, and pushes it to every endpoint; returns when to do so again.
    async fn push(&mut self) -> Duration {
        let service = self.options.at.clone();
        let answer = self.handle.ask(|answer| Query::Alerts { service, answer }).await;
        let Some(alerts) = answer.filter(|alerts| alerts.leader) else {
            // Another holder pushes the same. What was pushed is kept: if the Lease comes back, what has ended is resolved.
            return REPEAT;
        };
        let now = Timestamp::now();
        let worth = &alerts.findings;
        let violated = worth.findings.iter().map(|one| Alert::of(one, now)).collect();
        let next = self.firing.update(violated, &worth.beyond, &worth.unknown, now);
        self.metrics.left_out(self.firing.left());
        let next = next.map(|at| now.duration_until(at).unsigned_abs());
        let again = if self.post(&alerts.endpoints).await {
            REPEAT
        } else {
            RETRY
        };
        next.map_or(again, |next| again.min(next))
    }

    /// Pushes to every endpoint what fires and what has ended; returns whether all of it was accepted.
    async fn post(&mut self, endpoints: &[SocketAddr]) -> bool {
        let alerts = self.firing.alerts();
        if alerts.is_empty() {
            return true;
        }
        if endpoints.is_empty() {
            if let Some(times) = self.warned.due("no endpoint") {
                tracing::warn!(
                    service = %self.options.at,
                    times,
                    "the Alertmanager's Service has no ready endpoint"
                );
            }
            self.metrics.pushed("unreachable");
            return false;
        }
        // Our own maps of text can be written as JSON.
        let body = Bytes::from(serde_json::to_vec(&alerts).unwrap_or_default());
        // All at once: one that is dead must not make the others wait.
        let posts = endpoints.iter().map(|endpoint| {
            let post = client::post(&self.client, *endpoint, body.clone());
            async move { (endpoint, post.await) }
        });
        let mut failures = Vec::new();
        for (endpoint, outcome) in join_all(posts).await {
            match outcome {
                Ok(()) => self.metrics.pushed("accepted"),
                Err(failure) => {
                    self.metrics.pushed(client::outcome(&failure));
                    failures.push((endpoint, failure));
                }
            }
        }
        if failures.is_empty() {
            self.warned.end();
            self.firing.delivered();
            return true;
        }
        // Repeated is what fails in all: of two endpoints each would be another warning than the last.
        let each = failures
            .iter()
            .map(|(endpoint, failure)| format!("{endpoint} {failure}"));
        if let Some(times) = self.warned.due(&each.collect::<Vec<_>>().join("; ")) {
            for (endpoint, failure) in &failures {
                tracing::warn!(%endpoint, error = %failure, times, "cannot push alerts");
            }
        }
        false
    }
}
