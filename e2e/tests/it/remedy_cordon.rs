//! The component `remedy-cordon` on a real API server: what the operator's account can change of a Node is its own fence, stop
//! refuses every new one and no removal, and a tenant who forges, edits, deletes or replays records and approvals gains
//! nothing. Requests and records are those that the core makes.

use evenkeel_core::drive::{Ending, LiveNode, Phase, RECORD, RemediationRecord};
use evenkeel_core::know::Wall;
use evenkeel_core::sources::claim::FENCE;
use evenkeel_e2e::cluster::NAMESPACE;
use serde_json::json;

use crate::remedy_bed::{Account, Answer, make_node, node, plane, record, taints, until, until_narrowed};
use evenkeel_e2e::client_of;

#[tokio::test]
async fn a_node_is_changed_in_its_fence_alone() {
    let plane = plane().await;
    let (operator, admin) = (Account::operator(&plane).await, Account::admin(&plane).await);
    make_node(&admin, "narrow", json!({"example.com/pool": "a"})).await;
    make_node(
        &admin,
        "control",
        json!({"node-role.kubernetes.io/control-plane": ""}),
    )
    .await;
    until_narrowed(&operator, "narrow").await;
    let fence = |effect: &str| json!({"key": FENCE, "effect": effect});
    let forbidden = [
        (
            "a label",
            json!({"metadata": {"labels": {"example.com/pool": "b"}}}),
        ),
        (
            "a label less",
            json!({"metadata": {"labels": {"example.com/pool": null}}}),
        ),
        (
            "an annotation",
            json!({"metadata": {"annotations": {"example.com/theirs": "b"}}}),
        ),
        (
            "an annotation less",
            json!({"metadata": {"annotations": {"example.com/theirs": null}}}),
        ),
        (
            "an annotation more",
            json!({"metadata": {"annotations": {"evenkeel.dev/hands-off": "false"}}}),
        ),
        (
            "a finalizer",
            json!({"metadata": {"finalizers": ["example.com/theirs"]}}),
        ),
        ("a cordon", json!({"spec": {"unschedulable": true}})),
        ("the provider's id", json!({"spec": {"providerID": "a://b"}})),
        (
            "the range of its Pods",
            json!({"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}}),
        ),
        ("no taints", json!({"spec": {"taints": null}})),
        (
            "a taint of others less",
            json!({"spec": {"taints": [{"key": "example.com/theirs", "effect": "NoSchedule"}]}}),
        ),
        (
            "another taint",
            taints(&[json!({"key": "example.com/third", "effect": "NoSchedule"})]),
        ),
        ("a fence that evicts", taints(&[fence("NoExecute")])),
        (
            "two fences",
            taints(&[fence("NoSchedule"), fence("PreferNoSchedule")]),
        ),
        (
            "a fence with a value",
            taints(&[json!({"key": FENCE, "value": "a", "effect": "NoSchedule"})]),
        ),
        (
            "a fence and a label",
            json!({"metadata": {"labels": {"a": "b"}}, "spec": taints(&[fence("NoSchedule")])["spec"]}),
        ),
    ];
    for (what, patch) in &forbidden {
        let (code, why) = operator.merge(&node("narrow"), patch).await.unwrap_err();
        assert!(
            code == 422 && why.contains("evenkeel-nodes"),
            "{what}: {code} {why}"
        );
    }
    let on_control = taints(&[fence("PreferNoSchedule")]);
    let (code, why) = operator.merge(&node("control"), &on_control).await.unwrap_err();
    assert!(code == 422 && why.contains("control plane"), "{code} {why}");
    for (what, path) in [
        ("status", format!("{}/status", node("narrow"))),
        ("deletion", node("narrow")),
    ] {
        let answer = match what {
            "status" => {
                operator
                    .merge(&path, &json!({"status": {"phase": "Pending"}}))
                    .await
            }
            _ => operator.delete(&path).await,
        };
        // No right at all.
        assert_eq!(answer.unwrap_err().0, 403, "{what}");
    }
    let before = admin.get(&node("narrow")).await;
    fenced_and_unfenced(&operator, "narrow").await;
    let after = admin.get(&node("narrow")).await;
    for part in ["spec", "status"] {
        assert_eq!(before[part], after[part], "{part}");
    }
    assert_eq!(before["metadata"]["labels"], after["metadata"]["labels"]);
}

/// What the core makes passes, and its tests refuse what is not for what was read.
async fn fenced_and_unfenced(operator: &Account, name: &str) {
    let path = node(name);
    let live = operator.node(name).await;
    let record = record(&live, 0);
    let act = live.fence(&record).json();
    let fenced = LiveNode::parse(&operator.patch(&path, &act).await.unwrap()).unwrap();
    assert!(fenced.is_fenced_by(&record) && fenced.taints.len() == 3);
    // The same once more, as a proxy or a network may repeat it.
    let (code, why) = operator.patch(&path, &act).await.unwrap_err();
    assert!([409, 422].contains(&code), "{code} {why}");
    let unfenced = LiveNode::parse(
        &operator
            .patch(&path, &fenced.unfence(&record).json())
            .await
            .unwrap(),
    )
    .unwrap();
    assert!(!unfenced.is_fenced() && unfenced.taints == live.taints);
    // A fence that is late: the node was touched meanwhile.
    let late = unfenced.fence(&record).json();
    let touched = LiveNode::parse(&operator.patch(&path, &unfenced.touch(8).json()).await.unwrap()).unwrap();
    assert_ne!(touched.version, unfenced.version);
    let (code, why) = operator.patch(&path, &late).await.unwrap_err();
    assert!([409, 422].contains(&code), "{code} {why}");
    assert!(!operator.node(name).await.is_fenced());
}

/// Without a touch no record is closed, so a taint that people wrote otherwise than evenkeel would must not refuse it.
#[tokio::test]
async fn a_fence_of_people_refuses_no_touch() {
    let plane = plane().await;
    let (operator, admin) = (Account::operator(&plane).await, Account::admin(&plane).await);
    make_node(&admin, "by-hand", json!({})).await;
    until_narrowed(&operator, "by-hand").await;
    let by_hand = taints(&[json!({"key": FENCE, "value": "why", "effect": "NoSchedule"})]);
    admin.merge(&node("by-hand"), &by_hand).await.unwrap();
    let live = operator.node("by-hand").await;
    let touch = live.touch(7).json();
    let touched = operator.patch(&node("by-hand"), &touch).await.unwrap();
    assert_eq!(LiveNode::parse(&touched).unwrap().taints, live.taints);
}

/// RBAC could be wider by mistake, and the operator may be installed elsewhere.
#[tokio::test]
async fn an_account_with_every_right_is_narrowed_as_well() {
    let plane = plane().await;
    let admin = Account::admin(&plane).await;
    make_node(&admin, "wide", json!({})).await;
    let rules = [json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})];
    let namespace = plane.namespace().await.unwrap();
    let file = plane.account(&namespace, "evenkeel", &rules).await.unwrap();
    let account = Account(client_of(file.path(), None).await.unwrap());
    until_narrowed(&account, "wide").await;
    let denied = |answer: Answer, what: &str| {
        let (code, why) = answer.unwrap_err();
        assert!(
            code == 422 && why.contains("evenkeel-nodes"),
            "{what}: {code} {why}"
        );
    };
    denied(account.delete(&node("wide")).await, "delete");
    let more = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "third"}});
    denied(account.post("/api/v1/nodes", &more).await, "create");
    let status = format!("{}/status", node("wide"));
    denied(
        account
            .merge(&status, &json!({"status": {"phase": "Pending"}}))
            .await,
        "status",
    );
    fenced_and_unfenced(&account, "wide").await;
}

