//! `pod-churn-storm`: Pods are not created and deleted faster than the cluster can follow.

use std::fmt;
use std::sync::Arc;

use crate::history::{ChurnStorm, STORM_FACTOR, WARM_MINUTES};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::names::Key;
use crate::sample::Metrics;

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
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
Pods are not created and deleted faster than the cluster can follow.

When Pods live just long enough to be announced, everything that follows them drowns: proxies, registries, load
balancers, the API server. The Pods themselves look fine, one by one.

## Formula

The check counts Pods, by their endpoints in EndpointSlices (`targetRef`; else by address): a Pod comes with the first of its
endpoints and goes with the first that leaves, and counts once however many Services and address families it has. Pods
without a Service are not seen. An endpoint that moves between slices of its Service neither comes nor goes.

A storm is when all of this holds:

- in one minute at least 30 Pods come, and more than 5 times as many as in 95 of 100 minutes of the last day;
- of the Pods that went within 5 minutes, at least 10, more than half lived for less than 120 s.

That is Violated; AtRisk while fewer than 60 minutes of history are in memory. Minutes of a storm are not what is
usual. The numbers reported are those of its beginning, and it is over 5 minutes after it was last seen.

Where more than half of the young Pods are of one namespace, the finding is about the Service there that most of them are of:
what one team brings about says nothing of the others. Else it is about the cluster.

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
    let rush = Rush {
        storm: Counted::of(&storm),
        most: storm.top.map(|(service, count)| Most {
            service,
            name: look.show(service).into(),
            count,
        }),
    };
    Ok(if storm.minutes < WARM_MINUTES {
        Verdict::at_risk(rush)
    } else {
        Verdict::violated(rush)
    })
}

/// The numbers of a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Counted {
    born: u32,
    usual: u32,
    /// Pods that went after a short life, and all that went.
    short: u32,
    ended: u32,
    /// Minutes of history that say what is usual.
    minutes: usize,
}

impl Counted {
    const fn of(storm: &ChurnStorm) -> Self {
        Self {
            born: storm.born,
            usual: storm.usual,
            short: storm.short,
            ended: storm.short + storm.long,
            minutes: storm.minutes,
        }
    }
}

/// Pods that come and go too fast.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Rush {
    storm: Counted,
    /// The Service that most of them are of, where more than half of them are of one namespace.
    most: Option<Most>,
}

/// A Service and how many of the young Pods are of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Most {
    service: Key,
    /// `namespace/name`.
    name: Arc<str>,
    count: u32,
}

