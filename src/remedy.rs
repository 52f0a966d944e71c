//! The requests of a [`Drive`](evenkeel_core::drive::Drive) as HTTP, and what their answers mean to it.
//!
//! They are sent on their own way, and not on that of statuses, so that without this module nothing of the program can change
//! a Node.

use evenkeel_core::drive::{Approval, LiveNode, RemediationRecord, Reply, Request, SLOT, SlotLease};
use evenkeel_core::know::Wall;
use http::Method;
use kube::client::Body;
use serde_json::{Value, json};

use crate::api::{GROUP, VERSION};
use crate::client::{Link, RequestError, exchange};
use crate::clock::Clock;
use crate::lease::{NAMESPACE, Permit};
use crate::rights::{Right, RightScope};
use crate::send::FIELD_MANAGER;

/// Name of the ConfigMap by which people say stop.
pub const STOP: &str = "evenkeel-stop";

/// What acts on Nodes need beyond what the operator may anyway: the component `remedy-cordon`.
pub const RIGHTS: &[Right] = &[
    Right {
        group: "",
        resource: "nodes",
        verbs: &["get", "patch"],
        scope: RightScope::Cluster,
        why: "reads a node before it is fenced, and fences it",
    },
    Right {
        group: GROUP,
        resource: "remediations",
        verbs: &["create", "delete", "get", "list", "watch"],
        scope: RightScope::Namespace(NAMESPACE),
        why: "keeps the records of what was done",
    },
    Right {
        group: GROUP,
        resource: "remediations/status",
        verbs: &["patch"],
        scope: RightScope::Namespace(NAMESPACE),
        why: "writes what became of it",
    },
    Right {
        group: GROUP,
        resource: "remediationapprovals",
        verbs: &["list"],
        scope: RightScope::Namespace(NAMESPACE),
        why: "reads what people have agreed to",
    },
    Right {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["get", "update"],
        scope: RightScope::Namespace(NAMESPACE),
        why: "one act at a time in the cluster",
    },
    Right {
        group: "",
        resource: "configmaps",
        verbs: &["get"],
        scope: RightScope::Namespace(NAMESPACE),
        why: "sees whether people said stop",
    },
];

/// Sends a request once, and waits for the end of its answer, at the latest when the permit ends.
pub async fn send(link: &Link, clock: Clock, permit: Permit, namespace: &str, request: &Request) -> Reply {
    let now = clock.now();
    if permit.by() <= now.mono {
        // The machine stood still since the permit was given: nothing has left.
        return Reply::Lost;
    }
    let Ok(http) = http_of(request, namespace, now.wall) else {
        return Reply::Refused(400);
    };
    let answer = exchange(link, http, clock.instant(permit.by())).await;
    reply_of(request, answer.as_deref())
}

/// As HTTP, for the operator of this namespace. A read names no resourceVersion: it is answered by the quorum.
///
/// # Errors
/// A name that no path holds.
pub fn http_of(request: &Request, namespace: &str, now: Wall) -> Result<http::Request<Body>, http::Error> {
    let records = format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/remediations");
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    let (method, path, content, body) = match request {
        Request::ListRecords(from) => (Method::GET, page(&records, from.as_deref()), JSON, Value::Null),
        Request::ListApprovals(from) => {
            let approvals = format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/remediationapprovals");
            (Method::GET, page(&approvals, from.as_deref()), JSON, Value::Null)
        }
        Request::DeleteRecord(record) => {
            let body = json!({"apiVersion": "v1", "kind": "DeleteOptions",
                "preconditions": {"uid": record.uid, "resourceVersion": record.version}});
            (Method::DELETE, format!("{records}/{}", record.name), JSON, body)
        }
        Request::CreateRecord(record) => (Method::POST, records, JSON, record.json(namespace)),
        Request::ReadRecord(name) => (Method::GET, format!("{records}/{name}"), JSON, Value::Null),
        Request::WriteRecord(record) => {
            let path = format!("{records}/{}/status", record.name);
            (Method::PATCH, path, MERGE_PATCH, record.status_json(now))
        }
        Request::ReadSlot => (Method::GET, format!("{leases}/{SLOT}"), JSON, Value::Null),
        Request::WriteSlot(slot) if slot.version.is_empty() => {
            (Method::POST, leases, JSON, slot.json(namespace))
        }
        Request::WriteSlot(slot) => (
            Method::PUT,
            format!("{leases}/{SLOT}"),
            JSON,
            slot.json(namespace),
        ),
        Request::ReadStop => {
            let path = format!("/api/v1/namespaces/{namespace}/configmaps/{STOP}");
            (Method::GET, path, JSON, Value::Null)
        }
        Request::ReadNode(name) => (Method::GET, format!("/api/v1/nodes/{name}"), JSON, Value::Null),
        Request::TryForbidden(name) => {
            let label = json!({"metadata": {"labels": {"evenkeel.dev/forbidden": "dry-run"}}});
            (Method::PATCH, format!("/api/v1/nodes/{name}"), MERGE_PATCH, label)
        }
        Request::PatchNode(name, patch) => (
            Method::PATCH,
            format!("/api/v1/nodes/{name}"),
            JSON_PATCH,
            patch.json(),
        ),
    };
    let (path, body) = if method == Method::GET {
        (path, Vec::new())
    } else if method == Method::DELETE {
        // No field of it is anybody's.
        (path, body.to_string().into_bytes())
    } else {
        let dry = if matches!(request, Request::TryForbidden(_)) {
            "&dryRun=All"
        } else {
            ""
        };
        (
            format!("{path}?fieldManager={FIELD_MANAGER}{dry}"),
            body.to_string().into_bytes(),
        )
    };
    http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, content)
        .header(http::header::ACCEPT, JSON)
        .body(Body::from(body))
}

