//! What mdBook made of `docs/`: every page is there, and every link in it leads to a file and a heading of the site.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use evenkeel_e2e::repository::root;

/// The pages of the site, by path from its root.
fn pages() -> BTreeMap<PathBuf, String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in
            std::fs::read_dir(folder).unwrap_or_else(|_| panic!("no {}: make site", folder.display()))
        {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "html") {
                found.push(path);
            }
        }
    }
    let site = root().join("target/site");
    let mut found = Vec::new();
    walk(&site, &mut found);
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.strip_prefix(&site).unwrap().to_owned(), text)
        })
        .collect()
}

/// The values of an attribute.
fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    let begins = format!(" {attribute}=\"");
    let after = html.split(begins.as_str()).skip(1);
    after.filter_map(|rest| rest.split('"').next()).collect()
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
fn every_link_leads_somewhere() {
    let pages = pages();
    let ids: BTreeMap<&Path, BTreeSet<&str>> = pages
        .iter()
        .map(|(path, html)| (path.as_path(), values(html, "id").into_iter().collect()))
        .collect();
    let mut seen = 0;
    let mut broken = Vec::new();
    // The page for what is not found has addresses from the root of the site.
    for (page, html) in pages.iter().filter(|(page, _)| !page.ends_with("404.html")) {
        let links = values(html, "href").into_iter().chain(values(html, "src"));
        for link in links.filter(|link| !link.contains("://") && !link.starts_with("data:")) {
            seen += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                plain(&page.parent().unwrap_or(Path::new("")).join(file))
            };
            let there = root().join("target/site").join(&target).is_file();
            let known = ids.get(target.as_path());
            if !there || (!heading.is_empty() && known.is_some_and(|ids| !ids.contains(heading))) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(seen > 1000, "only {seen} links");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The chapters of the contents are pages, and what a page includes is in it.
#[test]
fn every_chapter_is_a_page() {
    let pages = pages();
    let contents = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let chapters: Vec<_> = contents
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|chapter| !chapter.is_empty())
        .collect();
    assert!(chapters.len() > 40, "{chapters:?}");
    for chapter in chapters {
        let page = chapter.replace("README.md", "index.md").replace(".md", ".html");
        let html = pages
            .get(Path::new(&page))
            .unwrap_or_else(|| panic!("{chapter} is no page"));
        assert!(html.contains("<h1 id=") && !html.contains("{{#"), "{page}");
    }
}
