//! `v1/Event` and `events.k8s.io/v1/Event`: only those about Pods that were evicted or preempted. An event is never
//! stored: it says which Pod to look at ([`crate::history`]).

use serde::Deserialize;

use super::disruption::DisruptionReason;
use super::kind::{Extent, Kind};
use super::{DecodeError, Text, is_object_name, or_default, uid_hash};
use crate::know::Wall;

/// Letters and digits of suffixes that controllers make: those of Kubernetes (`k8s.io/apimachinery/pkg/util/rand`), which
/// has neither vowels nor 0, 1 and 3, and these three digits, as others are not so careful.
const ALPHABET: &str = "bcdfghjklmnpqrstvwxz0123456789";

/// What is watched of them. An audit has no use for them: they are counted over time.
pub const KINDS: [Kind; 1] = [Kind {
    extent: Extent::Selected,
    ..Kind::v1(
        "Event",
        "events",
        "which Pods were evicted or preempted, and so are worth a look; not kept",
    )
}];

/// What such an event says. Anybody who may create Events in a namespace may have written it (the role `edit` may), so it
/// says where to look and decides nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Why the Pod had to go.
    pub reason: DisruptionReason,
    /// Its namespace, and that of the event.
    pub namespace: Box<str>,
    /// Its name.
    pub pod: Box<str>,
    /// A hash of its uid; 0 where the event does not say it.
    pub uid: u64,
    /// Namespace and workload of the Pod that took its place.
    pub winner: Option<(Box<str>, Box<str>)>,
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
    #[serde(borrow, default, deserialize_with = "or_default")]
    series: EventSeries<'a>,
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
    namespace: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Reference<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    kind: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    namespace: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    uid: Text<'a>,
}

impl Reference<'_> {
    /// Whether it may be a Pod's: what no API server would take as a name is none.
    fn is_pod(&self) -> bool {
        self.kind == "Pod" && is_object_name(&self.name) && is_object_name(&self.namespace)
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct EventSeries<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    last_observed_time: Text<'a>,
}

impl Event {
    /// Reads one event; `None` when it is of no reason that is looked at, or about something else than a Pod of its own
    /// namespace.
    pub fn parse(json: &[u8]) -> Result<Option<Self>, DecodeError> {
        let wire: Wire<'_> = super::decode_error::read(json)?;
        let reason = match &*wire.reason {
            "Evicted" => DisruptionReason::Evicted,
            "Preempted" => DisruptionReason::Preempted,
            _ => return Ok(None),
        };
        let pod = &wire.involved_object;
        // API servers hold events to the namespace of their object (`pkg/apis/core/validation/events.go`).
        if !pod.is_pod() || *pod.namespace != *wire.metadata.namespace {
            return Ok(None);
        }
        let by = Some(&wire.related).filter(|by| reason == DisruptionReason::Preempted && by.is_pod());
        let times = [
            &wire.last_timestamp,
            &wire.event_time,
            &wire.series.last_observed_time,
        ];
        Ok(Some(Self {
            reason,
            namespace: (*pod.namespace).into(),
            pod: (*pod.name).into(),
            uid: uid_hash(&pod.uid),
            winner: by.map(|by| ((*by.namespace).into(), workload(&by.name).into())),
            last: times.into_iter().filter_map(|time| Wall::parse(time)).max(),
        }))
    }

    /// The workload of the Pod, as far as its name shows it.
    pub fn workload(&self) -> &str {
        workload(&self.pod)
    }

    /// Whether a Pod of the same workload took its place.
    pub fn is_own(&self) -> bool {
        let own = |(namespace, workload): &(Box<str>, Box<str>)| {
            *namespace == self.namespace && **workload == *self.workload()
        };
        self.winner.as_ref().is_some_and(own)
    }
}

/// The workload's name in a Pod's name: without the five letters of `generateName`, the hash of a `ReplicaSet`, the number
/// of a `StatefulSet` or of an indexed Job, and the minute of a Job that a `CronJob` made.
pub(crate) fn workload(pod: &str) -> &str {
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
            "metadata": {"name": "web-0.1", "namespace": "shop", "uid": "e1"}, "reason": "Evicted",
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-0", "uid": "u1"},
            "source": {"component": "kubelet", "host": "n1"}, "count": 3,
            "firstTimestamp": "2026-11-21T12:00:00Z", "lastTimestamp": "2026-11-21T13:00:00Z",
        }));
        let new = read(&json!({
            "metadata": {"name": "web-0.1", "namespace": "shop", "uid": "e1"}, "reason": "Evicted",
            "regarding": {"kind": "Pod", "namespace": "shop", "name": "web-0", "uid": "u1"},
            "deprecatedSource": {"host": "n1"}, "eventTime": null,
            "series": {"count": 3, "lastObservedTime": "2026-11-21T13:00:00.000000Z"},
        }));
        assert_eq!(old, new);
        let event = old.unwrap();
        assert_eq!(
            (&*event.namespace, &*event.pod, event.workload()),
            ("shop", "web-0", "web")
        );
        assert_ne!(event.uid, 0);
        assert_eq!(event.last, Some(Wall(1_795_266_000)));
    }

    #[rstest]
    #[case::of_another_workload("jobs", "high-bcdfg", false)]
    #[case::of_its_own("shop", "low-fcdfg", true)]
    #[case::of_the_same_name_elsewhere("jobs", "low-fcdfg", false)]
    fn who_takes_the_place_is_related(#[case] namespace: &str, #[case] name: &str, #[case] own: bool) {
        let event = read(&json!({
            "metadata": {"name": "a", "namespace": "shop"}, "reason": "Preempted",
            "regarding": {"kind": "Pod", "namespace": "shop", "name": "low-bcdfg"},
            "related": {"kind": "Pod", "namespace": namespace, "name": name}, "reportingInstance": "scheduler-1",
        }))
        .unwrap();
        assert_eq!((event.workload(), event.uid, event.is_own()), ("low", 0, own));
    }

    #[rstest]
    #[case::another_reason("Scheduled", "Pod", "shop", "b")]
    #[case::no_pod("Evicted", "Node", "shop", "b")]
    #[case::nameless("Evicted", "Pod", "shop", "")]
    #[case::of_another_namespace("Evicted", "Pod", "kube-system", "b")]
    #[case::no_name("Evicted", "Pod", "shop", "a b")]
    #[case::an_escape("Evicted", "Pod", "shop", "\u{1b}[2J")]
    #[case::a_path("Evicted", "Pod", "shop", "../../nodes/n1")]
    #[case::a_page("Evicted", "Pod", "shop", "<!channel>")]
    fn others_are_left_aside(
        #[case] reason: &str,
        #[case] kind: &str,
        #[case] namespace: &str,
        #[case] name: &str,
    ) {
        let event = json!({
            "metadata": {"name": "a", "namespace": "shop"}, "reason": reason,
            "involvedObject": {"kind": kind, "namespace": namespace, "name": name},
        });
        assert_eq!(read(&event), None);
        assert_eq!(
            read(&json!({"metadata": null, "reason": reason, "involvedObject": null})),
            None
        );
    }

    #[test]
    fn a_winner_that_is_no_name_is_none() {
        let event = json!({
            "metadata": {"name": "a", "namespace": "shop"}, "reason": "Preempted",
            "regarding": {"kind": "Pod", "namespace": "shop", "name": "low-bcdfg"},
            "related": {"kind": "Pod", "namespace": "shop", "name": "<!channel> run this"},
        });
        assert_eq!(read(&event).unwrap().winner, None);
    }
}
