//! Stands between Docker and runc on machines that lack a capability.
//!
//! A container engine asks for every capability when a container is privileged,
//! and runc gives up on those that the machine itself does not have (a small
//! virtual machine, a container). This takes them out of the order, and what needs
//! them with them, and hands the rest to runc.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value;

/// Needed to raise limits and to lower the score that the kernel ends processes by.
const RESOURCE: &str = "CAP_SYS_RESOURCE";

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<String> = args
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    if let Err(error) = ease(&words) {
        eprintln!("evenkeel-oci: {error}");
        return ExitCode::FAILURE;
    }
    let error = Command::new("runc").args(args).exec();
    eprintln!("evenkeel-oci: starting runc: {error}");
    ExitCode::FAILURE
}

/// Rewrites the file that runc is about to read, if it is about to start a process.
fn ease(words: &[String]) -> Result<(), String> {
    let has = |command: &str| words.iter().any(|word| word == command);
    if has("create") || has("run") {
        let bundle = value(words, &["--bundle", "-b"]).map_or_else(|| PathBuf::from("."), PathBuf::from);
        rewrite(&bundle.join("config.json"), |spec| {
            if let Some(process) = spec.get_mut("process") {
                lessen(process);
            }
        })
    } else if has("exec") {
        match value(words, &["--process", "-p"]) {
            Some(file) => rewrite(Path::new(file), lessen),
            None => Ok(()),
        }
    } else {
        Ok(())
    }
}

/// The value of a flag, written as one word or two.
fn value<'a>(words: &'a [String], flags: &[&str]) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(at, word)| {
        flags.iter().find_map(|flag| match word.strip_prefix(flag)? {
            "" => words.get(at + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        })
    })
}

fn rewrite(path: &Path, change: impl FnOnce(&mut Value)) -> Result<(), String> {
    let text = fs::read(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    let mut value = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    change(&mut value);
    fs::write(path, value.to_string()).map_err(|error| format!("writing {}: {error}", path.display()))
}

/// Takes out of a process what needs the capability.
fn lessen(process: &mut Value) {
    for set in process["capabilities"]
        .as_object_mut()
        .into_iter()
        .flat_map(|sets| sets.values_mut())
    {
        if let Some(names) = set.as_array_mut() {
            names.retain(|name| name != RESOURCE);
        }
    }
    let Some(fields) = process.as_object_mut() else {
        return;
    };
    fields.remove("rlimits");
    if fields
        .get("oomScoreAdj")
        .and_then(Value::as_i64)
        .is_some_and(|score| score < 0)
    {
        fields.insert("oomScoreAdj".into(), 0.into());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn what_needs_the_capability_is_gone_and_the_rest_stays() {
        let mut process = json!({
            "args": ["sh"],
            "capabilities": {"bounding": [RESOURCE, "CAP_SYS_ADMIN"], "effective": [RESOURCE]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1, "soft": 1}],
            "oomScoreAdj": -999,
        });
        lessen(&mut process);
        assert_eq!(
            process,
            json!({
                "args": ["sh"],
                "capabilities": {"bounding": ["CAP_SYS_ADMIN"], "effective": []},
                "oomScoreAdj": 0,
            })
        );
    }

    #[test]
    fn flags_are_found_in_both_forms() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            value(&words("run --bundle /a id"), &["--bundle", "-b"]),
            Some("/a")
        );
        assert_eq!(
            value(&words("run --bundle=/a id"), &["--bundle", "-b"]),
            Some("/a")
        );
        assert_eq!(value(&words("run id"), &["--bundle", "-b"]), None);
    }

    #[test]
    fn a_config_without_a_process_stays_as_it_is() {
        let folder = std::env::temp_dir().join(format!("evenkeel-oci-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.json"), r#"{"ociVersion":"1.0.2"}"#).unwrap();
        ease(&["create".into(), "-b".into(), folder.display().to_string()]).unwrap();
        let text = fs::read_to_string(folder.join("config.json")).unwrap();
        fs::remove_dir_all(folder).unwrap();
        assert_eq!(text, r#"{"ociVersion":"1.0.2"}"#);
    }
}
