//! The stages by which a record waits for a person, and by which it goes on or ends.

use std::collections::BTreeMap;

use super::approval::{Approval, PersonAnswer};
use super::record::{Ending, Phase, RemediationRecord};
use super::request::Reply;
use super::slot::SlotLease;
use super::{Drive, DriveEnd, DriveReason, FIRST_WRITE, Goal, MOST_REQUESTS, Stage};

impl Drive {
    /// Stores a record that waits for a person.
    pub fn suggest(record: RemediationRecord, term: u64) -> Self {
        Self::of(Goal::Suggest, Stage::FirstStop, term, record)
    }

    /// Reads what people have said to these records.
    pub fn approvals<'r>(waiting: impl IntoIterator<Item = &'r RemediationRecord>, term: u64) -> Self {
        let asked = waiting.into_iter();
        let asked = asked.map(|one| (one.uid.clone(), one.plan_hash.clone()));
        Self {
            asked_for: asked.collect(),
            ..Self::of(
                Goal::Approvals,
                Stage::Approvals,
                term,
                RemediationRecord::blank(),
            )
        }
    }

    /// Carries out the fence of a record that waited, as a person agreed to it. `slot` as in [`Drive::fence`].
    pub fn approved(record: RemediationRecord, answer: PersonAnswer, term: u64, slot: SlotLease) -> Self {
        let record = RemediationRecord {
            phase: Phase::Intended,
            answer: Some(answer),
            ..record
        };
        Self::fence(record, term, slot)
    }

    /// Ends a record that waits. Nothing was done for it, and nothing will be.
    pub fn dismiss(
        record: RemediationRecord,
        why: DriveReason,
        answer: Option<PersonAnswer>,
        term: u64,
    ) -> Self {
        let ending = match &answer {
            Some(_) => Ending::Refused,
            None => Ending::Lapsed,
        };
        let record = RemediationRecord {
            phase: Phase::Finished(ending),
            answer,
            ..record
        };
        Self {
            why,
            ..Self::of(Goal::Dismiss, Stage::Close, term, record)
        }
    }

    /// What people have said to the records that it was asked for, by uid of the record.
    pub const fn answers(&self) -> &BTreeMap<String, PersonAnswer> {
        &self.answers
    }

    /// An approval counts for the uid and the plan that it names, and for no other. A no of anybody is a no.
    pub(super) fn on_approvals(&mut self, reply: Reply) {
        let (approvals, page) = match reply {
            Reply::Approvals(approvals, page) => (approvals, page),
            Reply::Refused(code) => return self.over(DriveEnd::NothingDone(DriveReason::Refused(code))),
            _ => return self.over(DriveEnd::NothingDone(DriveReason::Lost)),
        };
        for Approval {
            record_uid,
            plan_hash,
            answer,
        } in approvals
        {
            if self.asked_for.get(&record_uid) != Some(&plan_hash) {
                continue;
            }
            let no_before = self.answers.get(&record_uid).is_some_and(|before| !before.yes);
            if !no_before {
                self.answers.insert(record_uid, answer);
            }
        }
        match page {
            None => self.over(DriveEnd::Heard),
            Some(_) if self.asked >= MOST_REQUESTS => {
                self.over(DriveEnd::NothingDone(DriveReason::TooManyApprovals));
            }
            page => self.page = page,
        }
    }

    /// That a person agreed is in the record before anything is done by it. The write is for the version that waited: two
    /// leaders cannot both use one approval.
    pub(super) fn on_approve(&mut self, reply: Reply) {
        match reply {
            Reply::Record(record) => {
                self.stored = self.asked == FIRST_WRITE;
                self.is_stored(*record);
            }
            Reply::Conflict | Reply::Absent | Reply::Busy | Reply::Refused(_) if self.asked > FIRST_WRITE => {
                self.over(DriveEnd::Left);
            }
            Reply::Refused(code) => self.over(DriveEnd::NothingDone(DriveReason::Refused(code))),
            Reply::Conflict | Reply::Absent | Reply::Busy => {
                self.over(DriveEnd::NothingDone(DriveReason::Contended));
            }
            _ => self.stage = Stage::FindApproved,
        }
    }

    /// Whether it was written after all. While the record still waits, what was lost may come: the version that was read is
    /// written anew, and one of the two is refused.
    pub(super) fn on_find_approved(&mut self, reply: Reply) {
        match reply {
            Reply::Record(record) if record.phase == Phase::Waiting => {
                self.record.version = record.version;
                self.stage = Stage::Approve;
            }
            Reply::Record(record) => self.is_stored(*record),
            Reply::Absent => self.over(DriveEnd::NothingDone(DriveReason::Contended)),
            Reply::Refused(_) => self.over(DriveEnd::Left),
            _ => {}
        }
    }
}
