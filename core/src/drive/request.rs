//! What the drive asks of the API server, and what becomes of it.

use super::approval::Approval;
use super::node::{LiveNode, NodePatch};
use super::record::RemediationRecord;
use super::slot::SlotLease;

/// One request. It is sent once: no client below may repeat it.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Lists the records, from where the page before ended: as the quorum has them.
    ListRecords(Option<String>),
    /// Lists what people have said to plans, from where the page before ended: as the quorum has them.
    ListApprovals(Option<String>),
    /// Stores the record.
    CreateRecord(Box<RemediationRecord>),
    /// Reads the record of this name.
    ReadRecord(String),
    /// Writes the status of the record, for the version that it has.
    WriteRecord(Box<RemediationRecord>),
    /// Deletes the record of this name, for the version that it has: it is old.
    DeleteRecord(Box<RemediationRecord>),
    /// Reads the slot.
    ReadSlot,
    /// Writes the slot, for the version that it has.
    WriteSlot(SlotLease),
    /// Asks, as a dry run, for a change of the Node of this name that the component's admission policy must refuse.
    TryForbidden(String),
    /// Reads whether people said stop.
    ReadStop,
    /// Reads the Node of this name, as the quorum has it.
    ReadNode(String),
    /// Changes the Node of this name.
    PatchNode(String, Box<NodePatch>),
}

impl Request {
    /// Whether it changes something.
    pub const fn writes(&self) -> bool {
        matches!(
            self,
            Self::CreateRecord(_)
                | Self::WriteRecord(_)
                | Self::DeleteRecord(_)
                | Self::WriteSlot(_)
                | Self::PatchNode(..)
        )
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Records as they are stored now, and from where the next page goes on.
    Records(Vec<RemediationRecord>, Option<String>),
    /// What people have said, as it is stored now, and from where the next page goes on.
    Approvals(Vec<Approval>, Option<String>),
    /// A record, as it is stored now.
    Record(Box<RemediationRecord>),
    /// The slot, as it is stored now.
    Slot(SlotLease),
    /// A Node, as it is stored now.
    Node(Box<LiveNode>),
    /// The admission policy refuses, as it must.
    Narrowed,
    /// It does not: the change would have been made, or something else refuses it.
    NotNarrowed,
    /// The object that says stop is there.
    Stop,
    /// There is no such object (404), or it is deleted as was asked.
    Absent,
    /// The object is another one than was read, or exists already (409; 422 for a test of a patch). Nothing was done.
    Conflict,
    /// The server refuses for good, with this status (400, 401, 403). Nothing was done.
    Refused(u16),
    /// The server asks to come back later (429). Nothing was done.
    Busy,
    /// Nothing is known: no reply, half of one, or a failure of the server (5xx). It may be done, or be done later.
    Lost,
}
