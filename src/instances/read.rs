//! One page of one API server.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_core::sample::{Metrics, Observer, PageScope, Why};
use futures::StreamExt;
use http::{Request, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;

use super::page::Sums;
use crate::client::{Refusal, RequestError};
use crate::exposition::{Format, PageError, PageLimits, Reader, Wanted};
use crate::live;
use crate::samples::{OwnedPage, OwnedSample, now_millis};

/// How long a page may take, from the connection to its last byte: with four at once, 12 API servers that all hang are
/// through within the minute.
pub(super) const WITHIN: Duration = Duration::from_secs(20);

/// Reads a page, and makes samples of what is wanted.
pub(super) async fn read(client: &Client, at: IpAddr, metrics: Metrics, wanted: &Wanted) -> OwnedPage {
    let asked = now_millis();
    let outcome = tokio::time::timeout(WITHIN, unbounded(client, wanted)).await;
    let outcome = outcome.unwrap_or_else(|_| {
        let detail = format!("no whole page within {} s", WITHIN.as_secs());
        Err((Why::TimedOut, detail))
    });
    let (samples, gap) = match outcome {
        Ok(sums) => samples(sums, at, metrics),
        Err(gap) => (Vec::new(), Some(gap)),
    };
    OwnedPage {
        observer: Observer::Instance,
        metrics,
        scope: PageScope::Instance(at),
        asked,
        samples,
        gap,
    }
}

/// What is read counts from when it has been read: a page of a slow server was written at its end and not when it was
/// asked for.
fn samples(sums: Sums, at: IpAddr, metrics: Metrics) -> (Vec<OwnedSample>, Option<(Why, String)>) {
    let gap = sums
        .is_beyond()
        .then(|| (Why::TooLarge, "more resources than are read".to_owned()));
    (sums.samples(at, metrics, now_millis()), gap)
}

async fn unbounded(client: &Client, wanted: &Wanted) -> Result<Sums, (Why, String)> {
    let request = Request::get("/metrics").header(header::ACCEPT, "text/plain;version=0.0.4");
    let request = request
        .body(Body::empty())
        .map_err(|error| (Why::NotUnderstood, error.to_string()))?;
    let response = client.send(request).await;
    let response = response.map_err(|error| (Why::Unreachable, live::root(&error)))?;
    if !response.status().is_success() {
        let refusal = Refusal::read(response).await;
        let why = match refusal.code {
            401 | 403 => Why::Refused,
            _ => Why::Unreachable,
        };
        return Err((why, refusal.to_string()));
    }
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let format = Format::of(
        content_type
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default(),
    );
    let mut reader = Reader::new(wanted, format, PageLimits::default());
    let mut sums = Sums::default();
    let mut chunks = response.into_body().into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| (Why::Truncated, RequestError::broken(error).to_string()))?;
        let pushed = reader.push(&chunk, &mut |at, sample| sums.add(at, sample));
        pushed.map_err(|error| of_page(&error))?;
    }
    reader.finish().map_err(|error| of_page(&error))?;
    Ok(sums)
}

/// What is wrong with a page, as a gap.
fn of_page(error: &PageError) -> (Why, String) {
    let why = match error {
        PageError::TooLong(_)
        | PageError::TooManyLines(_)
        | PageError::LineTooLong { .. }
        | PageError::TooManySeries(_) => Why::TooLarge,
        PageError::Duplicate { .. } => Why::Duplicate,
        PageError::Torn(_) => Why::Truncated,
        PageError::Malformed { .. } | PageError::WrongType { .. } | PageError::AfterEnd(_) => {
            Why::NotUnderstood
        }
    };
    (why, error.to_string())
}
