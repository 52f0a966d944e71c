//! From a standing to the status that people read, and when two statuses say the same.

use std::hash::{DefaultHasher, Hash, Hasher};

use evenkeel_core::findings::{self, Finding};
use evenkeel_core::judge::Severity;
use evenkeel_core::plan::{Decision, PlanView, PlansView};
use evenkeel_core::policy::Mode as CoreMode;
use evenkeel_core::standing::{self, Holds, Reason, Standing};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    ClusterTrafficHealthPolicyStatus, Condition, ConditionStatus, FindingSeverity, FindingSubject,
    FindingVerdict, Mode, PlanDecision, StatusFinding, StatusPlan, StatusPlans, SubjectKind,
    TrafficHealthPolicyStatus, VerdictCounts,
};
use crate::escape;

/// Bounds of the schema (`src/api/status.rs`), in characters.
const CONDITION_MESSAGE: usize = 4096;
const FINDING_MESSAGE: usize = 1024;
const LIMITED_BY: usize = 256;

/// The status of either kind. The cluster's is the same without what only a team's policy has, and with plans.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PolicyStatus(pub TrafficHealthPolicyStatus, pub StatusPlans);

/// The conditions of a status.
const KINDS: [&str; 5] = ["Accepted", "Observed", "Healthy", "Ready", "Remediating"];

