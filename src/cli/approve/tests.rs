//! Screens, and what may be decided.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::cli::cluster::Cluster;

const HASH: &str = "0123456789abcdef";

fn arguments(hash: Option<&str>) -> Arguments {
    Arguments {
        name: "cordonnode-0123456789abcdef".into(),
        plan_hash: hash.map(str::to_owned),
        dry_run: true,
        place: OperatorPlace {
            operator_namespace: "evenkeel-system".into(),
            cluster: Cluster::default(),
        },
    }
}

fn record(text: &str, conditions: &Value) -> RemediationRecord {
    serde_json::from_value(json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Remediation",
        "metadata": {"name": "cordonnode-0123456789abcdef", "uid": "0F3C-11aa-22bb"},
        "spec": {
            "remedy": "CordonNode",
            "target": {"kind": "Node", "name": text, "uid": text},
            "policyRef": {"uid": text, "generation": 3},
            "check": text,
            "cause": text,
            "evidence": [
                {"what": text, "value": text, "unit": text, "source": text},
                {"what": text, "value": text, "source": text},
            ],
            "change": {"field": "spec.taints", "to": text, "effect": "PreferNoSchedule"},
            "expectedEffect": text,
            "term": "7",
            "planHash": HASH,
            "approvalReason": text,
        },
        "status": {"conditions": conditions},
    }))
    .unwrap()
}

fn condition(kind: &str, status: &str, text: &str) -> Value {
    json!({"type": kind, "status": status, "reason": text, "message": text, "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// What people see where every text of a record is this one.
pub(crate) fn shown(by: &str) -> String {
    let conditions = json!([
        condition("Approved", "False", by),
        condition("DryRun", "True", by)
    ]);
    plan(&record(by, &conditions), Some((by.into(), 3)))
        + &plan(&record(by, &json!([])), None)
        + &outcome(
            ApprovalDecision::Reject,
            &Decided::Before(by.into(), "2026-01-01T00:00:00Z".into()),
            HASH,
            &arguments(None),
        )
}

#[test]
fn screens() {
    let mut one = record(
        "node-7",
        &json!([condition("Approved", "False", "AwaitsApproval")]),
    );
    one.spec.cause = "RefilledFlapper".into();
    one.spec.approval_reason = Some("the mode is Suggest: a person has to agree".into());
    one.spec.check = "node-cascade-wave".into();
    one.spec.expected_effect = "the node is not filled after its next return, and stops failing".into();
    let bare = RemediationRecord {
        status: None,
        ..one.clone()
    };
    let screens = [
        plan(&one, Some(("cluster".into(), 4)))
            + &outcome(
                ApprovalDecision::Approve,
                &Decided::WouldBe,
                HASH,
                &arguments(None),
            ),
        plan(&bare, None) + &outcome(ApprovalDecision::Approve, &Decided::Now, HASH, &arguments(None)),
        outcome(ApprovalDecision::Reject, &Decided::Now, HASH, &arguments(None)),
        outcome(
            ApprovalDecision::Approve,
            &Decided::Before("jane".into(), "2026-01-01T00:00:00Z".into()),
            HASH,
            &arguments(None),
        ),
    ];
    insta::assert_snapshot!("approve", screens.join("\n"));
}

#[rstest]
#[case::waits(&[("Approved", "False")], None, "")]
#[case::the_plan(&[], Some("0123456789abcdef"), "")]
#[case::another_plan(&[], Some("aaaa"), "the plan is another one: its hash is 0123456789abcdef, not aaaa")]
#[case::done(&[("Started", "True")], None, "is done already: `evenkeel undo node-7` takes it back")]
#[case::over(&[("Started", "True"), ("Finished", "True")], None, "is finished (Done): there is nothing to decide")]
fn only_what_is_open_is_decided(
    #[case] conditions: &[(&str, &str)],
    #[case] hash: Option<&str>,
    #[case] expected: &str,
) {
    let all: Vec<_> = conditions
        .iter()
        .map(|(kind, status)| condition(kind, status, "Done"))
        .collect();
    let decided = may_be_decided(&record("node-7", &json!(all)), &arguments(hash));
    match decided {
        Ok(()) => assert_eq!(expected, ""),
        Err(error) => assert!(
            !expected.is_empty() && error.to_string().contains(expected),
            "{error}"
        ),
    }
}

/// What evenkeel does by itself is not decided: a yes would change nothing.
#[test]
fn what_asks_nobody_is_not_decided() {
    let mut record = record("node-7", &json!([]));
    record.spec.approval_reason = None;
    let error = may_be_decided(&record, &arguments(None)).unwrap_err();
    assert!(error.to_string().contains("waits for nobody"), "{error}");
}

/// It goes with the record: approvals would be left for ever.
#[test]
fn a_decision_belongs_to_its_record() {
    let mut record = record("a", &json!([]));
    assert_eq!(owner(&record, "evenkeel-system"), None);
    record.metadata.namespace = Some("evenkeel-system".into());
    let owners = owner(&record, "evenkeel-system").unwrap();
    assert_eq!(
        (owners[0].kind.as_str(), owners[0].uid.as_str()),
        ("Remediation", "0F3C-11aa-22bb")
    );
    assert_eq!(owner(&record, "shop"), None);
}

#[test]
fn a_decision_has_one_name() {
    assert_eq!(
        name_of(&record("a", &json!([]))),
        "cordonnode-0123456789abcdef-0f3c11aa"
    );
}
