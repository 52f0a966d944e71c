//! Everything that evenkeel may ask the API server to change.

use std::sync::Arc;

use http::Method;
use kube::client::Body;
use serde_json::{Value, json};

use crate::api::{GROUP, PolicyRef, VERSION};

/// The field manager of everything that evenkeel applies.
pub const FIELD_MANAGER: &str = "evenkeel";

/// One change. There is no other way to make any.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Server-side apply of a policy's status.
    Status {
        /// The policy.
        policy: PolicyRef,
        /// Which writing of it: the server refuses another.
        precondition: Precondition,
        /// The whole `status` field.
        status: Value,
    },
    /// Creates an Event.
    Event {
        /// The policy that it is about.
        policy: PolicyRef,
        /// Its namespace.
        namespace: String,
        /// The whole object. Its name differs by transition, so a repetition creates nothing.
        event: Value,
    },
}

/// What an object must still be when a request for it is carried out. A request that was held up, by a machine that stood
/// still or by the network, then changes nothing that another client has written meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Precondition {
    /// uid: an object of the same name that was made later is another one.
    pub uid: Arc<str>,
    /// resourceVersion as last seen; any when empty.
    pub version: Arc<str>,
}

impl Request {
    /// As HTTP.
    pub(super) fn http(&self) -> Result<http::Request<Body>, String> {
        let (method, uri, content, body) = match self {
            Self::Status {
                policy,
                precondition,
                status,
            } => (
                Method::PATCH,
                format!("{}/status?fieldManager={FIELD_MANAGER}&force=true", path(policy)),
                "application/apply-patch+yaml",
                apply(policy, precondition, status),
            ),
            Self::Event { namespace, event, .. } => (
                Method::POST,
                format!("/api/v1/namespaces/{namespace}/events"),
                "application/json",
                event.to_string(),
            ),
        };
        http::Request::builder()
            .method(method)
            .uri(uri)
            .header(http::header::CONTENT_TYPE, content)
            .header(http::header::ACCEPT, "application/json")
            .body(Body::from(body.into_bytes()))
            .map_err(|error| error.to_string())
    }
}

fn path(policy: &PolicyRef) -> String {
    let name = &policy.name;
    if policy.is_cluster() {
        format!("/apis/{GROUP}/{VERSION}/clustertraffichealthpolicies/{name}")
    } else {
        let namespace = &policy.namespace;
        format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/traffichealthpolicies/{name}")
    }
}

/// The body of an apply. A resourceVersion in it is a precondition as in an update (`kubernetes/kubernetes`, #63104: the
/// version that a patch sets is compared when the result is stored).
fn apply(policy: &PolicyRef, precondition: &Precondition, status: &Value) -> String {
    let mut metadata = json!({ "name": &*policy.name, "uid": &*precondition.uid });
    if !precondition.version.is_empty() {
        metadata["resourceVersion"] = (&*precondition.version).into();
    }
    if !policy.is_cluster() {
        metadata["namespace"] = (&*policy.namespace).into();
    }
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": policy.kind(),
        "metadata": metadata,
        "status": status,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn status(namespace: &str, name: &str) -> Request {
        Request::Status {
            policy: PolicyRef {
                namespace: namespace.into(),
                name: name.into(),
            },
            precondition: Precondition {
                uid: "u1".into(),
                version: "42".into(),
            },
            status: json!({"observedGeneration": 3}),
        }
    }

    #[test]
    fn a_status_carries_its_preconditions() {
        let Request::Status {
            policy,
            precondition,
            status,
        } = status("shop", "checkout")
        else {
            unreachable!()
        };
        let body: Value = serde_json::from_str(&apply(&policy, &precondition, &status)).unwrap();
        assert_eq!(
            body["metadata"],
            json!({"namespace": "shop", "name": "checkout", "uid": "u1", "resourceVersion": "42"})
        );
        assert_eq!(
            (&body["kind"], &body["status"]),
            (&json!("TrafficHealthPolicy"), &status)
        );
    }

    #[test]
    fn each_kind_has_its_path() {
        let uri = |request: Request| request.http().unwrap().uri().path().to_owned();
        assert_eq!(
            uri(status("shop", "checkout")),
            "/apis/evenkeel.dev/v1alpha1/namespaces/shop/traffichealthpolicies/checkout/status"
        );
        assert_eq!(
            uri(status("", "cluster")),
            "/apis/evenkeel.dev/v1alpha1/clustertraffichealthpolicies/cluster/status"
        );
    }
}
