//! From pumps to the loop: channels bounded by the bytes in them, so that a large first list does not pile up.
//!
//! What policies say has a channel of its own. Every status that is written comes back as a policy, and thousands of them
//! must not hold up what happens in the cluster.

use std::ops::Range;
use std::sync::Arc;

use evenkeel_core::index::Freshness;
use evenkeel_core::know::Source;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::target::Id;

/// Bytes of the cluster's objects on their way to the loop, in KiB: one of the largest usual pages (500 nodes of 12 kB),
/// or some thousand lines.
pub(super) const CLUSTER_KIB: u32 = 8 * 1024;
/// The same of policies: two of the largest (etcd stores 1.5 MiB), or some hundreds of the usual.
const POLICIES_KIB: u32 = 4 * 1024;

/// Events in one channel, whatever their size.
const EVENTS: usize = 1024;

/// Something that a pump learned. Drop it when it has been taken in: that lets the next one come.
#[derive(Debug)]
pub struct WatchEvent {
    /// Whose word it is.
    pub target: Id,
    /// When the line or page was received.
    pub received: Instant,
    pub(crate) what: What,
    _room: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
impl WatchEvent {
    /// A pump's word that came through no channel.
    pub(crate) fn of(target: Id, what: What) -> Self {
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
pub(crate) enum What {
    /// A list begins.
    Begin,
    /// An object, at this place in the bytes.
    Object(Vec<u8>, Range<usize>),
    /// A page of a list, and where its objects are.
    Page(Vec<u8>, Vec<Range<usize>>),
    /// An object is gone: namespace and name.
    Gone(String, String),
    /// An object is there and cannot be read: namespace, name, and why.
    Refused(String, String, String),
    /// The list is complete.
    Synced,
    /// How fresh the target is now: stale when the last proof of being current is too old, unreadable when the server
    /// refuses, complete when it is proven again that nothing was missed.
    Freshness(Freshness),
}

/// The loop has gone away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

/// A pump's end of the channel.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    event_tx: mpsc::Sender<WatchEvent>,
    room: Arc<Semaphore>,
    kib: u32,
}

/// A channel for pumps, with room for so many KiB.
pub(super) fn channel(kib: u32) -> (Outlet, mpsc::Receiver<WatchEvent>) {
    let (event_tx, event_rx) = mpsc::channel(EVENTS);
    let room = Arc::new(Semaphore::new(kib as usize));
    (Outlet { event_tx, room, kib }, event_rx)
}

/// The pumps' ends of both channels.
#[derive(Debug)]
pub(super) struct Outlets {
    cluster: Outlet,
    policies: Outlet,
}

impl Outlets {
    /// The one for what this source says.
    pub(super) fn of(&self, source: Source) -> Outlet {
        match source {
            Source::Policies | Source::ClusterPolicy => self.policies.clone(),
            _ => self.cluster.clone(),
        }
    }
}

/// The loop's ends of both channels.
#[derive(Debug)]
pub struct Events {
    cluster: mpsc::Receiver<WatchEvent>,
    policies: mpsc::Receiver<WatchEvent>,
}

/// Both channels.
pub(super) fn channels() -> (Outlets, Events) {
    let (to_cluster, cluster) = channel(CLUSTER_KIB);
    let (to_policies, policies) = channel(POLICIES_KIB);
    let outlets = Outlets {
        cluster: to_cluster,
        policies: to_policies,
    };
    (outlets, Events { cluster, policies })
}

impl Events {
    /// The next event, the cluster's before those of policies; `None` when there are no senders any more. Safe to cancel.
    pub async fn recv(&mut self) -> Option<WatchEvent> {
        tokio::select! {
            biased;
            Some(event) = self.cluster.recv() => Some(event),
            Some(event) = self.policies.recv() => Some(event),
            else => None,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.cluster.is_empty() && self.policies.is_empty()
    }

    /// What has come of the cluster meanwhile.
    pub fn try_cluster(&mut self) -> Option<WatchEvent> {
        self.cluster.try_recv().ok()
    }

    /// What has come of policies meanwhile.
    pub fn try_policies(&mut self) -> Option<WatchEvent> {
        self.policies.try_recv().ok()
    }
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
            let kib = u32::try_from(bytes / 1024 + 1).map_or(self.kib, |kib| kib.min(self.kib));
            let permit = self.room.clone().acquire_many_owned(kib).await;
            Some(permit.map_err(|_| Closed)?)
        };
        let event = WatchEvent {
            target,
            received,
            what,
            _room: room,
        };
        self.event_tx.send(event).await.map_err(|_| Closed)
    }
}
