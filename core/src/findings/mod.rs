//! Findings: verdicts as reported to people, in a stable JSON form.

mod alertable;
mod exception;
pub(crate) mod in_part;
mod note;
mod subject;
mod unreadable;
mod worst;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use alertable::Alertable;
pub use exception::ExceptionView;
pub(crate) use exception::{accepted, exception, without_effect};
pub use in_part::JudgedInPart;
pub use note::{Note, Remark};
use subject::write_identity;
pub use subject::{SubjectKind, SubjectView};
pub(crate) use subject::{SubjectRank, rank, view};
pub use unreadable::Unreadable;
pub(crate) use unreadable::unreadable;
pub(crate) use worst::worst;

use crate::engine::{Engine, Reported};
use crate::index::Index;
use crate::judge::{Case, Check, Datum, Evidence, Memory, Severity, Subject, Verdict};
use crate::know::{Gap, Origin, Source, Unit, Wall};

/// A verdict other than Met or `NotApplicable`, as reported to people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stable over runs: a hash of check, subject and policy.
    pub id: String,
    /// Id of the check.
    pub check: &'static str,
    /// What the check says.
    pub verdict: FindingVerdict,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: SubjectView,
    /// `namespace/name` of the policy that asks for it; absent for the baseline and the platform's policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Why somebody has accepted it for a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<ExceptionView>,
    /// Which of the check's causes it is.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub cause: &'static str,
    /// One or two sentences with numbers, units and where they were read.
    pub message: String,
    /// What it rests on.
    pub evidence: Vec<EvidenceView>,
    /// Next steps for a person, the least invasive first.
    pub advice: Vec<String>,
    /// Since when, in seconds since the Unix epoch; absent in one-shot audits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// The source that was refused, where that alone makes it Unknown. Not in JSON, whose `unreadable` lists the sources.
    #[serde(skip)]
    pub blind: Option<Source>,
}

/// What a check says when not all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FindingVerdict {
    /// Not wrong yet, or wrong only if the worst of what is not known holds.
    AtRisk,
    /// Wrong.
    Violated,
    /// An input is missing or stale.
    Unknown,
}

impl FindingVerdict {
    /// That of a verdict; `None` where there is nothing to report.
    pub const fn of(verdict: &Verdict) -> Option<Self> {
        match verdict {
            Verdict::AtRisk(_) => Some(Self::AtRisk),
            Verdict::Violated(_) => Some(Self::Violated),
            Verdict::Unknown(_) => Some(Self::Unknown),
            Verdict::Met | Verdict::NotApplicable(_) => None,
        }
    }

    /// As written in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AtRisk => "AtRisk",
            Self::Violated => "Violated",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for FindingVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One piece of evidence, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceView {
    /// What it is.
    pub what: &'static str,
    /// The value.
    pub value: Datum,
    /// Its unit.
    pub unit: Unit,
    /// Where it was read.
    pub source: Arc<str>,
    /// How it came to be known.
    pub origin: Origin,
}

/// How many verdicts of each kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Met.
    pub met: u32,
    /// At risk.
    pub at_risk: u32,
    /// Violated.
    pub violated: u32,
    /// Unknown.
    pub unknown: u32,
    /// Not applicable.
    pub not_applicable: u32,
}

/// What a check is met by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Met {
    /// How many subjects.
    pub count: u32,
    /// The first of them.
    pub first: Vec<SubjectView>,
}

impl Met {
    /// How many subjects are named.
    pub const NAMED: usize = 3;

    pub(crate) fn add(&mut self, subject: SubjectView) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(subject);
        }
    }
}

/// How many objects there are to judge; `None` where their list was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JudgedObjects {
    /// Nodes.
    pub nodes: Option<usize>,
    /// Services.
    pub services: Option<usize>,
    /// Policies of teams.
    pub policies: Option<usize>,
    /// Whether the platform has a policy.
    pub platform: bool,
}

