//! The slot: one act at a time in the cluster. A Lease of its own, changed by compare-and-swap.

use serde_json::{Value, json};

/// Name of the Lease in the operator's namespace.
pub const SLOT: &str = "evenkeel-remedy";
/// Annotation of the Lease: the term of the leader that last wrote it.
const TERM: &str = "evenkeel.dev/term";
/// Annotations of the Lease: name and uid of the Node that its holder is about.
const TARGET: [&str; 2] = ["evenkeel.dev/target", "evenkeel.dev/target-uid"];

/// The slot as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlotLease {
    /// Its resourceVersion; empty where it does not exist yet.
    pub version: String,
    /// The term of the leader that last wrote it.
    pub term: u64,
    /// The record that has it.
    pub holder: Option<SlotHolder>,
}

/// The record that has the slot. The Node stands beside the record's name: the record may have been deleted since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotHolder {
    /// Name of the record.
    pub record: String,
    /// Name of the Node.
    pub node: String,
    /// uid of the Node.
    pub node_uid: String,
}

impl SlotLease {
    /// The object to write; a create where it does not exist yet.
    pub fn json(&self, namespace: &str) -> Value {
        let holder = self.holder.as_ref();
        let [node, uid] = TARGET;
        let mut object = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": SLOT, "namespace": namespace, "annotations": {TERM: self.term.to_string()}},
            "spec": {"holderIdentity": holder.map_or("", |one| one.record.as_str())},
        });
        if let Some(holder) = holder {
            object["metadata"]["annotations"][node] = holder.node.clone().into();
            object["metadata"]["annotations"][uid] = holder.node_uid.clone().into();
        }
        if !self.version.is_empty() {
            object["metadata"]["resourceVersion"] = self.version.clone().into();
        }
        object
    }

    /// Reads the object; `None` of one that no version of evenkeel wrote: then nothing is done.
    pub fn parse(object: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let annotations = &object["metadata"]["annotations"];
        let [node, uid] = TARGET;
        let holder = match text(&object["spec"]["holderIdentity"]) {
            None => None,
            Some(record) => Some(SlotHolder {
                record,
                node: text(&annotations[node])?,
                node_uid: text(&annotations[uid])?,
            }),
        };
        Some(Self {
            version: text(&object["metadata"]["resourceVersion"])?,
            term: text(&annotations[TERM])?.parse().ok()?,
            holder,
        })
    }
}
