//! Tests of what is published beside the program. They need helm, actionlint and mdbook, and run only when named, as
//! `make chart`, `make workflows` and `make site` do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod chart;
mod site;
mod workflows;
