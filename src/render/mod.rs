//! How answers look: tables for people, JSON and YAML for programs, Markdown for tickets.
//!
//! What is shown quotes objects and files: it is made harmless where it is laid out ([`crate::escape`]).
//!
//! On a terminal text is wrapped to its width and severities are coloured. Anywhere else a row is one line without
//! colour, so that `grep` finds what it looks for. `NO_COLOR` is respected.

pub(crate) mod dataplane;
pub(crate) mod findings;
pub(crate) mod path;
#[cfg(test)]
pub(crate) mod tests;

use std::io::IsTerminal;

use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::escape;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// One row each.
    Table,
    /// With every column.
    Wide,
    /// For programs.
    Json,
    /// For programs that people read.
    Yaml,
    /// For tickets.
    Markdown,
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

/// A table without frames, wrapped to the terminal where there is one.
pub(crate) fn table<H: ToString>(heads: &[H], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(heads.iter().map(ToString::to_string))
        .add_rows(rows.map(|row| row.into_iter().map(|cell| escape::line(&cell).into_owned())));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
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

/// Whether standard output takes colour.
fn has_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Text in a colour, where there is colour.
pub(crate) fn coloured(text: &str, colour: Option<AnsiColor>) -> String {
    match colour {
        Some(colour) if has_colour() => {
            let style = Style::new().fg_color(Some(colour.into())).bold();
            format!("{style}{text}{style:#}")
        }
        _ => text.to_owned(),
    }
}

/// Text in lines of the terminal's width, each with this margin; as it is where there is no terminal.
pub(crate) fn wrapped(text: &str, margin: &str) -> String {
    let width = Table::new().width().map_or(usize::MAX, usize::from);
    let text = escape::line(text);
    let mut lines = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let size = word.chars().count();
        if used > 0 && used + 1 + size > width {
            lines.push('\n');
            used = 0;
        }
        let lead = if used == 0 { margin } else { " " };
        lines = lines + lead + word;
        used += lead.chars().count() + size;
    }
    lines
}
