//! One pump: keeps one target known.
//!
//! It lists once (as a stream where the server can, else in pages), then watches on from the version it has, over and
//! over: at rest it never lists. How well it knows its target is its [`Claim`]. After a break the first watch is short,
//! because the server sends a bookmark two seconds before a watch ends, and only that proves that nothing is missing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::know::Source;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use super::claim::TargetClaim;
use super::line::{self, WatchLine};
use super::outlet::{Closed, What};
use super::pace::{GARBLED_APART, HEADERS, LISTING, LISTS_APART, LONG, PROBE, Pace, SLOWLY, TOO_SHORT};
use super::repeat::NodeStates;
use super::server::{Lines, WatchServer, refuses_streams};
use super::target::Target;
use crate::client::RequestError;
use crate::live::{PAGE, fewer};
use crate::resources::{SYSTEM, escape};

/// What comes next.
#[derive(Debug)]
pub(super) enum PumpState<L> {
    /// Read everything.
    Start,
    /// A list comes as a stream.
    Filling(L),
    /// A list comes in pages: the token of the next.
    Paging(String),
    /// Everything is known up to a version: watch on.
    Known,
    /// A watch is open, since when and with which limit.
    Watching(L, Instant, Duration),
    /// Wait, then go on.
    Waiting(Instant, Box<Self>),
}

/// Whether the server serves the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Unknown,
    Served,
    /// It was served, and has been answered by a 404 once.
    Doubtful,
    Absent,
}

pub(super) type PumpStep<S> = Result<PumpState<<S as WatchServer>::Lines>, Closed>;

/// Pages read at the same time, of all targets: each may be some megabytes.
const PAGES: usize = 2;

/// Watches of tenants' Pods that are opened at the same time: a thousand TLS handshakes at once would all be late. Those of
/// whole sources and of the platform do not wait for them.
const OPENINGS: usize = 16;

/// What pumps share: how many do something at the same time, and which of them have to notice a silence sooner.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    pages: Arc<Semaphore>,
    openings: Arc<Semaphore>,
    /// Namespaces in which critical findings rest on Pods.
    urgent: watch::Receiver<BTreeSet<Arc<str>>>,
}

impl Turns {
    /// All are free; this says where critical findings rest on Pods.
    pub(super) fn new(urgent: watch::Receiver<BTreeSet<Arc<str>>>) -> Self {
        Self {
            urgent,
            ..Self::default()
        }
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            pages: Arc::new(Semaphore::new(PAGES)),
            openings: Arc::new(Semaphore::new(OPENINGS)),
            urgent: watch::channel(BTreeSet::new()).1,
        }
    }
}

/// Keeps one target known.
pub(super) struct Pump<S: WatchServer> {
    pub(super) target: Target,
    pub(super) server: Arc<S>,
    turns: Turns,
    pub(super) claim: TargetClaim,
    pub(super) pace: Pace,
    /// What its objects were last, where they repeat the same.
    pub(super) repeats: Option<NodeStates>,
    /// Up to which everything is known; empty before the first list, and after one that no longer counts.
    pub(super) version: String,
    /// When that was claimed.
    pub(super) said_at: Instant,
    /// Which of the target's paths is tried.
    pub(super) path: usize,
    /// Whether the server streams lists, as far as known.
    pub(super) streams: bool,
    pub(super) failed_lists: u32,
    /// Objects in a page: fewer where they are large.
    page_objects: usize,
    /// Whether the last answer was that a right is missing.
    pub(super) refused: bool,
    /// How long to leave alone what a right is missing for.
    pub(super) refused_for: Duration,
    pub(super) presence: Presence,
    /// How long to leave a kind alone that is not served.
    pub(super) absent_for: Duration,
    pub(super) garbled: bool,
    /// When the last two lists were begun.
    pub(super) listed_at: [Option<Instant>; 2],
    watches: u64,
}

impl<S: WatchServer> Pump<S> {
    pub(super) fn new(target: Target, server: Arc<S>, turns: Turns, claim: TargetClaim) -> Self {
        Self {
            repeats: (target.source == Source::Nodes).then(NodeStates::default),
            target,
            server,
            turns,
            claim,
            pace: Pace::default(),
            version: String::new(),
            said_at: Instant::now(),
            path: 0,
            streams: true,
            failed_lists: 0,
            page_objects: PAGE,
            refused: false,
            refused_for: SLOWLY,
            presence: Presence::Unknown,
            absent_for: SLOWLY,
            garbled: false,
            listed_at: [None; 2],
            watches: 0,
        }
    }

    /// Works until the receiver is gone, from a moment on.
    pub(super) async fn run(mut self, begin: Instant) {
        let mut state = if begin > Instant::now() {
            PumpState::Waiting(begin, Box::new(PumpState::Start))
        } else {
            PumpState::Start
        };
        while let Ok(next) = self.step(state).await {
            state = next;
        }
    }

