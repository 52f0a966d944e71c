//! A server that follows a script, and what a pump tells while it does.

mod anew;
mod events;
mod intake;
mod link;
mod pump;
mod retry;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_core::index::Freshness;
use evenkeel_core::know::Source;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::claim::TargetClaim;
use super::outlet::{self, CLUSTER_KIB, WatchEvent, What};
use super::pump::{Pump, Turns};
use super::seen::{Seen, WatchState, WatchStatus};
use super::server::{Lines, WatchServer};
use super::target::{Id, Target};
use crate::client::RequestError;

/// How the server answers a request; when the script is at its end, not at all.
#[derive(Debug, Clone)]
enum WatchAnswer {
    Watch(Vec<Act>),
    Page(String),
    /// A page that is longer than what is read of one.
    TooLong,
    Refuse(u16, Option<u64>),
    Break,
    Hang,
}

/// What happens on an open watch; after the last act nothing does.
#[derive(Debug, Clone)]
enum Act {
    Line(String),
    Pause(u64),
    End,
    Break,
}

/// A request, and when it came.
#[derive(Debug, Clone)]
struct Call {
    at: Duration,
    uri: String,
}

#[derive(Debug)]
struct Script {
    start: Instant,
    answers: Mutex<VecDeque<WatchAnswer>>,
    calls: Mutex<Vec<Call>>,
    renewals: Mutex<Vec<Duration>>,
}

impl Script {
    async fn answer(&self, uri: String) -> Result<WatchAnswer, RequestError> {
        let at = self.start.elapsed();
        self.calls.lock().unwrap().push(Call { at, uri });
        let answer = self.answers.lock().unwrap().pop_front();
        match answer.unwrap_or(WatchAnswer::Hang) {
            WatchAnswer::Hang => std::future::pending().await,
            WatchAnswer::TooLong => Err(RequestError::TooLong(16 << 20)),
            WatchAnswer::Break => Err(RequestError::Broken("connection refused".into())),
            WatchAnswer::Refuse(code, after) => {
                Err(RequestError::refused(code, "no", after.map(Duration::from_secs)))
            }
            answer => Ok(answer),
        }
    }
}

impl WatchServer for Script {
    type Lines = Acts;

    async fn watch(&self, uri: String) -> Result<Acts, RequestError> {
        match self.answer(uri).await? {
            WatchAnswer::Watch(acts) => Ok(Acts(acts.into())),
            other => panic!("a watch was asked for, the script says {other:?}"),
        }
    }

    async fn page(&self, uri: String) -> Result<Vec<u8>, RequestError> {
        match self.answer(uri).await? {
            WatchAnswer::Page(body) => Ok(body.into()),
            other => panic!("a page was asked for, the script says {other:?}"),
        }
    }

    fn renew(&self) {
        self.renewals.lock().unwrap().push(self.start.elapsed());
    }
}

struct Acts(VecDeque<Act>);

impl Lines for Acts {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, RequestError> {
        loop {
            match self.0.pop_front() {
                Some(Act::Line(line)) => return Ok(Some(line.into())),
                Some(Act::Pause(millis)) => sleep(Duration::from_millis(millis)).await,
                Some(Act::End) => return Ok(None),
                Some(Act::Break) => return Err(RequestError::Broken("connection reset".into())),
                None => std::future::pending().await,
            }
        }
    }
}

/// A pump at work on a script.
struct PumpBench {
    script: Arc<Script>,
    events: mpsc::Receiver<WatchEvent>,
    seen: Seen,
    urgent: tokio::sync::watch::Sender<BTreeSet<Arc<str>>>,
}

impl PumpBench {
    fn new(target: Target, answers: &[WatchAnswer]) -> Self {
        Self::of(target, answers, |_| {})
    }

    /// One that takes over from others.
    fn heir(target: Target, answers: &[WatchAnswer]) -> Self {
        Self::of(target, answers, TargetClaim::inherit)
    }

    fn of(target: Target, answers: &[WatchAnswer], prepare: impl FnOnce(&mut TargetClaim)) -> Self {
        let script = Arc::new(Script {
            start: Instant::now(),
            answers: Mutex::new(answers.to_vec().into()),
            calls: Mutex::default(),
            renewals: Mutex::default(),
        });
        let (outlet, events) = outlet::channel(CLUSTER_KIB);
        let seen = Seen::new(target.source, target.show());
        let mut claim = TargetClaim::new(Id(1), outlet, seen.clone());
        prepare(&mut claim);
        let (urgent, turns) = tokio::sync::watch::channel(BTreeSet::new());
        let pump = Pump::new(target, script.clone(), Turns::new(turns), claim);
        tokio::spawn(pump.run(Instant::now()));
        Self {
            script,
            events,
            seen,
            urgent,
        }
    }

