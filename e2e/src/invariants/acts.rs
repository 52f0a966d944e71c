//! Invariants of acts: a committed write of the operator that adds evenkeel's taint to a Node.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::drive::TERM;
use evenkeel_core::sources::claim::{HANDS_OFF, MARKS, Mark};
use serde_json::Value;

use super::log::{AuditedRequest, History, Stored, is_fenced, record_of, taints};
use super::{Invariant, Limits};

pub(super) const DECLARED: Invariant = Invariant {
    id: "I1 Declared",
    says: "an act has one earlier record, of the same node",
    look: |history, limits| {
        of_acts(history, limits, |stored, act| {
            let name = record_of(&act.answer);
            match stored.records.get(name) {
                None => Some(format!("no record {name:?}")),
                Some(record) => {
                    let uid = &record["spec"]["target"]["uid"];
                    (*uid != act.answer["metadata"]["uid"]).then(|| format!("record {name} is of uid {uid}"))
                }
            }
        })
    },
};

pub(super) const ONCE: Invariant = Invariant {
    id: "I2 Once",
    says: "a record is acted on at most once",
    look: |history, limits| {
        let mut seen = BTreeMap::new();
        of_acts(history, limits, |stored, act| {
            let name = record_of(&act.answer);
            // When a record was deleted as it is old, its name may be used again.
            let uid = stored.records.get(name).map(|one| one["metadata"]["uid"].clone());
            let before = seen.insert((name.to_owned(), uid.map(|uid| uid.to_string())), act.version());
            before.map(|version| format!("at version {version} already"))
        })
    },
};

pub(super) const COOLDOWN: Invariant = Invariant {
    id: "I2 Cooldown",
    says: "a node is not fenced again before its cooldown has passed",
    look: |history, limits| {
        let mut last = BTreeMap::new();
        of_acts(history, limits, |_, act| {
            let uid = act.answer["metadata"]["uid"].to_string();
            let before = last.insert(uid, act.came)?;
            let passed = (act.came - before) / 1000;
            (passed < limits.cooldown_seconds).then(|| format!("{passed} s after the last"))
        })
    },
};

pub(super) const BUDGET: Invariant = Invariant {
    id: "I3 Budget",
    says: "no more nodes are fenced at a time than are allowed",
    look: |history, limits| {
        of_acts(history, limits, |stored, _| {
            let fenced = stored.nodes.values().filter(|node| is_fenced(node)).count() + 1;
            (fenced > limits.nodes).then(|| format!("{fenced} of {}", limits.nodes))
        })
    },
};

pub(super) const RATE: Invariant = Invariant {
    id: "I4 Rate",
    says: "no more fences are made within an hour than are allowed",
    look: |history, limits| {
        let mut times: Vec<i64> = Vec::new();
        of_acts(history, limits, |_, act| {
            times.push(act.came);
            let within = times.iter().filter(|&&at| act.came - at < 3_600_000).count();
            (within > limits.per_hour).then(|| format!("{within} of {}", limits.per_hour))
        })
    },
};

/// The term of the leader that sent a write, where the write names it.
fn term_of(request: &AuditedRequest) -> Option<u64> {
    let text = match (&*request.resource, &*request.verb) {
        ("remediations", "create") => &request.body["spec"]["term"],
        ("leases", _) => &request.body["metadata"]["annotations"]["evenkeel.dev/term"],
        ("nodes", _) => request.step(
            "add",
            &format!("/metadata/annotations/{}", TERM.replace('/', "~1")),
        )?,
        _ => return None,
    };
    text.as_str()?.split('.').next()?.parse().ok()
}

pub(super) const TERMS: Invariant = Invariant {
    id: "I5 Terms",
    says: "nothing of an older leader is done after a write of a newer one",
    look: |history, limits| {
        let mut newest = 0;
        let mut broken = Vec::new();
        history.walk(|stored, request| {
            if request.user != limits.account {
                return;
            }
            if request.adds_fence() {
                let record = stored.records.get(record_of(&request.answer));
                let by_record = record.map(|one| &one["spec"]["term"]);
                let by_slot = stored
                    .slot
                    .map(|one| &one["metadata"]["annotations"]["evenkeel.dev/term"]);
                // What waited for a person may be carried out by a later leader than stored it.
                let waited = record.is_some_and(|one| asks(one));
                let term = if waited { by_slot } else { by_record };
                let term = term.and_then(|term| term.as_str()?.parse::<u64>().ok());
                if term.is_some_and(|term| term < newest) {
                    broken.push(place(
                        request,
                        &format!("its term is {term:?}, and {newest} has written"),
                    ));
                }
            }
            newest = newest.max(term_of(request).unwrap_or(0));
        });
        broken
    },
};

