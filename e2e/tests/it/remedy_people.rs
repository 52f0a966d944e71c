//! What people do about fences, on a real API server with the component `remedy-cordon`: they stop and go on, see what is under
//! way, and undo, without any operator.

use evenkeel_core::drive::{LiveNode, NodePatch, RECORD, RemediationRecord};
use evenkeel_e2e::ControlPlane;
use evenkeel_e2e::cluster::NAMESPACE;
use evenkeel_e2e::under_test::{Said, evenkeel, evenkeel_json};
use serde_json::{Value, json};

use crate::remedy_bed::{Account, make_node, node, plane, record, until, until_narrowed};

/// Runs the command as the person with all rights.
fn said(plane: &ControlPlane, arguments: &[&str]) -> Said {
    let kubeconfig = plane.kubeconfig_path().to_str().unwrap();
    evenkeel(&[arguments, &["--kubeconfig", kubeconfig]].concat()).unwrap()
}

fn done(plane: &ControlPlane, arguments: &[&str]) -> String {
    let said = said(plane, arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {} {}", said.out, said.err);
    said.out
}

fn status(plane: &ControlPlane) -> Value {
    let kubeconfig = plane.kubeconfig_path().to_str().unwrap();
    // No operator runs: that is its exit code.
    evenkeel_json(&["status", "-o", "json", "--kubeconfig", kubeconfig])
        .unwrap()
        .0
}

/// Changes a node as the operator does; anew where a controller has changed it at the same time.
async fn patched(operator: &Account, name: &str, patch: impl Fn(&LiveNode) -> NodePatch) {
    until("the patch", async || {
        let live = operator.node(name).await;
        operator.patch(&node(name), &patch(&live).json()).await.is_ok()
    })
    .await;
}

/// Fences a node as the operator does, and stores the record of it.
async fn fence(operator: &Account, name: &str) -> RemediationRecord {
    let record = record(&operator.node(name).await, 0);
    let records = format!("/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/remediations");
    operator.post(&records, &record.json(NAMESPACE)).await.unwrap();
    patched(operator, name, |live| live.fence(&record)).await;
    record
}

/// What others have on a node, which nothing of ours may take away.
fn of_others(node: &Value) -> (Vec<&str>, &Value) {
    let taints = node["spec"]["taints"].as_array().unwrap().iter();
    let keys = taints.filter_map(|one| one["key"].as_str());
    let theirs = keys.filter(|key| key.starts_with("example.com/")).collect();
    (theirs, &node["metadata"]["annotations"]["example.com/theirs"])
}

#[tokio::test]
async fn stop_and_go_may_be_said_twice() {
    let plane = plane().await;
    let (operator, admin) = (Account::operator(&plane).await, Account::admin(&plane).await);
    make_node(&admin, "people-stop", json!({})).await;
    until_narrowed(&operator, "people-stop").await;
    assert!(done(&plane, &["go"]).starts_with("Nothing is stopped"));
    assert_eq!(status(&plane)["stop"], Value::Null);

    let first = done(&plane, &["stop", "--reason", "the network is rebuilt"]);
    assert!(
        first.starts_with("Stopped: ") && first.contains("the network is rebuilt"),
        "{first}"
    );
    assert!(
        first.contains("the API server itself refuses new fences"),
        "{first}"
    );
    let again = done(&plane, &["stop", "--reason", "another"]);
    assert!(
        again.starts_with("Stopped already: by ") && !again.contains("another"),
        "{again}"
    );
    let seen = status(&plane);
    let by = seen["stop"]["by"].as_str().unwrap();
    assert!(
        again.contains(&format!(
            "by {by}, since {}",
            seen["stop"]["since"].as_str().unwrap()
        )),
        "{again}"
    );
    assert_eq!(seen["stop"]["reason"], "the network is rebuilt");
    let page = said(&plane, &["status"]).out;
    assert!(page.contains(&format!("STOPPED by {by}")), "{page}");

    // It is the very object that admission looks at.
    let dry = format!("{}?dryRun=All", node("people-stop"));
    let act = async || {
        let live = operator.node("people-stop").await;
        operator.patch(&dry, &live.fence(&record(&live, 0)).json()).await
    };
    until("stop", async || {
        act()
            .await
            .is_err_and(|(_, why)| why.contains("people said stop"))
    })
    .await;
    let went = done(&plane, &["go"]);
    assert!(went.starts_with("Going on") && went.contains(by), "{went}");
    until("go", async || act().await.is_ok()).await;
    assert!(done(&plane, &["go"]).starts_with("Nothing is stopped"));

    // By the line that needs no evenkeel.
    let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let by_hand = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "evenkeel-stop"}});
    admin.post(&maps, &by_hand).await.unwrap();
    let again = done(&plane, &["stop"]);
    assert!(again.starts_with("Stopped already: by somebody"), "{again}");
    done(&plane, &["go"]);
}

