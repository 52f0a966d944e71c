//! From pumps to the loop: a channel bounded by the bytes in it, so that a large first list does not pile up.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::target::Id;

/// Bytes on their way to the loop, in KiB: two of the largest usual pages (500 nodes of 12 kB), or some thousand lines.
const IN_FLIGHT_KIB: u32 = 12 * 1024;

/// Events on their way to the loop, whatever their size.
const EVENTS: usize = 1024;

/// Something that a pump learned. Drop it when it has been taken in: that lets the next one come.
#[derive(Debug)]
pub struct Event {
    /// Whose word it is.
    pub target: Id,
    /// When the line or page was received.
    pub received: Instant,
    pub(super) what: What,
    _room: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
impl Event {
    /// A pump's word that came through no channel.
    pub(super) fn of(target: Id, what: What) -> Self {
        Self {
            target,
            received: Instant::now(),
            what,
            _room: None,
        }
    }
}

/// What a pump learned.
#[derive(Debug)]
pub(super) enum What {
    /// A list begins.
    Begin,
    /// An object, at this place in the bytes.
    Object(Vec<u8>, Range<usize>),
    /// A page of a list, and where its objects are.
    Page(Vec<u8>, Vec<Range<usize>>),
    /// An object is gone: namespace and name.
    Gone(String, String),
    /// The list is complete.
    Synced,
    /// The last proof of being current is too old.
    Silent,
    /// It is proven again that nothing was missed.
    Alive,
    /// The server refuses.
    Lost(String),
}

/// The loop has gone away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

/// A pump's end of the channel.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    event_tx: mpsc::Sender<Event>,
    room: Arc<Semaphore>,
}

/// A channel for pumps.
pub(super) fn channel() -> (Outlet, mpsc::Receiver<Event>) {
    let (event_tx, event_rx) = mpsc::channel(EVENTS);
    let room = Arc::new(Semaphore::new(IN_FLIGHT_KIB as usize));
    (Outlet { event_tx, room }, event_rx)
}

impl Outlet {
    /// Sends an event when there is room for it.
    pub(super) async fn send(&self, target: Id, received: Instant, what: What) -> Result<(), Closed> {
        let bytes = match &what {
            What::Object(bytes, _) | What::Page(bytes, _) => bytes.len(),
            _ => 0,
        };
        let room = if bytes == 0 {
            None
        } else {
            // One event larger than all the room still passes, alone.
            let kib = u32::try_from(bytes / 1024 + 1).map_or(IN_FLIGHT_KIB, |kib| kib.min(IN_FLIGHT_KIB));
            let permit = self.room.clone().acquire_many_owned(kib).await;
            Some(permit.map_err(|_| Closed)?)
        };
        let event = Event {
            target,
            received,
            what,
            _room: room,
        };
        self.event_tx.send(event).await.map_err(|_| Closed)
    }
}
