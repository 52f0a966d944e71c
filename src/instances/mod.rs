//! Reads each API server's own `/metrics`, by its own address.
//!
//! A load balancer in front of API servers shows one of them, at random or always the same, and a request by it says
//! nothing of the others. So each address that they write into `default/kubernetes` is asked by itself, under the name that
//! every one of their certificates has. Where all of them write the same address they are hidden behind it: then nothing
//! is read, and the gap has the reason. How many there are, their Leases in `kube-system` tell.

mod balancer;
mod certificate;
mod early;
mod leases;
mod page;
mod published;
mod read;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::sample::{Metrics, Observer, Of, PageScope, Why};
use futures::StreamExt;
use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::client::Link;
use crate::exposition::Wanted;
use crate::live;
use crate::query::Handle;
use crate::repeats::Repeats;
use crate::rights::{Right, RightScope};
use crate::samples::{OwnedPage, SampleFeed, now_millis, until_stopped};

/// How often each API server is read: [`Observer::every_seconds`].
const EVERY: Duration = Duration::from_secs(60);

/// How many are read at the same time: a page of 50 MB takes an API server a second or two to write.
const AT_ONCE: usize = 4;

pub(crate) use balancer::BalancerFeeder;

/// What it needs besides what the operator may read anyway; granted by `manifests/components/instance-metrics`.
pub const RIGHTS: &[Right] = &[
    Right {
        group: "",
        resource: "configmaps",
        verbs: &["get"],
        scope: RightScope::Namespace("kube-public"),
        why: "reads the address of the load balancer before the API servers (cluster-info)",
    },
    Right {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["list"],
        scope: RightScope::Namespace("kube-system"),
        why: "counts the API servers behind one address by their identity Leases",
    },
];

/// By what the API servers are found.
#[derive(Clone)]
pub(crate) struct ApiServers {
    cluster: live::Options,
    link: Arc<Link>,
    handle: Handle,
}

impl ApiServers {
    /// Those of the cluster that the options name. `link` is for what the cluster publishes of them.
    pub(crate) const fn new(cluster: live::Options, link: Arc<Link>, handle: Handle) -> Self {
        Self {
            cluster,
            link,
            handle,
        }
    }

    /// The addresses in `default/kubernetes`, at most so many as are read, and how many there are.
    async fn sockets(&self) -> (Vec<SocketAddr>, usize) {
        let mut sockets = self.handle.api_servers().await;
        let shown = sockets.len();
        sockets.truncate(Of::Instance.most());
        (sockets, shown)
    }
}

/// The feeder.
pub(crate) struct InstanceFeeder {
    servers: ApiServers,
    feed: SampleFeed,
    /// One for each API server, kept while its address is there: a connection, and the credentials.
    clients: HashMap<SocketAddr, Client>,
    warned: Repeats,
}

impl InstanceFeeder {
    /// A feeder for these API servers.
    pub(crate) fn new(servers: ApiServers, feed: SampleFeed) -> Self {
        Self {
            servers,
            feed,
            clients: HashMap::new(),
            warned: Repeats::default(),
        }
    }

    /// Reads until `stop` becomes true.
    pub(crate) async fn run(mut self, stop: watch::Receiver<bool>) {
        let wanted = Wanted::new(page::METRICS);
        until_stopped(stop, async move { while self.round(&wanted).await.is_some() {} }).await;
    }

    /// Reads each API server and waits for the next time; `None` when the loop has ended.
    async fn round(&mut self, wanted: &Wanted) -> Option<()> {
        let next = Instant::now() + EVERY;
        let metrics = self.metrics();
        if metrics == Metrics::NONE {
            // Nothing runs while nothing is wanted.
            return self.feed.changed().await;
        }
        self.read_all(metrics, wanted).await?;
        sleep_until(next).await;
        Some(())
    }

    /// What is wanted of API servers, as far as a page of theirs brings it.
    fn metrics(&mut self) -> Metrics {
        let wants = self.feed.take_wants();
        let wanted = wants.get(&PageScope::Instances);
        wanted.map_or(Metrics::NONE, |wanted| wanted.metrics.both(page::BROUGHT))
    }

    /// Reads each API server once; `None` when the loop has ended.
    async fn read_all(&mut self, metrics: Metrics, wanted: &Wanted) -> Option<()> {
        let mut failures = Vec::new();
        let (sockets, shown) = self.servers.sockets().await;
        if shown > sockets.len() {
            let read = sockets.len();
            failures.push(format!(
                "{shown} addresses in default/kubernetes: {read} are read"
            ));
        }
        self.clients.retain(|at, _| sockets.contains(at));
        if sockets.is_empty() {
            let detail = "default/kubernetes has no ready address with a port https".to_owned();
            self.warn(&detail);
            let gap = Some((Why::Unreachable, detail));
            return self
                .feed
                .hand_over(failed(PageScope::Instances, metrics, gap))
                .await;
        }
        if let [only] = *sockets
            && let Some((why, detail)) = leases::hidden(&self.servers.link, only.ip()).await
        {
            self.warn(&detail);
            let gap = Some((why, detail));
            return self
                .feed
                .hand_over(failed(PageScope::Instances, metrics, gap))
                .await;
        }
        self.connect(&sockets, metrics, &mut failures).await?;
        self.read(metrics, wanted, &mut failures).await?;
        failures.sort();
        if failures.is_empty() {
            self.warned.end();
        } else {
            self.warn(&failures.join("; "));
        }
        Some(())
    }

    /// Makes a client for each that has none.
    async fn connect(
        &mut self,
        sockets: &[SocketAddr],
        metrics: Metrics,
        failures: &mut Vec<String>,
    ) -> Option<()> {
        for at in sockets {
            if self.clients.contains_key(at) {
                continue;
            }
            match live::client_at(&self.servers.cluster, *at).await {
                Ok(client) => {
                    self.clients.insert(*at, client);
                }
                Err(error) => {
                    let detail = format!("{error:#}");
                    failures.push(format!("{at} {}: {detail}", Why::Unreachable.text()));
                    let gap = Some((Why::Unreachable, detail));
                    let page = failed(PageScope::Instance(at.ip()), metrics, gap);
                    self.feed.hand_over(page).await?;
                }
            }
        }
        Some(())
    }

    /// Reads the page of each client and hands it over; `None` when the loop has ended.
    async fn read(&mut self, metrics: Metrics, wanted: &Wanted, failures: &mut Vec<String>) -> Option<()> {
        let clients: Vec<_> = self
            .clients
            .iter()
            .map(|(at, client)| (*at, client.clone()))
            .collect();
        let mut pages = futures::stream::iter(clients)
            .map(|(at, client)| async move { (at, read::read(&client, at.ip(), metrics, wanted).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((at, page)) = pages.next().await {
            if let Some((why, detail)) = &page.gap {
                failures.push(format!("{at} {}: {detail}", why.text()));
                // Its files are read again: the CA or a certificate may be another one by now.
                self.clients.remove(&at);
            }
            self.feed.hand_over(page).await?;
        }
        Some(())
    }

    fn warn(&mut self, why: &str) {
        if let Some(times) = self.warned.due(why) {
            tracing::warn!(why, times, "cannot read the metrics of every API server");
        }
    }
}

/// A page without samples.
fn failed(scope: PageScope<Arc<str>>, metrics: Metrics, gap: Option<(Why, String)>) -> OwnedPage {
    OwnedPage {
        observer: Observer::Instance,
        metrics,
        scope,
        asked: now_millis(),
        samples: Vec::new(),
        gap,
    }
}