#[tokio::test]
async fn a_fence_is_undone_without_an_operator() {
    let plane = plane().await;
    let (operator, admin) = (Account::operator(&plane).await, Account::admin(&plane).await);
    for name in ["people-1", "people-2", "people-3"] {
        make_node(&admin, name, json!({})).await;
    }
    until_narrowed(&operator, "people-1").await;
    let before = admin.get(&node("people-1")).await;
    let record = fence(&operator, "people-1").await;
    fence(&operator, "people-2").await;
    let open = status(&plane)["remediations"].clone();
    let open: Vec<_> = open
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["target"] == "people-1")
        .collect();
    assert_eq!(open.len(), 1);
    assert_eq!(
        (&open[0]["name"], &open[0]["state"]),
        (&json!(record.name), &json!("Intended"))
    );
    let page = said(&plane, &["status"]).out;
    assert!(page.contains(&record.name), "{page}");

    // Stop never holds an undo back.
    done(&plane, &["stop"]);
    let shown = done(&plane, &["undo", "people-1", "--dry-run"]);
    assert!(shown.starts_with("people-1: would remove the taint"), "{shown}");
    assert!(
        operator.node("people-1").await.is_fenced_by(&record),
        "a dry run changes nothing"
    );
    let undone = done(&plane, &["undo", "people-1"]);
    assert!(
        undone.starts_with("people-1: removed the taint") && undone.contains("RefilledFlapper"),
        "{undone}"
    );
    let after = admin.get(&node("people-1")).await;
    assert_eq!(of_others(&after), of_others(&before));
    assert!(!after.to_string().contains("fence"), "{after}");
    assert!(done(&plane, &["undo", "people-1"]).starts_with("people-1: not fenced"));

    // One whose taint somebody took away, and left the annotations.
    patched(&operator, "people-3", |live| live.touch(9)).await;
    let all = done(&plane, &["undo", "--all"]);
    assert!(
        all.contains("people-2: removed the taint") && all.contains("people-3: removed 1 annotation"),
        "{all}"
    );
    assert!(!all.contains("people-1"), "{all}");
    assert!(!admin.get(&node("people-2")).await.to_string().contains(RECORD));
    assert!(done(&plane, &["undo", "--all"]).starts_with("Nothing of evenkeel is on any of"));
    done(&plane, &["go"]);

    let said = said(&plane, &["undo", "people-4"]);
    assert_eq!(
        (said.code, said.out.trim_end()),
        (2, "people-4: there is no such node.")
    );
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let plane = plane().await;
    let elsewhere = said(&plane, &["stop", "--operator-namespace", "nowhere"]);
    assert_eq!(elsewhere.code, 2);
    assert!(
        elsewhere
            .err
            .contains("has no namespace nowhere, so no evenkeel runs there"),
        "{}",
        elsewhere.err
    );
    assert_eq!(said(&plane, &["go", "--operator-namespace", "nowhere"]).code, 2);
    // In a namespace that admission does not look at, a stop holds less than it seems to.
    let other = plane.namespace().await.unwrap();
    let stopped = done(&plane, &["stop", "--operator-namespace", &other]);
    assert!(
        stopped.contains("looks for it in namespace \"evenkeel-system\""),
        "{stopped}"
    );

    let file = plane.account(&other, "reader", &[]).await.unwrap();
    let kubeconfig = file.path().to_str().unwrap();
    for (arguments, right) in [
        (
            &["stop"][..],
            "create configmaps evenkeel-stop in namespace evenkeel-system",
        ),
        (
            &["go"],
            "get configmaps evenkeel-stop in namespace evenkeel-system",
        ),
        (&["undo", "--all"], "list nodes in the cluster"),
        (&["undo", "people-1"], "get nodes people-1 in the cluster"),
    ] {
        let said = evenkeel(&[arguments, &["--kubeconfig", kubeconfig]].concat()).unwrap();
        let expected = format!("error: you may not {right} (403)\n");
        assert_eq!((said.code, said.err), (2, expected), "{arguments:?}");
    }
}

const RECORDS: &str = "/apis/evenkeel.dev/v1alpha1/namespaces/evenkeel-system/remediations";
const APPROVALS: &str = "/apis/evenkeel.dev/v1alpha1/namespaces/evenkeel-system/remediationapprovals";

