//! A story that breaks nothing, and one defect for each invariant, which it must name.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "tests fail by panicking, and cases of a table are values"
)]

mod defects;

use defects::cases;
use evenkeel_core::drive::{LiveNode, PolicyVersion, RECORD, RemediationRecord, SLOT, SlotHolder, SlotLease};
use evenkeel_core::names::Names;
use evenkeel_core::policy::FenceEffect;
use evenkeel_core::remedies::NodeChange;
use evenkeel_core::sources::claim::FENCE;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;

/// A log as the requests of drives make it: each call is one line.
#[derive(Default)]
struct Story {
    events: Vec<Value>,
    version: u64,
    /// Milliseconds since the beginning.
    now: i64,
    node: Value,
    record: Value,
}

fn time(milliseconds: i64) -> String {
    Timestamp::from_millisecond(1_700_000_000_000 + milliseconds)
        .unwrap()
        .to_string()
}

impl Story {
    /// A fence with all that goes before it, and its undo.
    fn whole() -> Self {
        let mut story = Self::fenced();
        story.undo(ACCOUNT);
        story.close("Undone");
        story
    }

    fn fenced() -> Self {
        let mut story = Self::default();
        story.create_node("n1");
        story.fence(7, 0);
        story
    }

    fn log(&mut self, user: &str, verb: &str, of: (&str, &str), code: u64, body: Value, answer: Value) {
        self.now += 100;
        let (resource, part) = of.0.split_once('/').unwrap_or((of.0, ""));
        let namespace = if resource == "nodes" {
            ""
        } else {
            "evenkeel-system"
        };
        self.events.push(json!({
            "stage": "ResponseComplete", "user": {"username": user}, "verb": verb,
            "requestURI": format!("/{resource}/{}?fieldManager=evenkeel", of.1),
            "objectRef": {"resource": resource, "subresource": part, "namespace": namespace, "name": of.1},
            "responseStatus": {"code": code}, "requestReceivedTimestamp": time(self.now), "stageTimestamp": time(self.now + 5),
            "requestObject": body, "responseObject": answer,
        }));
    }

