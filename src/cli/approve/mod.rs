//! `evenkeel approve` and `evenkeel reject`: a person's yes or no to one plan, after all that its record says of it was shown.

use std::fmt::Write as _;

use anyhow::{Context, bail, ensure};
use clap::Args;
use clap_complete::ArgValueCompleter;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, Resource};

use super::stop::{self, OperatorPlace};
use super::{End, FIELD_MANAGER, answer, candidates};
use crate::api::{
    ApprovalDecision, ClusterTrafficHealthPolicy, Condition, ConditionStatus, RemediationApproval,
    RemediationApprovalSpec, RemediationRecord,
};
use crate::escape::line;
use crate::live::{self, ApiServer, Ask, AskError};
use crate::render;
use crate::suggest::did_you_mean;

/// Which plan, and of which operator.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Name of the record, as `evenkeel status` shows it
    #[arg(value_name = "RECORD", add = ArgValueCompleter::new(candidates::records))]
    name: String,
    /// Only if this is still the plan
    #[arg(long, value_name = "HASH")]
    plan_hash: Option<String>,
    /// Show the plan; the API server is asked whether it would take the decision
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: OperatorPlace,
}

/// What became of the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Decided {
    /// It is written.
    Now,
    /// It would be.
    WouldBe,
    /// It was written before, by this user and then.
    Before(String, String),
}

/// Shows the plan, and writes the decision on it.
pub(super) fn run(arguments: &Arguments, decision: ApprovalDecision) -> anyhow::Result<End> {
    let place = &arguments.place;
    place.cluster.wait(async {
        let (client, server) = live::connect(&place.cluster.options()).await?;
        let record = find(&client, &server, arguments).await?;
        answer(&plan(&record, policy(&client, &record).await))?;
        may_be_decided(&record, arguments)?;
        let decided = decide((&client, &server), &record, decision, arguments).await?;
        answer(&outcome(decision, &decided, &record.spec.plan_hash, arguments))?;
        Ok(End::Good)
    })
}

fn ask<'a>(verb: &'static str, resource: &'a str, name: &'a str, namespace: &'a str) -> Ask<'a> {
    Ask {
        verb,
        resource,
        name,
        namespace,
    }
}

const RECORDS: &str = "remediations.evenkeel.dev";
const APPROVALS: &str = "remediationapprovals.evenkeel.dev";

/// The record of this name.
async fn find(
    client: &Client,
    server: &ApiServer,
    arguments: &Arguments,
) -> anyhow::Result<RemediationRecord> {
    let (name, namespace) = (&*arguments.name, &*arguments.place.operator_namespace);
    let api: Api<RemediationRecord> = Api::namespaced(client.clone(), namespace);
    match api.get(name).await {
        Ok(record) => return Ok(record),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(server.failed(&error, ask("get", RECORDS, name, namespace)).into()),
    }
    stop::namespace_exists(client, server, namespace).await?;
    match api.list(&ListParams::default()).await {
        Ok(list) => {
            let known: Vec<_> = list
                .items
                .iter()
                .filter_map(|one| one.metadata.name.as_deref())
                .collect();
            let hint = did_you_mean(name, known);
            bail!(
                "there is no record {name} in namespace {namespace}{hint}; `{} status` shows those that are open",
                render::program()
            )
        }
        Err(error) => match server.failed(&error, ask("list", RECORDS, "", namespace)) {
            AskError::Absent(..) => bail!(
                "{server} has no kind Remediation: the component remedy-cordon is not installed, and without it there is \
                 nothing to decide"
            ),
            _ => bail!("there is no record {name} in namespace {namespace}"),
        },
    }
}

/// The platform's policy, where it may be read and is the one that the record names: its name and its generation now.
async fn policy(client: &Client, record: &RemediationRecord) -> Option<(String, i64)> {
    let api: Api<ClusterTrafficHealthPolicy> = Api::all(client.clone());
    let list = api.list_metadata(&ListParams::default()).await.ok()?;
    let policy = list
        .items
        .into_iter()
        .find(|one| one.metadata.uid.as_ref() == Some(&record.spec.policy_ref.uid))?;
    Some((policy.metadata.name?, policy.metadata.generation?))
}

fn conditions(record: &RemediationRecord) -> &[Condition] {
    record.status.as_ref().map_or(&[], |status| &status.conditions)
}

