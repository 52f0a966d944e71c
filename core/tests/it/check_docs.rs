//! The published pages of the checks are what the checks say of themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use evenkeel_core::checks;
use evenkeel_core::judge::{Check, Judge, Memory};
use evenkeel_core::know::Reads;
use evenkeel_core::sample::Metric;

use crate::writers::by_teams;

/// Set to `1` to write the pages instead of comparing them.
const BLESS: &str = "EVENKEEL_BLESS";

const MADE_BY: &str = "<!-- Generated from core/src/checks: make bless -->";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks")
}

const fn judged(check: &Check) -> &'static str {
    match check.judge {
        Judge::Path(_) => "each declared connection",
        Judge::Service(_) => "each Service",
        Judge::Node(_) => "each node",
        Judge::Zone(_) => "each zone",
        Judge::Webhook(_) => "each webhook configuration",
        Judge::Workload(_) => "each workload that lost Pods",
        Judge::Cluster(_) => "the cluster",
    }
}

fn severities(check: &Check) -> String {
    let severity = check.severity;
    format!(
        "Violated {}, AtRisk {}",
        severity.violated.name(),
        severity.at_risk.name()
    )
}

fn list(reads: Reads) -> String {
    if reads.is_empty() {
        return "-".into();
    }
    let names: Vec<&str> = reads.iter().map(evenkeel_core::know::Source::name).collect();
    names.join(", ")
}

const fn yes(one: bool) -> &'static str {
    if one { "yes" } else { "no" }
}

/// A line for the checks that read history: the others judge how things are.
const fn remembers(check: &Check) -> &'static str {
    match check.history {
        Memory::Unused => "",
        Memory::Used => "| history | used by the operator; an audit judges without it |\n",
        Memory::Needed => "| history | needed: only the operator has it; an audit does not judge this |\n",
    }
}

/// A line for the checks that rest on samples.
fn measures(check: &Check) -> String {
    if check.samples.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = check.samples.iter().map(Metric::name).collect();
    let without = if check.samples.are_needed() {
        "not judged"
    } else {
        "judged by the rest"
    };
    format!(
        "| measured | {}; {} where no source of samples is configured |\n",
        names.join(", "),
        without
    )
}

fn page(check: &Check) -> String {
    let body = check.doc.trim();
    let rest = body.split_once('\n').map_or("", |found| found.1).trim();
    format!(
        "{MADE_BY}\n# {}\n\n{}\n\n| | |\n|---|---|\n| judges | {} |\n| severity | {} |\n| needs | {} |\n| uses, where it \
         is there | {} |\n| of these, teams write | {} |\n| reads the effective data plane | {} |\n| works without a policy | {} |\n{}{}\n{rest}\n",
        check.id,
        check.summary(),
        judged(check),
        severities(check),
        list(check.needs),
        list(check.uses.minus(check.needs)),
        list(Reads::of(&by_teams(check).collect::<Vec<_>>())),
        yes(check.profiles),
        yes(check.baseline),
        remembers(check),
        measures(check),
    )
}

fn table() -> String {
    let mut text = format!(
        "{MADE_BY}\n# Checks\n\nA check judges one thing by one formula. Its id is stable: policies, JSON and documentation \
         name it.\nWhere an input that a check needs cannot be read, its verdict is Unknown, which is neither healthy nor \
         unhealthy.\nEvidence that is merely assumed is never critical.\n\n\
         | check | what it says | severity | needs | without a policy |\n|---|---|---|---|---|\n"
    );
    for check in checks::ALL {
        writeln!(
            text,
            "| [{id}]({id}.md) | {} | {} | {} | {} |",
            check.summary(),
            severities(check),
            list(check.needs),
            yes(check.baseline),
            id = check.id,
        )
        .unwrap();
    }
    text
}

#[test]
fn published_pages_are_current() {
    let mut wanted: BTreeMap<String, String> = checks::ALL
        .iter()
        .map(|check| (format!("{}.md", check.id), page(check)))
        .collect();
    wanted.insert("README.md".into(), table());
    let bless = std::env::var(BLESS).is_ok_and(|value| value == "1");
    if bless {
        fs::create_dir_all(folder()).unwrap();
    }
    for entry in fs::read_dir(folder()).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if wanted.contains_key(&name) {
            continue;
        }
        assert!(
            bless,
            "docs/checks/{name} belongs to no check: run with {BLESS}=1 to remove it"
        );
        fs::remove_file(entry.path()).unwrap();
    }
    for (name, content) in &wanted {
        let path = folder().join(name);
        if bless {
            fs::write(&path, content).unwrap();
        }
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == *content,
            "docs/checks/{name} differs from the check: run with {BLESS}=1 and review the change"
        );
    }
}