    fn versioned(&mut self, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        }
        object
    }

    fn create_node(&mut self, name: &str) {
        let node = json!({"metadata": {"name": name, "uid": format!("uid-{name}"), "labels": {"pool": "a"}, "annotations": {"a": "b"}},
            "spec": {"podCIDR": "10.0.0.0/24", "taints": [{"key": "example.com/gpu", "effect": "NoSchedule"}]}});
        self.node = self.versioned(node);
        let node = self.node.clone();
        self.log("admin", "create", ("nodes", name), 201, node.clone(), node);
    }

    fn live(&self) -> LiveNode {
        LiveNode::parse(&self.node).unwrap()
    }

    /// A change of the node by somebody.
    fn change(&mut self, user: &str, change: impl FnOnce(&mut Value)) {
        let mut node = self.node.clone();
        change(&mut node);
        self.node = self.versioned(node);
        let (name, node) = (self.live().name, self.node.clone());
        self.log(user, "patch", ("nodes", &name), 200, json!({}), node);
    }

    fn patch(&mut self, user: &str, body: Value, change: impl FnOnce(&mut Value)) {
        self.change(user, change);
        self.events.last_mut().unwrap()["requestObject"] = body;
    }

    fn slot(&mut self, term: u64, holder: Option<SlotHolder>) {
        let lease = SlotLease {
            version: String::new(),
            term,
            holder,
        };
        let body = lease.json("evenkeel-system");
        let answer = self.versioned(body.clone());
        self.log(ACCOUNT, "update", ("leases", SLOT), 200, body, answer);
    }

    /// Record, slot, stop, read, act, close and free slot, as a leader of this term does it.
    fn fence(&mut self, term: u64, finished: u32) {
        self.intend(term, finished);
        self.act();
    }

    fn intend(&mut self, term: u64, finished: u32) {
        let mut names = Names::default();
        let live = self.live();
        let change = NodeChange {
            remedy: "CordonNode",
            node: names.intern(&live.name),
            effect: FenceEffect::PreferNoSchedule,
            cause: "RefilledFlapper",
            evidence: Vec::new(),
        };
        let policy = PolicyVersion {
            uid: "p".into(),
            generation: 1,
        };
        let record = RemediationRecord::of(&change, &names, &live.uid, policy, term, finished);
        let body = record.json("evenkeel-system");
        self.record = self.versioned(body.clone());
        let answer = self.record.clone();
        self.log(
            ACCOUNT,
            "create",
            ("remediations", &record.name),
            201,
            body,
            answer,
        );
        let holder = SlotHolder {
            record: record.name,
            node: live.name,
            node_uid: live.uid,
        };
        self.slot(term, Some(holder));
    }

    /// The same for a record that a person has to agree to.
    fn ask(&mut self, term: u64) {
        self.intend(term, 0);
        let slot = self.events.pop().unwrap();
        for object in ["requestObject", "responseObject"] {
            self.events.last_mut().unwrap()[object]["spec"]["approvalReason"] = "Suggest".into();
        }
        self.record["spec"]["approvalReason"] = "Suggest".into();
        self.events.push(slot);
    }

    /// A person says yes, and the operator writes that down.
    fn approve(&mut self, user: &str, by: &str, change: impl FnOnce(&mut Value)) {
        let mut body = json!({"spec": {"decision": "Approve", "by": by,
            "remediationUID": self.record["metadata"]["uid"], "planHash": self.record["spec"]["planHash"]}});
        change(&mut body);
        self.log(
            user,
            "create",
            ("remediationapprovals", "a"),
            201,
            body,
            Value::Null,
        );
        self.condition("Approved", "Approved");
    }

    fn read(&mut self) {
        let name = self.live().name;
        self.log(ACCOUNT, "get", ("nodes", &name), 200, Value::Null, Value::Null);
        self.events.last_mut().unwrap()["requestURI"] = format!("/api/v1/nodes/{name}").into();
    }

    fn act(&mut self) {
        self.read();
        self.act_unread();
        self.slot(self.term(), None);
    }

    fn term(&self) -> u64 {
        self.record["spec"]["term"].as_str().unwrap().parse().unwrap()
    }

    fn act_unread(&mut self) {
        let record = RemediationRecord::parse(&self.record).unwrap();
        let patch = self.live().fence(&record);
        let (taints, annotations) = (patch.taints.clone().unwrap(), patch.annotations.clone());
        self.patch(ACCOUNT, patch.json(), |node| {
            node["spec"]["taints"] = taints.into();
            for (key, value) in annotations {
                node["metadata"]["annotations"][key] = value.into();
            }
        });
    }

    fn undo(&mut self, user: &str) {
        let record = RemediationRecord::parse(&self.record).unwrap();
        let body = self.live().unfence(&record).json();
        self.patch(user, body, |node| {
            node["spec"]["taints"]
                .as_array_mut()
                .unwrap()
                .retain(|one| one["key"] != FENCE);
            node["metadata"]["annotations"]
                .as_object_mut()
                .unwrap()
                .remove(RECORD);
        });
    }

    fn close(&mut self, reason: &str) {
        self.condition("Finished", reason);
    }

    fn condition(&mut self, kind: &str, reason: &str) {
        let mut record = self.record.clone();
        record["status"]["conditions"] = json!([{"type": kind, "status": "True", "reason": reason}]);
        self.record = self.versioned(record);
        let (name, answer) = (
            self.record["metadata"]["name"].as_str().unwrap().to_owned(),
            self.record.clone(),
        );
        self.log(
            ACCOUNT,
            "patch",
            ("remediations/status", &name),
            200,
            Value::Null,
            answer,
        );
    }

    /// As the API server answers: with the uid of what is gone, and no version.
    fn delete_record(&mut self) {
        let metadata = self.record["metadata"].clone();
        let name = metadata["name"].as_str().unwrap().to_owned();
        let answer = json!({"kind": "Status", "details": {"name": name, "uid": metadata["uid"]}});
        self.log(
            ACCOUNT,
            "delete",
            ("remediations", &name),
            200,
            Value::Null,
            answer,
        );
    }

    fn stop(&mut self, verb: &str) {
        let body = json!({"metadata": {"name": "evenkeel-stop"}});
        self.log(
            "admin",
            verb,
            ("configmaps", "evenkeel-stop"),
            200,
            body,
            Value::Null,
        );
    }
}

