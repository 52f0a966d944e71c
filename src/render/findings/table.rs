//! The audit as a page: sections by family of checks, one row for each cause, then what was judged and what to do next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::builder::styling::AnsiColor;
use evenkeel_core::checks::{FAMILIES, Family};
use evenkeel_core::findings::{Finding, FindingList, Met};
use evenkeel_core::judge::Severity;

use super::card::accepted;
use super::group::{Group, counted, gaps, groups, short, unmeasured};
use super::missing::{block, is_blind, is_right};
use super::summary::{counts, next, not_judged, severities};
use super::{Aside, NOTES, beside, colour, prefix};
use crate::render::screen::Screen;
use crate::render::{coloured, filled};

/// Margin of what belongs to a row.
const INNER: &str = "      ";

/// Most subjects of a group that are named.
const NAMED: usize = 3;

/// Most rows of one check: what the same repair ends is one row already.
const ROWS: usize = 5;

/// Most reasons for which something could not be judged.
const GAPS: usize = 10;

/// Most files and objects that are listed as not read.
const UNREAD: usize = 10;

/// The page.
pub(crate) fn table(list: &FindingList, aside: &Aside<'_>, screen: Screen) -> String {
    let page = TablePage { list, aside, screen };
    let sections = FAMILIES.iter().map(|family| page.section(family));
    let mut text = sections.collect::<String>() + &page.unknown();
    if !text.is_empty() {
        text.push('\n');
    }
    text += &block(list, &aside.grantee, screen.page());
    text += &page.unread();
    let notes = if aside.all { usize::MAX } else { NOTES };
    text += &beside(aside, notes, &str::to_owned);
    text + &counts(list, aside, screen.page())
        + &not_judged(list, screen.page(), crate::escape::line)
        + &next(list, aside, |text| crate::escape::line(text).into_owned())
}

struct TablePage<'a> {
    list: &'a FindingList,
    aside: &'a Aside<'a>,
    screen: Screen,
}

/// The mark before a row, which says how bad it is where there is no colour.
pub(super) const fn mark(severity: Option<Severity>) -> &'static str {
    match severity {
        None => "✓",
        Some(Severity::Critical) => "✗",
        Some(Severity::Warning) => "!",
        Some(Severity::Info) => "i",
        Some(Severity::Unknown) => "?",
    }
}