impl Explain for Rush {
    fn cause(&self) -> &'static str {
        if self.storm.minutes < WARM_MINUTES {
            "ShortBaseline"
        } else {
            "ChurnStorm"
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counted {
            born,
            usual,
            short,
            ended,
            ..
        } = self.storm;
        write!(
            f,
            "{born} Pods came within 60 s, usual are {usual}; {short} of {ended} that went had lived for less than 120 s"
        )?;
        match &self.most {
            Some(most) => write!(f, "; Service {} has the most", most.name),
            None => Ok(()),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let place = "EndpointSlices, as watched";
        let number = |what, value: u32| Evidence::watched(what, Unit::Count, value, place);
        let storm = &self.storm;
        let mut evidence = vec![
            number("born", storm.born),
            number("usual", storm.usual),
            number("short", storm.short),
            number("ended", storm.ended),
            Evidence::watched("baseline", Unit::Count, storm.minutes, place),
            number("factor", STORM_FACTOR),
        ];
        if let Some(most) = &self.most {
            evidence.push(Evidence::text("top", &Val::measured(most.name.clone(), place)));
            evidence.push(number("topCount", most.count));
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let look = self.most.as_ref().map(|most| {
            format!(
                "find out why the Pods behind Service {} end: kubectl get events, logs of the previous container",
                most.name
            )
            .into()
        });
        let others = [
            "pause the rollout, Job or autoscaler that makes these Pods".into(),
            "do not restart what they overrun".into(),
        ];
        look.into_iter().chain(others).collect()
    }

    fn service(&self) -> Option<Key> {
        self.most.as_ref().map(|most| most.service)
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |minutes, most: Option<&str>| Rush {
        storm: Counted {
            born: 44,
            usual: 2,
            short: 31,
            ended: 40,
            minutes,
        },
        most: most.map(|name| Most {
            service: Key::default(),
            name: name.into(),
            count: 40,
        }),
    };
    vec![
        Verdict::violated(of(WARM_MINUTES, Some("shop/worker"))),
        Verdict::at_risk(of(WARM_MINUTES - 1, None)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Input;
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
        assert!(message.contains("Service shop/dev has the most"), "{message}");
        assert!(message.contains("usual are 0"), "{message}");
        // Its beginning is reported, not each of its Pods.
        let before = live.findings(ID);
        live.put(Source::EndpointSlices, &generation(50, 40));
        assert_eq!(before, live.findings(ID));
        live.wait(299);
        assert_eq!(live.says(ID), "Violated critical ChurnStorm");
        live.wait(2);
        assert_eq!(live.says(ID), "");
    }

    /// Which Services of which namespaces bring the Pods, and who is spoken of.
    #[rstest]
    #[case::one_team(&[("shop", "dev"), ("shop", "two"), ("shop", "three")], "Service shop/")]
    #[case::most_of_one_team(&[("shop", "dev"), ("shop", "two"), ("pay", "one")], "Service shop/")]
    #[case::many_teams(&[("shop", "dev"), ("pay", "one"), ("hr", "one")], "Cluster")]
    fn a_storm_of_one_namespace_is_about_a_service_of_it(
        #[case] services: &[(&str, &str)],
        #[case] about: &str,
    ) {
        let mut live = start(62);
        for number in 1..=9 {
            for (at, (namespace, service)) in (1..).zip(services) {
                let ends: Vec<_> = (0..20)
                    .map(|one| (at * 100_000 + number * 100 + one, "n1", true))
                    .collect();
                let mut slice = slice_part(service, 1, &ends);
                slice["metadata"]["namespace"] = (*namespace).into();
                live.put(Source::EndpointSlices, &slice);
            }
            live.wait(20);
        }
        let found: Vec<String> = live
            .findings(ID)
            .iter()
            .map(|one| one.subject.to_string())
            .collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with(about), "{found:?}");
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

    /// Pods of two address families behind two Services: each has four endpoints, with or without a uid.
    #[rstest]
    #[case::dual_stack_and_two_services(4, 9, 1, "")]
    #[case::enough_pods(4, 30, 1, "Violated critical ChurnStorm")]
    #[case::a_pod_that_goes_from_one_service_first(4, 30, 2, "Violated critical ChurnStorm")]
    fn pods_are_counted_and_not_addresses(
        #[case] endpoints: u32,
        #[case] size: u32,
        #[case] step: u64,
        #[case] expected: &str,
        #[values("uid", "name")] named: &str,
    ) {
        let mut live = start(62);
        for number in 1..=9 {
            for part in 0..endpoints {
                let all: Vec<_> = (0..size)
                    .map(|at| ((part * 100 + number) * 1000 + at, "n1", true))
                    .collect();
                let mut slice = slice_part(["one", "two"][part as usize % 2], part, &all);
                for (at, one) in slice["endpoints"].as_array_mut().unwrap().iter_mut().enumerate() {
                    one["targetRef"] =
                        serde_json::json!({"kind": "Pod", named: format!("pod-{number}-{at}")});
                }
                live.put(Source::EndpointSlices, &slice);
                live.wait(step);
            }
            live.wait(20 - u64::from(endpoints) * step);
        }
        assert_eq!(live.says(ID), expected);
        if !expected.is_empty() {
            // Two generations.
            let message = live.message(ID);
            assert!(message.starts_with("60 Pods came within 60 s"), "{message}");
        }
    }

    #[test]
    fn an_audit_does_not_judge_it() {
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
