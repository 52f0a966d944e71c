//! Findings as people read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::builder::styling::AnsiColor;
use evenkeel_core::findings::{EvidenceView, Finding, FindingList};
use evenkeel_core::judge::Severity;
use evenkeel_core::know::Origin;

use super::{coloured, markdown_table, table as plain_table, wrapped};
use crate::escape::{line, markdown as escaped};

/// What stands beside the findings.
#[derive(Debug)]
pub(crate) struct Aside<'a> {
    /// How many findings the filters hide.
    pub(crate) hidden: usize,
    /// Notes on what was read.
    pub(crate) notes: &'a [String],
    /// Objects that no check reads, by kind.
    pub(crate) ignored: &'a BTreeMap<String, u32>,
    /// The arguments that read the same again; empty for the current cluster.
    pub(crate) again: String,
}

const fn colour(severity: Severity) -> Option<AnsiColor> {
    match severity {
        Severity::Critical => Some(AnsiColor::Red),
        Severity::Warning => Some(AnsiColor::Yellow),
        Severity::Info => Some(AnsiColor::Cyan),
        Severity::Unknown => None,
    }
}

/// One row for each finding, then the summary.
pub(crate) fn table(list: &FindingList, aside: &Aside<'_>) -> String {
    let mut text = String::new();
    if !list.findings.is_empty() {
        let rows = list.findings.iter().map(|one| {
            vec![
                level(one),
                one.check.to_owned(),
                one.subject.to_string(),
                one.message.clone(),
            ]
        });
        text = tinted(
            &plain_table(&["SEVERITY", "CHECK", "SUBJECT", "MESSAGE"], rows),
            list,
        );
        text.push('\n');
    }
    text + &unreadable(list) + &beside(aside, &str::to_owned) + &summary(list, aside)
}

/// Colours the first word of each row. Done after the layout, which counts columns.
fn tinted(text: &str, list: &FindingList) -> String {
    let mut levels = list.findings.iter().map(|one| one.severity).peekable();
    text.lines().fold(String::new(), |text, line| {
        let name = levels.peek().map_or("", |severity| severity.name());
        let rest = line.strip_prefix(name).filter(|_| !name.is_empty());
        text + &match (rest, levels.peek()) {
            (Some(rest), Some(severity)) => {
                let word = coloured(name, colour(*severity));
                levels.next();
                word + rest
            }
            _ => line.to_owned(),
        } + "\n"
    })
}

/// The severity, and whether somebody has accepted it.
fn level(finding: &Finding) -> String {
    match finding.exception {
        Some(_) => format!("{} (accepted)", finding.severity.name()),
        None => finding.severity.name().to_owned(),
    }
}

/// Everything of each finding, then the summary.
pub(crate) fn wide(list: &FindingList, aside: &Aside<'_>) -> String {
    let cards = list
        .findings
        .iter()
        .fold(String::new(), |text, one| text + &card(one) + "\n");
    cards + &unreadable(list) + &beside(aside, &str::to_owned) + &summary(list, aside)
}

/// Everything of one finding.
pub(crate) fn card(finding: &Finding) -> String {
    let word = coloured(finding.severity.name(), colour(finding.severity));
    let subject = finding.subject.to_string();
    let mut text = format!("{word}  {}  {}\n", finding.check, line(&subject));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", wrapped(&finding.message, "  "));
    let cause = if finding.cause.is_empty() { "" } else { ", cause " };
    let _ = writeln!(
        text,
        "  {}{cause}{}, id {}",
        finding.verdict, finding.cause, finding.id
    );
    if let Some(policy) = &finding.policy {
        let _ = writeln!(text, "  policy {}", line(policy));
    }
    if let Some(exception) = &finding.exception {
        let until = moment(exception.until());
        let line = format!("accepted until {until}: {}", exception.reason);
        let _ = writeln!(text, "{}", wrapped(&line, "  "));
    }
    if !finding.evidence.is_empty() {
        text += "  evidence\n";
        for one in &finding.evidence {
            let _ = writeln!(text, "{}", wrapped(&evidence(one), "    "));
        }
    }
    if !finding.advice.is_empty() {
        text += "  what to do\n";
        for (number, step) in (1..).zip(&finding.advice) {
            let _ = writeln!(text, "{}", wrapped(&format!("{number}. {step}"), "    "));
        }
    }
    text
}

fn evidence(one: &EvidenceView) -> String {
    let origin = origin(one.origin);
    format!(
        "{}: {}{} ({origin}; {})",
        one.what, one.value, one.unit, one.source
    )
}

const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Measured => "measured",
        Origin::Declared => "declared",
        Origin::Default => "default",
        Origin::Assumed => "assumed",
    }
}

