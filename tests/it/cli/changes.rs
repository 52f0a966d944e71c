//! What changes what an audit says and how it ends: accepted findings, settings, another audit, and time.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rstest::rstest;
use serde_json::Value;

use super::{code, evenkeel, folder, json, out};

/// The exceptions of a file, for one check, that end in this year.
fn accepting(check: &str, year: u32) -> String {
    format!("exceptions:\n  - check: {check}\n    reason: known\n    expiresAt: {year}-01-01T00:00:00Z\n")
}

#[rstest]
#[case::accepted("path-idle-budget", 2999, 0)]
#[case::another("keepalive-order", 2999, 1)]
#[case::has_ended("path-idle-budget", 2020, 1)]
#[case::mistyped("path-idle-bugdet", 2999, 2)]
fn a_file_accepts_findings_for_a_time(#[case] check: &str, #[case] year: u32, #[case] expected: i32) {
    let folder = folder(&[("accepted.yaml", accepting(check, year).as_bytes())]);
    let path = folder.path().join("accepted.yaml");
    let arguments = ["audit", "--from", "b1", "--ignore", path.to_str().unwrap()];
    let output = evenkeel(&arguments);
    assert_eq!(code(&output), expected, "{}", out(&output));
    if expected == 0 {
        assert!(out(&output).contains("accepted until 2999-01-01T00:00:00Z: known"));
        let sarif: Value =
            serde_json::from_str(&out(&evenkeel(&[&arguments[..], &["-o", "sarif"]].concat()))).unwrap();
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        let accepted = results.iter().find(|one| one["ruleId"] == check).unwrap();
        assert_eq!(accepted["suppressions"][0]["status"], "accepted");
    }
}

/// Where the form has a place for notes they are in the answer, else on standard error, and never in both.
#[rstest]
#[case("json", true)]
#[case("yaml", true)]
#[case("sarif", false)]
#[case("junit", false)]
#[case("github", false)]
fn that_an_exception_has_ended_is_said_once(#[case] form: &str, #[case] within: bool) {
    const SAID: &str = "the exception for path-idle-budget has ended";
    let folder = folder(&[("accepted.yaml", accepting("path-idle-budget", 2020).as_bytes())]);
    let path = folder.path().join("accepted.yaml");
    let output = evenkeel(&[
        "audit",
        "--from",
        "b1",
        "--ignore",
        path.to_str().unwrap(),
        "-o",
        form,
    ]);
    let beside = String::from_utf8_lossy(&output.stderr).contains(SAID);
    assert_eq!(
        (out(&output).contains(SAID), beside),
        (within, !within),
        "{}",
        out(&output)
    );
    if form == "json" {
        let list: Value = serde_json::from_str(&out(&output)).unwrap();
        assert!(list["notes"][0].as_str().unwrap().contains(SAID), "{list:#}");
    }
}

/// What a file switches on, a flag can switch off.
#[rstest]
#[case(&[], true)]
#[case(&["--met=false"], false)]
#[case(&["--met"], true)]
fn a_flag_wins_over_a_switch(#[case] flags: &[&str], #[case] listed: bool) {
    let folder = folder(&[("settings.yaml", b"audit: {met: true}\n")]);
    let path = folder.path().join("settings.yaml");
    let common = ["audit", "--from", "b1", "--config", path.to_str().unwrap()];
    let text = out(&evenkeel(&[&common[..], flags].concat()));
    assert_eq!(text.contains("  ✓ "), listed, "{text}");
}

#[test]
fn settings_stand_for_flags_and_flags_win() {
    let settings = "audit: {check: [keepalive-order], failOn: unknown, ignore: [accepted.yaml]}\n";
    let folder = folder(&[
        ("settings.yaml", settings.as_bytes()),
        ("accepted.yaml", accepting("path-idle-budget", 2999).as_bytes()),
    ]);
    let path = folder.path().join("settings.yaml");
    let audit = |more: &[&str]| {
        let common = ["audit", "--from", "b1", "--config", path.to_str().unwrap()];
        evenkeel(&[&common[..], more].concat())
    };
    let output = audit(&[]);
    assert_eq!(code(&output), 0, "{}", out(&output));
    assert!(
        out(&output).contains("settings.yaml sets check, failOn, ignore"),
        "{}",
        out(&output)
    );
    // The check of the flag counts, and what the settings accept is accepted.
    let output = audit(&["--check", "path-idle-budget"]);
    assert_eq!(code(&output), 0, "{}", out(&output));
    assert!(out(&output).contains("accepted until"));
    // The empty file sets nothing.
    assert_eq!(
        code(&evenkeel(&["audit", "--from", "b1", "--config", "/dev/null"])),
        1
    );
    assert_eq!(
        code(&evenkeel(&["audit", "--from", "b1", "--config", "no-such-file"])),
        2
    );
}

