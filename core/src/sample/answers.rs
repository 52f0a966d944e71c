//! What became of asking each observer: why samples are missing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::metric::Metric;
use super::{MOST_DETAIL, Observer, Page, PageGap, PageScope, SampleSubject, Why};
use crate::know::{Gap, Mono};
use crate::names::InUse;

/// For how long it is remembered why there was no answer, in milliseconds: longer than the slowest feeder takes to ask again.
const ANSWER: u64 = 600_000;

/// What became of asking one observer for one metric.
#[derive(Debug, Clone, PartialEq)]
struct Answered {
    at: Mono,
    gap: Option<(Why, Arc<str>)>,
}

/// The last answer of each observer, by what was asked.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<(PageScope, Metric, Observer), Answered>);

impl Answers {
    /// Notes the names that it holds.
    pub(super) fn hold(&self, held: &mut InUse) {
        held.all(self.0.keys());
    }

    /// Forgets what other observers have answered.
    pub(super) fn keep_only(&mut self, observers: &[Observer]) {
        self.0.retain(|key, _| observers.contains(&key.2));
    }

    /// Remembers whether an answer was whole. Returns whether that is another answer than before.
    pub(super) fn note(
        &mut self,
        now: Mono,
        page: &Page<'_>,
        scope: PageScope,
        gap: Option<PageGap<'_>>,
    ) -> bool {
        let gap = gap.map(|one| (one.why, Arc::from(cut(one.detail))));
        let mut changed = false;
        for metric in page.metrics.iter() {
            let answer = Answered {
                at: now,
                gap: gap.clone(),
            };
            let before = self.0.insert((scope, metric, page.observer), answer);
            changed |= before.is_none_or(|one| one.gap != gap);
        }
        changed
    }

    /// Forgets what was answered too long ago, and says whether there was any.
    pub(super) fn forget_old(&mut self, now: Mono) -> bool {
        let before = self.0.len();
        self.0.retain(|_, one| now.since(one.at) < ANSWER);
        self.0.len() < before
    }

    /// When the next one is forgotten.
    pub(super) fn due(&self) -> Option<Mono> {
        self.0.values().map(|one| one.at.plus(ANSWER)).min()
    }

    /// Observers of which every answer but those about Pods of teams is a gap, with the first of these.
    pub(super) fn failing(&self) -> BTreeMap<Observer, (Why, Arc<str>)> {
        let mut failing: BTreeMap<Observer, Option<(Why, Arc<str>)>> = BTreeMap::new();
        for ((scope, _, observer), answered) in &self.0 {
            if matches!(scope, PageScope::Backends { .. }) {
                continue;
            }
            let first = failing.entry(*observer).or_insert_with(|| answered.gap.clone());
            if answered.gap.is_none() {
                *first = None;
            }
        }
        let failing = failing.into_iter();
        failing
            .filter_map(|(observer, gap)| Some((observer, gap?)))
            .collect()
    }

    /// Why none of these observers has a sample of a metric of a subject.
    pub(super) fn missing(&self, observers: &[Observer], metric: Metric, subject: SampleSubject) -> Gap {
        let scopes: &[PageScope] = &match subject {
            SampleSubject::Cluster => [PageScope::Cluster; 2],
            SampleSubject::Node(_) => [PageScope::Nodes; 2],
            SampleSubject::Instance(at) | SampleSubject::Resource(at, _) => {
                [PageScope::Instance(at), PageScope::Instances]
            }
            SampleSubject::Backend {
                namespace, service, ..
            } => [PageScope::Backends { namespace, service }; 2],
        };
        let mut text = metric.name().to_owned();
        let mut answered = 0;
        for observer in observers {
            let answer = |scope: &PageScope| self.0.get(&(*scope, metric, *observer));
            let Some(answer) = scopes.iter().find_map(answer) else {
                continue;
            };
            answered += 1;
            let (why, detail) = match &answer.gap {
                Some((why, detail)) => (*why, &**detail),
                None => (Why::NoSeries, ""),
            };
            let sign = if answered == 1 { ':' } else { ';' };
            let colon = if detail.is_empty() { "" } else { ": " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{sign} {observer} {}{colon}{detail}", why.text());
        }
        if answered == 0 {
            let _ = write!(text, ": no answer yet");
        }
        Gap::Unmeasured(text.into())
    }
}

/// The particulars of a gap, no longer than is kept, and without what would break a line.
fn cut(detail: &str) -> String {
    let plain = detail.chars().map(|one| if one.is_control() { ' ' } else { one });
    let mut kept = String::new();
    for one in plain {
        if kept.len() + one.len_utf8() > MOST_DETAIL {
            break;
        }
        kept.push(one);
    }
    kept
}
