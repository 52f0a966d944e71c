//! Backends that count the connections that they accept, as an application's exporter does, and clients that open real ones.
//!
//! A client chooses a backend for each connection by itself, as a node's proxy does for it: by chance, with weights that a
//! test can change.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::address::Address;

/// The counter that each backend serves.
pub const METRIC: &str = "accepted_connections_total";

/// A connection that takes longer is not made, far above what one to this machine takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// One backend.
#[derive(Debug)]
pub struct CountingBackend {
    /// Name of its Pod.
    pub pod: String,
    /// Where it accepts connections.
    pub at: SocketAddr,
    /// Where it serves its counter.
    pub metrics: SocketAddr,
    accepted: Arc<AtomicU64>,
}

impl CountingBackend {
    /// How many connections it has accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// Backends, and clients that open connections to them. Dropping it ends both.
#[derive(Debug)]
pub struct Backends {
    /// The backends.
    pub all: Vec<CountingBackend>,
    weights: Arc<RwLock<Vec<f64>>>,
    in_a_second: Arc<AtomicU32>,
    tasks: JoinSet<()>,
}

impl Backends {
    /// Starts backends for these Pods at an address. There are no connections yet.
    pub async fn start(address: &Address, pods: &[&str]) -> Result<Self> {
        let mut tasks = JoinSet::new();
        let mut all = Vec::new();
        for pod in pods {
            let traffic = TcpListener::bind((address.ip(), 0)).await?;
            let page = TcpListener::bind((address.ip(), 0)).await?;
            let (at, metrics) = (traffic.local_addr()?, page.local_addr()?);
            let accepted = Arc::new(AtomicU64::new(0));
            tasks.spawn(accept(traffic, accepted.clone()));
            tasks.spawn(serve(page, accepted.clone()));
            all.push(CountingBackend {
                pod: (*pod).to_owned(),
                at,
                metrics,
                accepted,
            });
        }
        let weights = Arc::new(RwLock::new(vec![1.0; all.len()]));
        let in_a_second = Arc::new(AtomicU32::new(0));
        let to = all.iter().map(|one| one.at).collect();
        tasks.spawn(connect(to, weights.clone(), in_a_second.clone()));
        Ok(Self {
            all,
            weights,
            in_a_second,
            tasks,
        })
    }

    /// Opens so many connections in a second from now on, by these weights.
    pub fn flow(&self, in_a_second: u32, weights: &[f64]) {
        *self.weights.write().unwrap_or_else(PoisonError::into_inner) = weights.to_vec();
        self.in_a_second.store(in_a_second, Ordering::Relaxed);
    }

    /// Whether all of its parts still run.
    pub fn run(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
    }

    /// What a Prometheus that finds its targets by the API would scrape: each with the labels that it would have.
    pub fn targets(&self, namespace: &str) -> Vec<Value> {
        let target = |one: &CountingBackend| {
            json!({
                "targets": [one.metrics.to_string()],
                "labels": {"namespace": namespace, "pod": one.pod},
            })
        };
        self.all.iter().map(target).collect()
    }
}

async fn accept(listener: TcpListener, accepted: Arc<AtomicU64>) {
    while let Ok((stream, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        drop(stream);
    }
}

/// Answers every request with the counter.
async fn serve(listener: TcpListener, accepted: Arc<AtomicU64>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let accepted = accepted.clone();
        tokio::spawn(async move {
            let mut request = [0; 4096];
            // Whatever it asks for: there is one page.
            let _ = timeout(PATIENCE, stream.read(&mut request)).await;
            let body = format!(
                "# TYPE {METRIC} counter\n{METRIC} {}\n",
                accepted.load(Ordering::Relaxed)
            );
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

/// Opens connections for ever, in ten parts of each second.
async fn connect(to: Vec<SocketAddr>, weights: Arc<RwLock<Vec<f64>>>, in_a_second: Arc<AtomicU32>) {
    let mut ticks = interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let weights = weights.read().unwrap_or_else(PoisonError::into_inner).clone();
        for _ in 0..in_a_second.load(Ordering::Relaxed) / 10 {
            let Some(at) = choose(&weights).and_then(|place| to.get(place)) else {
                continue;
            };
            // One after the other: the next is not opened before this one is there.
            if let Ok(Ok(mut stream)) = timeout(PATIENCE, TcpStream::connect(at)).await {
                let mut end = [0; 1];
                let _ = timeout(PATIENCE, stream.read(&mut end)).await;
            }
        }
    }
}

/// One of these places, by chance.
fn choose(weights: &[f64]) -> Option<usize> {
    let mut left = fastrand::f64() * weights.iter().sum::<f64>();
    weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    })
}