#[tokio::test]
async fn stop_refuses_every_fence_and_no_removal() {
    let plane = plane().await;
    let (operator, admin) = (Account::operator(&plane).await, Account::admin(&plane).await);
    make_node(&admin, "stopped", json!({})).await;
    make_node(&admin, "fenced", json!({})).await;
    until_narrowed(&operator, "stopped").await;
    let fenced = operator.node("fenced").await;
    let fence = fenced.fence(&record(&fenced, 0)).json();
    operator.patch(&node("fenced"), &fence).await.unwrap();
    let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let stop = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "evenkeel-stop"}});
    admin.post(&maps, &stop).await.unwrap();
    let dry = format!("{}?dryRun=All", node("stopped"));
    let act = async || {
        let live = operator.node("stopped").await;
        operator.patch(&dry, &live.fence(&record(&live, 0)).json()).await
    };
    until("stop", async || {
        act()
            .await
            .is_err_and(|(code, why)| code == 422 && why.contains("people said stop"))
    })
    .await;
    // The operator sees it as well, and cannot take it away.
    let path = format!("{maps}/evenkeel-stop");
    assert_eq!(operator.get(&path).await["metadata"]["name"], "evenkeel-stop");
    assert_eq!(operator.delete(&path).await.unwrap_err().0, 403);
    // One that is there gets no stronger either.
    let stronger = taints(&[json!({"key": FENCE, "effect": "NoSchedule"})]);
    let (code, why) = operator.merge(&node("fenced"), &stronger).await.unwrap_err();
    assert!(code == 422 && why.contains("people said stop"), "{code} {why}");
    let fenced = operator.node("fenced").await;
    operator
        .patch(&node("fenced"), &fenced.unfence(&record(&fenced, 0)).json())
        .await
        .unwrap();
    assert!(!operator.node("fenced").await.is_fenced());
    admin.delete(&path).await.unwrap();
    until("go", async || act().await.is_ok()).await;
}

