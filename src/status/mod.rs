//! What the statuses of policies say, and when they must be written again.
//!
//! [`PolicyStatus`] is made from a [`evenkeel_core::standing::Standing`]; [`Statuses`] knows what each policy's status says
//! now, so that nothing is written that is already so; [`events`] are the Events of its transitions, and [`NodeEvent`] is what a
//! remedy did to a Node.

mod build;
mod event;
mod known;
mod node_event;

pub use build::{PolicyStatus, Times};
#[cfg(test)]
pub(crate) use event::event;
pub use event::events;
pub use known::{Patch, Statuses};
pub use node_event::NodeEvent;
