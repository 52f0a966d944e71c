//! What one leader does after the other, without chance: order, pauses, and a successor at each request.

use std::collections::BTreeMap;

use evenkeel_core::drive::{
    Ending, Executor, Goal, Phase, PolicyVersion, RemediationRecord, Reply, Request, Work,
};
use evenkeel_core::know::Mono;
use evenkeel_core::names::Names;
use evenkeel_core::policy::FenceEffect;
use evenkeel_core::remedies::NodeChange;
use rstest::rstest;

use super::server::{Sender, Server};

/// A cluster, its leader, and the time.
#[allow(
    clippy::struct_excessive_bools,
    reason = "what is planned, of which any may be so with any other"
)]
pub(super) struct Bed {
    pub(super) server: Server,
    pub(super) leader: Executor,
    pub(super) term: u64,
    pub(super) now: Mono,
    pub(super) fence: bool,
    /// Whether a person has to agree to the fence.
    pub(super) asks: bool,
    /// Whether nothing else is missing for what waits.
    pub(super) awaited: bool,
    undo: bool,
    forget: bool,
    /// Each request that was sent, in a word.
    sent: Vec<&'static str>,
}

fn word(request: &Request) -> &'static str {
    match request {
        Request::ListRecords(_) => "list records",
        Request::DeleteRecord(_) => "delete record",
        Request::ListApprovals(_) => "list approvals",
        Request::CreateRecord(_) => "create record",
        Request::ReadRecord(_) => "read record",
        Request::WriteRecord(_) => "write record",
        Request::ReadSlot => "read slot",
        Request::WriteSlot(_) => "write slot",
        Request::TryForbidden(_) => "dry run",
        Request::ReadStop => "read stop",
        Request::ReadNode(_) => "read node",
        Request::PatchNode(_, patch) if patch.adds_fence() => "fence",
        Request::PatchNode(_, patch) if patch.taints.is_some() => "unfence",
        Request::PatchNode(..) => "touch",
    }
}

impl Bed {
    pub(super) fn new() -> Self {
        Self {
            server: Server::new(3, 3, None),
            leader: Executor::new(7),
            term: 7,
            now: Mono(1_000_000),
            fence: true,
            asks: false,
            awaited: true,
            undo: false,
            forget: false,
            sent: Vec::new(),
        }
    }

