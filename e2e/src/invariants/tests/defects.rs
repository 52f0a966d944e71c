//! Stories of which each breaks one invariant.

use super::*;

fn no_record() -> Story {
    let mut story = Story::whole();
    story
        .events
        .retain(|one| one["objectRef"]["resource"] != "remediations" || one["verb"] != "create");
    story
}

fn record_that_was_deleted() -> Story {
    let mut story = Story::default();
    story.create_node("n1");
    story.intend(7, 0);
    story.delete_record();
    story.act();
    story
}

fn nobody_agreed() -> Story {
    let mut story = Story::default();
    story.create_node("n1");
    story.ask(7);
    story.act();
    story
}

/// The log begins with a write of ours: what the node was before is not in it.
fn first_write_of_others() -> Story {
    let mut story = Story::fenced();
    story
        .events
        .retain(|one| one["verb"] != "create" || one["objectRef"]["resource"] != "nodes");
    for event in &mut story.events {
        if let Some(steps) = event["requestObject"].as_array_mut() {
            let add = steps
                .iter_mut()
                .find(|step| step["op"] == "add" && step["path"] == "/spec/taints");
            if let Some(add) = add {
                add["value"] = json!([{"key": FENCE, "effect": "PreferNoSchedule"}]);
            }
        }
    }
    story
}

fn record_of_another() -> Story {
    let mut story = Story::default();
    story.create_node("n1");
    story.intend(7, 0);
    let at = story
        .events
        .iter()
        .position(|one| one["objectRef"]["resource"] == "remediations")
        .unwrap();
    story.events[at]["responseObject"]["spec"]["target"]["uid"] = "another".into();
    story.act();
    story
}

fn twice_for_one_record() -> Story {
    let mut story = Story::fenced();
    story.undo(ACCOUNT);
    story.now += 100_000;
    story.act();
    story
}

fn soon_again() -> Story {
    let mut story = Story::whole();
    story.fence(7, 1);
    story
}

fn two_nodes() -> Story {
    let mut story = Story::fenced();
    story.create_node("n2");
    story.fence(7, 0);
    story
}

fn three_within_an_hour() -> Story {
    let mut story = Story::whole();
    for finished in 1..3 {
        story.now += 100_000;
        story.fence(7, finished);
        story.undo(ACCOUNT);
        story.close("Undone");
    }
    story
}

fn an_older_leader() -> Story {
    let mut story = Story::default();
    story.create_node("n1");
    story.intend(7, 0);
    // A newer one touches the node.
    let body = story.live().touch(8).json();
    story.patch(ACCOUNT, body, |_| {});
    story.act();
    story
}

fn without_the_slot() -> Story {
    let mut story = Story::default();
    story.create_node("n1");
    story.intend(7, 0);
    story.slot(7, None);
    story.act();
    story
}

fn unread() -> Story {
    let mut story = Story::default();
    story.create_node("n1");
    story.intend(7, 0);
    story.act_unread();
    story
}

fn read_from_a_cache() -> Story {
    let mut story = Story::fenced();
    let read = story.events.iter_mut().find(|one| one["verb"] == "get").unwrap();
    read["requestURI"] = "/api/v1/nodes/n1?resourceVersion=0".into();
    story
}

fn after_people_removed_it() -> Story {
    let mut story = Story::fenced();
    story.undo("jane");
    story.close("Lapsed");
    story.now += 100_000;
    story.fence(7, 1);
    story
}

fn with(change: impl FnOnce(&mut Value)) -> Story {
    let mut story = Story::default();
    story.create_node("n1");
    story.change("admin", change);
    story.fence(7, 0);
    story
}

fn after_stop() -> Story {
    let mut story = Story::default();
    story.create_node("n1");
    story.stop("create");
    story.now += 20_000;
    story.fence(7, 0);
    story
}

fn left_fenced() -> Story {
    let mut story = Story::fenced();
    story.close("Failed");
    story
}

fn left_open() -> Story {
    let mut story = Story::fenced();
    story.undo(ACCOUNT);
    story
}

