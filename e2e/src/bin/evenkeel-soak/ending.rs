//! After all of it: the word of the operator that saw it is the word of one that did not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use evenkeel::api::TrafficHealthPolicy;
use evenkeel_core::judge::Memory;
use evenkeel_e2e::apply::apply_yaml;
use serde_json::Value;
use tokio::process::Command;

use super::vigil::{Vigil, healthy, is_broken, policies};
use super::{Bed, Soaked, WITHIN, binary};

/// What a status says.
struct Words {
    /// Its conditions, without times and numbers that move; none where findings over time decide them too.
    conditions: Option<Vec<String>>,
    /// Its findings, without those on what was seen to change over time.
    findings: Vec<String>,
}

/// What the statuses say, by namespace and name.
type Told = BTreeMap<String, Words>;

/// Waits until the operator has seen the end of it, ends it, starts another one without the proxy, and compares.
pub(super) async fn compare(bed: &Bed, mut soaked: Soaked, vigil: &mut Vigil) -> Result<()> {
    until_settled(bed, "last-of-the-soaked", &soaked).await?;
    vigil.look(&bed.client, &mut soaked, None).await?;
    let by_the_soaked = told(bed).await?;
    soaked.process.end()?;
    let fresh = bed.operator("fresh", None).await?;
    fresh.process.until_ready().await?;
    fresh
        .process
        .until_metric("evenkeel_leader{} 1.0", WITHIN)
        .await?;
    until_settled(bed, "first-of-the-fresh", &fresh).await?;
    let by_the_fresh = told(bed).await?;
    for (name, soaked) in &by_the_soaked {
        let fresh = by_the_fresh
            .get(name)
            .with_context(|| format!("{name} has no status"))?;
        let both = [&soaked.conditions, &fresh.conditions].map(Option::as_ref);
        let [soaked_conditions, fresh_conditions] = if both.iter().all(Option::is_some) {
            both
        } else {
            [None; 2]
        };
        ensure!(
            (soaked_conditions, &soaked.findings) == (fresh_conditions, &fresh.findings),
            "{name}: of the soaked {soaked_conditions:#?}, only {:#?}; from nothing {fresh_conditions:#?}, only {:#?}",
            without(&soaked.findings, &fresh.findings),
            without(&fresh.findings, &soaked.findings)
        );
    }
    audited(bed).await?;
    println!(
        "{} statuses are those of judging from nothing",
        by_the_soaked.len()
    );
    fresh.process.end()
}

/// An audit calls broken what the statuses call broken.
async fn audited(bed: &Bed) -> Result<()> {
    let output = Command::new(binary()?)
        .args(["audit", "-o", "json", "--kubeconfig"])
        .arg(bed.plane.kubeconfig_path())
        .output()
        .await?;
    let list: Value = serde_json::from_slice(&output.stdout).context("the audit gives no JSON")?;
    let findings = list["findings"].as_array().context("no findings")?;
    for policy in policies(&bed.client).await? {
        if policy.metadata.name.as_deref() != Some("reports") {
            continue;
        }
        let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
        let found = findings.iter().any(|one| {
            one["check"] == "path-idle-budget"
                && one["verdict"] == "Violated"
                && one["subject"]["namespace"] == namespace
        });
        ensure!(
            found == (healthy(&policy) == "False"),
            "{namespace}: the audit says otherwise"
        );
    }
    Ok(())
}

/// Waits until a policy that is made now has a status, and every other one one of its present generation.
async fn until_settled(bed: &Bed, name: &str, operator: &Soaked) -> Result<()> {
    let policy = format!(
        "{{apiVersion: evenkeel.dev/v1alpha1, kind: TrafficHealthPolicy, metadata: {{name: {name}, namespace: steady}}, \
         spec: {{services: {{names: [reports]}}}}}}"
    );
    apply_yaml(&bed.client, &policy).await?;
    let start = Instant::now();
    loop {
        let all = policies(&bed.client).await?;
        let waiting: Vec<_> = all.iter().filter(|one| !is_settled(one)).map(place).collect();
        let (_, metrics) = operator.process.get("/metrics").await?;
        let stale = metrics
            .lines()
            .filter(|line| line.starts_with("evenkeel_source_fresh{") && line.ends_with(" 0.0"))
            .count();
        if waiting.is_empty() && stale == 0 {
            return Ok(());
        }
        ensure!(
            start.elapsed() < WITHIN,
            "no status of {waiting:?}, {stale} sources stale:\n{}",
            operator
                .process
                .log()?
                .lines()
                .rev()
                .take(10)
                .collect::<Vec<_>>()
                .join("\n")
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether its status speaks of its present generation and says what is so at the server.
fn is_settled(policy: &TrafficHealthPolicy) -> bool {
    let speaks_of = policy
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    let word = healthy(policy);
    let conditions = policy.status.iter().flat_map(|status| &status.conditions);
    // No source is stale any more: what says so waits to be written.
    let stale = conditions.into_iter().any(|one| one.reason == "InputsStale");
    speaks_of == policy.metadata.generation
        && !stale
        && !word.is_empty()
        && is_broken(policy) == (word == "False" && policy.metadata.name.as_deref() == Some("reports"))
}

fn place(policy: &TrafficHealthPolicy) -> String {
    let meta = &policy.metadata;
    let [namespace, name] = [&meta.namespace, &meta.name].map(|one| one.as_deref().unwrap_or_default());
    format!("{namespace}/{name}")
}

async fn told(bed: &Bed) -> Result<Told> {
    let mut told = Told::new();
    for policy in policies(&bed.client).await? {
        let status = serde_json::to_value(&policy.status)?;
        let list = |field: &str| status[field].as_array().cloned().unwrap_or_default();
        let (past, present): (Vec<_>, Vec<_>) = list("findings").into_iter().partition(is_over_time);
        let conditions = list("conditions")
            .iter()
            .map(|one| format!("{} {} {}", one["type"], one["status"], one["reason"]))
            .collect();
        let findings = present.iter().map(|one| {
            format!(
                "{} {} {} {}",
                one["check"], one["verdict"], one["subject"], one["message"]
            )
        });
        let words = Words {
            conditions: past.is_empty().then_some(conditions),
            findings: findings.collect(),
        };
        told.insert(place(&policy), words);
    }
    Ok(told)
}

/// Whether a finding is of a check that judges what was seen to change, which a new operator has not seen.
fn is_over_time(finding: &Value) -> bool {
    let mut checks = evenkeel_core::checks::ALL.iter();
    checks.any(|check| finding["check"] == check.id && check.history != Memory::Unused)
}

fn without<'a>(all: &'a [String], others: &[String]) -> Vec<&'a String> {
    all.iter().filter(|one| !others.contains(one)).collect()
}
