//! `preemption-cascade`: no workload keeps losing its Pods to more important ones.

use std::fmt;

use crate::history::{PREEMPT_WINDOW, Preempted};
use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Severities, UntypedCase, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};

use super::at_least;

/// Preemptions of one workload within the window.
const PREEMPTIONS: usize = 2;

/// The check.
pub static CHECK: Check = Check {
    id: "preemption-cascade",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Events]),
    uses: Reads::NONE,
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

Counted are Events with reason Preempted, by the workload of the Pod that had to go; the workload is read from the
Pod's name. Within 600 s:

- a Pod had to go for one of its own workload: Violated, `OwnSiblings`;
- at least 2 Pods of one workload had to go: Violated, `Repeated`.

Told is the workload that lost most. Only the operator counts events; an audit does not judge this. Events that a
first list brings, and events older than 600 s, are not counted.

## What to do

1. Give the workload that loses a PriorityClass that says what it is worth, by a change that is rolled out as a whole.
2. Add capacity, or make the Pods that win wait: `preemptionPolicy: Never`.
3. Where batch work is meant to be preempted, this is the price; give it an exception.

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
    let worst = look
        .events()
        .preempted()
        .map(|one| (count(one), one))
        .filter(|((own, all), _)| *own > 0 || *all >= PREEMPTIONS)
        .max_by(|a, b| (a.0, &b.1.workload).cmp(&(b.0, &a.1.workload)));
    let Some(((own, all), worst)) = worst else {
        look.covered(Source::Events, PREEMPT_WINDOW)?;
        return Ok(Verdict::Met);
    };
    // The next to be forgotten may change the number that is told, or which workload is the worst.
    let ends = [
        worst.own.below(own, now, PREEMPT_WINDOW),
        worst.times.below(all, now, PREEMPT_WINDOW),
    ];
    if let Some(end) = ends.into_iter().flatten().min() {
        look.wake_at(end);
    }
    let place = "Events, reason Preempted";
    let number = |what, unit, value: usize| Evidence::watched(what, unit, value, place);
    let mut evidence = vec![
        Evidence::text("workload", &Val::measured((*worst.workload).into(), place)),
        number("preemptions", Unit::Count, at_least(all)),
        number("window", Unit::Seconds, (PREEMPT_WINDOW / 1000) as usize),
    ];
    if !worst.winner.is_empty() {
        evidence.push(Evidence::text(
            "winner",
            &Val::measured((*worst.winner).into(), place),
        ));
    }
    let cause = if own > 0 { "OwnSiblings" } else { "Repeated" };
    Ok(Verdict::Violated(untyped(cause, evidence)))
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "Pods of {} had to make room at least {} times within {}",
        case.show("workload"),
        case.show("preemptions"),
        case.cite("window")
    )?;
    if case.cause == "OwnSiblings" {
        write!(f, "; their own siblings of a higher priority took their place")
    } else if case.find("winner").is_some() {
        write!(f, "; the last time for a Pod of {}", case.show("winner"))
    } else {
        Ok(())
    }
}

fn advise(case: &UntypedCase) -> Vec<String> {
    vec![
        format!(
            "compare the PriorityClass of {} with that of what takes its place",
            case.show("workload")
        ),
        "add capacity, or make what wins wait with preemptionPolicy: Never".into(),
        "do not evict Pods to rebalance meanwhile".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;
    use crate::checks::cluster_fixture::Cluster;
    use crate::checks::live_fixture::{Live, preempted};
    use crate::index::{Freshness, Part};
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
        let mut live = Live::with(&[]);
        let mut passed = 0;
        for (number, (at, victim, winner)) in events.iter().enumerate() {
            live.wait(at - passed);
            passed = *at;
            live.put(Source::Events, &preempted(number as u32, victim, winner));
        }
        assert_eq!(live.says(ID), expected);
    }

    #[test]
    fn it_names_who_loses_and_who_wins_and_ends() {
        let mut live = Live::with(&[]);
        for at in 0..7 {
            live.put(Source::Events, &preempted(at, "low", "high"));
        }
        live.put(Source::Events, &preempted(100, "other", "high"));
        live.put(Source::Events, &preempted(101, "other", "high"));
        assert_eq!(
            live.message(ID),
            "Pods of shop/low had to make room at least 5 times within 600 s (Events, reason Preempted); the last time \
             for a Pod of shop/high"
        );
        // Another one is no news until it is twice as many.
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
        let mut live = Live::with(&listed);
        assert_eq!(live.says(ID), "");
        live.input(Input::Freshness(
            Source::Events,
            Part::Whole,
            Freshness::unreadable("forbidden"),
        ));
        assert_eq!(live.says(ID), "Unknown unknown");
        assert_eq!(Cluster::empty().says(ID), Vec::<String>::new());
    }
}
