//! `v1/Event` and `events.k8s.io/v1/Event`: only those about Pods that were evicted or preempted. An event is never
//! stored: it is folded into counters as it arrives.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;

use super::kind::{Extent, Kind};
use super::{Text, Why, or_default};
use crate::know::Wall;

/// The longest name of a workload that is kept, in bytes: that of a Kubernetes name.
const NAME: usize = 253;
/// Letters and digits of suffixes that controllers make: those of Kubernetes (`k8s.io/apimachinery/pkg/util/rand`), which
/// has neither vowels nor 0, 1 and 3, and these three digits, as others are not so careful.
const ALPHABET: &str = "bcdfghjklmnpqrstvwxz0123456789";

/// What is watched of them. An audit has no use for them: they are counted over time.
pub const KINDS: [Kind; 1] = [Kind {
    extent: Extent::Selected,
    ..Kind::v1(
        "Event",
        "events",
        "evictions and preemptions of Pods, counted and not kept",
    )
}];

/// Why a Pod was made to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventReason {
    /// The kubelet evicted it for want of memory, storage or process ids (`pkg/kubelet/eviction`).
    Evicted,
    /// The scheduler made room for another Pod
    /// (`pkg/scheduler/framework/preemption`: regarding the victim, related to who takes its place).
    Preempted,
}

/// What such an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Why.
    pub reason: EventReason,
    /// The workload of the Pod: `namespace/name`, as far as the Pod's name shows it.
    pub workload: Box<str>,
    /// The workload of the Pod that took its place; empty when unknown.
    pub winner: Box<str>,
    /// The node whose kubelet says so; empty when it is none.
    pub node: Box<str>,
    /// A hash of namespace and name, which say which event it is.
    pub id: u64,
    /// A hash of its uid: an event of the same name may be another.
    pub uid: u64,
    /// How often it has happened in all, as of now.
    pub total: u32,
    /// When it happened last.
    pub last: Option<Wall>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    metadata: Meta<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    reason: Text<'a>,
    #[serde(borrow, default, alias = "regarding", deserialize_with = "or_default")]
    involved_object: Reference<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    related: Reference<'a>,
    #[serde(borrow, default, alias = "deprecatedSource", deserialize_with = "or_default")]
    source: Emitter<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    reporting_instance: Text<'a>,
    #[serde(borrow, default, alias = "note", deserialize_with = "or_default")]
    message: Text<'a>,
    #[serde(default, alias = "deprecatedCount", deserialize_with = "or_default")]
    count: i64,
    #[serde(borrow, default, deserialize_with = "or_default")]
    series: Series<'a>,
    #[serde(
        borrow,
        default,
        alias = "deprecatedLastTimestamp",
        deserialize_with = "or_default"
    )]
    last_timestamp: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    event_time: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Meta<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    namespace: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    uid: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Reference<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    kind: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    namespace: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Emitter<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    host: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Series<'a> {
    #[serde(default, deserialize_with = "or_default")]
    count: i64,
    #[serde(borrow, default, deserialize_with = "or_default")]
    last_observed_time: Text<'a>,
}

impl Event {
    /// Reads one event; `None` when it is of no reason that is looked at, or about something else than a Pod.
    pub fn parse(json: &[u8]) -> Result<Option<Self>, Why> {
        let wire: Wire<'_> = super::why::read(json)?;
        let reason = match &*wire.reason {
            "Evicted" => EventReason::Evicted,
            "Preempted" => EventReason::Preempted,
            _ => return Ok(None),
        };
        let pod = &wire.involved_object;
        if pod.kind != "Pod" || pod.name.is_empty() || wire.metadata.name.is_empty() {
            return Ok(None);
        }
        if reason == EventReason::Evicted && is_own_limit(&wire.message) {
            return Ok(None);
        }
        let node = match reason {
            EventReason::Evicted if wire.source.host.is_empty() => &*wire.reporting_instance,
            EventReason::Evicted => &*wire.source.host,
            EventReason::Preempted => "",
        };
        let winner = match reason {
            EventReason::Preempted if wire.related.kind == "Pod" => show(&wire.related),
            _ => String::new(),
        };
        let times = [
            &wire.last_timestamp,
            &wire.event_time,
            &wire.series.last_observed_time,
        ];
        let total = wire.count.max(wire.series.count).max(1);
        Ok(Some(Self {
            reason,
            workload: show(pod).into(),
            winner: winner.into(),
            node: cut(node, NAME).into(),
            id: hash(&(&*wire.metadata.namespace, &*wire.metadata.name)),
            uid: hash(&*wire.metadata.uid),
            total: u32::try_from(total).unwrap_or(u32::MAX),
            last: times.into_iter().filter_map(|time| Wall::parse(time)).max(),
        }))
    }
}

/// Whether the kubelet evicted a Pod because it was over a limit of its own, of an emptyDir or of ephemeral storage: the
/// node was short of nothing. All three texts of `pkg/kubelet/eviction/helpers.go` say that a limit is exceeded, and those
/// of a node that is short do not.
fn is_own_limit(message: &str) -> bool {
    message.contains("exceed") && message.contains("limit")
}