#[tokio::test]
async fn who_forges_records_or_approvals_gains_nothing() {
    let plane = plane().await;
    let (operator, admin) = (Account::operator(&plane).await, Account::admin(&plane).await);
    make_node(&admin, "target", json!({})).await;
    until_narrowed(&operator, "target").await;
    let records = format!("/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/remediations");
    let live = operator.node("target").await;
    let mut own = record(&live, 0);
    let stored = operator
        .post(&format!("{records}?fieldValidation=Strict"), &own.json(NAMESPACE))
        .await;
    own.version = RemediationRecord::parse(&stored.unwrap()).unwrap().version;
    // The same intent once more.
    let (code, why) = operator.post(&records, &own.json(NAMESPACE)).await.unwrap_err();
    assert_eq!(code, 409, "{why}");
    let path = format!("{records}/{}", own.name);
    for phase in [Phase::InEffect, Phase::Finished(Ending::Undone)] {
        own.was_in_effect = true;
        own.phase = phase;
        let status = own.status_json(Wall(1_795_266_000));
        let written = operator.merge(&format!("{path}/status"), &status).await.unwrap();
        own = RemediationRecord::parse(&written).unwrap();
        assert_eq!((own.phase, own.was_in_effect), (phase, true));
        // Written for another version than there is.
        let (code, why) = operator
            .merge(&format!("{path}/status"), &status)
            .await
            .unwrap_err();
        assert_eq!(code, 409, "{why}");
    }

    // Somebody with every right to these kinds, as an administrator may have granted by mistake.
    let namespace = plane.namespace().await.unwrap();
    let rules = [json!({"apiGroups": ["evenkeel.dev"], "resources": ["*"], "verbs": ["*"]})];
    let file = plane.account(&namespace, "team", &rules).await.unwrap();
    let team = Account(client_of(file.path(), None).await.unwrap());
    let refused = |answer: Answer, what: &str| {
        let (code, why) = answer.unwrap_err();
        assert!(
            code == 422 && why.contains("evenkeel-records"),
            "{what}: {code} {why}"
        );
    };
    refused(
        team.post(&records, &record(&live, 1).json(NAMESPACE)).await,
        "a forged one",
    );
    let spec = json!({"metadata": {"labels": {"a": "b"}}});
    refused(team.merge(&path, &spec).await, "an edited one");
    let open = json!({"status": {"conditions": []}});
    refused(
        team.merge(&format!("{path}/status"), &open).await,
        "one that is opened again",
    );
    refused(team.delete(&path).await, "a deleted one");
    let elsewhere = records.replace(NAMESPACE, &namespace);
    refused(
        team.post(&elsewhere, &record(&live, 1).json(&namespace)).await,
        "one of its own namespace",
    );
    // What is in a record never changes: the operator has no right to, and the definition refuses those that have.
    let changed = json!({"spec": {"cause": "Other"}});
    assert_eq!(operator.merge(&path, &changed).await.unwrap_err().0, 403);
    let (code, why) = admin.merge(&path, &changed).await.unwrap_err();
    assert!(code == 422, "{code} {why}");

    let approvals = format!("/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/remediationapprovals");
    let approval = |by: &str| {
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "RemediationApproval", "metadata": {"generateName": "it-"},
            "spec": {"remediationUID": "0b4f", "planHash": own.plan_hash, "decision": "Approve", "by": by}})
    };
    let (code, why) = team.post(&approvals, &approval("admin")).await.unwrap_err();
    assert!(
        code == 422 && why.contains("spec.by must be the requesting user"),
        "{code} {why}"
    );
    let user = format!("system:serviceaccount:{namespace}:team");
    let made = team.post(&approvals, &approval(&user)).await.unwrap();
    let path = format!("{approvals}/{}", made["metadata"]["name"].as_str().unwrap());
    let (code, why) = team
        .merge(&path, &json!({"spec": {"decision": "Reject"}}))
        .await
        .unwrap_err();
    assert!(code == 422 && why.contains("never changes"), "{code} {why}");

    // And a team with the usual rights of its namespace may not even ask.
    let another = plane.namespace().await.unwrap();
    let editor = Account(plane.editor(&another, false).await.unwrap());
    assert_eq!(editor.post(&approvals, &approval("a")).await.unwrap_err().0, 403);
    assert_eq!(
        editor
            .post(&records, &record(&live, 2).json(NAMESPACE))
            .await
            .unwrap_err()
            .0,
        403
    );
    assert!(RECORD.starts_with("evenkeel.dev/fence-"));
}
