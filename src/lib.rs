//! Traffic-health policy for Kubernetes: the operator, the node agent and the command line.

pub mod alert;
pub mod api;
pub mod cli;
pub mod clock;
mod collect;
pub mod files;
pub mod lease;
pub mod link;
pub mod live;
pub mod metrics;
mod render;
pub mod resources;
pub mod rights;
pub mod run;
pub mod serve;
pub mod watch;
pub mod write;
