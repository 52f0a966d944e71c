//! Carries one remediation out, one request at a time: from its record to its act, and to its undo.
//!
//! A [`Drive`] is pure. [`Drive::ask`] says which request follows, [`Drive::take`] takes what became of it. Nothing in it
//! waits, sends or knows the time, so that a test can lose, delay, repeat or refuse each request, and end the program after
//! each.
//!
//! The order is what makes it safe. While people say stop nothing is stored. The record is stored before anything is done,
//! under a name that follows of the intent, so that two leaders that mean the same write one object. The slot is taken by
//! compare-and-swap. That people said stop, and the target, are read after that, and the act is bound to what was read: uid,
//! resourceVersion and the whole list of taints. What is lost is read, never repeated. Where the target does not show a fence, the target is touched: that proves
//! that what was read is not old, and its new version refuses whatever is still under way. So is a target whose act was
//! refused, before its record is closed: a copy of the act may come when the reason of its refusal is gone. A new leader
//! touches the target of an older term's slot in the same way before it frees it.
//!
//! What needs a person's yes is stored first, and waits. When somebody agreed, that is written into the record, for the version
//! that waited, and from there on the order is the same.

mod approval;
mod executor;
mod node;
mod past;
mod record;
mod request;
mod retention;
mod slot;
mod stages;
#[cfg(test)]
mod tests;
mod waiting;

pub use approval::{Approval, PersonAnswer};
pub use executor::{Executor, Work};
pub use node::{LiveNode, NodePatch, REASON, RECORD, TERM, is_fence};
pub use past::{history, rejections};
pub(crate) use record::hash_of;
pub use record::{Ending, Phase, PolicyVersion, RemediationRecord};
pub use request::{Reply, Request};
pub use retention::old;
pub use slot::{SLOT, SlotHolder, SlotLease};

use std::collections::BTreeMap;
use std::fmt;

use crate::guards::Held;

/// Most requests of one drive. What is not settled by then stays open, and is settled by a drive of its
/// own.
pub const MOST_REQUESTS: u32 = 10;
/// Requests that it takes from the look at stop until the record says how it is: before it starts over it must have as many
/// left. A slot that is not free by then is claimed anew.
const WHOLE_ACT: u32 = 4;

/// The number of the request that stores a record, or writes into it that a person agreed: the first is the look at stop.
const FIRST_WRITE: u32 = 2;

/// What a drive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Makes the slot this term's, at its beginning: what an older term has sent to it is refused from then on.
    Claim,
    /// Reads the ledger, at the beginning of a term: what is watched may be behind what an older one did.
    List,
    /// Finds out whether the right to change Nodes is narrowed, before a fence, once an hour.
    Probe,
    /// Fences a node.
    Fence,
    /// Undoes a fence. No stop, guard or slot holds it back.
    Undo,
    /// Finds out what became of a record that another leader, or this one, left open.
    Settle,
    /// Deletes a record that is old.
    Forget,
    /// Stores a record that waits for a person.
    Suggest,
    /// Reads what people have said to the records that wait.
    Approvals,
    /// Ends a record that waits: a person said no, nobody said anything, or it is not planned any more.
    Dismiss,
}

/// The request that is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    List,
    Probe,
    /// Stop once before anything is stored: while people say stop, no record is written for nothing.
    FirstStop,
    Intend,
    FindRecord,
    ReadSlot,
    TakeSlot,
    Stop,
    Read,
    Act,
    ReadBack,
    Touch,
    Close,
    FindClosed,
    FreeSlot,
    FindFreed,
    Forget,
    Approvals,
    /// That a person agreed, in the record that waited.
    Approve,
    FindApproved,
}

/// Why a drive ended as it did.
#[derive(Debug, Clone, PartialEq)]
pub enum DriveReason {
    /// What was to be done is done.
    Done,
    /// A guard holds it back, on the target as it was read.
    Held(Held),
    /// People said stop.
    Stopped,
    /// Whether people said stop cannot be read.
    StopUnreadable(u16),
    /// Another record has the slot. As a leader drives one at a time, no drive is at work on it: the slot is to be claimed
    /// anew.
    OneAtATime,
    /// No admission policy narrows the right to change Nodes: an installation that is not as it should be.
    RightsNotNarrowed,
    /// The target is gone, or is another one of the same name.
    TargetGone,
    /// The target carries the taint already, by another record or by hand.
    AlreadyFenced,
    /// The target changed each time before the act came.
    Contended,
    /// The API server refuses, with this status.
    Refused(u16),
    /// The reply was lost, and what it was about is not there.
    Lost,
    /// Somebody else has undone it.
    UndoneByOthers,
    /// A person said no.
    Rejected,
    /// It is not planned any more, or another plan took its place.
    NotPlanned,
    /// Nobody said yes or no in time.
    Unanswered,
    /// There are more approvals than are read.
    TooManyApprovals,
}