/// Times of an earlier status that go on. Kept of every policy, so it holds no text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Times {
    /// Type, whether it held, and since when.
    conditions: Box<[(&'static str, ConditionStatus, Timestamp)]>,
    /// Id of a finding and its verdict, and since when.
    findings: Box<[(u64, FindingVerdict, Timestamp)]>,
    /// Id of a plan and what becomes of it, as a number, and since when.
    plans: Box<[(u64, u64, Timestamp)]>,
}

impl Times {
    /// What a status says.
    pub fn of(status: &PolicyStatus) -> Self {
        Self {
            conditions: status
                .0
                .conditions
                .iter()
                .filter_map(|one| {
                    let kind = KINDS.into_iter().find(|kind| *kind == one.r#type)?;
                    Some((kind, one.status, one.last_transition_time.0))
                })
                .collect(),
            findings: status
                .0
                .findings
                .iter()
                .filter_map(|one| Some((findings::number_of(&one.id)?, one.verdict, one.since.as_ref()?.0)))
                .collect(),
            plans: status
                .1
                .plans
                .iter()
                .filter_map(|one| Some((findings::number_of(&one.id)?, became(one), one.since.as_ref()?.0)))
                .collect(),
        }
    }

    /// Each condition: its type and whether it held.
    pub fn conditions(&self) -> impl Iterator<Item = (&str, ConditionStatus)> {
        self.conditions.iter().map(|one| (one.0, one.1))
    }

    /// Whether a condition held, as last written.
    pub fn condition(&self, kind: &str) -> Option<ConditionStatus> {
        self.conditions.iter().find(|one| one.0 == kind).map(|one| one.1)
    }
}

impl PolicyStatus {
    /// The status of a policy of this generation.
    pub fn of(standing: &Standing, generation: i64, cluster: bool, now: Timestamp, times: &Times) -> Self {
        let ready = standing::Condition {
            message: format!("as Healthy: {}", standing.healthy.message),
            ..standing.healthy.clone()
        };
        let Standing {
            accepted,
            observed,
            healthy,
            remediating,
            ..
        } = standing;
        let written = [accepted, observed, healthy, &ready, remediating];
        let conditions = KINDS.into_iter().zip(written);
        let conditions = conditions.map(|(kind, one)| condition(kind, one, generation, now, times));
        let status = TrafficHealthPolicyStatus {
            observed_generation: Some(generation),
            conditions: conditions.collect(),
            counts: Some(VerdictCounts {
                met: int(standing.counts.met),
                at_risk: int(standing.counts.at_risk),
                violated: int(standing.counts.violated),
                unknown: int(standing.counts.unknown),
                excepted: int(standing.excepted),
            }),
            governed_services: (!cluster).then(|| int(standing.governed)),
            effective_mode: (!cluster).then_some(match standing.mode {
                CoreMode::Observe => Mode::Observe,
                CoreMode::Suggest => Mode::Suggest,
                CoreMode::Enforce => Mode::Enforce,
            }),
            mode_limited_by: standing
                .limited_by
                .filter(|_| !cluster)
                .map(|why| cut(why, LIMITED_BY)),
            findings_total: Some(int(standing.total)),
            findings: standing.findings.iter().map(|one| finding(one, times)).collect(),
            recent_remediations: Vec::new(),
        };
        Self(status, plans(&standing.plans, times))
    }

    /// The status of a policy whose definition in the cluster is older than this program.
    pub fn too_old(error: &str, generation: i64, now: Timestamp, times: &Times) -> Self {
        let one = standing::Condition {
            holds: Holds::Unknown,
            reason: Reason::CrdTooOld,
            message: format!(
                "the CustomResourceDefinition in this cluster is older than evenkeel {}: apply its crds/ again ({error})",
                env!("CARGO_PKG_VERSION")
            ),
        };
        let status = TrafficHealthPolicyStatus {
            observed_generation: Some(generation),
            conditions: vec![condition("Accepted", &one, generation, now, times)],
            ..TrafficHealthPolicyStatus::default()
        };
        Self(status, StatusPlans::default())
    }

    /// What it says, whatever the times and the numbers in its messages: equal fingerprints need no write.
    ///
    /// Messages are those of the transition: a number that moves within a verdict rewrites nothing. Only messages that
    /// carry no measured number (why a policy is refused, which inputs are missing) count. Nor does it count how many
    /// verdicts are Met: that grows while the history of a new process warms up, and every status would be written
    /// again after every start.
    pub fn fingerprint(&self) -> u64 {
        let status = &self.0;
        let mut hash = DefaultHasher::new();
        status.observed_generation.hash(&mut hash);
        for one in &status.conditions {
            (
                &one.r#type,
                one.status as u8,
                &one.reason,
                one.observed_generation,
            )
                .hash(&mut hash);
            if matches!(&*one.r#type, "Accepted" | "Observed") {
                one.message.hash(&mut hash);
            }
        }
        if let Some(counts) = &status.counts {
            (counts.at_risk, counts.violated, counts.unknown, counts.excepted).hash(&mut hash);
        }
        (
            status.governed_services,
            &status.mode_limited_by,
            status.findings_total,
        )
            .hash(&mut hash);
        status.effective_mode.map(|mode| mode as u8).hash(&mut hash);
        for one in &status.findings {
            (&one.id, one.verdict as u8, one.severity as u8, &one.cause).hash(&mut hash);
            one.excepted_until
                .as_ref()
                .map(|time| time.0.as_second())
                .hash(&mut hash);
        }
        self.1.plans_total.hash(&mut hash);
        for one in &self.1.plans {
            (&one.id, became(one)).hash(&mut hash);
        }
        hash.finish()
    }

    /// The same for the cluster's policy, which has no fields of a team's.
    pub fn cluster(self) -> ClusterTrafficHealthPolicyStatus {
        let status = self.0;
        ClusterTrafficHealthPolicyStatus {
            observed_generation: status.observed_generation,
            conditions: status.conditions,
            counts: status.counts,
            findings_total: status.findings_total,
            findings: status.findings,
            plans: self.1.plans,
            plans_total: self.1.plans_total,
        }
    }

    /// A condition by its type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.0.conditions.iter().find(|one| one.r#type == kind)
    }
}

fn condition(
    kind: &str,
    one: &standing::Condition,
    generation: i64,
    now: Timestamp,
    times: &Times,
) -> Condition {
    let status = match one.holds {
        Holds::True => ConditionStatus::True,
        Holds::False => ConditionStatus::False,
        Holds::Unknown => ConditionStatus::Unknown,
    };
    let since = times
        .conditions
        .iter()
        .find(|before| before.0 == kind && before.1 == status)
        .map_or(now, |before| before.2);
    Condition {
        r#type: kind.into(),
        status,
        observed_generation: Some(generation),
        last_transition_time: Time(since),
        reason: one.reason.name().into(),
        message: cut(&one.message, CONDITION_MESSAGE),
    }
}

fn finding(one: &Finding, times: &Times) -> StatusFinding {
    let verdict = match one.verdict {
        findings::FindingVerdict::Violated => FindingVerdict::Violated,
        findings::FindingVerdict::AtRisk => FindingVerdict::AtRisk,
        findings::FindingVerdict::Unknown => FindingVerdict::Unknown,
    };
    let id = findings::number_of(&one.id);
    let written = times
        .findings
        .iter()
        .find(|before| Some(before.0) == id && before.1 == verdict)
        .map(|before| before.2);
    let judged = one.since.and_then(|since| Timestamp::from_second(since).ok());
    let text = |text: &String| (!text.is_empty()).then(|| escape::line(text).into_owned());
    StatusFinding {
        id: one.id.clone(),
        check: one.check.into(),
        verdict,
        severity: match one.severity {
            Severity::Unknown => FindingSeverity::Unknown,
            Severity::Info => FindingSeverity::Info,
            Severity::Warning => FindingSeverity::Warning,
            Severity::Critical => FindingSeverity::Critical,
        },
        subject: FindingSubject {
            kind: match one.subject.kind {
                findings::SubjectKind::Service => SubjectKind::Service,
                findings::SubjectKind::Node => SubjectKind::Node,
                findings::SubjectKind::Zone => SubjectKind::Zone,
                findings::SubjectKind::Webhook => SubjectKind::Webhook,
                findings::SubjectKind::Workload => SubjectKind::Workload,
                findings::SubjectKind::Cluster => SubjectKind::Cluster,
            },
            namespace: text(&one.subject.namespace),
            name: escape::line(&one.subject.name).into_owned(),
            port: one.subject.port.map(|port| port.to_string()),
            connection: text(&one.subject.connection),
            client: text(&one.subject.client),
        },
        cause: (!one.cause.is_empty()).then(|| one.cause.into()),
        message: cut(&one.message, FINDING_MESSAGE),
        // What another replica has written goes on: a restart is no transition.
        since: written.or(judged).map(Time),
        excepted_until: one
            .exception
            .as_ref()
            .and_then(|one| Timestamp::from_second(one.until()).ok())
            .map(Time),
    }
}

/// The plans of the platform's policy. In mode Observe there are none, and not even their number.
fn plans(all: &PlansView, times: &Times) -> StatusPlans {
    let total = all.plans.len() + all.left;
    StatusPlans {
        plans: all.plans.iter().map(|one| plan(one, times)).collect(),
        plans_total: all.planning.then(|| i32::try_from(total).unwrap_or(i32::MAX)),
    }
}

fn plan(one: &PlanView, times: &Times) -> StatusPlan {
    let held = one.held.as_ref();
    let why = held.map_or_else(String::new, |held| {
        format!("; held by {}: {}", held.by, held.message)
    });
    let moment = |at: i64| Timestamp::from_second(at).ok();
    let mut plan = StatusPlan {
        id: one.id.clone(),
        remedy: one.remedy.into(),
        node: escape::line(&one.node).into_owned(),
        cause: one.cause.into(),
        decision: match one.decision {
            Decision::Planned => PlanDecision::Planned,
            Decision::Suggested => PlanDecision::Suggested,
            Decision::Held => PlanDecision::Held,
        },
        held_by: held.map(|held| held.by.into()),
        message: cut(&format!("{}{why}", one.message), FINDING_MESSAGE),
        since: None,
        again: held.and_then(|held| moment(held.again_at?)).map(Time),
    };
    let (id, became) = (findings::number_of(&plan.id), became(&plan));
    let written = times
        .plans
        .iter()
        .find(|before| Some(before.0) == id && before.1 == became);
    plan.since = written
        .map(|before| before.2)
        .or_else(|| moment(one.since))
        .map(Time);
    plan
}

/// What becomes of a plan, as a number: equal where nothing has turned.
fn became(one: &StatusPlan) -> u64 {
    let mut hash = DefaultHasher::new();
    (one.decision as u8, &one.held_by).hash(&mut hash);
    hash.finish()
}

/// A count as the schema has it.
fn int(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// One line of at most so many characters, as `maxLength` counts them; a cut text says so by its last.
fn cut(text: &str, most: usize) -> String {
    let text = escape::line(text);
    match text.char_indices().nth(most) {
        None => text.into_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_core::findings::Summary;
    use rstest::rstest;

    use super::*;

    fn written(healthy: Holds, message: &str, counts: Summary) -> u64 {
        let condition = |holds, reason, message: &str| standing::Condition {
            holds,
            reason,
            message: message.into(),
        };
        let reason = if healthy == Holds::True {
            Reason::AllMet
        } else {
            Reason::Violated
        };
        let standing = Standing {
            accepted: condition(Holds::True, Reason::Accepted, ""),
            observed: condition(Holds::True, Reason::AllInputsFresh, ""),
            healthy: condition(healthy, reason, message),
            remediating: condition(Holds::False, Reason::ModeObserve, ""),
            counts,
            excepted: 0,
            governed: 1,
            mode: CoreMode::Observe,
            limited_by: None,
            findings: Vec::new(),
            total: 0,
            plans: PlansView::default(),
        };
        PolicyStatus::of(&standing, 1, false, Timestamp::UNIX_EPOCH, &Times::default()).fingerprint()
    }

    #[rstest]
    #[case::a_number_in_a_message(Holds::True, "9 verdicts are met", Summary::default(), true)]
    #[case::history_that_warms_up(Holds::True, "", Summary { met: 9, ..Summary::default() }, true)]
    #[case::one_more_at_risk(Holds::True, "", Summary { at_risk: 1, ..Summary::default() }, false)]
    #[case::one_more_unknown(Holds::True, "", Summary { unknown: 1, ..Summary::default() }, false)]
    #[case::another_condition(Holds::False, "", Summary::default(), false)]
    fn only_what_has_turned_is_written_again(
        #[case] healthy: Holds,
        #[case] message: &str,
        #[case] counts: Summary,
        #[case] same: bool,
    ) {
        let before = written(Holds::True, "", Summary::default());
        assert_eq!(written(healthy, message, counts) == before, same);
    }

    #[test]
    fn an_id_that_is_not_ours_keeps_no_time() {
        assert_eq!(findings::number_of("00000000000000ff"), Some(255));
        assert_eq!(findings::number_of("a finding"), None);
    }
}
