//! What a team that may write in one namespace can do to everybody else: nothing.
//!
//! The attacks run against a real API server, with a token of the roles `edit` and `view` that Kubernetes brings and the
//! right to policies in one namespace, and against the operator under exactly the rights of the manifests. Two other
//! teams have done nothing wrong: one has a critical finding, one a policy that is met. After each attack
//! [`bed::Attack::end`] compares what they, the nodes and the cluster are told with what they were told before.

mod bed;
mod connections;
mod events;
mod impersonation;
mod policies;
mod probes;
mod reads;
mod services;
mod stall;
mod team;
mod volume;
