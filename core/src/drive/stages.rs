//! What follows of what became of a request, stage by stage.

use super::node::LiveNode;
use super::record::{Ending, Phase, RemediationRecord};
use super::request::Reply;
use super::slot::SlotLease;
use super::{Drive, DriveEnd, DriveReason, FIRST_WRITE, Goal, MOST_REQUESTS, Stage};
use crate::guards::Held;

impl Drive {
    /// Takes what became of the last request. `confirm` asks the guards once more, on the target as it was just read.
    pub fn take(&mut self, reply: Reply, confirm: impl FnOnce(&LiveNode) -> Result<(), Held>) {
        match self.stage {
            Stage::List => self.on_list(reply),
            Stage::Probe => self.on_probe(&reply),
            Stage::FirstStop => self.on_first_stop(&reply),
            Stage::Intend => self.on_intend(reply),
            Stage::FindRecord => self.on_find_record(reply),
            Stage::ReadSlot => self.on_read_slot(reply),
            Stage::TakeSlot => self.on_take_slot(reply),
            Stage::Stop => self.on_stop(&reply),
            Stage::Read => self.on_read(reply, confirm),
            Stage::Act => self.on_act(reply),
            Stage::ReadBack => self.on_read_back(reply),
            Stage::Touch => self.on_touch(&reply),
            Stage::Close => self.on_close(reply),
            Stage::FindClosed => self.on_find_closed(reply),
            Stage::FreeSlot => self.on_free_slot(reply),
            Stage::FindFreed => self.on_find_freed(reply),
            Stage::Forget => self.on_forget(&reply),
            Stage::Approvals => self.on_approvals(reply),
            Stage::Approve => self.on_approve(reply),
            Stage::FindApproved => self.on_find_approved(reply),
        }
        if self.end.is_none() && self.asked >= MOST_REQUESTS {
            self.over(DriveEnd::Left);
        }
    }

    /// What was read is for who keeps the ledger.
    fn on_list(&mut self, reply: Reply) {
        match reply {
            Reply::Records(_, None) => self.over(DriveEnd::Listed),
            Reply::Records(_, page) => self.page = page,
            _ => self.over(DriveEnd::Left),
        }
    }

    fn on_probe(&mut self, reply: &Reply) {
        self.over(match reply {
            Reply::Narrowed => DriveEnd::Narrowed,
            Reply::Absent => DriveEnd::NothingDone(DriveReason::TargetGone),
            Reply::Busy | Reply::Lost => DriveEnd::NothingDone(DriveReason::Lost),
            _ => DriveEnd::NothingDone(DriveReason::RightsNotNarrowed),
        });
    }

    fn on_forget(&mut self, reply: &Reply) {
        self.over(match reply {
            Reply::Absent => DriveEnd::Forgotten,
            Reply::Refused(code) => DriveEnd::NothingDone(DriveReason::Refused(*code)),
            Reply::Conflict => DriveEnd::NothingDone(DriveReason::Contended),
            _ => DriveEnd::NothingDone(DriveReason::Lost),
        });
    }

    fn on_first_stop(&mut self, reply: &Reply) {
        let why = match reply {
            // One that waited is stored.
            Reply::Absent if self.record.version.is_empty() => return self.stage = Stage::Intend,
            Reply::Absent => return self.stage = Stage::Approve,
            Reply::Stop => DriveReason::Stopped,
            Reply::Refused(code) => DriveReason::StopUnreadable(*code),
            _ => DriveReason::Lost,
        };
        self.over(DriveEnd::NothingDone(why));
    }

    fn on_intend(&mut self, reply: Reply) {
        match reply {
            Reply::Record(record) => {
                self.stored = self.asked == FIRST_WRITE;
                self.is_stored(*record);
            }
            // One that was lost before may still come.
            Reply::Refused(_) | Reply::Busy if self.asked > FIRST_WRITE => self.over(DriveEnd::Left),
            Reply::Refused(code) => self.over(DriveEnd::NothingDone(DriveReason::Refused(code))),
            Reply::Busy => self.over(DriveEnd::NothingDone(DriveReason::Contended)),
            _ => self.stage = Stage::FindRecord,
        }
    }

