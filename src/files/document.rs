//! From a text to its documents, YAML or JSON, each on its own.
//!
//! The text is cut at the `---` lines before anything is parsed: such a line cannot stand inside of a document, so one
//! that is broken costs only itself. Within a piece, JSON documents may follow each other without any mark, as
//! `kubectl get --watch -o json` and `jq` write them. JSON is recognised by how it begins, not by the file's name.

use std::borrow::Cow;

use evenkeel_core::know::Source;
use evenkeel_core::sources::kind::Kind;
use serde_saphyr::MessageFormatter as _;

use super::decode;
use super::locate;
use super::options::{ANCHORS, DEPTH, options};
use super::strict::{Checked, Json};

/// One document of a file.
pub(super) struct Document<'a> {
    /// Its number, from one; empty documents are not counted.
    pub(super) number: u32,
    /// What is left of the file where it begins, or the document itself; empty where that is no text.
    pub(super) text: &'a str,
    /// Whether it is JSON.
    pub(super) is_json: bool,
    /// The byte of the file at which its text begins.
    pub(super) start: usize,
    /// It as JSON, or what is wrong.
    pub(super) json: Result<Cow<'a, str>, Fault>,
}

/// Why a document cannot be read.
pub(super) struct Fault {
    /// At which byte of the file.
    pub(super) byte: usize,
    /// What is wrong.
    pub(super) what: String,
    /// Sources of which objects may be lost with it.
    pub(super) lost: Vec<Source>,
}

