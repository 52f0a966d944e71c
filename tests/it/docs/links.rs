//! Links of the pages at the root lead to files and headings that exist, and a page of the site leads to no file outside of
//! it. Links within the site are followed in what mdBook makes of it (`e2e/tests/packaging/site.rs`).

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{blocks, root, texts};

/// The targets of links, those of references included, outside of blocks of code.
fn targets(text: &str) -> Vec<String> {
    let code: BTreeSet<usize> = blocks(text)
        .iter()
        .flat_map(|block| block.first..block.first + block.lines.len())
        .collect();
    let mut found = Vec::new();
    for (_, line) in text.lines().enumerate().filter(|(at, _)| !code.contains(at)) {
        let after = line.split("](").skip(1);
        found.extend(after.filter_map(|rest| rest.split(')').next()).map(str::to_owned));
        if line.starts_with('[')
            && let Some((_, target)) = line.split_once("]: ")
        {
            found.push(target.to_owned());
        }
    }
    found
}

/// The anchor that GitHub and mdBook make of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for (page, text) in texts() {
        for target in targets(&text).iter().filter(|target| !target.contains("://")) {
            seen += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                PathBuf::from(&page)
            } else {
                plain(&Path::new(&page).parent().unwrap().join(file))
            };
            if page.starts_with("docs/") {
                assert!(
                    path.starts_with("docs"),
                    "{page}: {target} is no file of the site"
                );
                continue;
            }
            assert!(root().join(&path).exists(), "{page}: {target}");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(root().join(&path)).unwrap();
                let mut headings = text.lines().filter_map(|line| line.strip_prefix('#'));
                assert!(
                    headings.any(|line| anchor(line.trim_start_matches('#')) == heading),
                    "{page}: {target}"
                );
            }
        }
    }
    assert!(seen > 100, "only {seen} links");
}
