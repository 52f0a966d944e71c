//! Screens, and undos whose requests are answered by a script.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use evenkeel_core::drive::TERM;
use evenkeel_core::sources::claim::FENCE;
use kube::client::Body;
use rstest::rstest;
use serde_json::json;

use super::*;

fn arguments(nodes: &[&str], all: bool, dry_run: bool) -> Arguments {
    Arguments {
        nodes: nodes.iter().map(|&name| name.to_owned()).collect(),
        all,
        dry_run,
        cluster: Cluster::default(),
    }
}

fn fenced_node(name: &str, text: &str) -> LiveNode {
    LiveNode::parse(&json!({
        "metadata": {"name": name, "uid": "u", "resourceVersion": "5", "annotations": {RECORD: text, REASON: text}},
        "spec": {"taints": [{"key": FENCE, "effect": "PreferNoSchedule"}]},
    }))
    .unwrap()
}

/// What people see where every text of a node is this one.
pub(crate) fn shown(by: &str) -> String {
    let outcomes = [
        UndoOutcome::Done,
        UndoOutcome::NotFenced,
        UndoOutcome::Gone,
        UndoOutcome::Failed(by.into()),
        UndoOutcome::WouldDo,
    ];
    let all: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| NodeUndo::of(&fenced_node(by, by), outcome))
        .collect();
    text(1, &all, &arguments(&[by], false, true)) + &text(1, &all[..4], &arguments(&[], true, false))
}

#[test]
fn screens() {
    let node = fenced_node("node-7", "RefilledFlapper");
    let of = |outcome| NodeUndo::of(&node, outcome);
    let by_hand = NodeUndo {
        record: None,
        cause: None,
        annotations: 0,
        ..of(UndoOutcome::Done)
    };
    let screens = [
        text(3, &[], &arguments(&[], true, false)),
        text(3, &[of(UndoOutcome::WouldDo)], &arguments(&[], true, true)),
        text(
            1,
            &[of(UndoOutcome::WouldDo)],
            &arguments(&["node-7"], false, true),
        ),
        text(
            3,
            &[of(UndoOutcome::Done), by_hand.clone()],
            &arguments(&[], true, false),
        ),
        text(1, &[by_hand], &arguments(&["node-7"], false, false)),
        text(
            2,
            &[
                of(UndoOutcome::NotFenced),
                NodeUndo::unread("node-8", UndoOutcome::Gone),
            ],
            &arguments(&["node-7", "node-8"], false, false),
        ),
        text(
            1,
            &[of(UndoOutcome::Failed(
                "https://192.0.2.1:6443 answered 422: no".into(),
            ))],
            &arguments(&["node-7"], false, false),
        ),
    ];
    insta::assert_snapshot!("undo", screens.join("\n"));
}

fn answered(code: u16, body: &Value) -> http::Response<Body> {
    let body = Body::from(body.to_string().into_bytes());
    http::Response::builder().status(code).body(body).unwrap()
}

fn object(uid: &str, version: &str, taints: &[&Value]) -> Value {
    json!({"metadata": {"name": "n1", "uid": uid, "resourceVersion": version, "annotations": {TERM: "7.1", "a": "b"}},
        "spec": {"taints": taints}})
}

/// What became of an undo whose requests are answered so, and the requests.
async fn played(answers: Vec<(u16, Value)>) -> (UndoOutcome, Vec<String>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let seen = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (seen, answers) = (seen.clone(), answers.clone());
        async move {
            let line = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect_bytes().await.unwrap();
            seen.lock()
                .unwrap()
                .push(line + " " + &String::from_utf8_lossy(&body));
            let (code, body) = answers.lock().unwrap().pop_front().unwrap();
            match code {
                0 => Err(std::io::Error::other("reset")),
                code => Ok(answered(code, &body)),
            }
        }
    });
    let client = Client::new(service, "default");
    let fence = json!({"key": FENCE, "effect": "PreferNoSchedule"});
    let live = LiveNode::parse(&object("u", "5", &[&fence])).unwrap();
    let outcome = undo(&client, &ApiServer::unnamed(), live, false).await.outcome;
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    (outcome, asked)
}

