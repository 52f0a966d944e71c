//! The operator's process: one task drives the [`Operator`], and others do the IO around it.
//!
//! The pumps, the Lease, requests, HTTP and the push of alerts run beside it and reach it by channels. If one of them ends
//! before it was asked to, the process ends, because an operator that is half alive misleads.

mod drive;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::alert;
use crate::client::Link;
use crate::clock::Clock;
use crate::lease::{self, Claim};
use crate::live;
use crate::metrics::Metrics;
use crate::operator::Operator;
use crate::query::{self, Handle};
use crate::send::Sender;
use crate::serve::{Addresses, Listeners};
use crate::watch::Watches;

use drive::Drive;

/// How long requests under way may take to end after a stop: a permit's time, and a little.
const REQUESTS_END: Duration = lease::REQUEST_TIMEOUT.saturating_add(Duration::from_millis(500));

/// How long everything else may take after that, first of all to give the Lease back. Our Deployment grants 15 s in all.
const GRACE: Duration = Duration::from_secs(6);

/// How the operator runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which cluster.
    pub cluster: live::Options,
    /// Namespace of the operator: its Lease lives here.
    pub namespace: String,
    /// Name of the Lease.
    pub lease: String,
    /// Name of this instance: the Pod's.
    pub instance: String,
    /// Where metrics, probes and `/debug` are served.
    pub listen: Addresses,
    /// The Alertmanager to push to, if any.
    pub alertmanager: Option<alert::Options>,
}

/// A task that has ended: its name for messages, and how.
type Exit = (&'static str, Result<()>);

/// The tasks of the process.
type Tasks = JoinSet<Exit>;

/// Runs until a signal asks it to end, or until a part of it fails.
pub async fn run(options: Options) -> Result<()> {
    let link = Arc::new(Link::to(options.cluster.clone()));
    // A cluster that nothing names will not be named later.
    link.client().await?;
    let listeners = Listeners::bind(options.listen).await?;
    let (stop_tx, stop) = watch::channel(false);
    let (release_tx, released) = watch::channel(false);
    let mut tasks = Tasks::new();
    let release = Arc::new(release_tx);
    start(
        &mut tasks,
        link,
        Clock::default(),
        options,
        listeners,
        stop,
        &release,
    )?;

    let outcome = tokio::select! {
        signal = signalled() => {
            tracing::info!(signal, "ending");
            Ok(())
        }
        ended = tasks.join_next() => Err(ended),
    };
    stop_tx.send_replace(true);
    end(tasks, released).await;
    match outcome {
        Ok(()) => Ok(()),
        Err(Some(Ok((task, Err(error))))) => Err(error).with_context(|| format!("{task} has failed")),
        Err(Some(Ok((task, Ok(()))))) => bail!("{task} has ended although it was not asked to"),
        Err(Some(Err(error))) => bail!("a part has failed: {error}"),
        Err(None) => bail!("nothing runs"),
    }
}

/// Starts every task. `release` becomes true when the last request has ended after a stop.
fn start(
    tasks: &mut Tasks,
    link: Arc<Link>,
    clock: Clock,
    options: Options,
    listeners: Listeners,
    stop: watch::Receiver<bool>,
    release: &Arc<watch::Sender<bool>>,
) -> Result<()> {
    let identity = identity(&options.instance);
    let listen = listeners.addresses().unwrap_or(options.listen);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        identity,
        namespace = options.namespace,
        listen = %listen.metrics,
        probes = %listen.probes,
        "starting"
    );
    let (claim_tx, claim) = watch::channel::<Option<Claim>>(None);
    let (state_tx, state) = watch::channel(String::new());
    let (changes_tx, changes) = watch::channel(0);
    let (handle, queries) = query::channel();
    let metrics = Arc::new(Metrics::default());
    let (watches, events) = Watches::new(link.clone());
    let drive = Drive {
        operator: Operator::new(clock.now(), options.instance),
        clock,
        watches,
        events,
        queries,
        claim,
        sender: Sender::new(link.clone(), clock),
        requests: JoinSet::new(),
        state: state_tx,
        changes: changes_tx,
        metrics: metrics.clone(),
    };
    if let Some(alertmanager) = options.alertmanager {
        let push = alert::Push::new(alertmanager, handle.clone(), changes, metrics.clone())?;
        tasks.spawn(push_alerts(push, stop.clone()));
    }
    let elector = lease::Options {
        namespace: options.namespace,
        name: options.lease,
        identity,
    };
    let until = release.subscribe();
    tasks.spawn(async move {
        lease::hold(link, clock, elector, claim_tx, state, until).await;
        ("the Lease", Ok(()))
    });
    tasks.spawn(serve(listeners, handle, metrics, stop.clone()));
    tasks.spawn(work(drive, stop, release.clone()));
    Ok(())
}

async fn push_alerts(push: alert::Push, until: watch::Receiver<bool>) -> Exit {
    push.run(until).await;
    ("the push of alerts", Ok(()))
}

async fn serve(
    listeners: Listeners,
    handle: Handle,
    metrics: Arc<Metrics>,
    until: watch::Receiver<bool>,
) -> Exit {
    listeners.serve(handle, metrics, until).await;
    ("HTTP", Ok(()))
}

/// Runs the loop; the Lease may be released when it has ended.
async fn work(drive: Drive, until: watch::Receiver<bool>, release: Arc<watch::Sender<bool>>) -> Exit {
    let driven = Box::pin(drive.run(until)).await;
    release.send_replace(true);
    ("the loop", driven)
}

/// Waits for everything to end. The Lease is given back when the last request under way has ended (`released`), and kept
/// until it expires if one has not: its next holder must not meet a request of ours that is still on its way.
async fn end(mut tasks: Tasks, mut released: watch::Receiver<bool>) {
    let requests = tokio::time::timeout(REQUESTS_END, released.wait_for(|released| *released));
    if requests.await.is_err() {
        tracing::warn!("requests may be under way: the Lease is left to expire");
        return;
    }
    let rest = tokio::time::timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await;
    if rest.is_err() {
        tracing::warn!(seconds = GRACE.as_secs(), "not everything has ended in time");
    }
}

/// An identity that no other process has ever had: Pods of a `StatefulSet` or a restarted container share a name.
fn identity(instance: &str) -> String {
    format!("{instance}_{:016x}", fastrand::u64(..))
}

/// Waits for SIGTERM or SIGINT and returns which.
async fn signalled() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
