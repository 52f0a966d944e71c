//! The pure core of evenkeel.
//!
//! Facts come in as JSON, verdicts and findings go out; nothing here reads a clock, a socket, a file or a log. The
//! same core serves the operator, the live audit, an audit of files, simulations and tests.

pub mod dataplane;
pub mod know;
pub mod policy;