impl TablePage<'_> {
    fn marked(&self, severity: Option<Severity>) -> String {
        let colour = severity.map_or(Some(AnsiColor::Green), colour);
        coloured(mark(severity), colour, self.screen)
    }

    /// Lines of text behind a mark, which may be coloured and counts as one column.
    fn lines(&self, lead: &str, mark: &str, text: &str, margin: &str) -> String {
        let plain = format!("{lead}* ");
        let text = filled(text, &plain, margin, self.screen.page());
        let text = text.strip_prefix(&plain).unwrap_or(&text);
        format!("{lead}{mark} {text}\n")
    }

    fn met(&self, family: &Family) -> Vec<(&'static str, &Met)> {
        let checks = family.checks.iter();
        checks
            .filter_map(|check| Some((check.id, self.aside.met.get(check.id)?)))
            .collect()
    }

    /// A family: how it is, then its rows. Empty where none of it applies.
    fn section(&self, family: &Family) -> String {
        let of_family = |one: &&Finding| family.checks.iter().any(|check| check.id == one.check);
        let findings: Vec<_> = self.list.findings.iter().filter(of_family).collect();
        let met = self.met(family);
        if findings.is_empty() && met.is_empty() {
            return String::new();
        }
        let open = findings.iter().filter(|one| one.exception.is_none());
        let worst = open.map(|one| one.severity).max();
        let mut parts = severities(findings.iter().copied());
        if !met.is_empty() {
            let count: u32 = met.iter().map(|one| one.1.count).sum();
            let checks = counted(met.len(), "check", "checks");
            parts.push(format!("{count} met by {checks}"));
        }
        let head = format!("{}: {}", family.name, parts.join(", "));
        let mut text = self.lines("", &self.marked(worst), &head, "  ");
        let bad = findings
            .into_iter()
            .filter(|one| one.severity != Severity::Unknown);
        text += &self.rows(&groups(bad, self.aside.all));
        if self.aside.list_met {
            for (check, met) in met {
                text += &self.met_row(check, met);
            }
        }
        text
    }

    /// The causes of a family: of one check only the first, unless all are asked for.
    fn rows(&self, groups: &[Group<'_>]) -> String {
        let mut text = String::new();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for group in groups {
            let check = group.first().map_or("", |one| one.check);
            let count = counts.entry(check).or_default();
            *count += 1;
            if self.aside.all || *count <= ROWS {
                text += &self.row(group);
            }
        }
        if !self.aside.all {
            for (check, count) in counts {
                text += &self.more(count.saturating_sub(ROWS), &format!("of {check} "));
            }
        }
        text
    }

    /// That there are more rows, where there are.
    fn more(&self, count: usize, what: &str) -> String {
        if count == 0 {
            return String::new();
        }
        let rows = counted(count, "more row", "more rows");
        self.lines("  ", "…", &format!("{rows} {what}with --all"), INNER)
    }

    /// One cause: what it is about, the message, and the first thing to do.
    fn row(&self, group: &Group<'_>) -> String {
        let Some(first) = group.first() else {
            return String::new();
        };
        let id = prefix(&first.id, self.list);
        let level = first.severity.name();
        let head = format!("{} ({level}): {} [{id}]", first.check, group.title());
        let mark = match first.exception {
            Some(_) => "~".to_owned(),
            None => self.marked(Some(first.severity)),
        };
        let mut text = self.lines("  ", &mark, &head, INNER);
        if group.findings.len() > 1 {
            text += &self.inner(&named(&group.subjects()));
        }
        text += &self.inner(&first.message);
        if let Some(accepted) = accepted(first) {
            text += &self.inner(&accepted);
        } else if let Some(step) = first.advice.first() {
            text += &self.inner(&format!("→ {step}"));
        }
        text
    }

    fn inner(&self, text: &str) -> String {
        filled(text, INNER, INNER, self.screen.page()) + "\n"
    }

    fn met_row(&self, check: &str, met: &Met) -> String {
        let mut names: Vec<_> = met.first.iter().map(short).collect();
        let more = (met.count as usize).saturating_sub(names.len());
        if more > 0 {
            names.push(format!("{more} more"));
        }
        let text = format!("{check}: {}", names.join(", "));
        self.lines("  ", &self.marked(None), &text, INNER)
    }

    /// What could not be judged, by reason; what only a right is missing for is said by the block of rights.
    fn unknown(&self) -> String {
        let unknown = |one: &&Finding| one.severity == Severity::Unknown;
        let shown = |one: &&Finding| self.aside.all || !is_blind(one, self.list);
        let open = self.list.findings.iter().filter(unknown).filter(shown);
        let groups = gaps(open);
        if groups.is_empty() {
            return String::new();
        }
        let count: usize = groups.iter().map(|one| one.findings.len()).sum();
        let head = format!("Unknown: {}", counted(count, "verdict", "verdicts"));
        let mut text = self.lines("", &self.marked(Some(Severity::Unknown)), &head, "  ");
        let most = if self.aside.all { usize::MAX } else { GAPS };
        text.extend(groups.iter().take(most).map(|group| self.gap(group)));
        text + &self.more(groups.len().saturating_sub(most), "")
    }

    fn gap(&self, group: &Group<'_>) -> String {
        let Some(first) = group.first() else {
            return String::new();
        };
        let why = first
            .message
            .strip_prefix("cannot be judged: ")
            .unwrap_or(&first.message);
        let metrics = group.findings.iter().filter_map(|one| unmeasured(&one.message));
        let metrics: BTreeSet<_> = metrics.map(|one| one.0.to_owned()).collect();
        let of_several;
        let why = match unmeasured(&first.message) {
            Some((_, reason)) if metrics.len() > 1 => {
                let metrics: Vec<_> = metrics.into_iter().collect();
                of_several = format!("{reason}: not measured: {}", named(&metrics));
                &of_several
            }
            _ => why,
        };
        let id = prefix(&first.id, self.list);
        let mark = self.marked(Some(Severity::Unknown));
        let mut text = self.lines("  ", &mark, &format!("{why} [{id}]"), INNER);
        let checks: BTreeSet<_> = group.findings.iter().map(|one| one.check.to_owned()).collect();
        let checks: Vec<_> = checks.into_iter().collect();
        text += &self.inner(&format!("{}: {}", named(&checks), group.title()));
        if let Some(step) = first.advice.first() {
            text += &self.inner(&format!("→ {step}"));
        }
        text
    }

    /// Files and sources that could not be read for another reason than a right.
    fn unread(&self) -> String {
        let unread = self.list.unreadable.iter().filter(|one| !is_right(one));
        let unread: Vec<_> = unread.collect();
        if unread.is_empty() {
            return String::new();
        }
        let most = if self.aside.all { usize::MAX } else { UNREAD };
        let mut text = "Could not be read:\n".to_owned();
        for one in unread.iter().take(most) {
            let line = format!("{}: {}", one.source, one.reason);
            text = text + &filled(&line, "  ", "  ", self.screen.columns.unwrap_or(usize::MAX)) + "\n";
        }
        let more = unread.len().saturating_sub(most);
        if more > 0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {more} more with --all");
        }
        text + "\n"
    }
}

/// The first names, and how many more there are.
fn named(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(NAMED).map(String::as_str).collect();
    match names.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
