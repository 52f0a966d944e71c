//! How the audit ends when it saw only a part, as README promises: 1 when it finds what it fails on, else 2 when
//! something could not be read, else 0.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;

use rstest::rstest;

use super::*;

const B1: &str = "b1";
const NO_FILE: &str = "odd/no-such-file.yaml";
const NO_YAML: &str = "odd/unclosed.yaml";
const SERVICE_ALONE: &str = "b1/service.yaml";

#[rstest]
#[case::a_critical_finding(&[B1], 1)]
#[case::a_critical_finding_in_what_was_read(&[B1, NO_FILE], 1)]
#[case::nothing_critical_and_all_was_read(&[SERVICE_ALONE], 0)]
#[case::nothing_critical_in_what_was_read(&[SERVICE_ALONE, NO_FILE], 2)]
#[case::a_document_of_a_file(&[SERVICE_ALONE, NO_YAML], 2)]
#[case::nothing_could_be_read(&[NO_FILE], 2)]
#[case::no_document_could_be_read(&[NO_YAML], 2)]
fn an_audit_of_files_ends_with(#[case] from: &[&str], #[case] expected: i32) {
    let named = from.iter().flat_map(|path| ["--from", path]);
    let arguments: Vec<_> = ["audit"].into_iter().chain(named).collect();
    let output = evenkeel(&arguments);
    assert_eq!(code(&output), expected, "{}", out(&output));
}

/// Accepting what was found does not make what could not be read good.
#[rstest]
#[case::at_critical("critical", 2)]
#[case::at_unknown("unknown", 1)]
fn what_it_fails_on_comes_first(#[case] level: &str, #[case] expected: i32) {
    let output = evenkeel(&[
        "audit",
        "--from",
        SERVICE_ALONE,
        "--from",
        NO_FILE,
        "--fail-on",
        level,
    ]);
    assert_eq!(code(&output), expected, "{}", out(&output));
}

/// What every authenticated user may ask.
const VERSION: &str = r#"{"major":"1","minor":"33","gitVersion":"v1.33.1","gitCommit":"","gitTreeState":"clean",
    "buildDate":"2026-01-01T00:00:00Z","goVersion":"go1.24","compiler":"gc","platform":"linux/amd64"}"#;

/// Answers one request: the version, if `known`, and a refusal to everything else.
fn answer(line: &str, known: bool, (code, reason): (u16, &str)) -> String {
    let refusal = format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"{reason}","code":{code}}}"#
    );
    let (head, body) = if known && line.starts_with("GET /version ") {
        ("200 OK".to_owned(), VERSION)
    } else {
        (format!("{code} {reason}"), &*refusal)
    };
    let length = body.len();
    format!("HTTP/1.1 {head}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// An API server that refuses; returns the folder and the path of its kubeconfig.
fn server(known: bool, refusal: (u16, &'static str)) -> (tempfile::TempDir, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut asked = String::new();
                // Requests have no bodies: an empty line ends each.
                for line in BufReader::new(stream.try_clone().unwrap())
                    .lines()
                    .map_while(Result::ok)
                {
                    if line.is_empty() {
                        let bytes = answer(&std::mem::take(&mut asked), known, refusal);
                        if stream.write_all(bytes.as_bytes()).is_err() {
                            return;
                        }
                    } else if asked.is_empty() {
                        asked = line;
                    }
                }
            });
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: a, \
         clusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}], \
         contexts: [{{name: a, context: {{cluster: a, user: a}}}}], users: [{{name: a, user: {{}}}}]}}"
    );
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[rstest]
#[case::no_right_at_all(true, (403, "Forbidden"), "Missing rights: you may not list")]
#[case::no_credentials(false, (401, "Unauthorized"), "401")]
fn a_cluster_of_which_nothing_can_be_read_is_not_well(
    #[case] known: bool,
    #[case] refusal: (u16, &'static str),
    #[case] expected: &str,
) {
    let (_folder, kubeconfig) = server(known, refusal);
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .arg("audit")
        .env("KUBECONFIG", &kubeconfig)
        .output()
        .unwrap();
    let all = format!("{}{}", out(&output), String::from_utf8_lossy(&output.stderr));
    assert_eq!(code(&output), 2, "{all}");
    assert!(all.contains(expected), "{all}");
}
