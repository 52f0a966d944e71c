//! The operator and the command line beside a Prometheus: a real one, and one that fails in every way.
//!
//! Needs root, for an address that an `EndpointSlice` may name and for a network of its own.

mod bed;
mod conntrack;
mod faults;
mod honest;
