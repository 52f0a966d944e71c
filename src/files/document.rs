//! From a text to its documents, YAML or JSON, each on its own.
//!
//! The text is cut at the `---` lines before anything is parsed: such a line cannot stand inside of a document, so one
//! that is broken costs only itself. Within a piece, JSON documents may follow each other without any mark, as
//! `kubectl get --watch -o json` and `jq` write them. JSON is told from YAML by how it begins, not by the file's name.

use std::borrow::Cow;

use evenkeel_core::know::Source;
use evenkeel_core::sources::kind::Kind;
use serde_saphyr::options::DuplicateKeyPolicy;

use super::decode::{self, line_of};
use super::strict::{Checked, Json};

/// One document of a file.
pub(super) struct Document<'a> {
    /// Its number, from one; empty documents are not counted.
    pub(super) number: u32,
    /// The line it begins in.
    pub(super) line: u64,
    /// Its JSON, or the line of the fault where known and what is wrong.
    pub(super) json: Result<Cow<'a, str>, Fault>,
}

/// Why a document cannot be read.
pub(super) struct Fault {
    /// The line, counted in the file.
    pub(super) line: u64,
    /// What is wrong.
    pub(super) what: String,
    /// Sources of which objects may be lost with it.
    pub(super) lost: Vec<Source>,
}

