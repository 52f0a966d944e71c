//! From a text to its documents, YAML or JSON, each on its own.
//!
//! The text is cut at the `---` lines before anything is parsed: such a line cannot stand inside of a document, so one
//! that is broken costs only itself. Within a piece, JSON documents may follow each other without any mark, as
//! `kubectl get --watch -o json` and `jq` write them. JSON is told from YAML by how it begins, not by the file's name.

use serde_saphyr::options::DuplicateKeyPolicy;

use super::decode::{self, line_of};
use super::strict::Strict;

/// One document of a file.
pub(super) struct Document {
    /// Its number, from one; empty documents are not counted.
    pub(super) number: u32,
    /// The line it begins in.
    pub(super) line: u64,
    /// Its value, or the line of the fault where known and what is wrong.
    pub(super) value: Result<serde_json::Value, Fault>,
}

/// Why a document cannot be read.
pub(super) struct Fault {
    /// The line, counted in the file.
    pub(super) line: u64,
    /// What is wrong.
    pub(super) what: String,
    /// Whether its text speaks of EndpointSlices: then some of them are lost with it.
    pub(super) has_slices: bool,
}

/// Calls `each` with every document of a text.
pub(super) fn documents(bytes: &[u8], each: &mut dyn FnMut(Document)) {
    let mut number = 0;
    for (line, piece) in pieces(bytes) {
        let piece = match decode::text(piece) {
            Ok(piece) => piece,
            Err((within, what)) => {
                number += 1;
                each(Document {
                    number,
                    line,
                    value: Err(Fault {
                        line: line + within - 1,
                        what: what.into(),
                        has_slices: has_slices(&String::from_utf8_lossy(piece)),
                    }),
                });
                continue;
            }
        };
        let body = piece.trim_start();
        if is_json(body) {
            json(piece, line, &mut number, each);
        } else if !is_blank(piece) {
            number += 1;
            let value = yaml(piece, line);
            if matches!(value, Ok(serde_json::Value::Null)) {
                number -= 1;
                continue;
            }
            let first = line + piece.lines().take_while(|one| is_blank(one)).count() as u64;
            each(Document {
                number,
                line: first,
                value,
            });
        }
    }
}

/// What lies between `---` lines, each with the line it begins in.
fn pieces(bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (line, content) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        if let Some(rest) = content.strip_prefix(b"---")
            && rest.first().is_none_or(u8::is_ascii_whitespace)
        {
            pieces.push((start_line, bytes.get(start..at).unwrap_or_default()));
            // What follows on the same line (a comment, a value, a tag) belongs to the new document.
            (start, start_line) = (at + 3, line);
        }
        at += content.len();
    }
    pieces.push((start_line, bytes.get(start..).unwrap_or_default()));
    pieces
}

/// Nothing but white space, comments, directives and end marks.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line.starts_with('%') || line == "..."
    })
}

fn is_json(body: &str) -> bool {
    body.strip_prefix('{')
        .is_some_and(|rest| rest.trim_start().starts_with(['"', '}']))
        || body
            .strip_prefix('[')
            .is_some_and(|rest| rest.trim_start().starts_with(['{', ']']))
}

fn json(piece: &str, line: u64, number: &mut u32, each: &mut dyn FnMut(Document)) {
    let mut stream = serde_json::Deserializer::from_str(piece).into_iter::<Strict>();
    loop {
        let start = stream.byte_offset();
        let rest = piece.get(start..).unwrap_or_default();
        let skipped = rest.len() - rest.trim_start().len();
        let Some(next) = stream.next() else {
            return;
        };
        *number += 1;
        let first = line + line_of(piece.as_bytes(), start + skipped) - 1;
        let failed = next.is_err();
        each(Document {
            number: *number,
            line: first,
            value: next.map(|strict| strict.0).map_err(|error| Fault {
                line: line + (error.line() as u64).max(1) - 1,
                what: if error.is_eof() {
                    "the JSON ends in the middle; was the file cut off?".into()
                } else {
                    format!("no readable JSON: {}", plain(without_place(&error.to_string())))
                },
                has_slices: has_slices(rest),
            }),
        });
        if failed {
            // There is no mark to begin again at.
            return;
        }
    }
}

