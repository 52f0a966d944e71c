//! What guards look back on, of stored records.

use super::record::{Ending, Phase, RemediationRecord};
use crate::know::{Now, Wall};
use crate::names::{Name, Names};
use crate::remedies::{LedgerRecord, Outcome, PastMoment};

/// A fence after which the node fails no more often than this was of use: it may fail once more under what it had before.
const FEW: u32 = 1;

/// Nodes to whose fence a person said no, and when.
pub fn rejections<'r>(
    records: impl IntoIterator<Item = &'r RemediationRecord>,
    names: &mut Names,
    now: Now,
) -> Vec<(Name, PastMoment)> {
    let rejected = records.into_iter().filter(|one| one.is_rejected());
    let rejected = rejected.filter_map(|one| Some((names.intern(&one.node), ago(now, one.ended?))));
    rejected.collect()
}

/// A moment by the wall clock as an age. One that lies ahead counts as now, which holds the longest.
fn ago(now: Now, at: Wall) -> PastMoment {
    let seconds = u64::try_from(now.wall.0.saturating_sub(at.0)).unwrap_or(0);
    PastMoment::before(now.mono, seconds.saturating_mul(1000))
}

/// What guards look back on, of stored records, the oldest first. Times of objects are ages by the wall clock once, when the
/// records are read: one that lies ahead counts as now, which holds the longest.
pub fn history<'r>(
    records: impl IntoIterator<Item = &'r RemediationRecord>,
    names: &mut Names,
    now: Now,
) -> Vec<LedgerRecord> {
    let ago = |at: Wall| ago(now, at);
    let mut all: Vec<LedgerRecord> = records
        .into_iter()
        // One that lapsed may have been in effect for a moment, and undone by somebody.
        .filter(|one| {
            let open = matches!(one.phase, Phase::Intended | Phase::Finished(Ending::Lapsed));
            one.was_in_effect || open && one.may_have_acted()
        })
        .map(|one| LedgerRecord {
            node: names.intern(&one.node),
            started: one.created.map_or(now.mono.into(), ago),
            ended: one.ended.map(ago),
            outcome: match (one.phase, one.failures_after) {
                (Phase::Finished(Ending::Lapsed), _) => Outcome::UndoneByOthers,
                // A node that still fails, again and again, does not fail for what it is given.
                (Phase::Finished(_), Some(failures)) if failures > FEW => Outcome::Futile,
                (Phase::Finished(_), Some(_)) => Outcome::Improved,
                // What was not counted is neither of use nor futile.
                _ => Outcome::Running,
            },
        })
        .collect();
    all.sort_by_key(|one| (one.started, one.node));
    all
}
