//! A small model of an API server: objects with versions and uids, and a log of what was committed.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::drive::{
    Approval, LiveNode, NodePatch, PersonAnswer, Phase, RECORD, RemediationRecord, Reply, Request, SlotLease,
    is_fence,
};
use serde_json::Value;

/// A precondition that is taken away, so that the checker has to notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// Patches of Nodes are applied to whatever is there.
    NoVersion,
    /// A Node of the same name counts as the same Node.
    NoUid,
    /// Whether people said stop is not read.
    NoStopRead,
    /// Nothing refuses an act that comes after people said stop.
    NoAdmission,
    /// The target is not touched when its act is lost.
    NoTouch,
    /// Nothing compares the slot's version, and it reads as free.
    NoSlot,
    /// A new leader does not claim the slot.
    NoClaim,
    /// A leader goes on after its Lease.
    NoPermit,
    /// Each record has a name of its own.
    AnyName,
    /// The record is not stored before the act.
    NoRecord,
    /// Guards are not asked when the target is read, and plans take no account of budgets.
    NoBudget,
    /// That people undid a fence does not count.
    NoRespect,
    /// An approval of any plan counts for every record.
    AnyPlan,
    /// What waits for a person counts as planned.
    NoWait,
}

impl Defect {
    pub(super) const ALL: [Self; 14] = [
        Self::NoVersion,
        Self::NoUid,
        Self::NoStopRead,
        Self::NoAdmission,
        Self::NoTouch,
        Self::NoSlot,
        Self::NoClaim,
        Self::NoPermit,
        Self::AnyName,
        Self::NoRecord,
        Self::NoBudget,
        Self::NoRespect,
        Self::AnyPlan,
        Self::NoWait,
    ];
}

/// Which leader sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) term: u64,
}

/// What broke, in words.
pub(super) type Broken = Vec<String>;

#[derive(Debug)]
pub(super) struct Server {
    version: u64,
    pub(super) defect: Option<Defect>,
    pub(super) nodes: BTreeMap<String, LiveNode>,
    before: BTreeMap<String, LiveNode>,
    pub(super) records: BTreeMap<String, RemediationRecord>,
    pub(super) slot: Option<SlotLease>,
    /// What people have said and not taken back.
    pub(super) approvals: Vec<Approval>,
    /// uids of records to whose plan somebody said yes, each with the hash that was looked at.
    agreed: BTreeSet<(String, String)>,
    pub(super) stop: bool,
    /// How often people have said stop or go.
    pub(super) words: u32,
    /// The newest term that has written the slot or touched a target.
    newest: u64,
    /// Committed fences by record.
    acts: BTreeMap<String, u32>,
    /// uids of Nodes from which people took the fence.
    pub(super) undone: Vec<String>,
    budget: usize,
    pub(super) fences: u32,
    pub(super) broken: Broken,
}

impl Server {
    pub(super) fn new(nodes: usize, budget: usize, defect: Option<Defect>) -> Self {
        let mut server = Self {
            version: 100,
            defect,
            nodes: BTreeMap::new(),
            before: BTreeMap::new(),
            records: BTreeMap::new(),
            slot: None,
            approvals: Vec::new(),
            agreed: BTreeSet::new(),
            stop: false,
            words: 0,
            newest: 0,
            acts: BTreeMap::new(),
            undone: Vec::new(),
            budget,
            fences: 0,
            broken: Vec::new(),
        };
        for at in 0..nodes {
            server.create_node(&format!("n{at}"));
        }
        server
    }

    /// The next version: of one counter, as in etcd.
    pub(super) fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// A Node of this name, with another uid than any before.
    pub(super) fn create_node(&mut self, name: &str) {
        let version = self.next_version().to_string();
        let node = LiveNode {
            name: name.to_owned(),
            uid: format!("u{version}"),
            version,
            taints: Vec::new(),
            annotations: Some(BTreeMap::new()),
            object: Value::Null,
        };
        self.store(node);
    }

    fn store(&mut self, node: LiveNode) {
        if let Some(before) = self.nodes.insert(node.name.clone(), node.clone()) {
            self.before.insert(node.name, before);
        }
    }