/// Calls `each` with every document of a text.
pub(super) fn documents(bytes: &[u8], each: &mut dyn FnMut(Document<'_>)) {
    let mut number = 0;
    for (start, piece) in pieces(bytes) {
        let piece = match decode::text(piece) {
            Ok(piece) => piece,
            Err((within, what)) => {
                number += 1;
                each(Document {
                    number,
                    text: "",
                    is_json: false,
                    start,
                    json: Err(Fault {
                        byte: start + within,
                        what: what.into(),
                        lost: slices(&String::from_utf8_lossy(piece)),
                    }),
                });
                continue;
            }
        };
        let body = piece.trim_start();
        if is_json(body) {
            json(piece, start, &mut number, each);
        } else if !is_blank(piece) {
            number += 1;
            let json = yaml(piece, start);
            if json.as_ref().is_ok_and(|json| json == "null") {
                number -= 1;
                continue;
            }
            each(Document {
                number,
                text: piece,
                is_json: false,
                start,
                json: json.map(Cow::Owned),
            });
        }
    }
}

/// What lies between `---` lines, each with the byte it begins at.
fn pieces(bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    for content in bytes.split_inclusive(|byte| *byte == b'\n') {
        if let Some(rest) = content.strip_prefix(b"---")
            && rest.first().is_none_or(u8::is_ascii_whitespace)
        {
            pieces.push((start, bytes.get(start..at).unwrap_or_default()));
            // What follows on the same line (a comment, a value, a tag) belongs to the new document.
            start = at + 3;
        }
        at += content.len();
    }
    pieces.push((start, bytes.get(start..).unwrap_or_default()));
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
fn json(piece: &str, start: usize, number: &mut u32, each: &mut dyn FnMut(Document<'_>)) {
    let mut at = 0;
    loop {
        let rest = piece.get(at..).unwrap_or_default();
        at += rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        if rest.is_empty() {
            return;
        }
        if let Some(name) = rest.strip_prefix(LOG.0).and_then(|rest| rest.lines().next()) {
            let end = format!("\n{}{name}", LOG.1);
            at += rest.find(&end).map_or(rest.len(), |at| at + end.len());
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
                let lost = rest.get(..end).unwrap_or(rest);
                let what = no_json(&error);
                let fault = Fault {
                    byte: start + at + byte_of(rest, error.line(), error.column()),
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
            text: rest.get(..end).unwrap_or(rest),
            is_json: true,
            start: start + at,
            json,
        });
        at += end;
    }
}

/// The byte of a line and a column, which counts bytes, as the JSON parser tells them; both begin with 1.
fn byte_of(text: &str, line: usize, column: usize) -> usize {
    let lines = text.split_inclusive('\n').take(line.saturating_sub(1));
    let before: usize = lines.map(str::len).sum();
    (before + column.saturating_sub(1)).min(text.len())
}

/// What is wrong with a text that is no JSON.
fn no_json(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "the JSON ends in the middle; was the file cut off?".into();
    }
    // Where it stands is shown by line and column of the file, not of the document.
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = match text.strip_suffix(&place).unwrap_or(&text) {
        "recursion limit exceeded" => "it is nested too deeply",
        what => what,
    };
    format!("no readable JSON: {what}")
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

fn yaml(piece: &str, start: usize) -> Result<String, Fault> {
    serde_saphyr::from_str_with_options::<Json>(piece, options())
        // Written as JSON, which is UTF-8.
        .map(|Json(json)| String::from_utf8(json).unwrap_or_default())
        .map_err(|error| {
            let place = error.location();
            let byte = place.and_then(|place| locate::byte(piece, place)).unwrap_or(0);
            let line = piece.get(..byte).unwrap_or_default();
            let line = line.rfind('\n').map_or(0, |at| at + 1);
            let line = piece.get(line..).and_then(|rest| rest.lines().next());
            let tab = line.is_some_and(|text| text.trim_start_matches(' ').starts_with('\t'));
            let what = if tab {
                "a tab indents the line; YAML is indented with spaces".into()
            } else if piece.contains("{{") && piece.contains("}}") {
                "no readable YAML but, by its {{ }}, a template; render it first, as with `helm template`"
                    .into()
            } else {
                format!("no readable YAML: {}", no_yaml(&error))
            };
            Fault {
                byte: start + byte,
                what,
                lost: slices(piece),
            }
        })
}

/// What is wrong with a text that is no YAML: in our words what a person can act on, else in the parser's.
fn no_yaml(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    use serde_saphyr::budget::BudgetBreach;
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => no_yaml(error),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is written twice"),
        Error::DuplicateMappingKey { key: None, .. } => "a key is written twice".into(),
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => format!("it is nested more than {DEPTH} levels deep"),
            BudgetBreach::Anchors { .. } => format!("it has more than {ANCHORS} anchors"),
            BudgetBreach::Aliases { .. } => "its aliases make it grow beyond what is read".into(),
            _ => "it is larger than what is read".into(),
        },
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "its aliases make it grow beyond what is read".into()
        }
        Error::NullIntoString { .. } => "a key is null; keys are texts".into(),
        Error::Unexpected {
            expected: "string scalar",
            ..
        } => "a key is a list or a mapping; keys are texts".into(),
        error => {
            let text = serde_saphyr::UserMessageFormatter.format_message(error);
            if text == "recursion limit exceeded" {
                return "it is nested too deeply".into();
            }
            shortened(&text.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}

/// Most characters of a file, or of a parser's message about it, that are quoted.
const SHOWN: usize = 240;

/// The beginning of a text, where it is long.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(SHOWN).collect()
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

#[cfg(test)]
mod tests {
    use super::super::locate::LineColumn;
    use super::*;

    fn read(text: &str) -> Vec<(u64, Result<(), Fault>)> {
        let mut found = Vec::new();
        documents(text.as_bytes(), &mut |document| {
            found.push((line(text, document.start), document.json.map(drop)));
        });
        found
    }

    fn line(text: &str, byte: usize) -> u64 {
        LineColumn::FIRST.on(text.as_bytes(), 0, byte).line
    }

    #[test]
    fn logs_between_lists_are_left_out() {
        let text = "{\"a\": 1}\n==== START logs for container c of pod x/y ====\n{\"kind\": \"PodList\", \"items\": [\n\
                    words\n==== END logs for container c of pod x/y ====\n{\"b\": 2}\n";
        let found = read(text);
        assert!(found.iter().all(|one| one.1.is_ok()));
        assert_eq!(found.iter().map(|one| one.0).collect::<Vec<_>>(), [1, 6]);
    }

    #[test]
    fn after_a_broken_document_reading_goes_on_and_what_was_lost_is_reported() {
        let text = "{\"a\": 1}\n{\n  \"kind\": \"ServiceList\",\n  \"items\": [ x\n}\n{\"b\": 2}\n";
        let found = read(text);
        assert_eq!(found.len(), 3);
        let fault = found[1].1.as_ref().err().unwrap();
        assert_eq!(
            (line(text, fault.byte), fault.lost.as_slice()),
            (4, [Source::Services].as_slice())
        );
        assert!(fault.what.ends_with("4 lines were not read"), "{}", fault.what);
        assert_eq!((found[2].0, found[2].1.is_ok()), (6, true));
    }

    #[test]
    fn a_document_that_is_cut_off_is_the_last() {
        let found = read("{\"kind\": \"EndpointSliceList\",\n\"items\": [");
        let fault = found[0].1.as_ref().err().unwrap();
        assert_eq!(fault.lost, [Source::EndpointSlices]);
        assert!(fault.what.contains("cut off"));
    }
}