/// Everything an audit found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingList {
    /// Always `evenkeel.dev/v1alpha1`.
    pub api_version: &'static str,
    /// Always `FindingList`.
    pub kind: &'static str,
    /// The findings, the worst first, then by check and subject.
    pub findings: Vec<Finding>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
    /// Checks that did not judge what happens over time; absent when all did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_judged: Option<NotJudged>,
    /// What a person may want to know, without being wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Counts.
    pub summary: Summary,
}

/// Checks that did not judge, or not all of their subjects, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotJudged {
    /// Their ids.
    pub checks: Vec<&'static str>,
    /// Why these did not; each of the policies has a reason of its own.
    pub reason: &'static str,
    /// Policies that are judged in part, because they declare more than is judged of one policy, namespace or cluster. At
    /// most 100, some of each namespace before more of one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<JudgedInPart>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub policies_left: usize,
    /// How many of these each namespace has.
    #[serde(skip)]
    pub left_in: BTreeMap<String, usize>,
}

/// Why policies are judged in part.
const JUDGED_IN_PART: &str = "policies declare more than is judged of one policy, namespace or cluster";

/// Most policies that are named.
const IN_PART: usize = 100;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl NotJudged {
    /// The checks that need a history, where there is none, as in an audit; else those whose history is too short.
    /// And the policies that are judged in part.
    pub(crate) fn of(engine: &Engine, is_live: bool, mut policies: Vec<JudgedInPart>) -> Option<Self> {
        let needs = |check: &&Check| check.history == Memory::Needed;
        let (checks, reason) = if is_live {
            (engine.warming(), "evenkeel has not watched for long enough yet")
        } else {
            let checks = engine.checks().iter().filter(needs).map(|check| check.id);
            (
                checks.collect(),
                "an audit sees one moment, and only the operator sees what happens over time",
            )
        };
        let mut left_in = BTreeMap::new();
        for one in policies.iter().skip(IN_PART) {
            *left_in.entry(one.namespace().to_owned()).or_default() += 1;
        }
        let policies_left = policies.len().saturating_sub(IN_PART);
        policies.truncate(IN_PART);
        let reason = if checks.is_empty() { JUDGED_IN_PART } else { reason };
        (!checks.is_empty() || !policies.is_empty()).then_some(Self {
            checks,
            reason,
            policies,
            policies_left,
            left_in,
        })
    }

    /// The part of it that is about checks and namespaces which are asked for.
    pub fn asked_of(
        mut self,
        asks_check: impl Fn(&str) -> bool,
        asks_namespace: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        self.checks.retain(|id| asks_check(id));
        self.policies.retain(|one| asks_namespace(one.namespace()));
        self.left_in.retain(|namespace, _| asks_namespace(namespace));
        self.policies_left = self.left_in.values().sum();
        if self.checks.is_empty() {
            self.reason = JUDGED_IN_PART;
        }
        let some = !self.checks.is_empty() || !self.policies.is_empty() || self.policies_left > 0;
        some.then_some(self)
    }
}

/// The finding of one verdict.
pub(crate) fn report(
    index: &Index,
    now: Wall,
    check: &'static Check,
    subject: Subject,
    held: &Reported,
) -> Option<Finding> {
    let (view, policy) = view(index, subject);
    let (message, mut advice, case) = match &*held.verdict {
        Verdict::AtRisk(case) | Verdict::Violated(case) => {
            let advice = case.advice().into_iter().map(|one| one.text).collect();
            (case.to_string(), advice, Some(case))
        }
        Verdict::Unknown(gap) => (
            format!("cannot be judged: {gap}"),
            vec![next_step(check, gap)],
            None,
        ),
        Verdict::Met | Verdict::NotApplicable(_) => return None,
    };
    let severity = check.severity_of(&held.verdict);
    let (exception, refused) = accepted(index, now, check, subject);
    advice.splice(0..0, refused);
    let policy = policy.map(|key| index.show(key));
    Some(Finding {
        id: format!("{:016x}", number(index, check, subject)),
        check: check.id,
        verdict: FindingVerdict::of(&held.verdict)?,
        severity,
        subject: view,
        policy,
        exception,
        cause: case.map_or("", Case::cause),
        message,
        evidence: case.map(evidence).unwrap_or_default(),
        advice,
        since: None,
        blind: match &*held.verdict {
            Verdict::Unknown(Gap::Unreadable(source, _)) => Some(*source),
            _ => None,
        },
    })
}

