//! The operator's process: one task drives the [`Operator`], and others do the IO around it.
//!
//! There are two threads. The loop has one, with the pumps and the requests, which it starts. The Lease, HTTP and the push of
//! alerts have the other, so that no slice of work holds up a renewal or a probe. They reach each other by channels, and
//! each has its own connection to the API server, as a connection lives on the thread that opened it. If a task ends before
//! it was asked to, the process ends, because an operator that is half alive misleads.

mod drive;
mod feeders;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::FutureExt;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::alert;
use crate::client::Link;
use crate::clock::Clock;
use crate::heartbeat::Heartbeat;
use crate::lease::{self, Claim};
use crate::live;
use crate::metrics::Metrics;
use crate::operator::Operator;
use crate::prometheus;
use crate::query::{self, Handle};
use crate::send::Sender;
use crate::serve::{Addresses, Listeners};
use crate::watch::Watches;

use drive::Drive;
use feeders::Feeders;

/// How long requests under way may take to end after a stop: a permit's time, and a little.
const REQUESTS_END: Duration = lease::REQUEST_TIMEOUT.saturating_add(Duration::from_millis(500));

/// How long everything else may take after that, first of all to give the Lease back. Our Deployment grants 15 s in all.
const GRACE: Duration = Duration::from_secs(6);

/// Name of the loop's thread, as `top -H` and debuggers show it. Linux keeps 15 bytes.
pub const LOOP_THREAD: &str = "evenkeel-loop";

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
    /// Node that it runs on; empty outside of the cluster, `None` where it is not known.
    pub node: Option<String>,
    /// Where metrics, probes and `/debug` are served.
    pub listen: Addresses,
    /// The Alertmanager to push to, if any.
    pub alertmanager: Option<alert::Options>,
    /// The Prometheus to ask, if any.
    pub prometheus: Option<prometheus::Options>,
    /// Whether each API server's own `/metrics` is read.
    pub instance_metrics: bool,
    /// Whether remedies are carried out, and not only planned.
    pub remedies: bool,
}

/// A task that has ended: its name for messages, and how.
type Exit = (&'static str, Result<()>);

/// The tasks of the process.
type Tasks = JoinSet<Exit>;

/// Runs until a signal asks it to end, or until a part of it fails.
pub async fn run(options: Options) -> Result<()> {
    let links = Links {
        watching: Arc::new(live::link(options.cluster.clone())),
        lease: Arc::new(live::link(options.cluster.clone())),
    };
    // A cluster that nothing names will not be named later.
    links.lease.client().await?;
    let listeners = Listeners::bind(options.listen).await?;
    let (stop_tx, stop) = watch::channel(false);
    let (release_tx, released) = watch::channel(false);
    let mut tasks = Tasks::new();
    let until = release_tx.subscribe();
    let drive = start(
        &mut tasks,
        links,
        Clock::default(),
        options,
        listeners,
        &stop,
        until,
    )?;
    drive_apart(&mut tasks, drive, stop, release_tx)?;

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

/// Connections to the API server, one for each thread.
struct Links {
    watching: Arc<Link>,
    lease: Arc<Link>,
}

/// Starts every task but the loop, which it returns. The Lease is given back when `release` becomes true.
fn start(
    tasks: &mut Tasks,
    links: Links,
    clock: Clock,
    options: Options,
    listeners: Listeners,
    stop: &watch::Receiver<bool>,
    release: watch::Receiver<bool>,
) -> Result<Drive> {
    let lease = lease_options(&options);
    log_start(&options, &lease.identity, &listeners);
    let (claim_tx, claim) = watch::channel::<Option<Claim>>(None);
    let (state_tx, state) = watch::channel(String::new());
    let (changes_tx, changes) = watch::channel(0);
    let (handle, queries) = query::channel();
    let metrics = Arc::new(Metrics::default());
    let (watches, events) = Watches::new(links.watching.clone());
    let heartbeat = Heartbeat::new(clock);
    let feeders = Feeders::start(tasks, &options, &handle, &links.lease, &metrics, stop)?;
    let mut operator = Operator::new(clock.now(), options.instance);
    operator.observed_by(clock.now(), &feeders.observers);
    if let Some(node) = &options.node {
        operator.runs_on(clock.now(), Some(&**node).filter(|name| !name.is_empty()));
    }
    if options.remedies {
        operator.acts(clock.now(), &options.namespace);
        metrics.acts();
    }
    let drive = Drive {
        operator,
        namespace: options.namespace.as_str().into(),
        remedies: JoinSet::new(),
        pages: feeders.pages,
        measure: feeders.measure,
        clock,
        watches,
        events,
        queries,
        claim,
        sender: Sender::new(links.watching.clone(), clock),
        requests: JoinSet::new(),
        link: links.watching,
        lookups: JoinSet::new(),
        state: state_tx,
        changes: changes_tx,
        metrics: metrics.clone(),
        heartbeat: heartbeat.clone(),
    };
    if let Some(alertmanager) = options.alertmanager {
        let push = alert::Push::new(alertmanager, handle.clone(), changes, metrics.clone())?;
        tasks.spawn(push_alerts(push, stop.clone()));
    }
    let held = lease::hold(
        links.lease,
        clock,
        lease,
        claim_tx,
        state,
        heartbeat.clone(),
        release,
    );
    tasks.spawn(held.map(|()| ("the Lease", Ok(()))));
    tasks.spawn(serve(listeners, handle, metrics, heartbeat, stop.clone()));
    Ok(drive)
}

fn log_start(options: &Options, identity: &str, listeners: &Listeners) {
    let listen = listeners.addresses().unwrap_or(options.listen);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        identity,
        namespace = options.namespace,
        listen = %listen.metrics,
        probes = %listen.probes,
        "starting"
    );
}

/// Runs the loop on a thread of its own. `release` becomes true when its last request has ended after a stop.
fn drive_apart(
    tasks: &mut Tasks,
    drive: Drive,
    stop: watch::Receiver<bool>,
    release: watch::Sender<bool>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the loop")?;
    let (ended_tx, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name(LOOP_THREAD.into())
        .spawn(move || {
            let driven = runtime.block_on(drive.run(stop));
            release.send_replace(true);
            // There is no receiver any more when the process is ending.
            let _ = ended_tx.send(driven);
        })
        .context("cannot start the loop's thread")?;
    tasks.spawn(async move {
        let driven = ended.await;
        (
            "the loop",
            driven.unwrap_or_else(|_| Err(anyhow::anyhow!("its thread has panicked"))),
        )
    });
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
    heartbeat: Heartbeat,
    until: watch::Receiver<bool>,
) -> Exit {
    listeners.serve(handle, metrics, heartbeat, until).await;
    ("HTTP", Ok(()))
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

fn lease_options(options: &Options) -> lease::Options {
    lease::Options {
        namespace: options.namespace.clone(),
        name: options.lease.clone(),
        identity: identity(&options.instance),
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
