//! What policies of teams name: questions about the Pods of their own namespaces.
//!
//! Few are asked at the same time, at most one of each namespace, and of those that are due the one of the namespace that has
//! taken least. What a namespace takes of the server is bounded ([`super::budget`]), so that its slow queries are asked more
//! rarely and those of others are not. A question that fails fails alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::sample::Why;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::asker::{AskedPage, Asker};
use super::budget::{Spent, over_budget};
use super::platform::Outage;
use super::schedule::spread;
use super::server::AnswerLimits;
use super::{Question, wanted};
use crate::samples::{SampleFeed, now_millis};

/// Questions that are asked at the same time.
const AT_ONCE: usize = 4;

/// What one answer may take: a counter of the Pods of one namespace is small, and is asked for every 15 s.
const LIMITS: AnswerLimits = AnswerLimits {
    within: Duration::from_secs(5),
    bytes: 1 << 20,
};

/// A question, and what it brought; `None` when the loop has ended.
type QuestionEnded = (Question, Option<AskedPage>);

/// The questions, and who asks them.
pub(super) struct TeamQuestions {
    asker: Arc<Asker>,
    feed: SampleFeed,
    outage: watch::Receiver<Outage>,
    schedule: TeamSchedule,
    under_way: JoinSet<QuestionEnded>,
}

impl TeamQuestions {
    pub(super) fn new(asker: Arc<Asker>, feed: SampleFeed, outage: watch::Receiver<Outage>) -> Self {
        Self {
            asker,
            feed,
            outage,
            schedule: TeamSchedule::default(),
            under_way: JoinSet::new(),
        }
    }

    /// Asks until the loop has ended.
    pub(super) async fn run(mut self) {
        while self.step().await.is_some() {}
    }

    /// Asks what is due and waits for what happens next; `None` when the loop has ended.
    async fn step(&mut self) -> Option<()> {
        let questions = wanted(&mut self.feed, |one| one.namespace().is_some());
        self.schedule.want(questions, Instant::now());
        let outage = self.outage.borrow_and_update().clone();
        if let Some(outage) = &outage {
            for question in self.schedule.due.keys() {
                self.feed.hand_over(question.out(outage)).await?;
            }
        } else {
            self.begin().await?;
        }
        let wake = self
            .schedule
            .wake(Instant::now())
            .filter(|_| outage.is_none() && self.under_way.len() < AT_ONCE);
        tokio::select! {
            changed = self.feed.changed() => changed,
            // The sender lives as long as the other questions are asked.
            changed = self.outage.changed() => changed.ok(),
            Some(ended) = self.under_way.join_next() => self.ended(ended.ok()?).await,
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => Some(()),
        }
    }

    /// Asks what may be asked now, and says of the rest why it waits.
    async fn begin(&mut self) -> Option<()> {
        let now = Instant::now();
        for question in self.schedule.over_budget(now) {
            let page = question.failed(now_millis(), (Why::OverBudget, over_budget()));
            self.feed.hand_over(page).await?;
        }
        while self.under_way.len() < AT_ONCE
            && let Some(question) = self.schedule.take(now)
        {
            let asker = self.asker.clone();
            self.under_way.spawn(async move {
                let answer = asker.ask(&question, LIMITS, LIMITS.within).await;
                (question, answer)
            });
        }
        Some(())
    }

    async fn ended(&mut self, (question, answer): QuestionEnded) -> Option<()> {
        let answer = answer?;
        self.schedule
            .ended(&question, answer.took, answer.bytes, Instant::now());
        self.feed.hand_over(answer.page).await
    }
}

/// When each question is asked next, and what each namespace has taken.
#[derive(Debug, Default)]
struct TeamSchedule {
    due: BTreeMap<Question, Instant>,
    spent: BTreeMap<Arc<str>, Spent>,
    /// Namespaces of which a question is being answered.
    busy: BTreeSet<Arc<str>>,
}

