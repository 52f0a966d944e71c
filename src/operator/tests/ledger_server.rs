//! What an API server makes of the requests of a remedy: records, the slot, stop, and Nodes.

use evenkeel_core::drive::{Approval, LiveNode, NodePatch, RemediationRecord, Reply, Request, SlotLease};
use evenkeel_core::know::Source;
use serde_json::{Value, json};

use super::super::Event;
use super::world::World;

pub(super) const NAMESPACE: &str = "evenkeel-system";

/// What remedies need beside objects that are watched.
#[derive(Debug, Default)]
pub(super) struct LedgerServer {
    slot: Option<Value>,
    /// Whether people said stop.
    pub(super) stop: bool,
    /// Whether nothing narrows the right to change Nodes.
    pub(super) wide: bool,
    /// What people have said.
    pub(super) approvals: Vec<Value>,
    /// Whether two of five replies are lost, one of a request that was carried out.
    pub(super) loses: bool,
    lost: usize,
    /// Each request that was carried out, in a word.
    pub(super) words: Vec<&'static str>,
}

fn word(request: &Request) -> &'static str {
    match request {
        Request::ListRecords(_) => "list records",
        Request::DeleteRecord(_) => "delete record",
        Request::ListApprovals(_) => "list approvals",
        Request::CreateRecord(_) => "create record",
        Request::ReadRecord(_) => "read record",
        Request::WriteRecord(_) => "write record",
        Request::ReadSlot => "read slot",
        Request::WriteSlot(_) => "write slot",
        Request::TryForbidden(_) => "dry run",
        Request::ReadStop => "read stop",
        Request::ReadNode(_) => "read node",
        Request::PatchNode(_, patch) if patch.adds_fence() => "fence",
        Request::PatchNode(_, patch) if patch.taints.is_some() => "unfence",
        Request::PatchNode(..) => "touch",
    }
}

impl World {
    /// Answers the request of a remedy that is under way, if there is one.
    pub(super) fn answer_remedy(&mut self) -> bool {
        let Some(outgoing) = self.remedy.take() else {
            return false;
        };
        self.ledger.lost += usize::from(self.ledger.loses);
        let reply = if self.ledger.lost % 5 == 1 {
            Reply::Lost
        } else {
            self.ledger.words.push(word(&outgoing.request));
            let reply = self.carry_out_remedy(&outgoing.request);
            if self.ledger.lost % 4 == 3 {
                Reply::Lost
            } else {
                reply
            }
        };
        self.step(Event::RemedyReply {
            id: outgoing.id,
            reply,
        });
        true
    }

    /// How often a request of this word was carried out.
    pub(super) fn times(&self, word: &str) -> usize {
        self.ledger.words.iter().filter(|one| **one == word).count()
    }

    /// What is stored of remediations.
    pub(super) fn records(&self) -> Vec<RemediationRecord> {
        let stored = self.all(Source::Remediations);
        stored.map(|one| RemediationRecord::parse(one).unwrap()).collect()
    }

    pub(super) fn carry_out_remedy(&mut self, request: &Request) -> Reply {
        match request {
            Request::ListRecords(_) => Reply::Records(self.records(), None),
            Request::ListApprovals(_) => {
                let approvals = self.ledger.approvals.iter().filter_map(Approval::parse);
                Reply::Approvals(approvals.collect(), None)
            }
            Request::DeleteRecord(record) => {
                if !matches!(self.record(&record.name), Reply::Record(one) if one.version == record.version) {
                    return Reply::Conflict;
                }
                self.delete(Source::Remediations, NAMESPACE, &record.name);
                Reply::Absent
            }
            Request::CreateRecord(record) => {
                if self.record(&record.name) != Reply::Absent {
                    return Reply::Conflict;
                }
                let mut object = record.json(NAMESPACE);
                object["metadata"]["creationTimestamp"] = self.now.wall.to_string().into();
                self.put(Source::Remediations, object);
                self.record(&record.name)
            }
            Request::ReadRecord(name) => self.record(name),
            Request::WriteRecord(record) => {
                let Some(stored) = self.stored(Source::Remediations, NAMESPACE, &record.name) else {
                    return Reply::Absent;
                };
                let mut object = stored.clone();
                if object["metadata"]["resourceVersion"] != *record.version {
                    return Reply::Conflict;
                }
                object["status"] = record.status_json(self.now.wall)["status"].clone();
                self.put(Source::Remediations, object);
                self.record(&record.name)
            }
            Request::ReadSlot => {
                let slot = self.ledger.slot.as_ref();
                slot.map_or(Reply::Absent, |slot| Reply::Slot(SlotLease::parse(slot).unwrap()))
            }
            Request::WriteSlot(slot) => self.write_slot(slot),
            Request::TryForbidden(_) if self.ledger.wide => Reply::NotNarrowed,
            Request::TryForbidden(_) => Reply::Narrowed,
            Request::ReadStop if self.ledger.stop => Reply::Stop,
            Request::ReadStop => Reply::Absent,
            Request::ReadNode(name) => self.node(name),
            Request::PatchNode(name, patch) => self.patch_node(name, patch),
        }
    }

    fn record(&self, name: &str) -> Reply {
        let stored = self.stored(Source::Remediations, NAMESPACE, name);
        stored.map_or(Reply::Absent, |object| {
            Reply::Record(Box::new(RemediationRecord::parse(object).unwrap()))
        })
    }

    fn node(&self, name: &str) -> Reply {
        let stored = self.stored(Source::Nodes, "", name);
        stored.map_or(Reply::Absent, |object| {
            Reply::Node(Box::new(LiveNode::parse(object).unwrap()))
        })
    }

    fn write_slot(&mut self, slot: &SlotLease) -> Reply {
        let version = self.ledger.slot.as_ref().map_or_else(String::new, |held| {
            held["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
        });
        if version != slot.version {
            return Reply::Conflict;
        }
        let mut object = slot.json(NAMESPACE);
        object["metadata"]["resourceVersion"] = self.next_version().to_string().into();
        let reply = Reply::Slot(SlotLease::parse(&object).unwrap());
        self.ledger.slot = Some(object);
        reply
    }

    fn patch_node(&mut self, name: &str, patch: &NodePatch) -> Reply {
        let Some(stored) = self.stored(Source::Nodes, "", name) else {
            return Reply::Absent;
        };
        let mut object = stored.clone();
        let metadata = &object["metadata"];
        if metadata["uid"] != *patch.uid || metadata["resourceVersion"] != *patch.version {
            return Reply::Conflict;
        }
        if let Some(taints) = &patch.taints {
            object["spec"]["taints"] = json!(taints);
        }
        if object["metadata"]["annotations"].is_null() {
            object["metadata"]["annotations"] = json!({});
        }
        for (key, value) in &patch.annotations {
            let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
            match value {
                Some(value) => annotations.insert((*key).to_owned(), value.clone().into()),
                None => annotations.remove(*key),
            };
        }
        self.put(Source::Nodes, object);
        self.node(name)
    }
}
