//! Traffic-health policy for Kubernetes: the operator and the command line.

pub mod alert;
pub mod api;
pub mod cli;
pub mod client;
pub mod clock;
mod collect;
mod escape;
pub mod exposition;
mod fair;
pub mod files;
pub mod heartbeat;
#[cfg(test)]
mod hostile_text;
mod init;
pub mod instances;
pub mod lease;
pub mod live;
pub mod lookup;
pub mod metrics;
pub mod operator;
pub mod outbound;
pub mod prometheus;
pub mod query;
pub mod remedy;
mod render;
mod repeats;
pub mod resources;
pub mod rights;
pub mod run;
pub mod samples;
pub mod send;
pub mod serve;
pub mod status;
mod suggest;
pub mod watch;
