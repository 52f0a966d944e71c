//! The requests of a drive, one after the other, and what they look like on the wire.

mod waiting;

use serde_json::json;

use super::*;
use crate::know::{Mono, Now, Wall};
use crate::names::Names;
use crate::policy::FenceEffect;
use crate::remedies::{NodeChange, Outcome, PastMoment};

fn policy() -> PolicyVersion {
    PolicyVersion {
        uid: "p-1".into(),
        generation: 3,
    }
}

fn record(finished: u32) -> RemediationRecord {
    let mut names = Names::default();
    let change = NodeChange {
        remedy: "CordonNode",
        node: names.intern("n1"),
        effect: FenceEffect::PreferNoSchedule,
        cause: "RefilledFlapper",
        evidence: Vec::new(),
    };
    RemediationRecord::of(&change, &names, "u-1", policy(), 7, finished)
}

#[expect(clippy::needless_pass_by_value, reason = "objects are written in place")]
fn node(version: &str, taints: serde_json::Value, annotations: serde_json::Value) -> LiveNode {
    let object = json!({"metadata": {"name": "n1", "uid": "u-1", "resourceVersion": version, "annotations": annotations},
        "spec": {"taints": taints}});
    LiveNode::parse(&object).unwrap()
}

fn stored(record: &RemediationRecord) -> Reply {
    Reply::Record(Box::new(RemediationRecord {
        uid: "r-1".into(),
        version: "20".into(),
        ..record.clone()
    }))
}

fn free(term: u64) -> SlotLease {
    SlotLease {
        version: "10".into(),
        term,
        holder: None,
    }
}

/// Takes a reply where no guard holds.
fn take(drive: &mut Drive, reply: Reply) {
    drive.take(reply, |_| Ok(()));
}

/// A drive up to its act, which is returned.
fn until_act() -> (Drive, NodePatch) {
    let record = record(0);
    let mut drive = Drive::fence(record.clone(), 7, free(7));
    assert_eq!(drive.ask(), Some(Request::ReadStop));
    take(&mut drive, Reply::Absent);
    assert!(matches!(drive.ask(), Some(Request::CreateRecord(_))));
    take(&mut drive, stored(&record));
    let Some(Request::WriteSlot(slot)) = drive.ask() else {
        panic!("no slot")
    };
    assert_eq!((slot.version.as_str(), slot.term), ("10", 7));
    take(
        &mut drive,
        Reply::Slot(SlotLease {
            version: "11".into(),
            ..slot
        }),
    );
    assert_eq!(drive.ask(), Some(Request::ReadStop));
    take(&mut drive, Reply::Absent);
    assert_eq!(drive.ask(), Some(Request::ReadNode("n1".into())));
    take(
        &mut drive,
        Reply::Node(Box::new(node("30", json!([]), json!({})))),
    );
    let Some(Request::PatchNode(_, patch)) = drive.ask() else {
        panic!("no act")
    };
    (drive, *patch)
}

#[test]
fn a_fence_takes_eight_requests() {
    let (mut drive, patch) = until_act();
    assert!(patch.adds_fence());
    let fenced = node("31", json!(patch.taints), json!({RECORD: drive.record().name}));
    take(&mut drive, Reply::Node(Box::new(fenced)));
    let Some(Request::WriteRecord(written)) = drive.ask() else {
        panic!("not closed")
    };
    assert_eq!((written.phase, written.version.as_str()), (Phase::InEffect, "20"));
    take(&mut drive, Reply::Record(written));
    let Some(Request::WriteSlot(slot)) = drive.ask() else {
        panic!("not freed")
    };
    assert_eq!((slot.holder.as_ref(), slot.version.as_str()), (None, "11"));
    take(&mut drive, Reply::Slot(slot));
    assert_eq!(drive.ask(), None);
    assert_eq!(
        drive.end(),
        Some(&DriveEnd::Closed(Phase::InEffect, DriveReason::Done))
    );
}