fn evidence(case: &Case) -> Vec<EvidenceView> {
    case.evidence().iter().map(EvidenceView::of).collect()
}

impl EvidenceView {
    /// A piece of evidence, as it is shown.
    pub(crate) fn of(one: &Evidence) -> Self {
        Self {
            what: one.what,
            value: one.value.clone(),
            unit: one.unit,
            source: one.source.clone(),
            origin: one.origin,
        }
    }
}

/// What a person can do about a gap.
fn next_step(check: &Check, gap: &Gap) -> String {
    match gap {
        Gap::Missing(source) => {
            format!("give evenkeel the {source}: in files, add them to what --from names")
        }
        Gap::Stale(source) => format!("see why the watch of {source} is silent"),
        Gap::Unreadable(source, _) => format!("grant get and list on {source}, or see the reason above"),
        // Where a policy declares the connection, what no object shows can be declared there.
        Gap::Opaque(_) if check.needs.has(Source::Policies) => {
            format!(
                "correct it there, or declare it in the policy: evenkeel docs {} says which field",
                check.id
            )
        }
        Gap::Undeclared(_) => {
            format!("evenkeel docs {} says what is read, and from where", check.id)
        }
        Gap::Opaque(_) => format!(
            "correct it there; evenkeel docs {} says what is read, and from where",
            check.id
        ),
        Gap::UnsupportedDataPlane(_) => {
            "see docs/what-works-where.md for what evenkeel can read there".into()
        }
        Gap::WarmingUp(_, seconds) => format!("wait until evenkeel has run for {seconds} s"),
        Gap::Outdated(source) => format!("wait a moment, then see why {source} are no longer read"),
        Gap::Unmeasured(_) => {
            "see why it is not measured: docs/what-works-where.md says which exporter has it".into()
        }
        Gap::TooFewSamples(_) => "wait for the next sample".into(),
    }
}

/// The number that is the id of a verdict's finding: 64-bit FNV-1a (draft-eastlake-fnv) of check, subject and policy.
pub(crate) fn number(index: &Index, check: &Check, subject: Subject) -> u64 {
    let mut hash = Fnv::BEGIN;
    // A hash takes every write.
    let _ = write!(hash, "{}\0", check.id);
    let _ = write_identity(&mut hash, index, subject);
    let _ = hash.write_char('\0');
    if let (_, Some(policy)) = rank(index, subject) {
        let [namespace, name] = [policy.namespace, policy.name].map(|name| index.names.text(name));
        let _ = write!(hash, "{namespace}/{name}");
    }
    hash.0
}

/// The id of a plan, made as that of a finding: of remedy, node and cause.
pub(crate) fn id_of(remedy: &str, node: &str, cause: &str) -> String {
    let mut hash = Fnv::BEGIN;
    // A hash takes every write.
    let _ = write!(hash, "{remedy}\0{node}\0{cause}");
    format!("{:016x}", hash.0)
}

/// The number of an id.
pub fn number_of(id: &str) -> Option<u64> {
    u64::from_str_radix(id, 16).ok()
}

/// FNV-1a, 64 bit (<http://www.isthe.com/chongo/tech/comp/fnv/>): stable over versions and machines, and no secret.
pub(crate) struct Fnv(pub(crate) u64);

impl Fnv {
    /// The hash of nothing.
    pub(crate) const BEGIN: Self = Self(0xcbf2_9ce4_8422_2325);
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = text.bytes().fold(self.0, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Ok(())
    }
}

/// Sorts findings: the worst first, accepted ones last, then by check and subject.
pub(crate) fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let key = |one: &Finding| (one.exception.is_some(), std::cmp::Reverse(one.severity));
        (key(a), a.check, &a.subject, &a.policy, &a.id).cmp(&(key(b), b.check, &b.subject, &b.policy, &b.id))
    });
}

#[cfg(test)]
mod tests;
