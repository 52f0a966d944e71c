//! The command line as people use it: the real binary on real files.

mod changes;
mod exit_codes;
mod files;
mod init;
mod measured;
mod newcomer;
mod odd;
mod reports;

use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;
use serde_json::Value;

fn evenkeel(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"))
        .env_remove("KUBECONFIG")
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(arguments: &[&str]) -> (i32, Value) {
    let output = evenkeel(arguments);
    (code(&output), serde_json::from_slice(&output.stdout).unwrap())
}

/// A folder of its own with these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

fn audit(path: &Path) -> (i32, Value) {
    json(&["audit", "--from", path.to_str().unwrap(), "-o", "json"])
}

#[test]
fn a_silence_longer_than_the_table_remembers() {
    let (code, list) = json(&["audit", "--from", "b1", "-o", "json"]);
    assert_eq!(code, 1);
    assert_eq!(list["apiVersion"], "evenkeel.dev/v1alpha1");
    assert_eq!(list["kind"], "FindingList");
    assert_eq!(list["unreadable"], Value::Array(vec![]));
    let critical: Vec<_> = list["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["severity"] == "critical")
        .collect();
    let [finding] = critical.as_slice() else {
        panic!("{list:#}");
    };
    assert_eq!(finding["check"], "path-idle-budget");
    assert_eq!(finding["verdict"], "Violated");
    assert_eq!(finding["subject"]["name"], "checkout");
    assert_eq!(finding["subject"]["client"], "cart");
    let idle = &finding["evidence"][0];
    assert_eq!(
        (&idle["value"], &idle["origin"]),
        (&900.into(), &"Default".into())
    );
}

#[test]
fn a_finding_is_explained_by_its_id() {
    let (_, list) = json(&["audit", "--from", "b1", "-o", "json"]);
    let id = list["findings"][0]["id"].as_str().unwrap();
    let output = evenkeel(&["explain", id, "--from", "b1"]);
    assert_eq!(code(&output), 0);
    let text = out(&output);
    assert!(text.contains("what to do") && text.contains("900 s"), "{text}");
    let short = evenkeel(&["explain", &id[..8], "--from", "b1"]);
    assert_eq!((code(&short), out(&short)), (0, text));
    for wrong in ["0000000000000000", "000"] {
        assert_eq!(code(&evenkeel(&["explain", wrong, "--from", "b1"])), 2);
    }
}

#[test]
fn a_check_has_a_page_and_a_line() {
    let text = out(&evenkeel(&["explain", "path-idle-budget"]));
    assert!(text.starts_with("# path-idle-budget\n"), "{text}");
    let (code_, list) = json(&["checks", "-o", "json"]);
    assert_eq!(code_, 0);
    let one = list
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["id"] == "path-idle-budget");
    assert_eq!(one.unwrap()["needsPolicy"], true);
    let output = evenkeel(&["explain", "no-such-check"]);
    assert_eq!(code(&output), 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("evenkeel checks"));
}

#[rstest]
#[case(&["--fail-on", "critical"], 1)]
#[case(&["--fail-on", "unknown"], 1)]
#[case(&["-n", "kube-system"], 0)]
#[case(&["-n", "shopp"], 2)]
#[case(&["--check", "path-idle-budget,keepalive-order"], 1)]
#[case(&["--check", "keepalive-order"], 0)]
#[case(&["-n", "shop"], 1)]
#[case(&["--check", "path-idle-budget"], 1)]
#[case(&["--severity", "critical"], 1)]
#[case(&["--check", "no-such-check"], 2)]
#[case(&["-n", "shop", "-A"], 2)]
fn what_the_audit_fails_on(#[case] more: &[&str], #[case] expected: i32) {
    let arguments: Vec<_> = ["audit", "--from", "b1"].iter().chain(more).copied().collect();
    assert_eq!(code(&evenkeel(&arguments)), expected);
}

#[test]
fn what_is_not_in_the_files_is_unknown() {
    let arguments = ["audit", "--from", "b1/service.yaml", "--policy", "b1/policy.yaml"];
    let (code_, list) = json(&[&arguments[..], &["-o", "json"]].concat());
    assert_eq!(code_, 0, "{list:#}");
    let unknown = |one: &Value| one["check"] == "path-idle-budget" && one["severity"] == "unknown";
    assert!(
        list["findings"].as_array().unwrap().iter().any(unknown),
        "{list:#}"
    );
    assert_eq!(
        code(&evenkeel(&[&arguments[..], &["--fail-on", "unknown"]].concat())),
        1
    );
}

#[test]
fn a_draft_is_judged_without_being_installed() {
    let (code_, list) = json(&[
        "audit",
        "--from",
        "b1/service.yaml",
        "--from",
        "b1/nodes.json",
        "--from",
        "b1/kube-proxy.yaml",
        "--policy",
        "b1/policy.yaml",
        "-o",
        "json",
    ]);
    assert_eq!(
        (code_, &list["findings"][0]["policy"]),
        (1, &"shop/checkout".into())
    );
    let output = evenkeel(&["audit", "--from", "b1", "--policy", "b1/service.yaml"]);
    assert!(out(&output).contains("--policy takes policies alone"));
}

#[rstest]
#[case("table")]
#[case("wide")]
#[case("yaml")]
#[case("markdown")]
fn every_form_tells_the_same(#[case] form: &str) {
    for command in ["audit", "dataplane"] {
        let text = out(&evenkeel(&[command, "--from", "b1", "-o", form]));
        assert!(text.contains("900"), "{text}");
        assert!(
            !text.contains('\u{1b}'),
            "colour where there is no terminal: {text:?}"
        );
    }
}

#[test]
fn an_audit_says_that_it_saw_one_moment() {
    let (_, list) = json(&["audit", "--from", "b1", "-o", "json"]);
    let not_judged = &list["notJudged"];
    let checks = not_judged["checks"].as_array().unwrap();
    assert!(checks.contains(&"node-cascade-wave".into()), "{checks:?}");
    assert!(!checks.contains(&"fleet-change-sync".into()), "{checks:?}");
    assert!(not_judged["reason"].as_str().unwrap().contains("one moment"));
    for (form, named) in [
        ("table", " checks ("),
        ("wide", "pod-churn-storm"),
        ("markdown", "pod-churn-storm"),
    ] {
        let text = out(&evenkeel(&["audit", "--from", "b1", "-o", form]));
        let told = |line: &&str| line.starts_with("Not judged: ") && line.contains(named);
        assert_eq!(text.lines().filter(told).count(), 1, "{text}");
    }
    let asked = |check| json(&["audit", "--from", "b1", "-o", "json", "--check", check]).1;
    assert_eq!(asked("path-idle-budget")["notJudged"], Value::Null);
    let one = serde_json::json!(["endpoint-flap"]);
    assert_eq!(asked("endpoint-flap")["notJudged"]["checks"], one);
}

#[test]
fn the_effective_data_plane() {
    let (code_, view) = json(&["dataplane", "--from", "b1", "-o", "json"]);
    assert_eq!(code_, 0);
    let profile = &view["profiles"][0];
    assert_eq!(
        (&profile["nodes"], &profile["proxyMode"]["value"]),
        (&2.into(), &"Ipvs".into())
    );
    assert_eq!(profile["serviceIdleSeconds"]["value"], 900);
    assert_eq!(profile["serviceIdleSeconds"]["unit"], "s");
    assert!(profile.get("cilium").is_none());
}

#[test]
fn what_only_looks_like_the_data_plane_is_named_and_counts_for_nothing() {
    let set = r#"{"kind":"DaemonSet","apiVersion":"apps/v1","metadata":{"name":"kube-proxy","namespace":"a-team"},"spec":{"template":{
        "spec":{"containers":[{"name":"kube-proxy","image":"kube-proxy:v1.33.1","command":["kube-proxy","--proxy-mode=nftables"]}]}}}}"#;
    let trusted = "apiVersion: evenkeel.dev/v1alpha1\nkind: ClusterTrafficHealthPolicy\nmetadata: {name: cluster}\nspec:\n  trustedNamespaces: [a-team]\n";
    let folder = folder(&[("set.json", set.as_bytes()), ("trusted.yaml", trusted.as_bytes())]);
    let path = folder.path().join("set.json");
    let (_, view) = json(&[
        "dataplane",
        "--from",
        "b1",
        "--from",
        path.to_str().unwrap(),
        "-o",
        "json",
    ]);
    let (_, alone) = json(&["dataplane", "--from", "b1", "-o", "json"]);
    assert_eq!(
        view["lookAlikes"]["first"],
        serde_json::json!(["DaemonSet a-team/kube-proxy"])
    );
    assert_eq!(
        (&view["profiles"], &alone["lookAlikes"]),
        (&alone["profiles"], &Value::Null)
    );
    let (_, view) = json(&[
        "dataplane",
        "--from",
        folder.path().to_str().unwrap(),
        "-o",
        "json",
    ]);
    assert_eq!(view["lookAlikes"], Value::Null);
    assert_ne!(view["profiles"], alone["profiles"]);
}

#[test]
fn definitions_and_completions() {
    let output = evenkeel(&["crd"]);
    assert_eq!(code(&output), 0);
    assert!(out(&output).contains("kind: CustomResourceDefinition"));
    let output = evenkeel(&["completions", "bash"]);
    assert_eq!(code(&output), 0);
    assert!(out(&output).contains("_evenkeel"));
}

#[test]
fn no_check_needs_an_agent_that_does_not_exist() {
    let (_, list) = json(&["checks", "-o", "json"]);
    let all = list.as_array().unwrap();
    assert!(!all.is_empty());
    for one in all {
        assert_eq!(one["needsAgent"], false, "{one}");
    }
}
