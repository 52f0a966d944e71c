//! The bare client: reads what an audit reads and keeps nothing.

use std::path::Path;

use anyhow::{Context, Result};
use evenkeel_e2e::client_of;
use futures::{TryStreamExt, stream};
use kube::Client;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What an audit lists as a whole, the largest first.
const LISTS: [&str; 15] = [
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/api/v1/nodes",
    "/api/v1/services",
    "/apis/evenkeel.dev/v1alpha1/traffichealthpolicies",
    "/apis/evenkeel.dev/v1alpha1/clustertraffichealthpolicies",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/deployments",
    "/api/v1/namespaces",
    "/apis/cilium.io/v2/ciliumnodeconfigs",
    "/apis/crd.projectcalico.org/v1/felixconfigurations",
    "/apis/operator.tigera.io/v1/installations",
    "/apis/metallb.io/v1beta1/l2advertisements",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
];

/// Lists read at the same time, as the audit does.
const PARALLEL: usize = 4;

/// Reads every list in pages of the audit's size and drops what comes.
pub(super) async fn read_all(kubeconfig: &Path) -> Result<()> {
    let client = &client_of(kubeconfig, None).await?;
    stream::iter(LISTS.map(Ok))
        .try_for_each_concurrent(PARALLEL, |list| read(client, list))
        .await
}

/// A page's token and nothing else of it.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: Metadata,
    #[serde(borrow, rename = "items")]
    _items: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default, rename = "continue")]
    next: String,
}

async fn read(client: &Client, list: &str) -> Result<()> {
    let mut next = String::new();
    loop {
        let mut path = format!("{list}?limit={}", evenkeel::live::PAGE);
        if !next.is_empty() {
            path += "&continue=";
            // The token is base64url, of which only the padding means something in a query.
            path += &next.replace('=', "%3D");
        }
        let request = http::Request::get(path).body(Vec::new())?;
        let body = match client.request_text(request).await {
            Ok(body) => body,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("reading {list}")),
        };
        next = serde_json::from_str::<Page<'_>>(&body)?.metadata.next;
        if next.is_empty() {
            return Ok(());
        }
    }
}
