//! The only way out: everything that evenkeel changes is a [`Request`] that the [`Sender`] sends.
//!
//! A request leaves with a [`Permit`] of the current claim to the Lease, and its whole exchange, the body of the answer
//! included, ends within it. What may leave now is decided without IO: [`FairQueue`] says who is next, [`Gate`] how many
//! and how often. What an answer means is decided in one place ([`Reply`]); nothing else repeats a request.

mod fair_queue;
mod gate;
mod rate_limiter;
mod reply;
mod request;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::api::GROUP;
use crate::client::{Link, Refusal, RequestError, exchange};
use crate::clock::Clock;
use crate::lease::Permit;
use crate::rights::{Right, RightScope};

pub use fair_queue::FairQueue;
pub use gate::Gate;
pub use reply::Reply;
pub use request::{FIELD_MANAGER, Precondition, Request};

/// What sending needs: statuses of our own kinds and Events, nothing else.
pub const RIGHTS: &[Right] = &[
    Right {
        group: GROUP,
        resource: "traffichealthpolicies/status",
        verbs: &["patch"],
        scope: RightScope::Cluster,
        why: "writes the state of teams' policies",
    },
    Right {
        group: GROUP,
        resource: "clustertraffichealthpolicies/status",
        verbs: &["patch"],
        scope: RightScope::Cluster,
        why: "writes the state of the platform's policy",
    },
    Right {
        group: "",
        resource: "events",
        verbs: &["create"],
        scope: RightScope::Cluster,
        why: "records transitions beside the policy or the Node that they are about",
    },
];

/// Sends requests.
#[derive(Debug, Clone)]
pub struct Sender {
    link: Arc<Link>,
    clock: Clock,
}

impl Sender {
    /// A sender over this link; permits are checked by this clock.
    pub const fn new(link: Arc<Link>, clock: Clock) -> Self {
        Self { link, clock }
    }

    /// Sends a request and waits for the end of its answer, at the latest when the permit ends.
    pub async fn send(&self, permit: Permit, request: &Request) -> Reply {
        let now = self.clock.now().mono;
        if permit.by() <= now {
            // The machine stood still since the permit was given: nothing has left.
            return Reply::Lost(RequestError::Broken(
                "the permit ended before the request left".into(),
            ));
        }
        let http = match request.http() {
            Ok(http) => http,
            Err(why) => {
                return Reply::Refused(Refusal {
                    code: 400,
                    message: format!("not sent: {why}"),
                    after: None,
                });
            }
        };
        let answer = exchange(&self.link, http, self.clock.instant(permit.by())).await;
        Reply::of(answer.as_deref().map_err(Clone::clone))
    }
}
