//! When each question is asked next.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_core::sample::{Metrics, PageScope};
use tokio::time::Instant;

use super::{Question, Scoped};

/// Makes these questions due and no others. New ones are spread over their interval, so that they never come all at once.
pub(super) fn spread(due: &mut BTreeMap<Question, Instant>, questions: Vec<Question>, now: Instant) {
    let count = u32::try_from(questions.len()).unwrap_or(u32::MAX).max(1);
    let mut held = std::mem::take(due);
    for (place, question) in (0_u32..).zip(questions) {
        let at = held
            .remove(&question)
            .unwrap_or_else(|| now + question.every() / count * place);
        due.insert(question, at);
    }
}

/// Questions with the time at which each is due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BTreeMap<Question, Instant>,
    /// Nothing is asked before.
    not_before: Option<Instant>,
}

impl Schedule {
    /// Asks these from now on and no others.
    pub(super) fn want(&mut self, questions: Vec<Question>, now: Instant) {
        spread(&mut self.due, questions, now);
    }

    /// The next question, and when it is due.
    pub(super) fn next(&self) -> Option<(Instant, Question)> {
        let (question, at) = self.due.iter().min_by_key(|one| one.1)?;
        let at = self.not_before.map_or(*at, |not_before| not_before.max(*at));
        Some((at, question.clone()))
    }

    /// It was asked. What is late by more than an interval is not caught up with.
    pub(super) fn asked(&mut self, question: &Question, now: Instant) {
        if let Some(at) = self.due.get_mut(question) {
            *at = (*at + question.every()).max(now);
        }
    }

    /// Questions that have waited for more than an interval since they were due; each comes once in an interval.
    pub(super) fn missed(&mut self, now: Instant) -> Vec<Question> {
        let late = self.due.iter_mut().filter_map(|(question, at)| {
            let is_late = *at + question.every() < now;
            is_late.then(|| {
                *at += question.every();
                question.clone()
            })
        });
        late.collect()
    }

    /// Nothing is asked before this time; what was due before is due then.
    pub(super) fn wait(&mut self, until: Instant) {
        self.not_before = Some(until);
        self.due.values_mut().for_each(|at| *at = (*at).max(until));
    }

    /// Everything that is asked, by what it is about.
    pub(super) fn all(&self) -> Vec<Scoped> {
        let mut all: BTreeMap<PageScope<Arc<str>>, Metrics> = BTreeMap::new();
        for question in self.due.keys() {
            let metrics = all.entry(question.scope.clone()).or_default();
            *metrics = metrics.with(question.metrics);
        }
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use evenkeel_core::fleet::SampleWants;
    use evenkeel_core::sample::Of;

    use super::super::questions;
    use super::*;

    fn of_nodes(metrics: Metrics) -> Vec<Question> {
        let wants = SampleWants {
            metrics,
            ..SampleWants::default()
        };
        questions(&Arc::new(BTreeMap::from([(PageScope::Nodes, wants)])))
    }

    #[tokio::test(start_paused = true)]
    async fn questions_are_spread_and_each_comes_again_after_its_interval() {
        let all = of_nodes(Metrics::on(Of::Node));
        let count = all.len();
        let mut schedule = Schedule::default();
        let begin = Instant::now();
        schedule.want(all.clone(), begin);
        let mut times = Vec::new();
        for _ in 0..count * 2 {
            let (at, question) = schedule.next().unwrap();
            times.push(at - begin);
            schedule.asked(&question, at);
        }
        let apart: Vec<Duration> = times
            .windows(2)
            .map(|two| two[1].saturating_sub(two[0]))
            .collect();
        assert!(
            apart.iter().all(|apart| *apart >= Duration::from_secs(1)),
            "{times:?}"
        );
        assert!(times[count] >= Duration::from_secs(30), "{times:?}");
        // What stays keeps its time; what is no longer wanted is gone.
        let next = schedule.next().unwrap();
        schedule.want(all, begin);
        assert_eq!(schedule.next().unwrap(), next);
        schedule.want(Vec::new(), begin);
        assert!(schedule.next().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_asked_for_an_interval_is_said_once_in_each() {
        let mut schedule = Schedule::default();
        let begin = Instant::now();
        let all = of_nodes(Metrics::on(Of::Node));
        schedule.want(all.clone(), begin);
        assert_eq!(schedule.missed(begin + Duration::from_secs(30)), []);
        let late = begin + Duration::from_secs(60);
        assert_eq!(schedule.missed(late).len(), all.len());
        assert_eq!(schedule.missed(late), []);
        // The one that has waited longest comes first all the same.
        assert!(schedule.next().unwrap().0 <= late);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_fails_is_left_alone_for_a_while() {
        let mut schedule = Schedule::default();
        let begin = Instant::now();
        schedule.want(of_nodes(Metrics::on(Of::Node)), begin);
        schedule.wait(begin + Duration::from_secs(15));
        assert_eq!(schedule.next().unwrap().0, begin + Duration::from_secs(15));
        assert_eq!(schedule.all(), [(PageScope::Nodes, Metrics::on(Of::Node))]);
    }
}
