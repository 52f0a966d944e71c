//! What the operator says of them: by the API servers' own pages alone, and by Prometheus alone, side by side.

use std::time::{Duration, Instant};

use evenkeel_e2e::api_servers::{
    By, FrontDoor, KNOWN, SHRUNK, STARTING, Scraped, Watched, clients, large_list, plane, readers, writes,
};
use evenkeel_e2e::under_test::binary;
use futures::future::join_all;
use serde_json::Value;

/// What is promised: D1 within 5 minutes, D2 within 3.
const D1: Duration = Duration::from_secs(300);
const D2: Duration = Duration::from_secs(180);

/// So long what is over would show: each API server's own page is read every 60 s, and shares are taken over 120 s.
const LOOKS: Duration = Duration::from_secs(190);

/// A request that is to be called slow takes 10 s, and such requests have to go on for a minute.
const OVERLOADED: Duration = Duration::from_secs(420);

#[tokio::test(flavor = "multi_thread")]
async fn the_hot_api_server_and_the_balancer_are_named() {
    let plane = plane(None).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let door = FrontDoor::open(&plane).await.unwrap();
    let _scraped = Scraped::start(&plane, folder.path()).await.unwrap();
    let binary = binary().unwrap();
    let by_pages = Watched::start(&plane, binary, By::Instances, folder.path())
        .await
        .unwrap();
    let by_prometheus = Watched::start(&plane, binary, By::Prometheus, folder.path())
        .await
        .unwrap();
    tokio::time::sleep(KNOWN).await;
    for check in ["cp-instance-skew", "lb-view-mismatch"] {
        assert_eq!(by_pages.found(check).await.unwrap(), None, "{check}: all is well");
        assert_eq!(
            by_prometheus.found(check).await.unwrap(),
            None,
            "{check}: all is well"
        );
    }

    let hot = plane.servers()[0];
    door.balancer.believe(&[hot]);
    let (balancer, skew, by_samples) = tokio::join!(
        by_pages.until_found("lb-view-mismatch", D1),
        by_pages.until_found("cp-instance-skew", D1),
        by_prometheus.until_found("cp-instance-skew", D1),
    );
    let (found, after) = balancer.unwrap();
    eprintln!("lb-view-mismatch after {after:?}: {}", found["message"]);
    assert_eq!(found["severity"], "critical", "{found:#}");
    assert_eq!(found["cause"], "OneUsed", "{found:#}");
    let mut all = vec![found];
    for (watched, outcome) in [(&by_pages, skew), (&by_prometheus, by_samples)] {
        let (found, after) = outcome.unwrap();
        let by = watched.by().name();
        eprintln!("cp-instance-skew by {by} after {after:?}: {}", found["message"]);
        assert_eq!(found["cause"], "Balancer", "{found:#}");
        all.push(found);
    }
    for found in all {
        let message = found["message"].as_str().unwrap();
        assert!(message.contains(&hot.ip().to_string()), "{message}");
        let advice = found["advice"].to_string();
        assert!(advice.contains("do not restart"), "{advice}");
    }
    by_pages.end().unwrap();
    by_prometheus.end().unwrap();
}

/// What says that API servers are slow: one of them with one resource, or all together.
const SLOW: [&str; 2] = ["cp-channel-divergence", "cp-overload-brownout"];

#[tokio::test(flavor = "multi_thread")]
async fn the_slow_channel_is_named_by_instance_and_resource() {
    let mut plane = plane(Some("/configmaps")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let _scraped = Scraped::start(&plane, folder.path()).await.unwrap();
    let binary = binary().unwrap();
    let mut watched = Vec::new();
    for by in [By::Instances, By::Prometheus] {
        watched.push(Watched::start(&plane, binary, by, folder.path()).await.unwrap());
    }
    let _writes = writes(&plane).await.unwrap();
    let _readers = readers(&clients(&plane).await.unwrap());
    // One that has just started fills its caches, and is not judged.
    tokio::time::sleep(STARTING).await;
    nothing_is_slow(&watched, Duration::from_secs(5)).await;

    // One large list, and another API server that starts again and is found again by its clients.
    let took = large_list(&plane, 1).await.unwrap();
    eprintln!("a list of 20 MB took {took:?}");
    plane.process("kube-apiserver-2").unwrap().restart().unwrap();
    plane.ready().await.unwrap();
    nothing_is_slow(&watched, LOOKS).await;

    plane.channel(1).unwrap().slow(SHRUNK);
    for (by, (found, after)) in on_each(&watched, SLOW[0]).await {
        let message = found["message"].as_str().unwrap();
        eprintln!("{} by {by} after {after:?}: {message}", SLOW[0]);
        let slow = plane.servers()[1].ip().to_string();
        assert!(message.contains(&slow), "{message}");
        assert!(message.contains("configmaps"), "{message}");
    }

    // All of them together are overloaded, and none is slow alone.
    for api_server in [0, 2] {
        plane.channel(api_server).unwrap().slow(SHRUNK);
    }
    for (by, (found, after)) in on_each(&watched, SLOW[1]).await {
        eprintln!("{} by {by} after {after:?}: {}", SLOW[1], found["message"]);
    }
    for one in &watched {
        one.until_gone(SLOW[0], OVERLOADED).await.unwrap();
    }
    for one in watched {
        one.end().unwrap();
    }
}

/// What a check finds by each operator, and after how long.
async fn on_each<'a>(watched: &'a [Watched], check: &str) -> Vec<(&'a str, (Value, Duration))> {
    let within = if check == SLOW[0] { D2 } else { OVERLOADED };
    let outcomes = join_all(watched.iter().map(|one| one.until_found(check, within))).await;
    let named = watched.iter().zip(outcomes);
    named
        .map(|(one, outcome)| (one.by().name(), outcome.unwrap()))
        .collect()
}

/// Watches for a while: nothing is called slow.
async fn nothing_is_slow(watched: &[Watched], period: Duration) {
    let start = Instant::now();
    while start.elapsed() < period {
        for one in watched {
            for check in SLOW {
                let found = one.found(check).await.unwrap();
                assert_eq!(found, None, "{} after {:?}", one.by().name(), start.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
