//! HTTP: `/metrics`, `/livez` and `/readyz` for everybody in the cluster, `/debug/*` on loopback only.
//!
//! Nothing here knows anything: each answer is asked of the loop, and a loop that does not answer in time is not alive.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::metrics::Metrics;
use crate::query::{Handle, Query};

/// How long the loop may take to answer: far beyond any round, far below a probe's patience.
const PATIENCE: Duration = Duration::from_secs(4);

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Shared {
    handle: Handle,
    metrics: Arc<Metrics>,
}

/// The type that Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The public listener and the debugging one, bound and ready.
#[derive(Debug)]
pub struct Listeners {
    public: TcpListener,
    debug: Option<TcpListener>,
}

impl Listeners {
    /// Binds both. The debugging listener only takes loopback addresses: what it shows names everything in the cluster.
    pub async fn bind(public: SocketAddr, debug: Option<SocketAddr>) -> anyhow::Result<Self> {
        if let Some(debug) = debug {
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
            public: bind(public).await?,
            debug: match debug {
                Some(debug) => Some(bind(debug).await?),
                None => None,
            },
        })
    }

    /// The address of the public listener.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Serves until `stop` becomes true.
    pub async fn serve(
        self,
        handle: Handle,
        metrics: Arc<Metrics>,
        stop: watch::Receiver<bool>,
    ) -> std::io::Result<()> {
        let shared = Shared { handle, metrics };
        let public = Router::new()
            .route("/metrics", get(scrape))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .with_state(shared.clone());
        let debug = Router::new()
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
            .with_state(shared);
        let until = |mut stop: watch::Receiver<bool>| async move {
            // A sender that has gone away is a stop too.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let serving = axum::serve(self.public, public).with_graceful_shutdown(until(stop.clone()));
        match self.debug {
            None => serving.await,
            Some(listener) => {
                let debugging = axum::serve(listener, debug).with_graceful_shutdown(until(stop));
                futures::try_join!(async { serving.await }, async { debugging.await }).map(|_| ())
            }
        }
    }
}

impl Shared {
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
        tokio::time::timeout(PATIENCE, self.handle.ask(question))
            .await
            .ok()
            .flatten()
    }
}

async fn scrape(State(shared): State<Shared>) -> Response {
    match shared.ask(Query::Snapshot).await {
        Some(snapshot) => {
            let text = shared.metrics.text(&snapshot);
            ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
        }
        None => silent(),
    }
}

async fn livez(State(shared): State<Shared>) -> Response {
    // A loop that answers is alive, whatever it thinks of the cluster: a restart would heal nothing else.
    match shared.ask(Query::Readiness).await {
        Some(_) => "ok\n".into_response(),
        None => silent(),
    }
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
    // What we made ourselves can be written as JSON.
    let text = serde_json::to_string_pretty(answer).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text + "\n")
}
