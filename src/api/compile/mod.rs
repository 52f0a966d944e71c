//! From the kinds that people write to the policies that checks read.
//!
//! Compilation reports **all** problems, each with its field path. It asks again what the API server asked, as an
//! object may have been stored under an older schema, and asks what a schema cannot know: whether a check exists,
//! whether a name of a label is one. A policy with a problem is not used at all: half a policy judges wrongly.

mod cluster;
mod connection;
mod exceptions;
mod reader;
mod terms;

use std::sync::Arc;

use evenkeel_core::Input;
use evenkeel_core::know::Wall;
use evenkeel_core::policy as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::local::Draft;
use super::{
    Balance, ClusterTrafficHealthPolicy, Problem, RecyclePods, Services, TrafficHealthPolicy, rules,
};
use reader::ProblemReader;

/// Compiles a namespaced policy. `knows_check` says whether a check of this id exists.
///
/// # Errors
/// Every problem of the policy, sorted by field.
pub fn compile(
    policy: &TrafficHealthPolicy,
    knows_check: &dyn Fn(&str) -> bool,
) -> Result<core::Policy, Vec<Problem>> {
    let mut reader = ProblemReader::default();
    rules::policy(&policy.spec, reader.problems());
    team(policy, knows_check, reader)
}

/// Compiles a draft that was judged valid: its rules across fields were asked.
pub(super) fn valid(
    draft: &Draft,
    knows_check: &dyn Fn(&str) -> bool,
) -> Result<Input<'static>, Vec<Problem>> {
    let reader = ProblemReader::default();
    Ok(match draft {
        Draft::Policy(policy) => Input::Policy(Arc::new(team(policy, knows_check, reader)?)),
        Draft::Cluster(policy) => Input::ClusterPolicy(Some(Arc::new(platform(policy, reader)?))),
    })
}

fn team(
    policy: &TrafficHealthPolicy,
    knows_check: &dyn Fn(&str) -> bool,
    mut reader: ProblemReader,
) -> Result<core::Policy, Vec<Problem>> {
    let spec = &policy.spec;
    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
    if namespace.is_empty() {
        reader.problem("metadata.namespace", "required");
    }
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        reader.problem("metadata.name", "required");
    }
    reader.unique(
        "spec.connections",
        spec.connections.iter().map(|connection| &*connection.name),
    );
    let compiled = core::Policy {
        namespace: namespace.into(),
        name: name.into(),
        services: services(&spec.services, &mut reader),
        balance: spec.balance.as_ref().map(|spread| balance(spread, &mut reader)),
        connections: spec
            .connections
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                connection::connection(entry, &format!("spec.connections[{index}]"), &mut reader)
            })
            .collect(),
        remediation: core::Remediation {
            recycle_pods: spec
                .remediation
                .as_ref()
                .and_then(|remediation| remediation.recycle_pods.as_ref())
                .map(|recycle| recycle_pods(recycle, &mut reader)),
        },
        exceptions: exceptions::team(
            &spec.exceptions,
            written(&policy.metadata),
            knows_check,
            &mut reader,
        ),
        unknown_fields: Vec::new(),
    };
    reader.finish(compiled)
}

/// Compiles the cluster's policy.
///
/// # Errors
/// Every problem of the policy, sorted by field.
pub fn compile_cluster(policy: &ClusterTrafficHealthPolicy) -> Result<core::ClusterPolicy, Vec<Problem>> {
    let mut reader = ProblemReader::default();
    rules::cluster(policy.metadata.name.as_deref(), &policy.spec, reader.problems());
    platform(policy, reader)
}

fn platform(
    policy: &ClusterTrafficHealthPolicy,
    mut reader: ProblemReader,
) -> Result<core::ClusterPolicy, Vec<Problem>> {
    let mut compiled = cluster::cluster(&policy.spec, &mut reader);
    compiled.exceptions =
        exceptions::platform(&policy.spec.exceptions, written(&policy.metadata), &mut reader);
    reader.finish(compiled)
}

fn services(services: &Services, reader: &mut ProblemReader) -> core::ServicePick {
    match &services.selector {
        Some(selector) => core::ServicePick::Selector(reader.selector("spec.services.selector", selector)),
        None => core::ServicePick::Names(reader.names("spec.services.names", &services.names)),
    }
}

fn balance(balance: &Balance, reader: &mut ProblemReader) -> core::Balance {
    core::Balance {
        measure: balance.measure.into(),
        tolerance_percent: reader.number("spec.balance.tolerancePercent", balance.tolerance_percent),
        newcomer_grace_seconds: reader.number(
            "spec.balance.newcomerGraceSeconds",
            balance.newcomer_grace_seconds,
        ),
        pod_metric: balance.pod_metric.as_ref().map(|metric| core::PodMetric {
            name: Arc::from(&*metric.name),
            pod_label: Arc::from(&*metric.pod_label),
            counts: metric.counts.into(),
        }),
        minimum_ready_backends: reader.optional(
            "spec.balance.minimumReadyBackends",
            balance.minimum_ready_backends,
        ),
        max_percent_per_node: reader.optional("spec.balance.maxPercentPerNode", balance.max_percent_per_node),
        max_percent_per_zone: reader.optional("spec.balance.maxPercentPerZone", balance.max_percent_per_zone),
    }
}

fn recycle_pods(recycle: &RecyclePods, reader: &mut ProblemReader) -> core::RecyclePods {
    let path = "spec.remediation.recyclePods";
    core::RecyclePods {
        mode: recycle.mode.into(),
        max_per_hour: reader.number(&format!("{path}.maxPerHour"), recycle.max_per_hour),
        cooldown_seconds: reader.number(&format!("{path}.cooldownSeconds"), recycle.cooldown_seconds),
        causes: recycle.causes.iter().map(|&cause| cause.into()).collect(),
        as_client: recycle.as_client,
    }
}

/// When somebody last wrote the policy, status aside; the creation where its managed fields do not show it.
fn written(metadata: &ObjectMeta) -> Option<Wall> {
    let entries = metadata.managed_fields.iter().flatten();
    entries
        .filter(|entry| entry.subresource.as_deref().is_none_or(str::is_empty))
        .filter_map(|entry| entry.time.as_ref())
        .chain(&metadata.creation_timestamp)
        .map(|time| Wall(time.0.as_second()))
        .max()
}
