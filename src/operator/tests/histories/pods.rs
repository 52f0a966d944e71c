//! Pods that are evicted, preempted and replaced, and endpoints that flip.

use std::collections::BTreeMap;

use evenkeel_core::findings::{Finding, FindingVerdict, SubjectKind};
use evenkeel_core::judge::Severity;
use evenkeel_core::know::Source;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Node, Story, objects};

const HOUR: u64 = 3600;

/// Whether a check says anything worse than an info.
fn says(one: &Finding, check: &str) -> bool {
    one.check == check && one.severity > Severity::Info
}

fn priority_class(name: &str, value: i32) -> (Source, Value) {
    let class = json!({"metadata": {"name": name}, "value": value});
    (Source::PriorityClasses, class)
}

fn deployment(namespace: &str, name: &str, class: &str) -> (Source, Value) {
    let labels = json!({"app": name});
    let deployment = json!({
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"priorityClassName": class, "containers": [{"name": "main"}]},
        }},
    });
    (Source::Deployments, deployment)
}

/// The name of a Pod of a Deployment.
fn pod_of(name: &str, number: u32) -> String {
    format!(
        "{name}-7d9f8c6b5d-bcdf{}",
        char::from(b"bcdfghjklmnpqrstvwxz"[number as usize])
    )
}

/// The scheduler makes a Pod of a Deployment go for one of another: it writes its status, deletes it and tells of it.
fn preempt(story: &mut Story, number: u32, victim: (&str, &str, i32), winner: (&str, &str)) {
    let (namespace, name, priority) = victim;
    let pod = pod_of(name, number);
    story.put(
        Source::Pods,
        json!({
            "metadata": {"namespace": namespace, "name": pod},
            "spec": {"nodeName": "c1", "priority": priority},
            "status": {"phase": "Running", "conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
                "lastTransitionTime": story.world.now.wall.to_string(),
            }]},
        }),
    );
    let uid = story.world.stored(Source::Pods, namespace, &pod).unwrap()["metadata"]["uid"].clone();
    story.put(
        Source::Events,
        json!({
            "metadata": {"namespace": namespace, "name": format!("{name}.{number}")},
            "reason": "Preempted", "reportingController": "default-scheduler",
            "regarding": {"kind": "Pod", "namespace": namespace, "name": pod, "uid": uid},
            "related": {"kind": "Pod", "namespace": winner.0, "name": pod_of(winner.1, number)},
        }),
    );
    story.gone(Source::Pods, namespace, &pod);
}

#[rstest]
#[case::as_the_page_on_overprovisioning_says(-1000, 2)]
#[case::as_the_chart_of_the_cluster_autoscaler(-1, 20)]
fn placeholders_that_make_way_are_quiet(
    #[case] priority: i32,
    #[case] preemptions: u32,
    #[values(true, false)] deployed: bool,
) {
    let reserve = ("default", "capacity-reservation", priority);
    let mut objects = vec![deployment("shop", "checkout", "")];
    if deployed {
        objects.push(priority_class("placeholder", priority));
        objects.push(deployment(reserve.0, reserve.1, "placeholder"));
    }
    let mut story = Story::watched(HOUR, objects)
        .never("above info", |one| one.severity > Severity::Info)
        .never("a cascade", |one| {
            one.check == "preemption-cascade" && one.verdict == FindingVerdict::Violated
        });
    for number in 0..preemptions {
        let second = story.second();
        story.until(second + 1);
        preempt(&mut story, number, reserve, ("shop", "checkout"));
    }
    story.until(900);
}

#[test]
fn a_workload_that_preempts_itself_is_found() {
    let ledger = ("shop", "ledger");
    let objects = vec![
        priority_class("high", 1000),
        deployment(ledger.0, ledger.1, "high"),
    ];
    let mut story = Story::watched(HOUR, objects);
    for (number, second) in (0..).zip([0, 40, 90]) {
        story.until(second);
        preempt(&mut story, number, (ledger.0, ledger.1, 0), ledger);
        if number == 1 {
            story.until(50);
            let message = story.message("preemption-cascade");
            assert!(message.contains("shop/ledger"), "{message}");
            assert_eq!(story.of("preemption-cascade")[0].severity, Severity::Critical);
        }
    }
    story.until(600);
    assert!(story.says("preemption-cascade").starts_with("Violated critical"));
    story.until(691);
    assert_eq!(story.says("preemption-cascade"), "");
}