/// Calls `each` with every document of a text.
pub(super) fn documents(bytes: &[u8], each: &mut dyn FnMut(Document<'_>)) {
    let mut number = 0;
    for (line, piece) in pieces(bytes) {
        let piece = match decode::text(piece) {
            Ok(piece) => piece,
            Err((within, what)) => {
                number += 1;
                each(Document {
                    number,
                    line,
                    json: Err(Fault {
                        line: line + within - 1,
                        what: what.into(),
                        lost: slices(&String::from_utf8_lossy(piece)),
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
            let json = yaml(piece, line);
            if json.as_ref().is_ok_and(|json| json == "null") {
                number -= 1;
                continue;
            }
            let first = line + piece.lines().take_while(|one| is_blank(one)).count() as u64;
            each(Document {
                number,
                line: first,
                json: json.map(Cow::Owned),
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

/// How `kubectl cluster-info dump` frames the log of a container, which it prints between the lists
/// (`k8s.io/kubectl`, `pkg/cmd/clusterinfo/clusterinfo_dump.go`).
const LOG: (&str, &str) = ("==== START logs for container ", "==== END logs for container ");

/// JSON documents that follow each other. Logs between them are left out. After one that is broken, or text that is no
/// JSON, reading goes on at the next line that begins a document; what lies between is lost.
fn json(piece: &str, line: u64, number: &mut u32, each: &mut dyn FnMut(Document<'_>)) {
    let (mut rest, mut line) = (piece, line);
    loop {
        let start = rest.len() - rest.trim_start().len();
        (rest, line) = advance(rest, line, start);
        if rest.is_empty() {
            return;
        }
        if let Some(name) = rest.strip_prefix(LOG.0).and_then(|rest| rest.lines().next()) {
            let end = format!("\n{}{name}", LOG.1);
            let after = rest.find(&end).map_or(rest.len(), |at| at + end.len());
            (rest, line) = advance(rest, line, after);
            continue;
        }
        *number += 1;
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Checked>();
        let (json, end) = match stream.next() {
            None => return,
            Some(Ok(Checked)) => {
                let end = stream.byte_offset();
                (Ok(Cow::Borrowed(rest.get(..end).unwrap_or(rest))), end)
            }
            Some(Err(error)) => {
                let end = resume(rest);
                let what = if error.is_eof() {
                    "the JSON ends in the middle; was the file cut off?".into()
                } else {
                    format!("no readable JSON: {}", plain(without_place(&error.to_string())))
                };
                let lost = rest.get(..end).unwrap_or(rest);
                let fault = Fault {
                    line: line + (error.line() as u64).max(1) - 1,
                    what: if end < rest.len() {
                        format!("{what}; {} lines were not read", lost.lines().count())
                    } else {
                        what
                    },
                    lost: kinds(lost),
                };
                (Err(fault), end)
            }
        };
        each(Document {
            number: *number,
            line,
            json,
        });
        (rest, line) = advance(rest, line, end);
    }
}

/// What is left of a text after so many bytes, and the line that it begins in.
fn advance(text: &str, line: u64, bytes: usize) -> (&str, u64) {
    let (passed, rest) = text.split_at_checked(bytes).unwrap_or((text, ""));
    (rest, line + line_of(passed.as_bytes(), passed.len()) - 1)
}

/// Where reading goes on after a document that is broken: at the next line that begins an object, or a log. It looks no
/// further than there, or a file of broken lines would be read once for each.
fn resume(text: &str) -> usize {
    let starts = text.match_indices('\n').map(|(at, _)| at + 1);
    let begins = |at: &usize| {
        let line = text.get(*at..).unwrap_or_default();
        line.starts_with('{') || line.starts_with("==")
    };
    starts.into_iter().find(begins).unwrap_or(text.len())
}

/// The sources that a lost text names the kind of.
fn kinds(text: &str) -> Vec<Source> {
    let named = |kind: &Kind| {
        [("", "\""), ("List", "\"")].iter().any(|(list, quote)| {
            let value = format!("{quote}{}{list}{quote}", kind.name);
            text.match_indices(&value).any(|(at, _)| {
                let before = text.get(..at).unwrap_or_default().trim_end();
                before
                    .strip_suffix(':')
                    .is_some_and(|key| key.trim_end().ends_with("\"kind\""))
            })
        })
    };
    let sources = Source::ALL.into_iter();
    sources
        .filter(|source| source.kinds().iter().any(named))
        .collect()
}

fn yaml(piece: &str, line: u64) -> Result<String, Fault> {
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
    serde_saphyr::from_str_with_options::<Json>(piece, options)
        // Written as JSON, which is UTF-8.
        .map(|Json(json)| String::from_utf8(json).unwrap_or_default())
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
                lost: slices(piece),
            }
        })
}

/// EndpointSlices, where a text that cannot be parsed speaks of one.
fn slices(text: &str) -> Vec<Source> {
    let named = text.match_indices("EndpointSlice").any(|(at, _)| {
        let before = text
            .get(..at)
            .unwrap_or_default()
            .trim_end_matches([' ', '"', '\'']);
        before
            .strip_suffix(':')
            .is_some_and(|key| key.trim_end_matches([' ', '"', '\'']).ends_with("kind"))
    });
    if named {
        vec![Source::EndpointSlices]
    } else {
        Vec::new()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Document<'static>> {
        let mut found = Vec::new();
        documents(text.as_bytes(), &mut |document| {
            found.push(Document {
                json: document.json.map(|json| Cow::Owned(json.into_owned())),
                ..document
            });
        });
        found
    }

    #[test]
    fn logs_between_lists_are_left_out() {
        let text = "{\"a\": 1}\n==== START logs for container c of pod x/y ====\n{\"kind\": \"PodList\", \"items\": [\n\
                    words\n==== END logs for container c of pod x/y ====\n{\"b\": 2}\n";
        let found = read(text);
        assert!(found.iter().all(|one| one.json.is_ok()));
        assert_eq!(found.iter().map(|one| one.line).collect::<Vec<_>>(), [1, 6]);
    }

    #[test]
    fn after_a_broken_document_reading_goes_on_and_what_was_lost_is_told() {
        let text = "{\"a\": 1}\n{\n  \"kind\": \"ServiceList\",\n  \"items\": [ x\n}\n{\"b\": 2}\n";
        let found = read(text);
        assert_eq!(found.len(), 3);
        let fault = found[1].json.as_ref().err().unwrap();
        assert_eq!(
            (fault.line, fault.lost.as_slice()),
            (4, [Source::Services].as_slice())
        );
        assert!(fault.what.ends_with("4 lines were not read"), "{}", fault.what);
        assert_eq!((found[2].line, found[2].json.is_ok()), (6, true));
    }

    #[test]
    fn a_document_that_is_cut_off_is_the_last() {
        let found = read("{\"kind\": \"EndpointSliceList\",\n\"items\": [");
        let fault = found[0].json.as_ref().err().unwrap();
        assert_eq!(fault.lost, [Source::EndpointSlices]);
        assert!(fault.what.contains("cut off"));
    }
}
