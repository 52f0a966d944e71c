//! A door from the machine's loopback address into a network of the bed's own.
//!
//! Nothing else leads in or out: the machine's own network is left as it is.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use super::space::enter;

/// How long a connection into the network may take; it is the same machine.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// An open door. Dropping it closes it to new connections.
#[derive(Debug)]
pub(crate) struct Door {
    port: u16,
    closed: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

impl Door {
    /// Opens one on a free port of the loopback address.
    pub(crate) fn open(network: File, to: SocketAddr) -> Result<Self> {
        // A socket stays in the network it was made in: this one outside, those of the keeper
        // inside.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening on a free port")?;
        let port = listener.local_addr().context("asking for the port")?.port();
        let closed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&closed);
        let keeper = thread::Builder::new()
            .name("door".into())
            .spawn(move || match enter(&network) {
                Ok(()) => keep(&listener, to, &seen),
                Err(error) => eprintln!("the door to {to} stays shut: {error:#}"),
            })
            .context("starting the thread of a door")?;
        Ok(Self {
            port,
            closed,
            keeper: Some(keeper),
        })
    }

    /// The port on the loopback address.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // The keeper looks up at the next connection, which is this one.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(keeper) = self.keeper.take() {
            drop(keeper.join());
        }
    }
}

fn keep(listener: &TcpListener, to: SocketAddr, closed: &AtomicBool) {
    for visitor in listener.incoming() {
        if closed.load(Ordering::Acquire) {
            return;
        }
        let Ok(visitor) = visitor else { continue };
        // The child thread is in the same network as this one.
        thread::spawn(move || {
            // Refused here means closed there, as without a door.
            drop(join(&visitor, to));
        });
    }
}

fn join(outside: &TcpStream, to: SocketAddr) -> io::Result<()> {
    let inside = TcpStream::connect_timeout(&to, CONNECT_WITHIN)?;
    // Small answers must not wait for more.
    inside.set_nodelay(true)?;
    outside.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| pass(outside, &inside));
        pass(&inside, outside);
    });
    Ok(())
}

/// Passes bytes on until one side ends, and lets the other side know.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let ended = io::copy(&mut from, &mut to);
    drop(to.shutdown(Shutdown::Write));
    if ended.is_err() {
        drop(from.shutdown(Shutdown::Both));
        drop(to.shutdown(Shutdown::Both));
    }
}