#[test]
fn what_is_lost_is_read_and_never_sent_again() {
    let (mut drive, _) = until_act();
    take(&mut drive, Reply::Lost);
    assert_eq!(drive.ask(), Some(Request::ReadNode("n1".into())));
    // It is not there, which says nothing: the node is touched, and the act is given up.
    take(
        &mut drive,
        Reply::Node(Box::new(node("30", json!([]), json!({})))),
    );
    let Some(Request::PatchNode(_, touch)) = drive.ask() else {
        panic!("not touched")
    };
    assert!(touch.taints.is_none() && touch.annotations[TERM].as_deref() == Some("7.1"));
    take(
        &mut drive,
        Reply::Node(Box::new(node("31", json!([]), json!({TERM: "7.1"})))),
    );
    let Some(Request::WriteRecord(written)) = drive.ask() else {
        panic!("not closed")
    };
    assert_eq!(written.phase, Phase::Finished(Ending::Lapsed));
}

#[test]
fn an_act_on_what_changed_starts_over_at_stop() {
    let (mut drive, _) = until_act();
    take(&mut drive, Reply::Conflict);
    assert_eq!(drive.ask(), Some(Request::ReadStop));
    take(&mut drive, Reply::Stop);
    // A copy of the act may come after people said go.
    let Some(Request::PatchNode(_, touch)) = drive.ask() else {
        panic!("not touched")
    };
    assert!(touch.taints.is_none());
    take(
        &mut drive,
        Reply::Node(Box::new(node("31", json!([]), json!({TERM: "7.1"})))),
    );
    let Some(Request::WriteRecord(written)) = drive.ask() else {
        panic!("not closed")
    };
    assert_eq!(written.phase, Phase::Finished(Ending::Refused));
}

/// Its record says why, within the requests of one drive.
#[test]
fn a_guard_may_hold_when_the_target_changed() {
    let (mut drive, _) = until_act();
    take(&mut drive, Reply::Conflict);
    assert_eq!(drive.ask(), Some(Request::ReadStop));
    take(&mut drive, Reply::Absent);
    assert_eq!(drive.ask(), Some(Request::ReadNode("n1".into())));
    let held = Held {
        by: "BudgetSpent",
        message: String::new(),
        evidence: Vec::new(),
        again: None,
    };
    let changed = node("31", json!([]), json!({}));
    drive.take(Reply::Node(Box::new(changed)), |_| Err(held.clone()));
    let Some(Request::PatchNode(_, touch)) = drive.ask() else {
        panic!("not touched")
    };
    assert!(touch.taints.is_none() && touch.version == "31");
    let touched = node("32", json!([]), json!({TERM: "7.1"}));
    take(&mut drive, Reply::Node(Box::new(touched)));
    let Some(Request::WriteRecord(written)) = drive.ask() else {
        panic!("not closed")
    };
    take(&mut drive, Reply::Record(written));
    // Its requests are spent: the slot is claimed anew.
    assert_eq!(drive.ask(), None);
    assert!(drive.slot().holder.is_some());
    let refused = Phase::Finished(Ending::Refused);
    assert_eq!(
        drive.end(),
        Some(&DriveEnd::Closed(refused, DriveReason::Held(held)))
    );
}

/// A proxy may send an act twice, and answer with the refusal of the second.
#[test]
fn an_act_that_people_undid_at_once_is_not_done_again() {
    let (mut drive, _) = until_act();
    let by_hand = json!({RECORD: drive.record().name});
    take(&mut drive, Reply::Conflict);
    assert_eq!(drive.ask(), Some(Request::ReadStop));
    take(&mut drive, Reply::Absent);
    assert_eq!(drive.ask(), Some(Request::ReadNode("n1".into())));
    take(
        &mut drive,
        Reply::Node(Box::new(node("32", json!([]), by_hand.clone()))),
    );
    let Some(Request::PatchNode(_, touch)) = drive.ask() else {
        panic!("not touched")
    };
    assert!(touch.taints.is_none() && touch.version == "32");
    take(&mut drive, Reply::Node(Box::new(node("33", json!([]), by_hand))));
    let Some(Request::WriteRecord(written)) = drive.ask() else {
        panic!("not closed")
    };
    assert_eq!(written.phase, Phase::Finished(Ending::Lapsed));
}

