//! The Node as it was read for an act, and the patch of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::record::RemediationRecord;
use crate::sources::claim::FENCE;

/// Annotation of a fenced node: the name of the record that says why. All annotations of evenkeel's on Nodes begin with
/// `evenkeel.dev/fence-`, and an admission policy refuses it any other.
pub const RECORD: &str = "evenkeel.dev/fence-record";
/// Annotation of a fenced node: why, in one stable word.
pub const REASON: &str = "evenkeel.dev/fence-reason";
/// Annotation: the term of the leader that last touched the node, and how often it had.
pub const TERM: &str = "evenkeel.dev/fence-term";

/// A Node as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveNode {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub version: String,
    /// Its taints as they are written, those of others untouched.
    pub taints: Vec<Value>,
    /// Its annotations of evenkeel's; `None` where it has no annotations at all.
    pub annotations: Option<BTreeMap<String, String>>,
    /// The whole object as it was read, by which the guards are asked once more.
    pub object: Value,
}

impl LiveNode {
    /// Reads the object; `None` where it lacks what no stored Node lacks.
    pub fn parse(object: &Value) -> Option<Self> {
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
        let own = |all: &serde_json::Map<String, Value>| {
            let own = all
                .iter()
                .filter(|(key, _)| [RECORD, REASON, TERM].contains(&key.as_str()));
            own.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect()
        };
        Some(Self {
            name: text("/metadata/name")?,
            uid: text("/metadata/uid")?,
            version: text("/metadata/resourceVersion")?,
            taints: object
                .pointer("/spec/taints")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
            annotations: annotations.map(own),
            object: object.clone(),
        })
    }

    /// Whether it carries evenkeel's taint, no matter by whom.
    pub fn is_fenced(&self) -> bool {
        self.taints.iter().any(is_fence)
    }

    /// Whether it is fenced by this record: it names it, and the taint is as the record wrote it. One that people wrote
    /// otherwise is theirs.
    pub fn is_fenced_by(&self, record: &RemediationRecord) -> bool {
        self.names(&record.name) && self.has_taint_of(record)
    }

    /// Whether it carries the taint as this record writes it.
    pub fn has_taint_of(&self, record: &RemediationRecord) -> bool {
        self.taints.iter().any(|one| is_taint_of(record, one))
    }

    /// Whether it names this record as the last that fenced it.
    pub fn names(&self, record: &str) -> bool {
        let by = self.annotations.as_ref().and_then(|all| all.get(RECORD));
        by.is_some_and(|by| by == record)
    }

    /// Fences it.
    pub fn fence(&self, record: &RemediationRecord) -> NodePatch {
        let mut taints = self.taints.clone();
        taints.push(json!({"key": FENCE, "effect": record.effect.name()}));
        let annotations = [
            (RECORD, Some(record.name.clone())),
            (REASON, Some(record.cause.clone())),
        ];
        self.patch(Some(taints), annotations)
    }

    /// Takes the taint of this record away, and nothing else.
    pub fn unfence(&self, record: &RemediationRecord) -> NodePatch {
        let taints = self.taints.iter().filter(|one| !is_taint_of(record, one));
        let taints = taints.cloned().collect();
        self.patch(Some(taints), [(RECORD, None), (REASON, None)])
    }

    /// Takes away all of evenkeel's, the taint and every annotation, for people who undo a fence without the operator. `None`
    /// where there is nothing of it.
    pub fn cleared(&self) -> Option<NodePatch> {
        let fenced = self.is_fenced();
        let rest = || self.taints.iter().filter(|one| !is_fence(one)).cloned().collect();
        let annotations = [(RECORD, None), (REASON, None), (TERM, None)];
        let patch = self.patch(fenced.then(rest), annotations);
        (fenced || !patch.annotations.is_empty()).then_some(patch)
    }

    /// Changes nothing but its version, so that what is under way to it is refused when it comes: an act that changes
    /// nothing would leave the version as it is, so the term is written, and how often that was done.
    pub fn touch(&self, term: u64) -> NodePatch {
        let before = self.annotations.as_ref().and_then(|all| all.get(TERM));
        let count = before
            .and_then(|before| before.split_once('.'))
            .filter(|(of, _)| *of == term.to_string())
            .and_then(|(_, count)| count.parse::<u32>().ok())
            .unwrap_or(0);
        let value = format!("{term}.{}", count.saturating_add(1));
        self.patch(None, [(TERM, Some(value))])
    }

    fn patch<const N: usize>(
        &self,
        taints: Option<Vec<Value>>,
        annotations: [(&'static str, Option<String>); N],
    ) -> NodePatch {
        let has = |key: &str| self.annotations.as_ref().is_some_and(|all| all.contains_key(key));
        // One that is not there cannot be removed.
        let annotations = annotations
            .into_iter()
            .filter(|(key, value)| value.is_some() || has(key));
        NodePatch {
            uid: self.uid.clone(),
            version: self.version.clone(),
            before: self.taints.clone(),
            taints,
            annotations: annotations.collect(),
            first_annotation: self.annotations.is_none(),
        }
    }
}

/// Whether a taint is evenkeel's.
pub fn is_fence(taint: &Value) -> bool {
    taint["key"] == FENCE
}

/// Whether a taint is as this record writes it.
fn is_taint_of(record: &RemediationRecord, taint: &Value) -> bool {
    let value = taint["value"].as_str().unwrap_or("");
    is_fence(taint) && taint["effect"] == record.effect.name() && value.is_empty()
}

/// A change of one Node, for the version that was read and no other. Taints are one atomic list, so the whole of it is
/// written: after a change of anybody else the patch is refused, and nothing of theirs is lost.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePatch {
    /// The uid that the Node must have.
    pub uid: String,
    /// The resourceVersion that it must have.
    pub version: String,
    /// The taints that it must have.
    pub before: Vec<Value>,
    /// The taints that it gets; `None` leaves them.
    pub taints: Option<Vec<Value>>,
    /// Annotations that it gets, or that are removed.
    pub annotations: BTreeMap<&'static str, Option<String>>,
    /// Whether it has no annotations yet.
    pub first_annotation: bool,
}

impl NodePatch {
    /// Whether it adds evenkeel's taint.
    pub fn adds_fence(&self) -> bool {
        let fenced = |taints: &[Value]| taints.iter().any(is_fence);
        self.taints.as_deref().is_some_and(fenced) && !fenced(&self.before)
    }

    /// As a JSON patch (RFC 6902): its tests first.
    pub fn json(&self) -> Value {
        let mut steps = vec![
            json!({"op": "test", "path": "/metadata/uid", "value": self.uid}),
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": self.version}),
        ];
        if let Some(taints) = &self.taints {
            // A list that is not there cannot be tested; the version says that it is not.
            if !self.before.is_empty() {
                steps.push(json!({"op": "test", "path": "/spec/taints", "value": self.before}));
            }
            steps.push(json!({"op": "add", "path": "/spec/taints", "value": taints}));
        }
        if self.first_annotation {
            let added: BTreeMap<_, _> = self.annotations.iter().filter(|one| one.1.is_some()).collect();
            steps.push(json!({"op": "add", "path": "/metadata/annotations", "value": added}));
            return Value::Array(steps);
        }
        for (key, value) in &self.annotations {
            // RFC 6901: a slash in a key is written as ~1.
            let path = format!("/metadata/annotations/{}", key.replace('/', "~1"));
            steps.push(match value {
                Some(value) => json!({"op": "add", "path": path, "value": value}),
                None => json!({"op": "remove", "path": path}),
            });
        }
        Value::Array(steps)
    }
}
