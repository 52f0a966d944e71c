//! The workflows of GitHub: what their linter says, that every action is pinned, and that the commands in them exist.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use evenkeel_e2e::binaries::{Binaries, Program};
use evenkeel_e2e::repository::root;
use serde_json::Value;

/// The workflows of the project.
fn workflows() -> Vec<PathBuf> {
    let files = std::fs::read_dir(root().join(".github/workflows")).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    files
}

#[test]
fn the_linter_finds_nothing() {
    let programs = Binaries::find_or_build(&[Program::Actionlint]).unwrap();
    let mut files = workflows();
    files.push(root().join("examples/ci/workflow.yml"));
    let output = Command::new(programs.path(Program::Actionlint).unwrap())
        .args(["-no-color", "-oneline"])
        .args(&files)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// A tag can be moved to other code, a commit cannot; the tag stands beside it for people.
#[test]
fn every_action_is_pinned_by_the_commit_of_a_release() {
    let mut pinned = 0;
    for file in workflows() {
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            let Some((_, action)) = line.split_once("uses: ") else {
                continue;
            };
            let (commit, tag) = action
                .split_once('@')
                .and_then(|(_, pin)| pin.split_once(" # v"))
                .unwrap_or_else(|| panic!("{}: {line}", file.display()));
            let hexadecimal = commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(commit.len() == 40 && hexadecimal, "{}: {line}", file.display());
            assert_eq!(tag.split('.').count(), 3, "{}: {line}", file.display());
            pinned += 1;
        }
    }
    assert!(pinned > 5);
}

/// Each job has a limit of time, and nothing may be written but by jobs that say so.
#[test]
fn rights_and_time_are_bounded() {
    for file in workflows() {
        let text = std::fs::read_to_string(&file).unwrap();
        let workflow: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(
            workflow["permissions"],
            serde_json::json!({"contents": "read"}),
            "{}",
            file.display()
        );
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["timeout-minutes"].is_u64(), "{}: {name}", file.display());
        }
    }
}

/// The release puts something into every gap of krew's manifest, which is one of its kind.
#[test]
fn the_manifest_for_krew_has_no_gap() {
    let mut text = std::fs::read_to_string(root().join("examples/ci/krew.yaml")).unwrap();
    let release = std::fs::read_to_string(root().join(".github/workflows/release.yaml")).unwrap();
    let gaps: Vec<&str> = release
        .split("s|@")
        .skip(1)
        .filter_map(|rest| rest.split("@|").next())
        .collect();
    assert!(gaps.len() >= 5, "{gaps:?}");
    for gap in gaps {
        let gap = format!("@{gap}@");
        assert!(text.contains(&gap), "{gap} is not in the manifest");
        text = text.replace(&gap, "x");
    }
    let manifest: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(manifest["kind"], "Plugin");
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    assert_eq!(platforms.len(), 2);
    for platform in platforms {
        assert_eq!(platform["sha256"], "x");
        let uri = platform["uri"].as_str().unwrap();
        let archive = uri
            .trim_start_matches("x/evenkeel-")
            .trim_end_matches("-linux.tar.gz");
        assert!(release.contains(&format!("machine: {archive}")), "{uri}");
    }
    let left = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .any(|line| line.contains('@'));
    assert!(!left, "{text}");
}

#[test]
fn targets_and_files_exist() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#']))
        .filter_map(|line| line.split_once(':').map(|found| found.0))
        .collect();
    let mut named = 0;
    for file in workflows() {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("run: make ") {
                for target in rest.split_whitespace() {
                    assert!(targets.contains(target), "{}: {line}", file.display());
                    named += 1;
                }
            }
        }
        let words = text.split(|c: char| c.is_whitespace() || "()\",".contains(c));
        for path in words.filter(|word| {
            ["examples/", "manifests/", ".ci/", "docs/"]
                .iter()
                .any(|folder| word.starts_with(folder))
        }) {
            let path = path.trim_end_matches([':', '.']);
            assert!(root().join(path).exists(), "{}: {path}", file.display());
        }
    }
    assert!(named > 0);
}
