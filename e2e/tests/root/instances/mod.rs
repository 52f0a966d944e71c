//! Several API servers over several members of etcd, and what goes wrong between them: a load balancer that believes in
//! one of three, and one resource of one API server whose way to etcd has become slow.
//!
//! Needs root, for addresses that the slice of the Service `kubernetes` may name.

mod bed;
mod incidents;

use std::time::{Duration, Instant};

use bed::{Door, SHRUNK, WITHIN, clients, number, plane, requests, writes};
use evenkeel_e2e::Channel;

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_believes_in_one_of_three_loads_one() {
    let plane = plane(None).await;
    let door = Door::open(&plane).await;
    let clients = clients(&plane).await;
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
    let channel = Channel {
        api_server: 1,
        resource: "/configmaps",
    };
    let plane = plane(Some(channel)).await;
    let clients = clients(&plane).await;
    let writes = writes(&plane).await;
    plane.channel().unwrap().slow(SHRUNK);
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
