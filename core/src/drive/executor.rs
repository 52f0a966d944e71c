//! The drives of one leader, one after the other: which is next, and what follows of how one ended.
//!
//! The slot first: nothing else is done in a term before what an older one left in it is settled. Then the ledger is read once,
//! as what is watched may be behind. Then records that were left open, then what is to be undone, then records that wait for
//! nothing any more, then a fence or a record that asks a person, then what people have said, and at last the records that are
//! old are deleted. An undo does not wait for a slot that cannot be claimed.
//!
//! What is read of the ledger may be behind what this leader has written itself, so that is remembered until it is read. Who
//! loses the lead drops its executor with the drive under way: the next leader settles what it left.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::approval::PersonAnswer;
use super::record::{Phase, RemediationRecord};
use super::request::{Reply, Request};
use super::slot::SlotLease;
use super::{Drive, DriveEnd, DriveReason, Goal, LiveNode};
use crate::guards::Held;
use crate::know::Mono;

/// Pause after a request that was lost or refused as too many, in milliseconds: as long as the API server's own priority and
/// fairness asks for (`k8s.io/apiserver/pkg/server/filters/priority-and-fairness.go`, `Retry-After: 1`).
const AFTER_LOSS: u64 = 1_000;
/// Pause after a drive that is left to be settled, in milliseconds: what refuses it does not change within seconds.
const AFTER_LEFT: u64 = 10_000;
/// After a fence that came to nothing none is tried for so long, in milliseconds: each try stores a record, and a plan is made
/// anew every 30 s.
const AFTER_REFUSED: u64 = 60_000;
/// So long it is relied on that the right to change Nodes is narrowed, in milliseconds.
const NARROWED: u64 = 3_600_000;
/// What people have said is read again after so long while a plan waits for them, in milliseconds, and what was read is used
/// for no longer.
const LISTENS: u64 = 10_000;
/// Most records that are remembered until they are read. Drives take seconds and a watch less, so it is never near.
const MOST_WRITTEN: usize = 100;

/// What there is to do, of one moment.
#[derive(Debug, Clone, Default)]
pub struct Work<'r> {
    /// The ledger as it was last read.
    pub records: Cow<'r, [RemediationRecord]>,
    /// Names of the records that are to be undone, each with how often its node failed while it was fenced, where that was
    /// counted. Those that are not in effect do not count.
    pub undo: BTreeMap<String, Option<u32>>,
    /// The fence that is planned and that no guard holds back.
    pub fence: Option<RemediationRecord>,
    /// The record of a plan for which nothing but a person's yes is missing, and that is not stored yet.
    pub suggest: Option<RemediationRecord>,
    /// Names of the records that wait, and for which nothing but a person's yes is missing now.
    pub awaited: BTreeSet<String>,
    /// The record of a plan that nothing holds back but a right that nothing narrows: that is to be tried again.
    pub probe: Option<RemediationRecord>,
    /// The record that waits for nothing any more, and why.
    pub dismiss: Option<(RemediationRecord, DriveReason)>,
    /// The record that is old: it is to be deleted.
    pub old: Option<RemediationRecord>,
}

/// How far this term has come with the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// It is to be claimed.
    Due,
    /// The last try was given up: an undo goes first, if there is one, before the next.
    Failed,
    /// It is this term's, and the ledger is to be read.
    Slot,
    /// It is this term's, and the ledger was read.
    Made,
    /// A newer leader has written it: nothing more is done in this term.
    Superseded,
}

/// Carries out what there is to do in one term, one request at a time.
#[derive(Debug, Clone)]
pub struct Executor {
    term: u64,
    claim: Claim,
    slot: SlotLease,
    drive: Option<Drive>,
    begun: u64,
    awaits_reply: bool,
    not_before: Mono,
    no_fence_before: Mono,
    forgets_from: Mono,
    /// Until when it is known that the right to change Nodes is narrowed.
    narrowed_until: Option<Mono>,
    /// What people have said to records that wait, by uid of the record, and until when it counts.
    answers: BTreeMap<String, PersonAnswer>,
    listens_from: Mono,
    listed: bool,
    /// Names and uids of records that were deleted, until that is read.
    deleted: BTreeSet<(String, String)>,
    written: BTreeMap<String, RemediationRecord>,
}