    /// Whether the record was stored after all, or was before. One that is not there may still come: it is created again under
    /// the same name, so that there is one in the end.
    fn on_find_record(&mut self, reply: Reply) {
        match reply {
            Reply::Record(record) => self.is_stored(*record),
            Reply::Absent => self.stage = Stage::Intend,
            Reply::Refused(_) => self.over(DriveEnd::Left),
            _ => {}
        }
    }

    pub(super) fn is_stored(&mut self, record: RemediationRecord) {
        let same = record.plan_hash == self.record.plan_hash && record.node_uid == self.record.node_uid;
        let suggests = self.goal == Goal::Suggest;
        match record.phase {
            Phase::Waiting if same && suggests => self.over(DriveEnd::Suggested),
            Phase::Intended if same && !suggests => {
                let free = self.slot.term == self.term && self.slot.holder.is_none();
                self.stage = if free { Stage::TakeSlot } else { Stage::ReadSlot };
            }
            // Another plan of the same intent is open, under an older policy.
            Phase::Intended => return self.over(DriveEnd::Left),
            // It was carried out under this name already, as what is counted as finished is not up to date; or it waits for a
            // person, whose yes is not for this.
            Phase::Waiting | Phase::Finished(_) | Phase::InEffect => {
                return self.over(DriveEnd::NothingDone(DriveReason::Contended));
            }
        }
        self.record.uid = record.uid;
        self.record.version = record.version;
        self.record.created = record.created;
    }

    fn on_read_slot(&mut self, reply: Reply) {
        let slot = match reply {
            Reply::Slot(slot) => slot,
            Reply::Absent => SlotLease::default(),
            Reply::Refused(code) => return self.without_slot(DriveReason::Refused(code)),
            _ => return,
        };
        if slot.term > self.term {
            return self.over(DriveEnd::Superseded);
        }
        self.slot = slot;
        let own = self.holds_slot();
        match (self.goal, &self.slot.holder) {
            (Goal::Claim, Some(holder)) => {
                let holder = holder.clone();
                self.over(DriveEnd::Taken(holder));
            }
            (Goal::Claim, None) => self.stage = Stage::FreeSlot,
            (Goal::Settle, _) => self.stage = Stage::ReadBack,
            _ if own => self.stage = Stage::Stop,
            (_, Some(_)) => self.close(Phase::Finished(Ending::Refused), DriveReason::OneAtATime),
            (_, None) => self.stage = Stage::TakeSlot,
        }
    }

    fn without_slot(&mut self, why: DriveReason) {
        match self.goal {
            Goal::Fence => self.close(Phase::Finished(Ending::Failed), why),
            _ => self.over(DriveEnd::Left),
        }
    }

    fn on_take_slot(&mut self, reply: Reply) {
        match reply {
            Reply::Slot(slot) => {
                self.slot = slot;
                self.stage = Stage::Stop;
            }
            Reply::Refused(code) => self.close(Phase::Finished(Ending::Failed), DriveReason::Refused(code)),
            _ => self.stage = Stage::ReadSlot,
        }
    }

    fn on_stop(&mut self, reply: &Reply) {
        let refused = Phase::Finished(Ending::Refused);
        match reply {
            Reply::Absent => self.stage = Stage::Read,
            Reply::Stop => self.close(refused, DriveReason::Stopped),
            Reply::Refused(code) => self.close(refused, DriveReason::StopUnreadable(*code)),
            _ if self.can_start_over() => {}
            _ => self.close(refused, DriveReason::Contended),
        }
    }

    fn on_read(&mut self, reply: Reply, confirm: impl FnOnce(&LiveNode) -> Result<(), Held>) {
        let node = match reply {
            Reply::Node(node) => *node,
            Reply::Absent => return self.is_gone(),
            Reply::Refused(code) if self.goal == Goal::Fence => {
                return self.close(Phase::Finished(Ending::Failed), DriveReason::Refused(code));
            }
            Reply::Refused(_) => return self.over(DriveEnd::Left),
            _ if self.goal == Goal::Fence && !self.can_start_over() => {
                return self.close(Phase::Finished(Ending::Refused), DriveReason::Contended);
            }
            _ => return,
        };
        let same = node.uid == self.record.node_uid;
        let by_us = same && node.is_fenced_by(&self.record);
        // Also where nothing is done to it: a touch for what was sent before is for the newest version.
        let node = &*self.live.insert(node);
        if self.goal == Goal::Undo && !same {
            self.is_another();
        } else if self.goal == Goal::Undo {
            self.stage = if by_us { Stage::Act } else { Stage::Touch };
        } else if !same {
            self.is_gone();
        } else if by_us {
            self.close(Phase::InEffect, DriveReason::Done);
        } else if node.is_fenced() {
            self.close(Phase::Finished(Ending::Refused), DriveReason::AlreadyFenced);
        } else if node.names(&self.record.name) && (self.may_come || !self.stored) {
            // An act of this record came, though its reply said otherwise, and its fence was removed by hand since.
            self.close(Phase::Finished(Ending::Lapsed), DriveReason::UndoneByOthers);
        } else if let Err(held) = confirm(node) {
            self.close(Phase::Finished(Ending::Refused), DriveReason::Held(held));
        } else {
            self.stage = Stage::Act;
        }
    }

