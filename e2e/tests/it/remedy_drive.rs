//! Drives of the core against a real API server, under the operator's account and the component `remedy-cordon`: a fence and
//! its undo, stop, and a leader that is killed after each request of a fence.

use evenkeel::client::Link;
use evenkeel::clock::Clock;
use evenkeel::lease::{self, Claim, DURATION, NAMESPACE, Permit};
use evenkeel::remedy;
use evenkeel_core::drive::LiveNode;
use evenkeel_core::drive::{
    Drive, DriveEnd, DriveReason, Ending, MOST_REQUESTS, Phase, RemediationRecord, Request, SlotLease,
};
use evenkeel_e2e::audit::ACCOUNT;
use evenkeel_e2e::client_of;
use evenkeel_e2e::invariants::{Limits, verbs_of, violations};
use serde_json::{Value, json};

use crate::remedy_bed::{self, Account, make_node, plane, until_narrowed};

/// Requests of a fence on a quiet server, and one more.
const REQUESTS: u32 = 9;

/// A record as the leader of this term makes it.
fn record(live: &LiveNode, finished: u32, term: u64) -> RemediationRecord {
    RemediationRecord {
        term,
        ..remedy_bed::record(live, finished)
    }
}

/// The leader of one term, as far as it drives remedies.
struct Sender<'a> {
    link: &'a Link,
    term: u64,
    /// After so many requests it is killed; the answer to the last is never looked at.
    left: u32,
}

impl<'a> Sender<'a> {
    const fn of(link: &'a Link, term: u64) -> Self {
        Self {
            link,
            term,
            left: 1_000,
        }
    }

    /// To its end; `None` when the sender was killed before.
    async fn drive(&mut self, mut drive: Drive) -> Option<Drive> {
        let (clock, mut asked) = (Clock::default(), 0);
        while let Some(request) = drive.ask() {
            asked += 1;
            self.left = self.left.checked_sub(1)?;
            let reply = remedy::send(self.link, clock, self.permit(clock), NAMESPACE, &request).await;
            if self.left == 0 {
                return None;
            }
            drive.take(reply, |_| Ok(()));
        }
        assert!(asked <= MOST_REQUESTS);
        Some(drive)
    }

    fn permit(&self, clock: Clock) -> Permit {
        let now = clock.now().mono;
        let until = now.plus(u64::try_from(DURATION.as_millis()).unwrap());
        let claim = Claim {
            term: self.term,
            until,
        };
        claim.permit(now).unwrap()
    }

    /// What a leader does first: makes the slot its own, and settles what is open. Returns the slot.
    async fn take_over(&mut self, operator: &Account) -> SlotLease {
        loop {
            let claim = self.drive(Drive::claim(self.term)).await.unwrap();
            match claim.end().unwrap() {
                DriveEnd::Claimed => {
                    let open = operator.records().await;
                    let Some(open) = open.into_iter().find(|one| one.phase == Phase::Intended) else {
                        return claim.slot().clone();
                    };
                    self.drive(Drive::settle(open, self.term)).await.unwrap();
                }
                DriveEnd::Taken(holder) => {
                    let stored = operator.records().await;
                    let holds = stored.into_iter().find(|one| one.name == holder.record);
                    let settle = holds.map_or_else(
                        || Drive::settle_holder(holder.clone(), self.term),
                        |stored| Drive::settle(stored, self.term),
                    );
                    self.drive(settle).await.unwrap();
                }
                end => panic!("{end:?}"),
            }
        }
    }
}

impl Account {
    /// All records of the nodes of this test, as stored.
    async fn records(&self) -> Vec<RemediationRecord> {
        let path = format!("/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/remediations");
        let list = self.get(&path).await;
        let items = list["items"].as_array().unwrap();
        let records = items.iter().map(|one| RemediationRecord::parse(one).unwrap());
        let own = |one: &RemediationRecord| one.node == "driven" || one.node.starts_with("killed-");
        records.filter(own).collect()
    }
}

