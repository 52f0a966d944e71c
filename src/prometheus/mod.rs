//! A Prometheus that is there already, asked for what it has measured.

pub mod answer;
pub mod selector;
