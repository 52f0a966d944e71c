//! The command line as people use it: the real binary on real files.

mod exit_codes;
mod files;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

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

const SERVICE: &[u8] =
    b"apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\nspec: {ports: [{port: 80}]}\n";

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
    assert_eq!(
        code(&evenkeel(&["explain", "0000000000000000", "--from", "b1"])),
        2
    );
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
    assert!(String::from_utf8_lossy(&output.stderr).contains("path-idle-budget"));
}

#[rstest]
#[case(&["--fail-on", "critical"], 1)]
#[case(&["--fail-on", "unknown"], 1)]
#[case(&["-n", "other"], 0)]
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
    for form in ["table", "wide", "markdown"] {
        let text = out(&evenkeel(&["audit", "--from", "b1", "-o", form]));
        let told = |line: &&str| line.starts_with("Not judged: ") && line.contains("pod-churn-storm");
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

#[rstest]
#[case("tab.yaml", "line 4, column 2: a tab indents the line")]
#[case(
    "duplicate.yaml",
    "line 9, column 7: no readable YAML: the key `port` is written twice"
)]
#[case(
    "duplicate.json",
    "line 2, column 48: no readable JSON: the key `name` is written twice"
)]
#[case(
    "quoted.yaml",
    "document 2, line 12, column 13 (Service shop/a): spec.ports[1].port: found the text \"81\", expected a whole number from 0 to 65535, without quotes"
)]
#[case(
    "negative.yaml",
    "line 4, column 23 (Service shop/a): spec.ports[0].port: found -80, expected a whole number"
)]
#[case(
    "huge.yaml",
    "spec.ports[0].port: found 100000000000000000000000000, expected a whole number"
)]
#[case("no-version.yaml", "apiVersion: missing or empty; a Service has v1")]
#[case("empty-version.yaml", "apiVersion: missing or empty; a Service has v1")]
#[case(
    "wrong-version.yaml",
    "apiVersion apps/v1 has no Service that evenkeel reads; expected v1"
)]
#[case("number-version.yaml", "apiVersion: `1` is no text")]
#[case("no-kind.yaml", "kind: missing or empty")]
#[case("no-name.yaml", "metadata.name: missing")]
#[case("old-slice.yaml", "Kubernetes 1.25 removed it")]
#[case(
    "truncated.json",
    "document 1, line 2, column 48: the JSON ends in the middle"
)]
#[case("truncated-slices.json", "the JSON ends in the middle")]
#[case("unclosed.yaml", "line 1, column 4: no readable YAML: unclosed bracket")]
#[case("text.yaml", "is no object")]
#[case("latin1.yaml", "line 4, column 12: is not UTF-8 text")]
#[case("bomb.yaml", "its aliases make it grow")]
#[case("policy.yaml", "spec.conections: unknown field")]
#[case("policy.yaml", "spec.connections[0].longestSilenceSeconds")]
#[case("page.yaml", "is one page of a longer list")]
#[case("middle-broken.yaml", "document 2, line 6, column 7: no readable YAML")]
#[case(
    "middle-broken.yaml",
    "document 3, line 11, column 23 (Service shop/a): spec.ports[0].port: found the text \"x\", expected"
)]
#[case("no-such-file.yaml", "No such file")]
fn odd_files(#[case] name: &str, #[case] expected: &str) {
    let path = format!("odd/{name}");
    let output = evenkeel(&["audit", "--from", &path]);
    assert_eq!(code(&output), 2);
    assert!(out(&output).contains(expected), "{}", out(&output));
    assert!(out(&output).contains(&path));
    // Whatever is wrong with it, the rest is still judged.
    let both = evenkeel(&["audit", "--from", &path, "--from", "b1"]);
    assert_eq!(code(&both), 1, "{}", out(&both));
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
fn a_mark_at_the_start_and_carriage_returns_do_no_harm() {
    let (code, list) = json(&["audit", "--from", "odd/bom-crlf.yaml", "-o", "json"]);
    assert_eq!((code, &list["unreadable"]), (0, &Value::Array(vec![])));
}

#[test]
fn a_lone_carriage_return_ends_no_line() {
    let folder = folder(&[("a.yaml", b"# made\r by\r hand\nkind: Service\n")]);
    let (code, list) = audit(folder.path());
    assert_eq!(code, 2);
    let source = list["unreadable"][0]["source"].as_str().unwrap();
    assert!(source.contains("a.yaml, document 1, line 2, column "), "{source}");
}

#[test]
fn json_documents_may_follow_each_other() {
    let folder = folder(&[(
        "a.json",
        br#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}} {"apiVersion":"v1","kind":"Secret"}
{"apiVersion":"v1","kind":"Namespace","metadata":{}}"#,
    )]);
    let (code, list) = audit(folder.path());
    assert_eq!(code, 2);
    let source = list["unreadable"][0]["source"].as_str().unwrap();
    assert!(
        source.ends_with("a.json, document 4, line 3, column 50 (Namespace)"),
        "{source}"
    );
}

#[test]
fn what_is_too_large_is_told() {
    let folder = folder(&[("a.yaml", SERVICE)]);
    let path = folder.path().to_str().unwrap();
    let output = evenkeel(&["audit", "--from", path, "--max-file-size", "10"]);
    assert_eq!(code(&output), 2);
    assert!(out(&output).contains("is larger than 10 bytes; raise --max-file-size"));
}

#[test]
fn an_empty_folder_is_told() {
    let folder = folder(&[("notes.txt", b"x")]);
    let (code, list) = audit(folder.path());
    assert_eq!(code, 2);
    assert_eq!(
        list["unreadable"][0]["reason"],
        "holds no .yaml, .yml or .json file"
    );
}

#[cfg(unix)]
#[test]
fn links_in_circles_end() {
    let folder = folder(&[("deep/a.yaml", SERVICE)]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("deep/back")).unwrap();
    let (code_, list) = audit(folder.path());
    assert_eq!((code_, &list["unreadable"]), (0, &Value::Array(vec![])));
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling.yaml")).unwrap();
    assert_eq!(audit(folder.path()).0, 2);
}

#[test]
fn standard_input_is_a_file() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["audit", "--from", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"kind: Service\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(out(&output).contains("standard input, document 1, line 1"));
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
fn what_whoever_made_the_files_could_not_read_is_repeated() {
    let list = |items: &str| {
        format!(r#"{{"apiVersion":"evenkeel.dev/v1alpha1","kind":"UnreadableList","items":[{items}]}}"#)
    };
    let policies = b"apiVersion: evenkeel.dev/v1alpha1\nkind: TrafficHealthPolicyList\nitems: []\n";
    let entries = list(
        r#"{"source":"nodes","reason":"missing right: list nodes"},{"source":"services","reason":"only here","readIn":["shop"]}"#,
    );
    let dump = folder(&[
        ("services.yaml", SERVICE),
        ("policies.yaml", policies),
        (
            "nodes.json",
            br#"{"apiVersion":"v1","kind":"NodeList","items":[]}"#,
        ),
        ("unreadable.json", entries.as_bytes()),
    ]);
    let (code, found) = audit(dump.path());
    assert_eq!(code, 2);
    assert_eq!(
        found["unreadable"],
        serde_json::json!([{"source": "nodes", "reason": "missing right: list nodes"}, {"source": "services", "reason": "only here"}]),
    );
    let of = |check: &str| -> Vec<&Value> {
        let all = found["findings"].as_array().unwrap().iter();
        all.filter(|one| one["check"] == check).collect()
    };
    // An empty list of nodes beside it does not say that there are none.
    let zones = of("node-zone-disruption");
    assert_eq!(zones.len(), 1, "{zones:?}");
    assert_eq!(zones[0]["verdict"], "Unknown");
    // The rest of the cluster is unknown, and not free of Services.
    let elsewhere = of("cordon-lb-safety");
    assert!(
        elsewhere.iter().any(|one| one["subject"]["kind"] == "Cluster"
            && one["message"].as_str().unwrap().contains("only here")),
        "{elsewhere:?}"
    );

    for (entry, expected) in [
        (
            r#"{"source":"secrets","reason":"x"}"#,
            "source: `secrets`; expected one of",
        ),
        (r#"{"reason":"x"}"#, "missing field `source`"),
        ("7", "expected struct"),
    ] {
        let dump = folder(&[("unreadable.json", list(entry).as_bytes())]);
        let (code, found) = audit(dump.path());
        assert_eq!(code, 2);
        let reason = found["unreadable"][0]["reason"].as_str().unwrap();
        assert!(reason.contains(expected), "{reason}");
    }
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
