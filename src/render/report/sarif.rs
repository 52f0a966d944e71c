//! Findings as SARIF 2.1.0 (OASIS, errata 01), for code scanning.
//!
//! An Unknown verdict has the kind `open`, which says that it was looked at and not decided, and so no level (3.27.9,
//! 3.27.10). The id of a finding is its fingerprint: it stays the same while files and clusters change (3.27.18).

use std::path::{Path, PathBuf};

use evenkeel_core::checks;
use evenkeel_core::findings::{Finding, FindingList};
use evenkeel_core::judge::Severity;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Context, not_judged};
use crate::escape::line;
use crate::render;
use crate::render::findings::accepted;

/// Where the schema of the format is.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What may stand in the path of a URI as it is (RFC 3986, `unreserved`, and `/`). A colon in a first segment would end a
/// scheme.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// The findings as one run.
pub(crate) fn sarif(list: &FindingList, context: &Context<'_>) -> anyhow::Result<String> {
    let mut rules: Vec<&str> = list.findings.iter().map(|one| one.check).collect();
    rules.sort_unstable();
    rules.dedup();
    let results = list.findings.iter().map(|one| result(one, &rules, context));
    let unread = list.unreadable.iter().map(|one| {
        let text = format!("could not be read: {}: {}", one.source, one.reason);
        json!({"level": "error", "message": message(&text)})
    });
    let left = not_judged(list)
        .into_iter()
        .map(|text| json!({"level": "note", "message": message(&text)}));
    render::json(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "evenkeel",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|id| rule(id)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": list.unreadable.is_empty(),
                "toolExecutionNotifications": unread.chain(left).collect::<Vec<_>>(),
            }],
            "results": results.collect::<Vec<_>>(),
        }],
    }))
}

fn rule(id: &str) -> Value {
    let Some(check) = checks::find(id) else {
        return json!({"id": id});
    };
    let summary = check.summary().trim_start_matches(['#', ' ']);
    let mut rule = json!({
        "id": id,
        "shortDescription": {"text": summary},
        "help": {"text": summary, "markdown": check.doc.trim()},
    });
    if let Some(level) = level(check.severity.violated) {
        rule["defaultConfiguration"] = json!({"level": level});
    }
    rule
}

const fn level(severity: Severity) -> Option<&'static str> {
    match severity {
        Severity::Critical => Some("error"),
        Severity::Warning => Some("warning"),
        Severity::Info => Some("note"),
        Severity::Unknown => None,
    }
}

fn result(finding: &Finding, rules: &[&str], context: &Context<'_>) -> Value {
    let subject = finding.subject.to_string();
    let mut location = json!({"logicalLocations": [{
        "fullyQualifiedName": line(&subject),
        "kind": "resource",
    }]});
    let at = context.place(finding);
    // What stands nowhere, such as the cluster, is in what was read as a whole: GitHub refuses a file with a result that has no
    // artifact.
    let read = context.from.iter().find(|path| *path != Path::new("-"));
    if let Some(file) = at.map(|at| &*at.file).or(read.map(PathBuf::as_path)) {
        location["physicalLocation"] = json!({"artifactLocation": artifact(&context.path(file))});
    }
    if let Some(line) = at.and_then(|at| at.line) {
        location["physicalLocation"]["region"] = json!({"startLine": line});
    }
    let mut result = json!({
        "ruleId": finding.check,
        "ruleIndex": rules.binary_search(&finding.check).ok(),
        "kind": "open",
        "message": message(&format!("{subject}: {}", finding.message)),
        "partialFingerprints": {"evenkeelFinding/v1": finding.id},
        "locations": [location],
        "properties": {
            "severity": finding.severity,
            "verdict": finding.verdict,
            "cause": finding.cause,
            "policy": finding.policy,
            "evidence": finding.evidence,
            "advice": finding.advice,
        },
    });
    if let Some(level) = level(finding.severity) {
        result["kind"] = json!("fail");
        result["level"] = json!(level);
    }
    if let Some(why) = accepted(finding) {
        // In a policy, and so outside of what the result is about (3.35.2).
        result["suppressions"] =
            json!([{"kind": "external", "status": "accepted", "justification": line(&why)}]);
    }
    result
}

/// A file: relative to the root of the sources where it lies below it.
fn artifact(path: &Path) -> Value {
    let text = path.to_string_lossy();
    let uri = utf8_percent_encode(&text, ESCAPED);
    if path.is_absolute() {
        json!({"uri": format!("file://{uri}")})
    } else {
        json!({"uri": uri.to_string(), "uriBaseId": "%SRCROOT%"})
    }
}

/// A text of objects as a plain-text message. What would make a link in it (3.11.6) is escaped.
fn message(text: &str) -> Value {
    let text = line(text);
    if !text.contains("](") {
        return json!({"text": text});
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '[' | ']' | '\\') {
            shown.push('\\');
        }
        shown.push(c);
    }
    json!({"text": shown})
}
