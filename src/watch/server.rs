//! What a pump needs of an API server, small enough for a scripted double.

use std::future::Future;

use crate::client::{Refusal, RequestError};

/// Answers requests. The real one is [`crate::client::Link`].
pub(super) trait WatchServer: Send + Sync + 'static {
    /// The body of a watch.
    type Lines: Lines;

    /// Opens a watch: done when the headers have come.
    fn watch(&self, uri: String) -> impl Future<Output = Result<Self::Lines, RequestError>> + Send;

    /// Reads a page of a list.
    fn page(&self, uri: String) -> impl Future<Output = Result<Vec<u8>, RequestError>> + Send;

    /// Says that connections or credentials are in doubt: the next request uses fresh ones.
    fn renew(&self);
}

/// The lines of a watch.
pub(super) trait Lines: Send + 'static {
    /// The next line without its end; `None` when the server has ended the watch in good order.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, RequestError>> + Send;
}

/// Whether a server refuses to stream a list: 422 where the feature is off, 400 where it is not known.
pub(super) const fn refuses_streams(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::Refused(Refusal {
            code: 400 | 405 | 406 | 415 | 422,
            ..
        })
    )
}
