//! Definitions and programs of different releases side by side.

use std::collections::BTreeSet;
use std::time::Instant;

use evenkeel_e2e::operator::Operator;
use evenkeel_e2e::repository::root;
use evenkeel_e2e::under_test::{altered, binary, evenkeel_json};
use serde_json::Value;

use super::bed::{OperatorBed, WITHIN, token};

/// The version of this build, and what another release calls itself and one of its checks.
const VERSIONS: [&str; 2] = [env!("CARGO_PKG_VERSION"), "7.7.7"];
const CHECKS: [&str; 2] = ["path-idle-budget", "path-idle-ledger"];

/// The version that `evenkeel status` tells of the holder of the Lease.
async fn told_version(bed: &OperatorBed, wanted: &str) {
    let kubeconfig = bed.plane.kubeconfig_path().to_str().unwrap();
    let start = Instant::now();
    loop {
        let (told, _) = evenkeel_json(&["status", "-o", "json", "--kubeconfig", kubeconfig]).unwrap();
        let operator = &told["operator"];
        if operator["state"] == "Alive" && operator["tells"]["version"] == wanted {
            return;
        }
        assert!(start.elapsed() < WITHIN, "no {wanted}: {operator:#}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

async fn has_version(operator: &Operator, version: &str) {
    let line = format!("evenkeel_build_info{{version=\"{version}\"");
    operator.until_metric(&line, WITHIN).await.unwrap();
}

/// Waits until the policy's status has a finding of this check.
async fn until_found(bed: &OperatorBed, check: &str) {
    let start = Instant::now();
    loop {
        let status = bed.policy().await.status.unwrap_or_default();
        if status.findings.iter().any(|one| one.check == check) {
            return;
        }
        assert!(start.elapsed() < WITHIN, "no {check}: {status:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The writers of statuses from the one of this number on, each by its token.
fn writers(bed: &OperatorBed, from: usize) -> BTreeSet<String> {
    bed.written().split_off(from).iter().map(token).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_judge_otherwise_do_not_write_against_each_other() {
    let bed = OperatorBed::start().await;
    let words = [(VERSIONS[0], VERSIONS[1]), (CHECKS[0], CHECKS[1])];
    let other = altered(binary().unwrap(), &words, bed.folder()).unwrap();
    let old = bed.operator("old").await;
    old.until_ready().await.unwrap();
    bed.until_holds("old").await;
    bed.apply("demo/policy").await;
    until_found(&bed, CHECKS[0]).await;
    let writer = writers(&bed, 0);
    assert_eq!(writer.len(), 1, "{writer:?}");

    // The other one sees and judges the same objects, would say something else of them, and holds its tongue.
    let access = bed.access("new", None).await;
    let mut new = bed.operator_of(&other, "new", &access);
    new.until_ready().await.unwrap();
    has_version(&old, VERSIONS[0]).await;
    has_version(&new, VERSIONS[1]).await;
    let line = format!("evenkeel_findings{{check=\"{}\"", CHECKS[1]);
    new.until_metric(&line, WITHIN).await.unwrap();
    told_version(&bed, VERSIONS[0]).await;
    let before = bed.statuses();
    for file in ["demo-keepalive", "demo/policy"] {
        let generation = bed.policy().await.metadata.generation;
        bed.apply(file).await;
        until_told(&bed, generation).await;
    }
    until_found(&bed, CHECKS[0]).await;
    assert_eq!(bed.statuses(), before + 2, "one write for each change");
    assert_eq!(writers(&bed, 0), writer, "only the holder writes");

    // It takes over: one write brings the status to its words, and none of the old release follows.
    old.end().unwrap();
    bed.until_holds("new").await;
    until_found(&bed, CHECKS[1]).await;
    assert_eq!(bed.statuses(), before + 3);
    told_version(&bed, VERSIONS[1]).await;
    let again = bed.operator("again").await;
    again.until_ready().await.unwrap();
    let line = format!("evenkeel_findings{{check=\"{}\"", CHECKS[0]);
    again.until_metric(&line, WITHIN).await.unwrap();
    let generation = bed.policy().await.metadata.generation;
    bed.apply("demo-keepalive").await;
    until_told(&bed, generation).await;
    assert_eq!(bed.statuses(), before + 4);
    let since = writers(&bed, before + 2);
    assert!(
        since.len() == 1 && since.is_disjoint(&writer),
        "{since:?} of {writer:?}"
    );
    new.lives().unwrap();
}

/// Waits until the status speaks of a later generation than this one.
async fn until_told(bed: &OperatorBed, than: Option<i64>) {
    let start = Instant::now();
    while bed
        .policy()
        .await
        .status
        .and_then(|status| status.observed_generation)
        <= than
    {
        assert!(start.elapsed() < WITHIN, "the change is not told");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_older_than_the_program_is_named() {
    let bed = OperatorBed::start().await;
    // As a release before this one had it: without counts and findings.
    let old = std::fs::read_to_string(root().join("crds/traffichealthpolicies.yaml")).unwrap();
    let mut crd: Value = serde_saphyr::from_str(&old).unwrap();
    let status =
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
            .as_object_mut()
            .unwrap();
    assert!(status.remove("counts").is_some() && status.remove("findings").is_some());
    bed.plane.apply_yaml(&crd.to_string()).await.unwrap();
    let operator = bed.operator("newer").await;
    operator.until_ready().await.unwrap();
    bed.apply("demo/policy").await;
    bed.until("Accepted", "Unknown", "CRDTooOld").await;
    // The definition is brought up to date: the next word is whole again.
    bed.plane.apply_yaml(&old).await.unwrap();
    bed.apply("demo-keepalive").await;
    bed.until("Accepted", "True", "Accepted").await;
}
