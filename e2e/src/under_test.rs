//! The `evenkeel` binary of this very build, run as people run it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What a run left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Exit code; -1 when it was ended by a signal.
    pub code: i32,
}

/// Runs it.
pub fn evenkeel(arguments: &[&str]) -> Result<Said> {
    let output = Command::new(binary()?)
        .args(arguments)
        .env_remove("KUBECONFIG")
        .output()
        .context("running evenkeel")?;
    Ok(Said {
        out: String::from_utf8(output.stdout).context("the output is no text")?,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    })
}

/// Runs it where it answers in JSON: the answer and the exit code.
pub fn evenkeel_json(arguments: &[&str]) -> Result<(Value, i32)> {
    let said = evenkeel(arguments)?;
    let answer =
        serde_json::from_str(&said.out).with_context(|| format!("no JSON; it said: {}", said.err))?;
    Ok((answer, said.code))
}

/// The binary beside the running test, brought up to date first.
pub fn binary() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BINARY.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    match built {
        Ok(path) => Ok(path),
        Err(why) => anyhow::bail!("building evenkeel: {why}"),
    }
}

/// A copy of a binary, in the folder, in which some words are others of the same length: a stand-in for another release,
/// which says and judges otherwise. Building one takes minutes and would say nothing more.
pub fn altered(binary: &Path, words: &[(&str, &str)], folder: &Path) -> Result<PathBuf> {
    let mut bytes = std::fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
    for (from, to) in words {
        ensure!(from.len() == to.len(), "{from} and {to} differ in length");
        let places: Vec<usize> = bytes
            .windows(from.len())
            .enumerate()
            .filter_map(|(at, window)| (window == from.as_bytes()).then_some(at))
            .collect();
        ensure!(!places.is_empty(), "the binary does not contain {from}");
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    let path = folder.join("evenkeel-altered");
    std::fs::write(&path, bytes)?;
    std::fs::set_permissions(&path, std::fs::metadata(binary)?.permissions())?;
    Ok(path)
}

fn build() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let folder = exe
        .parent()
        .and_then(Path::parent)
        .context("tests lie in a folder of the build")?;
    let target = folder.parent().context("the build lies in a target folder")?;
    let mut cargo = Command::new(env!("CARGO"));
    // Both packages, so that their dependencies have the features they were tested with.
    cargo.args([
        "build",
        "--quiet",
        "-p",
        "evenkeel",
        "-p",
        "evenkeel-e2e",
        "--bin",
        "evenkeel",
    ]);
    if folder.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    cargo.arg("--target-dir").arg(target);
    // Whoever runs a test through cargo has these of the test's package. Build scripts look at them, and half of the
    // dependencies would be built anew on each change between that cargo and this one.
    for (name, _) in std::env::vars_os() {
        let of_a_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(of_a_package) {
            cargo.env_remove(name);
        }
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    ensure!(cargo.current_dir(here).status()?.success(), "cargo build failed");
    Ok(folder.join("evenkeel"))
}
