//! evenkeel

pub mod api;
pub mod cli;
pub mod files;
pub mod live;
mod render;
