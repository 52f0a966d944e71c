//! Events and effects of the operator's step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::drive;
use evenkeel_core::history::PodQuery;
use evenkeel_core::know::{Mono, Now};

use crate::lease::{Claim, Permit};
use crate::lookup;
use crate::samples::{OwnedPage, SampleWantsByScope};
use crate::send::{Reply, Request};
use crate::watch::{self, TargetChange};

/// When a change was received, as time since the process began: from here to the request is our own part of a reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReceivedAt(pub Duration);

impl ReceivedAt {
    /// The present moment.
    pub(super) const fn of(now: Now) -> Self {
        Self(Duration::from_millis(now.mono.0))
    }
}

/// An event of a watch.
#[derive(Debug)]
pub struct Watched {
    /// When it was received.
    pub cause: ReceivedAt,
    /// What it is.
    pub event: watch::WatchEvent,
}

/// A request of a remedy that must be sent now. There is one at a time.
#[derive(Debug)]
pub struct RemedyRequest {
    /// The number under which its reply must come back.
    pub id: u64,
    /// Leave to send it.
    pub permit: Permit,
    /// The request.
    pub request: drive::Request,
}

/// Something that has happened.
#[derive(Debug)]
pub enum Event {
    /// Watches have brought this, in this order.
    Watched(Vec<Watched>),
    /// The claim to the Lease has changed.
    Claim(Option<Claim>),
    /// A request has ended.
    Reply {
        /// As in [`Outgoing::id`].
        id: u64,
        /// What became of it.
        reply: Reply,
        /// From its cause to its leaving.
        reaction: Duration,
    },
    /// A request of a remedy has ended.
    RemedyReply {
        /// As in [`RemedyRequest::id`].
        id: u64,
        /// What became of it.
        reply: drive::Reply,
    },
    /// A feeder has measured something, or could not.
    Measured(OwnedPage),
    /// A Pod was read, as [`Effects::lookups`] said.
    Lookup(PodQuery, lookup::LookupResult),
    /// Nothing: the moment that [`Effects::next`] named has come.
    Tick,
    /// No more requests: the process ends when the replies of those under way have come.
    Stop,
}

/// A request that must be sent now.
#[derive(Debug)]
pub struct Outgoing {
    /// The number under which its reply must come back.
    pub id: u64,
    /// Leave to send it.
    pub permit: Permit,
    /// The request.
    pub request: Request,
    /// Its cause.
    pub cause: ReceivedAt,
}

/// When to step next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Next {
    /// When something happens.
    #[default]
    Never,
    /// At this moment, unless something happens before.
    At(Mono),
    /// At once, after others had their turn: there is more to do.
    Now,
}

/// What to do after a step.
#[derive(Debug, Default)]
pub struct Effects {
    /// Requests to send.
    pub send: Vec<Outgoing>,
    /// The next request of a remedy, if there is one; answered by [`Event::RemedyReply`].
    pub remedy: Option<RemedyRequest>,
    /// What became of remedies, each in one word.
    pub remedied: Vec<&'static str>,
    /// Single Pods to read; each is answered by [`Event::Lookup`].
    pub lookups: Vec<PodQuery>,
    /// What feeders are to measure from now on, where that has changed.
    pub measure: Option<SampleWantsByScope>,
    /// Watches to start and to stop.
    pub watches: TargetChange,
    /// Namespaces in which critical findings rest on Pods, where those have changed.
    pub urgent: Option<BTreeSet<Arc<str>>>,
    /// What to declare beside the Lease, where that has changed.
    pub state: Option<String>,
    /// Whether verdicts or leadership have changed: what alerts rest on.
    pub turned: bool,
    /// Whether anything was judged.
    pub judged: bool,
    /// What became of a status: how it is counted, and our own part of the reaction.
    pub written: Option<(&'static str, Duration)>,
    /// When to step next.
    pub next: Next,
}
