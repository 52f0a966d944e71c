//! One request and its whole answer, within a time.

use std::time::Duration;

use http::Request;
use kube::client::Body;
use tokio::time::{Instant, sleep_until};

use super::{Link, Refusal, RequestError, read};

/// Most bytes of an answer: above what etcd stores of one object (1.5 MiB), with room for what JSON adds.
const ANSWER: usize = 8 << 20;

/// Sends a request and reads its answer to the end, all before `by`. A body counts as much as the headers: a connection
/// that dies between them must not hold its caller for ever. The time is looked at first, so that a process that was
/// stopped sends nothing late when it goes on. After a failure that may be the connection's, or the credentials', the next
/// request gets a new client.
///
/// # Errors
/// The server's refusal, a connection that broke, or no complete answer in time.
pub async fn exchange(link: &Link, request: Request<Body>, by: Instant) -> Result<Vec<u8>, RequestError> {
    let within = by.saturating_duration_since(Instant::now());
    let outcome = tokio::select! {
        biased;
        () = sleep_until(by) => Err(RequestError::Late(rounded(within))),
        outcome = unbounded(link, request) => outcome,
    };
    if outcome.as_ref().is_err_and(RequestError::is_doubtful) {
        link.doubt();
    }
    outcome
}

async fn unbounded(link: &Link, request: Request<Body>) -> Result<Vec<u8>, RequestError> {
    let client = link
        .client()
        .await
        .map_err(|error| RequestError::Broken(format!("{error:#}")))?;
    let response = client.send(request).await.map_err(RequestError::broken)?;
    if !response.status().is_success() {
        return Err(RequestError::Refused(Refusal::read(response).await));
    }
    read(response.into_body(), ANSWER)
        .await
        .map_err(|error| match error {
            RequestError::Broken(why) => RequestError::Broken(format!("the answer broke off: {why}")),
            error => error,
        })
}

/// To whole seconds, as shown.
fn rounded(time: Duration) -> Duration {
    Duration::from_secs((time + Duration::from_millis(500)).as_secs())
}
