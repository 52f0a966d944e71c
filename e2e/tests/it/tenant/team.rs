//! A team that may write in one namespace, by plain requests: what the API server says to each is looked at.

use futures::{StreamExt, stream};
use http::Method;
use kube::Client;
use serde_json::{Value, json};

/// Requests under way at a time.
const CONCURRENCY: usize = 16;

/// A client that may write in one namespace.
pub(super) struct Team {
    client: Client,
    namespace: String,
}

impl Team {
    pub(super) const fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    /// Where it may write.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Makes an object; its name and kind say where. The code of a refusal is an error.
    pub(super) async fn make(&self, object: &Value) -> Result<(), u16> {
        let path = self.path(
            object["apiVersion"].as_str().unwrap(),
            object["kind"].as_str().unwrap(),
        );
        self.send(Method::POST, &path, "application/json", object).await
    }

    /// Makes many, side by side; returns how many of them were refused.
    pub(super) async fn make_all(&self, objects: impl IntoIterator<Item = Value>) -> usize {
        let made = stream::iter(objects)
            .map(async |object| self.make(&object).await.is_err())
            .buffer_unordered(CONCURRENCY);
        made.filter(|refused| std::future::ready(*refused)).count().await
    }

    /// Changes an object by a merge patch.
    pub(super) async fn change(
        &self,
        (version, kind): (&str, &str),
        name: &str,
        patch: &Value,
    ) -> Result<(), u16> {
        let path = format!("{}/{name}", self.path(version, kind));
        self.send(Method::PATCH, &path, "application/merge-patch+json", patch)
            .await
    }

    /// Makes a policy of this name on every Service of its namespace, with more in its `spec`.
    pub(super) async fn policy(&self, name: &str, more: &Value) -> Result<(), u16> {
        self.make(&policy(name, more)).await
    }

    /// Tries to make an object anywhere, by the path of its collection.
    pub(super) async fn make_at(&self, path: &str, object: &Value) -> Result<(), u16> {
        self.send(Method::POST, path, "application/json", object).await
    }

    /// Tries to change an object anywhere, by its path.
    pub(super) async fn change_at(&self, path: &str, patch: &Value) -> Result<(), u16> {
        self.send(Method::PATCH, path, "application/merge-patch+json", patch)
            .await
    }

    /// What it may list.
    pub(super) async fn read(&self, group: &str, plural: &str) -> Value {
        let path = format!("{group}/namespaces/{}/{plural}", self.namespace);
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.client.request(request).await.unwrap()
    }

    /// Deletes one.
    pub(super) async fn delete(&self, (version, kind): (&str, &str), name: &str) {
        let path = format!("{}/{name}", self.path(version, kind));
        let deleted = self
            .send(Method::DELETE, &path, "application/json", &json!({}))
            .await;
        deleted.unwrap();
    }

    /// Deletes all of a kind.
    pub(super) async fn delete_all(&self, (version, kind): (&str, &str)) {
        let options = json!({"gracePeriodSeconds": 0});
        self.send(
            Method::DELETE,
            &self.path(version, kind),
            "application/json",
            &options,
        )
        .await
        .unwrap();
    }

    fn path(&self, version: &str, kind: &str) -> String {
        let root = if version.contains('/') { "apis" } else { "api" };
        let plural = match kind {
            "TrafficHealthPolicy" => "traffichealthpolicies".to_owned(),
            "NetworkPolicy" => "networkpolicies".to_owned(),
            "Ingress" => "ingresses".to_owned(),
            other => format!("{}s", other.to_lowercase()),
        };
        format!("/{root}/{version}/namespaces/{}/{plural}", self.namespace)
    }

    async fn send(&self, method: Method, path: &str, content: &str, body: &Value) -> Result<(), u16> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, content)
            .body(body.to_string().into_bytes())
            .unwrap();
        match self.client.request_text(request).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.code),
            Err(error) => panic!("{path}: {error}"),
        }
    }
}

/// A policy on every Service of its namespace.
pub(super) fn policy(name: &str, more: &Value) -> Value {
    let mut spec = json!({"services": {"selector": {}}});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "TrafficHealthPolicy",
        "metadata": {"name": name}, "spec": spec})
}

/// A Service with so many ports.
pub(super) fn service(name: &str, ports: u16) -> Value {
    let ports: Vec<_> = (0..ports)
        .map(|at| json!({"name": format!("p{at}"), "port": 1000 + at, "targetPort": 8080}))
        .collect();
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": ports}})
}

/// A Pod of one container.
/// A Service with so many labels, each another one of some sixty bytes.
pub(super) fn labelled(name: &str, count: usize) -> Value {
    let mut one = service(name, 1);
    let labels: serde_json::Map<String, Value> = (0..count)
        .map(|n| {
            (
                format!("{name}-{n}"),
                json!(format!("{name}-{n}-{}", "z".repeat(40))),
            )
        })
        .collect();
    one["metadata"]["labels"] = labels.into();
    one
}

pub(super) fn pod(name: &str, container: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {}}, "spec": {
        // The controller may not have made the account `default` yet.
        "serviceAccountName": "team", "automountServiceAccountToken": false,
        "containers": [{"name": container, "image": "registry.example/it:1"}]}})
}
