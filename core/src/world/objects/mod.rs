//! Objects and policies of which every test and bench of the core makes its clusters.
//!
//! Programs beside the crate hold this folder as a module of their own (`#[path]`), so it names the crate from outside.

mod policies;
mod system;
mod teams;

pub(crate) use policies::{NEVER, app, balanced, client, connection, cordon, every, l4, l7, policy, rated};
pub(crate) use system::{dns, dns_pod, manager, proxy, proxy_config, proxy_pod, static_proxy};
pub(crate) use teams::{
    evicted, evicted_pod, node, node_ready, pod, preempted, preempted_pod, service, slice, slice_in,
    slice_of, slice_part,
};
