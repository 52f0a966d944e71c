//! The only hands of the operator: it writes statuses of policies, and Events about their transitions.
//!
//! The loop judges and puts orders into the [`Outbox`]; the [`Sender`] sends them, a few at a time, one per policy, and
//! only with a permit of the current claim. What a failure means is decided in one place ([`answer`]); nothing else
//! repeats a request.

pub mod answer;
mod fair_queue;
mod outbox;
mod rate_limiter;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{Method, Request};
use kube::client::Body;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::api::{self, PolicyRef};
use crate::lease::{Claim, Permit};
use crate::link::Link;
use crate::rights::{Place, Right};
use crate::status::{Order, Status, events};
use answer::{Answer, Failed};

pub use fair_queue::FairQueue;
pub use outbox::{Outbox, Queued};

/// The field manager of everything that evenkeel applies.
pub const FIELD_MANAGER: &str = "evenkeel";

/// What writing needs: our own words, nothing else.
pub const RIGHTS: &[Right] = &[
    Right {
        group: api::GROUP,
        resource: "traffichealthpolicies/status",
        verbs: &["patch"],
        place: Place::Cluster,
        why: "tells teams how their policies stand",
    },
    Right {
        group: api::GROUP,
        resource: "clustertraffichealthpolicies/status",
        verbs: &["patch"],
        place: Place::Cluster,
        why: "tells the platform how its policy stands",
    },
    Right {
        group: "",
        resource: "events",
        verbs: &["create"],
        place: Place::Cluster,
        why: "tells what has turned, beside the policy it is about",
    },
];

/// Requests under way at a time: enough to hide a round trip, few enough to be no load.
const PARALLEL: usize = 8;

/// What became of an order.
#[derive(Debug)]
pub struct Reply {
    /// The policy.
    pub target: PolicyRef,
    /// How it ended, or that it did not yet.
    pub fate: Fate,
    /// What to count it as.
    pub outcome: &'static str,
    /// From the line that caused it to the request's leaving.
    pub reaction: Duration,
}

/// How an order ended.
#[derive(Debug)]
pub enum Fate {
    /// The status is in force.
    Told(Status),
    /// Nothing was written, and the next look decides anew.
    Dropped,
    /// A passing failure: it stays in the outbox, unless a newer one has come.
    Kept,
}

/// Sends what the outbox holds.
#[derive(Debug)]
pub struct Sender {
    /// The way to the API server.
    pub link: Arc<Link>,
    /// What to send.
    pub outbox: Arc<Outbox>,
    /// Leave to send.
    pub claim: watch::Receiver<Option<Claim>>,
    /// Where answers go.
    pub replies: mpsc::Sender<Reply>,
    /// Where Events say they come from: the Pod's name.
    pub instance: String,
}

impl Sender {
    /// Writes until `stop` becomes true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut underway = FuturesUnordered::new();
        let mut pause: Option<Instant> = None;
        while !*stop.borrow() {
            let now = Instant::now();
            let open = pause.is_none_or(|until| until <= now);
            while open && underway.len() < PARALLEL {
                let Some(permit) = self.permit(now) else { break };
                let Some((target, queued)) = self.outbox.take(now) else {
                    break;
                };
                underway.push(send(
                    self.link.clone(),
                    self.instance.clone(),
                    target,
                    queued,
                    permit,
                ));
            }
            let wake = if open { self.outbox.opens_at(now) } else { pause };
            tokio::select! {
                Some(sent) = underway.next(), if !underway.is_empty() => {
                    if let Some(until) = self.settle(sent).await {
                        pause = Some(until);
                    }
                }
                () = self.outbox.news() => {}
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
                changed = self.claim.changed() => if changed.is_err() { break },
                _ = stop.changed() => break,
            }
        }
    }

    fn permit(&self, now: Instant) -> Option<Permit> {
        self.claim.borrow().and_then(|claim| claim.permit(now))
    }

    /// Takes an answer in; returns until when to send nothing.
    async fn settle(&mut self, sent: Sent) -> Option<Instant> {
        let Sent {
            target,
            queued,
            answer,
            reaction,
        } = sent;
        let mut until = None;
        let mut again = None;
        let (fate, outcome) = match answer {
            Answer::Written(status) => (Fate::Told(status), "written"),
            Answer::Gone => (Fate::Dropped, "gone"),
            Answer::Replaced => (Fate::Dropped, "replaced"),
            Answer::Failed(Failed { why, pause, outcome }) => {
                tracing::warn!(policy = %target, error = why, outcome, "cannot write a status");
                until = Some(Instant::now() + pause);
                // A standby's orders are void: kept, they would be the first to leave when it leads again.
                if self.claim.borrow().is_some() {
                    again = Some(queued);
                    (Fate::Kept, outcome)
                } else {
                    (Fate::Dropped, outcome)
                }
            }
            Answer::Refused(why) => {
                tracing::error!(policy = %target, error = why, "the API server refuses a status");
                (Fate::Dropped, "refused")
            }
        };
        self.outbox.done(&target, again);
        let reply = Reply {
            target,
            fate,
            outcome,
            reaction,
        };
        // A loop that has ended counts nothing any more.
        let _ = self.replies.send(reply).await;
        until
    }
}

