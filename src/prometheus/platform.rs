//! What checks of nodes and the control plane need: one question at a time, spread over its interval.
//!
//! It waits for nothing that a team asks. Where the whole server fails, [`Outage`] has the reason for teams' questions too, and
//! the server is left alone for a while.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::sample::{Observer, Why};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::asker::Asker;
use super::schedule::Schedule;
use super::server::AnswerLimits;
use super::{Question, is_the_servers, questions};
use crate::repeats::Repeats;
use crate::samples::{OwnedPage, SampleWantsByScope, now_millis};

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
    wants: watch::Receiver<SampleWantsByScope>,
    page_tx: mpsc::Sender<OwnedPage>,
    outage: watch::Sender<Outage>,
    schedule: Schedule,
    late: u32,
    warned: Repeats,
}

impl PlatformQuestions {
    pub(super) fn new(
        asker: Arc<Asker>,
        wants: watch::Receiver<SampleWantsByScope>,
        page_tx: mpsc::Sender<OwnedPage>,
        outage: watch::Sender<Outage>,
    ) -> Self {
        Self {
            asker,
            wants,
            page_tx,
            outage,
            schedule: Schedule::default(),
            late: 0,
            warned: Repeats::default(),
        }
    }

    /// Asks until the loop has ended.
    pub(super) async fn run(mut self) {
        loop {
            let wants = self.wants.borrow_and_update().clone();
            let questions = questions(&wants).into_iter();
            let questions = questions.filter(|one| one.namespace().is_none());
            self.schedule.want(questions.collect(), Instant::now());
            if !self.step().await {
                return;
            }
        }
    }

    /// Waits for the next question or for other wants; false when the loop has ended.
    async fn step(&mut self) -> bool {
        let Some((due, question)) = self.schedule.next() else {
            return self.wants.changed().await.is_ok();
        };
        tokio::select! {
            changed = self.wants.changed() => return changed.is_ok(),
            () = sleep_until(due) => {}
        }
        let limits = AnswerLimits::default();
        let Some(answer) = self.asker.ask(&question, limits, PATIENCE).await else {
            return false;
        };
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
        if self.page_tx.send(page).await.is_err() {
            return false;
        }
        self.tell_of_missed(now).await
    }

    /// Says of questions whose turn has not come for an interval that the server is too slow for all of them.
    async fn tell_of_missed(&mut self, now: Instant) -> bool {
        for question in self.schedule.missed(now) {
            let seconds = Observer::Prometheus.every_seconds(question.metric);
            let why = format!("queries take so long that its turn has not come for {seconds} s");
            let page = question.failed(now_millis(), (Why::TimedOut, why));
            if self.page_tx.send(page).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Says of everything that is wanted why it is not there, and asks nothing for a while.
    async fn all_failed(&mut self, why: Why, detail: String) -> bool {
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
            if self.page_tx.send(page).await.is_err() {
                return false;
            }
        }
        // Also again where it was so before: the others say it once more, as all answers are forgotten after a while.
        self.outage.send_replace(Some((why, detail)));
        true
    }
}

impl Question {
    /// A page that says that the whole server does not answer.
    pub(crate) fn out(&self, outage: &(Why, String)) -> OwnedPage {
        self.failed(now_millis(), outage.clone())
    }
}
