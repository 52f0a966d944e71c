//! What a pump needs of an API server, small enough for a scripted double.

use std::fmt;
use std::future::Future;
use std::time::Duration;

/// Answers requests. The real one is [`crate::client::Link`].
pub(super) trait Server: Send + Sync + 'static {
    /// The body of a watch.
    type Lines: Lines;

    /// Opens a watch: done when the headers have come.
    fn watch(&self, uri: String) -> impl Future<Output = Result<Self::Lines, Fault>> + Send;

    /// Reads a page of a list.
    fn page(&self, uri: String) -> impl Future<Output = Result<Vec<u8>, Fault>> + Send;

    /// Says that connections or credentials are in doubt: the next request uses fresh ones.
    fn renew(&self);
}

/// The lines of a watch.
pub(super) trait Lines: Send + 'static {
    /// The next line without its end; `None` when the server has ended the watch in good order.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, Fault>> + Send;
}

/// Why a request or a stream failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server answered, with an error.
    Refused {
        /// HTTP status, or the code of an ERROR event.
        code: u16,
        /// The server's words.
        message: String,
        /// How long it asks to be left alone.
        after: Option<Duration>,
    },
    /// There was no answer, or it broke off.
    Broken(String),
}

impl Fault {
    /// Whether a server refuses to stream a list: 422 where the feature is off, 400 where it is not known.
    pub(super) const fn refuses_streams(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: 400 | 405 | 406 | 415 | 422,
                ..
            }
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message, .. } => write!(f, "{code}: {message}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}