/// A team that may write Events in its namespace names Pods that are not there, or that nothing happened to.
#[rstest]
fn forged_events_are_an_info_in_their_own_namespace(#[values(true, false)] there: bool) {
    let nodes: Vec<_> = (0..3).map(|at| Node::new(format!("c{at}"), "a")).collect();
    let mut story = Story::watched(HOUR, objects(&nodes))
        .never("above info", |one| one.severity > Severity::Info)
        .never("of others", |one| {
            one.verdict != FindingVerdict::Unknown && one.subject.namespace != "shop"
        });
    for number in 0..18 {
        let name = pod_of("ledger", number);
        if there {
            let running = json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"nodeName": "c1"},
                "status": {"phase": "Running", "conditions": [{"type": "DisruptionTarget", "status": "True",
                    "reason": "EvictionByEvictionAPI"}]}});
            story.put(Source::Pods, running);
        }
        for reason in ["Preempted", "Evicted"] {
            let event = json!({
                "metadata": {"namespace": "shop", "name": format!("{reason}.{number}")}, "reason": reason,
                "message": "The node was low on resource: memory. ", "source": {"component": "kubelet", "host": "c1"},
                "involvedObject": {"kind": "Pod", "namespace": "shop", "name": name},
                "related": {"kind": "Pod", "namespace": "shop", "name": name},
            });
            story.put(Source::Events, event);
        }
        story.until(10 * i64::from(number + 1));
    }
    story.until(400);
    assert_eq!(story.says("preemption-cascade"), "AtRisk info OnlyEvents");
    assert_eq!(story.says("node-pressure-evict-loop"), "");
}

/// The kubelet of c9 makes a Pod of runner go: it tells of it, ends the Pod, and writes its status then.
fn evict(story: &mut Story, number: u32, message: &str) {
    let name = pod_of("runner", number);
    let pod = |status: Value| json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"nodeName": "c9"}, "status": status});
    story.put(Source::Pods, pod(json!({"phase": "Running"})));
    story.put(
        Source::Events,
        json!({
            "metadata": {"namespace": "shop", "name": format!("runner.{number}")},
            "reason": "Evicted", "message": message, "count": 1, "type": "Warning",
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": name},
            "source": {"component": "kubelet", "host": "c9"},
        }),
    );
    let second = story.second();
    story.until(second + 2);
    story.put(
        Source::Pods,
        pod(json!({"phase": "Failed", "reason": "Evicted", "message": message})),
    );
}

/// Nodes c0 to c9; five Pods are evicted from c9, one every 45 s.
fn evictions(message: &str) -> Story {
    let nodes: Vec<_> = (0..10).map(|at| Node::new(format!("c{at}"), "a")).collect();
    let mut story = Story::watched(HOUR, objects(&nodes));
    for number in 0..5 {
        story.until(45 * i64::from(number));
        evict(&mut story, number, message);
    }
    story
}

#[rstest]
#[case("Usage of EmptyDir volume \"work\" exceeds the limit \"1Gi\". ")]
#[case("Pod ephemeral local storage usage exceeds the total limit of containers 2Gi. ")]
#[case("Container app exceeded its local ephemeral storage limit \"1Gi\". ")]
fn pods_over_a_limit_of_their_own_are_not_the_nodes_fault(#[case] message: &str) {
    let mut story = evictions(message).never("of the node", |one| {
        one.check == "node-pressure-evict-loop" && one.subject.kind == SubjectKind::Node
    });
    story.until(900);
}

#[rstest]
#[case("The node was low on resource: memory. Threshold quantity: 100Mi, available: 20Mi. ")]
#[case("The node had condition: [MemoryPressure]. ")]
fn pods_that_come_back_to_a_node_that_is_short_are_found(#[case] message: &str) {
    let mut story = evictions(message);
    story.until(190);
    assert_eq!(story.says("node-pressure-evict-loop"), "Violated warning");
    assert_eq!(story.of("node-pressure-evict-loop")[0].subject.name, "c9");
    // Each was seen 5 s after its Event.
    story.until(306);
    assert_eq!(story.says("node-pressure-evict-loop"), "");
}

/// The slice of one Service and address family: these Pods, each with its generation.
fn slice(service: &str, family: &str, pods: &[(usize, u32)]) -> (Source, Value) {
    let of = |(pod, generation): &(usize, u32)| {
        let address = match family {
            "IPv4" => format!("10.1.{generation}.{}", pod + 1),
            _ => format!("2001:db8::{generation}:{:x}", pod + 1),
        };
        json!({
            "addresses": [address], "nodeName": "c1", "hostname": format!("db-{pod}"),
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": format!("db-{pod}"),
                "uid": format!("u-{pod}-{generation}")},
        })
    };
    let slice = json!({
        "metadata": {"namespace": "shop", "name": format!("{service}-{}", family.to_lowercase()),
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": family, "ports": [{"port": 5432}],
        "endpoints": pods.iter().map(of).collect::<Vec<_>>(),
    });
    (Source::EndpointSlices, slice)
}