    /// What the pump tells until then, with the second at which it does.
    async fn until(&mut self, seconds: u64) -> Vec<(u64, String)> {
        let end = self.script.start + Duration::from_secs(seconds);
        let mut told = Vec::new();
        while let Ok(Some(event)) = timeout_at(end, self.events.recv()).await {
            told.push((self.script.start.elapsed().as_secs(), say(&event.what)));
        }
        told
    }

    /// The same without the time.
    async fn words(&mut self, seconds: u64) -> Vec<String> {
        self.until(seconds).await.into_iter().map(|told| told.1).collect()
    }

    /// The queries so far.
    fn calls(&self) -> Vec<Call> {
        self.script.calls.lock().unwrap().clone()
    }

    /// How many lists were asked for, as a stream or its first page.
    fn lists(&self) -> usize {
        let is_list = |call: &&Call| {
            call.uri.contains("sendInitialEvents")
                || call.uri.contains("limit=") && !call.uri.contains("continue=")
        };
        self.calls().iter().filter(is_list).count()
    }

    fn snapshot(&self) -> WatchStatus {
        self.seen.snapshot(Instant::now())
    }
}

fn say(what: &What) -> String {
    match what {
        What::Begin => "begin".into(),
        What::Object(bytes, at) => format!("object {}", super::line::key(&bytes[at.clone()]).1),
        What::Page(_, items) => format!("page of {}", items.len()),
        What::Gone(namespace, name) => format!("gone {namespace}/{name}"),
        What::Refused(namespace, name, why) => format!("refused {namespace}/{name}: {why}"),
        What::Synced => "synced".into(),
        What::Freshness(Freshness::Missing) => "missing".into(),
        What::Freshness(Freshness::Complete) => "complete".into(),
        What::Freshness(Freshness::Stale) => "stale".into(),
        What::Freshness(Freshness::Unreadable(why)) => format!("unreadable: {why}"),
    }
}

fn line(text: impl Into<String>) -> Act {
    Act::Line(text.into())
}

fn object(kind: &str, name: &str, version: u64) -> Act {
    line(format!(
        r#"{{"type":"{kind}","object":{{"metadata":{{"name":"{name}","resourceVersion":"{version}"}}}}}}"#
    ))
}

fn added(name: &str, version: u64) -> Act {
    object("ADDED", name, version)
}

fn bookmark(version: u64) -> Act {
    line(format!(
        r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"{version}"}}}}}}"#
    ))
}

/// The bookmark that ends a list.
fn end(version: u64) -> Act {
    line(format!(
        r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"{version}",
        "annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}"#
    ))
}

fn error(code: u16) -> Act {
    line(format!(
        r#"{{"type":"ERROR","object":{{"kind":"Status","code":{code},"message":"no"}}}}"#
    ))
}

/// A first list of one object, up to version 10.
fn filled() -> WatchAnswer {
    WatchAnswer::Watch(vec![added("a", 3), end(10)])
}

/// A short watch of a cluster at rest: a bookmark after 8 s, the end after 10 s.
fn quiet(version: u64) -> WatchAnswer {
    WatchAnswer::Watch(vec![
        Act::Pause(8_000),
        bookmark(version),
        Act::Pause(2_000),
        Act::End,
    ])
}

/// The watch after a break: a bookmark after 1 s, the end after 3 s.
fn probe(version: u64) -> WatchAnswer {
    WatchAnswer::Watch(vec![
        Act::Pause(1_000),
        bookmark(version),
        Act::Pause(2_000),
        Act::End,
    ])
}

fn page(version: u64, next: &str, names: &[&str]) -> WatchAnswer {
    let items: Vec<_> = names
        .iter()
        .map(|name| format!(r#"{{"metadata":{{"name":"{name}"}}}}"#))
        .collect();
    WatchAnswer::Page(format!(
        r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":[{}]}}"#,
        items.join(",")
    ))
}

fn target(source: Source) -> Target {
    let all = Target::but_pods(&evenkeel_core::fleet::Wants::default());
    all.into_iter().find(|target| target.source == source).unwrap()
}

/// A target that evidence rests on.
fn nodes() -> Target {
    target(Source::Nodes)
}

/// Answers, then a cluster at rest for a minute.
fn then_quiet(answers: &[WatchAnswer], version: u64) -> Vec<WatchAnswer> {
    let mut all = answers.to_vec();
    all.extend(vec![quiet(version); 6]);
    all
}
