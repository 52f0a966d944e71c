//! Lists and watches of the real API server, over the operator's [`Link`].
//!
//! kube's client speaks HTTP/1.1 only, so every open watch has a connection of its own, and dropping a watch closes it.
//! When a pump doubts a connection the next request gets a new client; watches that are still open keep theirs.

use std::time::Duration;

use futures::StreamExt;
use http::header::{ACCEPT_ENCODING, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::Bytes;
use kube::client::Body;
use tokio::time::timeout;

use super::server::{Lines, Server};
use crate::client::{Link, Refusal, RequestError};

/// The longest line: far above the 1.5 MiB that etcd stores.
const LONGEST_LINE: usize = 32 << 20;
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

impl Server for Link {
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
        let mut body = response.into_body().into_data_stream();
        let mut page = Vec::new();
        while let Some(bytes) = body.next().await {
            page.extend_from_slice(&bytes.map_err(RequestError::broken)?);
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
    async fn next(&mut self) -> Result<Option<Vec<u8>>, RequestError> {
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
                return Err(RequestError::Broken(format!(
                    "a line of more than {LONGEST_LINE} bytes"
                )));
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