/// Name of the admission policy that narrows what may be changed of a Node: its refusals name it.
const NARROWS: &str = "evenkeel-nodes";

/// The path of a page of a list, from where the one before ended.
fn page(list: &str, from: Option<&str>) -> String {
    let from = from.map(|from| format!("&continue={}", escaped(from)));
    format!("{list}?limit={PAGE}{}", from.unwrap_or_default())
}

/// Records, or approvals, of one page: some hundred kilobytes.
const PAGE: u32 = 500;

/// A token of the API server, so that it can stand in a query: base64, of which a few characters mean something else there.
fn escaped(token: &str) -> String {
    token
        .replace('%', "%25")
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
        .replace('&', "%26")
}

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";

/// What an answer means. An object that cannot be read counts as no answer: it may be half of one.
pub fn reply_of(request: &Request, answer: Result<&[u8], &RequestError>) -> Reply {
    let body = match answer {
        Ok(body) => body,
        Err(RequestError::Refused(refusal)) => {
            return match refusal.code {
                422 if matches!(request, Request::TryForbidden(_)) && refusal.message.contains(NARROWS) => {
                    Reply::Narrowed
                }
                404 | 410 => Reply::Absent,
                409 => Reply::Conflict,
                // A test of the patch that fails, or an admission policy.
                422 if matches!(request, Request::PatchNode(..)) => Reply::Conflict,
                429 => Reply::Busy,
                500.. => Reply::Lost,
                code => Reply::Refused(code),
            };
        }
        Err(_) => return Reply::Lost,
    };
    let Ok(object) = serde_json::from_slice::<Value>(body) else {
        return Reply::Lost;
    };
    let read = match request {
        Request::ListRecords(_) => {
            let read = page_of(&object, RemediationRecord::parse);
            read.map(|(records, next)| Reply::Records(records, next))
        }
        Request::ListApprovals(_) => {
            let read = page_of(&object, Approval::parse);
            read.map(|(approvals, next)| Reply::Approvals(approvals, next))
        }
        // Without finalizers, which no record has, it is gone.
        Request::DeleteRecord(_) => Some(Reply::Absent),
        Request::CreateRecord(_) | Request::ReadRecord(_) | Request::WriteRecord(_) => {
            RemediationRecord::parse(&object).map(|record| Reply::Record(Box::new(record)))
        }
        Request::ReadSlot | Request::WriteSlot(_) => SlotLease::parse(&object).map(Reply::Slot),
        Request::TryForbidden(_) => Some(Reply::NotNarrowed),
        Request::ReadStop => Some(Reply::Stop),
        Request::ReadNode(_) | Request::PatchNode(..) => {
            LiveNode::parse(&object).map(|node| Reply::Node(Box::new(node)))
        }
    };
    read.unwrap_or(Reply::Lost)
}

