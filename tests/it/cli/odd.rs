//! Files that are odd: what the audit says of each, and that the rest is judged.

use std::io::Write;
use std::process::{Command, Stdio};

use rstest::rstest;
use serde_json::Value;

use super::{audit, code, evenkeel, folder, json, out};

const SERVICE: &[u8] =
    b"apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\nspec: {ports: [{port: 80}]}\n";

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
fn one_file_that_is_not_there_leaves_the_rest_to_be_judged() {
    let output = evenkeel(&["audit", "--from", "nowhere.yaml", "--from", "b1"]);
    assert_eq!(code(&output), 1, "{}", out(&output));
    assert!(
        out(&output).contains("nowhere.yaml: No such file"),
        "{}",
        out(&output)
    );
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
fn what_is_too_large_is_reported() {
    let folder = folder(&[("a.yaml", SERVICE)]);
    let path = folder.path().to_str().unwrap();
    let output = evenkeel(&["audit", "--from", path, "--max-file-size", "10"]);
    assert_eq!(code(&output), 2);
    assert!(out(&output).contains("is larger than 10 bytes; raise --max-file-size"));
}

#[test]
fn an_empty_folder_is_reported() {
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
fn what_could_not_be_read_when_the_files_were_made_is_repeated() {
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
