//! Three API servers over three members of etcd, what works on them, and what goes wrong between them: a load balancer that
//! believes in one of three (D1), and one resource of one API server whose way to etcd has become slow (D2).
//!
//! Needs root, for addresses that the slice of the Service `kubernetes` may name.

mod scraped;
mod watched;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{Address, Balancer, ControlPlane, Options, Traffic};

pub use scraped::Scraped;
pub use watched::{By, Watched};

/// Bytes a second of a connection whose window has shrunk to 29 bytes, at a round trip of half a millisecond.
pub const SHRUNK: u32 = 58_000;

/// How long an API server that has started fills its caches, and is not judged by its channels.
pub const STARTING: Duration = Duration::from_secs(600);

/// How long an operator watches before it knows how it was: shares are taken over 300 s, and by then a load balancer that
/// spreads connections has been seen to do so.
pub const KNOWN: Duration = Duration::from_secs(330);

/// Three API servers; `channels` is a resource for which each of them has a channel to etcd of its own.
pub async fn plane(channels: Option<&'static str>) -> Result<ControlPlane> {
    ControlPlane::start(Options {
        api_servers: 3,
        etcd_members: 3,
        own_addresses: true,
        channels,
        ..Options::default()
    })
    .await
}

/// A client of each of them.
pub async fn clients(plane: &ControlPlane) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for index in 0..plane.servers().len() {
        clients.push(plane.client_for(index).await?);
    }
    Ok(clients)
}

/// A load balancer before them, with kubelets that come by it and Pods that do not; published in `kube-public/cluster-info` as
/// kubeadm does it.
#[derive(Debug)]
pub struct FrontDoor {
    /// The load balancer.
    pub balancer: Balancer,
    _traffic: Traffic,
    _address: Address,
}

impl FrontDoor {
    /// Opens it.
    pub async fn open(plane: &ControlPlane) -> Result<Self> {
        let address = Address::add()?;
        let at = SocketAddr::from((address.ip(), 6443));
        let balancer = Balancer::start(at, plane.servers()).await?;
        let door = balancer.address();
        let traffic = Traffic::start(plane.kubeconfig_path(), door, 30, plane.servers(), 2).await?;
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "clusters": [
            {"name": "", "cluster": {"server": format!("https://{door}")}}]});
        let info = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "cluster-info", "namespace": "kube-public"},
            "data": {"kubeconfig": kubeconfig.to_string()}});
        plane.apply_yaml(&info.to_string()).await?;
        Ok(Self {
            balancer,
            _traffic: traffic,
            _address: address,
        })
    }
}

/// 200 kB a second of `ConfigMaps` that are written by the first API server; until it is dropped.
pub async fn writes(plane: &ControlPlane) -> Result<JoinSet<()>> {
    let namespace = plane.namespace().await?;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client_for(0).await?, &namespace);
    for number in 0..10 {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(format!("large-{number}")),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([("text".to_owned(), "x".repeat(20_000))])),
            ..ConfigMap::default()
        };
        let made = maps.create(&PostParams::default(), &map).await;
        made.context("making what is written again and again")?;
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for number in 0_usize.. {
            let change = json!({"data": {"number": number.to_string()}});
            let name = format!("large-{}", number % 10);
            drop(
                maps.patch(&name, &PatchParams::default(), &Patch::Merge(change))
                    .await,
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    Ok(tasks)
}

/// Makes 20 MB of `ConfigMaps`, 200 of 100 kB, lists them once at one API server, and deletes them. Returns how long the list
/// took.
pub async fn large_list(plane: &ControlPlane, api_server: usize) -> Result<Duration> {
    let namespace = plane.namespace().await?;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client_for(api_server).await?, &namespace);
    for number in 0..200 {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(format!("large-{number}")),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([("text".to_owned(), "x".repeat(100_000))])),
            ..ConfigMap::default()
        };
        let made = maps.create(&PostParams::default(), &map).await;
        made.context("making a large object")?;
    }
    let start = Instant::now();
    let listed = maps.list(&ListParams::default()).await?.items.len();
    let took = start.elapsed();
    ensure!(listed >= 200, "{listed} are listed");
    maps.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    Ok(took)
}

/// Clients that list `ConfigMaps` at each API server, as controllers do it; until it is dropped.
pub fn readers(clients: &[Client]) -> JoinSet<()> {
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
