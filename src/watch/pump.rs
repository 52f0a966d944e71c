//! One pump: keeps one target known, and says honestly how well.
//!
//! It lists once (as a stream where the server can, else in pages), then watches on from the version it has, over and
//! over: at rest it never lists. What it claims rests on *proof*, not on the absence of errors: a bookmark or a watch
//! that ended in order says that everything up to then has come. Without proof for [`PATIENCE`] the source is silent.
//! After any break, changes that were missed may still be on their way, so they prove nothing; the first watch is then
//! short, because the server sends a bookmark two seconds before a watch ends.

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::line::{self, Line};
use super::outlet::{Closed, Outlet, What};
use super::seen::Seen;
use super::server::{Fault, Lines, Server};
use super::target::{Id, Target};
use crate::live::PAGE;

/// Server time limit of watches that evidence rests on: a bookmark comes two seconds before its end
/// (`k8s.io/apiserver`, `storage/cacher/cache_watcher.go`), so that even a cluster at rest proves itself every 10 s.
const SHORT: Duration = Duration::from_secs(10);
/// Server time limit of other watches, and of first lists as streams: just below the 5 minutes that etcd keeps history.
const LONG: Duration = Duration::from_secs(290);
/// Server time limit of the first watch after a break: its bookmark comes within two seconds.
const PROBE: Duration = Duration::from_secs(3);
/// How long headers may take, connecting included.
const HEADERS: Duration = Duration::from_secs(5);
/// How long a source stays believed without proof where it has to be noticed within seconds, or has no connection:
/// [`SHORT`] and three seconds for a slow answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(13);
/// The same for a long watch whose server sends bookmarks, about one a minute.
const BOOKMARKS: Duration = Duration::from_secs(90);
/// The same for a long watch without bookmarks: only its end proves anything.
const NO_BOOKMARKS: Duration = Duration::from_secs(300);
/// How long a first list may be silent between lines, and a page may take.
const LISTING: Duration = Duration::from_secs(30);
/// How soon a kind that is not served, or a right that is missing, is asked for again.
const SLOWLY: Duration = Duration::from_secs(5);
/// First and longest delay after a failure; each is shortened by up to half, so that pumps do not move in step.
const DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Lists follow each other no faster than this, whatever the server says.
const LISTS_APART: Duration = Duration::from_secs(10);
/// The same where lines could not be understood, which a list may not mend.
const GARBLED_APART: Duration = Duration::from_secs(60);
/// A watch that ends sooner was not served properly.
const TOO_SHORT: Duration = Duration::from_secs(1);
/// The longest that a server's Retry-After is taken for its word.
const LONGEST_AFTER: Duration = Duration::from_secs(600);

/// What comes next.
#[derive(Debug)]
pub(super) enum State<L> {
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

/// What the loop has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    New,
    Current,
    Silent,
    Lost,
}

pub(super) struct Pump<S: Server> {
    id: Id,
    target: Target,
    server: Arc<S>,
    outlet: Outlet,
    /// Shared by all pumps: how many pages are read at a time.
    pages: Arc<Semaphore>,
    seen: Seen,
    standing: Standing,
    /// Whether nothing can have been missed since the last proof.
    proven: bool,
    /// When to fall silent.
    quiet_at: Instant,
    version: String,
    /// Which of the target's paths is tried.
    path: usize,
    /// Whether the server streams lists, as far as known.
    streams: bool,
    failed_fills: u32,
    bookmarks: bool,
    absent: bool,
    garbled: bool,
    delay: Duration,
    listed_at: Option<Instant>,
    opened: bool,
}