/// A record that was lost may come later: that nothing is stored is not known.
#[test]
fn a_record_that_may_still_come_is_left() {
    let mut drive = Drive::fence(record(0), 7, free(7));
    for reply in [Reply::Absent, Reply::Lost, Reply::Absent, Reply::Busy] {
        assert!(drive.ask().is_some());
        take(&mut drive, reply);
    }
    assert_eq!(drive.end(), Some(&DriveEnd::Left));
}

#[test]
fn while_people_say_stop_no_record_is_stored() {
    for (reply, why) in [
        (Reply::Stop, DriveReason::Stopped),
        (Reply::Refused(403), DriveReason::StopUnreadable(403)),
        (Reply::Lost, DriveReason::Lost),
    ] {
        let mut drive = Drive::fence(record(0), 7, free(7));
        assert_eq!(drive.ask(), Some(Request::ReadStop));
        take(&mut drive, reply);
        assert_eq!(drive.ask(), None);
        assert_eq!(drive.end(), Some(&DriveEnd::NothingDone(why)));
    }
}

/// Its record was deleted since, as it was old, and its name is used again.
#[test]
fn what_an_older_record_of_the_same_name_has_left_says_nothing() {
    let mut drive = Drive::fence(record(0), 7, free(7));
    let left = node("30", json!([]), json!({RECORD: drive.record().name}));
    let slot = SlotLease {
        version: "11".into(),
        ..free(7)
    };
    for reply in [
        Reply::Absent,
        stored(&record(0)),
        Reply::Slot(slot),
        Reply::Absent,
        Reply::Node(Box::new(left)),
    ] {
        assert!(drive.ask().is_some());
        take(&mut drive, reply);
    }
    assert!(matches!(drive.ask(), Some(Request::PatchNode(_, patch)) if patch.adds_fence()));
}

#[test]
fn what_was_in_effect_on_a_node_that_is_gone_is_undone() {
    let in_effect = RemediationRecord {
        version: "20".into(),
        phase: Phase::InEffect,
        ..record(0)
    };
    let mut drive = Drive::settle(in_effect, 7);
    for reply in [Reply::Slot(free(7)), Reply::Absent] {
        assert!(drive.ask().is_some());
        take(&mut drive, reply);
    }
    let Some(Request::WriteRecord(written)) = drive.ask() else {
        panic!("not closed")
    };
    assert_eq!(
        (written.phase, written.was_in_effect),
        (Phase::Finished(Ending::Undone), true)
    );
}

#[test]
fn reading_on_has_an_end() {
    let (mut drive, _) = until_act();
    let mut asked = 6;
    while drive.ask().is_some() {
        take(&mut drive, Reply::Lost);
        asked += 1;
    }
    // The request of the act itself was the sixth; it was not answered yet.
    assert_eq!((asked, drive.end()), (MOST_REQUESTS, Some(&DriveEnd::Left)));
}

#[test]
fn a_newer_term_ends_it() {
    let mut drive = Drive::settle(record(0), 7);
    assert_eq!(drive.ask(), Some(Request::ReadSlot));
    take(&mut drive, Reply::Slot(free(8)));
    assert_eq!((drive.ask(), drive.end()), (None, Some(&DriveEnd::Superseded)));
}

