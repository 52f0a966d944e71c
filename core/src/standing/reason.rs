//! Every reason that a condition can have, as data: what the documentation and the code are both made of.

use super::Holds;

/// Why a condition is as it is, in one stable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The policy is in force.
    Accepted,
    /// The policy is in force, but contradicts itself or another policy.
    Conflicted,
    /// The policy is in force, and names Services or ports that do not exist.
    TargetNotFound,
    /// The policy is in force, and has exceptions for findings that it does not report.
    ExceptionsWithoutEffect,
    /// The policy is in force without fields that this version does not know.
    FieldsNotUnderstood,
    /// The policy is in force, and declares more than is judged of one policy, namespace or cluster.
    JudgedInPart,
    /// The policy was not understood.
    Invalid,
    /// The policy's definition in the cluster is older than the program.
    CrdTooOld,
    /// The policy is not in force, so nothing is judged.
    NotAccepted,
    /// Every needed input is there.
    AllInputsFresh,
    /// A needed input has been silent for too long.
    InputsStale,
    /// A needed input cannot be read, or does not say enough.
    InputsMissing,
    /// The policy governs nothing.
    NoServices,
    /// No check applies to what the policy declares.
    NothingJudged,
    /// Something declared is not so.
    Violated,
    /// Something declared hangs on what is not known or not bounded.
    AtRisk,
    /// Something declared is not so, and none of it matters much.
    MinorFindings,
    /// Everything declared is so.
    AllMet,
    /// Nothing is done, only watched.
    ModeObserve,
    /// Remedies are planned, and none is called for.
    NothingToDo,
    /// A remedy is called for, and guards hold all of them back.
    Held,
    /// So much is unhealthy that nothing may be done.
    Storm,
    /// A remedy is called for, and this version does not carry it out.
    Planned,
}