fn limits() -> Limits {
    Limits {
        cooldown_seconds: 60,
        rights: verbs_of(evenkeel::remedy::RIGHTS).collect(),
        secrets: vec!["hunter2".into()],
        ..Limits::default()
    }
}

/// A record that waited, an answer, and the act by a leader of this term.
fn approved(user: &str, by: &str, change: impl FnOnce(&mut Value)) -> Story {
    let mut story = Story::default();
    story.create_node("n1");
    story.ask(7);
    story.approve(user, by, change);
    story.act();
    story
}

#[test]
fn what_a_person_agreed_to_breaks_nothing_also_under_a_later_leader() {
    let story = approved("jane", "jane", |_| {});
    assert_eq!(violations(&story.events, &limits()), []);
    let mut story = Story::default();
    story.create_node("n1");
    story.ask(7);
    let holder = SlotHolder {
        record: story.record["metadata"]["name"].as_str().unwrap().to_owned(),
        node: "n1".into(),
        node_uid: "uid-n1".into(),
    };
    story.slot(9, Some(holder));
    story.approve("jane", "jane", |_| {});
    story.act();
    assert_eq!(violations(&story.events, &limits()), []);
    // One that waits is open without a fence.
    let mut story = Story::default();
    story.create_node("n1");
    story.ask(7);
    assert_eq!(violations(&story.events, &limits()), []);
}

/// A record that was deleted as it is old frees its name for another.
#[test]
fn a_name_that_is_used_again_is_another_record() {
    let mut story = Story::whole();
    story.delete_record();
    story.now += 100_000;
    story.fence(7, 0);
    assert_eq!(violations(&story.events, &limits()), []);
}

#[test]
fn a_whole_story_breaks_nothing() {
    let mut story = Story::whole();
    // Again much later, under another leader, between a stop and the next.
    story.stop("create");
    story.now += 100_000;
    story.stop("delete");
    story.fence(9, 1);
    story.stop("create");
    assert_eq!(violations(&story.events, &limits()), []);
    assert!(story.events.len() > 15);
}

#[test]
fn a_broken_invariant_is_named() {
    for (at, (id, story)) in cases().into_iter().enumerate() {
        let broken = violations(&story.events, &limits());
        assert!(
            broken.iter().any(|one| one.id == id),
            "case {at}, {id}: {broken:#?}"
        );
    }
}

#[test]
fn every_invariant_has_its_case() {
    let cases = cases();
    for one in INVARIANTS {
        assert!(cases.iter().any(|(id, _)| *id == one.id), "{}", one.id);
    }
}

/// Nothing is taken for an act that was refused, tried as a dry run, or done by people.
#[test]
fn what_was_not_done_by_us_breaks_nothing() {
    let mut story = Story::whole();
    let count = story.events.len();
    let mut others = Story::fenced().events;
    for event in &mut others {
        event["user"]["username"] = "jane".into();
    }
    story.events.extend(others);
    assert!(story.events.len() > count);
    story.intend(7, 1);
    story.read();
    story.act_unread();
    story.events.last_mut().unwrap()["responseStatus"]["code"] = 422.into();
    let forbidden = json!({"metadata": {"labels": {"evenkeel.dev/forbidden": "dry-run"}}});
    story.log(ACCOUNT, "patch", ("nodes", "n1"), 422, forbidden, Value::Null);
    story.events.last_mut().unwrap()["requestURI"] = "/api/v1/nodes/n1?dryRun=All".into();
    let limits = Limits {
        settled: false,
        ..limits()
    };
    assert_eq!(violations(&story.events, &limits), []);
}
