//! Alerts pushed to an Alertmanager, for clusters whose Prometheus does not load our rules, or is itself in trouble.
//!
//! The Service that the flag names is resolved to its ready endpoints from the index, and every one of them is told:
//! members of an Alertmanager cluster deduplicate among themselves, and a load balancer in between would tell only one.
//! No cluster DNS is on the way. An alert is repeated while its finding holds, says itself when it ends if nobody
//! repeats it, and is resolved in so many words when the finding is gone.

mod body;
mod client;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::metrics::Metrics;
use crate::run::{Ask, Line};
use body::Alert;
use client::Client;

/// How often a firing alert is repeated.
const REPEAT: Duration = Duration::from_secs(60);

/// When an alert that nobody repeats ends: four repeats may be lost, as Prometheus allows for its own alerts
/// (`rules/manager.go`, `sendAlerts`: four times the resend delay).
const LASTS: Duration = Duration::from_secs(4 * 60);

/// How soon after one push the next may follow: a burst of verdicts is one push.
const APART: Duration = Duration::from_secs(1);

/// How often a resolved alert is told, so that one lost push leaves nothing firing.
const FAREWELLS: u8 = 3;

/// Most alerts in a push, the worst first.
const MOST: usize = 500;

/// Where to push, and with what credentials.
#[derive(Debug, Clone)]
pub struct Options {
    /// Namespace of the Service.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// Its port, by name or number.
    pub port: String,
    /// A file of CA certificates in PEM: makes it HTTPS. There are no system roots in our image.
    pub ca: Option<PathBuf>,
    /// A file with a bearer token, read before each push, as it may be renewed.
    pub token: Option<PathBuf>,
}

impl std::str::FromStr for Options {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}`: expected namespace/service:port, for example monitoring/alertmanager:9093");
        let (namespace, rest) = text.split_once('/').ok_or_else(expected)?;
        let (service, port) = rest.split_once(':').ok_or_else(expected)?;
        let label = |text: &str| {
            !text.is_empty()
                && text.len() <= 63
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if ![namespace, service, port].into_iter().all(label) {
            return Err(expected());
        }
        Ok(Self {
            namespace: namespace.into(),
            service: service.into(),
            port: port.into(),
            ca: None,
            token: None,
        })
    }
}

/// Pushes.
#[derive(Debug)]
pub struct Push {
    options: Options,
    client: Client,
    line: Line,
    turns: watch::Receiver<u64>,
    metrics: Arc<Metrics>,
    /// What is firing, by id of the finding.
    firing: BTreeMap<String, Alert>,
    /// What has ended, and how often that is still to be told.
    ended: BTreeMap<String, (Alert, u8)>,
}

impl Push {
    /// A push to the Alertmanager that the options name. `turns` tells when verdicts have changed.
    pub fn new(
        options: Options,
        line: Line,
        turns: watch::Receiver<u64>,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let client = Client::new(&options).context("--alertmanager")?;
        Ok(Self {
            options,
            client,
            line,
            turns,
            metrics,
            firing: BTreeMap::new(),
            ended: BTreeMap::new(),
        })
    }

    /// Pushes until `stop` becomes true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let earliest = Instant::now() + APART;
            self.push().await;
            let repeat = Instant::now() + REPEAT;
            tokio::select! {
                changed = self.turns.changed() => if changed.is_err() { break },
                () = sleep_until(repeat) => {}
                _ = stop.changed() => break,
            }
            sleep_until(earliest).await;
        }
    }

    /// Tells every endpoint what fires and what has ended.
    async fn push(&mut self) {
        let service = (
            self.options.namespace.clone(),
            self.options.service.clone(),
            self.options.port.clone(),
        );
        let answer = self.line.ask(|answer| Ask::Alerts { service, answer }).await;
        let Some(alerts) = answer.filter(|alerts| alerts.leader) else {
            // The new holder tells the same; what ends meanwhile ends by itself.
            self.firing.clear();
            self.ended.clear();
            return;
        };
        let now = Timestamp::now();
        self.turn(
            alerts.findings.iter().take(MOST).map(|one| Alert::of(one, now)),
            now,
        );
        if self.firing.is_empty() && self.ended.is_empty() {
            return;
        }
        if alerts.endpoints.is_empty() {
            tracing::warn!(
                service = %format_args!("{}/{}", self.options.namespace, self.options.service),
                port = self.options.port,
                "the Alertmanager's Service has no ready endpoint"
            );
            self.metrics.pushed("unreachable");
            return;
        }
        let told: Vec<&Alert> = self
            .firing
            .values()
            .chain(self.ended.values().map(|one| &one.0))
            .collect();
        let body = serde_json::to_vec(&told).unwrap_or_default();
        let mut all = true;
        for endpoint in &alerts.endpoints {
            match self.client.post(*endpoint, body.clone()).await {
                Ok(()) => self.metrics.pushed("accepted"),
                Err(failure) => {
                    all = false;
                    self.metrics.pushed(failure.outcome());
                    tracing::warn!(%endpoint, error = %failure, "cannot push alerts");
                }
            }
        }
        if all {
            self.ended.retain(|_, (_, left)| {
                *left -= 1;
                *left > 0
            });
        }
    }

    /// Takes in what fires now; what fired before and does not any more has ended.
    fn turn(&mut self, now_firing: impl Iterator<Item = (String, Alert)>, now: Timestamp) {
        let mut firing = BTreeMap::new();
        for (id, alert) in now_firing {
            self.ended.remove(&id);
            firing.insert(id, alert);
        }
        for (id, mut alert) in std::mem::replace(&mut self.firing, firing) {
            if !self.firing.contains_key(&id) {
                alert.ends_at = now;
                self.ended.insert(id, (alert, FAREWELLS));
            }
        }
    }
}
