//! Tests that need root, for addresses, namespaces, mounts and control groups of this machine. They run only when named,
//! as `make pushes`, `make feeders`, `make e2e` and others do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod certificate;
mod cluster;
mod instances;
mod kind;
mod nodes;
mod prometheus;
mod pushes;
mod shares;
