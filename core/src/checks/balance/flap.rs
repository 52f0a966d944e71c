//! `endpoint-flap`: no more than a tenth of a Service's endpoints come and go.

use std::collections::BTreeSet;
use std::fmt;

use crate::history::{FLAP_FLIPS, FLAP_WINDOW};
use crate::index::Part;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, ServiceCase, Severities, Verdict};
use crate::know::{Gap, Known, Reads, Source, Unit};
use crate::sample::Metrics;
use crate::sources::service::ServiceType;

/// Share of endpoints that may flap, in percent.
const SHARE_PERCENT: usize = 10;

/// The check.
pub static CHECK: Check = Check {
    id: "endpoint-flap",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::Services, Source::EndpointSlices]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Needed,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Service(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
No more than a tenth of a Service's endpoints keep changing between ready and not ready.

An endpoint that comes and goes takes every proxy of the cluster with it: each change is programmed on each node, and
each time the connections are spread anew. One such Pod has a fault of its own; many point to a probe that is too strict, a
dependency that all of them probe, or an overloaded node.

## Formula

A flip is a change of `conditions.serving` (of `ready` where a slice has none) of one address within its EndpointSlice,
in either direction. An endpoint that comes, goes or terminates does not flip, so a rollout does not either. An endpoint
with more than 3 flips within 600 s flaps.

- more than 10 % of the Service's endpoints flap, and at least two of them or all there are: Violated;
- fewer: AtRisk.

A Service with `publishNotReadyAddresses` keeps its endpoints ready; `serving` shows the state of their Pods.

Flips are counted by the operator while it watches; an audit has seen none and does not judge this. After a start, or
after its watch was interrupted, the operator says Unknown for 600 s unless it has already seen enough.

## What to do

1. Compare the readiness probe's timeout and threshold with how long an answer takes under load.
2. See whether the probe asks a dependency: then one slow dependency takes every Pod away at once.
3. See whether the endpoints that flap are on one node.

## What not to do

Do not restart the Pods: the load of those that are away goes to the rest, and they are next.
";

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    if case.service.kind == ServiceType::ExternalName {
        return Ok(Verdict::NotApplicable("a DNS alias has no endpoints"));
    }
    let now = look.now.mono;
    let addresses: BTreeSet<_> = look
        .endpoints(case.key)?
        .iter()
        .filter(|one| !one.terminating)
        .map(|one| one.address)
        .collect();
    let history = look.history();
    let backends = history.backends();
    let flapping = backends.flapping(now, case.key, addresses.iter().copied());
    if let Some(until) = flapping.until {
        look.wake_at(until);
    }
    if flapping.count == 0 {
        history.covers(now, Source::EndpointSlices, Part::Whole, FLAP_WINDOW)?;
        if backends.is_full() {
            return Err(Gap::Opaque(
                "more endpoints of the cluster flip than evenkeel remembers".into(),
            ));
        }
        return Ok(Verdict::Met);
    }
    let found = Unsteady {
        flapping: flapping.count,
        endpoints: addresses.len(),
    };
    // One Pod is its own trouble, however few there are beside it.
    let several = flapping.count > 1 || flapping.count == addresses.len();
    Ok(
        if several && flapping.count * 100 > addresses.len() * SHARE_PERCENT {
            Verdict::violated(found)
        } else {
            Verdict::at_risk(found)
        },
    )
}

/// Endpoints that change between ready and not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Unsteady {
    flapping: usize,
    endpoints: usize,
}

