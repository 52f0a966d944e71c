//! Events: what has turned in a policy's conditions, where people look first (`kubectl describe`).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{Patch, PolicyStatus, Times};
use crate::api::{self, ConditionStatus, PolicyRef};
use crate::escape;
use crate::send::Request;

/// Conditions whose turning is worth an Event. Ready mirrors Healthy, and Remediating has its own records.
const WITH_EVENTS: [&str; 3] = ["Accepted", "Observed", "Healthy"];

/// The API server's bound of an Event's message, in bytes (`pkg/apis/core/validation/events.go`, `NoteLengthLimit`).
const MESSAGE: usize = 1024;

/// The Events of what has turned between the status before a patch and the patch, now that it is in force. A policy that is
/// healthy when first judged is no transition.
pub fn events(policy: &PolicyRef, patch: &Patch, instance: &str) -> Vec<Request> {
    turned(&patch.before, &patch.status)
        .map(|condition| event(policy, patch.uid(), condition, instance))
        .filter_map(|event| {
            Some(Request::Event {
                policy: policy.clone(),
                namespace: home(policy).to_owned(),
                event: serde_json::to_value(event).ok()?,
            })
        })
        .collect()
}

/// The conditions that have turned.
fn turned<'a>(before: &'a Times, status: &'a PolicyStatus) -> impl Iterator<Item = &'a api::Condition> {
    WITH_EVENTS.iter().filter_map(|kind| {
        let now = status.condition(kind)?;
        let transition = match before.condition(kind) {
            Some(before) => before != now.status,
            None => now.status == ConditionStatus::False,
        };
        transition.then_some(now)
    })
}

/// The Event of a condition that has turned.
pub(crate) fn event(policy: &PolicyRef, uid: &str, condition: &api::Condition, instance: &str) -> Event {
    let namespace = home(policy);
    let time = condition.last_transition_time.clone();
    let good = condition.status == ConditionStatus::True;
    let reason = match condition.status {
        ConditionStatus::True => condition.r#type.clone(),
        ConditionStatus::False => format!("Not{}", condition.r#type),
        ConditionStatus::Unknown => format!("{}Unknown", condition.r#type),
    };
    Event {
        metadata: ObjectMeta {
            // One transition has one name: a repetition after a lost answer creates nothing.
            name: Some(format!(
                "{}.{:x}.{}",
                policy.name,
                time.0.as_second(),
                reason.to_lowercase()
            )),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(format!("{}/{}", api::GROUP, api::VERSION)),
            kind: Some(policy.kind().into()),
            name: Some(policy.name.to_string()),
            namespace: (!policy.is_cluster()).then(|| policy.namespace.to_string()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        },
        reason: Some(reason),
        ..said(
            &format!("{}: {}", condition.reason, condition.message),
            !good,
            time.0,
            instance,
        )
    }
}

/// What every Event of ours has: its message in one line, whether it warns, and that this replica says it, once.
pub(super) fn said(message: &str, warns: bool, at: Timestamp, instance: &str) -> Event {
    Event {
        message: Some(cut(message)),
        type_: Some(if warns { "Warning" } else { "Normal" }.into()),
        source: Some(EventSource {
            component: Some("evenkeel".into()),
            host: None,
        }),
        reporting_component: Some("evenkeel.dev/operator".into()),
        reporting_instance: Some(instance.into()),
        first_timestamp: Some(Time(at)),
        last_timestamp: Some(Time(at)),
        count: Some(1),
        ..Event::default()
    }
}

/// Namespace of Events about objects of the cluster, as Kubernetes' own have it.
pub(super) const OF_THE_CLUSTER: &str = "default";

/// Where an Event about the policy lives.
fn home(policy: &PolicyRef) -> &str {
    if policy.is_cluster() {
        OF_THE_CLUSTER
    } else {
        &policy.namespace
    }
}

/// One line of at most [`MESSAGE`] bytes, cut between characters.
fn cut(text: &str) -> String {
    let text = escape::line(text);
    if text.len() <= MESSAGE {
        return text.into_owned();
    }
    let mut end = MESSAGE - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use rstest::rstest;

    use super::*;
    use crate::api::{Condition, StatusPlans, TrafficHealthPolicyStatus};

    fn status(kind: &str, status: Option<ConditionStatus>) -> PolicyStatus {
        let conditions = status.map(|status| Condition {
            r#type: kind.into(),
            status,
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            reason: "X".into(),
            message: "x".into(),
        });
        let status = TrafficHealthPolicyStatus {
            conditions: conditions.into_iter().collect(),
            ..TrafficHealthPolicyStatus::default()
        };
        PolicyStatus(status, StatusPlans::default())
    }

    #[rstest]
    #[case::first_healthy("Healthy", None, ConditionStatus::True, false)]
    #[case::first_unknown("Healthy", None, ConditionStatus::Unknown, false)]
    #[case::first_unhealthy("Healthy", None, ConditionStatus::False, true)]
    #[case::same("Healthy", Some(ConditionStatus::False), ConditionStatus::False, false)]
    #[case::turned("Observed", Some(ConditionStatus::False), ConditionStatus::True, true)]
    #[case::no_news("Ready", Some(ConditionStatus::False), ConditionStatus::True, false)]
    fn only_what_has_turned_is_an_event(
        #[case] kind: &str,
        #[case] before: Option<ConditionStatus>,
        #[case] now: ConditionStatus,
        #[case] expected: bool,
    ) {
        let before = Times::of(&status(kind, before));
        assert_eq!(turned(&before, &status(kind, Some(now))).count() == 1, expected);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = cut(&"ä".repeat(MESSAGE));
        assert!(text.len() <= MESSAGE && text.ends_with("ä…"));
        assert_eq!(cut("short"), "short");
    }
}
