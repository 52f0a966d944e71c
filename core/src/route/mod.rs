//! The route of a connection through the cluster: the load balancer and the door that it comes by, the tables of nodes
//! that it meets, and the backends that may answer it.
//!
//! It joins rows, classes of nodes and what a check may look at, so it is asked by checks and by what shows paths.

mod backends;
mod balancer;
mod doors;
mod law;

pub use backends::{PortBackends, backends, backends_by_port};
pub use balancer::{balancer_idle, balancer_listener, balancer_targets};
pub use doors::{EntryClass, Meets, Member, NodeTable, members, met, node_tables};
pub use law::{BackendPlace, KeptBy, PlaceRule, ShareLaw, follows_hints, law};

#[cfg(test)]
mod tests;
