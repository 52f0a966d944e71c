//! The worst of many verdicts: of a policy with a hundred thousand, twenty are reported, and only these become text.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::LISTED;
use crate::engine::Reported;
use crate::findings::{self, Finding, SubjectRank, Summary};
use crate::index::Index;
use crate::judge::{Check, Severity, Subject, Verdict};
use crate::know::Wall;

/// What is reported first: what no exception accepts, the worst, then by check and subject; as [`findings::sort`] has it
/// for findings of one policy.
type Rank<'a> = (bool, Reverse<Severity>, &'static str, SubjectRank<'a>);

/// One verdict that may be reported.
#[derive(Clone, Copy)]
struct Ranked<'a> {
    check: &'static Check,
    subject: Subject,
    held: &'a Reported,
}

/// The worst of the verdicts that were seen, and how many of each kind there were.
pub(super) struct Worst<'a> {
    index: &'a Index,
    now: Wall,
    /// At most [`LISTED`].
    listed: BTreeMap<Rank<'a>, Ranked<'a>>,
    /// The first of those that decide whether a policy is healthy, each alone.
    violated: Option<(Rank<'a>, Ranked<'a>)>,
    unknown: Option<(Rank<'a>, Ranked<'a>)>,
    at_risk: Option<(Rank<'a>, Ranked<'a>)>,
    /// Verdicts that no exception accepts; those that are not bad are not counted here.
    pub(super) counts: Summary,
    /// The others.
    pub(super) excepted: u32,
}

impl<'a> Worst<'a> {
    /// Of no verdicts yet.
    pub(super) fn new(index: &'a Index, now: Wall) -> Self {
        Self {
            index,
            now,
            listed: BTreeMap::new(),
            violated: None,
            unknown: None,
            at_risk: None,
            counts: Summary::default(),
            excepted: 0,
        }
    }

    /// Sees one more.
    pub(super) fn see(&mut self, check: &'static Check, subject: Subject, held: &'a Reported) {
        let severity = check.severity_of(&held.verdict);
        let excepted = findings::exception(self.index, self.now, check, subject).is_some();
        let row = Ranked { check, subject, held };
        let rank = (
            excepted,
            Reverse(severity),
            check.id,
            findings::rank(self.index, subject).0,
        );
        if excepted {
            self.excepted += 1;
        } else {
            let first = match &*held.verdict {
                Verdict::Violated(_) => {
                    self.counts.violated += 1;
                    (severity >= Severity::Warning).then_some(&mut self.violated)
                }
                Verdict::Unknown(_) => {
                    self.counts.unknown += 1;
                    Some(&mut self.unknown)
                }
                Verdict::AtRisk(_) => {
                    self.counts.at_risk += 1;
                    Some(&mut self.at_risk)
                }
                Verdict::Met | Verdict::NotApplicable(_) => None,
            };
            if let Some(first) = first
                && first.as_ref().is_none_or(|held| rank < held.0)
            {
                *first = Some((rank, row));
            }
        }
        if self.listed.len() < LISTED || self.listed.last_key_value().is_some_and(|last| rank < *last.0) {
            self.listed.insert(rank, row);
            if self.listed.len() > LISTED {
                self.listed.pop_last();
            }
        }
    }

    /// The first that is Violated at warning or above.
    pub(super) fn violated(&self) -> Option<Finding> {
        self.report(self.violated.as_ref()?.1)
    }

    /// The first that is Unknown.
    pub(super) fn unknown(&self) -> Option<Finding> {
        self.report(self.unknown.as_ref()?.1)
    }

    /// The first that is at risk.
    pub(super) fn at_risk(&self) -> Option<Finding> {
        self.report(self.at_risk.as_ref()?.1)
    }

    /// The worst, at most [`LISTED`], in a stable order.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.listed.values().filter_map(|row| self.report(*row)).collect()
    }

    fn report(&self, row: Ranked<'_>) -> Option<Finding> {
        let mut finding = findings::report(self.index, self.now, row.check, row.subject, row.held)?;
        finding.since = Some(row.held.since.0);
        Some(finding)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::know::Source;
    use crate::policy::ServicePick;
    use crate::world::{World, balanced, node, service, slice};

    /// Thirty Services that one policy wants more backends of, of which some have one and some none.
    fn world() -> World {
        let names: Vec<String> = (0..30).map(|at| format!("s{at}")).collect();
        let mut wanted = balanced(Some(2), Some(40), Some(40));
        wanted.services = ServicePick::Names(names.iter().map(|name| name.as_str().into()).collect());
        let mut world = World::complete()
            .all(Source::Nodes, &[node("n1", "a"), node("n2", "b")])
            .policy(wanted);
        for (at, name) in names.iter().enumerate() {
            let places = [("n1", "a"), ("n1", "a"), ("n2", "b")];
            world = world.with(Source::Services, service(name, json!({}))).with(
                Source::EndpointSlices,
                slice(name, places.get(..at % 4).unwrap_or_default()),
            );
        }
        world.core.round(world.now);
        world
    }

    #[test]
    fn the_worst_are_the_first_of_all() {
        let world = world();
        let all = world.core.findings(world.now).findings;
        let of_policy: Vec<&str> = all
            .iter()
            .filter(|one| one.policy.as_deref() == Some("shop/p"))
            .map(|one| &*one.id)
            .collect();
        assert!(of_policy.len() > LISTED, "{}", of_policy.len());
        let standing = world.core.standing(world.now, "shop", "p").unwrap();
        let listed: Vec<&str> = standing.findings.iter().map(|one| &*one.id).collect();
        assert_eq!(listed, of_policy[..LISTED]);
        assert_eq!(standing.total as usize, of_policy.len());
    }
}
