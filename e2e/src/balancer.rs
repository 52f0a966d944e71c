//! A load balancer before several API servers that decides by connection, and believes what it was last given.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running load balancer: new connections go to its targets in order. Dropping it ends it; connections that it made
/// stay where they are.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    targets: Arc<Mutex<Targets>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Targets {
    all: Vec<SocketAddr>,
    next: usize,
}

impl Targets {
    fn choose(&mut self) -> Option<SocketAddr> {
        let chosen = self.all.get(self.next % self.all.len().max(1)).copied();
        self.next += 1;
        chosen
    }
}

impl Balancer {
    /// Starts one at this address.
    pub async fn start(address: SocketAddr, targets: &[SocketAddr]) -> Result<Self> {
        ensure!(!targets.is_empty(), "a balancer needs a target");
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listening on {address}"))?;
        let address = listener
            .local_addr()
            .context("asking for the balancer's address")?;
        let targets = Arc::new(Mutex::new(Targets {
            all: targets.to_vec(),
            next: 0,
        }));
        let choice = targets.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let to = choice.lock().unwrap_or_else(PoisonError::into_inner).choose();
                tokio::spawn(forward(client, to));
            }
        });
        Ok(Self {
            address,
            targets,
            task,
        })
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it believes that these are healthy, and no others.
    pub fn believe(&self, targets: &[SocketAddr]) {
        let mut now = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.clone_into(&mut now.all);
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut client: TcpStream, to: Option<SocketAddr>) {
    let Some(to) = to else { return };
    if let Ok(mut server) = TcpStream::connect(to).await {
        // How either end fails is its own concern.
        drop(copy_bidirectional(&mut client, &mut server).await);
    }
}
