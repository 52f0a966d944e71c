//! `audit --ignore FILE`: findings that are accepted for a time, in the form in which policies accept them.
//!
//! ```yaml
//! exceptions:
//!   - check: dns-n1-headroom
//!     subject: {kind: Cluster}
//!     reason: one replica until the new nodes are there
//!     expiresAt: 2027-01-31T00:00:00Z
//! ```
//!
//! Without a subject all findings of the check are accepted, and without a namespace or name all subjects of that kind.

use std::path::{Path, PathBuf};

use anyhow::bail;
use evenkeel_core::findings::{ExceptionView, FindingList, Note, SubjectKind, SubjectView};
use serde::Deserialize;

use crate::cli::checks::is_check;
use crate::cli::yaml;

/// Most problems that are named.
const PROBLEMS: usize = 5;

/// Such a file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct IgnoreFile {
    exceptions: Vec<IgnoreEntry>,
}

/// One exception.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IgnoreEntry {
    check: String,
    subject: Option<Excepted>,
    reason: String,
    expires_at: String,
}

/// What accepted findings are about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Excepted {
    kind: SubjectKind,
    namespace: Option<String>,
    name: Option<String>,
}

impl Excepted {
    fn covers(&self, subject: &SubjectView) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        self.kind == subject.kind && is(&self.namespace, &subject.namespace) && is(&self.name, &subject.name)
    }
}

/// One exception that was read and understood.
#[derive(Debug)]
struct IgnoreRule {
    entry: IgnoreEntry,
    /// When it ends, in seconds since the Unix epoch.
    end: i64,
    /// Where it was read.
    file: PathBuf,
}

/// What the files accept.
#[derive(Debug, Default)]
pub(super) struct Ignored(Vec<IgnoreRule>);

impl Ignored {
    /// Reads the files.
    pub(super) fn read(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for file in files {
            let read: IgnoreFile = yaml::read(file)?;
            let mut problems = Vec::new();
            for (at, entry) in read.exceptions.into_iter().enumerate() {
                match end(&entry) {
                    Ok(end) => all.push(IgnoreRule {
                        entry,
                        end,
                        file: file.clone(),
                    }),
                    Err(why) => problems.push(format!("exceptions[{at}].{why}")),
                }
            }
            refuse(file, &problems)?;
        }
        Ok(Self(all))
    }

    /// Marks what they accept now; returns what a person may want to know of them: what has ended, and what accepts nothing.
    pub(super) fn accept(&self, list: &mut FindingList, now: i64) -> Vec<Note> {
        let mut notes: Vec<Note> = Vec::new();
        for one in &self.0 {
            let covered = |check: &str, subject: &SubjectView| {
                check == one.entry.check
                    && one
                        .entry
                        .subject
                        .as_ref()
                        .is_none_or(|wanted| wanted.covers(subject))
            };
            let mut found = list
                .findings
                .iter_mut()
                .filter(|finding| covered(finding.check, &finding.subject));
            let (check, file) = (&one.entry.check, one.file.display());
            if one.end <= now {
                let ended = &one.entry.expires_at;
                if found.next().is_some() {
                    notes.push(
                        format!("{file}: the exception for {check} has ended ({ended}): its findings count")
                            .into(),
                    );
                }
                continue;
            }
            let mut any = false;
            for finding in found {
                any = true;
                if finding.exception.is_none() {
                    finding.exception = Some(ExceptionView {
                        reason: one.entry.reason.as_str().into(),
                        expires_at: one.end,
                        capped_at: None,
                    });
                }
            }
            if !any {
                notes.push(format!("{file}: an exception for {check} accepts nothing that was found").into());
            }
        }
        // Accepted ones come last, else in the order that they have.
        list.findings.sort_by_key(|one| one.exception.is_some());
        notes
    }
}

/// When an entry ends, or what is wrong with it.
fn end(entry: &IgnoreEntry) -> Result<i64, String> {
    is_check(&entry.check).map_err(|why| format!("check: {why}"))?;
    if entry.reason.trim().is_empty() {
        return Err("reason: must say why".into());
    }
    let end: Result<jiff::Timestamp, _> = entry.expires_at.parse();
    end.map(jiff::Timestamp::as_second).map_err(|_| {
        format!(
            "expiresAt: must be a moment such as 2027-01-31T00:00:00Z, found {:?}",
            entry.expires_at
        )
    })
}

