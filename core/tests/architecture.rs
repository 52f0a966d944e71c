//! The shape of the core, held by the source itself: what may use what, and what nothing here may touch.
//!
//! The files are read as text and cut into paths, so a rule holds however a name was brought in: by `use`, in a group,
//! or written out. Unit tests inside the files are exempt; they may import what they like.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use evenkeel_core::checks;

/// What each module may use of the others. `know` and `names` are the floor; the checks look at everything through
/// [`evenkeel_core::judge`], and nothing but the engine and its like looks at the checks.
const MAY_USE: &[(&str, &[&str])] = &[
    ("know", &[]),
    ("names", &["know"]),
    ("dataplane", &["know"]),
    ("policy", &["know", "dataplane"]),
    ("sources", &["know", "names", "policy"]),
    ("index", &["know", "names", "policy", "sources"]),
    ("history", &["know", "names", "sources", "index"]),
    (
        "facts",
        &[
            "know",
            "names",
            "policy",
            "sources",
            "dataplane",
            "index",
            "judge",
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
            "index",
            "history",
            "facts",
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
            "facts",
            "judge",
            "engine",
        ],
    ),
];

/// What makes rows out of bytes, which is over when a check looks.
const PARSING: &[&str] = &[
    "Row",
    "Why",
    "Meta",
    "Text",
    "TextMap",
    "parse",
    "or_default",
    "name_of",
    "pairs",
];

/// Crates that do IO, log or keep time.
const FOREIGN: &[&str] = &[
    "chrono",
    "env_logger",
    "futures",
    "hyper",
    "jiff",
    "k8s_openapi",
    "kube",
    "log",
    "mio",
    "reqwest",
    "rustls",
    "schemars",
    "socket2",
    "time",
    "tokio",
    "tower",
    "tracing",
];

/// One file of the core, without comments, texts and unit tests.
struct File {
    /// Such as `checks/path/budget.rs`.
    name: String,
    /// Where it is in the crate: `["checks", "path", "budget"]`.
    module: Vec<String>,
    tokens: Vec<Token>,
    raw: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Sep,
    Sign(char),
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files() -> Vec<File> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root(), &mut paths);
    paths.sort();
    let files: Vec<File> = paths
        .iter()
        // Files that are declared `#[cfg(test)]` where they are named.
        .filter(|path| {
            ![
                "tests.rs",
                "adversarial.rs",
                "fixture.rs",
                "cluster_fixture.rs",
                "live_fixture.rs",
            ]
            .iter()
            .any(|name| path.ends_with(name))
        })
        .map(|path| file(path))
        .collect();
    assert!(files.len() > 20, "the source of the core was not found");
    files
}

fn file(path: &Path) -> File {
    let name = path
        .strip_prefix(root())
        .unwrap()
        .to_str()
        .unwrap()
        .replace('\\', "/");
    let mut module: Vec<String> = name
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    let raw = fs::read_to_string(path).unwrap();
    File {
        tokens: without_tests(&tokens(&raw)),
        name,
        module,
        raw,
    }
}

/// Cuts Rust into words and signs; comments, texts, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<Token> {
    let bytes: Vec<char> = text.chars().collect();
    let at = |index: usize| bytes.get(index).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let mut here = 0;
    while here < bytes.len() {
        let sign = at(here);
        if sign == '/' && at(here + 1) == '/' {
            while here < bytes.len() && at(here) != '\n' {
                here += 1;
            }
        } else if sign == '/' && at(here + 1) == '*' {
            while here < bytes.len() && !(at(here) == '*' && at(here + 1) == '/') {
                here += 1;
            }
            here += 2;
        } else if sign == '"' {
            here += 1;
            while here < bytes.len() && at(here) != '"' {
                here += if at(here) == '\\' { 2 } else { 1 };
            }
            here += 1;
        } else if sign == '\'' {
            // A character ends with a quote one or, escaped, a few places on; a lifetime does not.
            if at(here + 1) == '\\' {
                here += 3;
                while here < bytes.len() && at(here) != '\'' {
                    here += 1;
                }
                here += 1;
            } else if at(here + 2) == '\'' {
                here += 3;
            } else {
                here += 1;
                while at(here).is_alphanumeric() || at(here) == '_' {
                    here += 1;
                }
            }
        } else if sign.is_alphanumeric() || sign == '_' {
            let start = here;
            while at(here).is_alphanumeric() || at(here) == '_' {
                here += 1;
            }
            let word: String = bytes[start..here].iter().collect();
            let raw_text = matches!(word.as_str(), "r" | "br") && matches!(at(here), '"' | '#');
            let hashes = (here..bytes.len()).take_while(|index| at(*index) == '#').count();
            if raw_text && at(here + hashes) == '"' {
                here += hashes + 1;
                while here < bytes.len()
                    && !(at(here) == '"' && (1..=hashes).all(|more| at(here + more) == '#'))
                {
                    here += 1;
                }
                here += 1 + hashes;
            } else {
                found.push(Token::Word(word));
            }
        } else if sign == ':' && at(here + 1) == ':' {
            found.push(Token::Sep);
            here += 2;
        } else {
            if !sign.is_whitespace() {
                found.push(Token::Sign(sign));
            }
            here += 1;
        }
    }
    found
}

