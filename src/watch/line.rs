//! Lines of a watch and pages of a list, decoded as far as a pump needs: objects stay bytes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::line_prefix::Beginning;
use super::link::LONGEST_LINE;
use crate::client::ServerStatus;

/// The annotation of the bookmark that ends the initial events (`k8s.io/apimachinery`, `meta/v1`).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WatchLine {
    /// An object is there or has changed; where in the line it stands, and its version.
    Object(Range<usize>, Option<String>),
    /// An object is as before; its version.
    Repeat(String),
    /// An object is gone.
    Gone {
        /// Empty for kinds without a namespace.
        namespace: String,
        name: String,
        version: Option<String>,
    },
    /// Everything up to this version has been sent; whether that ends the initial events.
    Bookmark(String, bool),
    /// The server reports an error.
    Error {
        code: u16,
        message: String,
        after: Option<Duration>,
    },
    /// An object is there, has changed or is gone, and its text is too long to be read.
    TooLong {
        /// Whether it is gone.
        gone: bool,
        /// Empty for kinds without a namespace.
        namespace: String,
        name: String,
        version: Option<String>,
    },
    /// Not understood.
    Garbled(String),
}

#[derive(Deserialize)]
struct WatchEnvelope<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bare {
    metadata: ObjectMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectMeta {
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    resource_version: Option<String>,
}

#[derive(Deserialize)]
struct Mark {
    metadata: MarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarkMeta {
    resource_version: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Namespace and name of an object; empty where it does not say.
pub(super) fn key(object: &[u8]) -> (String, String) {
    serde_json::from_slice::<Bare>(object).map_or_else(
        |_| (String::new(), String::new()),
        |bare| {
            let ObjectMeta { namespace, name, .. } = bare.metadata;
            (namespace.unwrap_or_default(), name.unwrap_or_default())
        },
    )
}

/// The labels of an object; none where they cannot be read.
pub(super) fn labels(object: &[u8]) -> Option<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Labelled {
        metadata: Labels,
    }
    #[derive(Deserialize)]
    struct Labels {
        #[serde(default)]
        labels: Option<BTreeMap<String, String>>,
    }
    let labelled: Labelled = serde_json::from_slice(object).ok()?;
    Some(labelled.metadata.labels.unwrap_or_default())
}

/// Decodes a line.
pub(super) fn read(line: &[u8]) -> WatchLine {
    usual(line).unwrap_or_else(|| unusual(line))
}

/// An object that is there or has changed, cut out of a line as API servers write it. Whether it is one is not looked at.
pub(super) fn cut(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"{\"type\":\"")?;
    let rest = rest
        .strip_prefix(b"MODIFIED")
        .or_else(|| rest.strip_prefix(b"ADDED"))?;
    rest.strip_prefix(b"\",\"object\":")?.strip_suffix(b"}")
}

/// A line as API servers write it: its object is found without reading it twice.
fn usual(line: &[u8]) -> Option<WatchLine> {
    let object = cut(line)?;
    // Nothing may follow the object, else this is no such line.
    let bare: Bare = serde_json::from_slice(object).ok()?;
    let end = line.len() - 1;
    Some(WatchLine::Object(
        end - object.len()..end,
        bare.metadata.resource_version,
    ))
}

/// Any line, however it is written.
fn unusual(line: &[u8]) -> WatchLine {
    let envelope: WatchEnvelope<'_> = match serde_json::from_slice(line) {
        Ok(envelope) => envelope,
        Err(_) if line.len() >= LONGEST_LINE => return too_long(line),
        Err(error) => return WatchLine::Garbled(error.to_string()),
    };
    let object = envelope.object.get();
    let bare = || serde_json::from_str::<Bare>(object).map(|bare| bare.metadata);
    match envelope.r#type {
        "ADDED" | "MODIFIED" => {
            // An object whose metadata cannot be read is still an object: the core says what is wrong with it.
            let version = bare().ok().and_then(|meta| meta.resource_version);
            WatchLine::Object(within(line, object), version)
        }
        "DELETED" => match bare() {
            Ok(ObjectMeta {
                namespace,
                name: Some(name),
                resource_version,
            }) => WatchLine::Gone {
                namespace: namespace.unwrap_or_default(),
                name,
                version: resource_version,
            },
            Ok(_) => WatchLine::Garbled("a deleted object without a name".into()),
            Err(error) => WatchLine::Garbled(format!("a deleted object: {error}")),
        },
        "BOOKMARK" => match serde_json::from_str::<Mark>(object) {
            Ok(Mark { metadata }) => {
                let end = metadata
                    .annotations
                    .is_some_and(|notes| notes.get(INITIAL_EVENTS_END).is_some_and(|value| value == "true"));
                WatchLine::Bookmark(metadata.resource_version, end)
            }
            Err(error) => WatchLine::Garbled(format!("a bookmark: {error}")),
        },
        "ERROR" => {
            let status: ServerStatus = serde_json::from_str(object).unwrap_or_default();
            WatchLine::Error {
                after: status.after(),
                code: status.code.unwrap_or(500),
                message: status.message.unwrap_or_else(|| object.to_owned()),
            }
        }
        other => WatchLine::Garbled(format!("an event of type {other:?}")),
    }
}

/// A line of which only the beginning was kept: it says which object it is about, as servers write metadata first.
fn too_long(line: &[u8]) -> WatchLine {
    let Beginning {
        event,
        namespace,
        name,
        version,
    } = Beginning::of(line);
    if name.is_empty() || !matches!(&*event, "ADDED" | "MODIFIED" | "DELETED") {
        return WatchLine::Garbled(format!("a line of more than {} MiB", LONGEST_LINE >> 20));
    }
    WatchLine::TooLong {
        gone: event == "DELETED",
        namespace,
        name,
        version: (!version.is_empty()).then_some(version),
    }
}

