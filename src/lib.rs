//! Traffic-health policy for Kubernetes: the operator, the node agent and the command line.

pub mod api;
pub mod cli;
mod collect;
pub mod files;
pub mod live;
mod render;
