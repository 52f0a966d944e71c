//! How answers look: tables for people, JSON and YAML for programs, Markdown for tickets.
//!
//! What is shown quotes objects and files: it is made harmless where it is laid out ([`crate::escape`]).
//!
//! On a terminal text is wrapped to its width and severities are coloured. Anywhere else a row of a table is one line without
//! colour, so that `grep` finds what it looks for ([`screen`]).

pub(crate) mod dataplane;
pub(crate) mod findings;
pub(crate) mod page;
pub(crate) mod path;
pub(crate) mod report;
pub(crate) mod screen;
#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use serde::{Deserialize, Serialize};

use crate::escape;
use screen::Screen;

/// The name by which people call this program: as a plugin of kubectl it is another one.
pub(crate) fn program() -> &'static str {
    static NAME: OnceLock<&str> = OnceLock::new();
    NAME.get_or_init(|| {
        let called = std::env::args_os().next().map(PathBuf::from);
        let stem = called.as_deref().and_then(Path::file_stem);
        if stem == Some(OsStr::new("kubectl-evenkeel")) {
            "kubectl evenkeel"
        } else {
            "evenkeel"
        }
    })
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people, on a page.
    Table,
    /// With everything: sources, origins, ids.
    Wide,
    /// For programs.
    Json,
    /// For programs that people read.
    Yaml,
    /// For tickets.
    Markdown,
}

/// The form of an audit's answer: those of all commands, and those that other programs show to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuditForm {
    /// For people, on a page.
    Table,
    /// With everything: sources, origins, ids.
    Wide,
    /// For programs; docs/schemas has its JSON schema.
    Json,
    /// For programs that people read.
    Yaml,
    /// For tickets.
    Markdown,
    /// For code scanning: SARIF 2.1.0.
    Sarif,
    /// For CI systems that show test reports, in XML.
    Junit,
    /// For GitHub workflows: annotations.
    Github,
}

/// JSON with a line feed at its end.
pub(crate) fn json<T: Serialize>(value: &T) -> anyhow::Result<String> {
    Ok(escape::json(serde_json::to_string_pretty(value)? + "\n"))
}

/// YAML. Where a text holds what a terminal obeys it is JSON, which YAML holds too: its escapes are exact.
pub(crate) fn yaml<T: Serialize>(value: &T) -> anyhow::Result<String> {
    let mut text = serde_saphyr::to_string(value)?;
    if !escape::is_plain(&text) {
        return json(value);
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Fewest columns of a table's last column beside names that stay whole.
const LAST: usize = 24;

/// A table without frames, wrapped to the screen where its width is known.
pub(crate) fn table<H: ToString>(heads: &[H], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_header(heads.iter().map(ToString::to_string))
        .add_rows(rows.map(|row| row.into_iter().map(|cell| escape::line(&cell).into_owned())));
    if let Some(columns) = Screen::current().columns {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(columns).unwrap_or(u16::MAX));
    }
    // Names stay whole where the text in the last column has room beside them.
    let widths = table.column_max_content_widths();
    let names: usize = widths
        .iter()
        .rev()
        .skip(1)
        .map(|width| usize::from(*width) + 2)
        .sum();
    let whole = Screen::current()
        .columns
        .is_some_and(|columns| names + LAST <= columns);
    let last = widths.len().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at < last { 2 } else { 0 }));
        if whole && at < last {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
        .lines()
        .fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// A table in Markdown.
pub(crate) fn markdown_table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &mut dyn Iterator<Item = String>| {
        cells.fold("|".to_owned(), |line, cell| line + " " + &cell + " |") + "\n"
    };
    let mut text = line(&mut heads.iter().map(|head| head.to_lowercase()));
    text += &line(&mut heads.iter().map(|_| "---".to_owned()));
    for row in rows {
        text += &line(&mut row.into_iter().map(|cell| escape::markdown(&cell)));
    }
    text
}

/// Text in a colour, where there is colour.
pub(crate) fn coloured(text: &str, colour: Option<AnsiColor>, screen: Screen) -> String {
    match colour {
        Some(colour) if screen.colour => {
            let style = Style::new().fg_color(Some(colour.into())).bold();
            format!("{style}{text}{style:#}")
        }
        _ => text.to_owned(),
    }
}

/// Text in lines of the screen's width, each with this margin; as it is where there is no width.
pub(crate) fn wrapped(text: &str, margin: &str) -> String {
    let columns = Screen::current().columns.unwrap_or(usize::MAX);
    filled(text, margin, margin, columns)
}

/// Text in lines of so many columns: the first begins with one margin, the others with another. A word that is longer than a
/// line has a line of its own; what stands between backticks is there to be pasted, and is one word, as is a number with its
/// unit.
pub(crate) fn filled(text: &str, first: &str, margin: &str, columns: usize) -> String {
    let text = escape::line(text);
    let mut lines = first.to_owned();
    let mut used = first.chars().count();
    let mut empty = true;
    for word in words(&text) {
        let size = word.chars().count();
        if !empty && used + 1 + size > columns {
            lines = lines + "\n" + margin;
            used = margin.chars().count();
            empty = true;
        }
        if !empty {
            lines.push(' ');
            used += 1;
        }
        lines += &word;
        used += size;
        empty = false;
    }
    lines
}

/// Most words between two backticks.
const QUOTED: usize = 16;

/// Units that stand behind a number.
const UNITS: &[&str] = &["s", "ms", "min", "h", "%"];

/// Whether a word is a number, and the next one its unit, with what may follow it in a sentence.
fn is_measure(number: &str, unit: &str) -> bool {
    let unit = unit.trim_end_matches(|c: char| c.is_ascii_punctuation() && c != '%');
    number.ends_with(|c: char| c.is_ascii_digit()) && UNITS.contains(&unit)
}

/// The words of a text, of which those between backticks are one, and a number and its unit.
fn words(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let all: Vec<_> = text.split_whitespace().collect();
    let ticks = |word: &str| word.matches('`').count() % 2 == 1;
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = all.get(at..).filter(|rest| !rest.is_empty())?;
        let (first, after) = rest.split_first()?;
        let end = after.iter().take(QUOTED).position(|word| ticks(word));
        let size = match end.filter(|_| ticks(first)) {
            Some(end) => end + 2,
            None if after.first().is_some_and(|next| is_measure(first, next)) => 2,
            None => 1,
        };
        at += size;
        Some(match rest.get(..size) {
            Some(several) if size > 1 => Cow::Owned(several.join(" ")),
            _ => Cow::Borrowed(*first),
        })
    })
}
