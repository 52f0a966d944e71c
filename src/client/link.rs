//! The one connection to the API server: every request takes the current client from here.
//!
//! A client keeps what it read when it was made: the authority's certificate, a client certificate, the addresses that
//! a name had, and idle connections that a half-open network may hold. All of that changes under an operator that runs
//! for months. So a caller whose request breaks, or whose credentials are refused, calls [`Link::doubt`], and the next
//! request of any caller gets a new client, with files and names read again. Requests under way keep their connections.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use kube::Client;
use tokio::time::Instant;

/// How soon a client may be made anew: many requests break at the same moment, and one new client serves them all.
const RENEW_APART: Duration = Duration::from_secs(2);

type Made = Pin<Box<dyn Future<Output = Result<Client>> + Send>>;

/// A connection to an API server that can be made anew.
pub struct Link {
    make: Box<dyn Fn() -> Made + Send + Sync>,
    held: tokio::sync::Mutex<Option<(Client, Instant)>>,
    doubted_at: Mutex<Option<Instant>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// A link whose clients this makes. It is called again whenever a connection or a credential is in doubt, so it
    /// should read files anew. Its clients must not retry by themselves, nor limit how long a response may be silent.
    pub fn new<F, T>(make: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<Client>> + Send + 'static,
    {
        Self {
            make: Box::new(move || Box::pin(make())),
            held: tokio::sync::Mutex::new(None),
            doubted_at: Mutex::new(None),
        }
    }

    /// The current client, made anew when it is in doubt. An error is a file that could never be read or understood.
    pub async fn client(&self) -> Result<Client> {
        let mut held = self.held.lock().await;
        let doubted = *self.doubted_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((client, made)) = &*held {
            let stale = doubted.is_some_and(|at| at >= *made) && made.elapsed() >= RENEW_APART;
            if !stale {
                return Ok(client.clone());
            }
        }
        match ((self.make)().await, &*held) {
            (Ok(made), _) => {
                *held = Some((made.clone(), Instant::now()));
                Ok(made)
            }
            (Err(error), Some((client, _))) => {
                // A file that is just being replaced: the old client may still do, and the next request looks again.
                tracing::warn!(error = format!("{error:#}"), "cannot make a new client");
                Ok(client.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Says that a request broke or that its credentials were refused: a later request gets a new client.
    pub fn doubt(&self) {
        *self.doubted_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}
