//! Our rules, as a Prometheus without its operator loads them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Programs;
use crate::repository::root;

/// Where the rules and their unit tests lie.
const FOLDER: &str = "manifests/components/prometheus";

fn yaml(file: &str) -> Result<Value> {
    let path = root().join(FOLDER).join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is no YAML", path.display()))
}

/// The rules: what our `PrometheusRule` has below `spec`.
pub fn rules() -> Result<Value> {
    Ok(yaml("rules.yaml")?["spec"].take())
}

/// A copy of the rules that waits for a second where the rules wait for minutes. How long they wait is tested by
/// promtool, which moves the clock.
pub fn impatient(mut rules: Value) -> Value {
    for group in rules["groups"].as_array_mut().into_iter().flatten() {
        for rule in group["rules"].as_array_mut().into_iter().flatten() {
            if rule.get("for").is_some() {
                rule["for"] = "1s".into();
            }
        }
    }
    rules
}

/// Runs promtool's check of the rules; its output.
pub fn check_rules(programs: &Programs, folder: &Path) -> Result<String> {
    std::fs::write(folder.join("rules.yaml"), rules()?.to_string())?;
    promtool(
        programs,
        folder,
        &["check", "rules", "--lint-fatal", "rules.yaml"],
    )
}

/// Runs the unit tests of the rules; promtool's output.
pub fn test_rules(programs: &Programs, folder: &Path) -> Result<String> {
    std::fs::write(folder.join("rules.yaml"), rules()?.to_string())?;
    let tests = root().join(FOLDER).join("rules-test.yaml");
    std::fs::copy(&tests, folder.join("rules-test.yaml"))
        .with_context(|| format!("copying {}", tests.display()))?;
    promtool(programs, folder, &["test", "rules", "rules-test.yaml"])
}

fn promtool(programs: &Programs, folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(&programs.promtool)
        .args(arguments)
        .current_dir(folder)
        .output()
        .context("running promtool")?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if !output.status.success() {
        bail!("promtool {} failed:\n{text}", arguments.join(" "));
    }
    Ok(text)
}
