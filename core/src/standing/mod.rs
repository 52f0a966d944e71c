//! The state of each policy: what its status says, without the times and generations that only its writer knows.
//!
//! A standing is computed when asked for and never stored; it costs its own findings and not those of the cluster.

mod part;
mod reason;
mod remedies;
mod worst;

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::findings::{self, Finding, Summary};
use crate::index::{Freshness, Part};
use crate::judge::Verdict;
use crate::know::{Gap, Now, Source};
use crate::names::Key;
use crate::plan::PlansView;
use crate::policy::Mode;
use crate::program::{Core, ESSENTIAL};
use crate::unmatched::Mistakes;

pub use reason::{ConditionStatus, Reason};
use worst::Worst;

/// Most findings that a standing lists; it counts them all. The bound of `status.findings` in the kinds.
pub const LISTED: usize = 20;

/// Most gaps that a message names.
const NAMED: usize = 5;

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holds {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

impl Holds {
    /// As written in a condition.
    pub const fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition without its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds.
    pub holds: Holds,
    /// Why.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

impl Condition {
    fn new(holds: Holds, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            holds,
            reason,
            message: message.into(),
        }
    }
}

/// How a policy stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Whether the policy was understood.
    pub accepted: Condition,
    /// Whether every input that it needs is present and fresh.
    pub observed: Condition,
    /// Whether what it declares is so.
    pub healthy: Condition,
    /// Whether something is being done about it.
    pub remediating: Condition,
    /// How many verdicts of each kind there are, excepted ones not counted.
    pub counts: Summary,
    /// Findings under an exception.
    pub excepted: u32,
    /// Services that the policy governs; 0 for the platform's.
    pub governed: u32,
    /// How far evenkeel may go.
    pub mode: Mode,
    /// What keeps the mode below the declared one.
    pub limited_by: Option<&'static str>,
    /// The worst findings, at most [`LISTED`], in a stable order.
    pub findings: Vec<Finding>,
    /// All findings, excepted ones not counted.
    pub total: u32,
    /// What remedies would do, and what holds them back; of the platform's policy only.
    pub plans: PlansView,
}

impl Standing {
    /// Itself; in debug builds, and so in every test, each of its conditions must be one that is documented.
    fn documented(self) -> Self {
        let conditions = [
            ("Accepted", &self.accepted),
            ("Observed", &self.observed),
            ("Healthy", &self.healthy),
            ("Remediating", &self.remediating),
        ];
        for (kind, one) in conditions {
            debug_assert!(
                Reason::ALL.contains(&one.reason) && one.reason.places().contains(&(kind, one.holds)),
                "{kind}={} with reason {} is not documented",
                one.holds.name(),
                one.reason.name()
            );
        }
        self
    }
}

/// The condition Accepted of a policy that has fields which this version does not know.
fn not_understood(fields: &[Arc<str>]) -> Option<Condition> {
    let named = fields
        .iter()
        .take(NAMED)
        .map(|field| &**field)
        .collect::<Vec<_>>()
        .join(", ");
    let more = match fields.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!fields.is_empty()).then(|| {
        let why = format!(
            "the policy is in force without {named}{more}: this version does not know these fields; upgrade the operator"
        );
        Condition::new(Holds::True, Reason::FieldsNotUnderstood, why)
    })
}

/// The condition Accepted of a policy that is in force and cannot be right: what cannot be true comes first.
fn mistaken(mistakes: Mistakes) -> Option<Condition> {
    let reason = if mistakes.conflicts.is_empty() {
        Reason::TargetNotFound
    } else {
        Reason::Conflicted
    };
    let mut all = mistakes.conflicts;
    all.extend(mistakes.absent);
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    (!all.is_empty()).then(|| {
        let mut message = format!("in force, but {}", all.join("; "));
        if more > 0 {
            // Writing to a string cannot fail.
            let _ = write!(message, "; and {more} more");
        }
        Condition::new(Holds::True, reason, message)
    })
}

