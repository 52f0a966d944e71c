//! What two audits differ in: what is new, what is gone, and what is judged otherwise.
//!
//! A finding is the same by its id. A number in its message that moves within one verdict is no change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::builder::styling::AnsiColor;
use evenkeel_core::findings::{Finding, FindingList, FindingVerdict, SubjectView};
use evenkeel_core::judge::Severity;
use serde::{Deserialize, Serialize};

use super::table::mark;
use super::{DIGITS, colour};
use crate::escape::line;
use crate::render::screen::Screen;
use crate::render::{coloured, filled, markdown_table};

/// Most findings of a kind that are shown to people; JSON has all.
const SHOWN: usize = 50;

/// Margin of the lines below a finding.
const INNER: &str = "      ";

/// An audit, as far as two of them are compared: what `audit -o json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Audit {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) findings: Vec<Said>,
    pub(crate) unreadable: Vec<Unread>,
}

/// One finding, as far as it is compared and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Said {
    pub(crate) id: String,
    pub(crate) check: String,
    pub(crate) verdict: FindingVerdict,
    pub(crate) severity: Severity,
    pub(crate) subject: SubjectView,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exception: Option<Accepted>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) cause: String,
    pub(crate) message: String,
}

/// Why somebody has accepted a finding for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    pub(crate) reason: String,
    pub(crate) expires_at: i64,
}

/// What could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unread {
    pub(crate) source: String,
    pub(crate) reason: String,
}

impl From<&Finding> for Said {
    fn from(one: &Finding) -> Self {
        Self {
            id: one.id.clone(),
            check: one.check.to_owned(),
            verdict: one.verdict,
            severity: one.severity,
            subject: one.subject.clone(),
            policy: one.policy.clone(),
            exception: one.exception.as_ref().map(|exception| Accepted {
                reason: exception.reason.to_string(),
                expires_at: exception.expires_at,
            }),
            cause: one.cause.to_owned(),
            message: one.message.clone(),
        }
    }
}

impl From<&FindingList> for Audit {
    fn from(list: &FindingList) -> Self {
        let unread = list.unreadable.iter().map(|one| Unread {
            source: one.source.clone(),
            reason: one.reason.clone(),
        });
        Self {
            api_version: list.api_version.to_owned(),
            kind: list.kind.to_owned(),
            findings: list.findings.iter().map(Said::from).collect(),
            unreadable: unread.collect(),
        }
    }
}

impl Said {
    /// What makes it another verdict.
    fn judged(&self) -> (FindingVerdict, Severity, &str, bool) {
        (self.verdict, self.severity, &self.cause, self.exception.is_some())
    }

    /// How bad it is: a finding that somebody accepts is as good as none.
    fn rank(&self) -> (bool, Severity, bool) {
        let violated = self.verdict == FindingVerdict::Violated;
        (self.exception.is_none(), self.severity, violated)
    }

    /// The verdict in words.
    fn words(&self) -> String {
        let mut words = vec![self.severity.name()];
        let verdict = self.verdict.name();
        // What is unknown has a level of that name.
        words.extend((self.verdict != FindingVerdict::Unknown).then_some(verdict));
        words.extend((!self.cause.is_empty()).then_some(&*self.cause));
        words.extend(self.exception.is_some().then_some("accepted"));
        words.join(", ")
    }
}

/// A finding that is judged otherwise than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) before: Said,
    pub(crate) after: Said,
}

impl Change {
    /// Whether it is worse than before; what can no longer be judged may be.
    fn is_worse(&self) -> bool {
        let blind = |one: &Said| one.verdict == FindingVerdict::Unknown;
        self.after.rank() > self.before.rank() || blind(&self.after) && !blind(&self.before)
    }
}

/// What two audits differ in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Changes {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    /// Found now, and not before.
    pub(crate) new: Vec<Said>,
    /// Found before, and not now.
    pub(crate) gone: Vec<Said>,
    /// Judged otherwise.
    pub(crate) changed: Vec<Change>,
    /// How many are as before.
    pub(crate) unchanged: usize,
    /// What could be read before, and not now.
    pub(crate) unread: Vec<Unread>,
}

impl Changes {
    /// From one audit to the next.
    pub(crate) fn of(before: &Audit, after: &Audit) -> Self {
        let old: BTreeMap<_, _> = before.findings.iter().map(|one| (&*one.id, one)).collect();
        let ids: BTreeSet<_> = after.findings.iter().map(|one| &*one.id).collect();
        let (mut new, mut changed, mut unchanged) = (Vec::new(), Vec::new(), 0);
        for one in &after.findings {
            match old.get(&*one.id) {
                None => new.push(one.clone()),
                Some(before) if before.judged() != one.judged() => changed.push(Change {
                    before: (*before).clone(),
                    after: one.clone(),
                }),
                Some(_) => unchanged += 1,
            }
        }
        let gone = before.findings.iter().filter(|one| !ids.contains(&*one.id));
        let unread: BTreeSet<_> = before.unreadable.iter().map(|one| &*one.source).collect();
        let newly = after
            .unreadable
            .iter()
            .filter(|one| !unread.contains(&*one.source));
        Self {
            api_version: "evenkeel.dev/v1alpha1",
            kind: "FindingDiff",
            new,
            gone: gone.cloned().collect(),
            changed,
            unchanged,
            unread: newly.cloned().collect(),
        }
    }