/// A condition and what it says with a reason.
pub type ConditionStatus = (&'static str, Holds);

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 23] = [
        Self::Accepted,
        Self::Conflicted,
        Self::TargetNotFound,
        Self::ExceptionsWithoutEffect,
        Self::FieldsNotUnderstood,
        Self::JudgedInPart,
        Self::Invalid,
        Self::CrdTooOld,
        Self::NotAccepted,
        Self::AllInputsFresh,
        Self::InputsStale,
        Self::InputsMissing,
        Self::NoServices,
        Self::NothingJudged,
        Self::Violated,
        Self::AtRisk,
        Self::MinorFindings,
        Self::AllMet,
        Self::ModeObserve,
        Self::NothingToDo,
        Self::Held,
        Self::Storm,
        Self::Planned,
    ];

    /// As written in a condition.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Conflicted => "Conflicted",
            Self::TargetNotFound => "TargetNotFound",
            Self::ExceptionsWithoutEffect => "ExceptionsWithoutEffect",
            Self::FieldsNotUnderstood => "FieldsNotUnderstood",
            Self::JudgedInPart => "JudgedInPart",
            Self::Invalid => "Invalid",
            Self::CrdTooOld => "CRDTooOld",
            Self::NotAccepted => "NotAccepted",
            Self::AllInputsFresh => "AllInputsFresh",
            Self::InputsStale => "InputsStale",
            Self::InputsMissing => "InputsMissing",
            Self::NoServices => "NoServices",
            Self::NothingJudged => "NothingJudged",
            Self::Violated => "Violated",
            Self::AtRisk => "AtRisk",
            Self::MinorFindings => "MinorFindings",
            Self::AllMet => "AllMet",
            Self::ModeObserve => "ModeObserve",
            Self::NothingToDo => "NothingToDo",
            Self::Held => "Held",
            Self::Storm => "Storm",
            Self::Planned => "Planned",
        }
    }

    /// Where it is used. Ready is not among them: it says what Healthy says.
    pub const fn places(self) -> &'static [ConditionStatus] {
        use Holds::{False, True, Unknown};
        match self {
            Self::Accepted
            | Self::Conflicted
            | Self::TargetNotFound
            | Self::ExceptionsWithoutEffect
            | Self::FieldsNotUnderstood => &[("Accepted", True)],
            Self::JudgedInPart => &[("Accepted", True), ("Healthy", Unknown)],
            Self::Invalid => &[("Accepted", False)],
            Self::CrdTooOld => &[("Accepted", Unknown)],
            Self::NotAccepted => &[
                ("Observed", Unknown),
                ("Healthy", Unknown),
                ("Remediating", False),
            ],
            Self::AllInputsFresh => &[("Observed", True)],
            Self::InputsStale => &[("Observed", False)],
            Self::InputsMissing => &[("Observed", False), ("Healthy", Unknown)],
            Self::NoServices | Self::NothingJudged => &[("Healthy", Unknown)],
            Self::Violated => &[("Healthy", False)],
            Self::AtRisk | Self::MinorFindings | Self::AllMet => &[("Healthy", True)],
            Self::ModeObserve | Self::NothingToDo | Self::Held | Self::Storm | Self::Planned => {
                &[("Remediating", False)]
            }
        }
    }

    /// What it means.
    pub const fn means(self) -> &'static str {
        match self {
            Self::Accepted => "the policy was understood and is in force",
            Self::Conflicted => {
                "the policy is in force, but two of its numbers exclude each other, or another policy declares something else for one of its Services: the message names both"
            }
            Self::TargetNotFound => {
                "the policy is in force, but names a Service or a port that does not exist in its namespace: nothing is judged by that part"
            }
            Self::ExceptionsWithoutEffect => {
                "the policy is in force, but accepts findings that it does not report: those on nodes, zones, webhooks and the cluster are the platform's"
            }
            Self::FieldsNotUnderstood => {
                "the policy is in force, without the fields that the message names: the operator is older than they are"
            }
            Self::JudgedInPart => {
                "the policy is in force, but declares more Services and paths than are judged of one policy, of one namespace or of the cluster; what is judged is not violated, and nothing is said of the rest"
            }
            Self::Invalid => {
                "the policy was not understood: the message names each field that is wrong; nothing is judged by it"
            }
            Self::CrdTooOld => {
                "the CustomResourceDefinition in the cluster lacks fields that this version writes: only this condition is written"
            }
            Self::NotAccepted => "the policy is not in force, so nothing is judged",
            Self::AllInputsFresh => "every input that its checks need is present and current",
            Self::InputsStale => "a watch that everything rests on has been silent for too long",
            Self::InputsMissing => {
                "something needed cannot be read or does not say enough: the message names source and reason; what rests \
                 on it is neither healthy nor unhealthy"
            }
            Self::NoServices => "spec.services names no Service that exists in the policy's namespace",
            Self::NothingJudged => {
                "nothing was found wrong, and nothing is met either: no check applies to what the policy declares, or the history that it rests on is still too short"
            }
            Self::Violated => {
                "at least one finding of severity warning or above that no exception accepts: the message is the worst one"
            }
            Self::AtRisk => {
                "nothing is violated, but something depends on what is neither declared nor bounded"
            }
            Self::MinorFindings => "what is violated is informational only",
            Self::AllMet => "every verdict is met",
            Self::ModeObserve => {
                "nothing is being changed: the policy asks for observation only, or this version has no remedy for what it asks"
            }
            Self::NothingToDo => "remedies are planned, and no node calls for one",
            Self::Held => {
                "a node calls for a remedy, and a guard holds it back: the message has the first, status.plans all of them; see docs/remedies.md"
            }
            Self::Storm => {
                "so many nodes were not Ready or are fenced that nothing is done to any: one cause is likely, and the others need what is left"
            }
            Self::Planned => {
                "a node calls for a remedy and no guard holds it back, or only a person's yes is missing; it is carried out where the operator runs with --remedies, in mode Enforce or when a person agreed"
            }
        }
    }

    /// What to do next.
    pub const fn next(self) -> &'static str {
        match self {
            Self::Accepted | Self::AllInputsFresh | Self::AllMet | Self::ModeObserve | Self::NothingToDo => {
                "nothing"
            }
            Self::Held => "`evenkeel explain GUARD` with the guard that the message names",
            Self::Storm => {
                "look for what the nodes share: zone, rack, network, API server, rollout; stop what makes Pods move"
            }
            Self::Planned => {
                "look at the evidence in status.plans; `evenkeel status` names a record that waits, and `evenkeel approve RECORD` agrees to it"
            }
            Self::Conflicted => {
                "ask the owners of the Service which of the two is true, and correct the other; `evenkeel audit` lists all of them"
            }
            Self::TargetNotFound => {
                "compare the name with `kubectl get services`; `evenkeel audit` lists all of them"
            }
            Self::ExceptionsWithoutEffect => {
                "remove them, or put them into spec.exceptions of the ClusterTrafficHealthPolicy, which the platform's owners write"
            }
            Self::FieldsNotUnderstood => {
                "upgrade the operator to the version of the definitions, or remove the fields"
            }
            Self::JudgedInPart => {
                "split the policy, or name in spec.connections the ports and clients that matter; the message has the numbers"
            }
            Self::Invalid => {
                "correct the fields that the message names; `evenkeel audit --policy FILE` shows the problems before you apply"
            }
            Self::CrdTooOld => {
                "apply the crds/ of the running version, then wait for the next change of the policy"
            }
            Self::NotAccepted => "see the condition Accepted",
            Self::InputsStale => {
                "`evenkeel status` names the source; see docs/runbooks/EvenkeelSourceStale.md and wait, it heals without a restart"
            }
            Self::InputsMissing => {
                "give the right that the message names, or declare in the policy what cannot be read; see docs/what-works-where.md"
            }
            Self::NoServices => "compare spec.services with `kubectl get services --show-labels`",
            Self::NothingJudged => {
                "declare what is expected of the Services, such as spec.balance.minimumReadyBackends; after a start, wait ten minutes"
            }
            Self::Violated | Self::AtRisk | Self::MinorFindings => {
                "`evenkeel explain` with the finding's id, and the page of its check in docs/checks"
            }
        }
    }
}
