//! What a running operator shows of the demo's policy.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use evenkeel::api::TrafficHealthPolicy;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;

use crate::ControlPlane;

/// How long a condition or an Event may take.
const WITHIN: Duration = Duration::from_secs(60);

/// The condition Healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthy {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One stable word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Waits until the condition is one that is wanted.
pub async fn healthy(plane: &ControlPlane, wanted: impl Fn(&Healthy) -> bool) -> Result<Healthy> {
    let api: Api<TrafficHealthPolicy> = Api::namespaced(plane.client().await?, "shop");
    let start = Instant::now();
    loop {
        let status = api.get("reports").await?.status.unwrap_or_default();
        let condition = status.conditions.into_iter().find(|one| one.r#type == "Healthy");
        let condition = condition.map(|one| Healthy {
            status: format!("{:?}", one.status),
            reason: one.reason,
            message: one.message,
        });
        if let Some(found) = condition.as_ref().filter(|one| wanted(one)) {
            return Ok(found.clone());
        }
        ensure!(start.elapsed() < WITHIN, "the condition is {condition:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits for an Event of this reason about the policy.
pub async fn event(plane: &ControlPlane, reason: &str) -> Result<Event> {
    let api: Api<Event> = Api::namespaced(plane.client().await?, "shop");
    let start = Instant::now();
    loop {
        let events = api.list(&ListParams::default()).await?.items;
        let mut events = events.into_iter();
        if let Some(event) = events.find(|one| one.reason.as_deref() == Some(reason)) {
            return Ok(event);
        }
        ensure!(start.elapsed() < WITHIN, "no Event {reason}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
