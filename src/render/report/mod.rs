//! Findings for programs that show them to people: code scanning, test reports and annotations of workflows.

pub(crate) mod github;
pub(crate) mod junit;
pub(crate) mod sarif;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use evenkeel_core::findings::{Finding, FindingList, Met, SubjectKind};

use super::findings::evidence;
use crate::files::{At, Places};

/// What stands beside the findings.
pub(crate) struct Context<'a> {
    /// Where objects stand in files.
    pub(crate) places: &'a Places,
    /// The folder that paths of files are shown from: the working directory.
    pub(crate) root: PathBuf,
    /// What was read; empty for a cluster.
    pub(crate) from: &'a [PathBuf],
    /// The arguments that read the same again.
    pub(crate) again: &'a str,
    /// What is met, by check.
    pub(crate) met: &'a BTreeMap<&'static str, Met>,
    /// Whether the command fails for a finding.
    pub(crate) fails: &'a dyn Fn(&Finding) -> bool,
}

impl Context<'_> {
    /// Where what a finding is about stands: the policy that asks for it, which a person edits, before its subject.
    fn place(&self, finding: &Finding) -> Option<&At> {
        let policy = finding
            .policy
            .as_deref()
            .and_then(|policy| policy.split_once('/'));
        let policy =
            policy.and_then(|(namespace, name)| self.places.of("TrafficHealthPolicy", namespace, name));
        let subject = &finding.subject;
        policy.or_else(|| match subject.kind {
            SubjectKind::Node | SubjectKind::Service => {
                self.places
                    .of(subject.kind.name(), &subject.namespace, &subject.name)
            }
            SubjectKind::Cluster | SubjectKind::Webhook | SubjectKind::Workload | SubjectKind::Zone => None,
        })
    }

    /// The path of a file from the root, where it lies below it, and without `.` in it.
    fn path(&self, file: &Path) -> PathBuf {
        let below = file.strip_prefix(&self.root).unwrap_or(file);
        let parts = below.components().filter(|part| *part != Component::CurDir);
        let path: PathBuf = parts.collect();
        if path.as_os_str().is_empty() {
            ".".into()
        } else {
            path
        }
    }
}

/// What a finding is about, and the policy that asks for it.
fn title(finding: &Finding) -> String {
    match &finding.policy {
        Some(policy) => format!("{} (policy {policy})", finding.subject),
        None => finding.subject.to_string(),
    }
}

/// What a finding rests on and what to do, one thing each.
fn details(finding: &Finding) -> impl Iterator<Item = String> {
    let advice = (1..).zip(&finding.advice);
    finding
        .evidence
        .iter()
        .map(evidence)
        .chain(advice.map(|(number, step)| format!("{number}. {step}")))
        .chain([format!("finding {}", finding.id)])
}

/// What was not judged, one thing each.
fn not_judged(list: &FindingList) -> Vec<String> {
    let Some(one) = &list.not_judged else {
        return Vec::new();
    };
    let checks =
        (!one.checks.is_empty()).then(|| format!("not judged: {} ({})", one.checks.join(", "), one.reason));
    let policies = one
        .policies
        .iter()
        .map(|part| format!("judged in part: policy {}: {}", part.policy, part.reason));
    let left =
        (one.policies_left > 0).then(|| format!("judged in part: {} more policies", one.policies_left));
    checks.into_iter().chain(policies).chain(left).collect()
}
