//! A TCP proxy on the loopback address that can play a network at fault.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
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

/// Bytes that a slow way carries at once: few, so that what is sent between them is not held up for long.
const PIECE: usize = 2 << 10;

/// A receive buffer small enough that a slow way is felt by the sender, and not filled by it for seconds.
const BUFFER: u32 = 8 << 10;

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    network_tx: watch::Sender<Network>,
    accepted: Arc<AtomicUsize>,
    /// Bytes a second that get through to the client by one connection; 0 is as many as come.
    pace: Arc<AtomicU32>,
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
        let (count, pace) = (accepted.clone(), Arc::new(AtomicU32::new(0)));
        let paced = pace.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connection(stream, to, network_rx.clone(), paced.clone()));
            }
        });
        Ok(Self {
            port,
            network_tx,
            accepted,
            pace,
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

    /// From now on nothing gets through, and neither end learns of it.
    pub fn freeze(&self) {
        self.network_tx.send_replace(Network::Frozen);
    }

    /// From now on connections are closed.
    pub fn cut(&self) {
        self.network_tx.send_replace(Network::Down);
    }

    /// From now on each connection carries this many bytes a second to its client, in order, as one whose window has
    /// shrunk; 0 lifts it. What goes to the server is not slowed.
    pub fn slow(&self, bytes_per_second: u32) {
        self.pace.store(bytes_per_second, Ordering::Relaxed);
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
async fn connection(
    client: TcpStream,
    to: u16,
    mut network_rx: watch::Receiver<Network>,
    pace: Arc<AtomicU32>,
) {
    let first = *network_rx.borrow_and_update();
    if first == Network::Works
        && let Ok(server) = connect(to).await
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
        let full_speed = AtomicU32::new(0);
        let now = tokio::select! {
            () = forward(&mut to_server.0, &mut to_server.1, &full_speed) => return,
            () = forward(&mut to_client.0, &mut to_client.1, &pace) => return,
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

async fn connect(to: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, to))).await
}

async fn forward(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, pace: &AtomicU32) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let pace = pace.load(Ordering::Relaxed);
        let at_once = if pace == 0 { bytes.len() } else { PIECE };
        let Some(room) = bytes.get_mut(..at_once) else {
            return;
        };
        let Ok(count) = from.read(room).await else { return };
        let Some(some) = room.get(..count).filter(|some| !some.is_empty()) else {
            return;
        };
        if to.write_all(some).await.is_err() {
            return;
        }
        if let Some(takes) = Duration::from_secs(some.len() as u64).checked_div(pace) {
            tokio::time::sleep(takes).await;
        }
    }
}
