//! Sees which API servers the load balancer before them uses.
//!
//! A load balancer cannot be asked what it believes, but it can be observed: now and then a fresh TLS connection to its address
//! is opened and closed again, and the certificate says which API server is at the other end. Nothing is requested and no
//! credentials are shown. The connections are spread over time: a burst would meet one state of the balancer, and many API
//! servers count connections of one client.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::sample::{Metric, PageScope, Why};
use futures::StreamExt;
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::certificate::{Certificate, are_instances, resolved, shown};
use super::early::EarlyRefresh;
use super::tally::{Outcome, Tally};
use super::{ApiServers, published};
use crate::live;
use crate::repeats::Repeats;
use crate::samples::{SampleFeed, now_millis, until_stopped};

/// How often a connection is opened.
const EVERY: Duration = Duration::from_secs(5);
/// After so many of them there are pages: every 15 s, as the core expects (`Observer::every_seconds`).
const IN_A_PAGE: u32 = 3;
/// How often the API servers' own certificates, the CA and the published address are read again;
/// sooner where the load balancer shows a certificate that is none of theirs.
const REFRESH: Duration = Duration::from_secs(60);
/// How many API servers are asked for their certificate at the same time.
const AT_ONCE: usize = 4;

/// The feeder.
pub(crate) struct BalancerFeeder {
    servers: ApiServers,
    feed: SampleFeed,
    tally: Tally,
    setting: Option<BalancerSetup>,
    /// Whether a certificate that is none of theirs is a reason to read again what holds.
    early: EarlyRefresh,
    /// How many connections there were: a name with several addresses is tried at one after the other.
    number: usize,
    warned: Repeats,
}

/// What holds for a minute.
struct BalancerSetup {
    until: Instant,
    /// What the policy declared then.
    declared: Option<Arc<str>>,
    /// The API servers.
    instances: Vec<SocketAddr>,
    /// Where the load balancer is, and how TLS is spoken with it; or why it is not known.
    balancer: Result<(Vec<SocketAddr>, Arc<ClientConfig>), (Why, String)>,
}

impl BalancerFeeder {
    /// A feeder for the load balancer before these API servers.
    pub(crate) fn new(servers: ApiServers, feed: SampleFeed) -> Self {
        Self {
            servers,
            feed,
            tally: Tally::default(),
            setting: None,
            early: EarlyRefresh::default(),
            number: 0,
            warned: Repeats::default(),
        }
    }

    /// Opens connections until `stop` becomes true.
    pub(crate) async fn run(mut self, stop: watch::Receiver<bool>) {
        until_stopped(stop, async move { while self.pages().await.is_some() {} }).await;
    }

    /// Whether connections are wanted at all: there are several API servers, and a check asks for them.
    fn is_wanted(&self) -> bool {
        self.feed
            .wants()
            .get(&PageScope::Instances)
            .is_some_and(|wanted| {
                wanted.instances.len() > 1 && wanted.metrics.has(Metric::BalancerHandshakes)
            })
    }

    /// The address that the platform declares.
    fn declared(&self) -> Option<Arc<str>> {
        let wants = self.feed.wants();
        wants.get(&PageScope::Instances)?.load_balancer.clone()
    }

    /// Opens the connections of one page and hands it over; `None` when the loop has ended. Nothing runs while nothing is
    /// wanted, and what was seen before counts no more.
    async fn pages(&mut self) -> Option<()> {
        if !self.is_wanted() {
            self.tally = Tally::default();
            self.setting = None;
            return self.feed.changed().await;
        }
        for _ in 0..IN_A_PAGE {
            let next = Instant::now() + EVERY;
            if !self.is_wanted() {
                return Some(());
            }
            let outcome = self.connect(self.declared()).await;
            match &outcome {
                Ok(_) => self.warned.end(),
                Err((why, detail)) => {
                    if let Some(times) = self.warned.due(detail) {
                        tracing::warn!(why = why.text(), detail, times, "cannot see the load balancer");
                    }
                }
            }
            self.tally.add(outcome);
            sleep_until(next).await;
        }
        for page in self.tally.pages(now_millis()) {
            self.feed.hand_over(page).await?;
        }
        Some(())
    }

    /// One connection.
    async fn connect(&mut self, declared: Option<Arc<str>>) -> Outcome {
        self.refresh(declared, false).await;
        let outcome = self.open().await;
        self.number = self.number.wrapping_add(1);
        // Its certificate may be newer than what was last read of the API servers.
        if let Ok(certificate) = &outcome
            && !self.tally.knows(certificate)
            && self.early.is_due(Instant::now())
            && let Some(setting) = &self.setting
        {
            self.refresh(setting.declared.clone(), true).await;
            self.early.done(Instant::now(), self.tally.knows(certificate));
        }
        outcome
    }

    async fn open(&self) -> Outcome {
        let balancer = self.setting.as_ref().map(|setting| &setting.balancer);
        let (addresses, tls) = match balancer {
            Some(Ok(known)) => known,
            Some(Err(gap)) => return Err(gap.clone()),
            None => return Err((Why::NotAsked, String::new())),
        };
        let at = self.number % addresses.len().max(1);
        let Some(address) = addresses.get(at) else {
            return Err((Why::NoAddress, String::new()));
        };
        shown(tls, *address).await
    }

    /// Reads again what holds for a minute, where that is over or something has changed.
    async fn refresh(&mut self, declared: Option<Arc<str>>, now: bool) {
        let (instances, _) = self.servers.sockets().await;
        let holds = |setting: &BalancerSetup| {
            setting.until > Instant::now() && setting.declared == declared && setting.instances == instances
        };
        if !now && self.setting.as_ref().is_some_and(holds) {
            return;
        }
        let until = Instant::now() + REFRESH;
        let tls = live::anonymous_tls(&self.servers.cluster).await.map(Arc::new);
        let balancer = match &tls {
            Ok(tls) => {
                self.tally.know(certificates(tls, &instances).await);
                self.find(declared.as_deref(), &instances)
                    .await
                    .map(|addresses| (addresses, tls.clone()))
            }
            Err(error) => Err((Why::Unreachable, format!("{error:#}"))),
        };
        self.setting = Some(BalancerSetup {
            until,
            declared,
            instances,
            balancer,
        });
    }

    /// Where the load balancer is.
    async fn find(
        &self,
        declared: Option<&str>,
        instances: &[SocketAddr],
    ) -> Result<Vec<SocketAddr>, (Why, String)> {
        let at = match declared {
            Some(at) => at.to_owned(),
            None => published::address(&self.servers.link).await?,
        };
        let addresses = resolved(&at).await?;
        if are_instances(&addresses, instances) {
            return Err((Why::NoBalancer, at));
        }
        Ok(addresses)
    }
}

/// The certificate that each API server shows by its own address.
async fn certificates(
    tls: &Arc<ClientConfig>,
    instances: &[SocketAddr],
) -> BTreeMap<IpAddr, Option<Certificate>> {
    let each = instances.iter().map(|at| {
        let (tls, at) = (tls.clone(), *at);
        async move { (at.ip(), shown(&tls, at).await.ok()) }
    });
    futures::stream::iter(each.collect::<Vec<_>>())
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}