    pub(super) fn work(&self) -> Work<'static> {
        let records: Vec<_> = self.server.records.values().cloned().collect();
        let undo: BTreeMap<_, _> = records.iter().map(|one| (one.name.clone(), None)).collect();
        let node = &self.server.nodes["n1"];
        let number = records.iter().filter_map(RemediationRecord::number).max();
        let number = number.map_or(0, |last| last + 1);
        let mut names = Names::default();
        let change = NodeChange {
            remedy: "CordonNode",
            node: names.intern("n1"),
            effect: FenceEffect::PreferNoSchedule,
            cause: "RefilledFlapper",
            evidence: Vec::new(),
        };
        let policy = PolicyVersion {
            uid: "p".into(),
            generation: 1,
        };
        let record = RemediationRecord::of(&change, &names, &node.uid, policy, self.term, number);
        let wanted = self.fence && !node.is_fenced();
        let old = records.iter().find(|one| one.is_finished()).cloned();
        let open = records.iter().any(|one| !one.is_finished());
        let waiting = records
            .iter()
            .filter(|one| self.awaited && one.phase == Phase::Waiting);
        Work {
            awaited: waiting.map(|one| one.name.clone()).collect(),
            suggest: (wanted && self.asks && !open).then(|| record.clone().awaiting("the mode is Suggest")),
            probe: None,
            dismiss: None,
            records: records.into(),
            old: old.filter(|_| self.forget),
            undo: if self.undo { undo } else { BTreeMap::new() },
            fence: (wanted && !self.asks).then_some(record),
        }
    }

    /// The next request, if there is one now.
    pub(super) fn ask(&mut self) -> Option<Request> {
        let work = self.work();
        let request = self.leader.ask(self.now, &work)?;
        self.sent.push(word(&request));
        Some(request)
    }

    pub(super) fn apply(&mut self, request: &Request) -> Reply {
        self.server.apply(Sender { term: self.term }, request)
    }

    pub(super) fn take(&mut self, reply: Reply) {
        self.leader.take(self.now, reply, |_| Ok(()));
    }

    /// All that it does for so long; returns what it sent.
    pub(super) fn live(&mut self, millis: u64) -> Vec<&'static str> {
        let end = self.now.plus(millis);
        self.sent.clear();
        while self.now <= end {
            match self.ask() {
                Some(request) => {
                    let reply = self.apply(&request);
                    self.take(reply);
                }
                None => self.now = self.now.plus(500),
            }
        }
        std::mem::take(&mut self.sent)
    }

    pub(super) fn succeed(&mut self) {
        self.term = self.server.next_version();
        self.leader = Executor::new(self.term);
    }

    /// Sends the next request. The last one of a leader is not answered, and carried out where it `comes`.
    pub(super) fn send(&mut self, is_last: bool, comes: bool) -> Request {
        let request = self.ask().unwrap();
        if !is_last {
            let reply = self.apply(&request);
            self.take(reply);
        } else if comes {
            self.apply(&request);
        }
        request
    }

    /// Another leader goes on, and what the old one sent last may come after that.
    pub(super) fn succeed_before(&mut self, late: Option<&Request>) {
        let old = self.term;
        self.succeed();
        self.live(10_000);
        if let Some(late) = late {
            self.server.apply(Sender { term: old }, late);
        }
    }

    pub(super) fn phases(&self) -> Vec<Phase> {
        self.server.records.values().map(|one| one.phase).collect()
    }

    pub(super) fn slot_is_free(&self) -> bool {
        self.server
            .slot
            .as_ref()
            .is_some_and(|slot| slot.holder.is_none())
    }
}

pub(super) const CLAIM: [&str; 3] = ["read slot", "write slot", "list records"];
const FENCE: [&str; 9] = [
    "dry run",
    "read stop",
    "create record",
    "write slot",
    "read stop",
    "read node",
    "fence",
    "write record",
    "write slot",
];
const UNDO: [&str; 3] = ["read node", "unfence", "write record"];

#[test]
fn a_node_is_fenced_once_and_undone_once() {
    let mut bed = Bed::new();
    assert_eq!(bed.live(60_000), [&CLAIM[..], &FENCE].concat());
    assert_eq!(bed.live(3_600_000), [""; 0], "nothing is left to do");
    bed.undo = true;
    bed.fence = false;
    assert_eq!(bed.live(3_600_000), UNDO);
    assert_eq!(bed.phases(), [Phase::Finished(Ending::Undone)]);
    assert!(bed.server.broken.is_empty() && bed.server.fenced() == 0 && bed.slot_is_free());
}

#[test]
fn a_fence_that_came_to_nothing_is_not_tried_for_a_minute_and_stop_holds_no_undo() {
    let mut bed = Bed::new();
    bed.server.stop = true;
    let begin = bed.live(59_000);
    assert_eq!(
        begin.iter().filter(|one| **one == "read stop").count(),
        1,
        "{begin:?}"
    );
    assert_eq!(bed.phases(), [], "while people say stop nothing is stored");
    bed.server.stop = false;
    bed.live(2_000);
    assert_eq!(bed.server.fenced(), 1);
    bed.server.stop = true;
    bed.undo = true;
    bed.live(2_000);
    assert_eq!(bed.server.fenced(), 0);
    assert!(bed.server.broken.is_empty(), "{:?}", bed.server.broken);
}

