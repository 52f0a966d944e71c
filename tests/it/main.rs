//! Tests of the crate from outside, in one program: each would link the Kubernetes client once more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod chart;
mod cli;
mod crds;
mod docs;
mod http;
mod manifests;
mod metrics;
mod policies;
mod queries;
mod rights;
mod runbooks;