#[test]
fn settings_of_the_working_directory_are_found() {
    let b1 = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/b1");
    let folder = folder(&[("evenkeel.yaml", b"audit: {check: [keepalive-order]}\n")]);
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(["audit", "--from", b1.to_str().unwrap()]);
        command.current_dir(folder.path()).env_remove("EVENKEEL_CONFIG");
        command.envs(variables.iter().copied()).output().unwrap()
    };
    assert_eq!(code(&run(&[])), 0);
    assert_eq!(code(&run(&[("EVENKEEL_CONFIG", "/dev/null")])), 1);
}

/// Nobody has typed what a file names: the error says which file, and which setting.
#[rstest]
#[case(
    "audit: {namespace: [shopp]}",
    "audit.namespace: there is no namespace shopp; did you mean shop?"
)]
#[case("audit: {ignore: [nowhere.yaml]}", "audit.ignore: cannot read ")]
#[case("failOn: warning", "unknown field `failOn`, expected audit")]
fn a_mistake_in_a_setting_names_it(#[case] settings: &str, #[case] expected: &str) {
    let folder = folder(&[("settings.yaml", settings.as_bytes())]);
    let path = folder.path().join("settings.yaml");
    let common = ["audit", "--from", "b1", "--config", path.to_str().unwrap()];
    let output = evenkeel(&common);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(code(&output), 2, "{said}");
    assert!(said.starts_with(&format!("error: {}", path.display())), "{said}");
    assert!(said.contains(expected), "{said}");
    // A flag wins, and then the mistake is its own.
    let output = evenkeel(&[&common[..], &["-n", "shpo"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if settings.contains("namespace") {
        assert!(said.starts_with("error: there is no namespace shpo"), "{said}");
    }
}

/// Two audits, as files, and the folder that they are in.
fn two_audits() -> (tempfile::TempDir, String, String) {
    let (_, list) = json(&["audit", "--from", "b1", "-o", "json"]);
    let mut healed = list.clone();
    let findings = healed["findings"].as_array_mut().unwrap();
    findings.retain(|one| one["check"] != "path-idle-budget");
    let folder = folder(&[
        ("sick.json", list.to_string().as_bytes()),
        ("healed.json", healed.to_string().as_bytes()),
    ]);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (sick, healed) = (path("sick.json"), path("healed.json"));
    (folder, sick, healed)
}

#[test]
fn two_audits_are_compared() {
    let (_folder, sick, healed) = two_audits();
    let diff = |arguments: &[&str]| evenkeel(&[&["diff"], arguments].concat());
    let worse = diff(&[&healed, &sick]);
    assert_eq!(code(&worse), 1);
    let text = out(&worse);
    assert!(
        text.starts_with("New: 1\n  ✗ path-idle-budget: Service shop/checkout"),
        "{text}"
    );
    assert!(
        text.contains("1 new, 0 gone, 0 judged otherwise, ") && text.contains("\nNext: evenkeel explain "),
        "{text}"
    );
    let better = diff(&[&sick, &healed]);
    assert_eq!(code(&better), 0);
    assert!(
        out(&better).contains("Gone: 1\n  ✓ path-idle-budget"),
        "{}",
        out(&better)
    );
    assert_eq!(code(&diff(&[&healed, &sick, "--check", "keepalive-order"])), 0);
    assert_eq!(code(&diff(&[&sick, &sick, "--fail-on", "unknown"])), 0);
    let (code_, diff) = json(&["diff", &healed, &sick, "-o", "json"]);
    assert_eq!(
        (code_, &diff["kind"], diff["new"].as_array().unwrap().len()),
        (1, &"FindingDiff".into(), 1)
    );
}

#[test]
fn what_is_no_audit_is_not_compared() {
    let (folder, sick, _) = two_audits();
    let path = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let other = path(
        "other.json",
        r#"{"apiVersion": "v1", "kind": "List", "findings": [], "unreadable": []}"#,
    );
    for wrong in [
        path("text.json", "no JSON"),
        path("object.json", "{}"),
        other,
        "no-such-file".into(),
    ] {
        let output = evenkeel(&["diff", &sick, &wrong]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((code(&output), said.lines().count()), (2, 1), "{said}");
        assert!(said.contains(&wrong), "{said}");
    }
}

/// A page first, then what has changed: here what a draft declares.
#[test]
fn a_watch_says_what_has_changed() {
    let b1 = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/b1");
    let folder = folder(&[]);
    for file in std::fs::read_dir(&b1).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args([
            "audit",
            "--watch",
            "1s",
            "--from",
            folder.path().to_str().unwrap(),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("Next: ")));
    // Without its policy nothing is declared, and nothing found.
    std::fs::remove_file(folder.path().join("policy.yaml")).unwrap();
    assert!(lines.any(|line| line.starts_with("Gone: ")));
    assert!(lines.any(|line| line.contains("path-idle-budget")));
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = said.next().unwrap().unwrap();
    assert_eq!(
        first,
        "looks again every 1 s and shows what has changed, until ctrl-c"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_watch_prints_no_files_for_programs_and_reads_no_pipe() {
    let output = evenkeel(&["audit", "--from", "b1", "--watch", "-o", "json"]);
    assert_eq!(code(&output), 2);
    let output = evenkeel(&["audit", "--from", "-", "--watch"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(code(&output), 2);
    assert!(said.contains("standard input can be read only once"), "{said}");
}