impl TeamSchedule {
    /// Asks these from now on and no others.
    fn want(&mut self, questions: Vec<Question>, now: Instant) {
        spread(&mut self.due, questions, now);
        let named: BTreeSet<_> = self.due.keys().filter_map(Question::namespace).collect();
        // What was taken is not forgotten by leaving for a moment.
        self.spent
            .retain(|namespace, spent| named.contains(namespace) || spent.part(now) > 0.0);
    }

    fn spent(&self, namespace: &str, now: Instant) -> Spent {
        let spent = self.spent.get(namespace).copied();
        spent.unwrap_or_else(|| Spent::nothing(now))
    }

    /// The question to ask now: of those that are due the one of the namespace that has taken least.
    fn take(&mut self, now: Instant) -> Option<Question> {
        let mut best: Option<(f64, Instant, &Question)> = None;
        for (question, at) in self.due.iter().filter(|one| *one.1 <= now) {
            let namespace = question.namespace()?;
            let part = self.spent(namespace, now).part(now);
            if part >= 1.0 || self.busy.contains(namespace) {
                continue;
            }
            if best.is_none_or(|(least, since, _)| (part, *at) < (least, since)) {
                best = Some((part, *at, question));
            }
        }
        let question = best?.2.clone();
        self.busy.extend(question.namespace().cloned());
        if let Some(at) = self.due.get_mut(&question) {
            // What is late by more than an interval is not caught up with.
            *at = (*at + question.every()).max(now);
        }
        Some(question)
    }

    /// A question was answered.
    fn ended(&mut self, question: &Question, took: Duration, bytes: usize, now: Instant) {
        if let Some(namespace) = question.namespace() {
            self.busy.remove(namespace);
            let spent = self.spent.entry(namespace.clone());
            spent.or_insert_with(|| Spent::nothing(now)).add(took, bytes, now);
        }
    }

    /// Questions that have waited for a whole interval as their namespace has taken too much; each comes once in an interval.
    fn over_budget(&mut self, now: Instant) -> Vec<Question> {
        let spent = &self.spent;
        let late = self.due.iter_mut().filter_map(|(question, at)| {
            let spent = spent.get(question.namespace()?)?;
            let is_late = *at + question.every() <= now && spent.part(now) >= 1.0;
            is_late.then(|| {
                *at += question.every();
                question.clone()
            })
        });
        late.collect()
    }

