//! What a pump claims about its target, and until when it may.
//!
//! A claim rests on *proof*, not on the absence of errors. A bookmark, or a watch that ended in order, says that
//! everything up to then has come. As long as nothing can have been missed every line says so too; after a break it
//! does not, because what was missed may still be on its way. Without proof for long enough the claim is withdrawn.

use std::pin::pin;
use std::time::Duration;

use evenkeel_core::index::Freshness;
use tokio::time::{Instant, timeout_at};

use super::outlet::{Closed, Outlet, What};
use super::pace::{BOOKMARKS, INHERITED, LONG, NO_BOOKMARKS, PATIENCE, SHORT, SLACK};
use super::seen::{Seen, WatchState};
use super::target::Id;

/// One pump's claim, and the way to the loop.
#[derive(Debug)]
pub(super) struct TargetClaim {
    id: Id,
    outlet: Outlet,
    pub(super) seen: Seen,
    /// What the loop knows.
    freshness: Freshness,
    /// Whether nothing can have been missed since the last proof.
    proven: bool,
    /// When it becomes stale without another proof.
    quiet_at: Instant,
    /// Until when it may live on what others have watched, where it does.
    inherited: Option<Instant>,
    /// Whether the server has ever sent a bookmark.
    bookmarks: bool,
}

impl TargetClaim {
    pub(super) fn new(id: Id, outlet: Outlet, seen: Seen) -> Self {
        Self {
            id,
            outlet,
            seen,
            freshness: Freshness::Missing,
            proven: false,
            quiet_at: Instant::now() + PATIENCE,
            inherited: None,
            bookmarks: false,
        }
    }

    /// Others have watched all of it until now: it is as well known as it was, but not for long. While its own list comes
    /// it is so for [`INHERITED`]: a list of many objects takes its time.
    pub(super) fn inherit(&mut self) {
        let now = Instant::now();
        self.freshness = Freshness::Complete;
        self.quiet_at = now + PATIENCE;
        self.inherited = Some(now + INHERITED);
    }

    pub(super) const fn is_proven(&self) -> bool {
        self.proven
    }

    /// How long a watch with this server time limit may be silent.
    pub(super) fn patience(&self, limit: Duration) -> Duration {
        if limit <= SHORT {
            PATIENCE
        } else if limit < LONG {
            limit + SLACK
        } else if self.bookmarks {
            BOOKMARKS
        } else {
            NO_BOOKMARKS
        }
    }

    /// A line has come.
    pub(super) fn line(&mut self, limit: Duration) {
        let now = Instant::now();
        self.seen.line(now);
        if self.proven {
            self.quiet_at = now + self.patience(limit);
        }
    }

    /// A part of a list has come, which proves nothing yet.
    pub(super) fn listed(&mut self) {
        let now = Instant::now();
        self.seen.line(now);
        if let Some(until) = self.inherited {
            self.quiet_at = until.min(now + PATIENCE);
        }
    }

    /// A bookmark has come that was not asked for by a list.
    pub(super) const fn bookmark(&mut self) {
        self.bookmarks = true;
    }

    /// A list begins.
    pub(super) async fn begin(&mut self) -> Result<(), Closed> {
        self.seen.note(|seen| {
            seen.lists += 1;
            seen.state = WatchState::Filling;
        });
        self.send(What::Begin).await
    }

    /// The list is complete; the next proof is due within the patience of a watch with this limit.
    pub(super) async fn synced(&mut self, version: &str, limit: Duration) -> Result<(), Closed> {
        self.send(What::Synced).await?;
        self.freshness = Freshness::Complete;
        self.seen.note(|seen| seen.last_error = None);
        self.proof(version, limit).await
    }

    /// Nothing has been missed up to this version.
    pub(super) async fn proof(&mut self, version: &str, limit: Duration) -> Result<(), Closed> {
        self.proven = true;
        self.inherited = None;
        self.quiet_at = Instant::now() + self.patience(limit);
        self.seen.note(|seen| {
            version.clone_into(&mut seen.resource_version);
            seen.state = WatchState::Watching;
        });
        if matches!(self.freshness, Freshness::Stale | Freshness::Unreadable(_)) {
            self.seen.note(|seen| seen.last_error = None);
            self.becomes(Freshness::Complete).await?;
        }
        Ok(())
    }

    /// The kind is not served, which is as good as a complete list of nothing until it is asked for again, after this.
    pub(super) async fn absent(&mut self, is_news: bool, after: Duration) -> Result<(), Closed> {
        if is_news {
            self.send(What::Begin).await?;
            self.synced("", Duration::ZERO).await?;
        } else {
            self.proof("", Duration::ZERO).await?;
        }
        self.quiet_at = Instant::now() + after + PATIENCE;
        self.seen.note(|seen| seen.state = WatchState::Absent);
        Ok(())
    }

    /// Something broke: from here on something may be missed.
    pub(super) fn doubt(&mut self, why: String) {
        self.proven = false;
        self.quiet_at = self.quiet_at.min(Instant::now() + PATIENCE);
        let connecting = matches!(self.freshness, Freshness::Missing | Freshness::Complete);
        self.seen.note(|seen| {
            seen.last_error = Some(why);
            if connecting {
                seen.state = WatchState::Connecting;
            }
        });
    }

    /// The server refuses.
    pub(super) async fn unreadable(&mut self, why: String) -> Result<(), Closed> {
        if matches!(self.freshness, Freshness::Unreadable(_)) {
            return Ok(());
        }
        self.seen.note(|seen| seen.state = WatchState::Unreadable);
        self.becomes(Freshness::unreadable(&why)).await
    }

    async fn becomes(&mut self, freshness: Freshness) -> Result<(), Closed> {
        self.freshness = freshness.clone();
        self.send(What::Freshness(freshness)).await
    }

    /// Does some work until a limit, and withdraws the claim meanwhile when it is time to.
    pub(super) async fn attend<T>(
        &mut self,
        limit: Instant,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, Closed> {
        let mut work = pin!(work);
        loop {
            let claims = self.freshness == Freshness::Complete;
            let wake = if claims { limit.min(self.quiet_at) } else { limit };
            if let Ok(done) = timeout_at(wake, &mut work).await {
                return Ok(Some(done));
            }
            if claims && Instant::now() >= self.quiet_at {
                self.stale().await?;
            }
            if Instant::now() >= limit {
                return Ok(None);
            }
        }
    }

    /// The next watch begins with what comes: what may have come since a break is missed for good.
    pub(super) async fn skip(&mut self) -> Result<(), Closed> {
        if !self.proven && self.freshness == Freshness::Complete {
            self.stale().await?;
        }
        Ok(())
    }

    async fn stale(&mut self) -> Result<(), Closed> {
        self.proven = false;
        self.seen.note(|seen| {
            seen.state = WatchState::Stale;
            seen.silences += 1;
        });
        self.becomes(Freshness::Stale).await
    }

    /// Sends it to the loop. Time spent waiting for it is not the server's silence.
    pub(super) async fn send(&mut self, what: What) -> Result<(), Closed> {
        let before = Instant::now();
        self.outlet.send(self.id, before, what).await?;
        self.quiet_at += before.elapsed();
        Ok(())
    }
}
