//! evenkeel

pub mod api;