fn refusal(code: u16) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no", "reason": "x"}),
    )
}

#[tokio::test]
async fn what_others_change_meanwhile_is_kept() {
    let [fence, other] = [FENCE, "example.com/gpu"].map(|key| json!({"key": key, "effect": "NoSchedule"}));
    let changed = (200, object("u", "6", &[&other, &fence]));
    let done = (200, object("u", "7", &[&other]));
    let (outcome, asked) = played(vec![refusal(422), changed, done]).await;
    assert_eq!(outcome, UndoOutcome::Done);
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(
        asked[0].contains(r#""path":"/metadata/resourceVersion","value":"5""#),
        "{asked:?}"
    );
    assert!(
        asked[2].contains(r#""path":"/metadata/resourceVersion","value":"6""#),
        "{asked:?}"
    );
    let left = format!(r#"{{"op":"add","path":"/spec/taints","value":[{other}]}}"#);
    assert!(asked[2].contains(&left), "{left}: {asked:?}");
    assert!(
        asked[2].contains("fence-term") && !asked[2].contains("annotations/a"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn another_node_of_the_name_is_left_alone() {
    let fence = json!({"key": FENCE, "effect": "NoSchedule"});
    let another = (200, object("another", "9", &[&fence]));
    let (outcome, asked) = played(vec![refusal(409), another]).await;
    assert_eq!((outcome, asked.len()), (UndoOutcome::Gone, 2));
}

#[tokio::test]
async fn what_is_refused_again_and_again_has_an_end() {
    let fence = json!({"key": FENCE, "effect": "NoSchedule"});
    let answers = (0..TRIES).flat_map(|_| [refusal(422), (200, object("u", "6", &[&fence]))]);
    let (outcome, asked) = played(answers.collect()).await;
    assert!(matches!(outcome, UndoOutcome::Failed(why) if why.contains("422")));
    assert_eq!(asked.len(), 2 * TRIES as usize);
}

/// The answer to a patch is lost: it is read what became of it, and not sent again.
#[tokio::test]
async fn what_was_done_is_not_done_again() {
    let mut gone = object("u", "6", &[]);
    gone["metadata"]["annotations"] = json!({});
    let (outcome, asked) = played(vec![refusal(504), (200, gone)]).await;
    assert_eq!((outcome, asked.len()), (UndoOutcome::Done, 2));
}

/// The connection breaks: whether the patch came is for a read to say.
#[tokio::test]
async fn no_answer_is_followed_by_a_read() {
    let mut gone = object("u", "6", &[]);
    gone["metadata"]["annotations"] = json!({});
    let broken = || (0, Value::Null);
    let (outcome, asked) = played(vec![broken(), (200, gone)]).await;
    assert_eq!((outcome, asked.len()), (UndoOutcome::Done, 2));
    let (outcome, asked) = played(vec![broken(), broken()]).await;
    assert!(
        matches!(outcome, UndoOutcome::Failed(_)) && asked.len() == 2,
        "{asked:?}"
    );
}

#[tokio::test]
async fn one_that_is_refused_keeps_no_other_from_being_undone() {
    let service = tower::service_fn(|request: Request<Body>| async move {
        let refused = request.uri().path().ends_with("/n1");
        let mut gone = object("u", "6", &[]);
        gone["metadata"]["annotations"] = json!({});
        let (code, body) = if refused { refusal(403) } else { (200, gone) };
        Ok::<_, std::convert::Infallible>(answered(code, &body))
    });
    let client = Client::new(service, "default");
    let fenced = ["n1", "n2"].map(|name| fenced_node(name, "a")).into();
    let undone = undo_all(&client, &ApiServer::unnamed(), fenced, false).await;
    assert!(matches!(undone[0].outcome, UndoOutcome::Failed(_)), "{undone:?}");
    assert_eq!(undone[1].outcome, UndoOutcome::Done);
}

#[rstest]
#[case("node-7.example.com", "node-7.example.com")]
#[case("../../api?a=b&c", "..%2F..%2Fapi%3Fa%3Db%26c")]
fn a_name_stays_one_part_of_the_path(#[case] name: &str, #[case] expected: &str) {
    assert_eq!(escaped(name), expected);
}