fn without_a_test(path: &str) -> Story {
    let mut story = Story::whole();
    for event in &mut story.events {
        if let Some(steps) = event["requestObject"].as_array_mut() {
            steps.retain(|step| step["path"] != path);
        }
    }
    story
}

fn another(verb: &str, of: (&str, &str), code: u64, body: Value) -> Story {
    let mut story = Story::whole();
    story.log(ACCOUNT, verb, of, code, body, Value::Null);
    story
}

fn changes(change: impl FnOnce(&mut Value)) -> Story {
    let mut story = Story::whole();
    let body = story.live().touch(7).json();
    story.patch(ACCOUNT, body, change);
    story
}

fn two_ends() -> Story {
    let mut story = Story::whole();
    story.close("Failed");
    story
}

fn too_many() -> Story {
    let mut story = Story::whole();
    for _ in 0..300 {
        story.read();
        story.now -= 90;
    }
    story
}

/// Each invariant that is broken, and a log that breaks it.
pub(super) fn cases() -> Vec<(&'static str, Story)> {
    vec![
        ("I1 Declared", no_record()),
        ("I1 Declared", record_of_another()),
        ("I1 Declared", record_that_was_deleted()),
        ("I17 Approved", nobody_agreed()),
        ("I17 Approved", approved("mallory", "jane", |_| {})),
        ("I17 Approved", approved(ACCOUNT, ACCOUNT, |_| {})),
        (
            "I17 Approved",
            approved("jane", "jane", |one| one["spec"]["planHash"] = "another".into()),
        ),
        (
            "I17 Approved",
            approved("jane", "jane", |one| {
                one["spec"]["remediationUID"] = "another".into();
            }),
        ),
        (
            "I17 Approved",
            approved("jane", "jane", |one| one["spec"]["decision"] = "Reject".into()),
        ),
        ("I11 Fence alone", first_write_of_others()),
        ("I2 Once", twice_for_one_record()),
        ("I2 Cooldown", soon_again()),
        ("I3 Budget", two_nodes()),
        ("I4 Rate", three_within_an_hour()),
        ("I5 Terms", an_older_leader()),
        ("I21 One at a time", without_the_slot()),
        ("I8 Live read", unread()),
        ("I8 Live read", read_from_a_cache()),
        ("I12 People win", after_people_removed_it()),
        (
            "I15 Protected",
            with(|node| node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = "".into()),
        ),
        (
            "I15 Protected",
            with(|node| node["metadata"]["annotations"]["evenkeel.dev/hands-off"] = "true".into()),
        ),
        (
            "I26 Others",
            with(|node| node["spec"]["unschedulable"] = true.into()),
        ),
        (
            "I26 Others",
            with(|node| node["spec"]["taints"] = json!([{"key": "karpenter.sh/disrupted"}])),
        ),
        (
            "I26 Others",
            with(|node| node["metadata"]["annotations"]["weave.works/kured-reboot-in-progress"] = "a".into()),
        ),
        ("I17 Stopped", after_stop()),
        ("I20 Settled", left_fenced()),
        ("I20 Settled", left_open()),
        ("I7 Preconditions", without_a_test("/metadata/uid")),
        ("I7 Preconditions", without_a_test("/metadata/resourceVersion")),
        (
            "I7 Preconditions",
            another("update", ("nodes", "n1"), 409, Value::Null),
        ),
        (
            "I11 Fence alone",
            changes(|node| node["spec"]["unschedulable"] = true.into()),
        ),
        (
            "I11 Fence alone",
            changes(|node| node["spec"]["taints"] = json!([])),
        ),
        (
            "I11 Fence alone",
            changes(|node| node["metadata"]["labels"] = json!({})),
        ),
        ("I19 One end", two_ends()),
        ("I23 Requests", too_many()),
        ("I24 Rights", another("get", ("secrets", "a"), 403, Value::Null)),
        (
            "I24 Rights",
            another("create", ("pods/eviction", "a"), 201, Value::Null),
        ),
        (
            "I25 Secrets",
            another(
                "create",
                ("remediations", "a"),
                201,
                json!({"spec": {"cause": "hunter2"}}),
            ),
        ),
    ]
}
