//! What the statuses of policies say while their Services lose backends.

use evenkeel_core::judge::Severity;
use evenkeel_core::know::Source;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::world::policy;
use super::{Story, nodes, objects};

/// The Service `api`, with a cluster address or headless.
fn service(address: &str) -> (Source, Value) {
    let service = json!({"metadata": {"namespace": "shop", "name": "api"},
        "spec": {"clusterIP": address, "selector": {"app": "api"}, "ports": [{"port": 5432}]}});
    (Source::Services, service)
}

fn zone(at: usize) -> &'static str {
    ["a", "b", "c"][at % 3]
}

/// Its slice, of endpoints that are ready or not.
fn slice(ready: &[bool]) -> (Source, Value) {
    let of = |(at, ready): (usize, &bool)| {
        json!({"addresses": [format!("10.3.0.{}", at + 1)], "nodeName": format!("n{at}"),
            "zone": zone(at),
            "conditions": {"ready": ready, "serving": ready, "terminating": false}})
    };
    let slice = json!({
        "metadata": {"namespace": "shop", "name": "api-1", "labels": {"kubernetes.io/service-name": "api"}},
        "addressType": "IPv4", "ports": [{"port": 5432}], "endpoints": ready.iter().enumerate().map(of).collect::<Vec<_>>(),
    });
    (Source::EndpointSlices, slice)
}

const HEALTHY: &str = "Healthy";

#[rstest]
#[case::headless("None", 3)]
#[case::with_a_cluster_address("10.0.0.1", 3)]
#[case::more_than_the_minimum("None", 5)]
fn a_policy_is_not_healthy_while_too_few_backends_are_ready(#[case] address: &str, #[case] all: usize) {
    let mut start = objects(&nodes("n", 6));
    start.extend([service(address), slice(&vec![true; all])]);
    start.push((Source::Policies, policy("shop", "api", 3)));
    let mut story = Story::watched(600, start);
    let healthy = |story: &Story| story.condition("api", HEALTHY);
    assert_eq!(healthy(&story).0, "True");
    let mut ready = vec![true; all];
    for (second, left) in [(60, 1), (90, 0)] {
        story.until(second);
        ready.iter_mut().skip(left).for_each(|one| *one = false);
        let (source, slice) = slice(&ready);
        story.put(source, slice);
        for later in [0, 5, 10, 29] {
            story.until(second + later);
            assert_eq!(
                healthy(&story),
                ("False".into(), "Violated".into()),
                "at {}",
                second + later
            );
            assert_eq!(story.condition("api", "Ready").0, "False");
        }
        assert_eq!(
            story.says("backend-minimum-ready"),
            "Violated critical TooFewReady"
        );
    }
    story.until(180);
    let (source, slice) = slice(&vec![true; all]);
    story.put(source, slice);
    story.until(190);
    assert_eq!(healthy(&story).0, "True");
}

#[test]
fn a_policy_that_judges_nothing_is_not_healthy() {
    let mut nothing = policy("shop", "nothing", 3);
    nothing["spec"]["services"]["names"] = json!(["missing"]);
    let mut story = Story::begins(vec![(Source::Policies, nothing)]);
    for second in [0, 60, 3600] {
        story.until(second);
        assert_eq!(
            story.condition("nothing", HEALTHY),
            ("Unknown".into(), "NoServices".into())
        );
    }
}

/// A team writes an exception for what is not its own.
#[test]
fn an_exception_without_effect_says_so() {
    let mut start = vec![service("10.0.0.1"), slice(&[true; 3])];
    start.push((Source::Policies, policy("shop", "api", 1)));
    let mut story = Story::watched(300, start);
    let mut excepted = policy("shop", "api", 1);
    excepted["spec"]["exceptions"] = json!([
        {"check": "preemption-cascade", "reason": "placeholders are meant to go", "expiresAt": "2026-10-30T00:00:00Z"},
    ]);
    let (source, excepted) = (Source::Policies, excepted);
    story.put(source, excepted);
    story.until(10);
    let stored = story.world.stored(Source::Policies, "shop", "api").unwrap();
    let conditions = stored["status"]["conditions"].as_array().unwrap();
    let says = |one: &&Value| {
        one["message"]
            .as_str()
            .is_some_and(|text| text.contains("preemption-cascade"))
    };
    let one = conditions.iter().find(says).unwrap();
    assert!(one["message"].as_str().unwrap().contains("no effect"), "{one}");
}

/// A rollout takes one Pod after the other: what is new starts for 30 s, what is old goes when that is ready.
#[rstest]
#[case::surge(false)]
#[case::one_less_meanwhile(true)]
fn a_rollout_is_no_page(#[case] recreate: bool) {
    let mut start = objects(&nodes("n", 6));
    start.extend([service("10.0.0.1"), slice(&[true; 3])]);
    start.push((Source::Policies, policy("shop", "api", 3)));
    let mut story = Story::watched(600, start).never("a critical", |one| one.severity == Severity::Critical);
    let endpoint = |at: usize, generation: usize, ready: bool, ends: bool| {
        json!({"addresses": [format!("10.3.{generation}.{}", at + 1)], "nodeName": format!("n{at}"),
            "conditions": {"ready": ready && !ends, "serving": ready, "terminating": ends}})
    };
    let put = |story: &mut Story, endpoints: Vec<Value>| {
        let (source, mut slice) = slice(&[]);
        slice["endpoints"] = json!(endpoints);
        story.put(source, slice);
    };
    for at in 0..3 {
        let begin = story.second();
        let others = |ends: bool| -> Vec<Value> {
            (0..3)
                .map(|one| endpoint(one, usize::from(one < at), true, ends && one == at))
                .collect()
        };
        let mut now = others(recreate);
        now.push(endpoint(at, 1, false, false));
        put(&mut story, now);
        story.until(begin + 30);
        let done: Vec<_> = (0..3)
            .map(|one| endpoint(one, usize::from(one <= at), true, false))
            .collect();
        put(&mut story, done);
        story.until(begin + 40);
    }
    story.until(1200);
}
