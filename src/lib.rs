//! Traffic-health policy for Kubernetes: the operator, the node agent and the command line.

pub mod api;
pub mod cli;
pub mod files;
pub mod live;
mod render;
pub mod resources;
pub mod rights;
pub mod watch;
