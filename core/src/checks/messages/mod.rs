//! Every message and every advice of every check in one reviewed file, `snapshots/…__messages__all.snap`.
//!
//! Each check gives examples of its evidence (`Check::examples`): the path checks from connections at random, the others by
//! hand, in an `examples()` beside the type. What the examples must show is read from the type itself: every variant of its
//! enums, every `Option` both ways, every `bool` both ways. So a new variant without an example fails here.

mod scenes;
mod shapes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::ALL;
use crate::judge::{Case, Check, Datum, MESSAGE, Verdict};
pub(super) use scenes::by_scenes;
use shapes::{Shape, demands, has, shapes};

fn cases(check: &Check) -> Vec<(Verdict, Case)> {
    let all = (check.examples)().into_iter();
    all.filter_map(|verdict| match &verdict {
        Verdict::AtRisk(case) | Verdict::Violated(case) => Some((verdict.clone(), case.clone())),
        Verdict::Met | Verdict::NotApplicable(_) | Verdict::Unknown(_) => None,
    })
    .collect()
}

/// Every type in the files of the checks, by its name: a name stands for one type of the crate.
#[expect(clippy::disallowed_methods, reason = "the types are read from their source")]
fn types() -> BTreeMap<String, Shape> {
    let mut todo = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checks")];
    let mut types = BTreeMap::new();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|end| end == "rs") {
            types.extend(shapes(&std::fs::read_to_string(path).unwrap()));
        }
    }
    types
}

#[test]
fn every_variant_has_an_example() {
    let types = types();
    let mut missing = Vec::new();
    for check in ALL {
        let cases = cases(check);
        let evidence: BTreeSet<&str> = cases.iter().map(|(_, case)| case.type_name()).collect();
        assert!(!evidence.is_empty(), "{}: no example", check.id);
        let mut demanded = BTreeSet::new();
        for name in evidence {
            assert!(types.contains_key(name), "{}: no type {name}", check.id);
            // As `Debug` of a case prints its evidence.
            demands(&types, "explain", name, 6, &mut demanded);
        }
        let all: Vec<String> = cases.iter().map(|(_, case)| format!("{case:?}")).collect();
        let gone = demanded
            .into_iter()
            .filter(|one| !all.iter().any(|text| has(text, one)));
        missing.extend(gone.map(|one| format!("{}: {one}", check.id)));
    }
    assert!(missing.is_empty(), "no example shows\n{}", missing.join("\n"));
}

/// A text without the numbers and names that differ from example to example.
fn pattern(text: &str, case: &Case) -> String {
    let mut names: Vec<String> = case
        .evidence()
        .into_iter()
        .filter_map(|one| match one.value {
            Datum::Text(text) => Some(text.to_string()),
            Datum::Number(_) => None,
        })
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let mut text = text.to_owned();
    for name in names.iter().filter(|name| name.len() > 2) {
        text = text.replace(name.as_str(), "_");
    }
    let mut pattern = String::new();
    for word in text.split(' ') {
        let number = word.starts_with(|first: char| first.is_ascii_digit());
        pattern.push_str(if number { "#" } else { word });
        pattern.push(' ');
    }
    pattern
}

/// What is shown of one cause of a check: its severities, and one of each message and advice.
#[derive(Default)]
struct Told {
    severities: BTreeSet<&'static str>,
    messages: BTreeMap<String, String>,
    advice: BTreeMap<String, String>,
}

#[test]
fn all() {
    let mut text = Vec::new();
    for check in ALL {
        let mut causes: BTreeMap<&str, Told> = BTreeMap::new();
        for (verdict, case) in cases(check) {
            let told = causes.entry(case.cause()).or_default();
            told.severities.insert(check.severity_of(&verdict).name());
            let message = case.to_string();
            assert!(message.chars().count() <= MESSAGE, "{}: {message}", check.id);
            told.messages.entry(pattern(&message, &case)).or_insert(message);
            for advice in case.advice() {
                told.advice
                    .entry(pattern(&advice.text, &case))
                    .or_insert(advice.text);
            }
        }
        for (cause, told) in causes {
            let severities: Vec<&str> = told.severities.into_iter().collect();
            text.push(format!("{} {cause} ({})", check.id, severities.join(", ")));
            text.extend(told.messages.into_values().map(|message| format!("  {message}")));
            text.extend(told.advice.into_values().map(|advice| format!("  - {advice}")));
            text.push(String::new());
        }
    }
    insta::assert_snapshot!(text.join("\n"));
}
