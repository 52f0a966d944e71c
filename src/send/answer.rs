//! What an answer of the API server to one of our writes means: the only place that decides.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::time::sleep_until;

use crate::lease::{Permit, REQUEST_TIMEOUT};
use crate::link::Link;
use crate::status::Status;

/// How long to wait after a failure that names no time.
const PAUSE: Duration = Duration::from_secs(2);

/// How long to wait after a refusal of rights: they come back by a person's hand.
const PAUSE_FORBIDDEN: Duration = Duration::from_secs(30);

/// The longest `Retry-After` that is followed to the queued.
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// Most bytes of an error body that are read.
const ERROR_BODY: usize = 16 << 10;

/// What became of a write.
#[derive(Debug)]
pub enum Answer {
    /// It stands.
    Written(Status),
    /// The object is gone: there is nobody to tell.
    Gone,
    /// Another object has taken its name, or it has changed meanwhile: the watch brings it.
    Replaced,
    /// It may work later.
    Failed(Failed),
    /// It will never work as it is.
    Refused(String),
}

/// A failure that may pass.
#[derive(Debug)]
pub struct Failed {
    /// What the server, or the way to it, said.
    pub why: String,
    /// How long to send nothing.
    pub pause: Duration,
    /// What to count it as.
    pub outcome: &'static str,
}

/// Sends within the permit. The clock is asked first, so that a process that was stopped after taking the permit sends
/// nothing when it goes on. After a failure that may be the connection's the next request gets a new client.
pub async fn within(permit: Permit, link: &Link, request: Request<Body>) -> Result<Response<Body>, Failed> {
    let send = async {
        let client = link.client().await.map_err(|error| format!("{error:#}"))?;
        // The causes are what says what happened to a connection.
        let broken = |error| format!("{:#}", anyhow::Error::new(error));
        client.send(request).await.map_err(broken)
    };
    let answer = tokio::select! {
        biased;
        () = sleep_until(permit.deadline()) => {
            link.doubt();
            return Err(Failed {
                why: format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()),
                pause: PAUSE,
                outcome: "timeout",
            });
        }
        answer = send => answer,
    };
    let response = answer.map_err(|why| {
        link.doubt();
        Failed {
            why,
            pause: PAUSE,
            outcome: "unreachable",
        }
    })?;
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(Failed {
            pause: retry_after(&response).unwrap_or(PAUSE),
            why: format!("the API server is busy ({})", response.status()),
            outcome: "busy",
        }),
        StatusCode::FORBIDDEN => Err(Failed {
            why: body(response).await,
            pause: PAUSE_FORBIDDEN,
            outcome: "forbidden",
        }),
        StatusCode::UNAUTHORIZED => {
            // A token that was replaced meanwhile: the next client reads it.
            link.doubt();
            Err(Failed {
                why: body(response).await,
                pause: PAUSE,
                outcome: "unauthorized",
            })
        }
        _ => Ok(response),
    }
}

/// What an answer to a status means.
pub fn of(answer: Result<(StatusCode, String), Failed>, status: &Status) -> Answer {
    let (code, why) = match answer {
        Ok(answer) => answer,
        Err(failed) => return Answer::Failed(failed),
    };
    match code {
        code if code.is_success() => Answer::Written(status.clone()),
        StatusCode::NOT_FOUND => Answer::Gone,
        StatusCode::CONFLICT => Answer::Replaced,
        // A field that the stored schema does not have is an internal error to server-side apply.
        code if code.is_server_error() && !is_schema(&why) => Answer::Failed(Failed {
            why,
            pause: PAUSE,
            outcome: "server-error",
        }),
        _ => Answer::Refused(why),
    }
}

/// Whether a refusal says that the stored definition does not know a field, or bounds it differently.
pub fn is_schema(why: &str) -> bool {
    why.contains("field not declared in schema") || why.contains("failed to create typed patch object")
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3; the API server never sends a date).
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let value = response.headers().get(http::header::RETRY_AFTER)?;
    let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(PAUSE_MAX))
}

/// The status code and what the body says, as far as it is worth reading.
pub async fn read(response: Response<Body>) -> (StatusCode, String) {
    let code = response.status();
    if code.is_success() {
        // What the server has stored comes back by the watch; the body is read so that the connection can go on.
        let mut stream = response.into_body();
        while let Some(Ok(_)) = stream.frame().await {}
        return (code, String::new());
    }
    (code, body(response).await)
}

/// The message of an error body.
async fn body(response: Response<Body>) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let code = response.status();
    let mut bytes = Vec::new();
    let mut stream = response.into_body();
    while let Some(Ok(frame)) = stream.frame().await {
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
        if bytes.len() > ERROR_BODY {
            break;
        }
    }
    serde_json::from_slice(&bytes).map_or_else(|_| code.to_string(), |one: Message| one.message)
}
