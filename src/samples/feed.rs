//! What every feeder has: its ends of the channels to the loop.

use tokio::sync::{mpsc, watch};

use super::{OwnedPage, SampleWantsByScope};

/// What is wanted, and where pages go.
#[derive(Debug, Clone)]
pub(crate) struct SampleFeed {
    wants: watch::Receiver<SampleWantsByScope>,
    page_tx: mpsc::Sender<OwnedPage>,
}

impl SampleFeed {
    /// The ends of these channels.
    pub(crate) const fn new(
        wants: watch::Receiver<SampleWantsByScope>,
        page_tx: mpsc::Sender<OwnedPage>,
    ) -> Self {
        Self { wants, page_tx }
    }

    /// What is wanted now.
    pub(crate) fn wants(&self) -> SampleWantsByScope {
        self.wants.borrow().clone()
    }

    /// What is wanted now, so that [`SampleFeed::changed`] waits for something else.
    pub(crate) fn take_wants(&mut self) -> SampleWantsByScope {
        self.wants.borrow_and_update().clone()
    }

    /// Waits until something else is wanted; `None` when the loop has ended.
    pub(crate) async fn changed(&mut self) -> Option<()> {
        self.wants.changed().await.ok()
    }

    /// Hands a page over, as soon as the loop takes it; `None` when the loop has ended.
    pub(crate) async fn hand_over(&self, page: OwnedPage) -> Option<()> {
        self.page_tx.send(page).await.ok()
    }
}

/// Lets a feeder work until it has ended or `stop` becomes true.
pub(crate) async fn until_stopped(mut stop: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}
