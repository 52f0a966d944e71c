//! What the operator says of its acts: an Event of the Node, and a count, at each stage.

use evenkeel_core::drive::{Drive, DriveEnd, DriveReason, Ending, Goal, Phase};
use evenkeel_core::know::Now;

use super::time;
use crate::send::Request;
use crate::status::NodeEvent;

/// What became of a drive, in one stable word, a label of `evenkeel_remediations_total`; and the Event that says it.
#[derive(Debug)]
pub(super) struct RemedyNews {
    pub(super) outcome: &'static str,
    pub(super) event: Request,
}

impl RemedyNews {
    /// `None` of a drive that is about no remedy, or that came to nothing yet.
    pub(super) fn of(now: Now, drive: &Drive, end: &DriveEnd, instance: &str) -> Option<Self> {
        let (outcome, reason, warns) = stage(drive.goal(), end)?;
        let record = drive.record();
        let event = NodeEvent {
            node: (&record.node, &record.node_uid),
            record: &record.name,
            reason,
            warns,
            message: message(drive, end, outcome),
        };
        Some(Self {
            outcome,
            event: event.request(time(now), instance)?,
        })
    }
}

/// Outcome, reason of the Event, and whether a person should look.
fn stage(goal: Goal, end: &DriveEnd) -> Option<(&'static str, &'static str, bool)> {
    let about_a_remedy = !matches!(
        goal,
        Goal::Claim | Goal::List | Goal::Probe | Goal::Approvals | Goal::Forget
    );
    Some(match end {
        DriveEnd::Suggested => ("suggested", "RemedyAwaitsApproval", true),
        DriveEnd::Closed(Phase::InEffect, _) => ("fenced", "NodeFenced", true),
        DriveEnd::Closed(Phase::Finished(ending), why) => match ending {
            Ending::Undone => ("undone", "NodeUnfenced", false),
            Ending::Refused if *why == DriveReason::Rejected => ("rejected", "RemedyRejected", false),
            Ending::Refused => ("refused", "RemedyRefused", false),
            Ending::Lapsed => ("lapsed", "RemedyLapsed", false),
            Ending::Failed => ("failed", "RemedyFailed", true),
        },
        DriveEnd::Left if about_a_remedy => ("left", "RemedyLeft", true),
        _ => return None,
    })
}

fn message(drive: &Drive, end: &DriveEnd, outcome: &str) -> String {
    let record = drive.record();
    let by = |word: &str| {
        let by = record
            .answer
            .as_ref()
            .map(|answer| format!("; {word} by {}", answer.by));
        by.unwrap_or_default()
    };
    let name = &record.name;
    let why = match end {
        DriveEnd::Closed(_, why) => why.to_string(),
        _ => String::new(),
    };
    match outcome {
        "suggested" => {
            let reason = record.approval_reason.as_deref().unwrap_or_default();
            format!(
                "a fence waits for a person ({reason}): evenkeel approve {name}, or evenkeel reject {name}"
            )
        }
        "fenced" => format!(
            "fenced with effect {}: new Pods avoid it ({}; record {name}{}). To take it back: evenkeel undo {}",
            record.effect.name(),
            record.cause,
            by("approved"),
            record.node
        ),
        "undone" => format!("its fence is removed: {why} (record {name})"),
        "rejected" => format!("its fence was refused (record {name}{})", by("rejected")),
        "failed" => format!("it could not be fenced: {why} (record {name})"),
        "left" => format!("what became of its fence is not known yet, and is found out (record {name})"),
        _ => format!("nothing is done to it: {why} (record {name})"),
    }
}
