//! Requests to the API server: the current client, and what became of a request.

mod body;
mod error;
mod exchange;
mod link;
#[cfg(test)]
pub(crate) mod scripted;

pub(crate) use body::read;
pub(crate) use error::ServerStatus;
pub use error::{Refusal, RequestError};
pub use exchange::exchange;
pub use link::Link;
