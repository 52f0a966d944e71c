//! Invariants of every request of the operator, whatever it is for.

use std::collections::{BTreeMap, VecDeque};

use evenkeel_core::sources::claim::FENCE;
use serde_json::Value;

use super::log::{AuditedRequest, History, taints};
use super::{Invariant, Limits};

pub(super) const PRECONDITIONS: Invariant = Invariant {
    id: "I7 Preconditions",
    says: "a Node is changed by a patch that tests uid and version, and by nothing else",
    look: |history, limits| {
        of_writes(history, limits, |write| {
            // By a dry run it is found out whether the right to change Nodes is narrowed: nothing is changed.
            if write.resource != "nodes" || write.uri.contains("dryRun=All") {
                return None;
            }
            if write.verb != "patch" {
                return Some("not a patch".into());
            }
            let paths = ["/metadata/uid", "/metadata/resourceVersion"];
            let missing = paths.iter().find(|path| write.step("test", path).is_none());
            missing.map(|path| format!("no test of {path}"))
        })
    },
};

/// What of a Node is not evenkeel's: its spec without evenkeel's taint, its labels, and annotations of others.
fn of_others(node: &Value) -> Value {
    let mut node = node.clone();
    let theirs: Vec<_> = taints(&node["spec"]["taints"])
        .filter(|one| one["key"] != FENCE)
        .cloned()
        .collect();
    node["spec"]["taints"] = theirs.into();
    let metadata = &node["metadata"];
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let annotations: BTreeMap<_, _> = annotations
        .filter(|(key, _)| !key.starts_with("evenkeel.dev/fence-"))
        .collect();
    serde_json::json!({"spec": node["spec"], "labels": metadata["labels"], "annotations": annotations,
        "finalizers": metadata["finalizers"], "owners": metadata["ownerReferences"]})
}

/// The path of a step of a JSON patch that writes something that is not evenkeel's.
fn step_beyond(request: &AuditedRequest) -> Option<&str> {
    let others =
        |list: &Value| -> Vec<Value> { taints(list).filter(|one| one["key"] != FENCE).cloned().collect() };
    let before = request
        .step("test", "/spec/taints")
        .map(others)
        .unwrap_or_default();
    let own = |step: &&Value| match step["path"].as_str().unwrap_or_default() {
        "/spec/taints" => others(&step["value"]) == before,
        "/metadata/annotations" => {
            let mut keys = step["value"].as_object().into_iter().flatten();
            keys.all(|(key, _)| key.starts_with("evenkeel.dev/fence-"))
        }
        path => path.starts_with("/metadata/annotations/evenkeel.dev~1fence-"),
    };
    let steps = request.body.as_array().into_iter().flatten();
    let mut writes = steps.filter(|step| step["op"] != "test");
    writes.find(|step| !own(step))?["path"].as_str()
}

pub(super) const FENCE_ALONE: Invariant = Invariant {
    id: "I11 Fence alone",
    says: "of a Node nothing changes but evenkeel's taint and annotations",
    look: |history, limits| {
        let mut broken = Vec::new();
        history.walk(|stored, request| {
            let ours = request.user == limits.account && request.resource.split('/').next() == Some("nodes");
            if ours && let Some(path) = step_beyond(request) {
                broken.push(place(request, &format!("it writes {path}")));
            }
            // The first write of a Node may come before anything that the log shows of it.
            let Some(before) = stored.nodes.get(&*request.name).filter(|_| ours) else {
                return;
            };
            if before["metadata"]["uid"] == request.answer["metadata"]["uid"]
                && of_others(before) != of_others(&request.answer)
            {
                broken.push(place(request, "something of others changed"));
            }
        });
        broken
    },
};

pub(super) const ONE_END: Invariant = Invariant {
    id: "I19 One end",
    says: "a record that is finished stays as it ended",
    look: |history, limits| {
        let ending = |record: &Value| {
            let mut conditions = taints(&record["status"]["conditions"]);
            conditions
                .find(|one| one["type"] == "Finished")
                .map(|one| one["reason"].clone())
        };
        let mut broken = Vec::new();
        history.walk(|stored, request| {
            if request.resource != "remediations/status" || request.user != limits.account {
                return;
            }
            let before = stored
                .records
                .get(&*request.name)
                .and_then(|record| ending(record));
            let after = ending(&request.answer);
            if let Some(before) = before.filter(|before| after.as_ref() != Some(before)) {
                broken.push(place(request, &format!("{before}, and then {after:?}")));
            }
        });
        broken
    },
};

/// Milliseconds over which requests are counted.
const WINDOW: i64 = 10_000;

pub(super) const REQUESTS: Invariant = Invariant {
    id: "I23 Requests",
    says: "no more requests are sent within ten seconds than are allowed",
    look: |history, limits| {
        let mut window = VecDeque::new();
        let over = history.by(&limits.account).find(|one| {
            window.push_back(one.came);
            while window.front().is_some_and(|at| one.came - at >= WINDOW) {
                window.pop_front();
            }
            window.len() > limits.requests
        });
        over.map(|one| place(one, &format!("more than {} within ten seconds", limits.requests)))
            .into_iter()
            .collect()
    },
};

pub(super) const RIGHTS: Invariant = Invariant {
    id: "I24 Rights",
    says: "only what is published is asked for, and nothing of it is refused for want of a right",
    look: |history, limits| {
        let refused = history.by(&limits.account).filter(|one| one.code == 403);
        let mut broken: Vec<_> = refused
            .map(|one| place(one, "refused for want of a right"))
            .collect();
        if !limits.rights.is_empty() {
            broken.extend(of_writes(history, limits, |write| {
                let known = limits.rights.contains(&(&*write.verb, &*write.resource));
                (!known).then(|| "no published right".to_owned())
            }));
        }
        broken
    },
};

pub(super) const SECRETS: Invariant = Invariant {
    id: "I25 Secrets",
    says: "no request holds what is secret",
    look: |history, limits| {
        of_writes(history, limits, |write| {
            let text = write.body.to_string();
            let secret = limits.secrets.iter().find(|secret| text.contains(&***secret));
            secret.map(|_| "it holds a secret".to_owned())
        })
    },
};

fn of_writes(
    history: &History,
    limits: &Limits,
    wrong: impl Fn(&AuditedRequest) -> Option<String>,
) -> Vec<String> {
    let writes = history.by(&limits.account).filter(|one| one.writes());
    writes.filter_map(|one| Some(place(one, &wrong(one)?))).collect()
}

fn place(request: &AuditedRequest, what: &str) -> String {
    let AuditedRequest {
        verb,
        resource,
        name,
        code,
        ..
    } = request;
    format!("{verb} {resource} {name}, answered {code}: {what}")
}
