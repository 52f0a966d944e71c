//! `evenkeel status`: how policies stand, and whether the operator that says so is still alive.

mod remediations;
mod text;

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use evenkeel_core::standing::Reason;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client};
use serde::Serialize;

use super::candidates;
use super::cluster::{Cluster, words};
use super::{End, answer};
use crate::api::{
    ClusterTrafficHealthPolicy, Condition, ConditionStatus, StatusFinding, StatusPlans, TrafficHealthPolicy,
};
use crate::live::{ApiServer, Ask, AskError};
use crate::operator::HolderState;
use crate::suggest::did_you_mean;
use crate::{lease, live, render};
use remediations::RemedyState;
use text::text;

/// What to show, and of which cluster.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only policies of this namespace
    #[arg(long, short, value_name = "NAME", add = ArgValueCompleter::new(candidates::namespaces))]
    namespace: Option<String>,
    #[command(flatten)]
    target: OperatorTarget,
}

/// Of which operator, and in which form; `version` takes the same.
#[derive(Debug, Args)]
pub(super) struct OperatorTarget {
    /// Namespace of the operator
    #[arg(long, value_name = "NAME", default_value = lease::NAMESPACE)]
    pub(super) operator_namespace: String,
    /// Name of the operator's Lease
    #[arg(long, value_name = "NAME", default_value = "evenkeel")]
    pub(super) lease: String,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t = StatusForm::Table)]
    pub(super) output: StatusForm,
    #[command(flatten)]
    pub(super) cluster: Cluster,
}

impl OperatorTarget {
    /// The flags that name the same operator again.
    fn again(&self) -> String {
        let own = self.operator_namespace.clone();
        let own = (own != lease::NAMESPACE).then_some(("--operator-namespace", own));
        words(own.into_iter().chain(self.cluster.again()))
    }
}

/// Forms of this answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StatusForm {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs that people read.
    Yaml,
}

/// Policies in a page.
const PAGE: u32 = 500;

/// How the operator is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OperatorHealth {
    /// `Alive`, `Silent` (the Lease is no longer renewed), `GivenBack`, `NotFound`, or `NotAllowed` where you may not see the Lease.
    pub(super) state: &'static str,
    /// Identity of the holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    /// Seconds since the Lease was renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    renewed_seconds_ago: Option<i64>,
    /// What the holder reports of itself.
    #[serde(rename = "tells", skip_serializing_if = "Option::is_none")]
    pub(super) reported: Option<HolderState>,
}

/// Stands for the reason of a policy that has no status.
const NOT_JUDGED_YET: &str = "NotJudgedYet";

/// How one policy stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    accepted: String,
    /// What `Accepted` says where the policy was refused, or is in force with a mistake in it.
    #[serde(skip_serializing_if = "String::is_empty")]
    mistakes: String,
    observed: String,
    healthy: String,
    reason: String,
    /// Whether the status speaks of the present generation.
    current: bool,
    /// Reason of the condition `Remediating`: whether a remedy is called for, and why none is carried out.
    #[serde(skip_serializing_if = "String::is_empty")]
    remediating: String,
    /// What remedies would do, and what holds each back; of the platform's policy only.
    #[serde(flatten)]
    plans: StatusPlans,
    findings_total: i32,
    findings: Vec<StatusFinding>,
}

impl Row {
    /// Its namespace and name, or the name alone of the platform's.
    fn shown(&self) -> String {
        let place = self.namespace.as_ref();
        place.map_or_else(String::new, |place| format!("{place}/")) + &self.name
    }
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct StatusAnswer {
    operator: OperatorHealth,
    /// What people said, and what is under way; of the whole cluster only.
    #[serde(flatten)]
    under_way: RemedyState,
    policies: Vec<Row>,
    /// What you may not see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unseen: Vec<String>,
}

/// Shows it. Exits with 2 when the operator is not alive or something may not be seen, else with 1 when a policy is not healthy.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<End> {
    let target = &arguments.target;
    let state = target.cluster.wait(ask(arguments))?;
    answer(&match target.output {
        StatusForm::Json => render::json(&state)?,
        StatusForm::Yaml => render::yaml(&state)?,
        StatusForm::Table => text(&state, target, &arguments.again()),
    })?;
    Ok(if state.operator.state != "Alive" || !state.unseen.is_empty() {
        End::Unread
    } else if state.policies.iter().any(|one| one.healthy == "False") {
        End::Failed
    } else {
        End::Good
    })
}

