//! What the pumps report about themselves, for `/debug/watches` and metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_core::know::Source;
use serde::Serialize;
use tokio::time::Instant;

/// What one pump is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum WatchState {
    /// There is no stream, and what was read before still counts.
    Connecting,
    /// A list is being read.
    Filling,
    /// Everything is known up to the last line.
    Watching,
    /// The kind is not served.
    Absent,
    /// Nothing has come for longer than it should: something may have been missed.
    Stale,
    /// The server refuses.
    Unreadable,
}

/// What one pump is doing, and what it has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchStatus {
    /// The source it fills, or a part of it.
    pub source: Source,
    /// What it watches: path and selector.
    pub watches: String,
    /// What it is doing.
    pub state: WatchState,
    /// Milliseconds since the last line; `None` before the first.
    pub last_line_age_ms: Option<u64>,
    /// The version up to which everything is known; empty before the first complete list.
    pub resource_version: String,
    /// Lines received.
    pub lines: u64,
    /// Watches opened after the first, by the server's time limit or after a failure.
    pub restarts: u64,
    /// Lists begun: one at the start, more after expired versions.
    pub lists: u64,
    /// Times it became stale.
    pub silences: u64,
    /// The last failure, in words.
    pub last_error: Option<String>,
}

/// A pump's own notes, shared with its readers.
#[derive(Debug, Clone)]
pub(super) struct Seen(Arc<Mutex<Notes>>);

#[derive(Debug)]
struct Notes {
    snapshot: WatchStatus,
    last_line: Option<Instant>,
}

impl Seen {
    pub(super) fn new(source: Source, watches: String) -> Self {
        let snapshot = WatchStatus {
            source,
            watches,
            state: WatchState::Connecting,
            last_line_age_ms: None,
            resource_version: String::new(),
            lines: 0,
            restarts: 0,
            lists: 0,
            silences: 0,
            last_error: None,
        };
        Self(Arc::new(Mutex::new(Notes {
            snapshot,
            last_line: None,
        })))
    }

    /// Changes the notes.
    pub(super) fn note(&self, change: impl FnOnce(&mut WatchStatus)) {
        // Notes are whole at any moment: a panic elsewhere does not spoil them.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).snapshot);
    }

    /// Notes a line.
    pub(super) fn line(&self, at: Instant) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.last_line = Some(at);
        notes.snapshot.lines += 1;
    }

    /// The notes as they are now.
    pub(super) fn snapshot(&self, now: Instant) -> WatchStatus {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |at: Instant| now.saturating_duration_since(at);
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        WatchStatus {
            last_line_age_ms: notes.last_line.map(|at| millis(age(at))),
            ..notes.snapshot.clone()
        }
    }
}
