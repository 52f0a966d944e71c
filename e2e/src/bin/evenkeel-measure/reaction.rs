//! Verdicts that turn: how long the operator takes, alone and on the whole way.
//!
//! The measured policy's Service loses a ready backend and gets it back, while other slices change in the background.
//! The operator's own part comes from its histogram, the whole way from this process's patch to the status that it
//! sees on a watch.

use std::time::{Duration, Instant};

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::ceilings::Ceilings;
use super::crowd::{Crowd, TURNS_EVERY};
use super::operator::{Bench, Measured, NAMESPACE, POLICY_NAME};
use super::scrape::{Scrape, quantile};

/// Slices that change in the background of a busy cluster, a second.
pub(super) const CHANGES: u32 = 20;

/// Reactions that are measured, unless they take longer than this in all: waiting for minutes is an answer, too.
const FLIPS: u32 = 200;
const AT_MOST: Duration = Duration::from_secs(90);

/// The slice of the measured policy's Service, and where slices are read.
pub(super) const MEASURED_SLICE: &str = "service-00000-00000";
pub(super) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

/// Between two reactions: not a multiple of anything that the crowd does.
const PAUSE: Duration = Duration::from_millis(230);

/// What changes in other namespaces meanwhile.
#[derive(Clone, Copy)]
pub(super) enum Neighbours {
    /// Nothing.
    Quiet,
    /// The Service that all of the crowd's policies govern loses a backend and gets it back: all of their verdicts turn at
    /// once.
    Crowd,
    /// Namespaces that have all that one may have.
    Ceilings(Ceilings),
}

impl Neighbours {
    /// A crowd, where its verdicts turn.
    pub(super) fn of(crowd: Option<Crowd>) -> Self {
        match crowd {
            Some(crowd) if crowd.turns => Self::Crowd,
            _ => Self::Quiet,
        }
    }

    /// Changes what they have, for ever.
    async fn change(self, bench: &Bench) -> Result<()> {
        match self {
            Self::Quiet => std::future::pending().await,
            Self::Crowd => turn_crowd(bench).await,
            Self::Ceilings(ceilings) => ceilings.change(bench).await,
        }
    }
}

/// What was measured.
pub(super) struct Reactions {
    /// From the line that caused a status to its request's leaving, median and 99th percentile, at most: upper bounds of
    /// a histogram's buckets, in seconds. Every status counts, the crowd's as well. The bare client keeps none.
    pub(super) own: Option<[f64; 2]>,
    /// From the patch to the measured policy's status as a client sees it, sorted.
    pub(super) ways: Vec<Duration>,
    /// The same as the API server has noted it, where its log can be read.
    noted: Option<Noted>,
    changes: u32,
}

/// What an audit log says of reactions: times since the change was asked for, sorted.
struct Noted {
    /// Until the server answered the change itself: what it takes for one write.
    changed: Vec<Duration>,
    /// Until the operator's request came.
    asked: Vec<Duration>,
    /// Until it was answered.
    told: Vec<Duration>,
}

impl Reactions {
    /// A percentile of the whole way, in milliseconds.
    pub(super) fn way(&self, percent: usize) -> f64 {
        percentile(&self.ways, percent)
    }

    /// Prints them.
    pub(super) fn print(&self) {
        let who = self.own.map_or("the bare client".to_owned(), |own| {
            format!(
                "our own part P50 at most {:.2} ms, P99 at most {:.2} ms",
                own[0] * 1e3,
                own[1] * 1e3
            )
        });
        println!(
            "{} reactions with {} other changes a second: {who}; \
             patch to status, as a client sees it, P50 {:.1} ms, P99 {:.1} ms",
            self.ways.len(),
            self.changes,
            self.way(50),
            self.way(99),
        );
        let Some(Noted { changed, asked, told }) = &self.noted else {
            return;
        };
        println!(
            "  {} by the audit log: patch received to patch answered P50 {:.1} ms, P99 {:.1} ms; \
             to the status request received P50 {:.1} ms, P99 {:.1} ms; to it answered P50 {:.1} ms, P99 {:.1} ms",
            told.len(),
            percentile(changed, 50),
            percentile(changed, 99),
            percentile(asked, 50),
            percentile(asked, 99),
            percentile(told, 50),
            percentile(told, 99),
        );
    }
}

/// Of sorted times, in milliseconds.
fn percentile(times: &[Duration], percent: usize) -> f64 {
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3
}