impl Executor {
    /// The executor of the leader of this term.
    pub fn new(term: u64) -> Self {
        Self {
            term,
            claim: Claim::Due,
            slot: SlotLease::default(),
            drive: None,
            begun: 0,
            awaits_reply: false,
            not_before: Mono(0),
            no_fence_before: Mono(0),
            forgets_from: Mono(0),
            narrowed_until: None,
            answers: BTreeMap::new(),
            listens_from: Mono(0),
            listed: false,
            deleted: BTreeSet::new(),
            written: BTreeMap::new(),
        }
    }

    /// The drive under way.
    pub const fn drive(&self) -> Option<&Drive> {
        self.drive.as_ref()
    }

    /// How many drives have begun.
    pub const fn begun(&self) -> u64 {
        self.begun
    }

    /// Whether a newer leader has written the slot: nothing more is done in this term.
    pub fn is_superseded(&self) -> bool {
        self.claim == Claim::Superseded
    }

    /// Before this moment there is no request; one that is under way is answered first.
    pub const fn not_before(&self) -> Mono {
        self.not_before
    }

    /// From when on it is read again what people have said, where a record waits for them.
    pub const fn listens_from(&self) -> Mono {
        self.listens_from
    }

    /// The ledger as it was read, with what this leader has written since.
    pub fn ledger(&self, read: &[RemediationRecord]) -> Vec<RemediationRecord> {
        let mut all = read.to_vec();
        all.retain(|one| !self.is_deleted(one));
        for one in self.written.values() {
            match all.iter_mut().find(|read| read.name == one.name) {
                Some(read) if is_newer(one, read) => read.clone_from(one),
                Some(_) => {}
                None => all.push(one.clone()),
            }
        }
        all
    }

    /// Whether a drive is under way.
    pub const fn is_driving(&self) -> bool {
        self.drive.is_some()
    }

    /// Reads the ledger once more, before anything else is done.
    pub fn list_again(&mut self) {
        self.listed = false;
        if self.claim == Claim::Made {
            self.claim = Claim::Slot;
        }
    }

    /// The next request, if there is one now. It is sent once, and what became of it is for [`Executor::take`]; until then
    /// there is no other.
    pub fn ask(&mut self, now: Mono, work: &Work<'_>) -> Option<Request> {
        self.forget(&work.records);
        loop {
            if self.awaits_reply || self.is_superseded() || now < self.not_before {
                return None;
            }
            let mut drive = match self.drive.take() {
                Some(drive) => drive,
                None => self.choose(now, work)?,
            };
            if let Some(request) = drive.ask() {
                self.awaits_reply = true;
                self.drive = Some(drive);
                return Some(request);
            }
            self.ended(now, &drive, work);
        }
    }

    /// Takes what became of the request; `confirm` asks the guards once more, on the target as it was just read.
    pub fn take(&mut self, now: Mono, reply: Reply, confirm: impl FnOnce(&LiveNode) -> Result<(), Held>) {
        if !std::mem::take(&mut self.awaits_reply) {
            return;
        }
        if matches!(reply, Reply::Lost | Reply::Busy) {
            self.not_before = now.plus(AFTER_LOSS);
        }
        if let Some(drive) = &mut self.drive {
            drive.take(reply, confirm);
        }
    }

    fn begin(&mut self, drive: Drive) -> Drive {
        self.begun += 1;
        drive
    }