fn refuse(file: &Path, problems: &[String]) -> anyhow::Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = problems.iter().take(PROBLEMS).map(String::as_str).collect();
    let more = match problems.len().saturating_sub(PROBLEMS) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    bail!("{}: {}{more}", file.display(), named.join("; "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rstest::rstest;

    use super::*;
    use crate::render::tests;

    fn read(text: &str) -> anyhow::Result<Ignored> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Ignored::read(&[file.path().into()])
    }

    fn list() -> FindingList {
        let mut list = tests::list("x");
        for (finding, name) in list.findings.iter_mut().zip(["api", "web"]) {
            finding.exception = None;
            finding.subject.namespace = "shop".into();
            finding.subject.name = name.into();
        }
        list
    }

    const NOW: i64 = 1_800_000_000;

    /// Which findings are accepted, and how many notes there are.
    #[rstest]
    #[case::all_of_the_check("", "2030-01-01T00:00:00Z", &["api", "web"], 0)]
    #[case::a_kind("subject: {kind: Service}", "2030-01-01T00:00:00Z", &["api", "web"], 0)]
    #[case::a_name("subject: {kind: Service, namespace: shop, name: web}", "2030-01-01T00:00:00Z", &["web"], 0)]
    #[case::elsewhere("subject: {kind: Service, namespace: store}", "2030-01-01T00:00:00Z", &[], 1)]
    #[case::another_kind("subject: {kind: Cluster}", "2030-01-01T00:00:00Z", &[], 1)]
    #[case::has_ended("", "2026-01-01T00:00:00Z", &[], 1)]
    fn what_is_accepted(
        #[case] subject: &str,
        #[case] expires: &str,
        #[case] expected: &[&str],
        #[case] notes: usize,
    ) {
        let text = format!(
            "exceptions:\n  - check: path-idle-budget\n    reason: known\n    expiresAt: {expires}\n    {subject}\n"
        );
        let mut list = list();
        let told = read(&text).unwrap().accept(&mut list, NOW);
        let accepted = list.findings.iter().filter(|one| one.exception.is_some());
        let accepted: Vec<_> = accepted.map(|one| one.subject.name.as_str()).collect();
        assert_eq!(accepted, expected);
        assert_eq!(told.len(), notes, "{told:?}");
        // What is accepted comes last.
        assert!(list.findings.is_sorted_by_key(|one| one.exception.is_some()));
    }

    #[test]
    fn what_a_policy_accepts_stays_its_own() {
        let mut list = tests::list("x");
        let text =
            "exceptions:\n  - {check: path-idle-budget, reason: mine, expiresAt: 2030-01-01T00:00:00Z}\n";
        assert!(read(text).unwrap().accept(&mut list, NOW).is_empty());
        assert_eq!(&*list.findings[0].exception.as_ref().unwrap().reason, "x");
    }

    #[rstest]
    #[case::no_check(
        "- {check: path-idle-bugdet, reason: a, expiresAt: 2030-01-01T00:00:00Z}",
        "did you mean path-idle-budget?"
    )]
    #[case::no_reason(
        "- {check: path-idle-budget, reason: ' ', expiresAt: 2030-01-01T00:00:00Z}",
        "exceptions[0].reason: must say why"
    )]
    #[case::no_moment(
        "- {check: path-idle-budget, reason: a, expiresAt: tomorrow}",
        "found \"tomorrow\""
    )]
    #[case::no_end("- {check: path-idle-budget, reason: a}", "expiresAt")]
    #[case::mistyped(
        "- {check: path-idle-budget, resaon: a, expiresAt: 2030-01-01T00:00:00Z}",
        "resaon"
    )]
    #[case::no_kind(
        "- {check: path-idle-budget, reason: a, expiresAt: 2030-01-01T00:00:00Z, subject: {kind: Pod}}",
        "Pod"
    )]
    fn mistakes_are_refused(#[case] entry: &str, #[case] expected: &str) {
        let said = read(&format!("exceptions:\n  {entry}\n"))
            .unwrap_err()
            .to_string();
        assert!(said.contains(expected), "{said}");
    }
}
