//! `preemption-cascade`: no workload keeps losing its Pods to more important ones.

use std::fmt;
use std::sync::Arc;

use crate::history::{PREEMPT_WINDOW, Preempted};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Severity, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::names::Key;
use crate::sample::Metrics;

use super::at_least;

/// Preemptions of one workload within the window.
const PREEMPTIONS: usize = 2;

/// The check.
pub static CHECK: Check = Check {
    id: "preemption-cascade",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Events]),
    uses: Reads::of(&[Source::Deployments, Source::PriorityClasses]),
    profiles: false,
    history: Memory::Needed,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Workload(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
No workload keeps losing its Pods to more important ones.

On a full cluster, every Pod of a higher priority takes the place of one of a lower, whose replacement takes the
place of the next. Where one workload has Pods of two priorities, as in the middle of a rollout that introduces one,
its own new Pods evict its old ones.

## Formula

The check counts Pods whose status has the condition `DisruptionTarget` with reason `PreemptionByScheduler`, by
workload; the workload is read from the Pod's name. Within 600 s:

- at least 2 Pods of one workload were preempted: Violated, `OwnSiblings` where an Event says that one of them had to
  go for a Pod of its own workload, else `Repeated`;
- one was, and an Event says that it had to go for a Pod of its own workload: AtRisk, `OwnSiblings`;
- only Events with reason Preempted say so, of 2 Pods or for a Pod of the own workload: AtRisk, `OnlyEvents`, never
  more than an info.

Who may write in a namespace may write Events there, but not the status of Pods. So an Event says where to look: its
Pod's status is read, by the watch of a policy's Pods or by one request, at most 12 a minute for a namespace and 120
for all. A Pod that is gone by then, or that has become another one of the same name, decides nothing.

It leaves out Pods of a priority below 0, and a Deployment whose PriorityClass has such a value, as far as both are
read: its Pods hold room free for others, as the Kubernetes page on overprovisioning advises, and are meant to go.

Each workload that lost Pods is judged by itself, at most 64 of a namespace. Only the operator counts; an audit does
not judge this. What a first list brings, and what is older than 600 s, is not counted.

## What to do

1. Give the workload that loses a PriorityClass that says what it is worth, by a change that is rolled out as a whole.
2. Add capacity, or make the Pods that win wait: `preemptionPolicy: Never`.
3. Where its Pods are meant to be preempted, give them a PriorityClass with a value below 0.
4. Where only Events say so, compare them with the scheduler's log: anybody who may create Events may have written them.

## What not to do

Do not evict Pods to rebalance while this goes on: each eviction on a full cluster starts the next round.
";

fn judge(look: &Look<'_>, workload: Key) -> Known<Verdict> {
    let Some(one) = look.preempted(workload) else {
        return Ok(Verdict::Met);
    };
    let now = look.now.mono;
    // The next to be forgotten may change the reported number, and the last the verdict.
    let [seen, told, own] = [&one.times, &one.told, &one.own].map(|times| {
        let count = times.count(now, PREEMPT_WINDOW);
        if let Some(end) = times.below(count.max(1), now, PREEMPT_WINDOW) {
            look.wake_at(end);
        }
        count
    });
    let happens = seen >= PREEMPTIONS || told >= PREEMPTIONS || own > 0;
    if !happens || one.placeholder || is_placeholder(look, one)? {
        look.can_look_up(PREEMPT_WINDOW)?;
        look.covered(Source::Events, PREEMPT_WINDOW)?;
        return Ok(Verdict::Met);
    }
    let decides = seen >= PREEMPTIONS;
    let basis = if seen > 0 && own > 0 {
        Basis::OwnSiblings
    } else if decides {
        Basis::Repeated
    } else {
        Basis::OnlyEvents
    };
    let loses = Loses {
        workload: look.show(workload).into(),
        winner: (*one.winner).into(),
        preemptions: at_least(if decides { seen } else { seen.max(told) }),
        basis,
    };
    Ok(if decides {
        Verdict::violated(loses)
    } else {
        Verdict::at_risk(loses)
    })
}

/// Whether a workload is there to make way: a Deployment of a negative priority.
fn is_placeholder(look: &Look<'_>, one: &Preempted) -> Known<bool> {
    // Where Deployments are not read, nothing says that it is one.
    let Ok(deployments) = look.deployments() else {
        return Ok(false);
    };
    let class = deployments
        .get(one.workload)
        .map(|row| row.template.priority_class)
        .filter(|class| !class.is_empty());
    let Some(name) = class else {
        return Ok(false);
    };
    let key = Key {
        name,
        ..Key::default()
    };
    Ok(look
        .priority_classes()?
        .get(key)
        .is_some_and(|class| class.value < 0))
}

/// What shows that a workload loses Pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Basis {
    /// The status of its Pods, and an Event that a Pod of its own took the place of one.
    OwnSiblings,
    /// The status of its Pods.
    Repeated,
    /// Events, which anybody may write.
    OnlyEvents,
}

