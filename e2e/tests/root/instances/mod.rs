//! Several API servers over several members of etcd, and what goes wrong between them: a load balancer that believes in
//! one of three, and one resource of one API server whose way to etcd has become slow.
//!
//! Needs root, for addresses that the slice of the Service `kubernetes` may name.

mod incidents;

use std::time::{Duration, Instant};

use evenkeel_e2e::api_servers::{FrontDoor, SHRUNK, clients, plane, writes};
use http::Request;
use kube::Client;

/// Far above what anything takes on a busy machine.
const WITHIN: Duration = Duration::from_secs(180);

/// A number of an API server's own page, summed over its series that have these labels.
async fn number(client: &Client, name: &str, labels: &[&str]) -> f64 {
    let page = Request::get("/metrics").body(Vec::new()).unwrap();
    let text = client.request_text(page).await.unwrap();
    text.lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// How many requests each instance has answered in some seconds.
async fn requests(clients: &[Client], within: Duration) -> Vec<f64> {
    let mut counts = Vec::new();
    for client in clients {
        counts.push(number(client, "apiserver_request_total", &[]).await);
    }
    tokio::time::sleep(within).await;
    for (client, count) in clients.iter().zip(&mut counts) {
        *count = number(client, "apiserver_request_total", &[]).await - *count;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_believes_in_one_of_three_loads_one() {
    let plane = plane(None).await.unwrap();
    let door = FrontDoor::open(&plane).await.unwrap();
    let clients = clients(&plane).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let even = requests(&clients, Duration::from_secs(20)).await;
    door.balancer.believe(&plane.servers()[..1]);
    let start = Instant::now();
    // Every instance still answers, and only the balancer takes two of them for unhealthy.
    loop {
        let now = requests(&clients, Duration::from_secs(10)).await;
        let all: f64 = now.iter().sum();
        let least = now.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(
            least > 0.05 * all,
            "an instance without requests is too easy: {now:?}"
        );
        if now[0] > 0.6 * all {
            eprintln!("requests before {even:?}, {:?} after {now:?}", start.elapsed());
            break;
        }
        assert!(start.elapsed() < WITHIN, "{now:?}");
    }
    let all: f64 = even.iter().sum();
    assert!(even[0] < 0.5 * all, "{even:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_way_to_etcd_is_felt_by_one_resource_of_one_instance() {
    let plane = plane(Some("/configmaps")).await.unwrap();
    let clients = clients(&plane).await.unwrap();
    let writes = writes(&plane).await.unwrap();
    plane.channel(1).unwrap().slow(SHRUNK);
    let start = Instant::now();
    let version = "apiserver_watch_cache_resource_version";
    let labels = ["group=\"\"", "resource=\"configmaps\""];
    let behind = loop {
        let [healthy, slow] = [
            number(&clients[0], version, &labels).await,
            number(&clients[1], version, &labels).await,
        ];
        if healthy - slow > 100.0 {
            break healthy - slow;
        }
        assert!(start.elapsed() < WITHIN, "{healthy} {slow}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    eprintln!("{behind} versions behind after {:?}", start.elapsed());
    // Its other resources are as new as those of the others, and its channel has not been closed.
    let labels = ["group=\"\"", "resource=\"namespaces\""];
    let [healthy, other] = [
        number(&clients[0], version, &labels).await,
        number(&clients[1], version, &labels).await,
    ];
    assert!((healthy - other).abs() < 50.0, "{healthy} {other}");
    drop(writes);
}