    /// One step: a request, a line, or a wait.
    async fn step(&mut self, state: PumpState<S::Lines>) -> PumpStep<S> {
        match state {
            PumpState::Start => self.start().await,
            PumpState::Filling(lines) => self.fill(lines).await,
            PumpState::Paging(token) => self.page(token).await,
            PumpState::Known => self.watch().await,
            PumpState::Watching(lines, since, limit) => self.follow(lines, since, limit).await,
            PumpState::Waiting(until, then) => {
                self.claim.attend(until, sleep_until(until)).await?;
                Ok(*then)
            }
        }
    }

    async fn start(&mut self) -> PumpStep<S> {
        let now = Instant::now();
        self.version.clear();
        // Read anew at once when history has expired, but not over and over.
        if let Some(soonest) = self.listed_at[0]
            .map(|at| at + 2 * LISTS_APART)
            .filter(|at| *at > now)
        {
            return Ok(PumpState::Waiting(soonest, Box::new(PumpState::Start)));
        }
        // A server that began streams and did not end them is asked for pages, then for a stream again.
        if !self.streams || self.failed_lists % 4 >= 2 {
            return self.begin(PumpState::Paging(String::new())).await;
        }
        let passing = self.target.passing();
        let uri = self.uri(&format!(
            "watch=true&{}&allowWatchBookmarks=true&timeoutSeconds={}",
            from(!passing),
            LONG.as_secs()
        ));
        match self.open(uri).await? {
            Some(Ok(lines)) if passing => {
                self.claim.skip().await?;
                let state = self
                    .begin(PumpState::Watching(lines, Instant::now(), LONG))
                    .await?;
                self.synced(String::new()).await?;
                Ok(state)
            }
            Some(Ok(lines)) => self.begin(PumpState::Filling(lines)).await,
            Some(Err(error)) if refuses_streams(&error) => {
                tracing::debug!(target = self.target.show(), %error, "lists come in pages");
                self.streams = false;
                Ok(PumpState::Start)
            }
            Some(Err(error)) => self.fail(error, PumpState::Start).await,
            None => self.fail(late("headers", HEADERS), PumpState::Start).await,
        }
    }

    /// Opens a watch; nothing when its headers do not come in time.
    async fn open(&mut self, uri: String) -> Result<Option<Result<S::Lines, RequestError>>, Closed> {
        let (server, openings) = (self.server.clone(), self.turns.openings.clone());
        let _turn = if self.target.source != Source::Pods || self.target.namespace == SYSTEM {
            None
        } else {
            // Without a limit of its own: each turn is given back in time.
            let far = Instant::now() + LONG;
            self.claim.attend(far, openings.acquire_owned()).await?
        };
        self.claim
            .attend(Instant::now() + HEADERS, server.watch(uri))
            .await
    }

    async fn begin(&mut self, state: PumpState<S::Lines>) -> PumpStep<S> {
        self.listed_at = [self.listed_at[1], Some(Instant::now())];
        self.page_objects = PAGE;
        self.garbled = false;
        self.forget();
        self.claim.begin().await?;
        Ok(state)
    }

    async fn fill(&mut self, mut lines: S::Lines) -> PumpStep<S> {
        let error = match self.claim.attend(Instant::now() + LISTING, lines.next()).await? {
            Some(Ok(Some(bytes))) => {
                self.claim.listed();
                match self.read(&bytes) {
                    WatchLine::Bookmark(version, true) => {
                        self.synced(version).await?;
                        // A long watch goes on in the same stream; a short one needs its own time limit.
                        return Ok(if self.limit() < LONG {
                            PumpState::Known
                        } else {
                            PumpState::Watching(lines, Instant::now(), LONG)
                        });
                    }
                    // The objects of a first list come in the order of their names: their versions say nothing.
                    said => match self.take(bytes, said).await? {
                        Ok(_) => return Ok(PumpState::Filling(lines)),
                        Err(error) => error,
                    },
                }
            }
            Some(Ok(None)) => RequestError::Broken("the first list ended before it was complete".into()),
            Some(Err(error)) => error,
            None => late("a line of the first list", LISTING),
        };
        self.failed_lists += 1;
        self.fail(error, PumpState::Start).await
    }

