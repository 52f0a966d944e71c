//! `preemption-cascade`: no workload keeps losing its Pods to more important ones.

use std::fmt;
use std::sync::Arc;

use crate::history::{PREEMPT_WINDOW, Preempted};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};

use super::at_least;
use crate::names::Key;

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
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
};

const DOC: &str = "\
No workload keeps losing its Pods to more important ones.

On a full cluster, every Pod of a higher priority takes the place of one of a lower, whose replacement takes the
place of the next. Where one workload has Pods of two priorities, as in the middle of a rollout that introduces one,
its own new Pods evict its old ones.

## Formula

The check counts Events with reason Preempted, by the workload of the Pod that had to go; the workload is read from
the Pod's name. Within 600 s:

- a Pod had to go for one of its own workload: Violated, `OwnSiblings`;
- at least 2 Pods of one workload had to go: Violated, `Repeated`.

It leaves out a Deployment whose PriorityClass has a value below 0, as far as both are read: its Pods hold room free
for others, as the Kubernetes page on overprovisioning advises, and are meant to go.

The workload that lost most is reported. Only the operator counts events; an audit does not judge this. Events that a
first list brings, and events older than 600 s, are not counted.

## What to do

1. Give the workload that loses a PriorityClass that says what it is worth, by a change that is rolled out as a whole.
2. Add capacity, or make the Pods that win wait: `preemptionPolicy: Never`.
3. Where its Pods are meant to be preempted, give them a PriorityClass with a value below 0.

## What not to do

Do not evict Pods to rebalance while this goes on: each eviction on a full cluster starts the next round.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let now = look.now.mono;
    let count = |one: &Preempted| {
        (
            one.own.count(now, PREEMPT_WINDOW),
            one.times.count(now, PREEMPT_WINDOW),
        )
    };
    let mut worst: Option<((usize, usize), &Preempted)> = None;
    for one in look.events().preempted() {
        let (own, all) = count(one);
        let better =
            |held: &((usize, usize), &Preempted)| ((own, all), &held.1.workload) > (held.0, &one.workload);
        if (own > 0 || all >= PREEMPTIONS) && worst.as_ref().is_none_or(better) && !is_placeholder(look, one)?
        {
            worst = Some(((own, all), one));
        }
    }
    let Some(((own, all), worst)) = worst else {
        look.covered(Source::Events, PREEMPT_WINDOW)?;
        return Ok(Verdict::Met);
    };
    // The next to be forgotten may change the reported number, or which workload is the worst.
    let ends = [
        worst.own.below(own, now, PREEMPT_WINDOW),
        worst.times.below(all, now, PREEMPT_WINDOW),
    ];
    if let Some(end) = ends.into_iter().flatten().min() {
        look.wake_at(end);
    }
    Ok(Verdict::violated(Loses {
        workload: (*worst.workload).into(),
        winner: (*worst.winner).into(),
        preemptions: at_least(all),
        own: own > 0,
    }))
}

/// Whether a workload is there to make way: a Deployment of a negative priority.
fn is_placeholder(look: &Look<'_>, one: &Preempted) -> Known<bool> {
    let names = look.names();
    let Some((namespace, name)) = one.workload.split_once('/') else {
        return Ok(false);
    };
    let (Some(namespace), Some(name)) = (names.find(namespace), names.find(name)) else {
        return Ok(false);
    };
    // Where Deployments are not read, nothing says that it is one.
    let Ok(deployments) = look.deployments() else {
        return Ok(false);
    };
    let class = deployments
        .get(Key { namespace, name })
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

/// A workload that keeps losing Pods.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Loses {
    workload: Arc<str>,
    /// Whose Pod took the place last; empty when unknown.
    winner: Arc<str>,
    preemptions: usize,
    /// Whether a Pod of its own took the place of one.
    own: bool,
}

impl Explain for Loses {
    fn cause(&self) -> &'static str {
        if self.own { "OwnSiblings" } else { "Repeated" }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = PREEMPT_WINDOW / 1000;
        let (workload, times) = (&self.workload, self.preemptions);
        write!(
            f,
            "Pods of {workload} had to make room at least {times} times within {seconds} s"
        )?;
        if self.own {
            write!(f, ", for Pods of its own of a higher priority")
        } else if self.winner.is_empty() {
            Ok(())
        } else {
            write!(f, ", the last time for a Pod of {}", self.winner)
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let place = "Events, reason Preempted";
        let number = |what, unit, value: usize| Evidence::watched(what, unit, value, place);
        let mut evidence = vec![
            Evidence::text("workload", &Val::measured(self.workload.clone(), place)),
            number("preemptions", Unit::Count, self.preemptions),
            number("window", Unit::Seconds, (PREEMPT_WINDOW / 1000) as usize),
        ];
        if !self.winner.is_empty() {
            evidence.push(Evidence::text(
                "winner",
                &Val::measured(self.winner.clone(), place),
            ));
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            format!(
                "compare the PriorityClass of {} with that of what takes its place",
                self.workload
            )
            .into(),
            "add capacity, or make what wins wait with preemptionPolicy: Never".into(),
            "do not evict Pods to rebalance meanwhile".into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Input;
    use crate::index::{Freshness, Part};
    use crate::world::{World, preempted};
    use rstest::rstest;

    const ID: &str = "preemption-cascade";

    #[rstest]
    #[case::one(&[(0, "low", "high")], "")]
    #[case::two(&[(0, "low", "high"), (1, "low", "high")], "Violated critical Repeated")]
    #[case::just_inside(&[(0, "low", "high"), (600, "low", "high")], "Violated critical Repeated")]
    #[case::just_outside(&[(0, "low", "high"), (601, "low", "high")], "")]
    #[case::two_workloads(&[(0, "low", "high"), (1, "other", "high")], "")]
    #[case::a_sibling(&[(0, "low", "low")], "Violated critical OwnSiblings")]
    #[case::nobody_said_by_whom(&[(0, "low", ""), (1, "low", "")], "Violated critical Repeated")]
    fn preemptions(#[case] events: &[(u64, &str, &str)], #[case] expected: &str) {
        let mut live = World::watched(&[]);
        let mut passed = 0;
        for (number, (at, victim, winner)) in events.iter().enumerate() {
            live.wait(at - passed);
            passed = *at;
            live.put(Source::Events, &preempted(number as u32, victim, winner));
        }
        assert_eq!(live.says(ID), expected);
    }

    #[rstest]
    #[case::a_placeholder(-1000, "")]
    #[case::an_ordinary_one(0, "Violated critical Repeated")]
    fn pods_that_hold_room_free(#[case] value: i32, #[case] expected: &str) {
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
        assert_eq!(live.says(ID), expected);
    }

    #[test]
    fn it_names_who_loses_and_who_wins_and_ends() {
        let mut live = World::watched(&[]);
        for at in 0..7 {
            live.put(Source::Events, &preempted(at, "low", "high"));
        }
        live.put(Source::Events, &preempted(100, "other", "high"));
        live.put(Source::Events, &preempted(101, "other", "high"));
        assert_eq!(
            live.message(ID),
            "Pods of shop/low had to make room at least 5 times within 600 s, the last time for a Pod of shop/high"
        );
        // Another one changes nothing until it is twice as many.
        let before = live.findings(ID);
        live.put(Source::Events, &preempted(8, "low", "high"));
        assert_eq!(before, live.findings(ID));
        live.wait(601);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn events_are_needed_and_first_lists_say_nothing() {
        let listed: Vec<_> = (0..9)
            .map(|at| (Source::Events, preempted(at, "low", "low")))
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