/// A workload that keeps losing Pods.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Loses {
    workload: Arc<str>,
    /// Whose Pod took the place last, as an Event says; empty when unknown.
    winner: Arc<str>,
    preemptions: usize,
    basis: Basis,
}

impl Explain for Loses {
    fn cause(&self) -> &'static str {
        match self.basis {
            Basis::OwnSiblings => "OwnSiblings",
            Basis::Repeated => "Repeated",
            Basis::OnlyEvents => "OnlyEvents",
        }
    }

    fn at_most(&self) -> Severity {
        match self.basis {
            Basis::OwnSiblings | Basis::Repeated => Severity::Critical,
            Basis::OnlyEvents => Severity::Info,
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = PREEMPT_WINDOW / 1000;
        let (workload, times) = (&self.workload, self.preemptions);
        let times = if times == 1 {
            "once".into()
        } else {
            format!("{times} times")
        };
        match self.basis {
            Basis::OnlyEvents => write!(
                f,
                "Events alone say that Pods of {workload} had to make room at least {times} within {seconds} s"
            ),
            Basis::OwnSiblings => write!(
                f,
                "Pods of {workload} had to make room at least {times} within {seconds} s, for Pods of its own of a \
                 higher priority"
            ),
            Basis::Repeated => {
                write!(
                    f,
                    "Pods of {workload} had to make room at least {times} within {seconds} s"
                )?;
                if self.winner.is_empty() {
                    Ok(())
                } else {
                    write!(f, ", the last time for a Pod of {}", self.winner)
                }
            }
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let events = "Events, reason Preempted";
        let place = match self.basis {
            Basis::OnlyEvents => events,
            Basis::OwnSiblings | Basis::Repeated => "status of Pods, condition DisruptionTarget",
        };
        let number = |what, unit, value: usize| Evidence::watched(what, unit, value, place);
        let mut evidence = vec![
            Evidence::text(
                "workload",
                &Val::measured(self.workload.clone(), "names of its Pods"),
            ),
            number("preemptions", Unit::Count, self.preemptions),
            number("window", Unit::Seconds, (PREEMPT_WINDOW / 1000) as usize),
        ];
        if !self.winner.is_empty() {
            evidence.push(Evidence::text(
                "winner",
                &Val::measured(self.winner.clone(), events),
            ));
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let mut advice: Vec<Advice> = Vec::new();
        if self.basis == Basis::OnlyEvents {
            advice.push("see whether the scheduler's log says the same: who may write in the namespace may write Events".into());
        }
        advice.extend([
            format!(
                "compare the PriorityClass of {} with that of what takes its place",
                self.workload
            )
            .into(),
            "add capacity, or make what wins wait with preemptionPolicy: Never".into(),
            "do not evict Pods to rebalance meanwhile".into(),
        ]);
        advice
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |basis, preemptions, winner: &str| Loses {
        workload: "shop/worker".into(),
        winner: winner.into(),
        preemptions,
        basis,
    };
    vec![
        Verdict::violated(of(Basis::Repeated, 2, "")),
        Verdict::violated(of(Basis::Repeated, 5, "shop/search")),
        Verdict::at_risk(of(Basis::OwnSiblings, 1, "shop/worker")),
        Verdict::violated(of(Basis::OwnSiblings, 2, "shop/worker")),
        Verdict::at_risk(of(Basis::OnlyEvents, 1, "shop/search")),
        Verdict::at_risk(of(Basis::OnlyEvents, 2, "")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Input;
    use crate::index::{Freshness, Part};
    use crate::world::{World, preempted, preempted_pod};
    use rstest::rstest;

    const ID: &str = "preemption-cascade";

    /// One Pod after the other: a second, a workload, who takes its place.
    type Story<'a> = &'a [(u64, &'a str, &'a str)];

    fn play(story: Story<'_>, seen: bool, told: bool) -> World {
        let mut live = World::watched(&[]);
        let mut passed = 0;
        for (number, (at, victim, winner)) in (0..).zip(story) {
            live.wait(at - passed);
            passed = *at;
            if seen {
                live.put(Source::Pods, &preempted_pod(number, victim, 0));
            }
            if told {
                live.put(Source::Events, &preempted(number, victim, winner));
            }
        }
        live
    }

    const REPEATED: &str = "Violated critical Repeated";
    const ONLY_EVENTS: &str = "AtRisk info OnlyEvents";

    #[rstest]
    #[case::one(&[(0, "low", "high")], "", "", "")]
    #[case::two(&[(0, "low", "high"), (1, "low", "high")], REPEATED, REPEATED, ONLY_EVENTS)]
    #[case::just_inside(&[(0, "low", "high"), (600, "low", "high")], REPEATED, REPEATED, ONLY_EVENTS)]
    #[case::just_outside(&[(0, "low", "high"), (601, "low", "high")], "", "", "")]
    #[case::two_workloads(&[(0, "low", "high"), (1, "other", "high")], "", "", "")]
    #[case::a_sibling(&[(0, "low", "low")], "AtRisk warning OwnSiblings", "", ONLY_EVENTS)]
    #[case::siblings(&[(0, "low", "low"), (1, "low", "high")], "Violated critical OwnSiblings", REPEATED, ONLY_EVENTS)]
    #[case::for_whom_is_not_known(&[(0, "low", ""), (1, "low", "")], REPEATED, REPEATED, ONLY_EVENTS)]
    fn preemptions(#[case] story: Story<'_>, #[case] both: &str, #[case] seen: &str, #[case] told: &str) {
        assert_eq!(play(story, true, true).says(ID), both);
        assert_eq!(play(story, true, false).says(ID), seen, "the status alone");
        assert_eq!(play(story, false, true).says(ID), told, "Events alone");
    }

    #[rstest]
    #[case::a_placeholder(-1000, "", "")]
    #[case::an_ordinary_one(0, ONLY_EVENTS, REPEATED)]
    fn pods_that_hold_room_free(#[case] value: i32, #[case] told: &str, #[case] seen: &str) {
        let mut live = World::watched(&[
            (
                Source::Deployments,
                serde_json::json!({
                    "metadata": {"name": "low", "namespace": "shop"},
                    "spec": {"template": {"spec": {"priorityClassName": "p", "containers": []}}},
                }),
            ),
            (
                Source::PriorityClasses,
                serde_json::json!({"metadata": {"name": "p"}, "value": value}),
            ),
        ]);
        for number in 0..3 {
            live.put(Source::Events, &preempted(number, "low", "high"));
        }
        assert_eq!(live.says(ID), told);
        // Their own priority is enough.
        let mut live = World::watched(&[]);
        for number in 0..3 {
            live.put(Source::Pods, &preempted_pod(number, "low", value));
        }
        assert_eq!(live.says(ID), seen);
    }

    #[test]
    fn each_workload_is_judged_by_itself_and_it_ends() {
        let mut live = World::watched(&[]);
        let put = |live: &mut World, number, victim| {
            live.put(Source::Pods, &preempted_pod(number, victim, 0));
            live.put(Source::Events, &preempted(number, victim, "high"));
        };
        (0..7).for_each(|number| put(&mut live, number, "low"));
        assert_eq!(
            live.message(ID),
            "Pods of shop/low had to make room at least 5 times within 600 s, the last time for a Pod of shop/high"
        );
        // Another one changes nothing until it is twice as many.
        let before = live.findings(ID);
        put(&mut live, 8, "low");
        assert_eq!(before, live.findings(ID));
        (100..102).for_each(|number| put(&mut live, number, "other"));
        let subjects: Vec<_> = live
            .findings(ID)
            .iter()
            .map(|one| one.subject.to_string())
            .collect();
        assert_eq!(subjects, ["Workload shop/low", "Workload shop/other"]);
        live.wait(601);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn a_pod_counts_once() {
        let mut live = World::watched(&[]);
        live.put(Source::Pods, &preempted_pod(0, "low", 0));
        for _ in 0..3 {
            live.put(Source::Events, &preempted(0, "low", "high"));
            live.list(Source::Events, &[&preempted(0, "low", "high")]);
            live.list(Source::Pods, &[&preempted_pod(0, "low", 0)]);
        }
        let mut changed = preempted_pod(0, "low", 0);
        changed["metadata"]["labels"] = serde_json::json!({"app": "other"});
        live.put(Source::Pods, &changed);
        assert_eq!(live.says(ID), "");
        live.put(Source::Pods, &preempted_pod(1, "low", 0));
        assert_eq!(live.says(ID), REPEATED);
    }

    #[test]
    fn events_are_needed_and_first_lists_say_nothing() {
        let listed: Vec<_> = (0..9)
            .flat_map(|at| {
                let pod = (Source::Pods, preempted_pod(at, "low", 0));
                [(Source::Events, preempted(at, "low", "low")), pod]
            })
            .collect();
        let mut live = World::watched(&listed);
        assert_eq!(live.says(ID), "");
        live.input(Input::Freshness(
            Source::Events,
            Part::Whole,
            Freshness::unreadable("forbidden"),
        ));
        assert_eq!(live.says(ID), "Unknown unknown");
        assert_eq!(World::complete().found(ID), Vec::<String>::new());
    }
}