/// A request that has ended.
struct Sent {
    target: PolicyRef,
    queued: Queued,
    answer: Answer,
    reaction: Duration,
}

/// Writes one status and, when it stands, the Events of its transitions.
async fn send(link: Arc<Link>, instance: String, target: PolicyRef, queued: Queued, permit: Permit) -> Sent {
    let reaction = Instant::now().saturating_duration_since(queued.received);
    let order = &queued.order;
    let mut answer = attempt(&link, &target, order, &order.status, permit).await;
    if let Answer::Refused(why) = &answer
        && answer::is_schema(why)
    {
        // An older definition does not know all our fields: say at least that.
        let status = Status::too_old(why, order.generation, jiff::Timestamp::now(), &order.before);
        answer = attempt(&link, &target, order, &status, permit).await;
    }
    if let Answer::Written(status) = &answer {
        for event in events(&target, order, status, &instance) {
            let made = answer::within(permit, &link, event).await;
            if let Err(Failed { why, .. }) = made {
                // The status tells the same: an Event is a courtesy.
                tracing::debug!(policy = %target, error = why, "cannot write an Event");
            }
        }
    }
    Sent {
        target,
        queued,
        answer,
        reaction,
    }
}

/// Applies one status.
async fn attempt(link: &Link, target: &PolicyRef, order: &Order, status: &Status, permit: Permit) -> Answer {
    match request(target, order, status) {
        Ok(request) => {
            let answer = match answer::within(permit, link, request).await {
                Ok(response) => Ok(answer::read(response).await),
                Err(failed) => Err(failed),
            };
            answer::of(answer, status)
        }
        Err(error) => Answer::Refused(error),
    }
}

/// Server-side apply of a status: the uid makes it fail for another policy of the same name.
fn request(target: &PolicyRef, order: &Order, status: &Status) -> Result<Request<Body>, String> {
    let (plural, kind) = if target.is_cluster() {
        (
            "clustertraffichealthpolicies".to_owned(),
            "ClusterTrafficHealthPolicy",
        )
    } else {
        (
            format!("namespaces/{}/traffichealthpolicies", target.namespace),
            "TrafficHealthPolicy",
        )
    };
    let status = if target.is_cluster() {
        serde_json::to_value(status.clone().cluster())
    } else {
        serde_json::to_value(status)
    }
    .map_err(|error| error.to_string())?;
    let mut metadata = serde_json::json!({ "name": &*target.name, "uid": &*order.uid });
    if !target.is_cluster() {
        metadata["namespace"] = (&*target.namespace).into();
    }
    let body = serde_json::json!({
        "apiVersion": format!("{}/{}", api::GROUP, api::VERSION),
        "kind": kind,
        "metadata": metadata,
        "status": status,
    });
    let path = format!(
        "/apis/{}/{}/{plural}/{}/status?fieldManager={FIELD_MANAGER}&force=true",
        api::GROUP,
        api::VERSION,
        target.name
    );
    Request::builder()
        .method(Method::PATCH)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml")
        .header(http::header::ACCEPT, "application/json")
        .body(Body::from(body.to_string().into_bytes()))
        .map_err(|error| error.to_string())
}
