//! One push to one Alertmanager.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, header};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::outbound::{HttpClient, OutboundError};

/// How long one push may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of an answer: what is accepted is answered with nothing.
const ANSWER: usize = 64 << 10;

/// How a failure is counted.
pub(super) const fn outcome(failure: &OutboundError) -> &'static str {
    match failure {
        OutboundError::Late(_) | OutboundError::Unreachable(_) => "unreachable",
        OutboundError::Credentials(..)
        | OutboundError::Refused(..)
        | OutboundError::TooLong(_)
        | OutboundError::BrokeOff(_) => "refused",
    }
}

/// Posts a body of alerts.
pub(super) async fn post(client: &HttpClient, to: SocketAddr, body: Bytes) -> Result<(), OutboundError> {
    let request = Request::post(format!("{}://{to}/api/v2/alerts", client.scheme()))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| OutboundError::Unreachable(error.to_string()))?;
    client.exchange(request, ANSWER, TIMEOUT).await.map(|_| ())
}
