//! `pod-churn-storm`: Pods do not come and go faster than anybody can follow.

use std::fmt;

use crate::history::{STORM_FACTOR, WARM_MINUTES};
use crate::judge::{Case, Check, Evidence, Judge, Look, Memory, Severities, UntypedCase, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};

/// How long slices must have been watched before silence means calm, in milliseconds.
const CALM: u64 = 300_000;

/// The check.
pub static CHECK: Check = Check {
    id: "pod-churn-storm",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::EndpointSlices]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Needed,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
};

const DOC: &str = "\
Pods do not come and go faster than anybody can follow.

When Pods live just long enough to be announced, everything that follows them drowns: proxies, registries, load
balancers, the API server. The Pods themselves look fine, one by one.

## Formula

Counted are endpoints in EndpointSlices, each an address of a Pod that belongs to a Service; Pods without a Service
are not seen, and a Pod with two Services or two address families counts for each. An endpoint that moves between
slices of its Service neither comes nor goes.

A storm is when all of this holds:

- in one minute at least 30 endpoints come, and more than 5 times as many as in 95 of 100 minutes of the last day;
- of the endpoints that went within 5 minutes, at least 10, more than half lived for less than 120 s.

That is Violated; AtRisk while fewer than 60 minutes of history are in memory. Minutes of a storm are not what is
usual. The numbers told are those of its beginning, and it is over 5 minutes after it was last seen.

Only the operator has a history; an audit does not judge this. What a first list or a list after a gap brings is not
counted as coming.

## What to do

1. Look at the workload that the message names, and at why its Pods end: logs of the last container, Events, node.
2. Pause its rollout, Job or autoscaler. Nothing else makes it stop.

## What not to do

Do not restart what is overrun (proxies, DNS, the registry): on its return it has to learn everything at once.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let now = look.now.mono;
    let history = look.history();
    let Some(storm) = history.backends().churn().storm(now) else {
        look.covered(Source::EndpointSlices, CALM)?;
        return Ok(Verdict::Met);
    };
    look.wake_at(storm.until());
    let place = "EndpointSlices, as watched";
    let number = |what, unit, value: u32| Evidence::watched(what, unit, value, place);
    let mut evidence = vec![
        number("born", Unit::Count, storm.born),
        number("usual", Unit::Count, storm.usual),
        number("short", Unit::Count, storm.short),
        number("ended", Unit::Count, storm.short + storm.long),
        number("baseline", Unit::Count, storm.minutes as u32),
        number("factor", Unit::Count, STORM_FACTOR),
    ];
    if let Some((service, count)) = storm.top {
        let name = look.show(service);
        evidence.push(Evidence::text("top", &Val::measured(name.into(), place)));
        evidence.push(number("topCount", Unit::Count, count));
    }
    Ok(if storm.minutes < WARM_MINUTES {
        Verdict::AtRisk(untyped("ShortBaseline", evidence))
    } else {
        Verdict::Violated(untyped("ChurnStorm", evidence))
    })
}

fn untyped(cause: &'static str, evidence: Vec<Evidence>) -> Case {
    UntypedCase::case(cause, evidence, say, advise)
}

fn say(case: &UntypedCase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{} endpoints came within 60 s ({} is usual: the 95th percentile of {} minutes), and {} of the {} that went \
         within 300 s had lived for less than 120 s (EndpointSlices, as watched)",
        case.show("born"),
        case.show("usual"),
        case.show("baseline"),
        case.show("short"),
        case.show("ended")
    )?;
    if case.find("top").is_some() {
        write!(f, "; most are of Service {}", case.show("top"))?;
    }
    Ok(())
}

