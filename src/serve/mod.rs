//! HTTP, on three ports: `/metrics` for Prometheus, `/livez` and `/readyz` for the kubelet, `/debug/*` on loopback only.
//! Probes have a port of their own, so that no `NetworkPolicy` has to admit a client that could keep them
//! from being answered.
//!
//! It has another thread than the loop. Nothing here knows anything: each answer is asked of the loop, and one that does not
//! come in time is a plain 503. Only `/livez` does not ask: it looks at the loop's last sign of life.

mod connections;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::Instant;

use crate::escape;
use crate::heartbeat::{self, Heartbeat};
use crate::metrics::Metrics;
use crate::query::{Handle, Query};

/// How long the loop may take to answer: far beyond any round, far below a probe's patience.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long the text of a scrape is given again: a flood of scrapes costs one a second.
const SCRAPE_AGE: Duration = Duration::from_secs(1);

/// What the handlers share.
#[derive(Debug, Clone)]
struct Shared {
    handle: Handle,
    metrics: Arc<Metrics>,
    heartbeat: Heartbeat,
    /// The last scrape, and when it was made.
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

/// The type that Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where to listen.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// For `/metrics`.
    pub metrics: SocketAddr,
    /// For `/livez` and `/readyz`.
    pub probes: SocketAddr,
    /// For `/debug`, a loopback address; nowhere when absent.
    pub debug: Option<SocketAddr>,
}

/// The listeners, bound and ready.
#[derive(Debug)]
pub struct Listeners {
    metrics: TcpListener,
    probes: TcpListener,
    debug: Option<TcpListener>,
}

impl Listeners {
    /// Binds all. The debugging listener only takes loopback addresses: what it shows names everything in the cluster.
    pub async fn bind(at: Addresses) -> anyhow::Result<Self> {
        if let Some(debug) = at.debug {
            anyhow::ensure!(
                debug.ip().is_loopback(),
                "--debug-listen {debug}: only a loopback address such as 127.0.0.1:8081 is taken"
            );
        }
        let bind = async |at: SocketAddr| {
            TcpListener::bind(at)
                .await
                .with_context(|| format!("cannot listen on {at}"))
        };
        Ok(Self {
            metrics: bind(at.metrics).await?,
            probes: bind(at.probes).await?,
            debug: match at.debug {
                Some(debug) => Some(bind(debug).await?),
                None => None,
            },
        })
    }

    /// The addresses that were bound: where port 0 was asked for, the port that the system chose.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            metrics: self.metrics.local_addr()?,
            probes: self.probes.local_addr()?,
            debug: self.debug.as_ref().map(TcpListener::local_addr).transpose()?,
        })
    }

    /// Serves until `stop` becomes true.
    pub async fn serve(
        self,
        handle: Handle,
        metrics: Arc<Metrics>,
        heartbeat: Heartbeat,
        stop: watch::Receiver<bool>,
    ) {
        let shared = Shared {
            handle,
            metrics: metrics.clone(),
            heartbeat,
            last: Arc::default(),
        };
        let serve = |listener, routes: Router<Shared>| {
            let router = routes.with_state(shared.clone());
            connections::serve(listener, router, metrics.clone(), stop.clone())
        };
        let scrapes = Router::new().route("/metrics", get(scrape));
        let probes = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz));
        let debugging = async {
            if let Some(listener) = self.debug {
                serve(listener, debug()).await;
            }
        };
        tokio::join!(
            serve(self.metrics, scrapes),
            serve(self.probes, probes),
            debugging
        );
    }
}

/// The pages of [`debug`].
const DEBUG: &str = "/debug/watches   what each watch is doing\n/debug/index     how many objects are held, by source\n\
    /debug/verdicts  findings, at most 2,500\n/debug/agenda    when it will look next\n";

/// What is shown on loopback.
fn debug() -> Router<Shared> {
    Router::new()
        .route("/debug", get(async || DEBUG))
        .route("/debug/", get(async || DEBUG))
        .route(
            "/debug/watches",
            get(async |State(shared): State<Shared>| shown(shared.ask(Query::Watches).await)),
        )
        .route(
            "/debug/index",
            get(async |State(shared): State<Shared>| shown(shared.ask(Query::Index).await)),
        )
        .route(
            "/debug/verdicts",
            get(async |State(shared): State<Shared>| shown(shared.ask(Query::Verdicts).await)),
        )
        .route(
            "/debug/agenda",
            get(async |State(shared): State<Shared>| shown(shared.ask(Query::Agenda).await)),
        )
}

impl Shared {
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
        tokio::time::timeout(PATIENCE, self.handle.ask(question))
            .await
            .ok()
            .flatten()
    }

    /// The text of a scrape: a new one, or the last where that is young enough. Requests that come meanwhile wait for it.
    async fn scrape(&self) -> Option<Bytes> {
        let mut last = self.last.lock().await;
        if let Some((made, text)) = last.as_ref()
            && made.elapsed() < SCRAPE_AGE
        {
            return Some(text.clone());
        }
        let snapshot = self.handle.ask(Query::Snapshot).await?;
        let text = Bytes::from(self.metrics.text(&snapshot));
        *last = Some((Instant::now(), text.clone()));
        Some(text)
    }
}

async fn scrape(State(shared): State<Shared>) -> Response {
    match tokio::time::timeout(PATIENCE, shared.scrape()).await {
        Ok(Some(text)) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        _ => silent(),
    }
}

async fn livez(State(shared): State<Shared>) -> Response {
    // A loop that works is alive, whatever it thinks of the cluster: a restart would heal nothing else.
    let silence = shared.heartbeat.silence();
    if silence <= heartbeat::LIVES {
        return "ok\n".into_response();
    }
    let why = format!(
        "the loop has given no sign of life for {} s; after {} s it is not alive\n",
        silence.as_secs(),
        heartbeat::LIVES.as_secs()
    );
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

async fn readyz(State(shared): State<Shared>) -> Response {
    match shared.ask(Query::Readiness).await {
        Some(state) => {
            let code = if state.ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            (code, json(&state)).into_response()
        }
        None => silent(),
    }
}

fn silent() -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the loop does not answer within 4 s\n",
    )
        .into_response()
}

fn shown<T: Serialize>(answer: Option<T>) -> Response {
    answer.map_or_else(silent, |answer| json(&answer).into_response())
}

fn json<T: Serialize>(answer: &T) -> impl IntoResponse + use<T> {
    ([(header::CONTENT_TYPE, "application/json")], body(answer))
}

/// The body of an answer: exact, and harmless to a terminal.
pub(crate) fn body<T: Serialize>(answer: &T) -> String {
    // What we made ourselves can be written as JSON.
    escape::json(serde_json::to_string_pretty(answer).unwrap_or_default()) + "\n"
}
