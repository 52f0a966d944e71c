//! Requests under way, and what follows from their replies.
//!
//! A policy has one request under way at a time: its status, and when that is in force the Events of what has turned, one
//! after the other.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_core::know::Now;

use super::event::{Effects, Outgoing, ReceivedAt};
use super::{Operator, time};
use crate::api::PolicyRef;
use crate::lease::Permit;
use crate::send::{Reply, Request};
use crate::status::{Patch, events};

/// A request whose reply has not come.
#[derive(Debug)]
pub(super) struct UnderWay {
    policy: PolicyRef,
    cause: ReceivedAt,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The status.
    Status(Patch),
    /// That the definition in the cluster is too old for the status.
    TooOld(Patch),
    /// An Event; and what follows it.
    Event(Request, VecDeque<Request>),
    /// An Event of a Node: it is no policy's turn, and nothing waits for it.
    NodeEvent(Request),
}

impl UnderWay {
    /// A status of a policy.
    pub(super) const fn status(policy: PolicyRef, cause: ReceivedAt, patch: Patch) -> Self {
        let stage = Stage::Status(patch);
        Self { policy, cause, stage }
    }

    /// An Event of a Node.
    pub(super) const fn node_event(policy: PolicyRef, cause: ReceivedAt, event: Request) -> Self {
        let stage = Stage::NodeEvent(event);
        Self { policy, cause, stage }
    }
}

impl Operator {
    /// Sends what is to be under way.
    pub(super) fn send(&mut self, permit: Permit, under_way: UnderWay, effects: &mut Effects) {
        let request = match &under_way.stage {
            Stage::Status(patch) | Stage::TooOld(patch) => patch.request(),
            Stage::Event(request, _) | Stage::NodeEvent(request) => request.clone(),
        };
        self.last_request += 1;
        effects.send.push(Outgoing {
            id: self.last_request,
            permit,
            request,
            cause: under_way.cause,
        });
        self.under_way.insert(self.last_request, under_way);
    }

    /// Takes in a reply.
    pub(super) fn replied(
        &mut self,
        now: Now,
        id: u64,
        reply: &Reply,
        reaction: Duration,
        effects: &mut Effects,
    ) {
        let Some(UnderWay { policy, cause, stage }) = self.under_way.remove(&id) else {
            return;
        };
        let follows = match stage {
            Stage::NodeEvent(_) => {
                if !matches!(reply, Reply::Ok(_)) {
                    // The record and the log say the same.
                    tracing::debug!(?reply, "cannot create an Event of a Node");
                }
                return;
            }
            Stage::Event(_, rest) => {
                if !matches!(reply, Reply::Ok(_)) {
                    // The status says the same: an Event is a courtesy.
                    tracing::debug!(%policy, ?reply, "cannot create an Event");
                }
                next_event(rest)
            }
            Stage::Status(patch) if reply.refuses_schema() => {
                let Reply::Refused(refusal) = reply else { return };
                Some(Stage::TooOld(patch.too_old(&refusal.message, time(now))))
            }
            Stage::Status(patch) | Stage::TooOld(patch) => {
                effects.written = Some((reply.outcome(), reaction));
                self.settle(now, &policy, cause, &patch, reply)
            }
        };
        match (follows, self.permit(now)) {
            (Some(stage), Some(permit)) => {
                let under_way = UnderWay { policy, cause, stage };
                self.send(permit, under_way, effects);
            }
            (follows, _) => {
                if let Some(Stage::TooOld(_)) = follows {
                    self.look_at.put(policy.clone(), cause);
                }
                self.gate.leave(&policy);
            }
        }
    }

    /// Takes in what became of a status; returns what follows at once.
    fn settle(
        &mut self,
        now: Now,
        policy: &PolicyRef,
        cause: ReceivedAt,
        patch: &Patch,
        reply: &Reply,
    ) -> Option<Stage> {
        match reply {
            Reply::Ok(version) => {
                if self.statuses.wrote(patch, version) {
                    return next_event(events(policy, patch, &self.instance).into());
                }
            }
            Reply::Gone => {}
            Reply::Conflict => {
                if self.statuses.has_moved_on(patch) {
                    self.look_at.put(policy.clone(), cause);
                }
            }
            Reply::Refused(_) | Reply::Lost(_) => {
                let outcome = reply.outcome();
                if let Some(pause) = reply.pause() {
                    tracing::warn!(%policy, %reply, outcome, "cannot write a status");
                    self.gate.pause(now.mono, pause);
                    self.look_at.put(policy.clone(), cause);
                } else {
                    tracing::error!(%policy, %reply, "the API server refuses a status");
                }
            }
        }
        None
    }
}

fn next_event(mut rest: VecDeque<Request>) -> Option<Stage> {
    let first = rest.pop_front()?;
    Some(Stage::Event(first, rest))
}
