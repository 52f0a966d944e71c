//! Requests to servers other than the API server: an Alertmanager, a Prometheus.
//!
//! Each is reached by the addresses of its Service's ready endpoints, so that no cluster DNS and no load balancer is on
//! the way. Its certificate is the Service's, under the CA that the caller names; without one it is plain HTTP, and no
//! credential goes over that.

mod client;
mod service_port;

pub use client::{Credentials, Options};
pub(crate) use client::{HttpClient, OutboundError, Trust};
pub use service_port::ServicePort;
