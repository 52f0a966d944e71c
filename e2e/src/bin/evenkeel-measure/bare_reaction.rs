//! The least that any client can do for a reaction: watch all slices, and apply a prepared status when one of them changes.
//!
//! What the operator takes longer than this is its own; the rest is the API server, the network and the machine.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use evenkeel_e2e::client_of;
use futures::TryStreamExt;
use kube::Client;
use kube::api::WatchEvent;
use serde::Deserialize;
use serde_json::{Value, json};

use super::operator::{Bench, NAMESPACE, POLICY_NAME};
use super::reaction::{CHANGES, MEASURED_SLICE, Neighbours, Reactions, SLICES, reactions};

/// The line on the standard output with which it says that changes of slices will be seen from now on.
const WATCHING: &str = "watching";

/// What is read of a slice.
#[derive(Clone, Deserialize)]
struct Slice {
    metadata: Metadata,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Clone, Deserialize)]
struct Endpoint {
    #[serde(default)]
    conditions: Conditions,
}

#[derive(Clone, Deserialize, Default)]
struct Conditions {
    ready: Option<bool>,
}

/// Measures the same reactions as the operator's, without and with other changes, by a process of this client.
pub(super) async fn measured(bench: &Bench) -> Result<[Reactions; 2]> {
    let mut process = Command::new(std::env::current_exe()?)
        .arg("--bare-reaction")
        .arg("--kubeconfig")
        .arg(bench.bare_kubeconfig())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the bare client")?;
    let measured = async {
        let mut said = String::new();
        let out = process.stdout.take().context("the bare client has no output")?;
        BufReader::new(out).read_line(&mut said)?;
        ensure!(said.trim() == WATCHING, "the bare client does not watch");
        anyhow::Ok([
            reactions(bench, None, 0, Neighbours::Quiet).await?,
            reactions(bench, None, CHANGES, Neighbours::Quiet).await?,
        ])
    };
    let measured = measured.await;
    process.kill()?;
    process.wait()?;
    measured
}

/// Reacts until it is killed.
pub(super) async fn react(kubeconfig: &Path) -> Result<()> {
    let client = client_of(kubeconfig, None).await?;
    let path =
        format!("/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/traffichealthpolicies/{POLICY_NAME}");
    let policy: Value = client
        .request(http::Request::get(&path).body(Vec::new())?)
        .await?;
    ensure!(
        policy["status"].is_object(),
        "{POLICY_NAME} has no status to start from"
    );
    loop {
        let mut events = pin!(watch(&client).await?);
        println!("{WATCHING}");
        while let Some(event) = events.try_next().await? {
            let slice = match event {
                WatchEvent::Added(slice) | WatchEvent::Modified(slice) => slice,
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => bail!("watching slices: {status:?}"),
            };
            if slice.metadata.name == MEASURED_SLICE {
                let first = slice.endpoints.first().context("the measured slice is empty")?;
                apply(&client, &path, &policy, first.conditions.ready != Some(false)).await?;
            }
        }
    }
}

/// All slices, from now on.
async fn watch(
    client: &Client,
) -> Result<impl futures::Stream<Item = kube::Result<WatchEvent<Slice>>> + use<>> {
    let list: Value = client
        .request(http::Request::get(format!("{SLICES}?limit=1")).body(Vec::new())?)
        .await?;
    let version = list["metadata"]["resourceVersion"]
        .as_str()
        .context("a list without a version")?;
    let uri = format!("{SLICES}?watch=true&resourceVersion={version}");
    Ok(client
        .request_events(http::Request::get(uri).body(Vec::new())?)
        .await?)
}

/// Applies the policy's own status with other answers: as many bytes as the operator sends.
async fn apply(client: &Client, path: &str, policy: &Value, healthy: bool) -> Result<()> {
    let mut status = policy["status"].clone();
    let conditions = status["conditions"].as_array_mut().into_iter().flatten();
    for condition in conditions.filter(|one| one["type"] == "Healthy" || one["type"] == "Ready") {
        condition["status"] = if healthy { "True" } else { "False" }.into();
    }
    let body = json!({
        "apiVersion": policy["apiVersion"],
        "kind": policy["kind"],
        "metadata": {"name": POLICY_NAME, "namespace": NAMESPACE},
        "status": status,
    });
    let request = http::Request::patch(format!("{path}/status?fieldManager=evenkeel&force=true"))
        .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(serde_json::to_vec(&body)?)?;
    client
        .request_text(request)
        .await
        .context("applying a status")
        .map(drop)
}
