//! What a team that may write in one namespace can do to all others: nothing.
//!
//! The attacks run against a real API server, with a token of the roles `edit` and `view` that Kubernetes brings and the
//! right to policies in one namespace, and against the operator under exactly the rights of the manifests. Two other
//! teams have done nothing wrong: one has a critical finding, one a policy that is met. After each attack
//! [`attack::Attack::end`] compares what is reported of them, of the nodes and of the cluster with what was before.

mod attack;
mod bed;
mod beyond;
mod commands;
mod connections;
mod elsewhere;
mod events;
mod exceptions;
mod feeders;
mod impersonation;
mod lookups;
mod policies;
mod probes;
mod reads;
mod rights;
mod services;
mod stall;
mod team;
mod volume;
mod writes;
