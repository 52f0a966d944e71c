//! The operator: watch, judge, tell.
//!
//! One task owns the core. It takes in what the pumps bring, a chunk at a time, judges once per chunk, and puts what
//! policies must be told into the outbox. Everything else (the pumps, the Lease, the writer, HTTP, the push of alerts)
//! runs beside it and reaches it by channels; if one of them ends before it was asked to, the process ends, because an
//! operator that is half alive misleads.

mod follow;
mod keel;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::alert;
use crate::lease::{self, Claim};
use crate::link::Link;
use crate::live;
use crate::metrics::Metrics;
use crate::query::Handle;
use crate::send::{Outbox, Sender};
use crate::serve::Listeners;
use crate::watch::Watches;

use keel::Keel;
pub use view::State;

/// How long everything may take to end once it was asked to: half of the grace period that our Deployment gives.
const GRACE: Duration = Duration::from_secs(5);

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
    /// Where metrics and probes are served.
    pub listen: SocketAddr,
    /// Where `/debug` is served, on loopback; nowhere when absent.
    pub debug_listen: Option<SocketAddr>,
    /// The Alertmanager to push to, if any.
    pub alertmanager: Option<alert::Options>,
}

/// Runs until a signal asks it to end, or until a part of it fails.
pub async fn run(options: Options) -> Result<()> {
    let link = Arc::new(Link::to(options.cluster.clone()));
    // A cluster that nothing names will not be named later.
    link.client().await?;
    let listeners = Listeners::bind(options.listen, options.debug_listen).await?;
    let (stop_tx, stop) = watch::channel(false);
    let (claim_tx, claim) = watch::channel::<Option<Claim>>(None);
    let (state_tx, state) = watch::channel(String::new());
    let (turns_tx, turns) = watch::channel(0);
    let (ask_tx, ask) = mpsc::channel(16);
    let (reply_tx, replies) = mpsc::channel(64);
    let metrics = Arc::new(Metrics::default());
    let outbox = Arc::new(Outbox::default());
    let line = Handle(ask_tx);
    let identity = identity(&options.instance);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        identity,
        namespace = options.namespace,
        listen = %listeners.address().unwrap_or(options.listen),
        "starting"
    );

    let (watches, events) = Watches::new(link.clone());
    let keel = Keel::new(
        watches,
        events,
        ask,
        replies,
        claim.clone(),
        state_tx,
        turns_tx,
        outbox.clone(),
        metrics.clone(),
    );
    let writer = Sender {
        link: link.clone(),
        outbox,
        claim,
        replies: reply_tx,
        instance: options.instance.clone(),
    };
    let elector = lease::Options {
        namespace: options.namespace.clone(),
        name: options.lease.clone(),
        identity,
    };

    let mut parts: JoinSet<(&'static str, Result<()>)> = JoinSet::new();
    let until = stop.clone();
    parts.spawn(async move { ("the loop", keel.run(until).await) });
    let until = stop.clone();
    parts.spawn(async move {
        writer.run(until).await;
        ("the writer", Ok(()))
    });
    let until = stop.clone();
    parts.spawn(async move {
        lease::hold(link, elector, claim_tx, state, until).await;
        ("the Lease", Ok(()))
    });
    let (until, asked, counted) = (stop.clone(), line.clone(), metrics.clone());
    parts.spawn(async move {
        let served = listeners.serve(asked, counted, until).await;
        ("HTTP", served.context("cannot serve HTTP"))
    });
    if let Some(alertmanager) = options.alertmanager {
        let until = stop.clone();
        let push = alert::Push::new(alertmanager, line, turns, metrics)?;
        parts.spawn(async move {
            push.run(until).await;
            ("the push of alerts", Ok(()))
        });
    }

    let outcome = tokio::select! {
        signal = signalled() => {
            tracing::info!(signal, "ending");
            Ok(())
        }
        ended = parts.join_next() => Err(ended),
    };
    stop_tx.send_replace(true);
    let rest = tokio::time::timeout(GRACE, async { while parts.join_next().await.is_some() {} }).await;
    if rest.is_err() {
        tracing::warn!(seconds = GRACE.as_secs(), "not everything has ended in time");
    }
    match outcome {
        Ok(()) => Ok(()),
        Err(Some(Ok((part, Err(error))))) => Err(error).with_context(|| format!("{part} has failed")),
        Err(Some(Ok((part, Ok(()))))) => bail!("{part} has ended although nobody asked it to"),
        Err(Some(Err(error))) => bail!("a part has failed: {error}"),
        Err(None) => bail!("nothing runs"),
    }
}

/// An identity that no other process has ever had: Pods of a `StatefulSet` or a restarted container share a name.
fn identity(instance: &str) -> String {
    use std::hash::{BuildHasher, RandomState};
    // The keys of a RandomState come from the operating system's random numbers.
    let random = RandomState::new().hash_one(std::process::id());
    format!("{instance}_{random:016x}")
}

/// Waits for SIGTERM or SIGINT and tells which.
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
