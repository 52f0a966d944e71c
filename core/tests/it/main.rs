//! Tests of the core from outside, in one program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "they read the source, and write the docs"
)]

mod architecture;
mod check_docs;
mod drive;
mod freshness;
mod harm;
mod history;
#[path = "../../src/world/objects/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "each program makes its clusters of some of them"
)]
mod objects;
mod order;
mod reasons;
mod remedies;
mod writers;