pub(super) const ONE_AT_A_TIME: Invariant = Invariant {
    id: "I21 One at a time",
    says: "an act has the slot",
    look: |history, limits| {
        of_acts(history, limits, |stored, act| {
            let holder = stored.slot.map(|slot| &slot["spec"]["holderIdentity"]);
            (holder.and_then(Value::as_str) != Some(record_of(&act.answer)))
                .then(|| format!("the slot is held by {holder:?}"))
        })
    },
};

/// Milliseconds within which a node must have been read before its act.
const READ_WITHIN: i64 = 30_000;

pub(super) const LIVE_READ: Invariant = Invariant {
    id: "I8 Live read",
    says: "a node is read by the quorum before it is changed",
    look: |history, limits| {
        of_acts(history, limits, |_, act| {
            let read = history.by(&limits.account).any(|one| {
                one.verb == "get"
                    && one.resource == "nodes"
                    && one.name == act.name
                    && one.code == 200
                    && !one.uri.contains("resourceVersion=")
                    && one.answered <= act.came
                    && act.came - one.came <= READ_WITHIN
            });
            (!read).then(|| "it was not".to_owned())
        })
    },
};

/// Milliseconds in which a fence that people removed is not made again.
const DAY: i64 = 86_400_000;

pub(super) const PEOPLE_WIN: Invariant = Invariant {
    id: "I12 People win",
    says: "a fence that somebody else removed is not made again within a day",
    look: |history, limits| {
        let mut removed = BTreeMap::new();
        let mut broken = Vec::new();
        history.walk(|stored, request| {
            if request.resource != "nodes" {
                return;
            }
            let uid = request.answer["metadata"]["uid"].to_string();
            let name = request.answer["metadata"]["name"].as_str().unwrap_or_default();
            let before = stored.nodes.get(name).is_some_and(|node| is_fenced(node));
            if request.user != limits.account && before && !is_fenced(&request.answer) {
                removed.insert(uid, request.came);
            } else if request.user == limits.account && request.adds_fence() {
                let since = removed.get(&uid).map(|at| request.came - at);
                if let Some(since) = since.filter(|since| *since < DAY) {
                    broken.push(place(request, &format!("{} s after that", since / 1000)));
                }
            }
        });
        broken
    },
};

pub(super) const PROTECTED: Invariant = Invariant {
    id: "I15 Protected",
    says: "no node of the control plane is fenced, and none that people keep for themselves",
    look: |history, limits| {
        of_acts(history, limits, |_, act| {
            let metadata = &act.answer["metadata"];
            let labels = [
                "node-role.kubernetes.io/control-plane",
                "node-role.kubernetes.io/master",
            ];
            let label = labels.iter().find(|one| metadata["labels"].get(**one).is_some());
            let kept = metadata["annotations"]
                .get(HANDS_OFF)
                .filter(|value| *value != "false");
            label
                .map(|label| format!("label {label}"))
                .or_else(|| kept.map(|_| format!("annotation {HANDS_OFF}")))
        })
    },
};

pub(super) const OTHERS: Invariant = Invariant {
    id: "I26 Others",
    says: "no node is fenced that people or another controller hold",
    look: |history, limits| {
        of_acts(history, limits, |_, act| {
            let node = &act.answer;
            if node["spec"]["unschedulable"] == true {
                return Some("it is cordoned".into());
            }
            if node["metadata"].get("deletionTimestamp").is_some() {
                return Some("it is being deleted".into());
            }
            let annotation = |key: &str| node["metadata"]["annotations"].get(key);
            let held = MARKS.iter().find(|(_, mark, _)| match mark {
                Mark::Taint(key) => taints(&node["spec"]["taints"]).any(|taint| {
                    let has = taint["key"].as_str().unwrap_or_default();
                    has == *key || key.ends_with('/') && has.starts_with(key)
                }),
                Mark::Annotation(key) => *key != HANDS_OFF && annotation(key).is_some(),
                Mark::AnnotationPrefix(key, prefix) => {
                    let value = annotation(key).and_then(Value::as_str);
                    value.is_some_and(|value| value.starts_with(prefix))
                }
            });
            held.map(|(holder, ..)| format!("by {}", holder.name()))
        })
    },
};

/// Milliseconds that the API server may take to learn of a stop.
const LEARNS_WITHIN: i64 = 10_000;

