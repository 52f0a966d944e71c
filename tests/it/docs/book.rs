//! The site's table of contents, and its pages that are made of other files.

use std::fmt::Write as _;

use evenkeel_core::checks;
use serde_json::Value;

use super::{assert_current, pages, root};

const CONTENTS: &str = "\
# Summary

[evenkeel](README.md)
[Five minutes](tour.md)

# Use

- [Install, upgrade, uninstall](install.md)
- [Command line](command-line.md)
- [Recipes by protocol](recipes.md)
- [Recipes by platform](platforms.md)
- [Troubleshooting](troubleshooting.md)
- [How a remedy decides](remedies.md)
- [What works where](what-works-where.md)
- [Security](security.md)
- [Releases](releases.md)

# Reference

- [API](api.md)
- [Checks](checks/README.md)
";

const CONTENTS_END: &str = "
# About

- [Beside other tools](comparison.md)
- [Architecture](architecture.md)
";

fn contents() -> String {
    let mut text = CONTENTS.to_owned();
    for check in checks::ALL {
        writeln!(text, "  - [{id}](checks/{id}.md)", id = check.id).unwrap();
    }
    text.push_str("- [Reasons of conditions](reasons.md)\n- [Metrics](metrics.md)\n- [Queries](queries.md)\n- [Rights](rights.md)\n- [Alerts]()\n");
    for page in pages().iter().filter(|page| page.starts_with("runbooks/")) {
        let name = page.trim_start_matches("runbooks/").trim_end_matches(".md");
        writeln!(text, "  - [{name}]({page})").unwrap();
    }
    text + CONTENTS_END
}

#[test]
fn the_contents_list_every_page() {
    let contents = contents();
    assert_current("docs/SUMMARY.md", &contents);
    for page in pages().iter().filter(|page| *page != "SUMMARY.md") {
        assert!(
            contents.contains(&format!("({page})")),
            "docs/{page} is in no chapter"
        );
    }
}

const RECIPES: &str = "\
<!-- Generated from examples: make bless -->
# Recipes by protocol

A policy for each way in which connections are used: what goes wrong, and what to declare. Change names and numbers to
yours, judge the draft with `evenkeel audit --policy FILE` before it is applied, and apply it. A number that you do not know
is better left out: it is unknown then, and evenkeel judges the best and the worst case. Each field is in the
[API reference](api.md), what is judged in [checks](checks/README.md).
";

/// The examples that are recipes, with the checks that their protocol meets first.
const EXAMPLES: [(&str, &[&str]); 7] = [
    (
        "grpc-service",
        &[
            "path-idle-budget",
            "keepalive-ping-floor",
            "backend-no-rebalance-path",
        ],
    ),
    ("http-pool", &["keepalive-order", "path-idle-budget"]),
    ("database-pool", &["path-idle-budget", "keepalive-netns-gap"]),
    (
        "message-queue",
        &["path-idle-budget", "backend-no-rebalance-path"],
    ),
    ("long-poll", &["l7-deadline-order", "path-idle-budget"]),
    ("batch-job", &["path-idle-budget", "l7-deadline-order"]),
    ("platform", &["proxy-bounds", "detection-vs-grace"]),
];

/// An example: its first comment is the heading, those before the object the text, the rest the policy.
fn recipe(name: &str, judged_by: &[&str]) -> String {
    let text = std::fs::read_to_string(root().join(format!("examples/{name}.yaml"))).unwrap();
    let at = text.find("apiVersion:").unwrap();
    let (comment, policy) = text.split_at(at);
    let mut lines = comment.lines().map(|line| line.trim_start_matches('#').trim());
    let heading = lines.next().unwrap().trim_end_matches('.');
    let body: Vec<_> = lines.skip_while(|line| line.is_empty()).collect();
    let checks: Vec<_> = judged_by
        .iter()
        .map(|id| format!("[{id}](checks/{id}.md)"))
        .collect();
    for id in judged_by {
        assert!(checks::ALL.iter().any(|check| check.id == *id), "{id}");
    }
    format!(
        "\n## {heading}\n\n{}\n\nFirst judged by {}.\n\n```yaml\n{policy}```\n",
        body.join("\n").trim(),
        checks.join(", ")
    )
}

#[test]
fn the_recipes_are_the_examples() {
    let mut page = RECIPES.to_owned();
    for (name, judged_by) in EXAMPLES {
        page.push_str(&recipe(name, judged_by));
    }
    assert_current("docs/recipes.md", &page);
    let files = std::fs::read_dir(root().join("examples")).unwrap();
    for path in files.map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let named = EXAMPLES.iter().any(|(example, _)| name == *example);
        // Folders, and what the demo is made of, are none.
        let other = path.is_dir() || name.starts_with("demo");
        assert!(named || other, "{} is no recipe", path.display());
    }
}

/// What is written in pages as a policy is one.
#[test]
fn policies_in_pages_are_policies() {
    for (page, text) in super::texts() {
        for block in super::blocks(&text)
            .iter()
            .filter(|block| block.language == "yaml")
        {
            let text = block.lines.join("\n");
            if text.contains("kind: TrafficHealthPolicy") || text.contains("kind: ClusterTrafficHealthPolicy")
            {
                let object: Value =
                    serde_saphyr::from_str(&text).unwrap_or_else(|why| panic!("{page}: {why}"));
                assert!(evenkeel::api::local::validate(&object).is_ok(), "{page}: {text}");
            }
        }
    }
}