fn moment(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

/// A report for a ticket.
pub(crate) fn markdown(list: &FindingList, aside: &Aside<'_>) -> String {
    let mut text = format!("# evenkeel audit\n\n{}\n", summary(list, aside));
    if !list.findings.is_empty() {
        let rows = list.findings.iter().map(|one| {
            vec![
                level(one),
                one.check.to_owned(),
                one.subject.to_string(),
                one.message.clone(),
            ]
        });
        text += &markdown_table(&["Severity", "Check", "Subject", "Message"], rows);
        text.push('\n');
        for one in &list.findings {
            text += &card_markdown(one);
            text.push('\n');
        }
    }
    if !list.unreadable.is_empty() {
        text += "## Could not be read\n\n";
        let rows = list
            .unreadable
            .iter()
            .map(|one| vec![one.source.clone(), one.reason.clone()]);
        text += &markdown_table(&["Source", "Reason"], rows);
        text.push('\n');
    }
    text + &beside(aside, &escaped)
}

/// Everything of one finding, in Markdown.
pub(crate) fn card_markdown(finding: &Finding) -> String {
    let mut text = format!(
        "## {}: {} — {}\n\n{}\n\n",
        finding.severity.name(),
        finding.check,
        escaped(&finding.subject.to_string()),
        escaped(&finding.message)
    );
    // Writing to a string cannot fail.
    let _ = writeln!(text, "- verdict: {} (finding `{}`)", finding.verdict, finding.id);
    if !finding.cause.is_empty() {
        let _ = writeln!(text, "- cause: {}", finding.cause);
    }
    if let Some(policy) = &finding.policy {
        let _ = writeln!(text, "- policy: {}", escaped(policy));
    }
    if let Some(exception) = &finding.exception {
        let until = moment(exception.until());
        let _ = writeln!(text, "- accepted until {until}: {}", escaped(&exception.reason));
    }
    if !finding.evidence.is_empty() {
        text.push('\n');
        let rows = finding.evidence.iter().map(|one| {
            vec![
                one.what.to_owned(),
                format!("{}{}", one.value, one.unit),
                origin(one.origin).to_owned(),
                one.source.to_string(),
            ]
        });
        text += &markdown_table(&["Evidence", "Value", "Origin", "Source"], rows);
    }
    if !finding.advice.is_empty() {
        text.push('\n');
        for (number, step) in (1..).zip(&finding.advice) {
            let _ = writeln!(text, "{number}. {}", escaped(step));
        }
    }
    text
}

fn unreadable(list: &FindingList) -> String {
    if list.unreadable.is_empty() {
        return String::new();
    }
    let mut text = "Could not be read:\n".to_owned();
    for one in &list.unreadable {
        let line = format!("{}: {}", one.source, one.reason);
        text = text + &wrapped(&line, "  ") + "\n";
    }
    text + "\n"
}

/// Notes, and what was left aside, in a form; [`wrapped`] makes each line harmless.
fn beside(aside: &Aside<'_>, form: &dyn Fn(&str) -> String) -> String {
    let mut text = String::new();
    for note in aside.notes {
        text = text + &wrapped(&form(&format!("note: {note}")), "") + "\n";
    }
    if !aside.ignored.is_empty() {
        let kinds: Vec<_> = aside
            .ignored
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let line = format!("note: no check reads {}", kinds.join(", "));
        text = text + &wrapped(&form(&line), "") + "\n";
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Counts, and the next step.
fn summary(list: &FindingList, aside: &Aside<'_>) -> String {
    let one = list.summary;
    let mut text = format!(
        "{} violated, {} at risk, {} unknown, {} met, {} not applicable",
        one.violated, one.at_risk, one.unknown, one.met, one.not_applicable
    );
    let accepted = list.findings.iter().filter(|one| one.exception.is_some()).count();
    if accepted > 0 {
        let _ = write!(text, "; {accepted} accepted");
    }
    if aside.hidden > 0 {
        let _ = write!(text, "; {} not shown by these filters", aside.hidden);
    }
    if !list.unreadable.is_empty() {
        let _ = write!(text, "; {} could not be read", list.unreadable.len());
    }
    text.push_str(".\n");
    if let Some(not_judged) = &list.not_judged {
        let _ = writeln!(
            text,
            "Not judged: {} ({})",
            not_judged.checks.join(", "),
            not_judged.reason
        );
    }
    text + &next(list, aside)
}

fn next(list: &FindingList, aside: &Aside<'_>) -> String {
    let from = &aside.again;
    let shown = list.findings.iter().find(|one| one.severity != Severity::Unknown);
    match (shown, list.findings.first()) {
        (Some(worst), _) => format!("Next: evenkeel explain {}{from}\n", worst.id),
        (None, Some(_)) => format!("Next: evenkeel audit{from} -o wide shows what is missing\n"),
        (None, None) => String::new(),
    }
}
