//! A Prometheus that is frozen, lies, is slow, answers too much or in part: what rests on it is Unknown with the reason, and
//! comes back when it does.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use evenkeel_e2e::Address;
use evenkeel_e2e::monitoring::answers::{NodeAnswers, now, vector};
use evenkeel_e2e::monitoring::{AlertBed, Asked, FakePrometheus, PROMETHEUS, Reply, free_port};
use evenkeel_e2e::operator::Operator;
use evenkeel_e2e::process::status_kib;
use evenkeel_e2e::repository::example;
use futures::future::join_all;
use serde_json::{Value, json};

use super::bed::{Bed, PRESSURE, WITHIN, honest, is_critical, message};
use crate::certificate::certificate;

/// A fault, and what is to be said of it.
struct Fault {
    name: &'static str,
    reason: &'static str,
    answer: Box<dyn Fn(&str) -> Reply + Send + Sync>,
}

fn fault(
    name: &'static str,
    reason: &'static str,
    answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
) -> Fault {
    Fault {
        name,
        reason,
        answer: Box::new(answer),
    }
}

/// The same answers with something else in their place.
fn changed(
    change: impl Fn(&mut NodeAnswers) + Send + Sync + 'static,
) -> impl Fn(&str) -> Reply + Send + Sync {
    move |promql| {
        let mut answers = honest();
        change(&mut answers);
        Reply::body(answers.answer(promql))
    }
}