    fn choose(&mut self, now: Mono, work: &Work<'_>) -> Option<Drive> {
        let records = self.ledger(&work.records);
        let undo = records
            .iter()
            .filter(|one| one.phase == Phase::InEffect)
            .find_map(|one| Some((one, *work.undo.get(&one.name)?)))
            .map(|(one, failures_after)| {
                let record = RemediationRecord {
                    failures_after,
                    ..one.clone()
                };
                Drive::undo(record, self.term)
            });
        if self.claim == Claim::Slot {
            return Some(self.begin(Drive::list(self.term)));
        }
        if self.claim != Claim::Made {
            let failed = std::mem::replace(&mut self.claim, Claim::Due) == Claim::Failed;
            let instead = undo.filter(|_| failed);
            let claim = || Drive::claim(self.term);
            let drive = instead.unwrap_or_else(claim);
            return Some(self.begin(drive));
        }
        let open = records.iter().find(|one| one.phase == Phase::Intended);
        let settle = open.map(|one| Drive::settle(one.clone(), self.term));
        let waiting: Vec<_> = records.iter().filter(|one| one.phase == Phase::Waiting).collect();
        let drive = settle
            .or(undo)
            .or_else(|| self.dismissal(now, work, &waiting))
            .or_else(|| self.fence_or_suggestion(now, work, &waiting))
            .or_else(|| {
                let is_due = self.listens_from <= now;
                let awaited = waiting.iter().any(|one| work.awaited.contains(&one.name));
                (is_due && awaited).then(|| Drive::approvals(waiting.iter().copied(), self.term))
            })
            .or_else(|| {
                let is_due = |old: &&RemediationRecord| self.forgets_from <= now && !self.is_deleted(old);
                let old = work.old.as_ref().filter(is_due)?;
                Some(Drive::forget(old.clone(), self.term))
            })?;
        Some(self.begin(drive))
    }

    /// What people have said to a record, where that was read a moment ago.
    fn answer(&self, now: Mono, record: &RemediationRecord) -> Option<&PersonAnswer> {
        self.answers.get(&record.uid).filter(|_| now < self.listens_from)
    }

    /// Ends a record that waits, where a person said no or nothing is to be waited for.
    fn dismissal(&self, now: Mono, work: &Work<'_>, waiting: &[&RemediationRecord]) -> Option<Drive> {
        let rejected = waiting.iter().find_map(|one| {
            let no = self.answer(now, one).filter(|answer| !answer.yes)?;
            Some(((*one).clone(), DriveReason::Rejected, Some(no.clone())))
        });
        let (record, why, answer) = rejected.or_else(|| {
            let (record, why) = work.dismiss.clone()?;
            let waits = waiting.iter().any(|one| one.name == record.name);
            waits.then_some((record, why, None))
        })?;
        (self.no_fence_before <= now).then(|| Drive::dismiss(record, why, answer, self.term))
    }

    /// A fence that is planned, one that a person agreed to, or a record that asks a person.
    fn fence_or_suggestion(
        &self,
        now: Mono,
        work: &Work<'_>,
        waiting: &[&RemediationRecord],
    ) -> Option<Drive> {
        if now < self.no_fence_before {
            return None;
        }
        let approved = || {
            let mut awaited = waiting.iter().filter(|one| work.awaited.contains(&one.name));
            awaited.find_map(|one| {
                let yes = self.answer(now, one).filter(|answer| answer.yes)?;
                let slot = self.slot.clone();
                Some(Drive::approved((*one).clone(), yes.clone(), self.term, slot))
            })
        };
        let fence = |fence: &RemediationRecord| Drive::fence(fence.clone(), self.term, self.slot.clone());
        let suggest = |record: &RemediationRecord| Drive::suggest(record.clone(), self.term);
        let drive = work.fence.as_ref().map(fence);
        let drive = drive
            .or_else(approved)
            .or_else(|| work.suggest.as_ref().map(suggest));
        if self.narrowed_until.is_some_and(|until| now < until) {
            return drive;
        }
        let record = drive.as_ref().map(Drive::record).or(work.probe.as_ref())?;
        Some(Drive::probe(record.clone(), self.term))
    }