/// An error where no decision can change anything.
fn may_be_decided(record: &RemediationRecord, arguments: &Arguments) -> anyhow::Result<()> {
    let name = &arguments.name;
    let holds = |kind: &str| {
        conditions(record)
            .iter()
            .find(|one| one.r#type == kind && one.status == ConditionStatus::True)
    };
    if let Some(finished) = holds("Finished") {
        bail!(
            "record {name} is finished ({}): there is nothing to decide",
            finished.reason
        );
    }
    ensure!(
        record.spec.approval_reason.is_some(),
        "record {name} waits for nobody: evenkeel carries it out by itself, and `{} stop` holds it back",
        render::program()
    );
    ensure!(
        holds("Started").is_none(),
        "what record {name} plans is done already: `{} undo {}` takes it back",
        render::program(),
        record.spec.target.name
    );
    if let Some(hash) = &arguments.plan_hash {
        let now = &record.spec.plan_hash;
        ensure!(
            hash == now,
            "the plan is another one: its hash is {now}, not {hash}"
        );
    }
    Ok(())
}

/// The name of the decision on a record: there is one, so that yes and no cannot both be said.
fn name_of(record: &RemediationRecord) -> String {
    let uid = record.metadata.uid.as_deref().unwrap_or_default();
    let uid: String = uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!(
        "{}-{}",
        record.metadata.name.as_deref().unwrap_or_default(),
        uid.to_lowercase()
    )
}

/// The record as the owner of the decision, which goes with it: an owner is in the namespace of what it owns.
fn owner(record: &RemediationRecord, namespace: &str) -> Option<Vec<OwnerReference>> {
    let same = record.metadata.namespace.as_deref() == Some(namespace);
    let owner = record.owner_ref(&()).filter(|_| same)?;
    Some(vec![owner])
}

async fn decide(
    (client, server): (&Client, &ApiServer),
    record: &RemediationRecord,
    decision: ApprovalDecision,
    arguments: &Arguments,
) -> anyhow::Result<Decided> {
    let namespace = record.spec.target.namespace.as_ref();
    let namespace = namespace.unwrap_or(&arguments.place.operator_namespace);
    let by = stop::who(client).await;
    let name = name_of(record);
    let approval = RemediationApproval {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            owner_references: owner(record, namespace),
            ..ObjectMeta::default()
        },
        spec: RemediationApprovalSpec {
            remediation_uid: record.metadata.uid.clone().context("the record has no uid")?,
            plan_hash: record.spec.plan_hash.clone(),
            decision,
            by: by.with_context(|| {
                format!("{server} does not say who you are, and a decision names who made it")
            })?,
        },
    };
    let api: Api<RemediationApproval> = Api::namespaced(client.clone(), namespace);
    let options = PostParams {
        dry_run: arguments.dry_run,
        field_manager: Some(FIELD_MANAGER.to_owned()),
    };
    let error = match api.create(&options, &approval).await {
        Ok(_) if arguments.dry_run => return Ok(Decided::WouldBe),
        Ok(_) => return Ok(Decided::Now),
        Err(error) => error,
    };
    if !matches!(&error, kube::Error::Api(status) if status.code == 409) {
        return Err(server
            .failed(&error, ask("create", APPROVALS, &name, namespace))
            .into());
    }
    let before = api.get(&name).await;
    let before = before.map_err(|error| server.failed(&error, ask("get", APPROVALS, &name, namespace)))?;
    let since = before
        .metadata
        .creation_timestamp
        .map_or_else(String::new, |time| time.0.to_string());
    let same = RemediationApprovalSpec {
        by: approval.spec.by,
        ..before.spec.clone()
    };
    ensure!(
        same == RemediationApprovalSpec {
            remediation_uid: approval.spec.remediation_uid,
            plan_hash: approval.spec.plan_hash,
            decision,
            by: same.by.clone()
        },
        "{} decided {:?} on it at {since}; a decision never changes: `kubectl -n {namespace} delete remediationapproval {name}` \
         takes it back",
        before.spec.by,
        before.spec.decision
    );
    Ok(Decided::Before(before.spec.by, since))
}

