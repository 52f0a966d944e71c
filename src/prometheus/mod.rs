//! A Prometheus that is there already, asked for what it has measured.
//!
//! Instant queries only, of a fixed table ([`table`]), each only while a check needs it and spread over the interval in which
//! it is asked again. A team names a metric and a label for its own Pods and never a query; what is asked then is built and
//! quoted here ([`selector`]). What checks of nodes and the control plane need is asked one at a time (`platform`) and waits
//! for no team; teams take turns within budgets (`teams`). A server that does not answer is asked once in a while, and
//! everything that it was to measure is Unknown with the reason meanwhile. What a policy names fails alone: no team can make
//! the measurements of others Unknown by a query that fails.

pub mod answer;
mod ask;
mod asker;
mod budget;
mod docs;
mod platform;
mod promql;
mod schedule;
pub mod selector;
mod server;
mod subject;
pub mod table;
mod teams;

use std::sync::Arc;

use anyhow::Result;
use evenkeel_core::sample::{Metrics, PageScope, Why};
use tokio::sync::watch;

use crate::metrics;
use crate::query::Handle;
use crate::samples::{SampleFeed, until_stopped};
pub(crate) use ask::{Question, ask, questions};
use asker::Asker;
pub use docs::page;
use platform::PlatformQuestions;
pub use server::Options;
pub(crate) use server::{AnswerLimits, PrometheusServer};
use teams::TeamQuestions;

/// The feeder.
pub struct PrometheusFeeder {
    platform: PlatformQuestions,
    teams: TeamQuestions,
}

impl PrometheusFeeder {
    /// A feeder for the Prometheus that the options name. An error is a file that cannot be read.
    pub(crate) fn new(
        options: &Options,
        handle: Handle,
        feed: SampleFeed,
        metrics: Arc<metrics::Metrics>,
    ) -> Result<Self> {
        let server = PrometheusServer::of(options)?;
        let asker = Arc::new(Asker::new(options.at.clone(), server, handle, metrics));
        let (outage_tx, outage) = watch::channel(None);
        let platform = PlatformQuestions::new(asker.clone(), feed.clone(), outage_tx);
        let teams = TeamQuestions::new(asker, feed, outage);
        Ok(Self { platform, teams })
    }

    /// Asks until `stop` becomes true.
    pub(crate) async fn run(self, stop: watch::Receiver<bool>) {
        // Neither waits for the other: they meet at the server and at the loop alone.
        let both = async {
            tokio::join!(self.platform.run(), self.teams.run());
        };
        until_stopped(stop, both).await;
    }
}

/// Whether it is the whole server that does not answer, and not one question that it cannot.
pub(crate) const fn is_the_servers(why: Why) -> bool {
    matches!(why, Why::Unreachable | Why::TimedOut | Why::Refused)
}

/// The questions of one kind that are wanted now.
fn wanted(feed: &mut SampleFeed, kind: impl Fn(&Question) -> bool) -> Vec<Question> {
    let mut questions = questions(&feed.take_wants());
    questions.retain(kind);
    questions
}

/// What is wanted of Prometheus of one scope.
pub(crate) type Scoped = (PageScope<Arc<str>>, Metrics);
