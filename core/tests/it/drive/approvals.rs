//! What waits for a person: the requests by which a leader asks, listens and acts, and a successor at each of them.

use evenkeel_core::drive::{DriveReason, Ending, Phase, RemediationRecord, Reply, Request};

use super::executor::{Bed, CLAIM};

const SUGGEST: [&str; 3] = ["dry run", "read stop", "create record"];
/// After a yes was read.
const APPROVED: [&str; 8] = [
    "read stop",
    "write record",
    "write slot",
    "read stop",
    "read node",
    "fence",
    "write record",
    "write slot",
];

fn asking() -> Bed {
    let mut bed = Bed::new();
    bed.asks = true;
    bed
}

impl Bed {
    /// A person answers to what waits.
    fn say(&mut self, yes: bool) {
        let waiting = self
            .server
            .records
            .values()
            .find(|one| one.phase == Phase::Waiting);
        let record = waiting.unwrap().clone();
        self.server.answer(&record, &record.plan_hash, yes);
    }

    fn all_but_approvals(&mut self, millis: u64) -> Vec<&'static str> {
        let mut sent = self.live(millis);
        sent.retain(|one| *one != "list approvals");
        sent
    }
}

#[test]
fn what_a_person_has_to_agree_to_waits_until_somebody_did() {
    let mut bed = asking();
    let begin = bed.live(59_000);
    let expected = [&CLAIM[..], &SUGGEST].concat();
    assert_eq!(begin[..expected.len()], expected);
    assert_eq!(
        begin[expected.len()..],
        ["list approvals"; 6],
        "every ten seconds"
    );
    assert_eq!(bed.phases(), [Phase::Waiting]);
    bed.say(true);
    assert_eq!(bed.all_but_approvals(11_000), APPROVED);
    assert_eq!(bed.phases(), [Phase::InEffect]);
    assert_eq!(bed.live(3_600_000), [""; 0], "nothing waits any more");
    let answer = bed
        .server
        .records
        .values()
        .next()
        .unwrap()
        .answer
        .clone()
        .unwrap();
    assert!(answer.yes && answer.by == "jane" && bed.server.broken.is_empty());
}

/// The word is about one record and one plan: a yes that is for another says nothing, and a no of anybody is a no.
#[test]
fn what_people_say_counts_for_what_they_looked_at() {
    let mut bed = asking();
    bed.live(30_000);
    let record = bed.server.records.values().next().unwrap().clone();
    bed.server.answer(&record, "another plan", true);
    let other = RemediationRecord {
        uid: "another record".into(),
        ..record.clone()
    };
    bed.server.answer(&other, &record.plan_hash, true);
    assert_eq!(bed.all_but_approvals(120_000), [""; 0]);
    assert_eq!(bed.phases(), [Phase::Waiting]);
    // Somebody says yes, and somebody else no.
    bed.say(true);
    bed.say(false);
    (bed.fence, bed.awaited) = (false, true);
    assert_eq!(bed.all_but_approvals(30_000), ["write record"]);
    assert_eq!(bed.phases(), [Phase::Finished(Ending::Refused)]);
    assert!(bed.server.records.values().all(RemediationRecord::is_rejected));
    // A yes to what is over starts nothing.
    bed.server.answer(&record, &record.plan_hash, true);
    assert_eq!(bed.live(3_600_000), [""; 0]);
    assert_eq!(bed.server.fences, 0);
}

#[test]
fn a_yes_waits_for_guards_and_for_people_to_say_go() {
    let mut bed = asking();
    bed.live(30_000);
    bed.say(true);
    // A guard holds: nobody listens, and nothing is done.
    bed.awaited = false;
    assert_eq!(bed.live(600_000), [""; 0]);
    (bed.awaited, bed.server.stop) = (true, true);
    let stopped = bed.all_but_approvals(120_000);
    assert!(stopped.iter().all(|one| *one == "read stop"), "{stopped:?}");
    assert_eq!(bed.phases(), [Phase::Waiting]);
    bed.server.stop = false;
    assert_eq!(bed.all_but_approvals(70_000), APPROVED);
}

#[test]
fn what_waits_for_nothing_any_more_is_ended_and_another_plan_asks_anew() {
    let mut bed = asking();
    bed.live(30_000);
    let mut work = bed.work();
    let record = work.records[0].clone();
    work.dismiss = Some((record.clone(), DriveReason::Unanswered));
    let request = bed.leader.ask(bed.now, &work).unwrap();
    assert!(matches!(&request, Request::WriteRecord(one) if one.phase == Phase::Finished(Ending::Lapsed)));
    let reply = bed.apply(&request);
    bed.take(reply);
    let lapsed = bed.server.records[&record.name].clone();
    assert!(!lapsed.may_have_acted() && !lapsed.is_rejected());
    // The yes comes too late.
    bed.server.answer(&record, &record.plan_hash, true);
    let again = bed.all_but_approvals(30_000);
    assert_eq!(again, ["read stop", "create record"]);
    assert_eq!(bed.phases(), [Phase::Finished(Ending::Lapsed), Phase::Waiting]);
    assert_eq!(bed.server.fences, 0);
}

/// A leader is lost at each request from the suggestion to the fence, before it comes, after it, or while it is on its way.
#[test]
fn a_successor_at_each_request_of_what_was_approved_acts_once_or_not_at_all() {
    let before = CLAIM.len() + SUGGEST.len();
    for at in before..before + 1 + APPROVED.len() {
        for (comes, late) in [(false, false), (true, false), (false, true)] {
            let mut bed = asking();
            let mut last = None;
            for sent in 0..=at {
                if sent == before {
                    bed.say(true);
                }
                last = Some(bed.send(sent == at, comes));
            }
            bed.succeed_before(last.as_ref().filter(|_| late));
            bed.live(120_000);
            assert!(bed.server.fences <= 1, "request {at}, {comes} {late}");
            let broken = &bed.server.broken;
            assert!(broken.is_empty(), "request {at}, {comes} {late}: {broken:?}");
            let open = bed
                .server
                .records
                .values()
                .filter(|one| one.phase == Phase::Intended);
            assert_eq!(open.count(), 0, "request {at}, {comes} {late}");
            assert!(bed.slot_is_free());
        }
    }
}

/// More pages than are read: nothing is done by what was seen of them.
#[test]
fn more_approvals_than_are_read_say_nothing() {
    let mut bed = asking();
    bed.live(8_000);
    bed.say(true);
    let mut pages = 0;
    bed.now = bed.now.plus(20_000);
    while let Some(request) = bed.ask() {
        let reply = match bed.apply(&request) {
            Reply::Approvals(approvals, _) => {
                pages += 1;
                Reply::Approvals(approvals, Some("more".into()))
            }
            reply => reply,
        };
        bed.take(reply);
    }
    assert_eq!((pages, bed.phases()), (10, vec![Phase::Waiting]));
}
