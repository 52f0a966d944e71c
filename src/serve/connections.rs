//! Connections of one listener: few, short, and with small buffers.
//!
//! Any client that reaches the port may open connections, so what each costs is bounded: a request is complete within 5 s,
//! its header has at most 16 KiB, and a connection serves one request and ends within 15 s. Where there are too many, the
//! oldest one without a complete request makes room. A new one is never refused: it may be the scrape that matters.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::metrics::Metrics;

/// Most connections at once: far more than the Prometheus servers and kubelets that one replica meets.
const CONNECTIONS: usize = 128;

/// Most connections of one address at once.
const PER_PEER: usize = 16;

/// How long a client may take to send the header of its request.
const HEADER: Duration = Duration::from_secs(5);

/// How long a connection may take in all. The loop answers within 4 s; the rest is for a slow reader.
const EXCHANGE: Duration = Duration::from_secs(15);

/// Most bytes of a header, and of what is read ahead. `hyper` takes 400 KiB otherwise
/// (`proto/h1/io.rs`, `DEFAULT_MAX_BUFFER_SIZE`).
const BUFFER: usize = 16 << 10;

/// How long to wait after a connection could not be taken, as when no file descriptor is left: they come back by time.
const PAUSE: Duration = Duration::from_millis(200);

/// How long answers under way may take to end after a stop.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves one listener until `stop` becomes true.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let mut open = Open::default();
    loop {
        tokio::select! {
            // A sender that has gone away is a stop too.
            () = async { let _ = stop.wait_for(|stop| *stop).await; } => break,
            Some(ended) = tasks.join_next_with_id() => open.remove(match ended {
                Ok((id, ())) => id,
                Err(error) => error.id(),
            }),
            taken = listener.accept() => match taken {
                Ok((stream, peer)) => {
                    let peer = peer.ip().to_canonical();
                    if open.make_room(peer) {
                        metrics.displaced();
                    }
                    let complete = Arc::new(AtomicBool::new(false));
                    let task = tasks.spawn(exchange(stream, router.clone(), complete.clone()));
                    open.0.push(OpenConnection { peer, complete, task });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    open.close_incomplete();
    let _ = tokio::time::timeout(FAREWELL, async { while tasks.join_next().await.is_some() {} }).await;
}

/// One request and its answer. `complete` becomes true when the request has arrived.
async fn exchange(stream: TcpStream, router: Router, complete: Arc<AtomicBool>) {
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        complete.store(true, Ordering::Relaxed);
        let answer = inner.call(request);
        async move { answer.await as Result<Response<Body>, Infallible> }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(BUFFER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // How a client fails is its own concern.
    let _ = tokio::time::timeout(EXCHANGE, connection).await;
}

/// A connection that is open.
#[derive(Debug)]
struct OpenConnection {
    peer: IpAddr,
    /// Whether its request has arrived.
    complete: Arc<AtomicBool>,
    task: AbortHandle,
}

/// The connections that are open, the oldest first.
#[derive(Debug, Default)]
struct Open(Vec<OpenConnection>);

impl Open {
    /// Closes one connection where there are too many for one more of this peer; returns whether it did.
    fn make_room(&mut self, peer: IpAddr) -> bool {
        let of_peer = self.0.iter().filter(|one| one.peer == peer).count();
        let oldest = if of_peer >= PER_PEER {
            self.oldest(|one| one.peer == peer)
        } else if self.0.len() >= CONNECTIONS {
            self.oldest(|_| true)
        } else {
            None
        };
        let Some(oldest) = oldest else { return false };
        self.0.remove(oldest).task.abort();
        true
    }

    /// The oldest of these without a complete request, or else the oldest.
    fn oldest(&self, counts: impl Fn(&OpenConnection) -> bool) -> Option<usize> {
        let waiting = |one: &OpenConnection| !one.complete.load(Ordering::Relaxed);
        let position = |wanted: &dyn Fn(&OpenConnection) -> bool| self.0.iter().position(wanted);
        position(&|one| counts(one) && waiting(one)).or_else(|| position(&counts))
    }

    fn remove(&mut self, id: Id) {
        self.0.retain(|one| one.task.id() != id);
    }

    fn close_incomplete(&mut self) {
        for one in self.0.drain(..) {
            if !one.complete.load(Ordering::Relaxed) {
                one.task.abort();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// Connections of `(peer, complete)`, none of which does anything.
    fn open(tasks: &mut JoinSet<()>, of: impl Iterator<Item = (u32, bool)>) -> Open {
        Open(
            of.map(|(peer, complete)| OpenConnection {
                peer: Ipv4Addr::from_bits(peer).into(),
                complete: Arc::new(AtomicBool::new(complete)),
                task: tasks.spawn(std::future::pending()),
            })
            .collect(),
        )
    }

    /// Which connection is closed for one more of the peer.
    fn closed(open: &mut Open, peer: u32) -> Option<Id> {
        let before: Vec<_> = open.0.iter().map(|one| one.task.id()).collect();
        open.make_room(Ipv4Addr::from_bits(peer).into());
        before
            .into_iter()
            .find(|id| open.0.iter().all(|one| one.task.id() != *id))
    }

    #[tokio::test]
    async fn a_peer_displaces_its_own_connections_first() {
        let mut tasks = JoinSet::new();
        let others = (0..PER_PEER as u32).map(|at| (100 + at, false));
        let own = std::iter::repeat_n((7, false), PER_PEER);
        let mut open = open(&mut tasks, others.chain(own));
        let expected = open.0[PER_PEER].task.id();
        assert_eq!(closed(&mut open, 7), Some(expected));
        assert_eq!(closed(&mut open, 100), None, "the others have room");
    }

    #[tokio::test]
    async fn what_waits_for_its_answer_stays_while_another_waits_for_its_request() {
        let mut tasks = JoinSet::new();
        let peers = (0..CONNECTIONS as u32).map(|at| (at, at != 5));
        let mut open = open(&mut tasks, peers);
        let expected = open.0[5].task.id();
        assert_eq!(closed(&mut open, 9999), Some(expected));
        assert_eq!(closed(&mut open, 9999), None, "one place is free");
    }

    #[tokio::test]
    async fn the_newest_is_taken_even_where_all_requests_are_complete() {
        let mut tasks = JoinSet::new();
        let mut open = open(&mut tasks, (0..CONNECTIONS as u32).map(|at| (at, true)));
        let expected = open.0[0].task.id();
        assert_eq!(closed(&mut open, 9999), Some(expected));
    }
}