impl fmt::Display for DriveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Held(held) => write!(f, "held by {}: {}", held.by, held.message),
            Self::Stopped => f.write_str("people said stop"),
            Self::StopUnreadable(code) => write!(f, "whether people said stop cannot be read ({code})"),
            Self::OneAtATime => f.write_str("another remedy has the slot"),
            Self::RightsNotNarrowed => f.write_str("no admission policy narrows the right to change Nodes"),
            Self::TargetGone => f.write_str("the node is gone, or is another one of the same name"),
            Self::AlreadyFenced => f.write_str("the node carries the taint already"),
            Self::Contended => f.write_str("the object changed each time before the request came"),
            Self::Refused(code) => write!(f, "the API server refuses ({code})"),
            Self::Lost => f.write_str("the reply was lost, and what it was about is not there"),
            Self::UndoneByOthers => f.write_str("somebody else removed the taint"),
            Self::Rejected => f.write_str("a person said no"),
            Self::NotPlanned => f.write_str("it is not planned any more"),
            Self::Unanswered => f.write_str("nobody said yes or no within an hour"),
            Self::TooManyApprovals => f.write_str("there are more approvals than are read"),
        }
    }
}

/// How a drive ends.
#[derive(Debug, Clone, PartialEq)]
pub enum DriveEnd {
    /// The record says how it is.
    Closed(Phase, DriveReason),
    /// Nothing was done, and no record of it is stored.
    NothingDone(DriveReason),
    /// The slot is this term's, and free.
    Claimed,
    /// The ledger was read.
    Listed,
    /// The right to change Nodes is narrowed.
    Narrowed,
    /// A record that was old is deleted.
    Forgotten,
    /// The record is stored, and waits for a person.
    Suggested,
    /// What people have said was read.
    Heard,
    /// The slot is held by the record of an older term: that is to be settled first.
    Taken(SlotHolder),
    /// What became of it is not known, or the record could not be written. It stays open, and is to be settled.
    Left,
    /// A newer leader has written the slot: this one does nothing more.
    Superseded,
}

/// One remediation that is being carried out.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "what was seen so far, of which any may be so with any other"
)]
pub struct Drive {
    goal: Goal,
    term: u64,
    record: RemediationRecord,
    slot: SlotLease,
    stage: Stage,
    /// The target as it was last read.
    live: Option<LiveNode>,
    /// Where the next page of the ledger, or of approvals, begins.
    page: Option<String>,
    /// uids of the records to which answers are wanted, and the hashes of their plans.
    asked_for: BTreeMap<String, String>,
    answers: BTreeMap<String, PersonAnswer>,
    /// Whether this drive has stored its record, so that no other can have acted by it.
    stored: bool,
    /// Whether a read has shown another Node of the name.
    another: bool,
    /// Whether a fence was sent and is not known to be there: a copy of it may be under way, also of one that was refused.
    may_come: bool,
    /// Whether it has asked to take the fence away: who else has is somebody whose word counts.
    unfenced: bool,
    /// How it ends once nothing that was sent can come any more.
    then: Option<(Phase, DriveReason)>,
    why: DriveReason,
    asked: u32,
    end: Option<DriveEnd>,
}

impl Drive {
    /// Makes the slot this term's.
    pub fn claim(term: u64) -> Self {
        Self::of(Goal::Claim, Stage::ReadSlot, term, RemediationRecord::blank())
    }

    /// Reads the ledger.
    pub fn list(term: u64) -> Self {
        Self::of(Goal::List, Stage::List, term, RemediationRecord::blank())
    }

    /// Finds out whether the right to change Nodes is narrowed, for the node of this record; nothing is changed.
    pub fn probe(record: RemediationRecord, term: u64) -> Self {
        Self::of(Goal::Probe, Stage::Probe, term, record)
    }

    /// Deletes a record.
    pub fn forget(record: RemediationRecord, term: u64) -> Self {
        Self::of(Goal::Forget, Stage::Forget, term, record)
    }

    /// Carries a planned fence out. `slot` is the slot as this leader last saw it: it saves a read.
    pub fn fence(record: RemediationRecord, term: u64, slot: SlotLease) -> Self {
        Self {
            slot,
            ..Self::of(Goal::Fence, Stage::FirstStop, term, record)
        }
    }