    fn ended(&mut self, now: Mono, drive: &Drive, work: &Work<'_>) {
        let fence = drive.goal() == Goal::Fence;
        if matches!(drive.goal(), Goal::Claim | Goal::Fence | Goal::Settle) {
            self.slot = drive.slot().clone();
        }
        match drive.end() {
            Some(DriveEnd::Claimed) if self.listed => self.claim = Claim::Made,
            Some(DriveEnd::Claimed) => self.claim = Claim::Slot,
            Some(DriveEnd::Listed) => {
                self.listed = true;
                self.claim = Claim::Made;
            }
            Some(DriveEnd::Narrowed) => self.narrowed_until = Some(now.plus(NARROWED)),
            Some(DriveEnd::Forgotten) => {
                let RemediationRecord { name, uid, .. } = drive.record();
                self.written.remove(name);
                self.deleted.insert((name.clone(), uid.clone()));
            }
            Some(DriveEnd::Taken(holder)) => {
                let records = self.ledger(&work.records);
                let settle = match records.into_iter().find(|one| one.name == holder.record) {
                    Some(record) => Drive::settle(record, self.term),
                    None => Drive::settle_holder(holder.clone(), self.term),
                };
                self.drive = Some(self.begin(settle));
            }
            Some(DriveEnd::Left) => {
                self.claim = if matches!(drive.goal(), Goal::Claim | Goal::List) {
                    Claim::Failed
                } else {
                    Claim::Due
                };
                self.not_before = now.plus(AFTER_LEFT);
            }
            Some(DriveEnd::Superseded) => self.claim = Claim::Superseded,
            Some(DriveEnd::Closed(phase, why)) => {
                // Another record that has the slot in this term is not being worked on.
                // One whose requests were spent has not freed it.
                if *why == DriveReason::OneAtATime || drive.holds_slot() {
                    self.claim = Claim::Due;
                }
                self.remember(drive.record());
                if fence && *phase != Phase::InEffect {
                    self.no_fence_before = now.plus(AFTER_REFUSED);
                }
            }
            Some(DriveEnd::Suggested) => self.remember(drive.record()),
            Some(DriveEnd::Heard) => {
                self.answers.clone_from(drive.answers());
                self.listens_from = now.plus(LISTENS);
            }
            Some(DriveEnd::NothingDone(_)) if drive.goal() == Goal::Approvals => {
                self.answers.clear();
                self.listens_from = now.plus(LISTENS);
            }
            Some(DriveEnd::NothingDone(_)) if drive.goal() == Goal::Forget => {
                self.forgets_from = now.plus(AFTER_REFUSED);
            }
            Some(DriveEnd::NothingDone(_)) => self.no_fence_before = now.plus(AFTER_REFUSED),
            None => {}
        }
    }

    /// Remembers a record that was written until it is read. One that was not stored has no version.
    fn remember(&mut self, record: &RemediationRecord) {
        if record.version.is_empty() {
            return;
        }
        self.written.insert(record.name.clone(), record.clone());
        if self.written.len() > MOST_WRITTEN {
            self.written.pop_first();
        }
    }

    /// Forgets what is read by now, as it was written or newer.
    fn forget(&mut self, read: &[RemediationRecord]) {
        let is_read = |one: &RemediationRecord| {
            let found = read.iter().find(|read| read.name == one.name);
            found.is_some_and(|read| !is_newer(one, read))
        };
        self.written.retain(|_, one| !is_read(one));
        let is_there = |(name, uid): &(String, String)| {
            let mut read = read.iter();
            read.any(|one| one.name == *name && one.uid == *uid)
        };
        self.deleted.retain(is_there);
    }

    fn is_deleted(&self, record: &RemediationRecord) -> bool {
        let mut deleted = self.deleted.iter();
        deleted.any(|(name, uid)| *name == record.name && *uid == record.uid)
    }
}

/// Whether the first is a newer version of the record than the second. Versions of one kind are ordered (Kubernetes 1.35,
/// KEP-5504); where they are no numbers, what was read counts.
fn is_newer(one: &RemediationRecord, other: &RemediationRecord) -> bool {
    let version = |record: &RemediationRecord| record.version.parse::<u64>().ok();
    match (version(one), version(other)) {
        (Some(one), Some(other)) => one > other,
        _ => false,
    }
}
