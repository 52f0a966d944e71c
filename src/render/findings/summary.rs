//! What an audit came to: how many findings, on what, what was not judged, and what to do next.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use evenkeel_core::checks;
use evenkeel_core::findings::{Finding, FindingList, JudgedObjects, NotJudged, SubjectKind};
use evenkeel_core::judge::Severity;

use super::group::counted;
use super::{Aside, missing, prefix};
use crate::render::{filled, program};

/// How many findings there are of each severity, worst first, and how many of them are accepted.
pub(super) fn severities<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<String> {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    let mut accepted = 0;
    for one in findings {
        if one.exception.is_some() {
            accepted += 1;
        } else {
            *counts.entry(Reverse(one.severity)).or_default() += 1;
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
    // Where the platform has a policy, there is not none.
    let shown = all
        .iter()
        .filter(|one| !(judged.platform && **one == (Some(0), "policy", "policies")));
    let read = shown.filter_map(|(count, one, many)| Some(counted((*count)?, one, many)));
    let platform = judged.platform.then(|| "the platform's policy".to_owned());
    let read: Vec<_> = read.chain(platform).collect();
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

/// On what it was judged, to follow a sentence; nothing where nothing of it was read.
fn on(judged: JudgedObjects) -> String {
    match (judged.nodes, judged.services, judged.policies) {
        (None, None, None) => "; nodes, Services and policies were not read".to_owned(),
        _ => format!(", on {}", objects(judged)),
    }
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
pub(super) fn counts(list: &FindingList, aside: &Aside<'_>, columns: usize) -> String {
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
        let by = counted(aside.met.len(), "check", "checks");
        parts.push(format!("{met} met by {by}"));
    }
    if !list.unreadable.is_empty() {
        let sources = counted(list.unreadable.len(), "source", "sources");
        parts.push(format!("{sources} could not be read"));
    }
    let parts = parts.join(", ");
    let (objects, on) = (objects(aside.judged), on(aside.judged));
    let mut text = match (bad, partial) {
        (true, _) => format!("{parts}{on}"),
        (false, true) if met == 0 => format!("Nothing could be judged: {parts}{on}"),
        (false, true) => format!("Nothing is wrong in what could be judged: {parts}{on}"),
        (false, false) if parts.is_empty() => format!("Nothing to judge: {objects}"),
        // Without a node no Pod runs, and little of what is met says anything.
        (false, false) if aside.judged.nodes == Some(0) => {
            format!("Nothing is wrong, but there is no node: {parts}{on}")
        }
        (false, false) if aside.hidden > 0 => format!("Nothing is wrong in what is asked for: {parts}{on}"),
        (false, false) => format!("All is well: {parts}{on}{}", idle(list, aside)),
    };
    if aside.hidden > 0 {
        let findings = counted(aside.hidden, "finding", "findings");
        // Writing to a string cannot fail.
        let _ = write!(text, "; these filters hide {findings}");
    }
    filled(&(text + "."), "", "", columns) + "\n"
}

/// Where all is well, how many checks that says nothing of: nothing was there for them to judge.
fn idle(list: &FindingList, aside: &Aside<'_>) -> String {
    let over_time = list.not_judged.as_ref().map_or(0, |one| one.checks.len());
    // What is accepted was judged, too.
    let accepted: BTreeSet<_> = list.findings.iter().map(|one| one.check).collect();
    let accepted = accepted.iter().filter(|id| !aside.met.contains_key(*id));
    let judged = aside.met.len() + accepted.count() + over_time;
    match aside.checks.saturating_sub(judged) {
        0 => String::new(),
        idle => format!("; {} had nothing to judge", counted(idle, "check", "checks")),
    }
}

/// Most checks that are named where there is little room.
const NAMED: usize = 3;

/// Most policies judged in part that are named.
const IN_PART: usize = 5;

/// What was not judged: because it takes time, or because policies declare too much.
pub(super) fn not_judged(
    list: &FindingList,
    columns: usize,
    escaped: impl Fn(&str) -> Cow<'_, str>,
) -> String {
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

/// How much of the cluster a finding is about: what is wrong with all of it explains much of what is wrong with a part.
const fn breadth(kind: SubjectKind) -> u8 {
    match kind {
        SubjectKind::Cluster => 0,
        SubjectKind::Webhook => 1,
        SubjectKind::Zone => 2,
        SubjectKind::Node => 3,
        SubjectKind::Service | SubjectKind::Workload => 4,
    }
}

/// What to do next, as a command to be pasted. Its arguments are names of files, which may be those of others.
pub(super) fn next(list: &FindingList, aside: &Aside<'_>, form: impl Fn(&str) -> String) -> String {
    let (name, from) = (program(), form(&aside.again));
    let open = || list.findings.iter().filter(|one| one.exception.is_none());
    // Where nothing is declared yet, a first policy says more than what is only worth knowing.
    let undeclared = aside.judged.policies == Some(0) && aside.busiest.is_some();
    let least = if undeclared {
        Severity::Warning
    } else {
        Severity::Info
    };
    let wrong = open().filter(|one| one.severity >= least);
    // Of equal ones the first on the page, which is in the order of the checks.
    let place = |id| checks::ALL.iter().position(|check| check.id == id);
    let first = wrong.min_by_key(|one| (Reverse(one.severity), breadth(one.subject.kind), place(one.check)));
    if let Some(first) = first {
        return format!("Next: {name} explain {}{from}\n", prefix(&first.id, list));
    }
    // A file with a mistake in it is the first thing to mend; it may be a draft of which nothing else is known.
    if !list.unreadable.is_empty() && !list.unreadable.iter().any(missing::is_right) {
        return format!("Next: {name} audit{from}    # once all of it can be read\n");
    }
    // What only a right is missing for is explained by that right.
    if let Some(gap) = open().find(|one| !undeclared && !missing::is_blind(one, list)) {
        return format!("Next: {name} explain {}{from}\n", prefix(&gap.id, list));
    }
    if !list.unreadable.is_empty() {
        return format!("Next: {name} audit{from}    # once the missing rights are granted\n");
    }
    if aside.judged.policies == Some(0) {
        return match &aside.busiest {
            Some(space) => {
                let space = form(space);
                format!(
                    "Next: {name} init -n {space}{from}    # writes first policies, which most checks need\n"
                )
            }
            None => format!("Next: {name} checks    # says which checks need a policy\n"),
        };
    }
    if aside.list_met {
        format!("Next: {name} checks    # what each check reads\n")
    } else {
        format!("Next: {name} audit{from} --met    # lists what is met\n")
    }
}
