//! What can become of a request besides success.

use std::fmt;
use std::time::Duration;

use http::Response;
use http::header::RETRY_AFTER;
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use kube::client::Body;
use serde::Deserialize;

/// Most bytes of an error body that are read: far above any `metav1.Status`, which lists at most some dozen causes.
const ERROR_BODY: usize = 64 << 10;

/// Most characters of an error body that is no `metav1.Status`, as proxies in front of API servers send.
const PLAIN: usize = 200;

/// Why a request has brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The server has answered, with an error.
    #[error("{0}")]
    Refused(Refusal),
    /// There was no connection, or it broke before the answer was complete. The request may have been carried out.
    #[error("{0}")]
    Broken(String),
    /// The answer is longer than anything that is wanted.
    #[error("an answer of more than {} MiB", .0 >> 20)]
    TooLong(usize),
    /// The answer was not complete in time. The request may have been carried out.
    #[error("no complete answer within {} s", .0.as_secs())]
    Late(Duration),
}

/// An error that the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status, or the code of an ERROR event of a watch.
    pub code: u16,
    /// The server's message.
    pub message: String,
    /// How long it asks to send nothing: `Retry-After` in seconds (RFC 9110, 10.2.3; the API server never sends a date), or
    /// `details.retryAfterSeconds` of its `metav1.Status`.
    pub after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// The part of a `metav1.Status` that says what to do.
#[derive(Debug, Deserialize, Default)]
pub(crate) struct ServerStatus {
    #[serde(default)]
    pub(crate) code: Option<u16>,
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default)]
    details: Option<Details>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(default)]
    retry_after_seconds: Option<u32>,
}

impl ServerStatus {
    /// How long the server asks to send nothing.
    pub(crate) fn after(&self) -> Option<Duration> {
        let seconds = self.details.as_ref()?.retry_after_seconds?;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }
}

impl Refusal {
    /// Reads an answer that is not a success. The caller bounds how long that may take; what cannot be read is left out.
    pub(crate) async fn read(response: Response<Body>) -> Self {
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER);
        let after = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = Limited::new(response.into_body(), ERROR_BODY).collect().await;
        let body = body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
        let said: ServerStatus = serde_json::from_slice(&body).unwrap_or_default();
        let after = after.map(Duration::from_secs).or_else(|| said.after());
        let message = said
            .message
            .filter(|message| !message.is_empty())
            .unwrap_or_else(|| {
                let text: String = String::from_utf8_lossy(&body)
                    .trim()
                    .chars()
                    .take(PLAIN)
                    .collect();
                if text.is_empty() { status.to_string() } else { text }
            });
        Self {
            code: status.as_u16(),
            message,
            after,
        }
    }
}

impl RequestError {
    /// An error that the server answered.
    pub(crate) fn refused(code: u16, message: impl Into<String>, after: Option<Duration>) -> Self {
        let message = message.into();
        Self::Refused(Refusal { code, message, after })
    }

    /// A failure of the client, with its causes: only they say what happened to a connection.
    pub(crate) fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Broken(format!("{:#}", anyhow::Error::new(error)))
    }

    /// Whether a right is missing.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == 403)
    }

    /// Whether the way to the server, or our credentials, are in doubt: the next request needs a new client. A server that
    /// answers anything but 401 is reached and knows us.
    pub fn is_doubtful(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.code == 401,
            Self::TooLong(_) => false,
            Self::Broken(_) | Self::Late(_) => true,
        }
    }
}

impl From<kube::Error> for RequestError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(Refusal {
                code: status.code,
                message: status.message.clone(),
                after: None,
            }),
            error => Self::broken(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::status(409, r#"{"message": "modified"}"#, None, "409: modified", None)]
    #[case::details(
        429,
        r#"{"message": "x", "details": {"retryAfterSeconds": 3}}"#,
        None,
        "429: x",
        Some(3)
    )]
    #[case::header(
        429,
        r#"{"details": {"retryAfterSeconds": 3}}"#,
        Some("7"),
        "429: {\"details\": {\"retryAfterSeconds\": 3}}",
        Some(7)
    )]
    #[case::date(
        503,
        "",
        Some("Wed, 21 Oct 2015 07:28:00 GMT"),
        "503: 503 Service Unavailable",
        None
    )]
    #[case::proxy(502, " bad gateway\n", None, "502: bad gateway", None)]
    #[tokio::test]
    async fn what_a_server_answers_is_read_in_one_way(
        #[case] code: u16,
        #[case] body: &str,
        #[case] header: Option<&str>,
        #[case] shown: &str,
        #[case] after: Option<u64>,
    ) {
        let mut response = Response::builder().status(code);
        if let Some(value) = header {
            response = response.header(RETRY_AFTER, value);
        }
        let response = response.body(Body::from(body.as_bytes().to_vec())).unwrap();
        let refusal = Refusal::read(response).await;
        assert_eq!(refusal.to_string(), shown);
        assert_eq!(refusal.after, after.map(Duration::from_secs));
    }
}