    /// Undoes the fence of a record.
    pub fn undo(record: RemediationRecord, term: u64) -> Self {
        Self::of(Goal::Undo, Stage::Read, term, record)
    }

    /// Finds out what became of a record that is open.
    pub fn settle(record: RemediationRecord, term: u64) -> Self {
        Self::of(Goal::Settle, Stage::ReadSlot, term, record)
    }

    /// The same for a record that has the slot and is not there any more: somebody deleted it.
    pub fn settle_holder(holder: SlotHolder, term: u64) -> Self {
        let record = RemediationRecord {
            name: holder.record,
            node: holder.node,
            node_uid: holder.node_uid,
            ..RemediationRecord::blank()
        };
        Self::settle(record, term)
    }

    fn of(goal: Goal, stage: Stage, term: u64, record: RemediationRecord) -> Self {
        Self {
            goal,
            term,
            record,
            slot: SlotLease::default(),
            stage,
            live: None,
            page: None,
            asked_for: BTreeMap::new(),
            answers: BTreeMap::new(),
            stored: false,
            another: false,
            may_come: false,
            unfenced: false,
            then: None,
            why: DriveReason::Done,
            asked: 0,
            end: None,
        }
    }

    /// How it ended, when it has.
    pub const fn end(&self) -> Option<&DriveEnd> {
        self.end.as_ref()
    }

    /// The record, as far as it has come.
    pub const fn record(&self) -> &RemediationRecord {
        &self.record
    }

    /// The slot as it was last seen.
    pub const fn slot(&self) -> &SlotLease {
        &self.slot
    }

    /// What it is for.
    pub const fn goal(&self) -> Goal {
        self.goal
    }

    /// The next request; `None` at the end. It is sent once, and what became of it is for [`Drive::take`].
    pub fn ask(&mut self) -> Option<Request> {
        if self.end.is_some() {
            return None;
        }
        self.asked += 1;
        self.may_come |= self.stage == Stage::Act && self.goal == Goal::Fence;
        self.unfenced |= self.stage == Stage::Act && self.goal == Goal::Undo;
        let name = || self.record.name.clone();
        let node = || self.record.node.clone();
        Some(match self.stage {
            Stage::List => Request::ListRecords(self.page.clone()),
            Stage::Probe => Request::TryForbidden(node()),
            Stage::Forget => Request::DeleteRecord(Box::new(self.record.clone())),
            Stage::Intend => Request::CreateRecord(Box::new(self.record.clone())),
            Stage::FindRecord | Stage::FindClosed | Stage::FindApproved => Request::ReadRecord(name()),
            Stage::Approvals => Request::ListApprovals(self.page.clone()),
            Stage::ReadSlot | Stage::FindFreed => Request::ReadSlot,
            Stage::TakeSlot => Request::WriteSlot(self.slot_of(Some(SlotHolder {
                record: name(),
                node: node(),
                node_uid: self.record.node_uid.clone(),
            }))),
            Stage::FreeSlot => Request::WriteSlot(self.slot_of(None)),
            Stage::FirstStop | Stage::Stop => Request::ReadStop,
            Stage::Read | Stage::ReadBack => Request::ReadNode(node()),
            Stage::Act | Stage::Touch => match self.patch() {
                Some(patch) => Request::PatchNode(node(), Box::new(patch)),
                None => Request::ReadNode(node()),
            },
            Stage::Close | Stage::Approve => Request::WriteRecord(Box::new(self.record.clone())),
        })
    }

    fn slot_of(&self, holder: Option<SlotHolder>) -> SlotLease {
        SlotLease {
            version: self.slot.version.clone(),
            term: self.term,
            holder,
        }
    }

    fn patch(&self) -> Option<NodePatch> {
        let live = self.live.as_ref()?;
        Some(match (self.stage, self.goal) {
            (Stage::Touch, _) => live.touch(self.term),
            (_, Goal::Undo) => live.unfence(&self.record),
            _ => live.fence(&self.record),
        })
    }

    fn holds_slot(&self) -> bool {
        let holder = self.slot.holder.as_ref();
        holder.is_some_and(|holder| holder.record == self.record.name)
    }

    /// Whether the requests that are left suffice for another try.
    const fn can_start_over(&self) -> bool {
        self.asked + WHOLE_ACT <= MOST_REQUESTS
    }

    fn over(&mut self, end: DriveEnd) {
        self.end = Some(end);
    }
}
