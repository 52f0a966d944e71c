//! Findings in Markdown, for a ticket.

use std::fmt::Write as _;

use evenkeel_core::findings::{Finding, FindingList};

use super::card::{level, moment, origin};
use super::summary::{counts, next, not_judged};
use super::{Aside, beside};
use crate::escape::markdown as escaped;
use crate::render::markdown_table;

/// A report for a ticket.
pub(crate) fn markdown(list: &FindingList, aside: &Aside<'_>) -> String {
    let mut text = format!(
        "# evenkeel audit\n\n{}\n",
        counts(list, aside, usize::MAX)
            + &not_judged(list, usize::MAX, |text| escaped(text).into())
            + &next(list, aside, escaped)
    );
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
    text + &beside(aside, usize::MAX, &escaped)
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