/// A page of a list, and from where the next goes on; what cannot be understood is not in it.
fn page_of<T>(object: &Value, parse: impl Fn(&Value) -> Option<T>) -> Option<(Vec<T>, Option<String>)> {
    let items = object.pointer("/items")?.as_array()?;
    let next = object.pointer("/metadata/continue").and_then(Value::as_str);
    let next = next.filter(|next| !next.is_empty()).map(str::to_owned);
    Some((items.iter().filter_map(parse).collect(), next))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    #![allow(clippy::needless_pass_by_value, reason = "cases of a table are values")]

    use evenkeel_core::drive::SlotHolder;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::client::Refusal;

    fn node() -> Value {
        json!({"metadata": {"name": "n1", "uid": "u", "resourceVersion": "5"}, "spec": {}})
    }

    fn patch() -> Request {
        let live = LiveNode::parse(&node()).unwrap();
        Request::PatchNode("n1".into(), Box::new(live.touch(7)))
    }

    fn slot(version: &str) -> Request {
        Request::WriteSlot(SlotLease {
            version: version.into(),
            term: 7,
            holder: Some(SlotHolder {
                record: "r".into(),
                node: "n1".into(),
                node_uid: "u".into(),
            }),
        })
    }

    #[rstest]
    #[case::node(Request::ReadNode("n1".into()), "GET", "/api/v1/nodes/n1")]
    #[case::act(patch(), "PATCH", "/api/v1/nodes/n1?fieldManager=evenkeel")]
    #[case::list(
        Request::ListRecords(Some("a+b=".into())),
        "GET",
        "/apis/evenkeel.dev/v1alpha1/namespaces/ops/remediations?limit=500&continue=a%2Bb%3D"
    )]
    #[case::approvals(
        Request::ListApprovals(None),
        "GET",
        "/apis/evenkeel.dev/v1alpha1/namespaces/ops/remediationapprovals?limit=500"
    )]
    #[case::forbidden(
        Request::TryForbidden("n1".into()),
        "PATCH",
        "/api/v1/nodes/n1?fieldManager=evenkeel&dryRun=All"
    )]
    #[case::stop(Request::ReadStop, "GET", "/api/v1/namespaces/ops/configmaps/evenkeel-stop")]
    #[case::first_slot(
        slot(""),
        "POST",
        "/apis/coordination.k8s.io/v1/namespaces/ops/leases?fieldManager=evenkeel"
    )]
    #[case::slot(
        slot("4"),
        "PUT",
        "/apis/coordination.k8s.io/v1/namespaces/ops/leases/evenkeel-remedy?fieldManager=evenkeel"
    )]
    #[case::record(
        Request::ReadRecord("r".into()),
        "GET",
        "/apis/evenkeel.dev/v1alpha1/namespaces/ops/remediations/r"
    )]
    fn each_request_has_its_path(#[case] request: Request, #[case] method: &str, #[case] path: &str) {
        let http = http_of(&request, "ops", Wall(0)).unwrap();
        assert_eq!(
            (http.method().as_str(), http.uri().to_string().as_str()),
            (method, path)
        );
        let resource = http
            .uri()
            .path()
            .split('/')
            .any(|part| RIGHTS.iter().any(|one| one.resource == part));
        assert!(resource, "no right names it");
    }

    #[rstest]
    #[case::gone(404, Reply::Absent)]
    #[case::gone_for_good(410, Reply::Absent)]
    #[case::changed(409, Reply::Conflict)]
    #[case::test_fails(422, Reply::Conflict)]
    #[case::busy(429, Reply::Busy)]
    #[case::forbidden(403, Reply::Refused(403))]
    #[case::server(500, Reply::Lost)]
    #[case::timeout(504, Reply::Lost)]
    fn each_refusal_has_one_meaning(#[case] code: u16, #[case] expected: Reply) {
        let refused = RequestError::Refused(Refusal {
            code,
            message: String::new(),
            after: None,
        });
        assert_eq!(reply_of(&patch(), Err(&refused)), expected);
        // A record that the definition refuses is no conflict.
        if code == 422 {
            let read = Request::ReadRecord("r".into());
            assert_eq!(reply_of(&read, Err(&refused)), Reply::Refused(422));
        }
    }

    #[rstest]
    #[case::by_our_policy(
        422,
        "ValidatingAdmissionPolicy 'evenkeel-nodes' denied the request",
        Reply::Narrowed
    )]
    #[case::by_another(
        422,
        "ValidatingAdmissionPolicy 'theirs' denied the request",
        Reply::Refused(422)
    )]
    #[case::without_the_right(403, "nodes is forbidden", Reply::Refused(403))]
    #[case::server(500, "evenkeel-nodes", Reply::Lost)]
    fn rights_are_narrowed_where_our_policy_refuses(
        #[case] code: u16,
        #[case] message: &str,
        #[case] expected: Reply,
    ) {
        let asked = Request::TryForbidden("n1".into());
        let refused = RequestError::Refused(Refusal {
            code,
            message: message.into(),
            after: None,
        });
        assert_eq!(reply_of(&asked, Err(&refused)), expected);
        assert_eq!(
            reply_of(&asked, Ok(node().to_string().as_bytes())),
            Reply::NotNarrowed
        );
    }

    #[test]
    fn half_an_answer_is_none() {
        let whole = node().to_string();
        let act = patch();
        assert!(matches!(reply_of(&act, Ok(whole.as_bytes())), Reply::Node(_)));
        for cut in 0..whole.len() {
            assert_eq!(reply_of(&act, Ok(&whole.as_bytes()[..cut])), Reply::Lost);
        }
        assert_eq!(reply_of(&Request::ReadSlot, Ok(whole.as_bytes())), Reply::Lost);
        let broken = RequestError::Broken("reset".into());
        assert_eq!(reply_of(&act, Err(&broken)), Reply::Lost);
        let slot = json!({"metadata": {"resourceVersion": "4", "annotations": {"evenkeel.dev/term": "7"}}});
        let read = reply_of(&Request::ReadSlot, Ok(slot.to_string().as_bytes()));
        assert!(matches!(read, Reply::Slot(slot) if slot.term == 7 && slot.holder.is_none()));
    }
}