fn word(text: &str) -> Token {
    Token::Word(text.into())
}

/// Leaves out every item marked `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mark: Vec<Token> = tokens_of_mark();
    let mut kept = Vec::new();
    let mut here = 0;
    while here < tokens.len() {
        if !tokens[here..].starts_with(&mark) {
            kept.push(tokens[here].clone());
            here += 1;
            continue;
        }
        here += mark.len();
        let mut depth = 0;
        while here < tokens.len() {
            match tokens[here] {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => depth -= 1,
                _ => {}
            }
            let ends = depth == 0 && matches!(tokens[here], Token::Sign('}' | ';'));
            here += 1;
            if ends {
                break;
            }
        }
    }
    kept
}

fn tokens_of_mark() -> Vec<Token> {
    vec![
        Token::Sign('#'),
        Token::Sign('['),
        word("cfg"),
        Token::Sign('('),
        word("test"),
        Token::Sign(')'),
        Token::Sign(']'),
    ]
}

/// Every path of two or more words, groups written out and `crate`, `self` and `super` resolved: what lies in this
/// crate begins with `crate`.
fn paths(file: &File) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut here = 0;
    while here < file.tokens.len() {
        let starts = matches!(file.tokens[here], Token::Word(_))
            && file.tokens.get(here + 1) == Some(&Token::Sep)
            && (here == 0 || file.tokens[here - 1] != Token::Sep);
        if starts {
            here = path(&file.tokens, here, &[], &mut found);
        } else {
            here += 1;
        }
    }
    // An alias or a bare crate: `use std as s`, `extern crate tokio`.
    for three in file.tokens.windows(3) {
        if let [Token::Word(before), Token::Word(name), after] = three
            && matches!(before.as_str(), "use" | "crate")
            && *after != Token::Sep
        {
            found.insert(vec![name.clone()]);
        }
    }
    found.into_iter().map(|path| resolve(file, path)).collect()
}

fn path(tokens: &[Token], from: usize, before: &[String], found: &mut BTreeSet<Vec<String>>) -> usize {
    let mut whole = before.to_vec();
    let mut here = from;
    loop {
        match tokens.get(here) {
            Some(Token::Word(word)) => {
                whole.push(word.clone());
                here += 1;
            }
            Some(Token::Sign('*')) => {
                whole.push("*".into());
                here += 1;
                break;
            }
            Some(Token::Sign('{')) => {
                here += 1;
                while here < tokens.len() && tokens[here] != Token::Sign('}') {
                    if tokens[here] == Token::Sign(',') {
                        here += 1;
                    } else {
                        here = path(tokens, here, &whole, found);
                    }
                }
                return here + 1;
            }
            _ => break,
        }
        if tokens.get(here) == Some(&Token::Sep) {
            here += 1;
        } else {
            break;
        }
    }
    if whole.last().is_some_and(|last| last == "self") && whole.len() > 1 {
        whole.pop();
    }
    found.insert(whole);
    // Inside a group, an alias belongs to the path.
    if !before.is_empty() {
        while here < tokens.len() && !matches!(tokens[here], Token::Sign(',' | '}')) {
            here += 1;
        }
    }
    here.max(from + 1)
}

fn resolve(file: &File, path: Vec<String>) -> Vec<String> {
    let Some(first) = path.first() else { return path };
    let mut base: Vec<String> = vec!["crate".into()];
    let rest: Vec<String> = match first.as_str() {
        "crate" => path[1..].to_vec(),
        "self" => {
            base.extend(file.module.iter().cloned());
            path[1..].to_vec()
        }
        "super" => {
            let up = path.iter().take_while(|word| *word == "super").count();
            let keep = file.module.len().checked_sub(up).unwrap_or_else(|| {
                panic!("{}: `super` leads out of the crate", file.name);
            });
            base.extend(file.module[..keep].iter().cloned());
            path[up..].to_vec()
        }
        _ => return path,
    };
    base.extend(rest);
    base
}

