//! What could not be read when the files were made: `unreadable.json` of a collected folder.
//!
//! Such an entry counts whatever else the files hold: its source is not known beyond the namespaces that it names, even
//! where objects of it are there.

use evenkeel_core::know::Source;
use serde::Deserialize;
use serde_json::Value;

/// One source that was refused, wholly or outside of some namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// The source.
    pub(super) source: Source,
    /// Why.
    pub(super) reason: String,
    /// Namespaces in which it is complete.
    pub(super) read_in: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RefusedEntry {
    source: String,
    reason: String,
    #[serde(default)]
    read_in: Vec<String>,
    #[serde(rename = "apiVersion")]
    _version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
}

/// Reads an entry.
pub(super) fn refused(item: Value) -> Result<Refused, String> {
    let entry: RefusedEntry = serde_json::from_value(item).map_err(|error| error.to_string())?;
    let source = Source::ALL
        .into_iter()
        .find(|source| source.name() == entry.source);
    let Some(source) = source else {
        let names: Vec<_> = Source::ALL.map(Source::name).to_vec();
        return Err(format!(
            "source: `{}`; expected one of {}",
            entry.source,
            names.join(", ")
        ));
    };
    Ok(Refused {
        source,
        reason: entry.reason,
        read_in: entry.read_in,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({"source": "nodes", "reason": "no"}), Ok((Source::Nodes, 0)))]
    #[case(json!({"source": "pods", "reason": "no", "readIn": ["a", "b"]}), Ok((Source::Pods, 2)))]
    #[case(json!({"source": "secrets", "reason": "no"}), Err("source: `secrets`; expected one of services"))]
    #[case(json!({"source": "nodes"}), Err("missing field `reason`"))]
    #[case(json!({"source": "nodes", "reason": "no", "readin": []}), Err("unknown field `readin`"))]
    fn entries(#[case] item: Value, #[case] expected: Result<(Source, usize), &str>) {
        match (refused(item), expected) {
            (Ok(entry), Ok(wanted)) => assert_eq!((entry.source, entry.read_in.len()), wanted),
            (Err(why), Err(wanted)) => assert!(why.starts_with(wanted), "{why}"),
            (found, wanted) => panic!("{found:?} is not {wanted:?}"),
        }
    }
}
