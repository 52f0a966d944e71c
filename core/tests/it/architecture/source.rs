//! Reading the source: files as tokens, and the paths that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// One file, without comments, texts and unit tests.
pub(crate) struct File {
    /// Such as `checks/path/budget.rs`.
    pub(crate) name: String,
    /// Where it is in the crate: `["checks", "path", "budget"]`.
    pub(crate) module: Vec<String>,
    pub(crate) tokens: Vec<Token>,
    /// Every path that it names, as [`paths`] finds them.
    pub(crate) paths: BTreeSet<Vec<String>>,
    pub(crate) raw: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Word(String),
    /// `::`
    Sep,
    Sign(char),
}

impl File {
    /// A file of this name below the crate's `src`, with this text.
    pub(crate) fn of(name: &str, text: &str) -> Self {
        let mut module: Vec<String> = name
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        if module.last().is_some_and(|last| last == "mod" || last == "lib") {
            module.pop();
        }
        let tokens = without_tests(&tokens(text));
        Self {
            name: name.into(),
            paths: paths(&tokens, &module),
            module,
            tokens,
            raw: text.into(),
        }
    }

    /// The modules that it declares for tests only, as `#[cfg(test)] mod tests;`.
    fn test_modules(&self) -> Vec<Vec<String>> {
        let tokens = tokens(&self.raw);
        let mark = tokens_of_mark();
        let after_mark = |at: usize| {
            let declared = tokens[at..].strip_prefix(&mark[..])?;
            let visibility = |token: &&Token| {
                matches!(token, Token::Sign('(' | ')')) || is_one_of(token, &["pub", "crate", "super"])
            };
            match &declared[declared.iter().take_while(visibility).count()..] {
                [Token::Word(item), Token::Word(name), Token::Sign(';'), ..] if item == "mod" => {
                    Some(name.clone())
                }
                _ => None,
            }
        };
        (0..tokens.len())
            .filter_map(after_mark)
            .map(|name| self.module.iter().cloned().chain([name]).collect())
            .collect()
    }
}

/// Of each crate the folder of its source, seen from the core, which is the first.
pub(crate) const CRATES: [&str; 3] = ["src", "../src", "../e2e/src"];

/// The core's own files.
pub(crate) fn files() -> &'static [File] {
    files_of(CRATES[0])
}

/// The files of one of [`CRATES`], read once; those for tests only are left out.
pub(crate) fn files_of(folder: &str) -> &'static [File] {
    static FILES: [OnceLock<Vec<File>>; CRATES.len()] = [const { OnceLock::new() }; CRATES.len()];
    let at = CRATES.iter().position(|one| *one == folder).unwrap();
    FILES[at].get_or_init(|| read(folder))
}

fn read(folder: &str) -> Vec<File> {
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let mut files: Vec<File> = paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            File::of(&name.replace('\\', "/"), &fs::read_to_string(path).unwrap())
        })
        .collect();
    let of_tests: Vec<Vec<String>> = files.iter().flat_map(File::test_modules).collect();
    files.retain(|file| !of_tests.iter().any(|module| file.module.starts_with(module)));
    assert!(files.len() > 20, "the source below {folder} was not found");
    files
}

/// Rust as words and signs, without comments, texts, numbers and lifetimes.
///
/// Tokens and no syntax tree: what stands inside of a macro's parentheses is tokens and nothing more, and has to follow
/// the rules, too.
fn tokens(text: &str) -> Vec<Token> {
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

fn is_one_of(token: &Token, words: &[&str]) -> bool {
    matches!(token, Token::Word(word) if words.contains(&word.as_str()))
}

pub(crate) fn word(text: &str) -> Token {
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
fn paths(tokens: &[Token], module: &[String]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut here = 0;
    while here < tokens.len() {
        let starts = matches!(tokens[here], Token::Word(_))
            && tokens.get(here + 1) == Some(&Token::Sep)
            && (here == 0 || tokens[here - 1] != Token::Sep);
        if starts {
            here = path(tokens, here, &[], &mut found);
        } else {
            here += 1;
        }
    }
    // An alias or a bare crate: `use std as s`, `extern crate tokio`.
    for three in tokens.windows(3) {
        if let [Token::Word(before), Token::Word(name), after] = three
            && matches!(before.as_str(), "use" | "crate")
            && *after != Token::Sep
        {
            found.insert(vec![name.clone()]);
        }
    }
    found.into_iter().map(|path| resolve(module, path)).collect()
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

fn resolve(module: &[String], path: Vec<String>) -> Vec<String> {
    let Some(first) = path.first() else { return path };
    let mut base: Vec<String> = vec!["crate".into()];
    let rest: Vec<String> = match first.as_str() {
        "crate" => path[1..].to_vec(),
        "self" => {
            base.extend(module.iter().cloned());
            path[1..].to_vec()
        }
        "super" => {
            let up = path.iter().take_while(|word| *word == "super").count();
            let keep = module.len().checked_sub(up).unwrap_or_else(|| {
                panic!("{}: `super` leads out of the crate", module.join("::"));
            });
            base.extend(module[..keep].iter().cloned());
            path[up..].to_vec()
        }
        _ => return path,
    };
    base.extend(rest);
    base
}
