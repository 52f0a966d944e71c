//! Clients at work on several API servers: kubelets that come by a load balancer, and Pods that come by the Service
//! `kubernetes`, which the data plane spreads over the instances.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::config_of;

/// How long a client keeps a connection before it makes a new one: scaled down as all times of the bed are, so that
/// a balancer that has changed its mind is felt within a minute.
const CONNECTION: Duration = Duration::from_secs(10);

/// How often a kubelet renews its Lease (every 10 s in a real cluster).
const RENEWS: Duration = Duration::from_millis(500);

/// How often a Pod asks.
const ASKS: Duration = Duration::from_millis(250);

/// A client may be slow, and not hold up its next connection for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// Clients under way. Dropping it ends them.
#[derive(Debug)]
pub struct Traffic(#[expect(dead_code, reason = "held for the tasks, which end with it")] JoinSet<()>);

impl Traffic {
    /// Starts kubelets that come to `door`, and as many Pods at each instance as `pods` says. They are called after
    /// where they come to, for the kubeconfig's user.
    pub async fn start(
        kubeconfig: &Path,
        door: SocketAddr,
        kubelets: usize,
        instances: &[SocketAddr],
        pods: usize,
    ) -> Result<Self> {
        let config = config_of(kubeconfig, None).await?;
        let mut tasks = JoinSet::new();
        for number in 0..kubelets {
            let config = to(&config, door)?;
            tasks.spawn(repeat(config, RENEWS, move |client| renew(client, number)));
        }
        for instance in instances {
            for _ in 0..pods {
                let config = to(&config, *instance)?;
                tasks.spawn(repeat(config, ASKS, ask));
            }
        }
        Ok(Self(tasks))
    }
}

/// The same account at another address.
fn to(config: &Config, at: SocketAddr) -> Result<Config> {
    let mut config = config.clone();
    config.cluster_url = format!("https://{at}")
        .parse()
        .context("an API server's address")?;
    config.tls_server_name = Some("kubernetes.default.svc".to_owned());
    Ok(config)
}

/// Does it again and again, by a new connection now and then. What fails is tried again: these are clients of a cluster
/// with faults.
async fn repeat<F>(config: Config, pause: Duration, once: impl Fn(Client) -> F + Send)
where
    F: Future<Output = kube::Result<()>> + Send,
{
    loop {
        let Ok(client) = Client::try_from(config.clone()) else {
            return;
        };
        let end = tokio::time::Instant::now() + CONNECTION;
        while tokio::time::Instant::now() < end {
            drop(tokio::time::timeout(PATIENCE, once(client.clone())).await);
            tokio::time::sleep(pause).await;
        }
    }
}

async fn renew(client: Client, number: usize) -> kube::Result<()> {
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    let name = format!("kubelet-{number}");
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": name, "renewTime": now},
    });
    let by = PatchParams::apply("kubelet").force();
    leases.patch(&name, &by, &Patch::Apply(lease)).await.map(drop)
}

async fn ask(client: Client) -> kube::Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client, "kube-system");
    maps.list_metadata(&ListParams::default().limit(5))
        .await
        .map(drop)
}