#[rstest]
#[case::lost(Reply::Lost)]
#[case::too_many(Reply::Busy)]
fn what_is_lost_or_too_much_is_followed_by_a_pause_of_a_second(#[case] reply: Reply) {
    let mut bed = Bed::new();
    assert!(bed.ask().is_some());
    assert!(bed.ask().is_none(), "one request is under way");
    bed.take(reply.clone());
    assert_eq!(bed.leader.not_before(), bed.now.plus(1_000));
    bed.now = bed.now.plus(999);
    assert!(bed.ask().is_none());
    bed.now = bed.now.plus(1);
    assert_eq!(bed.ask(), Some(Request::ReadSlot));
    bed.take(Reply::Absent);
    bed.take(reply);
    assert!(bed.ask().is_some(), "a reply to no request says nothing");
}

#[test]
fn an_undo_does_not_wait_for_a_slot_that_cannot_be_claimed() {
    let mut bed = Bed::new();
    bed.live(60_000);
    bed.succeed();
    bed.undo = true;
    bed.fence = false;
    for _ in 0..1_000 {
        let Some(request) = bed.ask() else {
            bed.now = bed.now.plus(500);
            continue;
        };
        let reply = match request {
            Request::ReadSlot | Request::WriteSlot(_) => Reply::Refused(403),
            request => bed.apply(&request),
        };
        bed.take(reply);
    }
    assert_eq!(bed.phases(), [Phase::Finished(Ending::Undone)]);
    let claims = bed.sent.iter().filter(|one| **one == "read slot").count();
    assert!((10..=60).contains(&claims), "{claims} tries in some 8 minutes");
}

#[test]
fn a_record_that_the_watch_does_not_show_yet_is_known() {
    let mut bed = Bed::new();
    let mut work = bed.work();
    assert!(work.records.is_empty(), "and it stays so");
    while let Some(request) = bed.leader.ask(bed.now, &work) {
        let reply = bed.apply(&request);
        bed.take(reply);
        work.fence = work.fence.filter(|_| bed.server.fenced() == 0);
    }
    let known = bed.leader.ledger(&work.records);
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].phase, Phase::InEffect);
    work.undo.insert(known[0].name.clone(), None);
    assert!(matches!(
        bed.leader.ask(bed.now, &work),
        Some(Request::ReadNode(_))
    ));
    assert_eq!(bed.leader.drive().unwrap().goal(), Goal::Undo);
}

#[test]
fn under_a_newer_leader_nothing_more_is_sent() {
    let mut bed = Bed::new();
    let mut older = bed.leader.clone();
    bed.succeed();
    bed.live(60_000);
    let work = bed.work();
    assert_eq!(older.ask(bed.now, &work), Some(Request::ReadSlot));
    let slot = bed.server.slot.clone().unwrap();
    older.take(bed.now, Reply::Slot(slot), |_| Ok(()));
    assert_eq!(older.ask(bed.now.plus(3_600_000), &work), None);
    assert!(older.is_superseded());
}

/// The lead is lost at each request of a fence and of its undo: before it comes, after it, or while it is under way, so that it
/// comes when the next leader has done its work. There is one act at most for each record, and nothing is left over.
#[test]
fn a_successor_at_each_request_settles_what_is_left() {
    let mut tried = 0;
    for at in 0..CLAIM.len() + FENCE.len() + UNDO.len() {
        for (comes, late) in [(false, false), (true, false), (false, true)] {
            let mut bed = Bed::new();
            let mut last = None;
            for _ in 0..=at {
                if bed.server.fenced() == 1 && bed.phases() == [Phase::InEffect] && bed.slot_is_free() {
                    (bed.undo, bed.fence) = (true, false);
                }
                let is_last = bed.sent.len() == at;
                last = Some(bed.send(is_last, comes));
            }
            bed.succeed_before(last.as_ref().filter(|_| late));
            (bed.undo, bed.fence) = (true, false);
            bed.live(120_000);
            let broken = &bed.server.broken;
            assert!(broken.is_empty(), "request {at}, {comes} {late}: {broken:?}");
            assert!(bed.server.fenced() == 0 && bed.slot_is_free());
            let open = bed.server.records.values().filter(|one| !one.is_finished());
            assert_eq!(open.count(), 0, "request {at}, {comes} {late}");
            tried += 1;
        }
    }
    assert_eq!(tried, 45);
}

