//! Every alert has a page that says what to do, every page has its alert, and every rule has a unit test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

/// Every rule's alert and annotations.
fn rules() -> Vec<(String, Value)> {
    let file = yaml("manifests/components/prometheus/rules.yaml");
    let groups = file["spec"]["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    rules
        .map(|rule| {
            (
                rule["alert"].as_str().unwrap().to_owned(),
                rule["annotations"].clone(),
            )
        })
        .collect()
}

fn alerts() -> BTreeSet<String> {
    let alerts: BTreeSet<_> = rules().into_iter().map(|one| one.0).collect();
    assert_eq!(alerts.len(), rules().len(), "two rules of one name");
    alerts
}

#[test]
fn every_alert_has_its_page_and_every_page_its_alert() {
    let folder = std::fs::read_dir(root().join("docs/runbooks")).unwrap();
    let pages: BTreeSet<_> = folder
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(pages, alerts());
    for (alert, annotations) in rules() {
        let url = annotations["runbook_url"].as_str().unwrap();
        assert_eq!(url, format!("docs/runbooks/{alert}.md"));
        assert!(!annotations["summary"].as_str().unwrap().is_empty());
    }
}

#[test]
fn every_page_says_what_people_need_at_night() {
    for alert in alerts() {
        let page = std::fs::read_to_string(root().join(format!("docs/runbooks/{alert}.md"))).unwrap();
        assert!(page.starts_with(&format!("# {alert}\n")), "{alert}");
        for part in [
            "**What it means.**",
            "**What you see.**",
            "**What not to do.**",
            "**When it resolves.**",
            "```sh\n",
        ] {
            assert!(page.contains(part), "{alert}: no {part}");
        }
    }
}

#[test]
fn every_rule_has_a_unit_test_in_which_it_fires() {
    let file = yaml("manifests/components/prometheus/rules-test.yaml");
    let tests = file["tests"].as_array().unwrap();
    let cases = tests
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap());
    let firing: BTreeSet<_> = cases
        .filter(|case| {
            case["exp_alerts"]
                .as_array()
                .is_some_and(|alerts| !alerts.is_empty())
        })
        .map(|case| case["alertname"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(firing, alerts());
}

/// What the pages and rules name must be a metric that is served.
#[test]
fn every_metric_that_is_named_exists() {
    let mut texts =
        vec![std::fs::read_to_string(root().join("manifests/components/prometheus/rules.yaml")).unwrap()];
    for entry in std::fs::read_dir(root().join("docs/runbooks")).unwrap() {
        texts.push(std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let named = texts.iter().flat_map(|text| {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("evenkeel_"))
    });
    for name in named {
        assert!(evenkeel::metrics::find(name).is_some(), "{name} is no metric");
    }
}