impl Noted {
    /// Pairs each change of the measured Service's slice with the status that followed it.
    fn of(events: &[Value]) -> Self {
        let of = |event: &&Value, resource: &str, name: &str| {
            let object = &event["objectRef"];
            event["verb"] == "patch" && object["resource"] == resource && object["name"] == name
        };
        let changes = events
            .iter()
            .filter(|event| of(event, "endpointslices", MEASURED_SLICE));
        let statuses = events
            .iter()
            .filter(|event| of(event, "traffichealthpolicies", POLICY_NAME));
        let statuses: Vec<_> = statuses.filter_map(times).collect();
        let (mut changed, mut asked, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for (change, done) in changes.filter_map(times) {
            let Some((received, answered)) = statuses.iter().find(|status| status.0 >= change) else {
                continue;
            };
            let since =
                |time: &Timestamp| Duration::try_from(time.duration_since(change)).unwrap_or_default();
            changed.push(since(&done));
            asked.push(since(received));
            told.push(since(answered));
        }
        for times in [&mut changed, &mut asked, &mut told] {
            times.sort();
        }
        Self { changed, asked, told }
    }
}

/// When a request was received, and when it was answered.
fn times(event: &Value) -> Option<(Timestamp, Timestamp)> {
    let at = |key: &str| event[key].as_str()?.parse().ok();
    Some((at("requestReceivedTimestamp")?, at("stageTimestamp")?))
}

/// Prints the whole way of the operator beside that of the bare client, and by how much it is longer: what a client sees
/// from its patch to the status.
pub(super) fn print_beside(own: &[Reactions], bare: &[Reactions]) {
    const PERCENTILES: [usize; 3] = [50, 90, 99];
    println!(
        "{:<24} {:<14} {:>8} {:>8} {:>8}",
        "other changes a second", "patch to status", "P50 ms", "P90 ms", "P99 ms"
    );
    for (own, bare) in own.iter().zip(bare) {
        let ways = |of: &Reactions| PERCENTILES.map(|percent| of.way(percent));
        let (own_ways, bare_ways) = (ways(own), ways(bare));
        for (name, [p50, p90, p99]) in [("operator", own_ways), ("bare client", bare_ways)] {
            println!("{:<24} {name:<14} {p50:>8.1} {p90:>8.1} {p99:>8.1}", own.changes);
        }
        print!("{:<24} {:<14}", own.changes, "quotient");
        for (own, bare) in own_ways.into_iter().zip(bare_ways) {
            print!(" {:>8.2}", own / bare);
        }
        println!();
    }
}

/// Makes the measured verdict turn, by the operator or else by the bare client, while others change, so many a second.
pub(super) async fn reactions(
    bench: &Bench,
    measured: Option<&Measured>,
    changes: u32,
    neighbours: Neighbours,
) -> Result<Reactions> {
    let noted_before = bench.noted()?.map(|events| events.len());
    let before = scrape(measured).await?;
    let mut statuses = bench.follow().await?;
    let work = async {
        let mut ways = Vec::new();
        let begin = Instant::now();
        // An even number, so that the verdict ends as it began.
        for flip in 0..FLIPS {
            if flip % 2 == 0 && begin.elapsed() > AT_MOST {
                break;
            }
            let ready = flip % 2 == 1;
            let start = Instant::now();
            set_ready(bench, NAMESPACE, 0, ready).await?;
            let told = if ready { "True" } else { "False" };
            ways.push(statuses.until_healthy(told, start).await?);
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::Ok(ways)
    };
    let noise = async { tokio::try_join!(background(bench, changes), neighbours.change(bench)).map(drop) };
    let mut ways = tokio::select! {
        ways = work => ways?,
        // Ends only by an error.
        failed = noise => {
            failed?;
            Vec::new()
        }
    };
    let name = "evenkeel_reaction_seconds";
    let own = before.zip(scrape(measured).await?).map(|(before, after)| {
        [0.5, 0.99].map(|share| quantile(&before.buckets(name), &after.buckets(name), share))
    });
    ways.sort();
    let noted = bench.noted()?.zip(noted_before);
    Ok(Reactions {
        own,
        ways,
        // The log begins anew when it has become too long.
        noted: noted.map(|(events, before)| Noted::of(events.get(before..).unwrap_or(&events))),
        changes,
    })
}

/// The operator's metrics, where it is the operator that is measured.
async fn scrape(measured: Option<&Measured>) -> Result<Option<Scrape>> {
    match measured {
        Some(measured) => measured.scrape().await.map(Some),
        None => Ok(None),
    }
}

/// Slices of other Services that change and change back, for ever.
async fn background(bench: &Bench, changes: u32) -> Result<()> {
    if changes == 0 {
        return std::future::pending().await;
    }
    let others = 100.min(bench.size.services.saturating_sub(1)).max(1);
    let mut beat = tokio::time::interval(Duration::from_secs(1) / changes);
    for count in 0_u32.. {
        beat.tick().await;
        set_ready(bench, NAMESPACE, 1 + count % others, count / others % 2 == 1).await?;
    }
    Ok(())
}

async fn turn_crowd(bench: &Bench) -> Result<()> {
    let mut beat = tokio::time::interval(TURNS_EVERY);
    for count in 0_u32.. {
        beat.tick().await;
        set_ready(bench, &Crowd::namespace(), Crowd::service(0), count % 2 == 1).await?;
    }
    Ok(())
}

/// Says of the first endpoint of a Service of the load whether it is ready.
async fn set_ready(bench: &Bench, namespace: &str, service: u32, ready: bool) -> Result<()> {
    let path =
        format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/service-{service:05}-00000");
    let body: Value = json!([{"op": "add", "path": "/endpoints/0/conditions", "value": {"ready": ready}}]);
    bench.patch(&path, "application/json-patch+json", &body).await
}
