//! Lists and watches of the real API server, over the operator's [`Link`].
//!
//! kube's client speaks HTTP/1.1 only, so every open watch has a connection of its own, and dropping a watch closes it.
//! When a pump doubts a connection the next request gets a new client; watches that are still open keep theirs.

use std::time::Duration;

use futures::StreamExt;
use http::header::{ACCEPT_ENCODING, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::{Buf, Bytes};
use kube::client::Body;
use tokio::time::timeout;

use super::server::{Lines, WatchServer};
use crate::client::{Link, Refusal, RequestError, read};
use crate::live::PAGE_BYTES;

/// What is kept of a line: far above the 1.5 MiB that etcd stores of an object by default. Of a longer one the rest is
/// skipped as it comes; its beginning still says which object it is about.
pub(super) const LONGEST_LINE: usize = 4 << 20;
/// How long reading an error body may take.
const ERROR_BODY: Duration = Duration::from_secs(5);

/// Sends a GET; a success is a response whose body has not been read yet.
async fn get(link: &Link, uri: &str, streamed: bool) -> Result<Response<Body>, RequestError> {
    let mut request = Request::get(uri)
        .body(Body::empty())
        .map_err(|error| RequestError::Broken(error.to_string()))?;
    if streamed {
        // Servers from 1.37 compress watches event by event, of which the client would decode the first only.
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, identity);
    }
    let client = link
        .client()
        .await
        .map_err(|error| RequestError::Broken(format!("{error:#}")))?;
    let response = client.send(request).await.map_err(RequestError::broken)?;
    if response.status().is_success() {
        return Ok(response);
    }
    Err(refusal(response).await)
}

/// What an answer that is not a success says, as far as it comes in time.
async fn refusal(response: Response<Body>) -> RequestError {
    let code = response.status().as_u16();
    timeout(ERROR_BODY, Refusal::read(response))
        .await
        .map_or_else(|_| RequestError::refused(code, "", None), RequestError::Refused)
}

impl WatchServer for Link {
    type Lines = Stream;

    async fn watch(&self, uri: String) -> Result<Stream, RequestError> {
        let response = get(self, &uri, true).await?;
        Ok(Stream {
            body: response.into_body().into_data_stream(),
            rest: Bytes::new(),
            line: Vec::new(),
        })
    }

    async fn page(&self, uri: String) -> Result<Vec<u8>, RequestError> {
        let response = get(self, &uri, false).await?;
        read(response.into_body(), PAGE_BYTES).await
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
    async fn next(&mut self) -> Result<Option<Vec<u8>>, RequestError> {
        loop {
            let end = memchr::memchr(b'\n', &self.rest);
            let part = self.rest.split_to(end.unwrap_or(self.rest.len()));
            let room = LONGEST_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or(&part));
            if end.is_some() {
                self.rest.advance(1);
                if self.line.is_empty() {
                    continue;
                }
                return Ok(Some(std::mem::take(&mut self.line)));
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => return Err(RequestError::broken(error)),
                None if self.line.is_empty() => return Ok(None),
                None => return Err(RequestError::Broken("the watch was cut off within a line".into())),
            }
        }
    }
}
