//! Verdicts that turn: how long the operator takes, alone and on the whole way.
//!
//! The measured policy's Service loses a ready backend and gets it back, while other slices change in the background.
//! The operator's own part comes from its histogram, the whole way from this process's patch to the status that it
//! reads back.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::crowd::{Crowd, TURNS_EVERY};
use super::operator::{Bench, Measured, NAMESPACE};
use super::scrape::quantile;

/// Slices that change in the background, a second.
const CHANGES: u32 = 20;

/// Reactions that are measured, unless they take longer than this in all: whoever waits for minutes has been answered.
const FLIPS: u32 = 100;
const AT_MOST: Duration = Duration::from_secs(90);

/// Between two reactions: not a multiple of anything that the crowd does.
const PAUSE: Duration = Duration::from_millis(230);

/// What was measured.
pub(super) struct Reactions {
    /// From the line that caused a status to its request's leaving, median and 99th percentile, at most: upper bounds of
    /// a histogram's buckets, in seconds. Every status counts, the crowd's as well.
    pub(super) own: [f64; 2],
    /// From the patch to the measured policy's status, sorted.
    pub(super) ways: Vec<Duration>,
}

impl Reactions {
    /// A percentile of the whole way, in milliseconds.
    pub(super) fn way(&self, percent: usize) -> f64 {
        let at = (self.ways.len() * percent / 100).min(self.ways.len().saturating_sub(1));
        self.ways.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3
    }

    /// Prints them.
    pub(super) fn tell(&self) {
        println!(
            "{} reactions with {CHANGES} other changes a second: our own part P50 at most {:.2} ms, P99 at most {:.2} ms; \
             patch to status, as a client sees it, P50 {:.1} ms, P99 {:.1} ms",
            self.ways.len(),
            self.own[0] * 1e3,
            self.own[1] * 1e3,
            self.way(50),
            self.way(99),
        );
    }
}

/// Makes the measured verdict turn, while others change.
pub(super) async fn reactions(bench: &Bench, measured: &Measured, crowd: Option<Crowd>) -> Result<Reactions> {
    let before = measured.scrape().await?;
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
            ways.push(bench.until_healthy(told, start).await?);
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::Ok(ways)
    };
    let noise = async { tokio::try_join!(background(bench), move_crowd(bench, crowd)).map(drop) };
    let mut ways = tokio::select! {
        ways = work => ways?,
        // Ends only by an error.
        failed = noise => {
            failed?;
            Vec::new()
        }
    };
    let after = measured.scrape().await?;
    let name = "evenkeel_reaction_seconds";
    let own = [0.5, 0.99].map(|share| quantile(&before.buckets(name), &after.buckets(name), share));
    ways.sort();
    Ok(Reactions { own, ways })
}

/// Slices of other Services that change and change back, for ever.
async fn background(bench: &Bench) -> Result<()> {
    let others = 100.min(bench.size.services.saturating_sub(1)).max(1);
    let mut beat = tokio::time::interval(Duration::from_secs(1) / CHANGES);
    for count in 0_u32.. {
        beat.tick().await;
        set_ready(bench, NAMESPACE, 1 + count % others, count / others % 2 == 1).await?;
    }
    Ok(())
}

/// The Service that all of the crowd's policies govern loses a backend and gets it back, for ever: all of their verdicts
/// turn at once.
async fn move_crowd(bench: &Bench, crowd: Option<Crowd>) -> Result<()> {
    if !crowd.is_some_and(|crowd| crowd.turns) {
        return std::future::pending().await;
    }
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
