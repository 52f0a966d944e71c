//! Single Pods to read, because an Event says that something happened to them: asked for within budgets, by namespace and in
//! all, so that no flood of Events makes this program or the API server busy.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::know::Mono;
use crate::sources::disruption::{DisruptionReason, PodDisruption};

/// Replicas that the manifests run (`manifests/deployment.yaml`). Each looks up what it judges by, so that a standby knows as
/// much when it takes over, and each has its share of what all of them may ask.
const REPLICAS: usize = 2;
/// Reads of Pods of one namespace, a minute: 12 by all replicas.
const OF_NAMESPACE: usize = 12 / REPLICAS;
/// Reads of Pods of all namespaces, a minute: 120 by all replicas.
const IN_ALL: usize = 120 / REPLICAS;
/// A minute, in milliseconds.
const MINUTE: u64 = 60_000;
/// Reads under way at a time.
const AT_ONCE: usize = 8;
/// How long an answer may take, in milliseconds; later it is asked for again.
const ANSWER: u64 = 30_000;
/// Pods that wait, of one namespace. What comes while so many wait is not looked at.
const WAITING_OF_NAMESPACE: usize = 16;
/// Pods that wait, in all; then the namespace of which most wait gives up its last.
const WAITING: usize = 256;
/// After how long a Pod is read again that shows nothing yet, in milliseconds: a kubelet tells of an eviction before it
/// ends the Pod, and writes the status after (`evictPod` in `pkg/kubelet/eviction/eviction_manager.go`).
const AGAIN: [u64; 2] = [5_000, 30_000];

/// A Pod to read once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodQuery {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// What became of reading a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodAnswer<'a> {
    /// It is there; the object as JSON.
    Found(&'a [u8]),
    /// There is none of this name.
    Gone,
    /// The right to get Pods is missing, and what the API server says of it.
    Refused(&'a str),
    /// There was no answer that says anything.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    pod: PodQuery,
    /// As the Event says: 0 where it does not.
    uid: u64,
    reason: DisruptionReason,
    /// Not before this.
    from: Mono,
    /// When it was asked for, while no answer has come.
    asked: Option<Mono>,
    /// How often an answer said nothing.
    tries: usize,
}

/// Pods that are worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lookups {
    waiting: Vec<Waiting>,
    /// When Pods of which namespace were asked for, in the last minute.
    spent: VecDeque<(Mono, Box<str>)>,
    /// Why the API server refuses it, and when it said so.
    refused: Option<(Mono, Arc<str>)>,
}

impl Lookups {
    /// A Pod becomes worth a look.
    pub(super) fn want(&mut self, now: Mono, pod: PodQuery, uid: u64, reason: DisruptionReason) {
        let of = |one: &Waiting| one.pod.namespace == pod.namespace;
        if self.waiting.iter().any(|one| one.pod == pod && one.uid == uid)
            || self.waiting.iter().filter(|one| of(one)).count() >= WAITING_OF_NAMESPACE
        {
            return;
        }
        if self.waiting.len() >= WAITING {
            self.make_room();
        }
        self.waiting.push(Waiting {
            pod,
            uid,
            reason,
            from: now,
            asked: None,
            tries: 0,
        });
    }

    /// Drops the last of the namespace of which most wait.
    fn make_room(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for one in &self.waiting {
            *counts.entry(&one.pod.namespace).or_default() += 1;
        }
        let most = counts
            .into_iter()
            .max_by_key(|one| one.1)
            .map(|one| one.0.to_owned());
        let last = self
            .waiting
            .iter()
            .rposition(|one| Some(&*one.pod.namespace) == most.as_deref());
        if let Some(at) = last {
            self.waiting.remove(at);
        }
    }

    /// The Pods to read now.
    pub(super) fn next(&mut self, now: Mono) -> Vec<PodQuery> {
        while self.spent.front().is_some_and(|one| now.since(one.0) > MINUTE) {
            self.spent.pop_front();
        }
        let mut next = Vec::new();
        loop {
            // Of those that may go, one of the namespace that has had least.
            let budget = self.budget();
            let ready = self.waiting.iter().enumerate();
            let ready = ready.filter(|one| budget.opens(one.1) <= now);
            let first = ready.min_by_key(|one| (budget.had(&one.1.pod.namespace), one.1.from));
            let Some(at) = first.map(|one| one.0) else { break };
            if let Some(one) = self.waiting.get_mut(at) {
                // Asked for again: no answer has come.
                one.tries += usize::from(one.asked.is_some());
                if one.tries > AGAIN.len() {
                    self.waiting.remove(at);
                    continue;
                }
                one.asked = Some(now);
                self.spent.push_back((now, one.pod.namespace.clone()));
                next.push(one.pod.clone());
            }
        }
        next
    }

