//! A control plane with the component `remedy-cordon`, the accounts that ask it, and records as the core makes them.

use std::time::Duration;

use evenkeel_core::drive::{LiveNode, PolicyVersion, RemediationRecord};
use evenkeel_core::names::Names;
use evenkeel_core::policy::FenceEffect;
use evenkeel_core::remedies::NodeChange;
use evenkeel_e2e::cluster::NAMESPACE;
use evenkeel_e2e::repository::root;
use evenkeel_e2e::{ControlPlane, Options, client_of};
use http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Far above what the API server takes to learn of a policy or of its parameter.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

pub(super) const JSON: &str = "application/json";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

/// A control plane with the component, for one test at a time: stop and the slot are the cluster's.
pub(super) async fn plane() -> MutexGuard<'static, ControlPlane> {
    static PLANE: OnceCell<Mutex<ControlPlane>> = OnceCell::const_new();
    let options = Options {
        audit: true,
        ..Options::default()
    };
    let plane = PLANE.get_or_init(async || Mutex::new(start(options).await));
    plane.await.lock().await
}

/// A control plane with the component.
pub(super) async fn start(options: Options) -> ControlPlane {
    let plane = ControlPlane::start(options).await.unwrap();
    plane.install_operator().await.unwrap();
    plane.install_crds(&root().join("crds/ledger")).await.unwrap();
    for file in ["rbac", "rbac-people", "admission"] {
        let path = root().join(format!("manifests/components/remedy-cordon/{file}.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        plane.apply_yaml(&text).await.unwrap();
    }
    // A kind that has just been defined is served a moment later: until then its storage "is (re)initializing".
    let admin = Account::admin(&plane).await;
    for plural in ["remediations", "remediationapprovals"] {
        let path = format!("/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/{plural}");
        until("the kinds of the ledger", async || {
            admin.send(Method::GET, &path, JSON, &Value::Null).await.is_ok()
        })
        .await;
    }
    plane
}

/// An account that sends requests.
pub(super) struct Account(pub(super) Client);

/// What becomes of a request: the object, or code and message of the refusal.
pub(super) type Answer = Result<Value, (u16, String)>;

impl Account {
    pub(super) async fn operator(plane: &ControlPlane) -> Self {
        let file = plane.kubeconfig_of(NAMESPACE, "evenkeel").await.unwrap();
        Self(client_of(file.path(), None).await.unwrap())
    }

    pub(super) async fn admin(plane: &ControlPlane) -> Self {
        Self(plane.client().await.unwrap())
    }

    pub(super) async fn send(&self, method: Method, path: &str, content: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, content)
            .body(body)
            .unwrap();
        match self.0.request::<Value>(request).await {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, JSON, &Value::Null).await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, object: &Value) -> Answer {
        self.send(Method::POST, path, JSON, object).await
    }

    pub(super) async fn merge(&self, path: &str, patch: &Value) -> Answer {
        self.send(Method::PATCH, path, MERGE_PATCH, patch).await
    }

    pub(super) async fn patch(&self, path: &str, patch: &Value) -> Answer {
        self.send(Method::PATCH, path, JSON_PATCH, patch).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, JSON, &Value::Null).await
    }

    pub(super) async fn node(&self, name: &str) -> LiveNode {
        LiveNode::parse(&self.get(&node(name)).await).unwrap()
    }
}

pub(super) fn node(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

/// A Node with something of everybody.
pub(super) async fn make_node(admin: &Account, name: &str, labels: Value) {
    let object = json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"example.com/theirs": "a"}},
        "spec": {"taints": [{"key": "example.com/theirs", "effect": "NoSchedule"},
            {"key": "example.com/more", "effect": "PreferNoSchedule"}]}});
    admin.post("/api/v1/nodes", &object).await.unwrap();
    // The API server adds a taint of its own to a new Node: the kubelet has not reported yet.
    admin.merge(&node(name), &taints(&[])).await.unwrap();
}

pub(super) fn record(node: &LiveNode, finished: u32) -> RemediationRecord {
    let mut names = Names::default();
    let change = NodeChange {
        remedy: "CordonNode",
        node: names.intern(&node.name),
        effect: FenceEffect::PreferNoSchedule,
        cause: "RefilledFlapper",
        evidence: Vec::new(),
    };
    let policy = PolicyVersion {
        uid: "3f0c".into(),
        generation: 1,
    };
    RemediationRecord::of(&change, &names, &node.uid, policy, 7, finished)
}

/// Asks until the answer is as expected: the API server learns of policies and parameters by watches of its own.
pub(super) async fn until(what: &str, mut asked: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(WITHIN, async {
        while !asked().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: not within {} s", WITHIN.as_secs());
}

/// Until the API server has learned of the component: a change that it forbids is refused by it. Asked by a dry run.
pub(super) async fn until_narrowed(operator: &Account, name: &str) {
    let path = format!("{}?dryRun=All", node(name));
    let forbidden = json!({"metadata": {"labels": {"evenkeel.dev/forbidden": "a"}}});
    until("the narrowing", async || {
        let answer = operator.merge(&path, &forbidden).await;
        answer.is_err_and(|(code, why)| code == 422 && why.contains("evenkeel-nodes"))
    })
    .await;
}

/// The taint as written, with the two that are there.
pub(super) fn taints(more: &[Value]) -> Value {
    let mut all = vec![
        json!({"key": "example.com/theirs", "effect": "NoSchedule"}),
        json!({"key": "example.com/more", "effect": "PreferNoSchedule"}),
    ];
    all.extend_from_slice(more);
    json!({"spec": {"taints": all}})
}
