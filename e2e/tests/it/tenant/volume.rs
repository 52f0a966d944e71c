//! Much of everything: what is kept must not grow with what one team writes.

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::attack::Attack;
use super::team::{labelled, pod, policy, service};

/// Just below what the API server takes for all annotations of an object: 256 KiB
/// (`apimachinery/pkg/api/validation/objectmeta.go`, `TotalAnnotationSizeLimitB`).
const LARGE: usize = 250_000;

/// How much more memory a flood may leave behind, in MiB, in a build without optimization whose allocator keeps what it
/// has: with the flood kept it was 240.
const LEFT: u64 = 48;

fn large(seed: usize) -> String {
    format!("{seed}-")
        .chars()
        .chain("x".repeat(LARGE).chars())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_large_annotations_leave_nothing_behind() {
    let attack = Attack::begin("annotations").await;
    let team = &attack.team;
    for at in 0..8 {
        team.make(&service(&format!("noisy-{at}"), 1)).await.unwrap();
    }
    team.policy("noisy", &json!({"balance": {"minimumReadyBackends": 1}}))
        .await
        .unwrap();
    let keys = [
        "service.kubernetes.io/topology-mode",
        "service.beta.kubernetes.io/aws-load-balancer-type",
        "service.kubernetes.io/a",
    ];
    let refused = stream::iter(0..1_000)
        .map(async |at: usize| {
            let patch = json!({"metadata": {"annotations": {(keys[at / 8 % 3]): large(at), (keys[(at / 8 + 1) % 3]): null,
                (keys[(at / 8 + 2) % 3]): null}}});
            // A server that is busy may refuse some of it.
            let name = format!("noisy-{}", at % 8);
            let changed = team.change(("v1", "Service"), &name, &patch);
            changed.await.is_err()
        })
        .buffer_unordered(8)
        .filter(|refused| std::future::ready(*refused))
        .count()
        .await;
    eprintln!("{refused} of 1000 patches were refused");
    assert!(refused < 500, "most are taken");
    attack.until_seen().await;
    team.delete_all(("v1", "Service")).await;
    let figures = attack.end().await;
    let [before, _, after] = figures.memory;
    assert!(after < before + LEFT, "{after} MiB after {before}");
}

/// A Pod whose every text is long.
fn wordy(at: usize) -> Value {
    let mut pod = pod(&format!("wordy-{at}"), "it");
    pod["metadata"]["labels"] = json!({"app": "wordy"});
    pod["metadata"]["annotations"] = json!({"example.com/text": large(at)});
    let value = format!("net.ipv4.tcp_keepalive_time={}", 60 + at);
    pod["spec"]["containers"][0]["args"] =
        json!((0..200).map(|n| format!("--{n}-{value}")).collect::<Vec<_>>());
    pod
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_come_and_go_leave_nothing_behind() {
    let attack = Attack::begin("pods").await;
    let team = &attack.team;
    team.make(&service("batch", 1)).await.unwrap();
    let clients = json!([{"name": "jobs", "podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}]);
    let connection =
        json!([{"name": "all", "protocol": "TCP", "longestSilenceSeconds": 60, "clients": clients}]);
    team.make(&policy("jobs", &json!({"connections": connection})))
        .await
        .unwrap();
    for wave in 0..4 {
        let jobs = (0..250).map(|at| {
            let mut pod = pod(&format!("job-{wave}-{at}-x7k2p"), "job");
            pod["metadata"]["labels"] =
                json!({"app": "job", "batch.kubernetes.io/job-name": format!("job-{wave}-{at}")});
            pod["spec"]["nodeName"] = json!("node-a");
            pod
        });
        assert_eq!(team.make_all(jobs).await, 0);
        assert_eq!(team.make_all((0..20).map(|at| wordy(wave * 20 + at))).await, 0);
        team.delete_all(("v1", "Pod")).await;
    }
    attack.until_seen().await;
    let figures = attack.end().await;
    let [before, _, after] = figures.memory;
    assert!(after < before + LEFT, "{after} MiB after {before}");
}

/// Workloads that claim to be huge, and names at their longest: 80 MB of text, more than may be left behind.
#[tokio::test(flavor = "multi_thread")]
async fn workloads_of_any_size_are_one_row() {
    let attack = Attack::begin("workloads").await;
    let team = &attack.team;
    let name = |at: usize| {
        format!("{at}-{}", "long".repeat(60))
            .chars()
            .take(253)
            .collect::<String>()
    };
    let deployments = (0..200).map(|at| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name(at), "annotations": {"a": "x".repeat(20_000)}},
            "spec": {"replicas": 10_000, "selector": {"matchLabels": {"app": "huge"}},
                "template": {"metadata": {"labels": {"app": "huge"}},
                    "spec": {"containers": [{"name": "cloud-controller-manager", "image": "x".repeat(200),
                        "args": (0..500).map(|n| format!("--flag-{n}={at}")).collect::<Vec<_>>()}]}}}})
    });
    assert_eq!(team.make_all(deployments).await, 0);
    let sets = (0..80).map(|at| {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name(at)},
            "spec": {"selector": {"matchLabels": {"app": "huge"}},
                "template": {"metadata": {"labels": {"app": "huge"}},
                    "spec": {"containers": (0..20).map(|n| json!({"name": format!("kube-proxy-{n}"),
                        "image": format!("kube-proxy:{}", "1".repeat(100)), "args": ["x".repeat(50_000)]})).collect::<Vec<_>>()}}}})
    });
    assert_eq!(team.make_all(sets).await, 0);
    attack.until_seen().await;
    let figures = attack.end().await;
    let [before, _, after] = figures.memory;
    assert!(after < before + LEFT, "{after} MiB after {before}");
}