    /// When there is a Pod to read next.
    pub(super) fn due(&self) -> Option<Mono> {
        let budget = self.budget();
        self.waiting.iter().map(|one| budget.opens(one)).min()
    }

    fn budget(&self) -> LookupBudget<'_> {
        let mut had: BTreeMap<&str, VecDeque<Mono>> = BTreeMap::new();
        for (at, namespace) in &self.spent {
            had.entry(namespace).or_default().push_back(*at);
        }
        let after = |at: Mono| at.plus(MINUTE).plus(1);
        let nth = |count: usize, most: usize| count.checked_sub(most);
        let all = nth(self.spent.len(), IN_ALL).and_then(|at| Some(after(self.spent.get(at)?.0)));
        let under_way = self.waiting.iter().filter_map(|one| one.asked);
        let slot = if under_way.clone().count() >= AT_ONCE {
            under_way.min().map(|asked| asked.plus(ANSWER))
        } else {
            None
        };
        LookupBudget {
            namespaces: had
                .into_iter()
                .map(|(namespace, times)| {
                    let full = nth(times.len(), OF_NAMESPACE).and_then(|at| Some(after(*times.get(at)?)));
                    (namespace, (times.len(), full))
                })
                .collect(),
            opens: all.max(slot),
        }
    }

    /// Takes in what became of reading a Pod, with what its status says where it is there. Returns what that decides.
    pub(super) fn answered(&mut self, now: Mono, pod: &PodQuery, answer: &Answer) -> Option<PodDisruption> {
        let at = self
            .waiting
            .iter()
            .position(|one| one.pod == *pod && one.asked.is_some())?;
        match answer {
            Answer::Refused(why) => self.refused = Some((now, why.clone())),
            Answer::Found(..) | Answer::Gone => self.refused = None,
            Answer::Failed => {}
        }
        let one = self.waiting.get_mut(at)?;
        let (decided, again) = match answer {
            // One of the same name that came after.
            Answer::Found(uid, _) if one.uid != 0 && one.uid != *uid => (None, false),
            Answer::Found(_, Some(disruption)) => (Some(*disruption), false),
            // The scheduler writes the status before the Event.
            Answer::Found(_, None) => (None, one.reason == DisruptionReason::Evicted),
            Answer::Gone => (None, false),
            Answer::Refused(_) | Answer::Failed => (None, true),
        };
        match AGAIN.get(one.tries).filter(|_| again) {
            Some(wait) => {
                one.tries += 1;
                one.asked = None;
                one.from = now.plus(*wait);
            }
            None => drop(self.waiting.remove(at)),
        }
        decided
    }

    /// Whether the last word was that Pods may not be read.
    pub(super) const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Why Pods could not be read within the last so many milliseconds.
    pub(super) fn refused(&self, now: Mono, window: u64) -> Option<(Mono, &Arc<str>)> {
        let (at, why) = self.refused.as_ref()?;
        (now.since(*at) <= window).then_some((*at, why))
    }
}

/// What became of reading a Pod, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Its uid (a hash), and that it was made to go.
    Found(u64, Option<PodDisruption>),
    Gone,
    Refused(Arc<str>),
    Failed,
}

/// What may be asked for, and when more may.
struct LookupBudget<'a> {
    /// What each namespace had in the last minute, and when it may have more.
    namespaces: BTreeMap<&'a str, (usize, Option<Mono>)>,
    /// When more may be asked for at all.
    opens: Option<Mono>,
}