impl<S: Server> Pump<S> {
    pub(super) fn new(
        id: Id,
        target: Target,
        server: Arc<S>,
        outlet: Outlet,
        pages: Arc<Semaphore>,
        seen: Seen,
    ) -> Self {
        Self {
            id,
            target,
            server,
            outlet,
            pages,
            seen,
            standing: Standing::New,
            proven: false,
            quiet_at: Instant::now() + PATIENCE,
            version: String::new(),
            path: 0,
            streams: true,
            failed_fills: 0,
            bookmarks: false,
            absent: false,
            garbled: false,
            delay: DELAYS.0,
            listed_at: None,
            opened: false,
        }
    }

    /// Works until nobody listens.
    pub(super) async fn run(mut self) {
        let mut state = State::Start;
        while let Ok(next) = self.step(state).await {
            state = next;
        }
    }

    /// One step: a request, a line, or a wait.
    pub(super) async fn step(&mut self, state: State<S::Lines>) -> Result<State<S::Lines>, Closed> {
        match state {
            State::Start => self.start().await,
            State::Filling(lines) => self.fill(lines).await,
            State::Paging(token) => self.page(token).await,
            State::Known => self.watch().await,
            State::Watching(lines, since, limit) => self.follow(lines, since, limit).await,
            State::Waiting(until, then) => {
                let waited = self.attend(until + LISTING, sleep_until(until)).await?;
                debug_assert!(waited.is_some(), "the wait ends before its limit");
                Ok(*then)
            }
        }
    }

    async fn start(&mut self) -> Result<State<S::Lines>, Closed> {
        let now = Instant::now();
        if let Some(at) = self
            .listed_at
            .filter(|at| !self.absent && now < *at + LISTS_APART)
        {
            return Ok(State::Waiting(at + LISTS_APART, Box::new(State::Start)));
        }
        if !self.streams || self.failed_fills >= 2 {
            return self.begin(State::Paging(String::new())).await;
        }
        let uri = self.uri(&format!(
            "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds={}",
            LONG.as_secs()
        ));
        let server = self.server.clone();
        match self.attend(now + HEADERS, server.watch(uri)).await? {
            Some(Ok(lines)) => self.begin(State::Filling(lines)).await,
            Some(Err(Fault::Refused { code, message, .. }))
                if !matches!(code, 401 | 403 | 404 | 410 | 429) && code < 500 =>
            {
                // 422 where the feature is off, 400 where it is not known.
                tracing::debug!(target = %self.target.show(), code, message, "lists come in pages");
                self.streams = false;
                Ok(State::Start)
            }
            Some(Err(fault)) => {
                self.failed_fills += u32::from(is_broken(&fault));
                self.fail(fault, State::Start).await
            }
            None => {
                self.failed_fills += 1;
                self.fail(late("headers", HEADERS), State::Start).await
            }
        }
    }

    /// A list begins.
    async fn begin(&mut self, state: State<S::Lines>) -> Result<State<S::Lines>, Closed> {
        self.listed_at = Some(Instant::now());
        self.absent = false;
        self.garbled = false;
        self.seen.note(|seen| {
            seen.lists += 1;
            seen.state = "Filling";
        });
        self.send(What::Begin).await?;
        Ok(state)
    }

    async fn fill(&mut self, mut lines: S::Lines) -> Result<State<S::Lines>, Closed> {
        let fault = match self.attend(Instant::now() + LISTING, lines.next()).await? {
            Some(Ok(Some(bytes))) => {
                self.seen.line(Instant::now());
                match line::read(&bytes) {
                    Line::Bookmark(version, true) => {
                        self.version = version;
                        self.synced().await?;
                        // A long watch goes on in the same stream; a short one needs a short limit.
                        return Ok(if self.target.evidence {
                            State::Known
                        } else {
                            self.bookmarks = true;
                            State::Watching(lines, Instant::now(), LONG)
                        });
                    }
                    said => match self.take(bytes, said, false).await? {
                        None => return Ok(State::Filling(lines)),
                        Some(fault) => fault,
                    },
                }
            }
            Some(Ok(None)) => Fault::Broken("the first list ended before it was complete".into()),
            Some(Err(fault)) => fault,
            None => late("a line of the first list", LISTING),
        };
        self.failed_fills += 1;
        self.fail(fault, State::Start).await
    }

