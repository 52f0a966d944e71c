//! Which crates the core is built from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::complain;

/// Crates that do IO, log or keep time.
const FOREIGN: &[&str] = &[
    "chrono",
    "env_logger",
    "futures",
    "hyper",
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

/// What a dependency of the core uses only where another package of the workspace asks it to.
const SWITCHED_OFF: &[(&str, &str)] = &[("jiff", "jiff-static"), ("jiff", "log"), ("jiff-core", "log")];

/// How the core has its calendar: with `std` it would have a clock.
const JIFF: &str = r#"jiff = { version = "0.2", default-features = false, features = ["alloc"] }"#;

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
    assert_eq!(manifest.matches("jiff").count(), 1, "{manifest}");
    assert!(manifest.contains(JIFF), "jiff without std: {manifest}");
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
            // The lock file holds what any package of the workspace switches on.
            if SWITCHED_OFF.contains(&(name.as_str(), next.as_str())) {
                continue;
            }
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
