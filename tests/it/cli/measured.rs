//! What was measured, from files: as `evenkeel collect` writes it.

use serde_json::{Value, json};

use super::{code, evenkeel, folder, json, out};

const NODES: &[u8] = br#"{"apiVersion": "v1", "kind": "NodeList", "metadata": {}, "items": [
    {"metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
]}"#;

const LAST: i64 = 1_800_000_300_000;

/// What was asked about one metric at moments that are a minute apart, the last one now.
fn pages(metric: &str, values: &[f64]) -> Vec<Value> {
    let before = (0..values.len()).rev();
    let pages = values.iter().zip(before).map(|(value, minutes)| {
        let asked = LAST - 60_000 * i64::try_from(minutes).unwrap();
        json!({
            "observer": "Prometheus",
            "metrics": [metric],
            "scope": "nodes",
            "asked": asked,
            "samples": [{"node": "n1", "value": value, "at": asked - 7_000}],
        })
    });
    pages.collect()
}

fn taken(pages: &[Vec<Value>]) -> tempfile::TempDir {
    let items: Vec<&Value> = pages.iter().flatten().collect();
    let list = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "SamplePageList", "metadata": {}, "items": items});
    folder(&[
        ("nodes.json", NODES),
        ("samples.json", list.to_string().as_bytes()),
    ])
}

/// What a check says: verdict, cause and id.
fn says(folder: &tempfile::TempDir, check: &str) -> Vec<[String; 3]> {
    let from = folder.path().to_str().unwrap();
    let (_, list) = json(&["audit", "--from", from, "--check", check, "-o", "json"]);
    assert_eq!(list["unreadable"], json!([]), "{list:#}");
    let found = list["findings"].as_array().unwrap();
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    found
        .iter()
        .map(|one| ["verdict", "cause", "id"].map(|field| text(one, field)))
        .collect()
}

#[test]
fn a_level_a_rate_and_a_trend_are_judged_as_of_then() {
    let limit = pages("conntrackLimit", &[1_000.0]);
    let drops = |growth: f64| {
        let values: Vec<f64> = (0..6).map(|at| growth * f64::from(at)).collect();
        [
            pages("conntrackDrops", &values),
            pages("conntrackEarlyDrops", &[0.0; 6]),
        ]
        .concat()
    };
    let verdicts = |folder: &tempfile::TempDir, check: &str| -> Vec<String> {
        says(folder, check)
            .into_iter()
            .map(|[verdict, cause, _]| format!("{verdict} {cause}").trim_end().to_owned())
            .collect()
    };

    let full = taken(&[pages("conntrackEntries", &[950.0]), limit.clone()]);
    assert_eq!(verdicts(&full, "ct-table-pressure"), ["Violated Full"]);
    let filling = [300.0, 330.0, 360.0, 390.0, 420.0, 450.0];
    let filling = taken(&[pages("conntrackEntries", &filling), limit.clone()]);
    assert_eq!(verdicts(&filling, "ct-table-pressure"), ["AtRisk Filling"]);
    let calm = taken(&[pages("conntrackEntries", &[300.0; 6]), limit]);
    assert_eq!(verdicts(&calm, "ct-table-pressure"), [] as [&str; 0]);

    let dropping = verdicts(&taken(&[drops(600.0)]), "ct-drop-rate");
    assert!(
        matches!(&dropping[..], [one] if one.starts_with("Violated")),
        "{dropping:?}"
    );
    assert_eq!(verdicts(&taken(&[drops(0.0)]), "ct-drop-rate"), [] as [&str; 0]);
}

#[test]
fn a_gap_has_the_reason_that_it_had() {
    let mut page = pages("conntrackEntries", &[1.0]).remove(0);
    page["samples"] = json!([]);
    page["gap"] = json!({"why": "Refused", "detail": "HTTP 403"});
    let folder = taken(&[vec![page], pages("conntrackLimit", &[1_000.0])]);
    let from = folder.path().to_str().unwrap();
    let check = "ct-table-pressure";
    let (_, list) = json(&["audit", "--from", from, "--check", check, "-o", "json"]);
    let message = list["findings"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("Prometheus refuses to answer: HTTP 403"),
        "{message}"
    );
}

#[test]
fn a_finding_is_explained_with_what_was_measured() {
    let folder = taken(&[
        pages("conntrackEntries", &[950.0]),
        pages("conntrackLimit", &[1_000.0]),
    ]);
    let [_, _, id] = says(&folder, "ct-table-pressure").remove(0);
    let output = evenkeel(&["explain", &id, "--from", folder.path().to_str().unwrap()]);
    let text = out(&output);
    assert_eq!(code(&output), 0, "{text}");
    for line in [
        "conntrackEntries of n1: 950 (Prometheus, 7 s ago)",
        "conntrackLimit of n1: 1000 (Prometheus, 7 s ago)",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_page_that_is_none_is_listed_and_the_others_count() {
    let mut broken = pages("conntrackEntries", &[1.0]).remove(0);
    broken["metrics"] = json!(["up"]);
    let folder = taken(&[
        vec![broken],
        pages("conntrackEntries", &[950.0]),
        pages("conntrackLimit", &[1_000.0]),
    ]);
    let from = folder.path().to_str().unwrap();
    let check = "ct-table-pressure";
    let (_, list) = json(&["audit", "--from", from, "--check", check, "-o", "json"]);
    let reason = list["unreadable"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("metrics: `up` is none of evenkeel's"), "{reason}");
    assert_eq!(list["findings"][0]["verdict"], "Violated");
}

#[test]
fn files_are_not_measured() {
    let folder = taken(&[]);
    let from = folder.path().to_str().unwrap();
    let output = evenkeel(&[
        "audit",
        "--from",
        from,
        "--prometheus-url",
        "http://192.0.2.1:9090",
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(code(&output) != 0 && said.contains("evenkeel collect"), "{said}");
}