fn yaml(piece: &str, line: u64) -> Result<serde_json::Value, Fault> {
    let options = serde_saphyr::options! {
        // The size of a file is bounded before; these bound what its text may grow into.
        budget: serde_saphyr::budget! {
            max_events: 200_000_000,
            max_nodes: 100_000_000,
            max_total_scalar_bytes: usize::MAX,
            max_depth: 100,
            max_documents: 2,
            max_aliases: 10_000,
            max_anchors: 10_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 200_000 },
        duplicate_keys: DuplicateKeyPolicy::Error,
        // As the API server's own decoder reads them.
        legacy_octal_numbers: true,
        emit_comments: false,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Strict>(piece, options)
        .map(|strict| strict.0)
        .map_err(|error| {
            // Counted anew: YAML ends a line at a lone carriage return, editors and all other numbers here do not.
            let within = error.location().map_or(1, |place| {
                let before = piece.chars().zip(0..place.span().offset());
                1 + before.filter(|one| one.0 == '\n').count() as u64
            });
            let tab = piece
                .lines()
                .nth(usize::try_from(within - 1).unwrap_or(usize::MAX))
                .is_some_and(|text| text.starts_with('\t') || text.trim_start_matches(' ').starts_with('\t'));
            let what = if tab {
                "a tab indents the line; YAML is indented with spaces".into()
            } else if piece.contains("{{") && piece.contains("}}") {
                "no readable YAML but, by its {{ }}, a template; render it first, as with `helm template`"
                    .into()
            } else {
                format!("no readable YAML: {}", plain(&error.to_string()))
            };
            Fault {
                line: line + within - 1,
                what,
                has_slices: has_slices(piece),
            }
        })
}

/// Whether a text that cannot be parsed speaks of EndpointSlices.
fn has_slices(text: &str) -> bool {
    text.match_indices("EndpointSlice").any(|(at, _)| {
        let before = text
            .get(..at)
            .unwrap_or_default()
            .trim_end_matches([' ', '"', '\'']);
        before
            .strip_suffix(':')
            .is_some_and(|key| key.trim_end_matches([' ', '"', '\'']).ends_with("kind"))
    })
}

/// A parser's words on one line, without its place, which is told apart, and without its advice to programmers.
fn plain(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    let line = match line.split_once(": ") {
        Some((place, rest)) if place.starts_with("line ") => rest,
        _ => line,
    };
    let line = line.split(" at line ").next().unwrap_or(line);
    let line = line.split(", set DuplicateKeyPolicy").next().unwrap_or(line);
    if line.contains("alias") && line.contains("limit") {
        return format!("its aliases make it grow beyond what is read ({line})");
    }
    for (theirs, ours) in WORDS {
        if line.contains(theirs) {
            return ours.into();
        }
    }
    line.chars().take(240).collect()
}

/// What the parser says of its own types and bounds, and what a person can act on.
const WORDS: [(&str, &str); 5] = [
    ("recursion limit exceeded", "it is nested too deeply"),
    ("budget breached: Depth", "it is nested more than 100 levels deep"),
    ("budget breached: Anchors", "it has more than 10000 anchors"),
    (
        "cannot deserialize null into string",
        "a key is null; keys are texts",
    ),
    (
        "expected string scalar",
        "a key is a list or a mapping; keys are texts",
    ),
];

/// `serde` errors end with ` at line 1 column 2`, counted where nobody looks.
pub(super) fn without_place(text: &str) -> &str {
    text.rfind(" at line ")
        .map_or(text, |at| text.get(..at).unwrap_or(text))
}