/// A stored record of a plan for a new node, and its uid.
async fn stored(operator: &Account, admin: &Account, name: &str) -> (RemediationRecord, Value) {
    make_node(admin, name, json!({})).await;
    let record = record(&operator.node(name).await, 0).awaiting("the mode is Suggest");
    let stored = operator.post(RECORDS, &record.json(NAMESPACE)).await.unwrap();
    (record, stored["metadata"]["uid"].clone())
}

/// Decisions on the record of this uid.
async fn decisions(admin: &Account, uid: &Value) -> Vec<Value> {
    let list = admin.get(APPROVALS).await;
    let items = list["items"].as_array().unwrap();
    let own = items.iter().filter(|one| one["spec"]["remediationUID"] == *uid);
    own.cloned().collect()
}

#[tokio::test]
async fn a_decision_is_for_one_plan() {
    let plane = plane().await;
    let (operator, admin) = (Account::operator(&plane).await, Account::admin(&plane).await);
    let (record, uid) = stored(&operator, &admin, "people-plan").await;
    let name = &*record.name;

    let shown = done(&plane, &["approve", name, "--dry-run"]);
    for part in [
        "people-plan",
        "RefilledFlapper",
        &record.plan_hash,
        "the API server would take it",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(decisions(&admin, &uid).await.is_empty());
    let another = said(&plane, &["approve", name, "--plan-hash", "0000000000000000"]);
    assert_eq!(another.code, 2);
    assert!(
        another.err.contains(&format!("its hash is {}", record.plan_hash)),
        "{}",
        another.err
    );
    assert!(decisions(&admin, &uid).await.is_empty());

    let approved = done(&plane, &["approve", name, "--plan-hash", &record.plan_hash]);
    assert!(
        approved.contains("Approved: this plan and no other"),
        "{approved}"
    );
    let made = decisions(&admin, &uid).await;
    assert_eq!(made.len(), 1);
    let spec = &made[0]["spec"];
    assert_eq!(
        (&spec["planHash"], &spec["decision"]),
        (&json!(record.plan_hash), &json!("Approve"))
    );
    let by = spec["by"].as_str().unwrap();
    let again = done(&plane, &["approve", name]);
    assert!(
        again.contains(&format!("Approved already, by {by} at ")),
        "{again}"
    );
    let no = said(&plane, &["reject", name]);
    assert_eq!(no.code, 2);
    assert!(
        no.err.contains(&format!("{by} decided Approve on it")),
        "{}",
        no.err
    );
    assert_eq!(decisions(&admin, &uid).await, made);

    // What is over is not decided, and what never was is named.
    let status = json!({"status": {"conditions": [{"type": "Finished", "status": "True", "reason": "Lapsed", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    operator
        .merge(&format!("{RECORDS}/{name}/status"), &status)
        .await
        .unwrap();
    let over = said(&plane, &["approve", name]);
    assert_eq!(over.code, 2);
    assert!(
        over.err
            .contains("is finished (Lapsed): there is nothing to decide"),
        "{}",
        over.err
    );
    let typed = format!("{}x", &name[..name.len() - 1]);
    let unknown = said(&plane, &["approve", &typed]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.err.contains(&format!("did you mean {name}?")),
        "{}",
        unknown.err
    );
}

/// Somebody with the role for it decides in its own name, and somebody without not at all.
#[tokio::test]
async fn a_decision_names_who_made_it() {
    let plane = plane().await;
    let (operator, admin) = (Account::operator(&plane).await, Account::admin(&plane).await);
    let (record, uid) = stored(&operator, &admin, "people-jane").await;
    let name = &*record.name;
    let home = plane.namespace().await.unwrap();
    let kubeconfig = plane.account(&home, "jane", &[]).await.unwrap();
    let kubeconfig = kubeconfig.path().to_str().unwrap();
    let refused = evenkeel(&["reject", name, "--kubeconfig", kubeconfig]).unwrap();
    let expected =
        format!("error: you may not get remediations.evenkeel.dev {name} in namespace {NAMESPACE} (403)\n");
    assert_eq!((refused.code, refused.err), (2, expected));
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "people-jane", "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "evenkeel-approve"},
        "subjects": [{"kind": "ServiceAccount", "name": "jane", "namespace": home}]});
    let bindings = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/rolebindings");
    admin.post(&bindings, &binding).await.unwrap();
    until("the right to decide", async || {
        evenkeel(&["reject", name, "--kubeconfig", kubeconfig])
            .unwrap()
            .code
            == 0
    })
    .await;
    let made = decisions(&admin, &uid).await;
    let jane = format!("system:serviceaccount:{home}:jane");
    assert_eq!(
        (&made[0]["spec"]["by"], &made[0]["spec"]["decision"]),
        (&json!(jane), &json!("Reject"))
    );
}