    async fn page(&mut self, token: String) -> PumpStep<S> {
        let passing = self.target.passing();
        let uri = if passing {
            // One object, whichever, comes with the version of the whole list.
            self.path().to_owned() + "?limit=1"
        } else if token.is_empty() {
            self.uri(&format!("limit={}", self.page_objects))
        } else {
            self.uri(&format!(
                "limit={}&continue={}",
                self.page_objects,
                escape(&token)
            ))
        };
        let (server, pages) = (self.server.clone(), self.turns.pages.clone());
        let limit = Instant::now() + LISTING;
        let error = {
            // Pages are large: few at a time over all pumps.
            let Some(Ok(_turn)) = self.claim.attend(limit, pages.acquire()).await? else {
                return Ok(PumpState::Paging(token));
            };
            let limit = Instant::now() + LISTING;
            match self.claim.attend(limit, server.page(uri)).await? {
                Some(Ok(body)) => match line::page(&body) {
                    Ok(page) => {
                        self.claim.listed();
                        self.claim.send(What::Page(body, page.items)).await?;
                        if !page.next.is_empty() && !passing {
                            return Ok(PumpState::Paging(page.next));
                        }
                        self.synced(page.version).await?;
                        return Ok(PumpState::Known);
                    }
                    Err(why) => RequestError::Broken(why),
                },
                Some(Err(RequestError::TooLong(_))) if fewer(self.page_objects).is_some() => {
                    self.page_objects = fewer(self.page_objects).unwrap_or(1);
                    return Ok(PumpState::Paging(token));
                }
                Some(Err(error)) => error,
                None => late("a page", LISTING),
            }
        };
        self.failed_lists += 1;
        self.fail(error, PumpState::Start).await
    }

    async fn synced(&mut self, version: String) -> Result<(), Closed> {
        self.failed_lists = 0;
        self.refused = false;
        self.refused_for = SLOWLY;
        self.presence = Presence::Served;
        self.absent_for = SLOWLY;
        self.pace.reset();
        self.say(version);
        self.claim.synced(&self.version, self.limit()).await
    }

    /// The server time limit of a watch in good times.
    fn limit(&self) -> Duration {
        self.target.limit(&self.turns.urgent.borrow())
    }

    async fn watch(&mut self) -> PumpStep<S> {
        let limit = if self.claim.is_proven() {
            self.limit()
        } else {
            PROBE
        };
        // Passing objects come without bookmarks: without a new one a version is soon older than what the server holds.
        let old = self.version.is_empty() || self.said_at.elapsed() >= LONG;
        let anew = self.target.passing() && old;
        let since = if anew {
            self.claim.skip().await?;
            if !self.streams {
                return Ok(PumpState::Start);
            }
            from(false)
        } else {
            format!("resourceVersion={}", self.version)
        };
        let uri = self.uri(&format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={}&{since}",
            limit.as_secs()
        ));
        let restarts = self.watches;
        self.claim.seen.note(|seen| seen.restarts = restarts);
        self.watches += 1;
        match self.open(uri).await? {
            Some(Ok(lines)) => Ok(PumpState::Watching(lines, Instant::now(), limit)),
            Some(Err(error)) if anew && refuses_streams(&error) => {
                self.streams = false;
                Ok(PumpState::Start)
            }
            Some(Err(error)) => self.fail(error, PumpState::Known).await,
            None => self.fail(late("headers", HEADERS), PumpState::Known).await,
        }
    }

    async fn follow(&mut self, mut lines: S::Lines, since: Instant, limit: Duration) -> PumpStep<S> {
        if self.limit() < limit && self.claim.is_proven() {
            // Its silence has to be noticed sooner than when it was opened. A line or a bookmark brought us here, so
            // that is within a minute.
            return Ok(PumpState::Known);
        }
        let silence = self.claim.patience(limit);
        let error = match self.claim.attend(Instant::now() + silence, lines.next()).await? {
            Some(Ok(Some(bytes))) => {
                self.claim.line(limit);
                let said = self.read(&bytes);
                let proves = matches!(said, WatchLine::Bookmark(..));
                match self
                    .take(bytes, said)
                    .await?
                    .and_then(|version| self.advance(version))
                {
                    Ok(()) => {
                        if proves {
                            self.proof().await?;
                        }
                        return Ok(PumpState::Watching(lines, since, limit));
                    }
                    Err(error) => error,
                }
            }
            Some(Ok(None)) if since.elapsed() < TOO_SHORT => {
                RequestError::Broken(format!("a watch ended after {} ms", since.elapsed().as_millis()))
            }
            Some(Ok(None)) => {
                self.proof().await?;
                let old = self.listed_at[1].is_none_or(|at| at.elapsed() >= GARBLED_APART);
                return Ok(if self.garbled && old {
                    PumpState::Start
                } else {
                    PumpState::Known
                });
            }
            Some(Err(error)) => error,
            None => late("a line", silence),
        };
        self.fail(error, PumpState::Known).await
    }

    async fn proof(&mut self) -> Result<(), Closed> {
        self.refused = false;
        self.refused_for = SLOWLY;
        self.pace.reset();
        self.claim.proof(&self.version, self.limit()).await
    }

    fn path(&self) -> &str {
        self.target.paths.get(self.path).map_or("", String::as_str)
    }

    fn uri(&self, query: &str) -> String {
        format!("{}?{query}{}", self.path(), self.target.selection())
    }
}

/// Where a stream begins that needs no version: with everything there is, or only with what comes.
fn from(everything: bool) -> String {
    format!("sendInitialEvents={everything}&resourceVersionMatch=NotOlderThan")
}

fn late(what: &str, limit: Duration) -> RequestError {
    RequestError::Broken(format!("no answer: {what} took more than {} s", limit.as_secs()))
}