    /// Another Node of the name: nothing is done to it. As an answer may be old, two have to say so.
    fn is_another(&mut self) {
        if std::mem::replace(&mut self.another, true) {
            self.is_gone();
        }
    }

    /// The target is not there any more, and what was done to it went with it.
    fn is_gone(&mut self) {
        let ending = if self.goal == Goal::Undo || self.record.phase == Phase::InEffect {
            Ending::Undone
        } else {
            Ending::Refused
        };
        self.close(Phase::Finished(ending), DriveReason::TargetGone);
    }

    fn on_act(&mut self, reply: Reply) {
        let undo = self.goal == Goal::Undo;
        match reply {
            Reply::Node(node) if !undo && node.is_fenced_by(&self.record) => {
                self.close(Phase::InEffect, DriveReason::Done);
            }
            Reply::Node(node) if undo && !node.has_taint_of(&self.record) => {
                self.close(Phase::Finished(Ending::Undone), DriveReason::Done);
            }
            Reply::Absent => self.is_gone(),
            Reply::Refused(_) if undo => self.over(DriveEnd::Left),
            Reply::Refused(code) => self.close(Phase::Finished(Ending::Failed), DriveReason::Refused(code)),
            // Nothing was done. People may have said stop meanwhile, so it starts there.
            Reply::Conflict | Reply::Busy if undo => self.stage = Stage::Read,
            Reply::Conflict | Reply::Busy if self.can_start_over() => self.stage = Stage::Stop,
            Reply::Conflict | Reply::Busy => {
                self.close(Phase::Finished(Ending::Refused), DriveReason::Contended);
            }
            _ => self.stage = Stage::ReadBack,
        }
    }

    /// What became of an act, by its target. That it is not there yet says nothing: it may be under way, and it may have been
    /// undone by somebody. So it is never done again, and the target is touched.
    fn on_read_back(&mut self, reply: Reply) {
        let node = match reply {
            Reply::Node(node) => *node,
            Reply::Absent => return self.is_gone(),
            Reply::Refused(_) => return self.over(DriveEnd::Left),
            _ => return,
        };
        let by_us = node.uid == self.record.node_uid && node.is_fenced_by(&self.record);
        if node.uid != self.record.node_uid {
            if self.goal == Goal::Undo {
                self.stage = Stage::Read;
            }
            return self.is_another();
        }
        match (self.goal, by_us) {
            // A removal may be done again: it is the same each time.
            (Goal::Undo, true) => self.stage = Stage::Read,
            (_, true) => self.close(Phase::InEffect, DriveReason::Done),
            (_, false) => {
                self.live = Some(node);
                self.stage = Stage::Touch;
            }
        }
    }

    /// A touch that succeeds proves that the target is as it was read: without the fence, or another one of its name. Nothing
    /// that is under way to it comes through any more.
    fn on_touch(&mut self, reply: &Reply) {
        match reply {
            Reply::Node(_) => self.is_without_fence(),
            Reply::Absent => self.is_gone(),
            Reply::Refused(_) => self.over(DriveEnd::Left),
            _ => self.stage = Stage::ReadBack,
        }
    }

