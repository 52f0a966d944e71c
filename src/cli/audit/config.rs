//! The settings of an audit that a team keeps beside its files, so that people and CI ask the same.
//!
//! ```yaml
//! # evenkeel.yaml
//! audit:
//!   namespace: [shop]
//!   failOn: warning
//!   ignore: [accepted.yaml]
//! ```
//!
//! A flag wins over its setting, a list as a whole. Which cluster is asked, and as whom, is never taken from such a file: a
//! kubeconfig may name programs to run, and the file may be in the folder of another person.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::Deserialize;

use crate::cli::checks::is_check;
use crate::cli::level::Level;
use crate::cli::yaml;
use crate::render::AuditForm;

/// The file's name in the working directory.
const HERE: &str = "evenkeel.yaml";

/// Its place below the folder of a user's settings.
const OWN: &str = "evenkeel/config.yaml";

/// A file of settings.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConfigFile {
    audit: Settings,
}

/// What a file sets: each stands for the flag of its name.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Settings {
    pub(super) check: Vec<String>,
    pub(super) namespace: Vec<String>,
    pub(super) severity: Option<Level>,
    pub(super) fail_on: Option<Level>,
    /// Paths from the folder of the file.
    pub(super) ignore: Vec<PathBuf>,
    pub(super) output: Option<AuditForm>,
    pub(super) all: bool,
    pub(super) met: bool,
}

/// The settings, and the file that they are from.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) settings: Settings,
    pub(super) file: Option<PathBuf>,
}

impl Config {
    /// Reads the file that is named, else the first that is there: in the working directory, then the user's own.
    pub(super) fn read(named: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = named.map_or_else(found, |named| Some(named.to_owned())) else {
            return Ok(Self::default());
        };
        let ConfigFile { audit: mut settings } = yaml::read(&file)?;
        for id in &settings.check {
            if let Err(why) = is_check(id) {
                bail!("{}: audit.check: {why}", file.display());
            }
        }
        let folder = file.parent().unwrap_or(Path::new(""));
        for path in &mut settings.ignore {
            *path = folder.join(&*path);
        }
        Ok(Self {
            settings,
            file: Some(file),
        })
    }

    /// What a person may want to know: which flags a file sets, as that changes what is shown and the exit code.
    pub(super) fn note(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        let set = self.settings.set();
        (!set.is_empty()).then(|| format!("{} sets {}", file.display(), set.join(", ")))
    }
}

impl Settings {
    /// The flags that are set.
    fn set(&self) -> Vec<&'static str> {
        let all = [
            ("check", !self.check.is_empty()),
            ("namespace", !self.namespace.is_empty()),
            ("severity", self.severity.is_some()),
            ("failOn", self.fail_on.is_some()),
            ("ignore", !self.ignore.is_empty()),
            ("output", self.output.is_some()),
            ("all", self.all),
            ("met", self.met),
        ];
        all.into_iter().filter(|one| one.1).map(|one| one.0).collect()
    }
}

/// The first file that is there.
fn found() -> Option<PathBuf> {
    let folder = env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty());
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".config"));
    let own = folder
        .map(PathBuf::from)
        .or_else(home)
        .map(|folder| folder.join(OWN));
    let all = [Some(PathBuf::from(HERE)), own];
    all.into_iter().flatten().find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rstest::rstest;

    use super::*;

    fn read(text: &str) -> (tempfile::TempDir, anyhow::Result<Config>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.yaml");
        std::fs::write(&file, text).unwrap();
        let config = Config::read(Some(&file));
        (folder, config)
    }

    #[test]
    fn each_flag_may_be_set() {
        let (folder, config) = read(
            "audit:\n  check: [path-idle-budget]\n  namespace: [shop]\n  severity: info\n  failOn: warning\n  \
             ignore: [a.yaml, /b.yaml]\n  output: json\n  all: true\n  met: true\n",
        );
        let config = config.unwrap();
        let expected = Settings {
            check: vec!["path-idle-budget".into()],
            namespace: vec!["shop".into()],
            severity: Some(Level::Info),
            fail_on: Some(Level::Warning),
            ignore: vec![folder.path().join("a.yaml"), "/b.yaml".into()],
            output: Some(AuditForm::Json),
            all: true,
            met: true,
        };
        assert_eq!(config.settings, expected);
        let note = config.note().unwrap();
        assert!(
            note.ends_with("sets check, namespace, severity, failOn, ignore, output, all, met"),
            "{note}"
        );
    }

    #[rstest]
    #[case::nothing("")]
    #[case::no_setting("audit: {}\n")]
    fn nothing_may_be_set(#[case] text: &str) {
        let config = read(text).1.unwrap();
        assert_eq!(config.settings, Settings::default());
        assert_eq!(config.note(), None);
    }

    #[rstest]
    #[case::mistyped("audit: {failon: warning}", "failon")]
    #[case::no_level("audit: {failOn: bad}", "bad")]
    #[case::no_check("audit: {check: [keepalive-ordr]}", "did you mean keepalive-order?")]
    // Which cluster is asked is nothing that a file in some folder may say.
    #[case::a_cluster("audit: {kubeconfig: /tmp/evil}", "kubeconfig")]
    fn mistakes_are_refused(#[case] text: &str, #[case] expected: &str) {
        let said = read(text).1.unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
}