#[rstest]
#[case::eight(8, 3)]
#[case::a_whole_rollout(12, 12)]
fn pods_of_several_services_and_families_count_once(#[case] all: usize, #[case] replaced: usize) {
    let each = |pods: &[(usize, u32)]| -> Vec<(Source, Value)> {
        let families = ["IPv4", "IPv6"];
        ["db", "db-headless"]
            .into_iter()
            .flat_map(|service| families.map(|family| slice(service, family, pods)))
            .collect()
    };
    let mut story = Story::watched(HOUR, each(&[])).never("a storm", |one| {
        one.check == "pod-churn-storm" && one.verdict != FindingVerdict::Unknown
    });
    let mut pods: Vec<(usize, u32)> = (0..all).map(|pod| (pod, 0)).collect();
    for (source, slice) in each(&pods) {
        story.put(source, slice);
    }
    story.until(60);
    pods.iter_mut().take(replaced).for_each(|pod| pod.1 = 1);
    for (source, slice) in each(&pods) {
        story.put(source, slice);
    }
    story.until(900);
}

#[rstest]
fn pods_that_live_for_seconds_are_found(#[values(40, 60)] a_minute: usize) {
    let mut story = Story::watched(HOUR, vec![slice("jobs", "IPv4", &[])]);
    let mut generation = 0;
    // Until when each Pod lives.
    let mut alive: BTreeMap<(usize, u32), i64> = BTreeMap::new();
    let mut step = |story: &mut Story, born: usize, life: i64| {
        generation += 1;
        let now = story.second();
        alive.retain(|_, until| *until > now);
        alive.extend((0..born).map(|pod| ((pod, generation), now + life)));
        let pods: Vec<_> = alive.keys().copied().collect();
        let (source, slice) = slice("jobs", "IPv4", &pods);
        story.put(source, slice);
    };
    // Two a minute are usual.
    for minute in 0..30 {
        step(&mut story, 2, 3600);
        story.until(60 * (minute + 1));
    }
    let begin = story.second();
    for tenth in 0..30 {
        step(&mut story, a_minute / 6, 25);
        story.until(begin + 10 * (tenth + 1));
        if story.second() >= begin + 180 {
            assert_eq!(story.says("pod-churn-storm"), "Violated critical ChurnStorm");
        }
    }
}

/// The Service mq publishes Pods that are not ready: `serving` alone tells.
fn mq(serving: &[bool], terminating: &[bool]) -> Value {
    let of = |(at, serving): (usize, &bool)| {
        let ends = terminating.get(at).copied().unwrap_or(false);
        json!({"addresses": [format!("10.2.0.{}", at + 1)], "nodeName": "c1",
            "conditions": {"ready": true, "serving": serving, "terminating": ends}})
    };
    json!({
        "metadata": {"namespace": "shop", "name": "mq-1", "labels": {"kubernetes.io/service-name": "mq"}},
        "addressType": "IPv4", "ports": [{"port": 5672}],
        "endpoints": serving.iter().enumerate().map(of).collect::<Vec<_>>(),
    })
}

fn queue(endpoints: usize) -> Story {
    let service = json!({"metadata": {"namespace": "shop", "name": "mq"}, "spec": {"clusterIP": "10.0.0.9",
        "selector": {"app": "mq"}, "publishNotReadyAddresses": true, "ports": [{"port": 5672}]}});
    let objects = vec![
        (Source::Services, service),
        (Source::EndpointSlices, mq(&vec![true; endpoints], &[])),
    ];
    Story::watched(HOUR, objects)
}

#[rstest]
#[case::all_of_three(3, 3, "Violated warning")]
#[case::one_of_three(3, 1, "AtRisk info")]
fn readiness_that_flips_behind_published_addresses_is_found(
    #[case] endpoints: usize,
    #[case] flip: usize,
    #[case] expected: &str,
) {
    let mut story = queue(endpoints);
    for round in 0..12_i64 {
        story.until(20 * round);
        let serving: Vec<_> = (0..endpoints).map(|at| at >= flip || round % 2 == 1).collect();
        story.put(Source::EndpointSlices, mq(&serving, &[]));
    }
    for second in [240, 500, 600] {
        story.until(second);
        assert_eq!(story.says("endpoint-flap"), expected);
    }
}

#[test]
fn a_rollout_does_not_flap() {
    let mut story = queue(3).never("flapping", |one| says(one, "endpoint-flap"));
    for round in 0..6_usize {
        let (begin, at) = (story.second(), round % 3);
        let mut flags = [false; 3];
        flags[at] = true;
        let serving: Vec<_> = flags.iter().map(|ends| !ends).collect();
        story.put(Source::EndpointSlices, mq(&serving, &flags));
        story.until(begin + 20);
        // Another one has come in its place, and is ready later.
        let mut starts = mq(&serving, &[]);
        starts["endpoints"][at]["addresses"][0] = json!(format!("10.2.{}.{}", round + 1, at + 1));
        story.put(Source::EndpointSlices, starts.clone());
        story.until(begin + 40);
        starts["endpoints"][at]["conditions"]["serving"] = json!(true);
        story.put(Source::EndpointSlices, starts);
        story.until(begin + 60);
    }
}