    /// Whether nothing is otherwise than before.
    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty() && self.changed.is_empty() && self.unread.is_empty()
    }

    /// What is new or worse and that nobody accepts.
    pub(crate) fn worse(&self) -> impl Iterator<Item = &Said> {
        let changed = self
            .changed
            .iter()
            .filter(|one| one.is_worse())
            .map(|one| &one.after);
        self.new
            .iter()
            .chain(changed)
            .filter(|one| one.exception.is_none())
    }

    /// Keeps what is about these checks.
    pub(crate) fn retain(&mut self, asks: &dyn Fn(&str) -> bool) {
        self.new.retain(|one| asks(&one.check));
        self.gone.retain(|one| asks(&one.check));
        self.changed.retain(|one| asks(&one.after.check));
    }

    /// The counts in a sentence.
    pub(crate) fn counts(&self) -> String {
        let mut text = format!(
            "{} new, {} gone, {} judged otherwise, {} as before",
            self.new.len(),
            self.gone.len(),
            self.changed.len(),
            self.unchanged
        );
        if !self.unread.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(text, "; {} can no longer be read", self.unread.len());
        }
        text
    }

    /// For people: a section for each kind of difference, then the counts and the next command.
    pub(crate) fn page(&self, again: &str, screen: Screen) -> String {
        let mut text = section(
            "New",
            self.new.iter().map(|one| row(one, &one.words(), None, screen)),
        );
        text += &section(
            "Judged otherwise",
            self.changed.iter().map(|one| {
                let words = format!("{} → {}", one.before.words(), one.after.words());
                row(&one.after, &words, None, screen)
            }),
        );
        text += &section(
            "Gone",
            self.gone.iter().map(|one| {
                let tick = coloured("✓", Some(AnsiColor::Green), screen);
                row(one, &format!("was {}", one.words()), Some(tick), screen)
            }),
        );
        for one in &self.unread {
            let said = format!("No longer read: {}: {}", one.source, one.reason);
            text = text + &filled(&said, "", "  ", screen.page()) + "\n";
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text = text + &self.counts() + ".\n";
        if let Some(first) = self.worse().max_by_key(|one| one.severity) {
            let id = line(first.id.get(..DIGITS).unwrap_or(&first.id)).into_owned();
            text = text + "Next: " + crate::render::program() + " explain " + &id + &line(again) + "\n";
        }
        text
    }

    /// For tickets.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# evenkeel diff\n\n{}.\n", self.counts());
        let rows = |what: &str, one: &Said, words: String| {
            vec![
                what.to_owned(),
                one.check.clone(),
                one.subject.to_string(),
                words,
                one.message.clone(),
            ]
        };
        let new = self.new.iter().map(|one| rows("new", one, one.words()));
        let changed = self.changed.iter().map(|one| {
            let words = format!("{} → {}", one.before.words(), one.after.words());
            rows("judged otherwise", &one.after, words)
        });
        let gone = self
            .gone
            .iter()
            .map(|one| rows("gone", one, format!("was {}", one.words())));
        if !self.is_empty() {
            text.push('\n');
            let heads = ["What", "Check", "Subject", "Verdict", "Message"];
            text += &markdown_table(&heads, new.chain(changed).chain(gone));
        }
        if !self.unread.is_empty() {
            text.push('\n');
            let rows = self
                .unread
                .iter()
                .map(|one| vec![one.source.clone(), one.reason.clone()]);
            text += &markdown_table(&["No longer read", "Reason"], rows);
        }
        text
    }
}

/// Rows below the name of what they have in common; empty where there are none.
fn section(name: &str, rows: impl ExactSizeIterator<Item = String>) -> String {
    let count = rows.len();
    if count == 0 {
        return String::new();
    }
    let mut text = format!("{name}: {count}\n");
    text.extend(rows.take(SHOWN));
    if count > SHOWN {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  and {} more; -o json has all", count - SHOWN);
    }
    text
}

