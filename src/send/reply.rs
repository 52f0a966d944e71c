//! What became of a request, and what that means for the next one.

use std::fmt;
use std::time::Duration;

use crate::client::{Refusal, RequestError};

/// How long to send nothing after a failure that names no time.
const PAUSE: Duration = Duration::from_secs(2);

/// How long to send nothing after a refusal of rights: a person has to grant them.
const PAUSE_FORBIDDEN: Duration = Duration::from_secs(30);

/// The longest `Retry-After` that is obeyed.
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was carried out; the resourceVersion of the object as it is now, empty if the server did not say.
    Ok(String),
    /// The object is another, or another writing of it, than the request was for. Its watch brings the new one.
    Conflict,
    /// There is no such object.
    Gone,
    /// The server has refused.
    Refused(Refusal),
    /// It is not known: the connection broke, or the answer was not complete within the permit.
    Lost(RequestError),
}

impl Reply {
    pub(super) fn of(outcome: Result<&[u8], RequestError>) -> Self {
        match outcome {
            Ok(body) => Self::Ok(version(body)),
            Err(RequestError::Refused(refusal)) => match refusal.code {
                404 => Self::Gone,
                409 => Self::Conflict,
                _ => Self::Refused(refusal),
            },
            Err(lost) => Self::Lost(lost),
        }
    }

    /// As counted by `evenkeel_status_writes_total`.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Ok(_) => "written",
            Self::Conflict => "replaced",
            Self::Gone => "gone",
            Self::Lost(RequestError::Late(_)) => "timeout",
            Self::Lost(_) => "unreachable",
            Self::Refused(refusal) => match refusal.code {
                429 | 503 => "busy",
                403 => "forbidden",
                401 => "unauthorized",
                500.. if !is_schema(refusal) => "server-error",
                _ => "refused",
            },
        }
    }

    /// How long nothing may be sent, where this is a failure that may pass and the request is worth repeating.
    pub fn pause(&self) -> Option<Duration> {
        match self {
            Self::Ok(_) | Self::Conflict | Self::Gone => None,
            Self::Lost(_) => Some(PAUSE),
            Self::Refused(refusal) => match refusal.code {
                429 | 503 => Some(refusal.after.map_or(PAUSE, |after| after.min(PAUSE_MAX))),
                403 => Some(PAUSE_FORBIDDEN),
                401 => Some(PAUSE),
                500.. if !is_schema(refusal) => Some(PAUSE),
                _ => None,
            },
        }
    }

    /// Whether the stored definition does not know a field, or bounds it differently.
    pub fn refuses_schema(&self) -> bool {
        matches!(self, Self::Refused(refusal) if is_schema(refusal))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(_) => f.write_str("carried out"),
            Self::Conflict => f.write_str("the object has changed"),
            Self::Gone => f.write_str("there is no such object"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Lost(error) => error.fmt(f),
        }
    }
}

/// A field that the stored schema does not have is an internal error to server-side apply (`fieldmanager/structuredmerge.go`).
fn is_schema(refusal: &Refusal) -> bool {
    let why = &refusal.message;
    why.contains("field not declared in schema") || why.contains("failed to create typed patch object")
}

/// The resourceVersion of an object.
fn version(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        resource_version: String,
    }
    serde_json::from_slice(body).map_or_else(|_| String::new(), |one: Object| one.metadata.resource_version)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn refused(code: u16, message: &str, after: Option<u64>) -> Reply {
        Reply::of(Err(RequestError::Refused(Refusal {
            code,
            message: message.into(),
            after: after.map(Duration::from_secs),
        })))
    }

    #[rstest]
    #[case::gone(404, "", None, "gone", None)]
    #[case::another(409, "", None, "replaced", None)]
    #[case::busy(429, "", None, "busy", Some(2))]
    #[case::busy_for_long(503, "", Some(9), "busy", Some(9))]
    #[case::busy_for_ever(429, "", Some(100_000), "busy", Some(120))]
    #[case::rights(403, "", None, "forbidden", Some(30))]
    #[case::credentials(401, "", None, "unauthorized", Some(2))]
    #[case::broken_server(500, "etcd", None, "server-error", Some(2))]
    #[case::old_definition(500, "x: field not declared in schema", None, "refused", None)]
    #[case::invalid(422, "", None, "refused", None)]
    fn each_refusal_has_one_meaning(
        #[case] code: u16,
        #[case] message: &str,
        #[case] after: Option<u64>,
        #[case] outcome: &str,
        #[case] pause: Option<u64>,
    ) {
        let reply = refused(code, message, after);
        assert_eq!(reply.outcome(), outcome);
        assert_eq!(reply.pause(), pause.map(Duration::from_secs));
    }

    #[test]
    fn success_tells_the_version() {
        let body = br#"{"kind":"X","metadata":{"name":"a","resourceVersion":"7"},"status":{}}"#;
        assert_eq!(Reply::of(Ok(body)), Reply::Ok("7".into()));
        assert_eq!(Reply::of(Ok(b"{")), Reply::Ok(String::new()));
    }
}
