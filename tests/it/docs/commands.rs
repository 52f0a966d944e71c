//! What the pages tell people to type exists, and the screens are what it prints.

use std::process::{Command, Output};

use super::{bless, blocks, root, texts};

/// The pages with screens of real runs.
const SCREENS: [&str; 2] = ["README.md", "docs/tour.md"];

fn evenkeel(arguments: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(arguments)
        .current_dir(root())
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
        .env_remove("COLUMNS")
        .output()
        .unwrap()
}

/// The arguments of a line that calls evenkeel: up to a comment, a pipe or a redirection.
fn arguments(line: &str) -> Option<Vec<String>> {
    let line = line.trim_start();
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let line = line
        .strip_prefix("kubectl evenkeel ")
        .or_else(|| line.strip_prefix("target/release/evenkeel "))
        .or_else(|| line.strip_prefix("evenkeel "))?;
    let words = line.split_whitespace();
    let words = words.take_while(|word| !word.starts_with(['#', '|', '>', ';', '&', '2']));
    // What stands for a name is taken as one, but a check has to exist.
    let words = words.map(|word| match word.trim_matches(['\'', '"']) {
        "CHECK" => "path-idle-budget".to_owned(),
        word => word.to_owned(),
    });
    Some(words.collect())
}

/// With `--help` at the end, a command whose words and flags exist prints its help, and any other an error.
#[test]
fn every_command_exists() {
    let mut seen = 0;
    for (page, text) in texts() {
        for block in blocks(&text) {
            if !["sh", "console", "bash"].contains(&block.language) {
                continue;
            }
            for line in block.lines {
                let Some(mut arguments) = arguments(line) else {
                    continue;
                };
                arguments.push("--help".to_owned());
                let output = evenkeel(&arguments);
                assert!(
                    output.status.success(),
                    "{page}: {line}\n{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} commands");
}

/// A screen is what its first line prints in a pipe.
#[test]
fn screens_are_what_is_printed() {
    let mut seen = 0;
    for page in SCREENS {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        // From the last one on, so that the places of those before stay.
        for block in blocks(&text)
            .iter()
            .rev()
            .filter(|block| block.language == "console")
        {
            let arguments = arguments(block.lines[0]).unwrap_or_else(|| panic!("{page}: {}", block.lines[0]));
            let printed = String::from_utf8(evenkeel(&arguments).stdout).unwrap();
            assert!(!printed.is_empty(), "{page}: {} prints nothing", block.lines[0]);
            let printed = printed.lines().map(|line| line.trim_end().to_owned());
            lines.splice(block.first + 1..block.first + block.lines.len(), printed);
            seen += 1;
        }
        super::assert_current(page, &(lines.join("\n") + "\n"));
    }
    assert!(bless() || seen > 4, "only {seen} screens");
}