    /// Somebody else changes the taints of a Node.
    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut Vec<Value>)) {
        let Some(mut node) = self.nodes.get(name).cloned() else {
            return;
        };
        let fenced = node.is_fenced();
        change(&mut node.taints);
        if fenced && !node.is_fenced() {
            self.undone.push(node.uid.clone());
        }
        node.version = self.next_version().to_string();
        self.store(node);
    }

    /// The Node as it was before its last change, as a cache that is behind would show it.
    pub(super) fn old_node(&self, name: &str) -> Option<&LiveNode> {
        self.before.get(name)
    }

    pub(super) fn fenced(&self) -> usize {
        self.nodes.values().filter(|node| node.is_fenced()).count()
    }

    fn break_if(&mut self, broken: bool, what: &str) {
        if broken {
            self.broken.push(what.to_owned());
        }
    }

    /// A person says yes or no to a plan of this hash.
    pub(super) fn answer(&mut self, record: &RemediationRecord, plan_hash: &str, yes: bool) {
        let approval = Approval {
            record_uid: record.uid.clone(),
            plan_hash: plan_hash.to_owned(),
            answer: PersonAnswer {
                yes,
                by: "jane".to_owned(),
            },
        };
        if yes {
            self.agreed.insert((record.uid.clone(), plan_hash.to_owned()));
        }
        self.approvals.push(approval);
    }

    /// The approvals; where that is the defect, one of any plan is shown as one of every plan that waits.
    fn approvals(&self) -> Vec<Approval> {
        if !self.has(Defect::AnyPlan) {
            return self.approvals.clone();
        }
        let waiting = self.records.values().filter(|one| one.phase == Phase::Waiting);
        let of = |record: &RemediationRecord| {
            self.approvals
                .iter()
                .map(|one| Approval {
                    record_uid: record.uid.clone(),
                    plan_hash: record.plan_hash.clone(),
                    answer: one.answer.clone(),
                })
                .collect::<Vec<_>>()
        };
        waiting.flat_map(of).collect()
    }

    /// Does what a request asks.
    pub(super) fn apply(&mut self, sender: Sender, request: &Request) -> Reply {
        match request {
            Request::ListRecords(_) => Reply::Records(self.records.values().cloned().collect(), None),
            Request::ListApprovals(_) => Reply::Approvals(self.approvals(), None),
            Request::DeleteRecord(record) => self.delete_record(record),
            Request::CreateRecord(record) => self.create_record(record),
            Request::ReadRecord(name) => match self.records.get(name) {
                Some(record) => Reply::Record(Box::new(record.clone())),
                None => Reply::Absent,
            },
            Request::WriteRecord(record) => self.write_record(record),
            Request::ReadSlot => match &self.slot {
                Some(slot) if self.has(Defect::NoSlot) => Reply::Slot(SlotLease {
                    holder: None,
                    ..slot.clone()
                }),
                Some(slot) => Reply::Slot(slot.clone()),
                None => Reply::Absent,
            },
            Request::WriteSlot(slot) => self.write_slot(slot),
            Request::TryForbidden(_) => Reply::Narrowed,
            Request::ReadStop if self.stop && !self.has(Defect::NoStopRead) => Reply::Stop,
            Request::ReadStop => Reply::Absent,
            Request::ReadNode(name) => match self.nodes.get(name) {
                Some(node) => Reply::Node(Box::new(node.clone())),
                None => Reply::Absent,
            },
            Request::PatchNode(name, patch) => self.patch_node(sender, name, patch),
        }
    }

    fn create_record(&mut self, record: &RemediationRecord) -> Reply {
        let mut stored = record.clone();
        if self.has(Defect::AnyName) {
            stored.name = format!("{}-{}", record.name, self.version);
        } else if self.records.contains_key(&record.name) {
            return Reply::Conflict;
        }
        stored.version = self.next_version().to_string();
        stored.uid.clone_from(&stored.version);
        if !self.has(Defect::NoRecord) {
            // A late copy of one that waits does no harm: nothing is done by it.
            let acts = |one: &RemediationRecord| !one.is_finished() && one.phase != Phase::Waiting;
            let open =
                |one: &&RemediationRecord| acts(one) && acts(record) && one.node_uid == record.node_uid;
            let twice = self.records.values().any(|one| open(&one));
            self.break_if(twice, "one intent is stored twice");
            self.records.insert(stored.name.clone(), stored.clone());
        }
        Reply::Record(Box::new(stored))
    }

    fn delete_record(&mut self, record: &RemediationRecord) -> Reply {
        let stored = self.records.get(&record.name);
        if stored.is_some_and(|one| one.version != record.version || one.uid != record.uid) {
            return Reply::Conflict;
        }
        let open = stored.is_some_and(|one| !one.is_finished());
        self.break_if(open, "a record that is open is deleted");
        self.records.remove(&record.name);
        Reply::Absent
    }

    fn write_record(&mut self, record: &RemediationRecord) -> Reply {
        let Some(stored) = self.records.get(&record.name) else {
            return Reply::Absent;
        };
        if stored.version != record.version {
            return Reply::Conflict;
        }
        let revived = stored.phase != Phase::Waiting && record.phase == Phase::Waiting;
        self.break_if(revived, "a record waits for a person again");
        let Some(stored) = self.records.get(&record.name) else {
            return Reply::Absent;
        };
        let reopened = stored.is_finished() && record.phase != stored.phase;
        self.break_if(reopened, "a record that is finished changes");
        let mut record = record.clone();
        record.version = self.next_version().to_string();
        self.records.insert(record.name.clone(), record.clone());
        Reply::Record(Box::new(record))
    }

    fn write_slot(&mut self, slot: &SlotLease) -> Reply {
        let there = self.slot.as_ref().map_or("", |slot| slot.version.as_str());
        if there != slot.version && !self.has(Defect::NoSlot) {
            return Reply::Conflict;
        }
        let mut slot = slot.clone();
        slot.version = self.next_version().to_string();
        self.newest = self.newest.max(slot.term);
        self.slot = Some(slot.clone());
        Reply::Slot(slot)
    }

    fn patch_node(&mut self, sender: Sender, name: &str, patch: &NodePatch) -> Reply {
        let Some(node) = self.nodes.get(name).cloned() else {
            return Reply::Absent;
        };
        let same = node.version == patch.version && node.taints == patch.before;
        if !same && !self.has(Defect::NoVersion) && !self.has(Defect::NoUid)
            || node.uid != patch.uid && !self.has(Defect::NoUid)
        {
            return Reply::Conflict;
        }
        if patch.adds_fence() && self.stop && !self.has(Defect::NoAdmission) {
            // As the admission policy refuses it: 422.
            return Reply::Conflict;
        }
        if patch.taints.is_none() && self.has(Defect::NoTouch) {
            return Reply::Node(Box::new(node));
        }
        let mut changed = node.clone();
        if let Some(taints) = &patch.taints {
            changed.taints.clone_from(taints);
        }
        let annotations = changed.annotations.get_or_insert_default();
        for (key, value) in &patch.annotations {
            match value {
                Some(value) => annotations.insert((*key).to_owned(), value.clone()),
                None => annotations.remove(*key),
            };
        }
        changed.version = self.next_version().to_string();
        self.store(changed.clone());
        self.check(sender, &node, &changed, patch);
        Reply::Node(Box::new(changed))
    }

    /// What must be true of each change of a Node.
    fn check(&mut self, sender: Sender, before: &LiveNode, after: &LiveNode, patch: &NodePatch) {
        let others = |node: &LiveNode| -> Vec<Value> {
            node.taints.iter().filter(|one| !is_fence(one)).cloned().collect()
        };
        self.break_if(
            others(before) != others(after),
            "a taint of somebody else changes",
        );
        if patch.taints.is_none() {
            self.newest = self.newest.max(sender.term);
        }
        if !patch.adds_fence() {
            return;
        }
        self.fences += 1;
        let name = patch.annotations[RECORD].clone().unwrap_or_default();
        // When a record was deleted as it is old, its name may be used again.
        let uid = self.records.get(&name).map_or("", |one| one.uid.as_str());
        let acts = self.acts.entry(format!("{name} {uid}")).or_default();
        *acts += 1;
        let twice = *acts > 1;
        self.break_if(twice, "one intent is carried out twice");
        let record = self.records.get(&name);
        let declared = record.is_some_and(|one| one.node_uid == after.uid && one.phase == Phase::Intended);
        let asks = record.filter(|one| one.approval_reason.is_some());
        let agreed = asks.is_none_or(|one| {
            one.is_approved() && self.agreed.contains(&(one.uid.clone(), one.plan_hash.clone()))
        });
        self.break_if(!declared, "an act without an open record of its target");
        self.break_if(!agreed, "an act to which nobody agreed");
        let holder = self.slot.as_ref().and_then(|slot| slot.holder.as_ref());
        let has_slot = holder.is_some_and(|holder| holder.record == name);
        self.break_if(!has_slot, "an act without the slot");
        let (newest, fenced, budget) = (self.newest, self.fenced(), self.budget);
        self.break_if(
            sender.term < newest,
            "an act of an older term after one of a newer",
        );
        self.break_if(fenced > budget, "more nodes are fenced than the budget allows");
        let stopped = self.stop;
        self.break_if(stopped, "an act after people said stop");
        let undone = self.undone.contains(&after.uid);
        self.break_if(undone, "a node is fenced again that people unfenced");
    }
}