impl Core {
    /// The state of a team's policy, as of the last round; `None` for a policy that the core does not have.
    pub fn standing(&self, now: Now, namespace: &str, name: &str) -> Option<Standing> {
        let names = &self.index.names;
        let key = Key {
            namespace: names.find(namespace)?,
            name: names.find(name)?,
        };
        if let Some(opaque) = self.index.opaque.get(&(Source::Policies, key)) {
            return Some(refused(&opaque.why));
        }
        let policy = self.index.policies.get(key)?;
        let declared = policy
            .remediation
            .recycle_pods
            .as_ref()
            .map_or(Mode::Observe, |recycle| recycle.mode);
        let mut standing = self.stand(now, key, declared);
        if let Some(accepted) = mistaken(self.mistakes(key, policy)) {
            standing.accepted = accepted;
        }
        let without_effect: Vec<&str> = findings::without_effect(self.engine.checks(), policy).collect();
        if !without_effect.is_empty() {
            standing.accepted = Condition::new(
                Holds::True,
                Reason::ExceptionsWithoutEffect,
                format!(
                    "the policy is in force, but its exceptions for {} have no effect: these checks do not judge its \
                     Services; put them into spec.exceptions of the ClusterTrafficHealthPolicy",
                    without_effect.join(", ")
                ),
            );
        }
        if let Some(accepted) = not_understood(&policy.unknown_fields) {
            standing.accepted = accepted;
        }
        if let Some(cut) = self.engine.shares.of(key) {
            part::of(cut, namespace, &mut standing);
        }
        Some(standing.documented())
    }

    /// How the platform's policy stands, as of the last round; `None` when there is none.
    pub fn cluster_standing(&self, now: Now, name: &str) -> Option<Standing> {
        let names = &self.index.names;
        let key = Key {
            namespace: names.find("").unwrap_or_default(),
            name: names.find(name).unwrap_or_default(),
        };
        if let Some(opaque) = self.index.opaque.get(&(Source::ClusterPolicy, key)) {
            return Some(refused(&opaque.why));
        }
        let policy = self.index.cluster_policy.as_ref()?;
        let cordon = policy
            .nodes
            .cordon
            .as_ref()
            .map_or(Mode::Observe, |cordon| cordon.mode);
        let declared = policy.conntrack.tuning_mode.max(cordon);
        let mut standing = self.stand(now, Key::default(), declared);
        if let Some(plans) = self.plans(now) {
            let acts = self.planner.is_acting();
            standing.remediating = remedies::remediating(&plans, acts);
            standing.mode = if acts { cordon } else { Mode::Suggest };
            standing.limited_by = (!acts).then_some(remedies::PLANS_ONLY);
            standing.plans = plans;
        }
        if let Some(accepted) = not_understood(&policy.unknown_fields) {
            standing.accepted = accepted;
        }
        Some(standing.documented())
    }

    fn stand(&self, now: Now, key: Key, declared: Mode) -> Standing {
        let mut worst = Worst::new(&self.index, now.wall);
        let mut gaps = HashSet::new();
        for (check, subject, held) in self.engine.owned_by(key) {
            if let Verdict::Unknown(gap) = &*held.verdict {
                gaps.insert(gap);
            }
            worst.see(check, subject, held);
        }
        // What is there and could not be read has no verdicts of its own.
        let policy = self.index.policies.get(key);
        let unread = policy.map_or_else(Vec::new, |policy| self.unread_services(key, policy));
        let gaps = gaps.into_iter().chain(&unread).map(ToString::to_string).collect();
        let count = self.engine.tallies().of(key);
        let counts = Summary {
            met: count.met,
            not_applicable: count.not_applicable,
            ..worst.counts
        };
        let cluster = key == Key::default();
        let observed = self.observed(key, &gaps);
        let healthy = if !cluster && count.services == 0 {
            self.nothing_governed(key, unread.first())
        } else {
            with_unread(healthy(&worst, counts), unread.first())
        };
        let (remediating, limited_by) = remediating(declared);
        Standing {
            accepted: Condition::new(Holds::True, Reason::Accepted, "the policy is in force"),
            observed,
            healthy,
            remediating,
            counts,
            excepted: worst.excepted,
            governed: if cluster { 0 } else { count.services },
            mode: Mode::Observe,
            limited_by,
            findings: worst.findings(),
            total: counts.at_risk + counts.violated + counts.unknown,
            plans: PlansView::default(),
        }
    }

    /// Whether every needed input is there, and which are not.
    fn observed(&self, key: Key, gaps: &BTreeSet<String>) -> Condition {
        let cluster = key == Key::default();
        let essential: &[Source] = if cluster { &[] } else { &ESSENTIAL };
        let missing: BTreeSet<String> = essential
            .iter()
            .filter_map(|source| self.index.gap_in(*source, key.namespace))
            .map(|gap| gap.to_string())
            .chain(gaps.iter().cloned())
            .collect();
        if missing.is_empty() {
            return Condition::new(
                Holds::True,
                Reason::AllInputsFresh,
                "every needed input is present and fresh",
            );
        }
        let stale = essential.iter().any(|source| {
            *self.index.freshness_of(*source, Part::Namespace(key.namespace)) == Freshness::Stale
        });
        let reason = if stale {
            Reason::InputsStale
        } else {
            Reason::InputsMissing
        };
        let more = missing.len().saturating_sub(NAMED);
        let mut message = missing.into_iter().take(NAMED).collect::<Vec<_>>().join("; ");
        if more > 0 {
            let _ = write!(message, "; and {more} more");
        }
        Condition::new(Holds::False, reason, message)
    }