fn advise(case: &UntypedCase) -> Vec<String> {
    let mut advice = vec![];
    if case.find("top").is_some() {
        advice.push(format!(
            "find out why the Pods behind Service {} end: kubectl get events, logs of the previous container",
            case.show("top")
        ));
    }
    advice.push("pause the rollout, Job or autoscaler that makes these Pods".into());
    advice.push("do not restart what they overrun".into());
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;
    use crate::index::{Freshness, Part};
    use crate::world::{World, slice_part};
    use rstest::rstest;
    use serde_json::Value;

    const ID: &str = "pod-churn-storm";

    fn generation(number: u32, size: u32) -> Value {
        let endpoints: Vec<_> = (0..size).map(|at| (number * 1000 + at, "n1", true)).collect();
        slice_part("dev", 1, &endpoints)
    }

    fn start(minutes: u64) -> World {
        let mut live = World::watched(&[(Source::EndpointSlices, generation(0, 30))]);
        live.wait(minutes * 60);
        live
    }

    /// Replaces all endpoints every so many seconds.
    fn replace(live: &mut World, size: u32, seconds: u64, times: u32) {
        for number in 1..=times {
            live.put(Source::EndpointSlices, &generation(number, size));
            live.wait(seconds);
        }
    }

    #[rstest]
    #[case::storm(62, 30, 20, 9, "Violated critical ChurnStorm")]
    #[case::too_early_to_be_sure(30, 30, 20, 9, "AtRisk warning ShortBaseline")]
    #[case::few(62, 9, 20, 9, "")]
    #[case::long_lives(62, 100, 130, 9, "")]
    #[case::one_replacement(62, 100, 20, 1, "")]
    fn storms(
        #[case] minutes: u64,
        #[case] size: u32,
        #[case] seconds: u64,
        #[case] times: u32,
        #[case] expected: &str,
    ) {
        let mut live = start(minutes);
        replace(&mut live, size, seconds, times);
        assert_eq!(live.says(ID), expected);
    }

    #[test]
    fn it_names_the_service_and_ends() {
        let mut live = start(62);
        replace(&mut live, 40, 20, 9);
        let message = live.message(ID);
        assert!(message.contains("most are of Service shop/dev"), "{message}");
        assert!(message.contains("0 is usual"), "{message}");
        // Its beginning is told, not each of its Pods.
        let before = live.findings(ID);
        live.put(Source::EndpointSlices, &generation(50, 40));
        assert_eq!(before, live.findings(ID));
        live.wait(299);
        assert_eq!(live.says(ID), "Violated critical ChurnStorm");
        live.wait(2);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn what_is_usual_here_is_no_storm() {
        let mut live = start(1);
        // A cluster of short jobs: 60 endpoints a minute, all day long.
        replace(&mut live, 20, 20, 3 * 90);
        live.wait(301);
        replace(&mut live, 25, 20, 30);
        assert_eq!(live.says(ID), "");
        replace(&mut live, 250, 20, 9);
        assert_eq!(live.says(ID), "Violated critical ChurnStorm");
    }

    #[test]
    fn lists_are_no_storm() {
        let mut live = start(62);
        for number in 1..20 {
            live.input(Input::Freshness(
                Source::EndpointSlices,
                Part::Whole,
                Freshness::Stale,
            ));
            live.list(Source::EndpointSlices, &[&generation(number, 100)]);
            live.wait(5);
        }
        assert_eq!(live.says(ID), "");
        // Nor is a list that says the same again.
        for _ in 0..20 {
            live.list(Source::EndpointSlices, &[&generation(19, 100)]);
        }
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn endpoints_that_move_between_slices_neither_come_nor_go() {
        let mut live = start(62);
        let all: Vec<_> = (0..30).map(|at| (at, "n1", true)).collect();
        for round in 0..40 {
            let (from, to) = (1 + round % 2, 2 - round % 2);
            live.put(Source::EndpointSlices, &slice_part("dev", to, &all));
            live.put(Source::EndpointSlices, &slice_part("dev", from, &[]));
            live.wait(5);
        }
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn an_audit_does_not_speak_of_it() {
        let mut world = World::complete();
        assert_eq!(world.says(ID), "");
    }

    #[test]
    fn it_needs_slices() {
        let mut live = start(62);
        live.input(Input::Freshness(
            Source::EndpointSlices,
            Part::Whole,
            Freshness::unreadable("forbidden"),
        ));
        assert_eq!(live.says(ID), "Unknown unknown");
    }
}