#[tokio::test]
async fn a_leader_may_be_killed_after_each_request() {
    let plane = plane().await;
    let (operator, admin) = (Account::operator(&plane).await, Account::admin(&plane).await);
    make_node(&admin, "driven", json!({})).await;
    until_narrowed(&operator, "driven").await;
    let before = plane.audit_events().unwrap().len();
    let file = plane.kubeconfig_of(NAMESPACE, "evenkeel").await.unwrap();
    let path = file.path().to_owned();
    let link = Link::new(move || {
        let path = path.clone();
        async move { client_of(&path, None).await }
    });

    // Undisturbed, and on what people have stopped.
    let mut leader = Sender::of(&link, 10);
    let slot = leader.take_over(&operator).await;
    let live = operator.node("driven").await;
    let fence = leader
        .drive(Drive::fence(record(&live, 0, 10), 10, slot))
        .await
        .unwrap();
    assert_eq!(
        fence.end(),
        Some(&DriveEnd::Closed(Phase::InEffect, DriveReason::Done))
    );
    assert!(operator.node("driven").await.is_fenced_by(fence.record()));
    let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let stop = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": remedy::STOP}});
    admin.post(&maps, &stop).await.unwrap();
    let undo = leader
        .drive(Drive::undo(fence.record().clone(), 10))
        .await
        .unwrap();
    let undone = Phase::Finished(Ending::Undone);
    assert_eq!(undo.end(), Some(&DriveEnd::Closed(undone, DriveReason::Done)));
    let after = operator.node("driven").await;
    assert_eq!(after.taints, live.taints);
    let again = Drive::fence(record(&after, 1, 10), 10, fence.slot().clone());
    let again = leader.drive(again).await.unwrap();
    assert_eq!(again.end(), Some(&DriveEnd::NothingDone(DriveReason::Stopped)));
    assert_eq!(
        operator.records().await.len(),
        1,
        "while people say stop nothing is stored"
    );
    admin.delete(&format!("{maps}/{}", remedy::STOP)).await.unwrap();

    let mut fenced = 0;
    for killed_after in 1..=REQUESTS {
        let name = format!("killed-{killed_after}");
        make_node(&admin, &name, json!({})).await;
        let terms = [u64::from(killed_after) * 100, u64::from(killed_after) * 100 + 1];
        let live = operator.node(&name).await;
        let mut first = Sender::of(&link, terms[0]);
        let slot = first.take_over(&operator).await;
        first.left = killed_after;
        let _ = first
            .drive(Drive::fence(record(&live, 0, terms[0]), terms[0], slot))
            .await;

        let mut second = Sender::of(&link, terms[1]);
        second.take_over(&operator).await;
        let there = operator.node(&name).await;
        let records = operator.records().await;
        let own: Vec<_> = records.iter().filter(|one| one.node == name).collect();
        // Its first request is whether people say stop.
        let intents = usize::from(killed_after > 1);
        assert_eq!(
            own.len(),
            intents,
            "killed after {killed_after}: one intent, one record"
        );
        if own.is_empty() {
            assert!(!there.is_fenced());
            continue;
        }
        let in_effect = own[0].phase == Phase::InEffect;
        assert_eq!(
            there.is_fenced(),
            in_effect,
            "killed after {killed_after}: {:?}",
            own[0]
        );
        fenced += u32::from(in_effect);
        // A leader of the older term comes too late for everything.
        let late = Drive::settle(own[0].clone(), terms[0]);
        let late = Sender::of(&link, terms[0]).drive(late).await.unwrap();
        assert_eq!(late.end(), Some(&DriveEnd::Superseded));
        if in_effect {
            let undo = second.drive(Drive::undo(own[0].clone(), terms[1])).await.unwrap();
            assert_eq!(undo.end(), Some(&DriveEnd::Closed(undone, DriveReason::Done)));
        }
        let end = operator.node(&name).await;
        assert_eq!(end.taints, live.taints, "killed after {killed_after}");
    }
    // Killed before its act, and after it.
    assert!((2..REQUESTS).contains(&fenced), "{fenced}");
    assert!(matches!(Drive::claim(1).ask(), Some(Request::ReadSlot)));
    hold_invariants(&plane.audit_events().unwrap()[before..], fenced);
}

/// Nothing of what the log holds breaks an invariant, and it holds so many fences.
fn hold_invariants(events: &[Value], fenced: u32) {
    let ours = events.iter().filter(|one| {
        one["user"]["username"] == ACCOUNT
            && one["verb"] == "patch"
            && one["objectRef"]["resource"] == "nodes"
    });
    assert!(ours.count() > 2 * usize::try_from(fenced).unwrap());
    let limits = Limits {
        per_hour: 100,
        requests: 1_000,
        rights: verbs_of(remedy::RIGHTS).chain(verbs_of(lease::RIGHTS)).collect(),
        ..Limits::default()
    };
    assert_eq!(violations(events, &limits), []);
}