    async fn page(&mut self, token: String) -> Result<State<S::Lines>, Closed> {
        let mut query = format!("limit={PAGE}");
        if !token.is_empty() {
            query.push_str("&continue=");
            query.push_str(&crate::resources::escape(&token));
        }
        let uri = self.uri(&query);
        let (server, pages) = (self.server.clone(), self.pages.clone());
        // Pages are large: few at a time, whoever reads them.
        let turn = pages.acquire().await.map_err(|_| Closed)?;
        let body = self.attend(Instant::now() + LISTING, server.page(uri)).await?;
        let fault = match body {
            Some(Ok(body)) => match line::page(&body) {
                Ok(page) => {
                    self.seen.line(Instant::now());
                    self.send(What::Page(body, page.items)).await?;
                    if !page.next.is_empty() {
                        return Ok(State::Paging(page.next));
                    }
                    self.version = page.version;
                    self.synced().await?;
                    return Ok(State::Known);
                }
                Err(why) => Fault::Broken(why),
            },
            Some(Err(fault)) => fault,
            None => late("a page", LISTING),
        };
        drop(turn);
        self.failed_fills = self.failed_fills.saturating_add(1) % 4;
        self.fail(fault, State::Start).await
    }

    async fn synced(&mut self) -> Result<(), Closed> {
        self.failed_fills = 0;
        self.seen.note(|seen| {
            seen.state = "Watching";
            seen.last_error = None;
        });
        self.send(What::Synced).await?;
        self.standing = Standing::Current;
        self.prove();
        Ok(())
    }

