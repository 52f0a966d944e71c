//! Fills a control plane to the size of a large cluster.
//!
//! Services have no selector, so no controller fights over their slices, and what
//! exists already is left alone, so that a broken-off load can go on. Objects are
//! sent as plain JSON and the answers are not read: the clients of a test must
//! not be what limits the rate.

mod objects;

use std::future::Future;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use serde_json::Value;

/// Requests under way at a time; more only grows queues.
const CONCURRENCY: usize = 64;
/// A refusal for want of capacity, or of a `ServiceAccount` still to be made.
const TRIES: u32 = 60;
const BETWEEN_TRIES: Duration = Duration::from_millis(250);
/// Each node has a pod network of its own, of which there are so many.
const MOST_NODES: u32 = 32_768;
/// Addresses of a node's pod network.
const PODS_OF_NODE: u32 = 250;

/// How much to put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Nodes with a full status, ready.
    pub nodes: u32,
    /// Services with a cluster address and one slice each.
    pub services: u32,
    /// Ready endpoints of each Service, spread over the nodes.
    pub endpoints_per_service: u32,
    /// How many of the endpoints have a running Pod.
    pub pods: u32,
}

impl Size {
    /// The usual proportions: two Services a node, 15 endpoints each, no Pods.
    pub fn of_nodes(nodes: u32) -> Self {
        Self {
            nodes,
            services: 2 * nodes,
            endpoints_per_service: 15,
            pods: 0,
        }
    }

    /// All endpoints together.
    pub fn endpoints(&self) -> u32 {
        self.services * self.endpoints_per_service
    }

    fn check(&self) -> Result<()> {
        ensure!(self.nodes > 0, "a load needs nodes");
        ensure!(
            self.nodes <= MOST_NODES,
            "at most {MOST_NODES} nodes have addresses"
        );
        ensure!(
            u64::from(self.services) * u64::from(self.endpoints_per_service)
                <= u64::from(self.nodes) * u64::from(PODS_OF_NODE),
            "more than {PODS_OF_NODE} endpoints a node",
        );
        ensure!(
            self.endpoints_per_service <= 1_000,
            "a slice holds at most 1000 endpoints"
        );
        ensure!(self.pods <= self.endpoints(), "more Pods than endpoints");
        Ok(())
    }
}

impl FromStr for Size {
    type Err = anyhow::Error;

    /// A number of nodes, such as `500` or `5k`.
    fn from_str(text: &str) -> Result<Self> {
        let (digits, factor) = text.strip_suffix('k').map_or((text, 1), |digits| (digits, 1_000));
        let nodes: u32 = digits
            .parse()
            .with_context(|| format!("{text:?} is no number of nodes"))?;
        let size = Self::of_nodes(nodes.saturating_mul(factor).min(MOST_NODES + 1));
        size.check()?;
        Ok(size)
    }
}

/// What one kind took.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// The kind, in the plural.
    pub kind: &'static str,
    /// How many objects.
    pub count: u32,
    /// How long.
    pub took: Duration,
}

impl Stage {
    /// Objects a second.
    pub fn rate(&self) -> f64 {
        f64::from(self.count) / self.took.as_secs_f64().max(0.001)
    }
}

/// Fills the cluster behind the client, kind by kind; `progress` hears of each
/// kind when it is done.
pub async fn load(client: &Client, size: &Size, mut progress: impl FnMut(&Stage)) -> Result<()> {
    size.check()?;
    let namespaces = size.services.div_ceil(objects::SERVICES_PER_NAMESPACE);
    let post = |(path, object): (String, Value)| post(client, path, object);
    progress(&stage("namespaces", namespaces, |index| post(objects::namespace(index))).await?);
    progress(&stage("nodes", size.nodes, |index| post(objects::node(index))).await?);
    progress(&stage("services", size.services, |index| post(objects::service(index))).await?);
    progress(&stage("slices", size.services, |index| post(objects::slice(index, size))).await?);
    if size.pods > 0 {
        progress(&stage("pods", size.pods, |index| pod(client, index, size)).await?);
    }
    Ok(())
}

async fn stage<F>(kind: &'static str, count: u32, make: impl Fn(u32) -> F) -> Result<Stage>
where
    F: Future<Output = Result<()>>,
{
    let start = Instant::now();
    stream::iter(0..count)
        .map(make)
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await
        .with_context(|| format!("loading {kind}"))?;
    Ok(Stage {
        kind,
        count,
        took: start.elapsed(),
    })
}

/// A Pod is always born pending; that it runs is said in a second request.
async fn pod(client: &Client, index: u32, size: &Size) -> Result<()> {
    let (path, object) = objects::pod(index, size);
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let status = serde_json::to_vec(&objects::pod_status(index, size))?;
    post(client, path.clone(), object).await?;
    let path = format!("{path}/{name}/status");
    send(
        client,
        http::Method::PATCH,
        &path,
        "application/merge-patch+json",
        &status,
    )
    .await
}

/// Makes an object, unless it is there. A Service that is there already is
/// refused for its address before its name is looked at; hence the second look.
async fn post(client: &Client, path: String, object: Value) -> Result<()> {
    let body = serde_json::to_vec(&object)?;
    let Err(error) = send(client, http::Method::POST, &path, "application/json", &body).await else {
        return Ok(());
    };
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let existing = http::Request::get(format!("{path}/{name}")).body(Vec::new())?;
    client.request_text(existing).await.map(drop).map_err(|_| error)
}

async fn send(client: &Client, method: http::Method, path: &str, content: &str, body: &[u8]) -> Result<()> {
    for _ in 0..TRIES {
        let request = http::Request::builder()
            .method(method.clone())
            .uri(path)
            .header(http::header::CONTENT_TYPE, content)
            .body(body.to_vec())?;
        match client.request_text(request).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 && method == http::Method::POST => {
                return Ok(());
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 409 | 429 | 500..) => {}
            Err(error) => return Err(error).with_context(|| format!("{method} {path}")),
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    bail!("{method} {path} is refused again and again")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn sizes_are_numbers_of_nodes() {
        let size: Size = "5k".parse().unwrap();
        assert_eq!(
            (size.nodes, size.services, size.endpoints()),
            (5_000, 10_000, 150_000)
        );
        assert_eq!("500".parse::<Size>().unwrap(), Size::of_nodes(500));
        for wrong in ["", "k", "0", "-1", "5m", "33k", "5000000k"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_has_no_address_is_refused() {
        let size = Size {
            services: 100,
            ..Size::of_nodes(5)
        };
        assert!(size.check().is_err());
        let size = Size {
            pods: 151,
            ..Size::of_nodes(5)
        };
        assert!(size.check().is_err());
    }
}
