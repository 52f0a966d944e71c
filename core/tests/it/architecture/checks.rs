//! What holds for every check.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::checks;

use super::complain;
use super::source::{Token, files};

pub(crate) fn checks_families() -> BTreeSet<String> {
    files()
        .iter()
        .filter(|file| file.module.first().is_some_and(|own| own == "checks"))
        .filter_map(|file| file.module.get(1).cloned())
        .collect()
}

/// The accessors of [`evenkeel_core::judge::Look`] that cannot fail.
fn sure_accessors() -> BTreeSet<String> {
    let mut sure = BTreeSet::from(["now".to_owned()]);
    for file in files()
        .iter()
        .filter(|file| file.module.starts_with(&["judge".into(), "look".into()]))
    {
        let body = file.raw.split("impl<'a> Look<'a>").nth(1).unwrap();
        for item in body.split("pub fn ").skip(1) {
            let head = item.split('{').next().unwrap();
            if !head.contains("-> Known<") {
                sure.insert(head.split(['(', '<']).next().unwrap().to_owned());
            }
        }
    }
    assert!(sure.contains("names") && sure.contains("os_of"), "{sure:?}");
    assert!(
        !sure.contains("endpoints") && !sure.contains("node_sums"),
        "{sure:?}"
    );
    sure
}

/// The methods called on the result of the call whose parenthesis opens at `here`, up to a `?`.
pub(crate) fn chain(tokens: &[Token], mut here: usize) -> Vec<String> {
    let mut called = Vec::new();
    loop {
        let mut depth = 0;
        while here < tokens.len() {
            match tokens[here] {
                Token::Sign('(') => depth += 1,
                Token::Sign(')') => depth -= 1,
                _ => {}
            }
            here += 1;
            if depth == 0 {
                break;
            }
        }
        match (tokens.get(here), tokens.get(here + 1), tokens.get(here + 2)) {
            (Some(Token::Sign('.')), Some(Token::Word(name)), Some(Token::Sign('('))) => {
                called.push(name.clone());
                here += 2;
            }
            _ => return called,
        }
    }
}

#[test]
fn no_check_papers_over_a_gap() {
    let sure = sure_accessors();
    let mut wrong = Vec::new();
    for file in files() {
        if file.module.first().is_none_or(|own| own != "checks") {
            continue;
        }
        for (at, four) in file.tokens.windows(4).enumerate() {
            let [
                Token::Word(look),
                Token::Sign('.'),
                Token::Word(name),
                Token::Sign('('),
            ] = four
            else {
                continue;
            };
            if look != "look" || sure.contains(name) {
                continue;
            }
            if let Some(method) = chain(&file.tokens, at + 3)
                .iter()
                .find(|method| method.starts_with("unwrap_or"))
            {
                wrong.push(format!("{}: look.{name}() ends in {method}()", file.name));
            }
        }
    }
    complain("a gap is the verdict Unknown, never a default: use `?`", &wrong);
}

#[test]
fn every_check_file_is_in_the_table() {
    let mut ids = BTreeMap::new();
    for file in files() {
        if file.module.first().is_none_or(|own| own != "checks") {
            continue;
        }
        let made: Vec<&str> = file.raw.split(": Check = Check {").skip(1).collect();
        assert!(made.len() <= 1, "{}: one check for each file", file.name);
        let Some(body) = made.first() else { continue };
        let id = body
            .split_once("id: \"")
            .and_then(|(_, rest)| rest.split('"').next())
            .unwrap_or_else(|| panic!("{}: no id written out", file.name));
        assert!(
            checks::find(id).is_some(),
            "{}: {id} is not in checks::ALL",
            file.name
        );
        ids.insert(id.to_owned(), &file.name);
    }
    for check in checks::ALL {
        assert!(ids.contains_key(check.id), "{} has no file of its own", check.id);
    }
    assert_eq!(ids.len(), checks::ALL.len(), "a check stands in the table twice");
}

#[test]
fn ids_are_unique_and_in_kebab_case() {
    let mut seen = BTreeSet::new();
    for check in checks::ALL {
        let id = check.id;
        assert!(seen.insert(id), "{id} is there twice");
        let kebab = !id.is_empty()
            && id.split('-').all(|word| {
                !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
            });
        assert!(kebab, "{id} is not in kebab-case");
    }
}

#[test]
fn every_check_has_a_whole_page() {
    for check in checks::ALL {
        let (id, doc) = (check.id, check.doc);
        let summary = check.summary();
        let length = summary.chars().count();
        assert!(
            (1..=100).contains(&length),
            "{id}: the summary has {length} characters"
        );
        assert!(
            !summary.starts_with('#'),
            "{id}: the first line is the summary, not a title"
        );
        for section in ["Formula", "What to do"] {
            let (_, rest) = doc
                .split_once(&format!("\n## {section}\n"))
                .unwrap_or_else(|| panic!("{id}: the page has no section `{section}`"));
            let text = rest.split("\n## ").next().unwrap().trim();
            assert!(!text.is_empty(), "{id}: the section `{section}` is empty");
        }
    }
}