/// Where a part that was borrowed from a text stands in it.
fn within(whole: &[u8], part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

#[derive(Deserialize)]
struct ListBody<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: Option<String>,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WatchPage {
    /// Where in the body its items stand.
    pub(super) items: Vec<Range<usize>>,
    /// The version of the whole list.
    pub(super) version: String,
    /// The token of the next page; empty at the end.
    pub(super) next: String,
}

/// Decodes a page.
pub(super) fn page(body: &[u8]) -> Result<WatchPage, String> {
    let list: ListBody<'_> = serde_json::from_slice(body).map_err(|error| format!("not a list: {error}"))?;
    let items = list.items.unwrap_or_default();
    Ok(WatchPage {
        items: items.iter().map(|item| within(body, item.get())).collect(),
        version: list
            .metadata
            .resource_version
            .ok_or("a list without a resourceVersion")?,
        next: list.metadata.next.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn objects_stay_bytes() {
        let line = br#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"7"},"spec":{}}}"#;
        let WatchLine::Object(at, version) = read(line) else {
            unreachable!()
        };
        assert_eq!(
            line.get(at),
            Some(br#"{"metadata":{"name":"a","resourceVersion":"7"},"spec":{}}"#.as_slice())
        );
        assert_eq!(version.as_deref(), Some("7"));
    }

    #[rstest]
    #[case::as_servers_write_it(br#"{"type":"MODIFIED","object":{"metadata":{"resourceVersion":"7"}}}"#)]
    #[case::with_spaces(br#"{"type": "MODIFIED", "object": {"metadata":{"resourceVersion":"7"}} }"#)]
    #[case::the_other_way(br#"{"object":{"metadata":{"resourceVersion":"7"}},"type":"MODIFIED"}"#)]
    #[case::with_more(br#"{"type":"MODIFIED","object":{"metadata":{"resourceVersion":"7"}},"more":{}}"#)]
    fn an_object_is_found_however_a_line_is_written(#[case] line: &[u8]) {
        let WatchLine::Object(at, version) = read(line) else {
            unreachable!()
        };
        let object = br#"{"metadata":{"resourceVersion":"7"}}"#.as_slice();
        assert_eq!((line.get(at), version.as_deref()), (Some(object), Some("7")));
    }

    #[rstest]
    #[case::deleted(
        r#"{"type":"DELETED","object":{"metadata":{"name":"a","namespace":"n","resourceVersion":"8"}}}"#,
        WatchLine::Gone { namespace: "n".into(), name: "a".into(), version: Some("8".into()) }
    )]
    #[case::bookmark(
        r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}"#,
        WatchLine::Bookmark("9".into(), false)
    )]
    #[case::end(
        r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
        WatchLine::Bookmark("9".into(), true)
    )]
    #[case::error(
        r#"{"type":"ERROR","object":{"code":429,"message":"busy","details":{"retryAfterSeconds":3}}}"#,
        WatchLine::Error { code: 429, message: "busy".into(), after: Some(Duration::from_secs(3)) }
    )]
    #[case::broken_metadata(r#"{"type":"MODIFIED","object":{"metadata":7}}"#, WatchLine::Object(28..42, None))]
    fn lines_are_told_apart(#[case] line: &str, #[case] said: WatchLine) {
        assert_eq!(read(line.as_bytes()), said);
    }

    #[rstest]
    #[case::no_json(b"{\"type\":\"ADDED\",\"obj")]
    #[case::control(b"{\"type\":\"ADDED\",\"object\":{\"a\":\"\0\"}}")]
    #[case::not_utf8(b"{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"\xff\"}}}")]
    #[case::new_type(br#"{"type":"MOVED","object":{}}"#)]
    #[case::nameless(br#"{"type":"DELETED","object":{"metadata":{}}}"#)]
    fn what_is_not_understood_is_listed(#[case] line: &[u8]) {
        assert!(
            matches!(read(line), WatchLine::Garbled(_)),
            "{}",
            line.escape_ascii()
        );
    }

    #[test]
    fn of_a_line_that_is_too_long_the_beginning_counts() {
        let long = |event: &str, name: &str| {
            let metadata = format!(
                r#"{{"name":"{name}","generateName":null,"namespace":"n","uid":"u","resourceVersion":"8""#
            );
            let mut line = format!(
                r#"{{"type":"{event}","object":{{"kind":"Pod","apiVersion":"v1","metadata":{metadata},"labels":{{"a":""#
            );
            line += &"x".repeat(LONGEST_LINE - line.len());
            line.into_bytes()
        };
        let said = |gone| WatchLine::TooLong {
            gone,
            namespace: "n".into(),
            name: "a".into(),
            version: Some("8".into()),
        };
        assert_eq!(read(&long("MODIFIED", "a")), said(false));
        assert_eq!(read(&long("DELETED", "a")), said(true));
        assert!(matches!(read(&long("MODIFIED", "")), WatchLine::Garbled(_)));
        assert!(matches!(read(&long("BOOKMARK", "a")), WatchLine::Garbled(_)));
    }

    #[test]
    fn pages_say_where_their_items_are() {
        let body = br#"{"metadata":{"resourceVersion":"5","continue":"c"},"items":[{"a":1},{"b":2}]}"#;
        let page = page(body).unwrap();
        let items: Vec<_> = page.items.iter().map(|at| &body[at.clone()]).collect();
        assert_eq!(items, [br#"{"a":1}"#, br#"{"b":2}"#]);
        assert_eq!((page.version.as_str(), page.next.as_str()), ("5", "c"));
        assert!(super::page(b"{").is_err());
        assert!(super::page(b"{}").is_err());
    }
}
