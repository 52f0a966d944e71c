//! Small YAML files that people write for this program, such as its settings.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_saphyr::MessageFormatter;

use crate::suggest::did_you_mean;

/// The largest such file, in bytes.
const MOST: u64 = 1 << 20;

/// Reads a file; one with nothing but comments in it holds the default. A mistake is named with line and column.
pub(super) fn read<T: DeserializeOwned + Default>(path: &Path) -> anyhow::Result<T> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
    if size.len() > MOST {
        bail!("{shown} is larger than {MOST} bytes");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(blank) {
        return Ok(T::default());
    }
    serde_saphyr::from_str(&text).map_err(|error| {
        let place = error.location().map_or_else(String::new, |at| {
            format!(" at line {}, column {}", at.line(), at.column())
        });
        let said = serde_saphyr::UserMessageFormatter.format_message(&error);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        anyhow!("{shown}{place}: {}", explained(&said))
    })
}

/// What the parser says, in the words of people who write such files, with the name that may be meant.
fn explained(said: &str) -> String {
    let said = said
        .replace("expected sequence start", "expected a list, such as [NAME, NAME]")
        .replace("expected mapping start", "expected fields, such as NAME: VALUE")
        .replace("unknown variant", "unknown value");
    let hint = said.split_once("expected one of ").map(|(before, known)| {
        let word = before.split('`').nth(1).unwrap_or_default();
        did_you_mean(word, known.split(", ").map(|one| one.trim_matches('`')))
    });
    // Of one name that is known, it is none of several.
    let alone = said
        .split_once("expected one of ")
        .is_some_and(|one| !one.1.contains(", "));
    let said = if alone {
        said.replace("expected one of ", "expected ")
    } else {
        said
    };
    said + &hint.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing("", Ok(0))]
    #[case::comments("# nothing yet\n\n", Ok(0))]
    #[case::one("a: 1\n", Ok(1))]
    #[case::broken("a: 1\nb: [\n", Err("line 2"))]
    #[case::no_fields("- a\n", Err("expected fields, such as NAME: VALUE"))]
    #[case::of_another_type("a: 1\nb: many\n", Err("line 2, column 4"))]
    fn files(#[case] text: &str, #[case] expected: Result<usize, &str>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let read = read::<BTreeMap<String, u32>>(file.path());
        match expected {
            Ok(entries) => assert_eq!(read.unwrap().len(), entries),
            Err(place) => {
                let said = read.unwrap_err().to_string();
                assert!(said.contains(place), "{said}");
            }
        }
    }
}