fn complain(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

#[test]
fn the_core_touches_no_machine_and_no_clock() {
    let banned_module = |path: &[String]| {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        match words[..] {
            ["std"]
            | ["std", "*" | "time" | "net" | "io"]
            | ["std", "fs" | "process" | "env" | "thread" | "os", ..] => true,
            ["std", "time", name, ..] => name != "Duration",
            ["std", "net", name, ..] => {
                name == "*" || name.starts_with("Tcp") || name.starts_with("Udp") || name == "ToSocketAddrs"
            }
            ["std", "io", name, ..] => matches!(name, "*" | "stdin" | "stdout" | "stderr" | "prelude"),
            [name, ..] => FOREIGN.contains(&name),
            [] => false,
        }
    };
    let mut wrong = Vec::new();
    for file in files() {
        for path in paths(&file) {
            if banned_module(&path) {
                wrong.push(format!("{} uses {}", file.name, path.join("::")));
            }
        }
        for pair in file.tokens.windows(2) {
            if let [Token::Word(name), Token::Sign('!')] = pair
                && matches!(
                    name.as_str(),
                    "print" | "println" | "eprint" | "eprintln" | "dbg" | "include_str" | "env"
                )
            {
                wrong.push(format!("{} uses {name}!", file.name));
            }
        }
    }
    complain(
        "no file, socket, process, clock, thread, log or terminal in the core",
        &wrong,
    );
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
        for path in paths(&file)
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
        "engine", "findings", "fold", "handle", "paths", "plan", "drive", "standing",
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
        let uses = paths(&file);
        let own: Vec<&str> = file.module.iter().map(String::as_str).collect();
        for path in uses.iter().filter(|path| path[0] == "crate") {
            let to: Vec<&str> = path[1..].iter().map(String::as_str).collect();
            let bad = match (&own[..], &to[..]) {
                (["checks", family, ..], ["checks", other, ..]) => {
                    family != other && checks_families().contains(*other)
                }
                (["checks", _, ..], ["checks"]) => true,
                (["checks", ..], ["engine", name, ..]) => *name != "has_data_plane",
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

fn checks_families() -> BTreeSet<String> {
    files()
        .iter()
        .filter(|file| file.module.first().is_some_and(|own| own == "checks"))
        .filter_map(|file| file.module.get(1).cloned())
        .collect()
}

/// The accessors of [`evenkeel_core::judge::Look`] that cannot fail.
fn sure_accessors() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("judge.rs")).unwrap();
    let body = text.split("impl<'a> Look<'a>").nth(1).unwrap();
    let mut sure = BTreeSet::from(["now".to_owned()]);
    for item in body.split("pub fn ").skip(1) {
        let head = item.split('{').next().unwrap();
        if !head.contains("-> Known<") {
            sure.insert(head.split(['(', '<']).next().unwrap().to_owned());
        }
    }
    assert!(sure.contains("names") && !sure.contains("endpoints"), "{sure:?}");
    sure
}

/// The methods called on the result of the call whose parenthesis opens at `here`, up to a `?`.
fn chain(tokens: &[Token], mut here: usize) -> Vec<String> {
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
        ids.insert(id.to_owned(), file.name);
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

/// Names of a table of a manifest.
fn dependencies(manifest: &str, table: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != format!("[{table}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Dependencies of each package of the lock file, by name.
fn locked(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let name = package
            .split_once("name = \"")
            .unwrap()
            .1
            .split('"')
            .next()
            .unwrap();
        let needs = package.split_once("dependencies = [").map_or("", |found| found.1);
        let needs = needs.split(']').next().unwrap();
        all.entry(name.to_owned()).or_default().extend(
            needs
                .lines()
                .filter_map(|line| line.trim().strip_prefix('"')?.split(['"', ' ']).next())
                .map(str::to_owned),
        );
    }
    all
}

#[test]
fn the_core_depends_on_no_client_runtime_or_clock() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let direct = dependencies(&manifest, "dependencies");
    assert!(direct.contains(&"serde".to_owned()), "{direct:?}");
    assert!(
        !manifest.contains("[target."),
        "dependencies by platform: {manifest}"
    );
    let lock = fs::read_to_string(folder.join("../Cargo.lock")).unwrap();
    let locked = locked(&lock);
    let mut seen = BTreeSet::new();
    let mut todo: Vec<(String, String)> = direct.into_iter().map(|name| (name.clone(), name)).collect();
    let mut wrong = Vec::new();
    while let Some((name, by)) = todo.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let family = name.split('-').next().unwrap_or("");
        if FOREIGN.contains(&name.replace('-', "_").as_str()) || FOREIGN.contains(&family) {
            wrong.push(by.clone());
        }
        for next in locked.get(&name).into_iter().flatten() {
            todo.push((next.clone(), format!("{by} > {next}")));
        }
    }
    complain(
        "the core depends, directly or not, on a client, a runtime, a log or a clock",
        &wrong,
    );
    assert!(
        seen.len() > 4 && seen.len() < 60,
        "{} packages: {seen:?}",
        seen.len()
    );
}

#[test]
fn this_test_sees_what_it_should() {
    let file = File {
        name: "checks/path/made_up.rs".into(),
        module: vec!["checks".into(), "path".into(), "made_up".into()],
        tokens: without_tests(&tokens(
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
        )),
        raw: String::new(),
    };
    let found: Vec<String> = paths(&file).iter().map(|path| path.join("::")).collect();
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