    async fn watch(&mut self) -> Result<State<S::Lines>, Closed> {
        let limit = if !self.proven {
            PROBE
        } else if self.target.evidence {
            SHORT
        } else {
            LONG
        };
        let uri = self.uri(&format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
            limit.as_secs(),
            self.version
        ));
        if std::mem::replace(&mut self.opened, true) {
            self.seen.note(|seen| seen.restarts += 1);
        }
        let server = self.server.clone();
        match self.attend(Instant::now() + HEADERS, server.watch(uri)).await? {
            Some(Ok(lines)) => Ok(State::Watching(lines, Instant::now(), limit)),
            Some(Err(fault)) => self.fail(fault, State::Known).await,
            None => self.fail(late("headers", HEADERS), State::Known).await,
        }
    }

    async fn follow(
        &mut self,
        mut lines: S::Lines,
        since: Instant,
        limit: Duration,
    ) -> Result<State<S::Lines>, Closed> {
        let silence = self.patience(limit);
        let fault = match self.attend(Instant::now() + silence, lines.next()).await? {
            Some(Ok(Some(bytes))) => {
                self.seen.line(Instant::now());
                let said = line::read(&bytes);
                match self.take(bytes, said, true).await? {
                    None => {
                        if self.proven {
                            self.quiet_at = Instant::now() + self.patience(limit);
                        }
                        return Ok(State::Watching(lines, since, limit));
                    }
                    Some(fault) => fault,
                }
            }
            Some(Ok(None)) if since.elapsed() < TOO_SHORT => {
                Fault::Broken(format!("a watch ended after {} ms", since.elapsed().as_millis()))
            }
            Some(Ok(None)) => {
                self.proof().await?;
                let old = self.listed_at.is_none_or(|at| at.elapsed() >= GARBLED_APART);
                return Ok(if self.garbled && old {
                    State::Start
                } else {
                    State::Known
                });
            }
            Some(Err(fault)) => fault,
            None => late("a line", silence),
        };
        self.fail(fault, State::Known).await
    }

    /// Takes a line in; returns why the stream cannot go on, if so.
    async fn take(&mut self, bytes: Vec<u8>, said: Line, ordered: bool) -> Result<Option<Fault>, Closed> {
        let version = match said {
            Line::Object(at, version) => {
                self.send(What::Object(bytes, at)).await?;
                version
            }
            Line::Gone {
                namespace,
                name,
                version,
            } => {
                self.send(What::Gone(namespace, name)).await?;
                version
            }
            Line::Bookmark(version, _) => {
                if self.goes_back(&version) {
                    return Ok(Some(self.back(&version)));
                }
                self.bookmarks = true;
                self.version = version;
                if ordered {
                    self.proof().await?;
                }
                None
            }
            Line::Error { code, message, after } => {
                return Ok(Some(Fault::Refused { code, message, after }));
            }
            Line::Garbled(why) => {
                // The core lists it as an object that it does not understand, and doubts what may depend on it.
                self.garbled = true;
                self.seen
                    .note(|seen| seen.last_error = Some(format!("a line was not understood: {why}")));
                let all = 0..bytes.len();
                self.send(What::Object(bytes, all)).await?;
                None
            }
        };
        // The objects of a first list come in the order of their names.
        let Some(version) = version.filter(|_| ordered) else {
            return Ok(None);
        };
        if self.goes_back(&version) {
            return Ok(Some(self.back(&version)));
        }
        self.version = version;
        Ok(None)
    }

    /// Whether a version is older than what is known: a store restored from a backup, or a server that lags behind.
    fn goes_back(&self, version: &str) -> bool {
        match (version.parse::<u64>(), self.version.parse::<u64>()) {
            (Ok(new), Ok(old)) => new < old,
            _ => false,
        }
    }

    fn back(&self, version: &str) -> Fault {
        Fault::Refused {
            code: 410,
            message: format!("resourceVersion went back from {} to {version}", self.version),
            after: None,
        }
    }

    /// Nothing has been missed up to now.
    fn prove(&mut self) {
        self.proven = true;
        self.delay = DELAYS.0;
        let limit = if self.target.evidence { SHORT } else { LONG };
        self.quiet_at = Instant::now() + self.patience(limit);
        let version = self.version.as_str();
        self.seen.note(|seen| {
            version.clone_into(&mut seen.resource_version);
            seen.state = "Watching";
        });
    }

    async fn proof(&mut self) -> Result<(), Closed> {
        self.prove();
        if matches!(self.standing, Standing::Silent | Standing::Lost) {
            self.standing = Standing::Current;
            self.seen.note(|seen| seen.last_error = None);
            self.send(What::Alive).await?;
        }
        Ok(())
    }

    /// How long an open watch may be silent.
    fn patience(&self, limit: Duration) -> Duration {
        if limit < LONG {
            PATIENCE
        } else if self.bookmarks {
            BOOKMARKS
        } else {
            NO_BOOKMARKS
        }
    }

    /// What a failure means, and what to do next.
    async fn fail(&mut self, fault: Fault, back: State<S::Lines>) -> Result<State<S::Lines>, Closed> {
        let now = Instant::now();
        let (code, after) = match &fault {
            Fault::Refused { code, after, .. } => (*code, *after),
            Fault::Broken(_) => (0, None),
        };
        if code != 404 {
            let told = fault.to_string();
            tracing::debug!(target = %self.target.show(), error = told, "watch");
            self.seen.note(|seen| seen.last_error = Some(told));
        }
        self.proven = false;
        self.quiet_at = self.quiet_at.min(now + PATIENCE);
        match code {
            403 => return self.refused(&fault, back).await,
            404 => return self.missing().await,
            410 => {
                // What is known is no longer continued: read again, at once unless it has just been read.
                self.version.clear();
                return Ok(State::Start);
            }
            // Whoever answers with an error is alive: the same connection will do.
            0 | 401 => self.server.renew(),
            _ => {}
        }
        let wait = match after {
            Some(after) => after.min(LONGEST_AFTER) + self.jitter(after / 10),
            None => self.delay(),
        };
        self.note_waiting();
        Ok(State::Waiting(now + wait, Box::new(back)))
    }

    fn note_waiting(&self) {
        if matches!(self.standing, Standing::New | Standing::Current) {
            self.seen.note(|seen| seen.state = "Connecting");
        }
    }

    /// The right is missing.
    async fn refused(&mut self, fault: &Fault, back: State<S::Lines>) -> Result<State<S::Lines>, Closed> {
        let verb = if matches!(back, State::Start) && !self.streams {
            "list"
        } else {
            "watch"
        };
        let why = match fault {
            Fault::Refused { message, .. } => {
                format!("missing right: {verb} {} ({message})", self.target.resource)
            }
            Fault::Broken(why) => why.clone(),
        };
        if self.standing != Standing::Lost {
            self.standing = Standing::Lost;
            self.seen.note(|seen| seen.state = "Lost");
            self.send(What::Lost(why)).await?;
        }
        // What was never complete, or was begun anew, has to be read from the start.
        let back = if self.version.is_empty() {
            State::Start
        } else {
            back
        };
        Ok(State::Waiting(Instant::now() + SLOWLY, Box::new(back)))
    }

    /// The kind is not served: nothing of it can exist.
    async fn missing(&mut self) -> Result<State<S::Lines>, Closed> {
        self.version.clear();
        self.streams = true;
        self.path += 1;
        if self.path < self.target.paths.len() {
            return Ok(State::Start);
        }
        self.path = 0;
        if !self.absent || self.standing != Standing::Current {
            self.absent = true;
            self.send(What::Begin).await?;
            self.synced().await?;
        }
        self.proven = true;
        self.quiet_at = Instant::now() + PATIENCE;
        self.seen.note(|seen| seen.state = "Absent");
        let until = Instant::now() + SLOWLY;
        Ok(State::Waiting(until, Box::new(State::Start)))
    }

    /// The next delay after a failure.
    fn delay(&mut self) -> Duration {
        let delay = self.delay;
        self.delay = (delay * 2).min(DELAYS.1);
        delay - self.jitter(delay / 2)
    }

    /// Something between nothing and this.
    fn jitter(&self, most: Duration) -> Duration {
        let random = RandomState::new().hash_one(self.id.0) % 1000;
        most * random as u32 / 1000
    }

    fn uri(&self, query: &str) -> String {
        let path = self.target.paths.get(self.path).map_or("", String::as_str);
        format!("{path}?{query}{}", self.target.selection())
    }

    /// Does some work until a limit, and falls silent meanwhile when it is time to.
    async fn attend<T>(
        &mut self,
        limit: Instant,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, Closed> {
        let mut work = pin!(work);
        loop {
            let may_fall_silent = self.standing == Standing::Current;
            let wake = if may_fall_silent {
                limit.min(self.quiet_at)
            } else {
                limit
            };
            if let Ok(done) = timeout_at(wake, &mut work).await {
                return Ok(Some(done));
            }
            if may_fall_silent && Instant::now() >= self.quiet_at {
                self.standing = Standing::Silent;
                self.proven = false;
                self.seen.note(|seen| {
                    seen.state = "Silent";
                    seen.silences += 1;
                });
                self.send(What::Silent).await?;
            }
            if Instant::now() >= limit {
                return Ok(None);
            }
        }
    }

    /// Tells the loop. Time spent waiting for it is not the server's silence.
    async fn send(&mut self, what: What) -> Result<(), Closed> {
        let before = Instant::now();
        self.outlet.send(self.id, before, what).await?;
        self.quiet_at += before.elapsed();
        Ok(())
    }
}

fn is_broken(fault: &Fault) -> bool {
    matches!(fault, Fault::Broken(_))
}

fn late(what: &str, limit: Duration) -> Fault {
    Fault::Broken(format!("no answer: {what} took more than {} s", limit.as_secs()))
}