fn hash<T: Hash + ?Sized>(what: &T) -> u64 {
    // The keys of this hasher are fixed: equal texts are equal numbers in every core.
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn show(pod: &Reference<'_>) -> String {
    format!("{}/{}", cut(&pod.namespace, NAME), cut(workload(&pod.name), NAME))
}

/// At most so many bytes of a text.
fn cut(text: &str, most: usize) -> &str {
    let mut ends = (0..=most.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

/// The workload's name in a Pod's name: without the five letters of `generateName`, the hash of a `ReplicaSet`, the number
/// of a `StatefulSet` or of an indexed Job, and the minute of a Job that a `CronJob` made.
fn workload(pod: &str) -> &str {
    let made = |end: &str, least, most| {
        (least..=most).contains(&end.len()) && end.chars().all(|one| ALPHABET.contains(one))
    };
    let numeric = |end: &str| !end.is_empty() && end.bytes().all(|one| one.is_ascii_digit());
    match pod.rsplit_once('-') {
        Some((rest, end)) if made(end, 5, 5) => match rest.rsplit_once('-') {
            Some((name, hash)) if made(hash, 8, 10) => name,
            Some((name, number)) if numeric(number) => name,
            _ => rest,
        },
        Some((rest, end)) if numeric(end) => rest,
        _ => pod,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case("web-5d4f8c7b9c-x2x7k", "web")]
    #[case("agent-x2x7k", "agent")]
    #[case("web-5d4f8c7b9c-x0x13", "web")]
    #[case("proxy-node1", "proxy-node1")]
    #[case("db-0", "db")]
    #[case("db-12", "db")]
    #[case("etcd-master", "etcd-master")]
    #[case("report-28912345-bcdfg", "report")]
    #[case("indexed-3-bcdfg", "indexed")]
    #[case("alone", "alone")]
    #[case("-", "-")]
    #[case("", "")]
    fn workloads(#[case] pod: &str, #[case] expected: &str) {
        assert_eq!(workload(pod), expected);
    }

    fn read(event: &serde_json::Value) -> Option<Event> {
        Event::parse(event.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn both_kinds_of_event_say_the_same() {
        let old = read(&json!({
            "metadata": {"name": "web-0.1", "namespace": "shop", "uid": "u1"}, "reason": "Evicted",
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-0"},
            "source": {"component": "kubelet", "host": "n1"}, "count": 3,
            "firstTimestamp": "2026-11-21T12:00:00Z", "lastTimestamp": "2026-11-21T13:00:00Z",
        }));
        let new = read(&json!({
            "metadata": {"name": "web-0.1", "namespace": "shop", "uid": "u1"}, "reason": "Evicted",
            "regarding": {"kind": "Pod", "namespace": "shop", "name": "web-0"},
            "deprecatedSource": {"host": "n1"}, "eventTime": null,
            "series": {"count": 3, "lastObservedTime": "2026-11-21T13:00:00.000000Z"},
        }));
        assert_eq!(old, new);
        let event = old.unwrap();
        assert_eq!(
            (&*event.workload, &*event.node, event.total),
            ("shop/web", "n1", 3)
        );
        assert_eq!(event.last, Some(Wall(1_795_266_000)));
    }

    #[rstest]
    #[case(
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 20Mi. ",
        true
    )]
    #[case("The node had condition: [DiskPressure]. ", true)]
    #[case("", true)]
    #[case("Usage of EmptyDir volume \"work\" exceeds the limit \"1Gi\". ", false)]
    #[case(
        "Pod ephemeral local storage usage exceeds the total limit of containers 2Gi. ",
        false
    )]
    #[case("Container app exceeded its local ephemeral storage limit \"1Gi\". ", false)]
    fn evictions_by_a_limit_of_the_pod_are_not_the_nodes(
        #[case] message: &str,
        #[case] counts: bool,
        #[values("message", "note")] field: &str,
    ) {
        let mut event = json!({
            "metadata": {"name": "a", "namespace": "shop"}, "reason": "Evicted",
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-0"}, "source": {"host": "n1"},
        });
        event[field] = message.into();
        assert_eq!(read(&event).is_some(), counts);
    }

    #[test]
    fn who_takes_the_place_is_related() {
        let event = read(&json!({
            "metadata": {"name": "a", "namespace": "shop"}, "reason": "Preempted",
            "regarding": {"kind": "Pod", "namespace": "shop", "name": "low-bcdfg"},
            "related": {"kind": "Pod", "namespace": "jobs", "name": "high-bcdfg"}, "reportingInstance": "scheduler-1",
        }))
        .unwrap();
        assert_eq!(
            (&*event.workload, &*event.winner, &*event.node),
            ("shop/low", "jobs/high", "")
        );
    }

    #[rstest]
    #[case(json!({"metadata": {"name": "a"}, "reason": "Scheduled", "involvedObject": {"kind": "Pod", "name": "b"}}))]
    #[case(json!({"metadata": {"name": "a"}, "reason": "Evicted", "involvedObject": {"kind": "Node", "name": "b"}}))]
    #[case(json!({"metadata": {"name": "a"}, "reason": "Evicted", "involvedObject": {"kind": "Pod"}}))]
    #[case(json!({"metadata": null, "reason": "Evicted", "involvedObject": null}))]
    #[case(json!({}))]
    fn others_are_left_aside(#[case] event: serde_json::Value) {
        assert_eq!(read(&event), None);
    }

    #[rstest]
    #[case(-5, 1)]
    #[case(0, 1)]
    #[case(i64::MAX, u32::MAX)]
    fn odd_counts(#[case] count: i64, #[case] total: u32) {
        let event = read(&json!({
            "metadata": {"name": "a"}, "reason": "Evicted", "involvedObject": {"kind": "Pod", "name": "é".repeat(400)},
            "count": count,
        }))
        .unwrap();
        assert_eq!(event.total, total);
        assert!(event.workload.len() <= NAME + 1);
    }
}
