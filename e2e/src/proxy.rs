//! A TCP proxy on the loopback address that can play a network at fault.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    Works,
    /// Connections are accepted and nothing gets through; those that saw this stay dead for good, as behind a device
    /// that has forgotten them.
    Frozen,
    /// Connections are closed.
    Down,
}

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    network_tx: watch::Sender<Network>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy to a port of the loopback address.
    pub async fn start(to: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("listening for the proxy")?;
        let port = listener
            .local_addr()
            .context("asking for the proxy's port")?
            .port();
        let (network_tx, network_rx) = watch::channel(Network::Works);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connection(stream, to, network_rx.clone()));
            }
        });
        Ok(Self {
            port,
            network_tx,
            accepted,
            task,
        })
    }

    /// The port to connect to.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were made.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// From now on nothing gets through, and nobody is told.
    pub fn freeze(&self) {
        self.network_tx.send_replace(Network::Frozen);
    }

    /// From now on connections are closed.
    pub fn cut(&self) {
        self.network_tx.send_replace(Network::Down);
    }

    /// New connections work again.
    pub fn heal(&self) {
        self.network_tx.send_replace(Network::Works);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        // Its connections wait for news that can no longer come, and end.
    }
}

/// One connection, until it or the proxy ends.
async fn connection(client: TcpStream, to: u16, mut network_rx: watch::Receiver<Network>) {
    let first = *network_rx.borrow_and_update();
    if first == Network::Works
        && let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, to))).await
    {
        let (client, server) = (client.into_split(), server.into_split());
        let changed = async {
            network_rx
                .changed()
                .await
                .map(|()| *network_rx.borrow_and_update())
        };
        // The halves must outlive the freeze: a closed socket would tell.
        let (mut to_server, mut to_client) = ((client.0, server.1), (server.0, client.1));
        let now = tokio::select! {
            () = forward(&mut to_server.0, &mut to_server.1) => return,
            () = forward(&mut to_client.0, &mut to_client.1) => return,
            now = changed => now,
        };
        if matches!(now, Ok(Network::Frozen)) {
            dead(network_rx).await;
        }
        return;
    }
    if first == Network::Frozen {
        dead(network_rx).await;
        drop(client);
    }
}

/// Holds a connection that nothing gets through until the proxy ends or the network is cut.
async fn dead(mut network_rx: watch::Receiver<Network>) {
    while network_rx.changed().await.is_ok() {
        if *network_rx.borrow_and_update() == Network::Down {
            return;
        }
    }
}

async fn forward(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut bytes).await {
        let Some(some) = bytes.get(..count).filter(|some| !some.is_empty()) else {
            return;
        };
        if to.write_all(some).await.is_err() {
            return;
        }
    }
}