#[test]
fn one_intent_has_one_name() {
    assert_eq!(record(0).name, record(0).name);
    assert_ne!(record(0).name, record(1).name);
    assert_eq!(record(0).plan_hash, record(1).plan_hash);
    let (mut other, generation) = (
        record(0),
        PolicyVersion {
            generation: 4,
            ..policy()
        },
    );
    let mut names = Names::default();
    let change = NodeChange {
        remedy: "CordonNode",
        node: names.intern("n1"),
        effect: FenceEffect::NoSchedule,
        cause: "RefilledFlapper",
        evidence: Vec::new(),
    };
    for policy in [policy(), generation] {
        let one = RemediationRecord::of(&change, &names, "u-1", policy, 7, 0);
        assert_ne!(
            std::mem::replace(&mut other, one.clone()).plan_hash,
            one.plan_hash
        );
    }
}

#[test]
fn the_patch_is_for_what_was_read() {
    let other = json!({"key": "example.com/gpu", "effect": "NoSchedule", "value": "a"});
    let live = node("30", json!([other]), json!({"example.com/a": "b"}));
    let fence = live.fence(&record(0));
    let mine = json!({"key": crate::sources::claim::FENCE, "effect": "PreferNoSchedule"});
    assert_eq!(
        fence.json(),
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u-1"},
            {"op": "test", "path": "/metadata/resourceVersion", "value": "30"},
            {"op": "test", "path": "/spec/taints", "value": [other]},
            {"op": "add", "path": "/spec/taints", "value": [other, mine]},
            {"op": "add", "path": "/metadata/annotations/evenkeel.dev~1fence-reason", "value": "RefilledFlapper"},
            {"op": "add", "path": "/metadata/annotations/evenkeel.dev~1fence-record", "value": record(0).name},
        ])
    );
    let fenced = node(
        "31",
        json!([other, mine]),
        json!({RECORD: record(0).name, "a": "b"}),
    );
    assert!(fenced.is_fenced_by(&record(0)) && !fenced.is_fenced_by(&record(1)));
    assert_eq!(
        fenced.unfence(&record(0)).json(),
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u-1"},
            {"op": "test", "path": "/metadata/resourceVersion", "value": "31"},
            {"op": "test", "path": "/spec/taints", "value": [other, mine]},
            {"op": "add", "path": "/spec/taints", "value": [other]},
            {"op": "remove", "path": "/metadata/annotations/evenkeel.dev~1fence-record"},
        ])
    );
    // By people, who leave nothing of ours; where nothing is, there is no patch.
    let touched = node("31", json!([other, mine]), json!({TERM: "7.3", "a": "b"}));
    let cleared = touched.cleared().unwrap();
    assert_eq!(cleared.taints, Some(vec![other.clone()]));
    assert_eq!(cleared.annotations, [(TERM, None)].into());
    assert_eq!(live.cleared(), None);
    let left = node("31", json!([other]), json!({REASON: "a"}))
        .cleared()
        .unwrap();
    assert_eq!((left.taints, left.annotations), (None, [(REASON, None)].into()));
    let touched = node("32", json!([]), json!({TERM: "7.3"}));
    assert_eq!(touched.touch(7).annotations[TERM].as_deref(), Some("7.4"));
    assert_eq!(touched.touch(8).annotations[TERM].as_deref(), Some("8.1"));
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let mut record = record(2);
    let mut object = record.json("evenkeel-system");
    object["metadata"]["resourceVersion"] = "5".into();
    object["metadata"]["uid"] = "r-1".into();
    object["metadata"]["creationTimestamp"] = "2026-11-21T13:00:00Z".into();
    assert_eq!(RemediationRecord::parse(&object).unwrap().phase, Phase::Intended);
    for ending in Ending::ALL {
        record.phase = Phase::Finished(ending);
        record.was_in_effect = ending == Ending::Undone;
        record.failures_after = record.was_in_effect.then_some(2);
        object["status"] = record.status_json(Wall(1_795_266_060))["status"].clone();
        let read = RemediationRecord::parse(&object).unwrap();
        assert_eq!(
            (read.phase, read.was_in_effect),
            (record.phase, record.was_in_effect)
        );
        assert_eq!(read.failures_after, record.failures_after);
        assert_eq!(read.ended, Some(Wall(1_795_266_060)));
    }
    assert_eq!(
        RemediationRecord::parse(&json!({"metadata": {"name": "a"}})),
        None
    );
}

