//! A name stands for one type of a crate. `CONTRIBUTING.md` (Style) has the exceptions.

use std::collections::BTreeMap;

use super::complain;
use super::source::{CRATES, File, Token, files_of};

/// Names that each file below a folder may have for itself, by the crate's folder.
const CONVENTIONS: &[(&str, &str, &[&str])] = &[
    // Types named after the JSON that they are read from.
    (
        "src",
        "sources/",
        &["Wire", "Meta", "Spec", "Status", "Condition", "Labels"],
    ),
    // What a subcommand takes.
    ("../src", "cli/", &["Arguments"]),
    // Always named with its module, as `live::Options`.
    ("../src", "", &["Options"]),
];

/// The types of a file, without those inside of a function.
fn types(file: &File) -> Vec<String> {
    let (mut depth, mut found) = (0, Vec::new());
    for (at, token) in file.tokens.iter().enumerate() {
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign('}' | ')' | ']') => depth -= 1,
            Token::Word(kind)
                if depth == 0 && matches!(kind.as_str(), "struct" | "enum" | "trait" | "type" | "union") =>
            {
                if let Some(Token::Word(name)) = file.tokens.get(at + 1) {
                    found.push(name.clone());
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn a_name_stands_for_one_type() {
    let mut wrong = Vec::new();
    for folder in CRATES {
        let mut files_by_type: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in files_of(folder) {
            // Each is a program, and so a crate, of its own.
            if file.name.starts_with("bin/") {
                continue;
            }
            for name in types(file) {
                let conventional = CONVENTIONS.iter().any(|(of, below, names)| {
                    *of == folder && file.name.starts_with(below) && names.contains(&name.as_str())
                });
                if !conventional {
                    files_by_type.entry(name).or_default().push(file.name.clone());
                }
            }
        }
        assert!(files_by_type.len() > 40, "{folder}: {files_by_type:?}");
        let several = files_by_type.iter().filter(|(_, files)| files.len() > 1);
        wrong.extend(several.map(|(name, files)| format!("{folder}: {name} in {}", files.join(", "))));
    }
    complain("a name stands for one type of a crate", &wrong);
}

#[test]
fn types_are_found() {
    let file = File::of(
        "a.rs",
        "pub(crate) struct One { two: Two } impl T for One { type Item = u8; } enum Three<'a> { Four(&'a str) }
         fn f() { struct Inside; } type Five = u8; #[cfg(test)] mod tests { struct Six; } trait Seven {}",
    );
    assert_eq!(types(&file), ["One", "Three", "Five", "Seven"]);
}
