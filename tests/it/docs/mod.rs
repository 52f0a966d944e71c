//! The documentation: pages that are generated, screens that are run, links and commands that exist. What mdBook makes of
//! it is tested where mdBook is: `make site`.

mod api;
mod book;
mod commands;
mod links;

use std::path::{Path, PathBuf};

/// Set to `1` to write what is generated instead of comparing it.
const BLESS: &str = "EVENKEEL_BLESS";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn bless() -> bool {
    std::env::var(BLESS).is_ok_and(|value| value == "1")
}

/// A file, by its path from the root of the repository, is as it should be, or is made so.
pub(super) fn assert_current(page: &str, wanted: &str) {
    let path = root().join(page);
    if bless() {
        std::fs::write(&path, wanted).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == wanted,
        "{page} is old: run with {BLESS}=1 and review the change"
    );
}

/// Every page of the site, by its path from `docs`, sorted.
fn pages() -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let docs = root().join("docs");
    let mut found = Vec::new();
    walk(&docs, &mut found);
    let relative = found.iter().map(|path| path.strip_prefix(&docs).unwrap());
    let mut pages: Vec<_> = relative.map(|path| path.display().to_string()).collect();
    pages.sort();
    pages
}

/// Every page that people read, the site's and those at the root, with its text.
fn texts() -> Vec<(String, String)> {
    let at_root = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];
    let at_root = at_root.iter().map(|&name| name.to_owned());
    let all = at_root.chain(pages().into_iter().map(|page| format!("docs/{page}")));
    all.map(|page| {
        let text = std::fs::read_to_string(root().join(&page)).unwrap();
        (page, text)
    })
    .collect()
}

/// A fenced block: its language, the place of its first line among the lines of the page, and its lines.
struct Block<'a> {
    language: &'a str,
    first: usize,
    lines: Vec<&'a str>,
}

/// The fenced blocks of a page; one in a list is indented.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            if !open {
                blocks.push(Block {
                    language,
                    first: at + 1,
                    lines: Vec::new(),
                });
            }
            open = !open;
        } else if open {
            blocks.last_mut().unwrap().lines.push(line);
        }
    }
    assert!(!open, "a block has no end: {text}");
    blocks
}
