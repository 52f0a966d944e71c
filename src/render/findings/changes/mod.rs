//! What two audits differ in: what is new, what is gone, and what is judged otherwise.
//!
//! A finding is the same by its id. A number in its message that moves within one verdict is no change.

mod text;

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::findings::{Finding, FindingList, FindingVerdict, SubjectView};
use evenkeel_core::judge::Severity;
use serde::{Deserialize, Serialize};

/// An audit, as far as two of them are compared: what `audit -o json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ComparedAudit {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) findings: Vec<ComparedFinding>,
    pub(crate) unreadable: Vec<Unread>,
}

/// One finding, as far as it is compared and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ComparedFinding {
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

/// Why a finding is accepted for a time.
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

impl From<&Finding> for ComparedFinding {
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

impl From<&FindingList> for ComparedAudit {
    fn from(list: &FindingList) -> Self {
        let unread = list.unreadable.iter().map(|one| Unread {
            source: one.source.clone(),
            reason: one.reason.clone(),
        });
        Self {
            api_version: list.api_version.to_owned(),
            kind: list.kind.to_owned(),
            findings: list.findings.iter().map(ComparedFinding::from).collect(),
            unreadable: unread.collect(),
        }
    }
}

impl ComparedFinding {
    /// What makes it another verdict.
    fn judged(&self) -> (FindingVerdict, Severity, &str, bool) {
        (self.verdict, self.severity, &self.cause, self.exception.is_some())
    }

    /// How bad it is: a finding that is accepted is as good as none.
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
pub(crate) struct ChangedFinding {
    pub(crate) before: ComparedFinding,
    pub(crate) after: ComparedFinding,
}

impl ChangedFinding {
    /// Whether it is worse than before; what can no longer be judged may be.
    fn is_worse(&self) -> bool {
        let blind = |one: &ComparedFinding| one.verdict == FindingVerdict::Unknown;
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
    pub(crate) new: Vec<ComparedFinding>,
    /// Found before, and not now.
    pub(crate) gone: Vec<ComparedFinding>,
    /// Judged otherwise.
    pub(crate) changed: Vec<ChangedFinding>,
    /// How many are as before.
    pub(crate) unchanged: usize,
    /// What could be read before, and not now.
    pub(crate) unread: Vec<Unread>,
    /// The ids of all findings of both.
    #[serde(skip)]
    pub(crate) ids: BTreeSet<String>,
}

impl Changes {
    /// From one audit to the next.
    pub(crate) fn of(before: &ComparedAudit, after: &ComparedAudit) -> Self {
        let old: BTreeMap<_, _> = before.findings.iter().map(|one| (&*one.id, one)).collect();
        let ids: BTreeSet<_> = after.findings.iter().map(|one| &*one.id).collect();
        let (mut new, mut changed, mut unchanged) = (Vec::new(), Vec::new(), 0);
        for one in &after.findings {
            match old.get(&*one.id) {
                None => new.push(one.clone()),
                Some(before) if before.judged() != one.judged() => changed.push(ChangedFinding {
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
            ids: before
                .findings
                .iter()
                .chain(&after.findings)
                .map(|one| one.id.clone())
                .collect(),
        }
    }

    /// Whether nothing is otherwise than before.
    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty() && self.changed.is_empty() && self.unread.is_empty()
    }

    /// What is new or worse, and not accepted.
    pub(crate) fn worse(&self) -> impl Iterator<Item = &ComparedFinding> {
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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rstest::rstest;

    use super::*;
    use crate::render::screen::Screen;
    use crate::render::tests;

    fn said(id: &str, severity: Severity, verdict: FindingVerdict) -> ComparedFinding {
        let mut one = ComparedFinding::from(&tests::finding("x"));
        one.id = format!("{id}00000000000000");
        one.severity = severity;
        one.verdict = verdict;
        one.exception = None;
        one.cause.clear();
        one
    }

    fn audit(findings: &[ComparedFinding]) -> ComparedAudit {
        ComparedAudit {
            findings: findings.to_vec(),
            unreadable: Vec::new(),
            ..ComparedAudit::from(&tests::list("x"))
        }
    }

    fn accepted(mut one: ComparedFinding) -> ComparedFinding {
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
    fn accepted_findings_count_as_none() {
        let one = || said("aa", Severity::Critical, FindingVerdict::Violated);
        let worse = |before: &[ComparedFinding], after: &[ComparedFinding]| {
            Changes::of(&audit(before), &audit(after)).worse().count()
        };
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
    fn what_can_no_longer_be_read_is_reported() {
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
