//! The shape of the core, held by the source itself: what may use what. That nothing here touches a clock, a file or a
//! socket, `core/clippy.toml` and the list of crates see to.
//!
//! The files are read as text and cut into paths, so a rule holds however a name was brought in: by `use`, in a group,
//! or written out. Unit tests inside the files are exempt; they may import what they like.

mod checks;
mod circles;
mod crates;
mod names;
mod source;

use std::collections::BTreeMap;

use checks::{chain, checks_families};
use source::{File, Token, files, word};

/// What each module may use of the others. `source`, `know` and `names` are the floor; the checks look at everything through
/// [`evenkeel_core::judge`], and nothing but the engine and its like looks at the checks.
const MAY_USE: &[(&str, &[&str])] = &[
    ("source", &[]),
    ("know", &["source"]),
    ("names", &["know"]),
    ("dataplane", &["know"]),
    ("policy", &["know", "dataplane"]),
    ("sources", &["source", "know", "names", "policy"]),
    ("sample", &["know", "names"]),
    ("statistics", &[]),
    (
        "index",
        &[
            "source",
            "know",
            "names",
            "policy",
            "sources",
            "dataplane",
            "sample",
        ],
    ),
    (
        "history",
        &[
            "know",
            "names",
            "policy",
            "sources",
            "sample",
            "statistics",
            "index",
        ],
    ),
    (
        "fleet",
        &[
            "know",
            "names",
            "policy",
            "sources",
            "dataplane",
            "sample",
            "index",
        ],
    ),
    (
        "judge",
        &[
            "know",
            "names",
            "policy",
            "sources",
            "dataplane",
            "sample",
            "index",
            "history",
            "fleet",
        ],
    ),
    (
        "route",
        &[
            "know",
            "names",
            "policy",
            "sources",
            "dataplane",
            "index",
            "fleet",
            "judge",
        ],
    ),
    (
        "checks",
        &[
            "know",
            "names",
            "policy",
            "sources",
            "dataplane",
            "index",
            "history",
            "fleet",
            "judge",
            "route",
            "sample",
            "statistics",
        ],
    ),
    (
        "engine",
        &[
            "know", "names", "policy", "sources", "sample", "index", "history", "fleet", "judge",
        ],
    ),
    (
        "findings",
        &["know", "names", "policy", "index", "judge", "engine"],
    ),
    ("fitness", &["know", "judge"]),
    (
        "remedies",
        &[
            "know", "names", "policy", "sources", "index", "history", "judge", "fitness",
        ],
    ),
    (
        "guards",
        &[
            "know", "names", "policy", "sample", "judge", "fitness", "remedies",
        ],
    ),
];

/// What makes rows out of bytes, which is over when a check looks.
const PARSING: &[&str] = &[
    "Row",
    "DecodeError",
    "Meta",
    "Text",
    "TextMap",
    "parse",
    "or_default",
    "name_of",
    "pairs",
];

fn complain(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

#[test]
fn modules_use_only_what_is_below_them() {
    let table: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in files() {
        let Some(own) = file.module.first() else { continue };
        let Some(allowed) = table.get(own.as_str()) else {
            // The spine holds everything together.
            continue;
        };
        for path in file
            .paths
            .iter()
            .filter(|path| path.len() > 1 && path[0] == "crate")
        {
            let other = path[1].as_str();
            if other != own.as_str() && !allowed.contains(&other) {
                wrong.push(format!("{} uses {}", file.name, path.join("::")));
            }
        }
    }
    complain("a module may use only those that MAY_USE grants it", &wrong);
}

#[test]
fn every_module_is_known_to_this_test() {
    let spine = [
        "acting",
        "fold",
        "handle",
        "paths",
        "program",
        "plan",
        "planning",
        "drive",
        "standing",
        "unmatched",
    ];
    let mut unknown: Vec<String> = files()
        .iter()
        .filter_map(|file| file.module.first().cloned())
        .filter(|own| !spine.contains(&own.as_str()) && !MAY_USE.iter().any(|line| line.0 == own))
        .collect();
    unknown.dedup();
    complain("a new module needs a line in MAY_USE", &unknown);
}

#[test]
fn leaves_of_one_kind_stand_alone() {
    let mut wrong = Vec::new();
    for file in files() {
        let own: Vec<&str> = file.module.iter().map(String::as_str).collect();
        for path in file.paths.iter().filter(|path| path[0] == "crate") {
            let to: Vec<&str> = path[1..].iter().map(String::as_str).collect();
            let bad = match (&own[..], &to[..]) {
                (["checks", family, ..], ["checks", other, ..]) => {
                    family != other && checks_families().contains(*other)
                }
                (["checks", _, ..], ["checks"]) | (["checks", ..], ["engine", ..]) => true,
                (["checks", ..], ["sources", rest @ ..]) => rest.iter().any(|word| PARSING.contains(word)),
                _ => false,
            };
            if bad {
                wrong.push(format!("{} uses {}", file.name, path.join("::")));
            }
        }
    }
    complain(
        "a check uses no other family of checks, no engine and nothing that parses",
        &wrong,
    );
}

#[test]
fn this_test_sees_what_it_should() {
    let file = File::of(
        "checks/path/made_up.rs",
        r##"
            use std::{fmt, fs::{self, File as Handle}}; // use tokio::net;
            use super::super::nodes::{Thing, other::*};
            fn f<'a>(look: &'a Look) -> char {
                let text = "crate::wrong" + r#"std::env "quoted" "#;
                std::process::exit(look.nodes().map(|n| n.len()).unwrap_or(0));
                look.pods()?.first().unwrap_or(&0);
                '"'
            }
            #[cfg(test)]
            mod tests { use std::thread; fn g() { if true { } } }
            use crate::judge::Look;
            "##,
    );
    let found: Vec<String> = file.paths.iter().map(|path| path.join("::")).collect();
    for path in [
        "std::fmt",
        "std::fs",
        "std::fs::File",
        "crate::checks::nodes::Thing",
        "crate::checks::nodes::other::*",
        "std::process::exit",
        "crate::judge::Look",
    ] {
        assert!(found.iter().any(|one| one == path), "{path} is not in {found:?}");
    }
    for word in ["tokio", "wrong", "thread", "env"] {
        assert!(
            !found.iter().any(|one| one.contains(word)),
            "{word} is in {found:?}"
        );
    }
    let calls: Vec<Vec<String>> = file
        .tokens
        .windows(4)
        .enumerate()
        .filter(|(_, four)| four[0] == word("look") && four[1] == Token::Sign('.'))
        .map(|(at, _)| chain(&file.tokens, at + 3))
        .collect();
    assert_eq!(
        calls,
        [vec!["map".to_owned(), "unwrap_or".to_owned()], Vec::new()]
    );
}
