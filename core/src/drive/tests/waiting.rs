//! Records that wait for a person.

use super::*;

fn waiting() -> RemediationRecord {
    RemediationRecord {
        uid: "r-1".into(),
        version: "20".into(),
        ..record(0).awaiting("the mode is Suggest")
    }
}

fn jane(yes: bool) -> PersonAnswer {
    PersonAnswer {
        yes,
        by: "jane".into(),
    }
}

/// What is stored, as the API server has it: the spec as it was created, and the status as it was written last.
fn as_stored(record: &RemediationRecord) -> RemediationRecord {
    let mut object = record.json("ops");
    object["metadata"]["uid"] = "r-1".into();
    object["metadata"]["resourceVersion"] = "20".into();
    object["status"] = record.status_json(Wall(0))["status"].clone();
    RemediationRecord::parse(&object).unwrap()
}

#[test]
fn a_record_that_asks_waits_until_somebody_said_yes() {
    let mut waits = waiting();
    assert_eq!(as_stored(&waits), waits);
    for (answer, phase) in [
        (None, Phase::Waiting),
        (Some(jane(true)), Phase::Intended),
        (Some(jane(false)), Phase::Waiting),
    ] {
        waits.answer = answer.clone();
        let stored = as_stored(&waits);
        assert_eq!((stored.phase, stored.answer), (phase, answer));
    }
    assert_eq!(
        as_stored(&record(0)).phase,
        Phase::Intended,
        "nobody has to agree"
    );
}

#[test]
fn an_approval_is_taken_as_it_is_written_or_not_at_all() {
    let object = json!({"metadata": {"name": "a"}, "spec": {"remediationUID": "r-1", "planHash": "aa",
        "decision": "Approve", "by": "jane"}});
    let read = Approval::parse(&object).unwrap();
    assert_eq!((read.record_uid.as_str(), read.plan_hash.as_str()), ("r-1", "aa"));
    assert_eq!(read.answer, jane(true));
    for (at, value) in [
        ("/spec/decision", json!("approve")),
        ("/spec/decision", json!(true)),
        ("/spec/by", json!(null)),
        ("/spec/remediationUID", json!(7)),
        ("/spec/planHash", json!(null)),
    ] {
        let mut other = object.clone();
        *other.pointer_mut(at).unwrap() = value;
        assert_eq!(Approval::parse(&other), None, "{at}");
    }
    let mut taken_back = object;
    taken_back["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(Approval::parse(&taken_back), None);
}

/// Without a reply it is not known whether the yes is in the record: it is read, and while it is not, written for the version
/// that was read.
#[test]
fn a_yes_that_is_lost_is_found_or_written_once_more() {
    let mut drive = Drive::approved(waiting(), jane(true), 7, free(7));
    assert_eq!(drive.ask(), Some(Request::ReadStop));
    take(&mut drive, Reply::Absent);
    let Some(Request::WriteRecord(written)) = drive.ask() else {
        panic!("the yes is not written")
    };
    assert_eq!((written.version.as_str(), written.is_approved()), ("20", true));
    take(&mut drive, Reply::Lost);
    assert!(matches!(drive.ask(), Some(Request::ReadRecord(_))));
    let touched = RemediationRecord {
        version: "21".into(),
        ..waiting()
    };
    take(&mut drive, Reply::Record(Box::new(touched)));
    assert!(matches!(drive.ask(), Some(Request::WriteRecord(one)) if one.version == "21"));
    take(&mut drive, Reply::Conflict);
    assert_eq!(
        (drive.ask(), drive.end()),
        (None, Some(&DriveEnd::Left)),
        "the first came after all"
    );
}

#[test]
fn a_record_that_changed_or_went_meanwhile_is_not_acted_on() {
    for reply in [Reply::Conflict, Reply::Absent, Reply::Busy] {
        let mut drive = Drive::approved(waiting(), jane(true), 7, free(7));
        for reply in [Reply::Absent, reply] {
            assert!(drive.ask().is_some());
            take(&mut drive, reply);
        }
        let contended = DriveEnd::NothingDone(DriveReason::Contended);
        assert_eq!((drive.ask(), drive.end()), (None, Some(&contended)));
    }
}

/// A plan that needs nobody is not carried out by a record that asks, though both have one name.
#[test]
fn a_record_that_waits_serves_no_other_fence() {
    let mut drive = Drive::fence(record(0), 7, free(7));
    for reply in [Reply::Absent, Reply::Conflict, Reply::Record(Box::new(waiting()))] {
        assert!(drive.ask().is_some());
        take(&mut drive, reply);
    }
    let contended = DriveEnd::NothingDone(DriveReason::Contended);
    assert_eq!((drive.ask(), drive.end()), (None, Some(&contended)));
}

/// An older leader means to end what a newer one carries out.
#[test]
fn what_is_carried_out_meanwhile_is_not_dismissed() {
    let mut drive = Drive::dismiss(waiting(), DriveReason::Unanswered, None, 7);
    assert!(matches!(drive.ask(), Some(Request::WriteRecord(one)) if one.is_finished()));
    take(&mut drive, Reply::Conflict);
    assert!(matches!(drive.ask(), Some(Request::ReadRecord(_))));
    let approved = RemediationRecord {
        phase: Phase::Intended,
        answer: Some(jane(true)),
        ..waiting()
    };
    take(&mut drive, Reply::Record(Box::new(approved)));
    let contended = DriveEnd::NothingDone(DriveReason::Contended);
    assert_eq!((drive.ask(), drive.end()), (None, Some(&contended)));
}

#[test]
fn nobody_is_waited_for_longer_than_an_hour() {
    let record = RemediationRecord {
        created: Some(Wall(1_000)),
        ..waiting()
    };
    assert!(!record.is_unanswered(Wall(4_599)) && record.is_unanswered(Wall(4_600)));
    // A clock that is behind does not end it at once.
    assert!(!record.is_unanswered(Wall(0)));
    let decided = RemediationRecord {
        phase: Phase::Intended,
        ..record
    };
    assert!(!decided.is_unanswered(Wall(9_000)));
}

/// Nothing was done by what waits, or by what nobody agreed to: it counts for no budget, cooldown or slot.
#[test]
fn guards_look_back_on_what_may_have_been_done() {
    let over = |answer: Option<PersonAnswer>, ending: Ending| RemediationRecord {
        phase: Phase::Finished(ending),
        ended: Some(Wall(900)),
        answer,
        ..waiting()
    };
    let now = Now {
        mono: Mono(1_000_000),
        wall: Wall(1_000),
    };
    let mut names = Names::default();
    let lapsed = Ending::Lapsed;
    let nothing = [
        waiting(),
        over(None, lapsed),
        over(Some(jane(false)), Ending::Refused),
    ];
    assert_eq!(history(&nothing, &mut names, now), []);
    let something = [over(Some(jane(true)), lapsed)];
    assert_eq!(history(&something, &mut names, now).len(), 1);
    let node = names.intern("n1");
    let rejected = rejections(&nothing, &mut names, now);
    assert_eq!(rejected, [(node, PastMoment::before(now.mono, 100_000))]);
}
