//! Differences for people: as a page, and as tables for tickets.

use std::cmp::Reverse;
use std::fmt::Write as _;

use clap::builder::styling::AnsiColor;

use super::super::table::mark;
use super::super::{colour, prefix_among};
use super::{Changes, ComparedFinding};
use crate::escape::line;
use crate::render::screen::Screen;
use crate::render::{coloured, filled, markdown_table, program};

/// Most findings of a kind that are shown to people; JSON has all.
const SHOWN: usize = 50;

/// Margin of the lines below a finding.
const INNER: &str = "      ";

impl Changes {
    /// The counts in a sentence.
    fn counts(&self) -> String {
        let mut text = format!(
            "{} new, {} gone, {} judged otherwise, {} as before",
            self.new.len(),
            self.gone.len(),
            self.changed.len(),
            self.unchanged
        );
        if !self.unread.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(text, "; {} can no longer be read", self.unread.len());
        }
        text
    }

    /// For people: a section for each kind of difference, then the counts and the next command.
    pub(crate) fn page(&self, again: &str, screen: Screen) -> String {
        let mut text = section(
            "New",
            self.new
                .iter()
                .map(|one| row(one, self.prefix(&one.id), &one.words(), None, screen)),
        );
        text += &section(
            "Judged otherwise",
            self.changed.iter().map(|one| {
                let words = format!("{} → {}", one.before.words(), one.after.words());
                row(&one.after, self.prefix(&one.after.id), &words, None, screen)
            }),
        );
        text += &section(
            "Gone",
            self.gone.iter().map(|one| {
                let tick = coloured("✓", Some(AnsiColor::Green), screen);
                row(
                    one,
                    self.prefix(&one.id),
                    &format!("was {}", one.words()),
                    Some(tick),
                    screen,
                )
            }),
        );
        for one in &self.unread {
            let said = format!("No longer read: {}: {}", one.source, one.reason);
            text = text + &filled(&said, "", "  ", screen.page()) + "\n";
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text = text + &self.counts() + ".\n";
        if let Some(first) = self.worse().min_by_key(|one| Reverse(one.severity)) {
            let id = line(self.prefix(&first.id)).into_owned();
            text = text + "Next: " + program() + " explain " + &id + &line(again) + "\n";
        }
        text
    }

    /// The beginning of an id that no other finding of either audit has.
    fn prefix<'a>(&self, id: &'a str) -> &'a str {
        prefix_among(id, self.ids.iter().map(String::as_str))
    }

    /// For tickets.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# evenkeel diff\n\n{}.\n", self.counts());
        let rows = |what: &str, one: &ComparedFinding, words: String| {
            vec![
                what.to_owned(),
                one.check.clone(),
                one.subject.to_string(),
                words,
                one.message.clone(),
            ]
        };
        let new = self.new.iter().map(|one| rows("new", one, one.words()));
        let changed = self.changed.iter().map(|one| {
            let words = format!("{} → {}", one.before.words(), one.after.words());
            rows("judged otherwise", &one.after, words)
        });
        let gone = self
            .gone
            .iter()
            .map(|one| rows("gone", one, format!("was {}", one.words())));
        if !self.is_empty() {
            text.push('\n');
            let heads = ["What", "Check", "Subject", "Verdict", "Message"];
            text += &markdown_table(&heads, new.chain(changed).chain(gone));
        }
        if !self.unread.is_empty() {
            text.push('\n');
            let rows = self
                .unread
                .iter()
                .map(|one| vec![one.source.clone(), one.reason.clone()]);
            text += &markdown_table(&["No longer read", "Reason"], rows);
        }
        text
    }
}

/// Rows below the name of what they have in common; empty where there are none.
fn section(name: &str, rows: impl ExactSizeIterator<Item = String>) -> String {
    let count = rows.len();
    if count == 0 {
        return String::new();
    }
    let mut text = format!("{name}: {count}\n");
    text.extend(rows.take(SHOWN));
    if count > SHOWN {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  and {} more; -o json has all", count - SHOWN);
    }
    text
}

/// A finding in lines: what it is about, how it is judged, and the message.
fn row(one: &ComparedFinding, id: &str, words: &str, instead: Option<String>, screen: Screen) -> String {
    let mark = instead.unwrap_or_else(|| match one.exception {
        Some(_) => "~".to_owned(),
        None => coloured(mark(Some(one.severity)), colour(one.severity), screen),
    });
    let head = format!("{}: {} [{id}]", one.check, one.subject);
    // The mark may be coloured, and takes one column.
    let head = filled(&head, "  * ", INNER, screen.page());
    let head = head.strip_prefix("  * ").unwrap_or(&head);
    let words = filled(words, INNER, INNER, screen.page());
    let message = filled(&one.message, INNER, INNER, screen.page());
    format!("  {mark} {head}\n{words}\n{message}\n")
}
