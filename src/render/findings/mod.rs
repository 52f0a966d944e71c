//! Findings as people read them.

mod card;
mod changes;
mod group;
mod markdown;
pub(crate) mod missing;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::builder::styling::AnsiColor;
use evenkeel_core::findings::{Finding, FindingList, JudgedObjects, Met, NotJudged};
use evenkeel_core::judge::Severity;

pub(crate) use card::{accepted, card, evidence, samples};
pub(crate) use changes::{Changes, ComparedAudit};
pub(crate) use group::counted;
pub(crate) use markdown::{card_markdown, markdown};
pub(crate) use table::table;

use super::{filled, program, wrapped};
use crate::escape::line;

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
    /// The namespace for which a first policy tells the most, as a word of a command; `None` where no Service selects Pods.
    pub(crate) busiest: Option<String>,
    /// The user whom a grant names, as a word of a command.
    pub(crate) grantee: String,
    /// How many objects were judged.
    pub(crate) judged: JudgedObjects,
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
    for note in aside.notes.iter().take(most) {
        text = text + &wrapped(&form(&format!("note: {note}")), "") + "\n";
    }
    let more = aside.notes.len().saturating_sub(most);
    if more > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "note: {} more with --all", counted(more, "note", "notes"));
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

/// How many findings there are of each severity, worst first, and how many of them are accepted.
fn severities<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<String> {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    let mut accepted = 0;
    for one in findings {
        if one.exception.is_some() {
            accepted += 1;
        } else {
            *counts.entry(std::cmp::Reverse(one.severity)).or_default() += 1;
        }
    }
    let mut parts: Vec<_> = counts
        .iter()
        .map(|(severity, count)| match (severity.0, count) {
            (Severity::Warning, 2..) => format!("{count} warnings"),
            (severity, count) => format!("{count} {}", severity.name()),
        })
        .collect();
    if accepted > 0 {
        parts.push(format!("{accepted} accepted"));
    }
    parts
}

/// What was judged, in words: `5 nodes, 38 Services and 3 policies`, and what was not read.
fn objects(judged: JudgedObjects) -> String {
    let all = [
        (judged.nodes, "node", "nodes"),
        (judged.services, "Service", "Services"),
        (judged.policies, "policy", "policies"),
    ];
    let read = all
        .iter()
        .filter_map(|(count, one, many)| Some(counted((*count)?, one, many)));
    let read: Vec<_> = read.collect();
    let unread: Vec<_> = all
        .iter()
        .filter(|one| one.0.is_none())
        .map(|one| one.2)
        .collect();
    let mut text = enumerated(&read);
    if text.is_empty() {
        text.push_str("nothing");
    }
    if !unread.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, " ({} not read)", enumerated(&unread));
    }
    text
}

/// Words as a list in a sentence: `a, b and c`.
fn enumerated(words: &[impl std::borrow::Borrow<str>]) -> String {
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.borrow().to_owned(),
        Some((last, rest)) => format!("{} and {}", rest.join(", "), last.borrow()),
    }
}

/// One sentence: what was judged, and what came of it.
fn counts(list: &FindingList, aside: &Aside<'_>, columns: usize) -> String {
    let met: u32 = aside.met.values().map(|one| one.count).sum();
    let open = |severity| {
        let mut findings = list.findings.iter();
        findings.any(|one| one.exception.is_none() && one.severity == severity)
    };
    let bad = [Severity::Critical, Severity::Warning, Severity::Info]
        .into_iter()
        .any(open);
    let in_part = list
        .not_judged
        .as_ref()
        .is_some_and(|one| !one.policies.is_empty());
    let partial = open(Severity::Unknown) || !list.unreadable.is_empty() || in_part;
    let mut parts = severities(list.findings.iter());
    if met > 0 {
        parts.push(format!("{met} met"));
    }
    if !list.unreadable.is_empty() {
        parts.push(format!("{} could not be read", list.unreadable.len()));
    }
    let parts = parts.join(", ");
    let objects = objects(aside.judged);
    let mut text = match (bad, partial) {
        (true, _) => format!("{parts}, on {objects}"),
        (false, true) if met == 0 => format!("Nothing could be judged: {parts}, on {objects}"),
        (false, true) => format!("Nothing is wrong in what could be judged: {parts}, on {objects}"),
        (false, false) if parts.is_empty() => format!("Nothing to judge: {objects}"),
        // Without a node no Pod runs, and little of what is met says anything.
        (false, false) if aside.judged.nodes == Some(0) => {
            format!("Nothing is wrong, but there is no node: {parts}, on {objects}")
        }
        (false, false) => format!("All is well: {parts}, on {objects}"),
    };
    if aside.hidden > 0 {
        // Writing to a string cannot fail.
        let _ = write!(text, "; {} more are not shown by these filters", aside.hidden);
    }
    filled(&(text + "."), "", "", columns) + "\n"
}

