//! Findings as people read them.

mod card;
mod changes;
mod group;
mod markdown;
pub(crate) mod missing;
mod notes;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::builder::styling::AnsiColor;
use evenkeel_core::findings::{FindingList, JudgedObjects, Met, Note};
use evenkeel_core::judge::Severity;

pub(crate) use card::{accepted, card, evidence, samples};
pub(crate) use changes::{Changes, ComparedAudit};
pub(crate) use group::counted;
pub(crate) use markdown::{card_markdown, markdown};
pub(crate) use table::table;

use self::summary::{counts, next, not_judged};
use super::wrapped;
use crate::escape::line;

/// What stands beside the findings.
#[derive(Debug)]
pub(crate) struct Aside<'a> {
    /// How many findings the filters hide.
    pub(crate) hidden: usize,
    /// Notes on what was read.
    pub(crate) notes: &'a [Note],
    /// Objects that no check reads, by kind.
    pub(crate) ignored: &'a BTreeMap<String, u32>,
    /// The arguments that read the same again; empty for the current cluster.
    pub(crate) again: String,
    /// The namespace for which a first policy tells the most, as a word of a command; `None` where no Service selects Pods.
    pub(crate) busiest: Option<String>,
    /// The user whom a grant names, as a word of a command.
    pub(crate) grantee: String,
    /// How many objects were judged.
    pub(crate) judged: JudgedObjects,
    /// How many checks are asked for.
    pub(crate) checks: usize,
    /// What is met, by check.
    pub(crate) met: &'a BTreeMap<&'static str, Met>,
    /// Whether each finding has a row of its own.
    pub(crate) all: bool,
    /// Whether what is met is listed.
    pub(crate) list_met: bool,
}

/// Most notes that are shown where not everything is.
const NOTES: usize = 5;

/// Fewest digits of an id by which a finding is named.
const DIGITS: usize = 8;

const fn colour(severity: Severity) -> Option<AnsiColor> {
    match severity {
        Severity::Critical => Some(AnsiColor::Red),
        Severity::Warning => Some(AnsiColor::Yellow),
        Severity::Info => Some(AnsiColor::Cyan),
        Severity::Unknown => None,
    }
}

/// Everything of each finding, then the summary.
pub(crate) fn wide(list: &FindingList, aside: &Aside<'_>) -> String {
    let cards = list
        .findings
        .iter()
        .fold(String::new(), |text, one| text + &card(one) + "\n");
    let rest = unreadable(list) + &beside(aside, usize::MAX, &str::to_owned);
    cards
        + &rest
        + &counts(list, aside, usize::MAX)
        + &not_judged(list, usize::MAX, line)
        + &next(list, aside, |text| line(text).into_owned())
}

/// The beginning of an id by which `explain` finds it in this list.
fn prefix<'a>(id: &'a str, list: &FindingList) -> &'a str {
    prefix_among(id, list.findings.iter().map(|one| &*one.id))
}

/// The beginning of an id that no other of these has: 8 digits where that is enough.
pub(crate) fn prefix_among<'a, 'b>(id: &'a str, all: impl Iterator<Item = &'b str>) -> &'a str {
    let shared = |other: &str| id.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let others = all.filter(|other| *other != id);
    let needed = others.map(|other| shared(other) + 1).max().unwrap_or_default();
    id.get(..needed.max(DIGITS)).unwrap_or(id)
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

/// Notes, so many at most, and what was left aside, in a form; [`wrapped`] makes each line harmless.
fn beside(aside: &Aside<'_>, most: usize, form: &dyn Fn(&str) -> String) -> String {
    let mut text = String::new();
    let notes = notes::grouped(aside.notes, most < usize::MAX);
    for note in notes.iter().take(most) {
        text = text + &wrapped(&form(&format!("note: {note}")), "") + "\n";
    }
    let more = notes.len().saturating_sub(most);
    if more > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "note: {more} more with --all");
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
