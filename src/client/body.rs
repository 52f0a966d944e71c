//! Bodies of answers, read to their end and never beyond a limit.

use futures::StreamExt;
use http_body_util::BodyExt;
use kube::client::Body;

use super::RequestError;

/// Reads a body, which may have at most so many bytes.
///
/// # Errors
/// [`RequestError::TooLong`] as soon as it has more, without reading the rest; a connection that broke.
pub(crate) async fn read(body: Body, most: usize) -> Result<Vec<u8>, RequestError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(RequestError::broken)?;
        if bytes.len() + chunk.len() > most {
            return Err(RequestError::TooLong(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
