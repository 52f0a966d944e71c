//! Three API servers over three members of etcd, and what works on them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use evenkeel_e2e::{Address, Balancer, Channel, ControlPlane, Options, Traffic};
use http::Request;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::task::JoinSet;

/// Far above what anything takes on a busy machine.
pub(super) const WITHIN: Duration = Duration::from_secs(180);

/// Bytes a second of a connection whose window has shrunk to 29 bytes, at a round trip of half a millisecond.
pub(super) const SHRUNK: u32 = 58_000;

pub(super) async fn plane(channel: Option<Channel>) -> ControlPlane {
    ControlPlane::start(Options {
        api_servers: 3,
        etcd_members: 3,
        own_addresses: true,
        channel,
        ..Options::default()
    })
    .await
    .unwrap()
}

/// A number of an API server's own page, summed over its series that have these labels.
pub(super) async fn number(client: &Client, name: &str, labels: &[&str]) -> f64 {
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
pub(super) async fn requests(clients: &[Client], within: Duration) -> Vec<f64> {
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

pub(super) async fn clients(plane: &ControlPlane) -> Vec<Client> {
    let mut clients = Vec::new();
    for index in 0..plane.servers().len() {
        clients.push(plane.client_for(index).await.unwrap());
    }
    clients
}

/// A load balancer before them, with kubelets that come by it and Pods that do not.
pub(super) struct Door {
    pub(super) balancer: Balancer,
    _traffic: Traffic,
    _address: Address,
}

impl Door {
    pub(super) async fn open(plane: &ControlPlane) -> Self {
        let address = Address::add().unwrap();
        let at = SocketAddr::from((address.ip(), 6443));
        let balancer = Balancer::start(at, plane.servers()).await.unwrap();
        let door = balancer.address();
        let traffic = Traffic::start(plane.kubeconfig_path(), door, 30, plane.servers(), 2);
        Self {
            _traffic: traffic.await.unwrap(),
            balancer,
            _address: address,
        }
    }
}

/// 200 kB a second of `ConfigMaps` that are written by the first API server; until it is dropped.
pub(super) async fn writes(plane: &ControlPlane) -> JoinSet<()> {
    let namespace = plane.namespace().await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(plane.client_for(0).await.unwrap(), &namespace);
    for number in 0..10 {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(format!("large-{number}")),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([("text".to_owned(), "x".repeat(20_000))])),
            ..ConfigMap::default()
        };
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for number in 0_usize.. {
            let change = serde_json::json!({"data": {"number": number.to_string()}});
            let name = format!("large-{}", number % 10);
            drop(
                maps.patch(&name, &PatchParams::default(), &Patch::Merge(change))
                    .await,
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    tasks
}

/// Clients that list `ConfigMaps` at each API server, as controllers do it; until it is dropped.
pub(super) fn readers(clients: &[Client]) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for client in clients {
        let maps: Api<ConfigMap> = Api::all(client.clone());
        tasks.spawn(async move {
            loop {
                let all = ListParams::default();
                drop(tokio::time::timeout(Duration::from_secs(60), maps.list(&all)).await);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }
    tasks
}
