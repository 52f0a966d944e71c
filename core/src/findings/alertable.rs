//! What is worth an alert: the worst of each namespace as text, and of the others their ids.
//!
//! A cluster whose namespaces are all at their ceilings has some hundred thousand findings, and each is some kilobyte of
//! text. No push holds more than some hundred, so no more become text than one namespace could have of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use super::{Finding, SubjectRank, exception, number, rank, report};
use crate::engine::{Engine, Reported};
use crate::index::Index;
use crate::judge::{Check, Severity, Subject, Verdict};
use crate::know::Now;
use crate::names::{Key, Name};

/// What is worth an alert.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alertable {
    /// Violated at warning or above and accepted by no exception: the worst of each namespace, sorted as all findings are.
    pub findings: Vec<Finding>,
    /// Ids of the others of these, as numbers ([`super::number_of`]).
    pub beyond: HashSet<u64>,
    /// Ids of findings that are Unknown.
    pub unknown: HashSet<u64>,
}

/// As [`super::sort`] sorts them.
type AlertRank<'a> = (Reverse<Severity>, &'static str, SubjectRank<'a>, Option<Key>);

type Violated<'a> = (&'static Check, Subject, &'a Reported);

impl Alertable {
    /// What is worth an alert: as text at most so many of each namespace, the worst first.
    pub(crate) fn of(index: &Index, engine: &Engine, now: Now, of_each: usize) -> Self {
        let mut worst: BTreeMap<Name, BTreeMap<AlertRank<'_>, Violated<'_>>> = BTreeMap::new();
        let mut alertable = Self::default();
        for (check, subject, held) in engine.bad() {
            if matches!(&*held.verdict, Verdict::Unknown(_)) {
                alertable.unknown.insert(number(index, check, subject));
                continue;
            }
            let severity = check.severity_of(&held.verdict);
            if !matches!(&*held.verdict, Verdict::Violated(_))
                || severity < Severity::Warning
                || exception(index, now.wall, check, subject).is_some()
            {
                continue;
            }
            let (rank, policy) = rank(index, subject);
            let here = worst.entry(subject.home().unwrap_or_default()).or_default();
            here.insert(
                (Reverse(severity), check.id, rank, policy),
                (check, subject, held),
            );
            if here.len() > of_each
                && let Some((_, (check, subject, _))) = here.pop_last()
            {
                alertable.beyond.insert(number(index, check, subject));
            }
        }
        let all = worst.into_values().flat_map(BTreeMap::into_values);
        let shown = all.filter_map(|(check, subject, held)| {
            let mut finding = report(index, now.wall, check, subject, held)?;
            finding.since = Some(held.since.0);
            Some(finding)
        });
        alertable.findings = shown.collect();
        super::sort(&mut alertable.findings);
        alertable
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::super::number_of;
    use super::*;
    use crate::findings::FindingVerdict;
    use crate::know::Source;
    use crate::policy::ServicePick;
    use crate::world::{World, balanced, node, service, slice};

    #[test]
    fn few_become_text_and_none_is_left_out() {
        let names: Vec<String> = (0..30).map(|at| format!("s{at:02}")).collect();
        let mut wanted = balanced(Some(2), None, None);
        wanted.services = ServicePick::Names(names.iter().map(|name| name.as_str().into()).collect());
        let mut world = World::complete()
            .with(Source::Nodes, node("n1", "a"))
            .policy(wanted);
        for name in &names {
            world = world
                .with(Source::Services, service(name, json!({})))
                .with(Source::EndpointSlices, slice(name, &[("n1", "a")]));
        }
        world.core.round(world.now);
        let is_worth = |one: &&Finding| {
            one.verdict == FindingVerdict::Violated
                && one.severity >= Severity::Warning
                && one.exception.is_none()
        };
        let list = world.core.findings_since(world.now, usize::MAX);
        let few = world.core.findings_since(world.now, 5);
        assert!((3..=5).contains(&few.findings.len()), "{}", few.findings.len());
        assert!(few.findings.iter().all(|one| list.findings.contains(one)));
        assert_eq!((few.summary, few.notes.len()), (list.summary, 1));
        let all: Vec<Finding> = list.findings.iter().filter(is_worth).cloned().collect();
        assert!(all.len() >= 30, "{}", all.len());
        let ids = |findings: &[Finding]| {
            findings
                .iter()
                .filter_map(|one| number_of(&one.id))
                .collect::<BTreeSet<u64>>()
        };

        let whole = world.core.alertable(world.now, 1_000);
        assert_eq!((&whole.findings, whole.beyond.len()), (&all, 0));
        let cut = world.core.alertable(world.now, 7);
        let home = |one: &Finding| one.subject.namespace.clone();
        let mut shares: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
        for one in &all {
            shares.entry(home(one)).or_default().push(one.clone());
        }
        for (namespace, of_one) in shares {
            let kept: Vec<_> = cut
                .findings
                .iter()
                .filter(|one| home(one) == namespace)
                .cloned()
                .collect();
            assert_eq!(kept, of_one[..of_one.len().min(7)], "of {namespace:?} the worst");
        }
        let both: BTreeSet<u64> = ids(&cut.findings).into_iter().chain(cut.beyond).collect();
        assert_eq!(both, ids(&all));
    }
}
