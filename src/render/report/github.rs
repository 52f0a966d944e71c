//! Findings as annotations of a GitHub workflow: commands on standard output that its runner obeys.
//!
//! The worst come first, because a step shows only the first ten errors, warnings and notices. An accepted finding is no
//! annotation; the last one counts them.

use std::fmt::Write as _;

use evenkeel_core::findings::{Finding, FindingList};
use evenkeel_core::judge::Severity;

use super::{Context, not_judged, title};
use crate::escape::{command_data, command_property};
use crate::render::program;

/// One command for each finding that is not accepted and for each thing that could not be read, then the counts.
pub(crate) fn github(list: &FindingList, context: &Context<'_>) -> String {
    let mut text = String::new();
    for one in list.findings.iter().filter(|one| one.exception.is_none()) {
        text += &annotation(one, context);
    }
    for one in &list.unreadable {
        let said = format!("{}: {}", one.source, one.reason);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "::error title=could not be read::{}", command_data(&said));
    }
    for one in not_judged(list) {
        let _ = writeln!(text, "::notice title=evenkeel::{}", command_data(&one));
    }
    let accepted = list.findings.iter().filter(|one| one.exception.is_some()).count();
    let of = |severity| {
        let open = list.findings.iter().filter(|one| one.exception.is_none());
        open.filter(|one| one.severity == severity).count()
    };
    let _ = writeln!(
        text,
        "::notice title=evenkeel::{} critical, {} warning, {} info, {} unknown, {accepted} accepted, {} could not be read",
        of(Severity::Critical),
        of(Severity::Warning),
        of(Severity::Info),
        of(Severity::Unknown),
        list.unreadable.len()
    );
    text
}

fn annotation(finding: &Finding, context: &Context<'_>) -> String {
    let level = match finding.severity {
        Severity::Critical => "error",
        Severity::Warning => "warning",
        Severity::Info | Severity::Unknown => "notice",
    };
    let mut properties = format!(
        "title={}",
        command_property(&format!("{} ({})", finding.check, finding.severity.name()))
    );
    if let Some(at) = context.place(finding) {
        let file = context.path(&at.file).display().to_string();
        // Writing to a string cannot fail.
        let _ = write!(properties, ",file={}", command_property(&file));
        if let Some(line) = at.line {
            let _ = write!(properties, ",line={line}");
        }
    }
    let said = format!("{}: {}", title(finding), finding.message);
    let next = finding.advice.first().map(|step| format!("Next: {step}"));
    let explain = format!("{} explain {}{}", program(), finding.id, context.again);
    // The runner makes ends of lines of %0A.
    let lines: Vec<String> = [Some(said), next, Some(explain)]
        .iter()
        .flatten()
        .map(|line| command_data(line))
        .collect();
    format!("::{level} {properties}::{}\n", lines.join("%0A"))
}