impl Explain for Unsteady {
    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flapping, endpoints, seconds) = (self.flapping, self.endpoints, FLAP_WINDOW / 1000);
        write!(
            f,
            "{flapping} of {endpoints} endpoints changed between ready and not ready at least {FLAP_FLIPS} times \
             within {seconds} s"
        )
    }

    fn evidence(&self) -> Vec<Evidence> {
        let place = "EndpointSlice conditions.ready, as watched";
        let number = |what, value: usize| Evidence::watched(what, Unit::Count, value, place);
        vec![
            number("flapping", self.flapping),
            number("endpoints", self.endpoints),
            number("flips", FLAP_FLIPS),
            Evidence::watched("window", Unit::Seconds, FLAP_WINDOW / 1000, place),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            "compare timeoutSeconds and failureThreshold of the readiness probe with how long its answer takes under \
             load"
                .into(),
            "see whether the probe asks a dependency, or whether these endpoints share a node".into(),
            "leave the Pods running until that is known: the rest would carry their load".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |flapping, endpoints| Unsteady { flapping, endpoints };
    vec![Verdict::violated(of(4, 10)), Verdict::at_risk(of(1, 10))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Freshness;
    use crate::know::Mono;
    use crate::world::{World, service, slice_part};
    use rstest::rstest;
    use serde_json::json;

    const ID: &str = "endpoint-flap";

    /// Ten endpoints of which some are not ready.
    fn web(away: u32) -> serde_json::Value {
        let endpoints: Vec<_> = (0..10).map(|at| (at, "n1", at >= away)).collect();
        slice_part("web", 1, &endpoints)
    }

    fn start() -> World {
        World::watched(&[
            (Source::Services, service("web", json!({}))),
            (Source::EndpointSlices, web(0)),
        ])
    }

    #[rstest]
    #[case::three_flips(2, 3, "")]
    #[case::four_flips_of_a_tenth(1, 4, "AtRisk info")]
    #[case::four_flips_of_two_tenths(2, 4, "Violated warning")]
    #[case::all(10, 8, "Violated warning")]
    fn verdicts(#[case] away: u32, #[case] flips: u32, #[case] expected: &str) {
        let mut live = start();
        for at in 0..flips {
            live.wait(60);
            live.put(Source::EndpointSlices, &web(if at % 2 == 0 { away } else { 0 }));
        }
        assert_eq!(live.says(ID), expected);
    }

    #[rstest]
    #[case::one_of_three(3, 1, "AtRisk info")]
    #[case::two_of_three(3, 2, "Violated warning")]
    #[case::the_only_one(1, 1, "Violated warning")]
    #[case::a_tenth(20, 2, "AtRisk info")]
    #[case::above_a_tenth(19, 2, "Violated warning")]
    fn few_endpoints(#[case] all: u32, #[case] away: u32, #[case] expected: &str) {
        let of = |away| -> Vec<_> { (0..all).map(|at| (at, "n1", at >= away)).collect() };
        let mut live = World::watched(&[
            (Source::Services, service("web", json!({}))),
            (Source::EndpointSlices, slice_part("web", 1, &of(0))),
        ]);
        for at in 0..4 {
            live.put(
                Source::EndpointSlices,
                &slice_part("web", 1, &of(if at % 2 == 0 { away } else { 0 })),
            );
        }
        assert_eq!(live.says(ID), expected);
    }

    #[test]
    fn what_is_published_though_not_ready_flips_by_serving() {
        let mut live = start();
        for at in 0..4 {
            let mut slice = web(0);
            for one in slice["endpoints"].as_array_mut().unwrap() {
                one["conditions"]["serving"] = (at % 2 == 1).into();
            }
            live.put(Source::EndpointSlices, &slice);
            live.wait(20);
        }
        assert_eq!(live.says(ID), "Violated warning");
    }

    #[test]
    fn it_ends_with_the_window_by_itself() {
        let mut live = start();
        for at in 0..4 {
            live.put(Source::EndpointSlices, &web(if at % 2 == 0 { 5 } else { 0 }));
            live.wait(10);
        }
        assert_eq!(live.says(ID), "Violated warning");
        assert!(live.message(ID).starts_with(
            "5 of 10 endpoints changed between ready and not ready at least 4 times within 600 s"
        ));
        live.wait(560);
        assert_eq!(live.says(ID), "Violated warning");
        live.wait(1);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn four_flips_in_more_than_the_window_are_none() {
        let mut live = start();
        for at in 0..20 {
            live.put(Source::EndpointSlices, &web(if at % 2 == 0 { 5 } else { 0 }));
            live.wait(201);
        }
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn a_rollout_is_no_flap() {
        let mut live = start();
        for round in 1..20_u32 {
            // Every endpoint comes not ready, becomes ready, and goes by terminating.
            let of = |ready| -> Vec<_> { (0..10).map(|at| (round * 100 + at, "n1", ready)).collect() };
            live.put(Source::EndpointSlices, &slice_part("web", 1, &of(false)));
            live.put(Source::EndpointSlices, &slice_part("web", 1, &of(true)));
            let mut ending = slice_part("web", 1, &of(false));
            for one in ending["endpoints"].as_array_mut().unwrap() {
                one["conditions"]["terminating"] = true.into();
            }
            live.put(Source::EndpointSlices, &ending);
            live.wait(10);
            assert_eq!(live.says(ID), "");
        }
    }

    #[test]
    fn an_endpoint_in_two_slices_flips_once() {
        let mut live = start();
        let copy = |ready| slice_part("web", 2, &[(0, "n1", ready), (1, "n1", ready)]);
        live.put(Source::EndpointSlices, &copy(true));
        for at in 0..3 {
            live.put(Source::EndpointSlices, &web(if at % 2 == 0 { 2 } else { 0 }));
            live.put(Source::EndpointSlices, &copy(at % 2 == 1));
        }
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn what_a_gap_hides_is_not_counted_and_not_called_healthy() {
        let mut live = start();
        live.wait(700);
        let met = live.core.findings(live.now).summary.met;
        for at in 0..8 {
            live.input(Input::Freshness(
                Source::EndpointSlices,
                Part::Whole,
                Freshness::Stale,
            ));
            live.list(Source::EndpointSlices, &[&web(if at % 2 == 0 { 9 } else { 0 })]);
        }
        assert_eq!(live.says(ID), "");
        // This check and pod-churn-storm wait for history; cp-stale-watch reports the interruptions.
        assert_eq!(live.core.findings(live.now).summary.met, met - 3);
        live.wait(600);
        assert_eq!(live.core.findings(live.now).summary.met, met - 1);
    }

    #[test]
    fn an_audit_does_not_judge_it() {
        let mut world = World::complete()
            .with(Source::Services, service("web", json!({})))
            .with(Source::EndpointSlices, web(9));
        assert_eq!(world.says(ID), "");
    }

    #[test]
    fn odd_times_and_sizes() {
        let mut live = World::watched(&[(Source::Services, service("web", json!({})))]);
        live.now.mono = Mono(u64::MAX - 1);
        let many: Vec<_> = (0..3000).map(|at| (at, "", true)).collect();
        for at in 0..9_u32 {
            let some: Vec<_> = many.iter().map(|one| (one.0, one.1, at % 2 == 0)).collect();
            live.put(Source::EndpointSlices, &slice_part("web", 1, &some));
            // A clock that goes back is taken as one that stands still.
            live.now.mono.0 -= 1;
        }
        assert_eq!(live.says(ID), "Violated warning");
        live.put(Source::EndpointSlices, &slice_part("web", 1, &[]));
        assert_eq!(live.says(ID), "");
    }

    use crate::handle::Input;
}