/// Most checks that are named where there is little room.
const NAMED: usize = 3;

/// Most policies judged in part that are named.
const IN_PART: usize = 5;

/// What was not judged: because it takes time, or because policies declare too much.
fn not_judged(list: &FindingList, columns: usize, escaped: impl Fn(&str) -> Cow<'_, str>) -> String {
    let Some(one) = &list.not_judged else {
        return String::new();
    };
    let mut text = String::new();
    if !one.checks.is_empty() {
        text += &over_time(one, columns);
    }
    for part in one.policies.iter().take(IN_PART) {
        let said = format!(
            "Judged in part: policy {}: {}",
            escaped(&part.policy),
            escaped(&part.reason)
        );
        text += &(filled(&said, "", "", columns) + "\n");
    }
    let left = one.policies.len().saturating_sub(IN_PART) + one.policies_left;
    if left > 0 {
        // Where the list itself is cut, JSON does not name all of them either.
        let named = if one.policies_left == 0 {
            ", which -o json names"
        } else {
            ""
        };
        let _ = writeln!(text, "Judged in part: {left} more policies{named}");
    }
    text
}

/// What is not judged because it takes time.
fn over_time(one: &NotJudged, columns: usize) -> String {
    let checks = if one.checks.len() > NAMED && columns < usize::MAX {
        format!("{} checks", one.checks.len())
    } else {
        one.checks.join(", ")
    };
    filled(&format!("Not judged: {checks} ({})", one.reason), "", "", columns) + "\n"
}

/// What to do next, as a command to be pasted. Its arguments are names of files, which may be those of others.
fn next(list: &FindingList, aside: &Aside<'_>, form: impl Fn(&str) -> String) -> String {
    let (name, from) = (program(), form(&aside.again));
    let open = || list.findings.iter().filter(|one| one.exception.is_none());
    // Where nothing is declared yet, a first policy says more than what is only worth knowing.
    let undeclared = aside.judged.policies == Some(0) && aside.busiest.is_some();
    let least = if undeclared {
        Severity::Warning
    } else {
        Severity::Info
    };
    // What only a right is missing for is explained by that right.
    let first = open()
        .find(|one| one.severity >= least)
        .or_else(|| open().find(|one| !undeclared && !missing::is_blind(one, list)));
    match first {
        Some(first) => format!("Next: {name} explain {}{from}\n", prefix(&first.id, list)),
        None if list.unreadable.iter().any(missing::is_right) => {
            format!("Next: {name} audit{from}    # once the missing rights are granted\n")
        }
        None if aside.judged.policies == Some(0) => match &aside.busiest {
            Some(space) => {
                let space = form(space);
                format!(
                    "Next: {name} init -n {space}{from}    # writes first policies, which most checks need\n"
                )
            }
            None => format!("Next: {name} checks    # NEEDS policy: judged once you declare it\n"),
        },
        None if !aside.list_met => format!("Next: {name} audit{from} --met    # lists what is met\n"),
        None => format!("Next: {name} checks    # what each check reads\n"),
    }
}
