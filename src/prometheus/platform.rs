//! What checks of nodes and the control plane need: one question at a time, spread over its interval.
//!
//! It waits for nothing that a team asks. Where the whole server fails, [`Outage`] has the reason for teams' questions too, and
//! the server is left alone for a while.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::sample::{Observer, Why};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::asker::Asker;
use super::schedule::Schedule;
use super::server::AnswerLimits;
use super::{Question, is_the_servers, wanted};
use crate::repeats::Repeats;
use crate::samples::{OwnedPage, SampleFeed, now_millis};

/// How soon after a failure of the whole server the next question is tried.
const RETRY: Duration = Duration::from_secs(15);

/// How long one question is tried at all endpoints together: two that end without an answer, and the pause between them, are
/// over within a minute.
const PATIENCE: Duration = Duration::from_secs(20);

/// So many questions in a row that are not answered in time are a server that does not answer. One may be too much for it.
const LATE_IN_A_ROW: u32 = 2;

/// Why the whole server does not answer, while it does not.
pub(super) type Outage = Option<(Why, String)>;

/// The questions, and where the answers go.
pub(super) struct PlatformQuestions {
    asker: Arc<Asker>,
    feed: SampleFeed,
    outage: watch::Sender<Outage>,
    schedule: Schedule,
    late: u32,
    warned: Repeats,
}

impl PlatformQuestions {
    pub(super) fn new(asker: Arc<Asker>, feed: SampleFeed, outage: watch::Sender<Outage>) -> Self {
        Self {
            asker,
            feed,
            outage,
            schedule: Schedule::default(),
            late: 0,
            warned: Repeats::default(),
        }
    }

    /// Asks until the loop has ended.
    pub(super) async fn run(mut self) {
        while self.step().await.is_some() {}
    }

    /// Waits for the next question or for other wants; `None` when the loop has ended.
    async fn step(&mut self) -> Option<()> {
        let questions = wanted(&mut self.feed, |one| one.namespace().is_none());
        self.schedule.want(questions, Instant::now());
        let Some((due, question)) = self.schedule.next() else {
            return self.feed.changed().await;
        };
        tokio::select! {
            changed = self.feed.changed() => return changed,
            () = sleep_until(due) => {}
        }
        let limits = AnswerLimits::default();
        let answer = self.asker.ask(&question, limits, PATIENCE).await?;
        let now = Instant::now();
        self.schedule.asked(&question, now);
        let page = answer.page;
        let failure = page.gap.clone().filter(|gap| is_the_servers(gap.0));
        if let Some((why, detail)) = failure {
            self.late += 1;
            if why != Why::TimedOut || self.late >= LATE_IN_A_ROW {
                return self.all_failed(why, detail).await;
            }
        } else {
            self.late = 0;
            self.warned.end();
            self.outage.send_if_modified(|outage| outage.take().is_some());
        }
        self.feed.hand_over(page).await?;
        self.tell_of_missed(now).await
    }

    /// Says of questions whose turn has not come for an interval that the server is too slow for all of them.
    async fn tell_of_missed(&mut self, now: Instant) -> Option<()> {
        for question in self.schedule.missed(now) {
            let seconds = question.every().as_secs();
            let why = format!("queries take so long that its turn has not come for {seconds} s");
            let page = question.failed(now_millis(), (Why::TimedOut, why));
            self.feed.hand_over(page).await?;
        }
        Some(())
    }

    /// Says of everything that is wanted why it is not there, and asks nothing for a while.
    async fn all_failed(&mut self, why: Why, detail: String) -> Option<()> {
        if let Some(times) = self.warned.due(&detail) {
            tracing::warn!(service = %self.asker.at, why = detail, times, "cannot ask Prometheus");
        }
        self.schedule.wait(Instant::now() + RETRY);
        for (scope, metrics) in self.schedule.all() {
            let page = OwnedPage {
                observer: Observer::Prometheus,
                metrics,
                scope,
                asked: now_millis(),
                samples: Vec::new(),
                gap: Some((why, detail.clone())),
            };
            self.feed.hand_over(page).await?;
        }
        // Also again where it was so before: the others say it once more, as all answers are forgotten after a while.
        self.outage.send_replace(Some((why, detail)));
        Some(())
    }
}

impl Question {
    /// A page that says that the whole server does not answer.
    pub(crate) fn out(&self, outage: &(Why, String)) -> OwnedPage {
        self.failed(now_millis(), outage.clone())
    }
}