#[test]
fn history_outlives_the_program() {
    let stored = |phase, ended: Option<i64>| RemediationRecord {
        created: Some(Wall(10_000)),
        ended: ended.map(Wall),
        was_in_effect: phase != Phase::Finished(Ending::Refused),
        phase,
        ..record(0)
    };
    let all = [
        stored(Phase::Finished(Ending::Refused), Some(10_001)),
        stored(Phase::Finished(Ending::Lapsed), Some(10_100)),
        stored(Phase::InEffect, None),
    ];
    let now = Now {
        mono: Mono(5_000_000),
        wall: Wall(10_600),
    };
    let mut names = Names::default();
    let history = history(&all, &mut names, now);
    // What was refused did nothing.
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].started.until(now.mono), 600_000);
    assert_eq!(
        (history[0].outcome, history[0].ended),
        (
            Outcome::UndoneByOthers,
            Some(PastMoment::before(now.mono, 500_000))
        )
    );
    assert_eq!((history[1].outcome, history[1].ended), (Outcome::Running, None));
    let useful = |failures_after| {
        let record = RemediationRecord {
            failures_after,
            ..stored(Phase::Finished(Ending::Undone), Some(10_300))
        };
        super::history(&[record], &mut Names::default(), now)[0].outcome
    };
    assert_eq!(
        [None, Some(1), Some(2)].map(useful),
        [Outcome::Running, Outcome::Improved, Outcome::Futile]
    );
    // A clock that was put back makes nothing older.
    let back = Now {
        wall: Wall(9_000),
        ..now
    };
    assert!(
        super::history(&all, &mut names, back)
            .iter()
            .all(|one| one.started.until(now.mono) == 0)
    );
}

/// A taint of the same key that people wrote otherwise is theirs.
#[test]
fn an_undo_removes_the_taint_as_it_was_written_and_no_other() {
    let fence = crate::sources::claim::FENCE;
    let mine = json!({"key": fence, "effect": "PreferNoSchedule"});
    for theirs in [
        json!({"key": fence, "effect": "NoSchedule"}),
        json!({"key": fence, "effect": "PreferNoSchedule", "value": "by-hand"}),
    ] {
        let named = json!({RECORD: record(0).name});
        let both = node("31", json!([theirs, mine]), named.clone());
        assert_eq!(both.unfence(&record(0)).taints, Some(vec![theirs.clone()]));
        // Where only theirs is there, the fence was undone by them.
        let in_effect = RemediationRecord {
            version: "20".into(),
            phase: Phase::InEffect,
            ..record(0)
        };
        let mut drive = Drive::undo(in_effect, 7);
        assert!(drive.ask().is_some());
        take(
            &mut drive,
            Reply::Node(Box::new(node("31", json!([theirs]), named))),
        );
        let Some(Request::PatchNode(_, touch)) = drive.ask() else {
            panic!("not touched")
        };
        assert_eq!(touch.taints, None);
    }
}

#[test]
fn an_undo_changes_no_node_of_another_uid() {
    let in_effect = RemediationRecord {
        version: "20".into(),
        phase: Phase::InEffect,
        node_uid: "u-0".into(),
        ..record(0)
    };
    let mine = json!({"key": crate::sources::claim::FENCE, "effect": "PreferNoSchedule"});
    let other = node("31", json!([mine]), json!({RECORD: record(0).name}));
    let mut drive = Drive::undo(in_effect, 7);
    for _ in 0..2 {
        assert_eq!(drive.ask(), Some(Request::ReadNode("n1".into())));
        take(&mut drive, Reply::Node(Box::new(other.clone())));
    }
    let Some(Request::WriteRecord(written)) = drive.ask() else {
        panic!("not closed")
    };
    assert_eq!(written.phase, Phase::Finished(Ending::Undone));
}
