//! What the operator says of them: by the API servers' own pages alone, and by Prometheus alone, side by side.

use std::time::Duration;

use evenkeel_e2e::Channel;
use evenkeel_e2e::api_servers::{
    By, FrontDoor, SHRUNK, STARTING, Scraped, Watched, clients, plane, readers, writes,
};
use evenkeel_e2e::under_test::binary;

/// What is promised: D1 within 5 minutes, D2 within 3. The machine is shared with other tests.
const D1: Duration = Duration::from_secs(300);
const D2: Duration = Duration::from_secs(240);

/// Longest time until there are samples enough.
const JUDGED: Duration = Duration::from_secs(420);

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
    for check in ["cp-instance-skew", "lb-view-mismatch"] {
        by_pages.until_judged(check, JUDGED).await.unwrap();
        assert_eq!(by_pages.found(check).await.unwrap(), None, "{check}: all is well");
    }
    by_prometheus
        .until_judged("cp-instance-skew", JUDGED)
        .await
        .unwrap();
    assert_eq!(by_prometheus.found("cp-instance-skew").await.unwrap(), None);

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

#[tokio::test(flavor = "multi_thread")]
async fn the_slow_channel_is_named_by_instance_and_resource() {
    let channel = Channel {
        api_server: 1,
        resource: "/configmaps",
    };
    let plane = plane(Some(channel)).await.unwrap();
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
    for one in &watched {
        assert_eq!(one.found("cp-channel-divergence").await.unwrap(), None);
    }
    plane.channel().unwrap().slow(SHRUNK);
    let all = futures::future::join_all(
        watched
            .iter()
            .map(|one| one.until_found("cp-channel-divergence", D2)),
    );
    for (one, outcome) in watched.iter().zip(all.await) {
        let (found, after) = outcome.unwrap();
        let by = one.by().name();
        eprintln!(
            "cp-channel-divergence by {by} after {after:?}: {}",
            found["message"]
        );
        let message = found["message"].as_str().unwrap();
        assert!(
            message.contains(&plane.servers()[1].ip().to_string()),
            "{message}"
        );
        assert!(message.contains("configmaps"), "{message}");
    }
    for one in watched {
        one.end().unwrap();
    }
}