pub(super) const STOPPED: Invariant = Invariant {
    id: "I17 Stopped",
    says: "nothing is fenced while people say stop",
    look: |history, limits| {
        let of_stop = |one: &&AuditedRequest| {
            let name = one.body["metadata"]["name"].as_str().unwrap_or(&one.name);
            one.resource == "configmaps"
                && one.namespace == limits.namespace
                && one.is_committed()
                && name == evenkeel::remedy::STOP
        };
        // When each stop was said, and when somebody began to take it back.
        let mut stops: Vec<(i64, i64)> = Vec::new();
        for one in history.requests.iter().filter(of_stop) {
            match (&*one.verb, stops.last_mut()) {
                ("create", _) => stops.push((one.answered, i64::MAX)),
                ("delete", Some(last)) => last.1 = one.came,
                _ => {}
            }
        }
        of_acts(history, limits, |_, act| {
            let in_force = |(said, back): &&(i64, i64)| act.came > said + LEARNS_WITHIN && act.came < *back;
            let stop = stops.iter().find(in_force)?;
            Some(format!("{} ms after stop", act.came - stop.0))
        })
    },
};

pub(super) const SETTLED: Invariant = Invariant {
    id: "I20 Settled",
    says: "at the end a fence of ours has an open record, and an open record its fence",
    look: |history, limits| {
        if !limits.settled {
            return Vec::new();
        }
        let mut ours = BTreeSet::new();
        let end = history.walk(|_, request| {
            if request.user == limits.account && request.adds_fence() {
                ours.insert(record_of(&request.answer).to_owned());
            }
        });
        let fenced = |node: &&&Value| is_fenced(node) && ours.contains(record_of(node));
        let open = |name: &str| end.records.get(name).is_some_and(|one| is_open(one));
        let without_record = end
            .nodes
            .values()
            .filter(fenced)
            .filter(|node| !open(record_of(node)));
        let broken = without_record
            .map(|node| format!("{} is fenced for a record that is over", node["metadata"]["name"]));
        let without_fence = end.records.iter().filter(|(name, record)| {
            let node = record["spec"]["target"]["name"].as_str().unwrap_or_default();
            is_open(record)
                && !waits(record)
                && !end
                    .nodes
                    .get(node)
                    .is_some_and(|node| is_fenced(node) && record_of(node) == **name)
        });
        broken
            .chain(
                without_fence
                    .map(|(name, _)| format!("record {name} is open, and its node is not fenced for it")),
            )
            .collect()
    },
};

pub(super) const APPROVED: Invariant = Invariant {
    id: "I17 Approved",
    says: "what needs a person's yes is done after one, to this plan of this record, by the user that it names",
    look: |history, limits| {
        of_acts(history, limits, |stored, act| {
            let record = stored
                .records
                .get(record_of(&act.answer))
                .filter(|one| asks(one))?;
            let mut conditions = taints(&record["status"]["conditions"]);
            if !conditions.any(|one| one["type"] == "Approved" && one["status"] == "True") {
                return Some("its record does not say that anybody agreed".into());
            }
            let approves = |one: &&AuditedRequest| {
                let spec = &one.body["spec"];
                one.resource == "remediationapprovals"
                    && one.verb == "create"
                    && one.is_committed()
                    && one.answered <= act.came
                    && one.user != limits.account
                    && spec["by"] == *one.user
                    && spec["decision"] == "Approve"
                    && spec["remediationUID"] == record["metadata"]["uid"]
                    && spec["planHash"] == record["spec"]["planHash"]
            };
            let found = history.requests.iter().find(approves);
            found.is_none().then(|| "nobody agreed to its plan before".into())
        })
    },
};

/// Whether a person has to agree to what a record plans.
fn asks(record: &Value) -> bool {
    record["spec"].get("approvalReason").is_some()
}

/// Whether a record waits for a person.
fn waits(record: &Value) -> bool {
    let mut conditions = taints(&record["status"]["conditions"]);
    asks(record) && !conditions.any(|one| one["type"] == "Approved" && one["status"] == "True")
}

/// Whether a record is not finished.
fn is_open(record: &Value) -> bool {
    let mut conditions = taints(&record["status"]["conditions"]);
    !conditions.any(|one| one["type"] == "Finished" && one["status"] == "True")
}

/// What `wrong` finds of each act.
fn of_acts<'h>(
    history: &'h History,
    limits: &Limits,
    mut wrong: impl FnMut(&Stored<'h>, &AuditedRequest) -> Option<String>,
) -> Vec<String> {
    let mut broken = Vec::new();
    history.walk(|stored, request| {
        if request.user == limits.account && request.adds_fence() {
            broken.extend(wrong(stored, request).map(|what| place(request, &what)));
        }
    });
    broken
}

fn place(request: &AuditedRequest, what: &str) -> String {
    format!(
        "fence of node {} at version {}: {what}",
        request.name,
        request.version()
    )
}