impl Arguments {
    /// The flags that name the same place again.
    fn again(&self) -> String {
        let namespace = self.namespace.iter().map(|name| ("-n", name.clone()));
        words(namespace.chain(self.target.cluster.again()))
    }
}

async fn ask(arguments: &Arguments) -> anyhow::Result<StatusAnswer> {
    let target = &arguments.target;
    let (client, server) = live::connect(&target.cluster.options()).await?;
    let operator = operator(&client, &server, &target.operator_namespace, &target.lease).await?;
    let mut policies = Vec::new();
    let mut unseen = Vec::new();
    let under_way = match &arguments.namespace {
        Some(_) => RemedyState::default(),
        None => remediations::read((&client, &server), &target.operator_namespace, &mut unseen).await?,
    };
    let namespace = arguments.namespace.as_deref().unwrap_or_default();
    let team_ask = Ask {
        verb: "list",
        resource: "traffichealthpolicies.evenkeel.dev",
        name: "",
        namespace,
    };
    let api: Api<TrafficHealthPolicy> = match &arguments.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = match api.list(&page).await {
            Ok(list) => list,
            Err(error) => {
                unseen.push(refused(&server, &error, team_ask)?);
                break;
            }
        };
        policies.extend(list.items.into_iter().map(team));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    if arguments.namespace.is_none() {
        let ask = Ask {
            resource: "clustertraffichealthpolicies.evenkeel.dev",
            ..team_ask
        };
        let api: Api<ClusterTrafficHealthPolicy> = Api::all(client.clone());
        match api.list(&ListParams::default()).await {
            Ok(list) => policies.extend(list.items.into_iter().map(platform)),
            Err(error) => unseen.push(refused(&server, &error, ask)?),
        }
    }
    if let Some(namespace) = arguments.namespace.as_ref().filter(|_| policies.is_empty()) {
        exists(&Api::all(client), namespace).await?;
    }
    Ok(StatusAnswer {
        operator,
        under_way,
        policies,
        unseen,
    })
}

/// An error where the namespace does not exist. Without the right to know it may.
async fn exists(api: &Api<Namespace>, name: &str) -> anyhow::Result<()> {
    let Ok(list) = api.list_metadata(&ListParams::default()).await else {
        return Ok(());
    };
    let known: Vec<_> = list
        .items
        .iter()
        .filter_map(|one| one.metadata.name.as_deref())
        .collect();
    anyhow::ensure!(
        known.contains(&name),
        "there is no namespace {name}{}",
        did_you_mean(name, known.iter().copied())
    );
    Ok(())
}

/// What may not be seen, as text. Any other error ends the command.
fn refused(server: &ApiServer, error: &kube::Error, ask: Ask<'_>) -> anyhow::Result<String> {
    match server.failed(error, ask) {
        error @ AskError::Forbidden(_) => Ok(error.to_string()),
        AskError::Absent(..) => anyhow::bail!(
            "evenkeel's kinds are not installed in {server}; `evenkeel audit` works without them, `evenkeel crd | kubectl \
             apply -f -` installs them"
        ),
        error => Err(error.into()),
    }
}

/// How the operator is, by its Lease.
pub(super) async fn operator(
    client: &Client,
    server: &ApiServer,
    namespace: &str,
    name: &str,
) -> anyhow::Result<OperatorHealth> {
    let none = |state| OperatorHealth {
        state,
        holder: None,
        renewed_seconds_ago: None,
        reported: None,
    };
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let ask = Ask {
        verb: "get",
        resource: "leases.coordination.k8s.io",
        name,
        namespace,
    };
    let lease = match api.get_opt(name).await {
        Ok(Some(lease)) => lease,
        Ok(None) => return Ok(none("NotFound")),
        Err(error) => match server.failed(&error, ask) {
            AskError::Forbidden(_) => return Ok(none("NotAllowed")),
            error => return Err(error.into()),
        },
    };
    let spec = lease.spec.unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let age = spec
        .renew_time
        .map(|time| Timestamp::now().as_second() - time.0.as_second());
    let lasts = spec.lease_duration_seconds.map_or(15, i64::from);
    let state = match (&holder, age) {
        (None, _) => "GivenBack",
        (Some(_), Some(age)) if age <= lasts => "Alive",
        (Some(_), _) => "Silent",
    };
    let annotations = lease.metadata.annotations.unwrap_or_default();
    Ok(OperatorHealth {
        state,
        holder,
        renewed_seconds_ago: age,
        // A holder of another version may report something else: then it is not shown.
        reported: annotations
            .get(lease::STATE)
            .and_then(|text| serde_json::from_str(text).ok()),
    })
}

