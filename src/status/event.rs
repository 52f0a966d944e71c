//! Events: what has turned in a policy's conditions, told where people look first (`kubectl describe`).

use http::{Method, Request};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::client::Body;

use super::{Order, Status};
use crate::api::{self, ConditionStatus, PolicyRef};

/// Conditions whose turning is worth an Event. Ready mirrors Healthy, and Remediating has its own records.
const TOLD: [&str; 3] = ["Accepted", "Observed", "Healthy"];

/// The API server's bound of an Event's message, in bytes (`pkg/apis/core/validation/events.go`, `NoteLengthLimit`).
const MESSAGE: usize = 1024;

/// The requests that tell what has turned between the status before and the one that now stands. A policy that is
/// healthy when first judged is no news.
pub fn events(target: &PolicyRef, order: &Order, status: &Status, instance: &str) -> Vec<Request<Body>> {
    TOLD.iter()
        .filter_map(|kind| {
            let now = status.condition(kind)?;
            let before = order.before.condition(kind);
            let news = match before {
                Some(before) => before != now.status,
                None => now.status == ConditionStatus::False,
            };
            news.then(|| event(target, order, now, instance))
        })
        .filter_map(|event| request(target, &event))
        .collect()
}

fn event(target: &PolicyRef, order: &Order, condition: &api::Condition, instance: &str) -> Event {
    let namespace = home(target);
    let time = condition.last_transition_time.clone();
    let good = condition.status == ConditionStatus::True;
    let reason = match condition.status {
        ConditionStatus::True => condition.r#type.clone(),
        ConditionStatus::False => format!("Not{}", condition.r#type),
        ConditionStatus::Unknown => format!("{}Unknown", condition.r#type),
    };
    Event {
        metadata: ObjectMeta {
            // One transition has one name: whoever tells it again, after a lost answer, tells nothing new.
            name: Some(format!(
                "{}.{:x}.{}",
                target.name,
                time.0.as_second(),
                reason.to_lowercase()
            )),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(format!("{}/{}", api::GROUP, api::VERSION)),
            kind: Some(
                if target.is_cluster() {
                    "ClusterTrafficHealthPolicy"
                } else {
                    "TrafficHealthPolicy"
                }
                .into(),
            ),
            name: Some(target.name.to_string()),
            namespace: (!target.is_cluster()).then(|| target.namespace.to_string()),
            uid: Some(order.uid.to_string()),
            ..ObjectReference::default()
        },
        reason: Some(reason),
        message: Some(cut(&format!("{}: {}", condition.reason, condition.message))),
        type_: Some(if good { "Normal" } else { "Warning" }.into()),
        source: Some(EventSource {
            component: Some("evenkeel".into()),
            host: None,
        }),
        reporting_component: Some("evenkeel.dev/operator".into()),
        reporting_instance: Some(instance.into()),
        first_timestamp: Some(Time(time.0)),
        last_timestamp: Some(Time(time.0)),
        count: Some(1),
        ..Event::default()
    }
}

/// Where an Event about the target lives: cluster-scoped objects have theirs in `default`, as Kubernetes' own do.
fn home(target: &PolicyRef) -> &str {
    if target.is_cluster() {
        "default"
    } else {
        &target.namespace
    }
}

fn request(target: &PolicyRef, event: &Event) -> Option<Request<Body>> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("/api/v1/namespaces/{}/events", home(target)))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Body::from(serde_json::to_vec(event).ok()?))
        .ok()
}

/// At most [`MESSAGE`] bytes, cut between characters.
fn cut(text: &str) -> String {
    if text.len() <= MESSAGE {
        return text.to_owned();
    }
    let mut end = MESSAGE - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}