fn faults() -> Vec<Fault> {
    // From the first question on that finds it so.
    let frozen = OnceLock::new();
    let whole = |promql: &str| honest().answer(promql);
    let many = move |promql: &str| {
        let mut answers = honest();
        let node = |at| (format!("stranger-{at}"), "203.0.113.1".to_owned());
        answers.nodes.extend((0..30_000).map(node));
        for (_, values) in &mut answers.values {
            values.resize(30_004, 1.0);
        }
        Reply::body(answers.answer(promql))
    };
    vec![
        fault(
            "frozen",
            "has no recent sample",
            changed(move |all| all.taken = Some(*frozen.get_or_init(now))),
        ),
        fault(
            "nan",
            "has a value that is no number",
            changed(|all| {
                all.values.iter_mut().for_each(|one| one.1.fill(f64::NAN));
            }),
        ),
        fault(
            "twice",
            "has several values for one subject",
            changed(|all| {
                all.nodes.extend_from_within(..);
                for (_, values) in &mut all.values {
                    let again: Vec<f64> = values.iter().map(|value| value / 2.0).collect();
                    values.extend(again);
                }
            }),
        ),
        fault(
            "renamed",
            "has no such series",
            changed(|all| {
                for (name, address) in &mut all.nodes {
                    *name = format!("host-of-{name}");
                    "203.0.113.1".clone_into(address);
                }
            }),
        ),
        fault("in-part", "answers in part: a store is down", move |promql| {
            let text = whole(promql).replacen('{', "{\"warnings\":[\"a store is down\"],", 1);
            Reply::body(text)
        }),
        fault("slow", "does not answer in time", move |promql| {
            Reply::body(whole(promql)).after(Duration::from_secs(40))
        }),
        fault("slow-query", "does not answer in time", |_| {
            let text = json!({"status": "error", "errorType": "timeout", "error": "query timed out"});
            Reply::status(503, text.to_string())
        }),
        fault("large", "answers more than is read", move |promql| {
            let mut text = whole(promql);
            text.push_str(&" ".repeat(13 << 20));
            Reply::body(text)
        }),
        fault("many-series", "answers more than is read", many),
        fault("cut", "ends in the middle of an answer", move |promql| {
            Reply::body(whole(promql)).cut()
        }),
        fault("a-login", "answers in an unknown form", |_| {
            Reply::body("<html>log in</html>")
        }),
        fault("unavailable", "cannot be reached", |_| {
            Reply::status(503, "no healthy upstream")
        }),
        fault("refusing", "refuses to answer", |_| Reply::status(403, "not you")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_unknown_with_the_reason_and_ends_with_it() {
    let bed = Bed::start().await;
    let bed = &bed;
    join_all(faults().into_iter().map(|fault| async move {
        let at = bed.place();
        bed.service(fault.name, &[at]).await;
        let fake = FakePrometheus::start(at, |asked| Reply::body(honest().answer(&asked.promql)))
            .await
            .unwrap();
        let asking = bed.operator(fault.name, fault.name, &[]).await;
        let first = asking.until_critical().await;
        let before = status_kib(asking.operator.id(), "VmHWM").unwrap();
        let answer = fault.answer;
        fake.behave(move |asked| answer(&asked.promql));
        let unknown = asking.until_unknown(PRESSURE, fault.reason).await;
        let memory = status_kib(asking.operator.id(), "VmHWM").unwrap() - before;
        fake.behave(|asked| Reply::body(honest().answer(&asked.promql)));
        let back = asking.until_critical().await;
        eprintln!(
            "{:<12} judged after {first:.1?}, Unknown {unknown:.1?} after the fault, judged again {back:.1?} after its end, \
             {} KiB more at most",
            fault.name, memory
        );
        // An answer of 12 MiB is read, and a second copy of it is what is parsed.
        assert!(memory < 32 << 10, "{}: {memory} KiB", fault.name);
        asking.operator.end().unwrap();
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_shard_that_is_missing_only_its_nodes_are_unknown() {
    let bed = Bed::start().await;
    let at = bed.place();
    bed.service("sharded", &[at]).await;
    let half = |promql: &str| {
        let mut answers = honest();
        answers.nodes.truncate(2);
        Reply::body(answers.answer(promql))
    };
    let fake = FakePrometheus::start(at, |asked| Reply::body(honest().answer(&asked.promql)))
        .await
        .unwrap();
    let asking = bed.operator("sharded", "sharded", &[]).await;
    asking.until_critical().await;
    fake.behave(move |asked| half(&asked.promql));
    let took = asking
        .until(PRESSURE, "Unknown on n3 and n4 alone", |found| {
            let unknown = |one: &&Value| {
                let name = one["subject"]["name"].as_str();
                name.is_some_and(|name| ["n3", "n4"].contains(&name))
                    && message(one).contains("has no such series")
            };
            found.iter().filter(unknown).count() == 2
                && found.iter().filter(|one| is_critical(one)).count() == 1
        })
        .await;
    eprintln!("two of four nodes are Unknown {took:.1?} after their shard was gone");
    asking.operator.end().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_in_another_unit_are_no_values() {
    let bed = Bed::start().await;
    let policy = json!({
        "apiVersion": "evenkeel.dev/v1alpha1",
        "kind": "ClusterTrafficHealthPolicy",
        "metadata": {"name": "cluster"},
        "spec": {"nodes": {"pressure": {"cpuSomePercent": 60, "forSeconds": 60}}},
    });
    bed.plane.apply_yaml(&policy.to_string()).await.unwrap();
    let at = bed.place();
    bed.service("units", &[at]).await;
    // Tasks wait for half of the time, and the series have it in milliseconds.
    let milliseconds = |promql: &str| {
        let mut answers = honest();
        let waited = now() * 0.5 * 1000.0;
        let series = [
            "node_pressure_cpu_waiting_seconds_total",
            "node_pressure_memory_waiting_seconds_total",
            "node_pressure_io_waiting_seconds_total",
        ];
        answers.values.extend(series.map(|name| (name, vec![waited; 4])));
        Reply::body(answers.answer(promql))
    };
    let _fake = FakePrometheus::start(at, move |asked| milliseconds(&asked.promql))
        .await
        .unwrap();
    let asking = bed.operator("units", "units", &[]).await;
    asking
        .until_unknown("node-pressure", "has it in another unit")
        .await;
    asking.operator.end().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_like_it_is_not_asked_and_not_believed() {
    let bed = Bed::start().await;
    let (at, imposter) = (bed.place(), bed.place());
    bed.service("prometheus", &[at]).await;
    // A team's Service of the same name, with a server of the team's.
    bed.plane
        .endpoints("shop", "prometheus", bed.ip(), &[imposter.port()])
        .await
        .unwrap();
    // Series that a team has scraped from a Pod of its own: it says what it likes of a node.
    let forged = |promql: &str| {
        let mut answers = honest();
        answers.nodes.push(("n2".to_owned(), "10.0.0.7".to_owned()));
        answers.nodes.push(("n1".to_owned(), "10.0.0.7".to_owned()));
        for (metric, values) in &mut answers.values {
            let of = |entries, limit| {
                if metric.ends_with("_limit") {
                    limit
                } else {
                    entries
                }
            };
            values.extend([of(1.0, 1e9), of(99_999.0, 100_000.0)]);
        }
        Reply::body(answers.answer(promql))
    };
    let _fake = FakePrometheus::start(at, move |asked| forged(&asked.promql))
        .await
        .unwrap();
    let other = FakePrometheus::start(imposter, |_| Reply::body(vector("")))
        .await
        .unwrap();
    let asking = bed.operator("deceived", "prometheus", &[]).await;
    asking.until_critical().await;
    // Each question has come once more.
    tokio::time::sleep(Duration::from_secs(35)).await;
    let found = asking.found(PRESSURE).await;
    assert!(matches!(&found[..], [one] if is_critical(one)), "{found:#?}");
    assert_eq!(other.asked(), [], "a team's Service is asked");
    asking.operator.end().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_and_path_are_those_that_were_named() {
    let bed = Bed::start().await;
    let at = bed.place();
    bed.service("shared", &[at]).await;
    let fake = FakePrometheus::start(at, |asked| Reply::body(honest().answer(&asked.promql)))
        .await
        .unwrap();
    let more = [
        "--prometheus-tenant=team-a",
        "--prometheus-path-prefix=/select/0/prometheus",
    ];
    let asking = bed.operator("named", "shared", &more.map(str::to_owned)).await;
    asking.until_critical().await;
    for asked in fake.asked() {
        assert_eq!(asked.tenant.as_deref(), Some("team-a"));
        assert_eq!(asked.path, "/select/0/prometheus/api/v1/query");
        assert_eq!(asked.authorization, None);
    }
    asking.operator.end().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_over_tls_and_is_read_anew() {
    let bed = Bed::start().await;
    let at = bed.place();
    bed.service("guarded", &[at]).await;
    let (authority, (certificate_pem, key)) = certificate("guarded.monitoring.svc");
    let answer = |token: &'static str| {
        move |asked: &Asked| {
            if asked.authorization.as_deref() == Some(token) {
                Reply::body(honest().answer(&asked.promql))
            } else {
                Reply::status(401, "who are you")
            }
        }
    };
    let fake = FakePrometheus::start_tls(at, (&certificate_pem, &key), answer("Bearer first"))
        .await
        .unwrap();
    let more = [
        format!("--prometheus-ca-file={}", bed.file("ca.crt", &authority)),
        format!("--prometheus-token-file={}", bed.file("token", "first\n")),
    ];
    let asking = bed.operator("guarded", "guarded", &more).await;
    asking.until_critical().await;
    fake.behave(answer("Bearer second"));
    asking.until_unknown(PRESSURE, "refuses to answer").await;
    bed.file("token", "second\n");
    asking.until_critical().await;
    asking.operator.end().unwrap();
}

/// How many reactions an operator has had, and how long its own part of them took together, in seconds.
async fn reactions(operator: &Operator) -> (f64, f64) {
    let (_, text) = operator.get("/metrics").await.unwrap();
    let number = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    (
        number("evenkeel_reaction_seconds_count"),
        number("evenkeel_reaction_seconds_sum"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_prometheus_delays_nothing_else() {
    let bed = AlertBed::start().await.unwrap();
    let address = Address::add().unwrap();
    let at = SocketAddr::from((address.ip(), free_port().unwrap()));
    bed.plane
        .prometheus_service(address.ip(), at.port())
        .await
        .unwrap();
    let large = format!("{}{}", vector(""), " ".repeat(7 << 20));
    let _slow = FakePrometheus::start(at, move |_| {
        Reply::body(large.clone()).after(Duration::from_secs(9))
    })
    .await
    .unwrap();
    let policy = example("demo/policy.yaml").unwrap();
    for (name, more) in [
        ("alone", vec![]),
        ("beside", vec![format!("--prometheus={PROMETHEUS}")]),
    ] {
        let operator = bed.operator(name, &more).await.unwrap();
        operator
            .until_metric("evenkeel_leader{} 1.0", WITHIN)
            .await
            .unwrap();
        let unhealthy = "evenkeel_policy_unhealthy{namespace=\"shop\"";
        operator.until_metric(unhealthy, WITHIN).await.unwrap();
        let before = reactions(&operator).await;
        for _ in 0..5 {
            bed.declare_keepalive().await.unwrap();
            let start = Instant::now();
            while operator.metric(unhealthy).await.unwrap().is_some() {
                assert!(start.elapsed() < WITHIN, "{name}: the policy stays unhealthy");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            bed.plane.apply_yaml(&policy).await.unwrap();
            operator.until_metric(unhealthy, WITHIN).await.unwrap();
        }
        let (code, _) = operator.probe("/livez").await.unwrap();
        assert_eq!(code, 200);
        let after = reactions(&operator).await;
        let count = after.0 - before.0;
        assert!(count >= 10.0, "{name}: {count} reactions");
        eprintln!(
            "{name}: own part of {count} reactions {:.2} ms each",
            (after.1 - before.1) * 1_000.0 / count
        );
        operator.end().unwrap();
    }
}
