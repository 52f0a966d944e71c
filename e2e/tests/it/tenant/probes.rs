//! How `/livez` answers while something else happens.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use evenkeel_e2e::http::get;
use evenkeel_e2e::operator::Operator;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Far more often than a kubelet asks.
const EVERY: Duration = Duration::from_millis(50);

/// What the answers were like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served {
    /// How many.
    pub(super) answers: usize,
    /// How many of them did not say that the process is alive.
    pub(super) bad: usize,
    /// The middle one.
    pub(super) median: Duration,
    /// The slowest one.
    pub(super) longest: Duration,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            answers,
            bad,
            median,
            longest,
        } = self;
        write!(
            f,
            "answered {answers} times ({bad} bad), {median:.1?} in the middle, {longest:.1?} at most"
        )
    }
}

/// Asks until it is ended.
pub(super) struct Probes {
    end_tx: Option<oneshot::Sender<()>>,
    task: JoinHandle<Served>,
}

impl Probes {
    pub(super) fn start(operator: &Operator) -> Self {
        let (end_tx, end_rx) = oneshot::channel();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, operator.probe_port()));
        Self {
            end_tx: Some(end_tx),
            task: tokio::spawn(ask(at, end_rx)),
        }
    }

    /// Stops asking.
    pub(super) async fn end(&mut self) -> Served {
        drop(self.end_tx.take());
        (&mut self.task).await.unwrap()
    }
}

async fn ask(at: SocketAddr, mut end_rx: oneshot::Receiver<()>) -> Served {
    let (mut took, mut bad) = (Vec::new(), 0);
    while matches!(end_rx.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
        let start = Instant::now();
        if !matches!(get(at, "/livez").await, Ok((200, _))) {
            bad += 1;
        }
        took.push(start.elapsed());
        tokio::time::sleep(EVERY).await;
    }
    took.sort();
    Served {
        answers: took.len(),
        bad,
        median: took.get(took.len() / 2).copied().unwrap_or_default(),
        longest: took.last().copied().unwrap_or_default(),
    }
}
