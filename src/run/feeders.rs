//! The tasks that measure, and their channels to the loop.

use std::sync::Arc;

use anyhow::Result;
use evenkeel_core::sample::Observer;
use tokio::sync::{mpsc, watch};

use super::{Exit, Options, Tasks};
use crate::client::Link;
use crate::instances;
use crate::metrics::Metrics;
use crate::prometheus;
use crate::query::Handle;
use crate::samples::{self, OwnedPage, SampleFeed, SampleWantsByScope};

/// The loop's ends of the channels, and who measures.
pub(super) struct Feeders {
    pub(super) pages: mpsc::Receiver<OwnedPage>,
    pub(super) measure: watch::Sender<SampleWantsByScope>,
    pub(super) observers: Vec<Observer>,
}

impl Feeders {
    /// Starts those that the options ask for. `link` is the API server's for their thread.
    pub(super) fn start(
        tasks: &mut Tasks,
        options: &Options,
        handle: &Handle,
        link: &Arc<Link>,
        metrics: &Arc<Metrics>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Self> {
        let (page_tx, pages) = mpsc::channel(samples::WAITING);
        let (measure, wants) = watch::channel(SampleWantsByScope::default());
        let feed = SampleFeed::new(wants, page_tx);
        let mut observers = Vec::new();
        if options.instance_metrics {
            let servers = instances::ApiServers::new(options.cluster.clone(), link.clone(), handle.clone());
            let feeder = instances::InstanceFeeder::new(servers.clone(), feed.clone());
            tasks.spawn(read_instances(feeder, stop.clone()));
            observers.push(Observer::Instance);
            let feeder = instances::BalancerFeeder::new(servers, feed.clone());
            tasks.spawn(watch_balancer(feeder, stop.clone()));
            observers.push(Observer::LoadBalancer);
        }
        if let Some(prometheus) = &options.prometheus {
            let feeder =
                prometheus::PrometheusFeeder::new(prometheus, handle.clone(), feed, metrics.clone())?;
            tasks.spawn(ask_prometheus(feeder, stop.clone()));
            observers.push(Observer::Prometheus);
        }
        Ok(Self {
            pages,
            measure,
            observers,
        })
    }
}

async fn ask_prometheus(feeder: prometheus::PrometheusFeeder, until: watch::Receiver<bool>) -> Exit {
    feeder.run(until).await;
    ("asking Prometheus", Ok(()))
}

async fn watch_balancer(feeder: instances::BalancerFeeder, until: watch::Receiver<bool>) -> Exit {
    feeder.run(until).await;
    ("connections to the load balancer", Ok(()))
}

async fn read_instances(feeder: instances::InstanceFeeder, until: watch::Receiver<bool>) -> Exit {
    feeder.run(until).await;
    ("reading API servers' metrics", Ok(()))
}