    /// The target is not fenced by this record. A fence of ours that is removed by hand leaves the annotation that names the
    /// record, as people have no reason to look at it; our own undo removes both at once.
    fn is_without_fence(&mut self) {
        self.may_come = false;
        let Some(live) = &self.live else { return };
        let (same, by_hand) = (live.uid == self.record.node_uid, live.names(&self.record.name));
        let lapsed = Phase::Finished(Ending::Lapsed);
        match self.goal {
            _ if !same => self.is_gone(),
            _ if by_hand => self.close(lapsed, DriveReason::UndoneByOthers),
            Goal::Fence if self.then.is_some() => {
                if let Some((phase, why)) = self.then.take() {
                    self.close(phase, why);
                }
            }
            Goal::Undo if self.unfenced => {
                self.close(Phase::Finished(Ending::Undone), DriveReason::Done);
            }
            // `evenkeel undo` leaves no annotation. A leader that ended between its undo and the record looks the same: then
            // the node is left alone for a day without need.
            Goal::Undo => self.close(lapsed, DriveReason::UndoneByOthers),
            _ if self.record.phase == Phase::InEffect => self.close(lapsed, DriveReason::UndoneByOthers),
            // Without the slot no act was ever sent.
            _ if !self.holds_slot() => self.close(Phase::Finished(Ending::Refused), DriveReason::Lost),
            _ => self.close(lapsed, DriveReason::Lost),
        }
    }

    /// Writes how it is into the record.
    fn close(&mut self, phase: Phase, why: DriveReason) {
        if self.may_come && phase != Phase::InEffect && why != DriveReason::TargetGone {
            self.then = Some((phase, why));
            self.stage = Stage::Touch;
            return;
        }
        self.why = why;
        // What is finished stays so.
        if !self.record.is_finished() {
            self.record.was_in_effect |= self.record.phase == Phase::InEffect || phase == Phase::InEffect;
            self.record.phase = phase;
            if !self.record.version.is_empty() {
                self.stage = Stage::Close;
                return;
            }
        }
        self.closed();
    }

    fn on_close(&mut self, reply: Reply) {
        match reply {
            Reply::Record(record) => {
                self.record.version = record.version;
                self.closed();
            }
            // Somebody deleted it: there is nothing to write to.
            Reply::Absent => self.closed(),
            Reply::Refused(_) => self.over(DriveEnd::Left),
            _ => self.stage = Stage::FindClosed,
        }
    }

    fn on_find_closed(&mut self, reply: Reply) {
        match reply {
            // A newer leader carries it out.
            Reply::Record(record) if self.goal == Goal::Dismiss && record.phase == Phase::Intended => {
                self.over(DriveEnd::NothingDone(DriveReason::Contended));
            }
            Reply::Record(record) => {
                self.record.version.clone_from(&record.version);
                if record.is_finished() || record.phase == self.record.phase {
                    self.record.phase = record.phase;
                    self.closed();
                } else {
                    self.stage = Stage::Close;
                }
            }
            Reply::Absent => self.closed(),
            Reply::Refused(_) => self.over(DriveEnd::Left),
            _ => {}
        }
    }

    /// The record says how it is: the slot is free for the next.
    fn closed(&mut self) {
        if self.holds_slot() && self.asked < MOST_REQUESTS {
            self.stage = Stage::FreeSlot;
        } else {
            self.finish();
        }
    }

    fn on_free_slot(&mut self, reply: Reply) {
        match reply {
            Reply::Slot(slot) => {
                self.slot = slot;
                self.finish();
            }
            Reply::Refused(_) => self.over(DriveEnd::Left),
            _ => self.stage = Stage::FindFreed,
        }
    }

    fn on_find_freed(&mut self, reply: Reply) {
        let slot = match reply {
            Reply::Slot(slot) => slot,
            Reply::Absent => SlotLease::default(),
            Reply::Refused(_) => return self.over(DriveEnd::Left),
            _ => return,
        };
        if slot.term > self.term {
            return self.over(DriveEnd::Superseded);
        }
        let free = slot.holder.is_none();
        let claimed = slot.term == self.term && free;
        self.slot = slot;
        match self.goal {
            Goal::Claim if !free => self.stage = Stage::ReadSlot,
            Goal::Claim if !claimed => self.stage = Stage::FreeSlot,
            _ if self.holds_slot() => self.stage = Stage::FreeSlot,
            _ => self.finish(),
        }
    }

    fn finish(&mut self) {
        let end = match self.goal {
            Goal::Claim => DriveEnd::Claimed,
            _ => DriveEnd::Closed(self.record.phase, self.why.clone()),
        };
        self.over(end);
    }
}
