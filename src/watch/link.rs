//! Lists and watches of the real API server, over the operator's [`Link`].
//!
//! kube's client speaks HTTP/1.1 only, so every open watch has a connection of its own, and dropping a watch closes it.
//! When a pump doubts a connection the next request gets a new client; watches that are still open keep theirs.

use std::time::Duration;

use futures::StreamExt;
use http::header::{ACCEPT_ENCODING, HeaderValue, RETRY_AFTER};
use http::{Request, Response};
use http_body_util::{BodyDataStream, BodyExt, Limited};
use hyper::body::Bytes;
use kube::client::Body;
use tokio::time::timeout;

use super::line::Status;
use super::server::{Fault, Lines, Server};
use crate::client::Link;

/// The longest line: far above the 1.5 MiB that etcd stores.
const LONGEST_LINE: usize = 32 << 20;
/// The longest error body that is read, and how long that may take.
const ERROR_BODY: (usize, Duration) = (64 << 10, Duration::from_secs(5));

/// Sends a GET; a success is a response whose body has not been read yet.
async fn get(link: &Link, uri: &str, streamed: bool) -> Result<Response<Body>, Fault> {
    let mut request = Request::get(uri)
        .body(Body::empty())
        .map_err(|error| Fault::Broken(error.to_string()))?;
    if streamed {
        // Servers from 1.37 compress watches event by event, of which the client would decode the first only.
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, identity);
    }
    let client = link
        .client()
        .await
        .map_err(|error| Fault::Broken(format!("{error:#}")))?;
    let response = client.send(request).await.map_err(broken)?;
    if response.status().is_success() {
        return Ok(response);
    }
    Err(refusal(response).await)
}

/// An error with its causes, as only they say what happened to a connection.
fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::Broken(format!("{:#}", anyhow::Error::new(error)))
}

/// What an answer that is not a success says.
async fn refusal(response: Response<Body>) -> Fault {
    let code = response.status().as_u16();
    let asked = response.headers().get(RETRY_AFTER);
    let asked = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let body = Limited::new(response.into_body(), ERROR_BODY.0).collect();
    let body = match timeout(ERROR_BODY.1, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    };
    let status: Status = serde_json::from_slice(&body).unwrap_or_default();
    let after = asked.map(Duration::from_secs).or_else(|| status.after());
    let message = status.message.unwrap_or_else(|| {
        String::from_utf8_lossy(body.get(..200).unwrap_or(&body))
            .trim()
            .to_owned()
    });
    Fault::Refused { code, message, after }
}

impl Server for Link {
    type Lines = Stream;

    async fn watch(&self, uri: String) -> Result<Stream, Fault> {
        let response = get(self, &uri, true).await?;
        Ok(Stream {
            body: response.into_body().into_data_stream(),
            rest: Bytes::new(),
            line: Vec::new(),
        })
    }

    async fn page(&self, uri: String) -> Result<Vec<u8>, Fault> {
        let response = get(self, &uri, false).await?;
        let mut body = response.into_body().into_data_stream();
        let mut page = Vec::new();
        while let Some(bytes) = body.next().await {
            page.extend_from_slice(&bytes.map_err(broken)?);
        }
        Ok(page)
    }

    fn renew(&self) {
        self.doubt();
    }
}

/// The body of a watch, line by line.
pub(super) struct Stream {
    body: BodyDataStream<Body>,
    rest: Bytes,
    line: Vec<u8>,
}

impl Lines for Stream {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let head = self.rest.split_to(at + 1);
                self.line.extend_from_slice(head.get(..at).unwrap_or_default());
                if self.line.is_empty() {
                    continue;
                }
                return Ok(Some(std::mem::take(&mut self.line)));
            }
            self.line.extend_from_slice(&self.rest);
            self.rest.clear();
            if self.line.len() > LONGEST_LINE {
                return Err(Fault::Broken(format!("a line of more than {LONGEST_LINE} bytes")));
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => return Err(broken(error)),
                None if self.line.is_empty() => return Ok(None),
                None => return Err(Fault::Broken("the watch was cut off within a line".into())),
            }
        }
    }
}