/// All that the record says of its plan.
fn plan(record: &RemediationRecord, policy: Option<(String, i64)>) -> String {
    let spec = &record.spec;
    let (target, change) = (&spec.target, &spec.change);
    let effect = change
        .effect
        .map_or_else(String::new, |effect| format!(" with effect {effect:?}"));
    let changed = match (&change.from, &change.to) {
        (None, Some(to)) => format!("{} gets {to}{effect}", change.field),
        (Some(from), Some(to)) => format!("{} from {from} to {to}{effect}", change.field),
        (_, None) => format!("{} is taken away", change.field),
    };
    let place = target
        .namespace
        .as_ref()
        .map_or_else(String::new, |place| format!("{place}/"));
    let generation = spec.policy_ref.generation;
    let reason = spec.approval_reason.clone();
    let policy = match policy {
        Some((name, now)) if now == generation => format!("{name}, as it is now"),
        Some((name, now)) => format!("{name}, generation {generation}; it has changed since, to {now}"),
        None => format!("uid {}, generation {generation}", spec.policy_ref.uid),
    };
    let rows = [
        ("remedy", format!("{:?}", spec.remedy)),
        (
            "target",
            format!("{:?} {place}{}, uid {}", target.kind, target.name, target.uid),
        ),
        ("change", changed),
        ("cause", format!("{}, of check {}", spec.cause, spec.check)),
        ("expected", spec.expected_effect.clone()),
        ("asked by", format!("the operator, term {}", spec.term)),
        ("asked as", reason.unwrap_or_else(|| "nobody has to agree".into())),
        ("policy", policy),
        ("plan hash", spec.plan_hash.clone()),
    ];
    let columns = render::screen::Screen::current().columns.unwrap_or(usize::MAX);
    let margin = " ".repeat(11);
    let mut text = String::new();
    for (what, value) in rows {
        text = text + &render::filled(&value, &format!("{what:<11}"), &margin, columns) + "\n";
    }
    text.push_str(&evidence(record));
    let mut dry_run = "not in this record".to_owned();
    for one in conditions(record) {
        let message = if one.message.is_empty() {
            String::new()
        } else {
            format!(": {}", one.message)
        };
        let said = format!("{:?}, {}{message}", one.status, one.reason);
        if one.r#type == "DryRun" {
            dry_run = said;
        } else {
            let head = format!("{:<11}", line(&one.r#type));
            text = text + &render::filled(&said, &head, &margin, columns) + "\n";
        }
    }
    text + &render::filled(&dry_run, "dry run    ", &margin, columns) + "\n"
}

fn evidence(record: &RemediationRecord) -> String {
    let all = &record.spec.evidence;
    if all.is_empty() {
        return "evidence   none in this record\n".into();
    }
    let rows = all.iter().map(|one| {
        let unit = one
            .unit
            .as_ref()
            .map_or_else(String::new, |unit| format!(" {unit}"));
        vec![
            one.what.clone(),
            format!("{}{unit}", one.value),
            one.source.clone(),
        ]
    });
    "\n".to_owned() + &render::table(&["EVIDENCE", "VALUE", "SOURCE"], rows) + "\n"
}

/// `hash` is that of the plan that was shown.
fn outcome(decision: ApprovalDecision, decided: &Decided, hash: &str, arguments: &Arguments) -> String {
    let (done, verb) = match decision {
        ApprovalDecision::Approve => ("Approved", "approve"),
        ApprovalDecision::Reject => ("Rejected", "reject"),
    };
    let (program, words) = (render::program(), arguments.place.words());
    let again = format!("{program} {verb} {} --plan-hash {hash}{words}", arguments.name);
    let mut text = "\n".to_owned();
    let _ = match decided {
        Decided::Now if decision == ApprovalDecision::Approve => writeln!(
            text,
            "Approved: this plan and no other. The operator reads it within some ten seconds, asks every guard once more, and \
             fences the node if none holds.\nNext: {}    # what became of it",
            line(&format!("{program} status{words}"))
        ),
        Decided::Now => writeln!(
            text,
            "Rejected. Nothing is done, and nobody is asked about this node for a day."
        ),
        Decided::WouldBe => writeln!(
            text,
            "Nothing was changed; the API server would take it.\nNext: {}",
            line(&again)
        ),
        Decided::Before(by, since) => {
            writeln!(
                text,
                "{done} already, by {} at {since}. Nothing was changed.",
                line(by)
            )
        }
    };
    text
}

#[cfg(test)]
pub(super) mod tests;