#[test]
fn what_is_old_is_deleted_once_and_its_number_is_not_used_again() {
    let mut bed = Bed::new();
    bed.live(60_000);
    (bed.undo, bed.fence) = (true, false);
    bed.live(60_000);
    (bed.undo, bed.fence) = (false, true);
    bed.live(120_000);
    let names = |bed: &Bed| bed.server.records.keys().cloned().collect::<Vec<_>>();
    let before = names(&bed);
    assert_eq!(before.len(), 2);
    bed.fence = false;
    bed.forget = true;
    assert_eq!(bed.live(60_000), ["delete record"]);
    assert_eq!(names(&bed), before[1..]);
    bed.undo = true;
    bed.forget = false;
    bed.live(60_000);
    (bed.undo, bed.fence) = (false, true);
    bed.live(120_000);
    let after = names(&bed);
    assert!(
        after.len() == 2 && !after.contains(&before[0]),
        "{before:?}, {after:?}"
    );
}

#[test]
fn what_was_deleted_is_not_known_though_the_watch_still_shows_it() {
    let mut bed = Bed::new();
    bed.live(60_000);
    (bed.undo, bed.fence, bed.forget) = (true, false, true);
    let stale: Vec<_> = bed.server.records.values().cloned().collect();
    let mut work = bed.work();
    for _ in 0..10 {
        if let Some(request) = bed.leader.ask(bed.now, &work) {
            let reply = bed.apply(&request);
            bed.take(reply);
            assert!(!bed.server.records.is_empty() || matches!(request, Request::DeleteRecord(_)));
        }
        work.old = bed
            .leader
            .ledger(&stale)
            .into_iter()
            .find(RemediationRecord::is_finished);
    }
    assert!(bed.server.records.is_empty());
    assert!(bed.leader.ledger(&stale).is_empty());
}

/// Its watch may show the ledger as it was before the last leader's acts.
#[test]
fn a_new_leader_lists_the_ledger_once_before_it_acts() {
    let mut bed = Bed::new();
    bed.live(60_000);
    bed.succeed();
    (bed.undo, bed.fence) = (true, false);
    let sent = bed.live(60_000);
    assert_eq!(sent[..3], CLAIM);
    assert_eq!(sent.iter().filter(|one| **one == "list records").count(), 1);
    // Where it cannot be listed, nothing is fenced.
    let mut bed = Bed::new();
    for _ in 0..100 {
        match bed.ask() {
            Some(Request::ListRecords(_)) => bed.take(Reply::Refused(403)),
            Some(request) => {
                let reply = bed.apply(&request);
                bed.take(reply);
            }
            None => bed.now = bed.now.plus(500),
        }
    }
    assert_eq!(bed.server.fences, 0);
    assert!(bed.sent.contains(&"list records"));
}

/// Without the policies that narrow its rights it does nothing; what it was told holds for an hour.
#[test]
fn rights_that_are_not_narrowed_hold_every_fence() {
    let mut bed = Bed::new();
    for _ in 0..600 {
        match bed.ask() {
            Some(Request::TryForbidden(_)) => bed.take(Reply::NotNarrowed),
            Some(request) => {
                let reply = bed.apply(&request);
                bed.take(reply);
            }
            None => bed.now = bed.now.plus(500),
        }
    }
    assert!(bed.server.records.is_empty() && bed.server.fences == 0);
    let asked = bed.sent.iter().filter(|one| **one == "dry run").count();
    assert!((3..=6).contains(&asked), "{asked} in some five minutes");
    let mut fences = 0;
    for _ in 0..3 {
        (bed.undo, bed.fence) = (false, true);
        fences += bed
            .live(1_200_000)
            .iter()
            .filter(|one| **one == "dry run")
            .count();
        (bed.undo, bed.fence) = (true, false);
        bed.live(900_000);
    }
    assert_eq!((bed.server.fences, fences), (3, 2));
}
