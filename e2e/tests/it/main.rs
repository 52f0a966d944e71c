//! Tests on a real control plane without nodes, in one program: what every user may run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod alerts;
mod apply;
mod audit;
mod clusters;
mod collect;
mod init;
mod lifecycle;
mod operator;
mod policies;
mod remedy_bed;
mod remedy_cordon;
mod remedy_drive;
mod remedy_people;
mod tenant;
mod watch;