    /// A policy that governs nothing is neither healthy nor unhealthy.
    fn nothing_governed(&self, key: Key, unread: Option<&Gap>) -> Condition {
        let namespace = self.index.names.text(key.namespace);
        let gap = self.index.gap_in(Source::Services, key.namespace);
        match gap.as_ref().or(unread) {
            Some(gap) => Condition::new(
                Holds::Unknown,
                Reason::InputsMissing,
                format!("cannot be judged: {gap}"),
            ),
            None => Condition::new(
                Holds::Unknown,
                Reason::NoServices,
                format!(
                    "spec.services names no Service that exists in namespace {namespace}: nothing is judged; \
                     compare it with kubectl get services -n {namespace} --show-labels"
                ),
            ),
        }
    }
}

/// The standing of a policy that was not understood.
fn refused(why: &str) -> Standing {
    let unknown = |message: &str| Condition::new(Holds::Unknown, Reason::NotAccepted, message);
    Standing {
        accepted: Condition::new(Holds::False, Reason::Invalid, why),
        observed: unknown("the policy is not in force"),
        healthy: unknown("nothing is judged by a policy that is not understood"),
        remediating: Condition::new(Holds::False, Reason::NotAccepted, "the policy is not in force"),
        counts: Summary::default(),
        excepted: 0,
        governed: 0,
        mode: Mode::Observe,
        limited_by: None,
        findings: Vec::new(),
        total: 0,
        plans: PlansView::default(),
    }
    .documented()
}

/// The summary: False when something that no exception accepts is Violated at warning or above; else Unknown when a
/// needed verdict is; else True.
fn healthy(worst: &Worst<'_>, counts: Summary) -> Condition {
    if let Some(worst) = worst.violated() {
        let more = counts.violated.saturating_sub(1);
        let mut message = format!("{}: {}: {}", worst.check, worst.subject, worst.message);
        if more > 0 {
            let _ = write!(message, " (and {more} more)");
        }
        return Condition::new(Holds::False, Reason::Violated, message);
    }
    if let Some(unknown) = worst.unknown() {
        let message = format!(
            "{} of {} verdicts cannot be judged: {}: {}",
            counts.unknown,
            counts.unknown + counts.met + counts.at_risk + counts.violated,
            unknown.check,
            unknown.message
        );
        return Condition::new(Holds::Unknown, Reason::InputsMissing, message);
    }
    if let Some(risk) = worst.at_risk() {
        let message = format!("{} at risk: {}: {}", counts.at_risk, risk.check, risk.message);
        return Condition::new(Holds::True, Reason::AtRisk, message);
    }
    let violated = counts.violated;
    if violated > 0 {
        let message = format!("{violated} minor findings, none at warning or above");
        return Condition::new(Holds::True, Reason::MinorFindings, message);
    }
    // Nothing wrong was found where nothing was judged: that is no health.
    if counts.met == 0 {
        let message = "no check applies to what the policy declares, or none could be judged yet";
        return Condition::new(Holds::Unknown, Reason::NothingJudged, message);
    }
    Condition::new(
        Holds::True,
        Reason::AllMet,
        format!("{} verdicts are met", counts.met),
    )
}

/// The summary where a Service that the policy governs, or may govern, could not be read: nothing is healthy then.
fn with_unread(healthy: Condition, unread: Option<&Gap>) -> Condition {
    match unread {
        Some(gap) if healthy.holds != Holds::False => Condition::new(
            Holds::Unknown,
            Reason::InputsMissing,
            format!("a Service that it may govern cannot be judged: {gap}"),
        ),
        _ => healthy,
    }
}

/// Why nothing is being done, and what limits the mode.
fn remediating(declared: Mode) -> (Condition, Option<&'static str>) {
    if declared == Mode::Observe {
        let message = "the policy asks for observation only";
        return (Condition::new(Holds::False, Reason::ModeObserve, message), None);
    }
    let limit = "this version of evenkeel observes only: it carries no remedy";
    (
        Condition::new(
            Holds::False,
            Reason::ModeObserve,
            format!("{limit}; the declared mode is accepted and has no effect yet"),
        ),
        Some(limit),
    )
}
