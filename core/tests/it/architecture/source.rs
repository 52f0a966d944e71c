//! Reading the source: files as tokens, and the paths that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// One file of the core, without comments, texts and unit tests.
pub(crate) struct File {
    /// Such as `checks/path/budget.rs`.
    pub(crate) name: String,
    /// Where it is in the crate: `["checks", "path", "budget"]`.
    pub(crate) module: Vec<String>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) raw: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Word(String),
    /// `::`
    Sep,
    Sign(char),
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

pub(crate) fn files() -> Vec<File> {
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
                "ceilings.rs",
                "needs.rs",
                "obeyed.rs",
            ]
            .iter()
            .any(|name| path.ends_with(name))
                && !["world", "checks/messages", "checks/control_plane/tests"]
                    .iter()
                    .any(|folder| path.starts_with(root().join(folder)))
        })
        .map(|path| file(path))
        .collect();
    assert!(files.len() > 20, "the source of the core was not found");
    files
}

pub(crate) fn file(path: &Path) -> File {
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

/// Rust as words and signs, without comments, texts, numbers and lifetimes.
///
/// Tokens and no syntax tree: what stands inside of a macro's parentheses is tokens and nothing more, and has to follow
/// the rules, too.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let stream = text
        .parse()
        .unwrap_or_else(|why| panic!("this is no Rust: {why}"));
    let mut found = Vec::new();
    flatten(stream, &mut found);
    found
}

fn flatten(stream: TokenStream, found: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        match tree {
            TokenTree::Ident(name) => {
                let name = name.to_string();
                found.push(word(name.strip_prefix("r#").unwrap_or(&name)));
            }
            TokenTree::Punct(sign) if sign.as_char() == '\'' => {
                // A lifetime, whose name follows.
                trees.next();
            }
            TokenTree::Punct(sign) => {
                let second =
                    |next: &TokenTree| matches!(next, TokenTree::Punct(next) if next.as_char() == ':');
                let pair = sign.as_char() == ':' && sign.spacing() == Spacing::Joint;
                if pair && trees.next_if(second).is_some() {
                    found.push(Token::Sep);
                } else {
                    found.push(Token::Sign(sign.as_char()));
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ('(', ')'),
                    Delimiter::Brace => ('{', '}'),
                    Delimiter::Bracket => ('[', ']'),
                    // Only macros make these, and none is expanded here.
                    Delimiter::None => (' ', ' '),
                };
                found.push(Token::Sign(open));
                flatten(group.stream(), found);
                found.push(Token::Sign(close));
            }
            TokenTree::Literal(_) => {}
        }
    }
}

pub(crate) fn word(text: &str) -> Token {
    Token::Word(text.into())
}

/// Leaves out every item marked `#[cfg(test)]`.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
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

pub(crate) fn tokens_of_mark() -> Vec<Token> {
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
pub(crate) fn paths(file: &File) -> BTreeSet<Vec<String>> {
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

pub(crate) fn path(
    tokens: &[Token],
    from: usize,
    before: &[String],
    found: &mut BTreeSet<Vec<String>>,
) -> usize {
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

pub(crate) fn resolve(file: &File, path: Vec<String>) -> Vec<String> {
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