/// What a policy object carries beside its spec: the newest object of each is held until its status is compared.
#[tokio::test(flavor = "multi_thread")]
async fn large_policies_that_change_leave_nothing_behind() {
    let attack = Attack::begin("large-policies").await;
    let team = &attack.team;
    team.make(&service("one", 1)).await.unwrap();
    for at in 0..8 {
        team.policy(
            &format!("large-{at}"),
            &json!({"balance": {"minimumReadyBackends": 1}}),
        )
        .await
        .unwrap();
    }
    let refused = stream::iter(0..400)
        .map(async |at: usize| {
            let labels: serde_json::Map<String, Value> = (0..500)
                .map(|n| {
                    (
                        format!("label-{n}"),
                        json!(format!("{at}-{n}-{}", "y".repeat(40))),
                    )
                })
                .collect();
            let patch =
                json!({"metadata": {"annotations": {"example.com/text": large(at)}, "labels": labels}});
            let kind = ("evenkeel.dev/v1alpha1", "TrafficHealthPolicy");
            let name = format!("large-{}", at % 8);
            team.change(kind, &name, &patch).await.is_err()
        })
        .buffer_unordered(8)
        .filter(|refused| std::future::ready(*refused))
        .count()
        .await;
    eprintln!("{refused} of 400 patches were refused");
    assert!(refused < 200, "most are taken");
    attack.until_seen().await;
    let figures = attack.end().await;
    let [before, _, after] = figures.memory;
    assert!(after < before + LEFT, "{after} MiB after {before}");
}

/// Labels by the thousand, each with a value of its own: all labels of a Service are kept, as policies select by them.
#[tokio::test(flavor = "multi_thread")]
async fn labels_by_the_thousand_are_forgotten() {
    let attack = Attack::begin("labels").await;
    let team = &attack.team;
    for at in 0..4 {
        team.make(&service(&format!("labelled-{at}"), 1)).await.unwrap();
    }
    let refused = stream::iter(0..200)
        .map(async |at: usize| {
            let labels: serde_json::Map<String, Value> = (0..2_000)
                .map(|n| {
                    (
                        format!("l{at}-{n}"),
                        json!(format!("{at}-{n}-{}", "z".repeat(50))),
                    )
                })
                .collect();
            // The labels of the last patch of this Service go.
            let gone = at
                .checked_sub(4)
                .map(|last| (0..2_000).map(move |n| (format!("l{last}-{n}"), Value::Null)));
            let labels: serde_json::Map<String, Value> =
                labels.into_iter().chain(gone.into_iter().flatten()).collect();
            let name = format!("labelled-{}", at % 4);
            let patch = json!({"metadata": {"labels": labels}});
            team.change(("v1", "Service"), &name, &patch).await.is_err()
        })
        .buffer_unordered(4)
        .filter(|refused| std::future::ready(*refused))
        .count()
        .await;
    eprintln!("{refused} of 200 patches were refused");
    assert!(refused < 100, "most are taken");
    attack.until_seen().await;
    let figures = attack.end().await;
    let [before, _, after] = figures.memory;
    assert!(after < before + LEFT, "{after} MiB after {before}");
}

/// Services by the thousand under a few policies that select all of them.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_services_are_one_share() {
    let attack = Attack::begin("many-services").await;
    let team = &attack.team;
    let connection = json!([{"name": "k", "protocol": "TCP", "longestSilenceSeconds": 86_400,
        "server": {"tcpKeepalive": {"state": "Disabled"}},
        "clients": (0..16).map(|at| json!({"name": format!("c{at}"), "tcpKeepalive": {"state": "Disabled"}})).collect::<Vec<_>>()}]);
    for at in 0..6 {
        let more = json!({"connections": connection, "balance": {"minimumReadyBackends": 2}});
        team.policy(&format!("all-{at}"), &more).await.unwrap();
    }
    let refused = team
        .make_all((0..2_000).map(|at| service(&format!("s{at:04}"), 4)))
        .await;
    eprintln!("{refused} of 2000 Services were refused");
    // Each takes an address of the Services' network, which others need, too.
    assert!(refused < 1_000, "most are taken");
    let seen = attack.until_seen().await;
    eprintln!("2,000 Services under 6 policies: the next policy was answered after {seen:?}");
    let own = attack.own_findings().await;
    assert!(own.len() >= 500, "{} findings of the team", own.len());
    team.delete_all(("v1", "Service")).await;
    attack.end().await;
}

/// More labels than a namespace's share: Services with some megabytes of them, each label another one.
#[tokio::test(flavor = "multi_thread")]
async fn labels_beyond_a_share_are_not_kept() {
    let attack = Attack::begin("share").await;
    let team = &attack.team;
    team.make(&service("own", 1)).await.unwrap();
    team.policy("own", &json!({"balance": {"minimumReadyBackends": 1_000}}))
        .await
        .unwrap();
    let labelled = (0..60).map(|at| labelled(&format!("labelled-{at}"), 4_000));
    let refused = team.make_all(labelled).await;
    eprintln!("{refused} of 60 Services with 4,000 labels were refused");
    assert!(refused < 10, "most are taken");
    attack.until_seen().await;
    attack.until_own("backend-minimum-ready").await;
    let figures = attack.end().await;
    let [before, _, after] = figures.memory;
    // The share, what one more list of it takes, and what the allocator keeps.
    assert!(after < before + 80, "{after} MiB after {before}");
}