    /// When the next question may be asked, or the next gap is to be reported.
    fn wake(&self, now: Instant) -> Option<Instant> {
        let at = self.due.iter().filter_map(|(question, at)| {
            let namespace = question.namespace()?;
            let open = self.spent(namespace, now).open_at(now);
            // One that only waits for another of its namespace has nothing to say.
            let late = (open > now).then(|| *at + question.every());
            let asked = (!self.busy.contains(namespace)).then(|| open.max(*at));
            asked.into_iter().chain(late).min()
        });
        at.min()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use evenkeel_core::fleet::SampleWants;
    use evenkeel_core::policy::{Counts, PodMetric};
    use evenkeel_core::sample::{Metric, Metrics, PageScope};

    use super::super::questions;
    use super::*;

    /// So many Services of each namespace.
    fn of(namespaces: &[(&str, usize)]) -> Vec<Question> {
        let wants = namespaces.iter().flat_map(|(namespace, count)| {
            (0..*count).map(move |at| {
                let scope = PageScope::Backends {
                    namespace: (*namespace).into(),
                    service: format!("web-{at}").into(),
                };
                let wants = SampleWants {
                    metrics: Metrics::of(&[Metric::BackendConnections]),
                    pod_metric: Some(PodMetric {
                        name: "accepted_total".into(),
                        pod_label: "pod".into(),
                        counts: Counts::Connections,
                    }),
                    ..SampleWants::default()
                };
                (scope, wants)
            })
        });
        questions(&Arc::new(wants.collect()))
    }

    /// Plays so many seconds in which each answer takes as long as `takes` gives for its namespace, and returns the questions that
    /// were asked and those that were given up, by namespace, with the longest time that one of them was late.
    fn play(
        schedule: &mut TeamSchedule,
        seconds: u64,
        takes: impl Fn(&str) -> f64,
    ) -> BTreeMap<String, (usize, usize, Duration)> {
        let begin = Instant::now();
        let mut now = begin;
        let mut under_way: Vec<(Instant, Question, Duration)> = Vec::new();
        let mut seen: BTreeMap<String, (usize, usize, Duration)> = BTreeMap::new();
        while now < begin + Duration::from_secs(seconds) {
            for question in schedule.over_budget(now) {
                seen.entry(question.namespace().unwrap().to_string())
                    .or_default()
                    .1 += 1;
            }
            while under_way.len() < AT_ONCE {
                let due = schedule.due.clone();
                let Some(question) = schedule.take(now) else { break };
                let namespace = question.namespace().unwrap().clone();
                let took = Duration::from_secs_f64(takes(&namespace));
                let entry = seen.entry(namespace.to_string()).or_default();
                entry.0 += 1;
                entry.2 = entry.2.max(now - due[&question]);
                under_way.push((now + took, question, took));
            }
            let ends = under_way.iter().map(|one| one.0).min();
            let wake = schedule.wake(now).filter(|_| under_way.len() < AT_ONCE);
            let Some(next) = ends.into_iter().chain(wake).min() else {
                break;
            };
            now = next.max(now + Duration::from_millis(1));
            let (ended, rest) = under_way.into_iter().partition(|one| one.0 <= now);
            under_way = rest;
            for (_, question, took) in ended {
                schedule.ended(&question, took, 4_000, now);
            }
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn slow_queries_of_one_namespace_do_not_delay_others() {
        let mut schedule = TeamSchedule::default();
        schedule.want(of(&[("shop", 2), ("slow", 8)]), Instant::now());
        let seen = play(&mut schedule, 600, |of| if of == "slow" { 5.0 } else { 0.02 });
        let (asked, given_up, late) = seen["shop"];
        assert!(asked >= 80 && given_up == 0, "{seen:?}");
        assert!(late < Duration::from_millis(200), "{seen:?}");
        let (asked, given_up, _) = seen["slow"];
        // A fifth of the time, and a minute's worth at the beginning.
        assert!((10..=28).contains(&asked), "{seen:?}");
        assert!(given_up > 100, "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn many_slow_namespaces_delay_others_by_one_answer_at_most() {
        let names: Vec<String> = (0..15).map(|at| format!("slow-{at}")).collect();
        let mut wants: Vec<(&str, usize)> = names.iter().map(|name| (&**name, 8)).collect();
        wants.push(("shop", 2));
        let mut schedule = TeamSchedule::default();
        schedule.want(of(&wants), Instant::now());
        let seen = play(&mut schedule, 600, |of| if of == "shop" { 0.02 } else { 5.0 });
        let (asked, _, late) = seen["shop"];
        assert!(late <= Duration::from_secs(5), "{seen:?}");
        assert!(asked >= 60, "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn quick_queries_are_all_asked_in_time() {
        let names: Vec<String> = (0..16).map(|at| format!("team-{at}")).collect();
        let wants: Vec<(&str, usize)> = names.iter().map(|name| (&**name, 8)).collect();
        let mut schedule = TeamSchedule::default();
        schedule.want(of(&wants), Instant::now());
        let seen = play(&mut schedule, 300, |_| 0.05);
        assert_eq!(seen.len(), names.len(), "{seen:?}");
        for (asked, given_up, late) in seen.values() {
            assert!(*asked >= 8 * 19 && *given_up == 0, "{seen:?}");
            assert!(*late < Duration::from_secs(1), "{seen:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_that_leaves_and_comes_back_has_still_spent() {
        let mut schedule = TeamSchedule::default();
        let now = Instant::now();
        let all = of(&[("slow", 1)]);
        schedule.want(all.clone(), now);
        schedule.ended(&all[0], Duration::from_secs(20), 0, now);
        schedule.want(Vec::new(), now);
        schedule.want(all, now);
        assert_eq!(schedule.take(now), None);
        schedule.want(Vec::new(), now + Duration::from_secs(120));
        assert!(schedule.spent.is_empty(), "what is forgiven is forgotten");
    }
}