impl LookupBudget<'_> {
    fn had(&self, namespace: &str) -> usize {
        self.namespaces.get(namespace).map_or(0, |one| one.0)
    }

    /// When this may be asked for.
    fn opens(&self, one: &Waiting) -> Mono {
        let of_namespace = self.namespaces.get(&*one.pod.namespace).and_then(|one| one.1);
        let since = match one.asked {
            Some(asked) => asked.plus(ANSWER),
            None => one.from,
        };
        since
            .max(self.opens.unwrap_or_default())
            .max(of_namespace.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const NOW: Mono = Mono(1_000_000);

    fn pod(namespace: &str, name: &str) -> PodQuery {
        PodQuery {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    fn evicted() -> PodDisruption {
        PodDisruption {
            reason: DisruptionReason::Evicted,
            at: None,
            uid: 7,
            placeholder: false,
        }
    }

    /// One Pod that was asked for.
    fn asked(reason: DisruptionReason) -> Lookups {
        let mut lookups = Lookups::default();
        lookups.want(NOW, pod("shop", "web-0"), 7, reason);
        assert_eq!(lookups.next(NOW), [pod("shop", "web-0")]);
        lookups
    }

    #[rstest]
    #[case::decided(DisruptionReason::Evicted, Answer::Found(7, Some(evicted())), true, &[])]
    #[case::another_of_that_name(DisruptionReason::Evicted, Answer::Found(8, Some(evicted())), false, &[])]
    #[case::gone(DisruptionReason::Evicted, Answer::Gone, false, &[])]
    #[case::forged(DisruptionReason::Preempted, Answer::Found(7, None), false, &[])]
    #[case::not_yet(DisruptionReason::Evicted, Answer::Found(7, None), false, &[5_000, 30_000])]
    #[case::refused(DisruptionReason::Preempted, Answer::Refused("no".into()), false, &[5_000, 30_000])]
    #[case::silent(DisruptionReason::Preempted, Answer::Failed, false, &[5_000, 30_000])]
    fn answers(
        #[case] reason: DisruptionReason,
        #[case] answer: Answer,
        #[case] decides: bool,
        #[case] again: &[u64],
    ) {
        let mut lookups = asked(reason);
        let mut now = NOW;
        for wait in again {
            let decided = lookups.answered(now, &pod("shop", "web-0"), &answer);
            assert_eq!((decided, lookups.due()), (None, Some(now.plus(*wait))));
            now = now.plus(*wait);
            assert_eq!(lookups.next(now), [pod("shop", "web-0")]);
        }
        let decided = lookups.answered(now, &pod("shop", "web-0"), &answer);
        assert_eq!((decided.is_some(), lookups.due()), (decides, None));
        assert_eq!(lookups.is_refused(), matches!(answer, Answer::Refused(_)));
        // This one was not asked for.
        assert_eq!(
            lookups.answered(now, &pod("shop", "web-0"), &Answer::Found(7, Some(evicted()))),
            None
        );
    }

    #[test]
    fn an_answer_that_never_comes_is_waited_for_three_times() {
        let mut lookups = asked(DisruptionReason::Preempted);
        for times in 1..=3 {
            let due = lookups.due().unwrap();
            assert_eq!(due, NOW.plus(times * ANSWER));
            assert_eq!(lookups.next(due).len(), usize::from(times < 3));
        }
        assert_eq!(lookups.due(), None);
    }

    #[test]
    fn a_flooding_namespace_delays_no_other() {
        let mut lookups = Lookups::default();
        for at in 0..1_000 {
            lookups.want(
                NOW,
                pod("crowd", &format!("p{at}")),
                0,
                DisruptionReason::Preempted,
            );
        }
        lookups.want(NOW, pod("shop", "web-0"), 0, DisruptionReason::Preempted);
        assert!(lookups.next(NOW).contains(&pod("shop", "web-0")));
        for at in 0..100 {
            let name = format!("n{at}");
            for one in 0..100 {
                lookups.want(NOW, pod(&name, &one.to_string()), 0, DisruptionReason::Preempted);
            }
        }
        lookups.want(NOW, pod("late", "web-0"), 0, DisruptionReason::Preempted);
        assert!(lookups.waiting.len() <= WAITING);
        assert!(lookups.waiting.iter().any(|one| one.pod == pod("late", "web-0")));
    }

    proptest! {
        /// Within any minute no namespace has more than its share, nor all together; what is due is always asked for.
        #[test]
        fn budgets_hold(steps in prop::collection::vec((0_u8..14, 0_u16..40, 0_u64..9_000, 0_u8..4), 1..300)) {
            let (mut lookups, mut now, mut log) = (Lookups::default(), NOW, Vec::new());
            for (namespace, name, wait, answer) in steps {
                lookups.want(now, pod(&namespace.to_string(), &name.to_string()), 7, DisruptionReason::Evicted);
                for one in lookups.next(now) {
                    log.push((now, one.namespace.clone()));
                    let answer = match answer {
                        0 => Answer::Found(7, None),
                        1 => Answer::Gone,
                        2 => Answer::Failed,
                        _ => continue,
                    };
                    lookups.answered(now, &one, &answer);
                }
                for one in lookups.next(now) {
                    log.push((now, one.namespace.clone()));
                }
                prop_assert!(lookups.due().is_none_or(|due| due > now), "a deadline that nothing serves");
                now = now.plus(wait);
            }
            for (at, one) in &log {
                let minute = || log.iter().filter(|other| other.0 <= *at && at.since(other.0) <= MINUTE);
                prop_assert!(minute().count() <= IN_ALL);
                prop_assert!(minute().filter(|other| other.1 == *one).count() <= OF_NAMESPACE);
            }
        }
    }
}