/// A finding in lines: what it is about, how it is judged, and the message.
fn row(one: &Said, words: &str, instead: Option<String>, screen: Screen) -> String {
    let mark = instead.unwrap_or_else(|| match one.exception {
        Some(_) => "~".to_owned(),
        None => coloured(mark(Some(one.severity)), colour(one.severity), screen),
    });
    let id = one.id.get(..DIGITS).unwrap_or(&one.id);
    let head = format!("{}: {} [{id}]", one.check, one.subject);
    // The mark may be coloured, and takes one column.
    let head = filled(&head, "  * ", INNER, screen.page());
    let head = head.strip_prefix("  * ").unwrap_or(&head);
    let words = filled(words, INNER, INNER, screen.page());
    let message = filled(&one.message, INNER, INNER, screen.page());
    format!("  {mark} {head}\n{words}\n{message}\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rstest::rstest;

    use super::*;
    use crate::render::tests;

    fn said(id: &str, severity: Severity, verdict: FindingVerdict) -> Said {
        let mut one = Said::from(&tests::finding("x"));
        one.id = format!("{id}00000000000000");
        one.severity = severity;
        one.verdict = verdict;
        one.exception = None;
        one.cause.clear();
        one
    }

    fn audit(findings: &[Said]) -> Audit {
        Audit {
            findings: findings.to_vec(),
            unreadable: Vec::new(),
            ..Audit::from(&tests::list("x"))
        }
    }

    fn accepted(mut one: Said) -> Said {
        one.exception = Some(Accepted {
            reason: "known".into(),
            expires_at: 1_900_000_000,
        });
        one
    }

    const WARNING: (Severity, FindingVerdict) = (Severity::Warning, FindingVerdict::Violated);
    const RISK: (Severity, FindingVerdict) = (Severity::Warning, FindingVerdict::AtRisk);
    const CRITICAL: (Severity, FindingVerdict) = (Severity::Critical, FindingVerdict::Violated);
    const UNKNOWN: (Severity, FindingVerdict) = (Severity::Unknown, FindingVerdict::Unknown);

    /// How many are new, gone, and judged otherwise, and how many of these are worse.
    #[rstest]
    #[case::nothing(None, None, [0, 0, 0, 0])]
    #[case::new(None, Some(WARNING), [1, 0, 0, 1])]
    #[case::gone(Some(WARNING), None, [0, 1, 0, 0])]
    #[case::same(Some(WARNING), Some(WARNING), [0, 0, 0, 0])]
    #[case::worse(Some(WARNING), Some(CRITICAL), [0, 0, 1, 1])]
    #[case::better(Some(CRITICAL), Some(WARNING), [0, 0, 1, 0])]
    #[case::from_risk(Some(RISK), Some(WARNING), [0, 0, 1, 1])]
    #[case::to_risk(Some(WARNING), Some(RISK), [0, 0, 1, 0])]
    #[case::no_longer_known(Some(CRITICAL), Some(UNKNOWN), [0, 0, 1, 1])]
    #[case::known_again(Some(UNKNOWN), Some(WARNING), [0, 0, 1, 1])]
    fn differences(
        #[case] before: Option<(Severity, FindingVerdict)>,
        #[case] after: Option<(Severity, FindingVerdict)>,
        #[case] expected: [usize; 4],
    ) {
        let audit = |one: Option<(Severity, FindingVerdict)>| {
            let findings = one.map(|(severity, verdict)| said("aa", severity, verdict));
            audit(findings.as_slice())
        };
        let changes = Changes::of(&audit(before), &audit(after));
        let counts = [
            changes.new.len(),
            changes.gone.len(),
            changes.changed.len(),
            changes.worse().count(),
        ];
        assert_eq!(counts, expected);
    }

    #[test]
    fn what_somebody_accepts_is_as_good_as_none() {
        let one = || said("aa", Severity::Critical, FindingVerdict::Violated);
        let worse =
            |before: &[Said], after: &[Said]| Changes::of(&audit(before), &audit(after)).worse().count();
        assert_eq!(worse(&[], &[accepted(one())]), 0);
        assert_eq!(worse(&[one()], &[accepted(one())]), 0);
        // That it is no longer accepted is as bad as that it is new.
        assert_eq!(worse(&[accepted(one())], &[one()]), 1);
    }

    #[test]
    fn a_number_that_moves_within_a_verdict_is_no_change() {
        let before = said("aa", Severity::Warning, FindingVerdict::AtRisk);
        let mut after = before.clone();
        after.message = "another number".into();
        let changes = Changes::of(&audit(&[before]), &audit(&[after]));
        assert!(changes.is_empty() && changes.unchanged == 1);
    }

    #[test]
    fn what_can_no_longer_be_read_is_told() {
        let mut after = audit(&[]);
        after.unreadable = vec![Unread {
            source: "nodes".into(),
            reason: "missing right: list nodes".into(),
        }];
        let changes = Changes::of(&audit(&[]), &after);
        assert!(!changes.is_empty());
        assert!(
            changes
                .page("", Screen::ENDLESS)
                .starts_with("No longer read: nodes: missing right")
        );
        assert!(Changes::of(&after, &after).is_empty());
    }

    #[test]
    fn a_page() {
        let before = audit(&[
            said("aa", Severity::Warning, FindingVerdict::AtRisk),
            said("bb", Severity::Critical, FindingVerdict::Violated),
            said("cc", Severity::Info, FindingVerdict::AtRisk),
        ]);
        let after = audit(&[
            said("aa", Severity::Critical, FindingVerdict::Violated),
            accepted(said("cc", Severity::Info, FindingVerdict::AtRisk)),
            said("dd", Severity::Unknown, FindingVerdict::Unknown),
        ]);
        let changes = Changes::of(&before, &after);
        let screen = Screen {
            columns: Some(80),
            colour: false,
        };
        let page = changes.page(" -n shop", screen);
        insta::assert_snapshot!("changes", page + "\n" + &changes.markdown());
    }
}
