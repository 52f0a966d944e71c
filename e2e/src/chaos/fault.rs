//! Which fault hits a request.

use std::time::Duration;

use http::{Method, Request, StatusCode};

/// What happens to one request or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// The request goes nowhere and is answered with this.
    Refused(StatusCode),
    /// The request goes on later.
    Late(Duration),
    /// The request arrives twice.
    Repeated,
    /// The request arrives, and its answer does not.
    Lost,
    /// The answer breaks off after so many pieces.
    Cut(usize),
    /// The answer ends in good order in the middle of a piece, after so many.
    Truncated(usize),
    /// Nothing of the answer comes after so many pieces, and the connection stays.
    Silent(usize),
    /// Pieces come late, and some lines twice.
    Stuttering,
}

impl Fault {
    /// Most requests get through.
    pub(super) fn draw<B>(rng: &mut fastrand::Rng, request: &Request<B>) -> Self {
        let writes = request.method() != Method::GET;
        let pieces = rng.usize(0..12);
        match rng.u8(0..100) {
            0..4 => Self::Refused(StatusCode::TOO_MANY_REQUESTS),
            4..7 => Self::Refused(StatusCode::INTERNAL_SERVER_ERROR),
            7..9 => Self::Refused(StatusCode::SERVICE_UNAVAILABLE),
            9..14 => Self::Late(Duration::from_millis(rng.u64(10..4_000))),
            14..18 => Self::Lost,
            18..26 if writes => Self::Repeated,
            26..32 => Self::Cut(pieces),
            32..37 => Self::Truncated(pieces),
            37..41 => Self::Silent(pieces),
            41..50 => Self::Stuttering,
            _ => Self::None,
        }
    }
}