fn team(policy: TrafficHealthPolicy) -> Row {
    let status = policy.status.unwrap_or_default();
    row(
        policy.metadata,
        &status.conditions,
        status.observed_generation,
        status.findings_total,
        status.findings,
    )
}

fn platform(policy: ClusterTrafficHealthPolicy) -> Row {
    let status = policy.status.unwrap_or_default();
    let of_all = row(
        policy.metadata,
        &status.conditions,
        status.observed_generation,
        status.findings_total,
        status.findings,
    );
    Row {
        plans: StatusPlans {
            plans: status.plans,
            plans_total: status.plans_total,
        },
        ..of_all
    }
}

fn row(
    metadata: kube::api::ObjectMeta,
    conditions: &[Condition],
    observed: Option<i64>,
    total: Option<i32>,
    findings: Vec<StatusFinding>,
) -> Row {
    let find = |kind: &str| conditions.iter().find(|one| one.r#type == kind);
    let word = |kind: &str| {
        find(kind).map_or("-", |one| match one.status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        })
    };
    Row {
        namespace: metadata.namespace,
        name: metadata.name.unwrap_or_default(),
        accepted: word("Accepted").into(),
        mistakes: find("Accepted")
            .filter(|one| one.reason != Reason::Accepted.name())
            .map_or_else(String::new, |one| one.message.clone()),
        observed: word("Observed").into(),
        healthy: word("Healthy").into(),
        reason: find("Healthy").map_or_else(|| NOT_JUDGED_YET.into(), |one| one.reason.clone()),
        remediating: find("Remediating").map_or_else(String::new, |one| one.reason.clone()),
        plans: StatusPlans::default(),
        current: observed.is_some() && observed == metadata.generation,
        findings_total: total.unwrap_or(0),
        findings,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    pub(super) fn told(by: &str) -> StatusAnswer {
        let finding = serde_json::json!({"check": by, "id": "0123456789abcdef", "message": by, "severity": "Critical",
            "subject": {"kind": "Service", "namespace": by, "name": by}, "verdict": "Violated", "since": "2026-01-01T00:00:00Z"});
        let finding: StatusFinding = serde_json::from_value(finding).unwrap();
        let plans = serde_json::json!({"plansTotal": 2, "plans": [{"id": "0123456789abcdef", "remedy": by, "node": by, "cause": by,
            "decision": "Held", "heldBy": by, "message": by, "again": "2026-01-01T00:00:00Z"}]});
        let plans: StatusPlans = serde_json::from_value(plans).unwrap();
        StatusAnswer {
            operator: OperatorHealth {
                state: "Alive",
                holder: Some(by.into()),
                renewed_seconds_ago: Some(1),
                reported: Some(HolderState {
                    version: by.into(),
                    ready: true,
                    not_fresh: [(by.to_owned(), by.to_owned())].into(),
                    unfit: None,
                }),
            },
            under_way: remediations::tests::under_way(by, 1),
            policies: vec![Row {
                namespace: Some(by.into()),
                name: by.into(),
                accepted: "True".into(),
                mistakes: by.into(),
                observed: "True".into(),
                healthy: "False".into(),
                reason: by.into(),
                current: true,
                remediating: by.into(),
                plans,
                findings_total: 1,
                findings: vec![finding],
            }],
            unseen: vec![by.into()],
        }
    }

    /// What people see where every text of a status and of the Lease's annotation is this one.
    pub(crate) fn shown(by: &str) -> String {
        let target = OperatorTarget {
            operator_namespace: "evenkeel-system".into(),
            lease: "evenkeel".into(),
            output: StatusForm::Table,
            cluster: Cluster::default(),
        };
        text(&told(by), &target, &format!(" -n '{by}'"))
    }
}
