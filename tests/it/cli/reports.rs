//! What other programs show of an audit: the real binary's SARIF, `JUnit` XML and annotations.

use serde_json::{Value, json};

use super::{code, evenkeel, out};

/// An audit of `b1`, whose policy is a document of its own.
fn report(form: &str) -> String {
    let output = evenkeel(&["audit", "--from", "b1", "-o", form]);
    assert_eq!(code(&output), 1);
    out(&output)
}

/// The line at which the policy begins.
fn line() -> usize {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/b1/policy.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    1 + text
        .lines()
        .position(|line| line.starts_with("apiVersion:"))
        .unwrap()
}

#[test]
fn code_scanning_shows_a_finding_beside_its_policy_and_the_rest_beside_what_was_read() {
    let log: Value = serde_json::from_str(&report("sarif")).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let at = |one: &Value| one["locations"][0]["physicalLocation"].clone();
    assert_eq!(
        at(&results[0]),
        json!({
            "artifactLocation": {"uri": "b1/policy.yaml", "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": line()},
        })
    );
    let of_cluster = results
        .iter()
        .find(|one| one["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "Cluster");
    assert_eq!(
        at(of_cluster.unwrap()),
        json!({"artifactLocation": {"uri": "b1", "uriBaseId": "%SRCROOT%"}})
    );
}

#[test]
fn annotations_name_file_line_and_the_command_that_comes_next() {
    let text = report("github");
    let first = text.lines().next().unwrap();
    let begin = format!(
        "::error title=path-idle-budget (critical),file=b1/policy.yaml,line={}::",
        line()
    );
    assert!(first.starts_with(&begin), "{first}");
    assert!(first.ends_with(" --from b1"), "{first}");
}

#[test]
fn a_report_of_tests_fails_where_the_command_fails() {
    let text = report("junit");
    let document = roxmltree::Document::parse(&text).unwrap();
    let failures = document.root_element().attribute("failures").unwrap();
    let elements = document.descendants();
    let failed = elements.filter(|one| one.has_tag_name("failure")).count();
    assert!(failed > 0);
    assert_eq!(failures, failed.to_string());
}
