//! Leaders that come and go, what happens to their requests, and people.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::drive::{
    DriveReason, Ending, Executor, Goal, MOST_REQUESTS, Phase, PolicyVersion, RemediationRecord, Reply,
    Request, SlotLease, Work, is_fence,
};
use evenkeel_core::guards::Held;
use evenkeel_core::know::Mono;
use evenkeel_core::names::Names;
use evenkeel_core::policy::FenceEffect;
use evenkeel_core::remedies::NodeChange;
use serde_json::json;

use super::server::{Defect, Sender, Server};

/// `SplitMix64`: one seed, one run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// One leader.
pub(super) struct Leader {
    term: u64,
    executor: Executor,
    begun: u64,
    asked: u32,
    /// How often people had said stop or go when its drive began.
    words_at_start: u32,
    /// The ledger as its watch last showed it.
    watched: Vec<RemediationRecord>,
}

impl Leader {
    /// Nodes that may be fenced at a time.
    pub(super) const BUDGET: usize = 2;

    fn new(term: u64) -> Self {
        Self {
            term,
            executor: Executor::new(term),
            begun: 0,
            asked: 0,
            words_at_start: 0,
            watched: Vec::new(),
        }
    }
}

/// A request that comes later than its sender thinks.
struct Delayed {
    at: u64,
    sender: Sender,
    request: Request,
}

pub(super) struct Run {
    pub(super) server: Server,
    chance: Chance,
    step: u64,
    delayed: Vec<Delayed>,
    faults: bool,
    pub(super) undone: u32,
    pub(super) leaders: u32,
    pub(super) lost: u32,
    /// Each request and what became of it, where that was asked for.
    pub(super) trace: Option<Vec<String>>,
}

/// From one request to the next, in milliseconds: longer than any pause, as the order of requests is what is tried.
const STEP: u64 = 60_000;
/// Steps with faults, and after them.
const STEPS: (u64, u64) = (220, 400);
const NODES: u64 = 5;

impl Run {
    pub(super) fn play(seed: u64, defect: Option<Defect>, traced: bool) -> Self {
        let mut run = Self {
            server: Server::new(NODES as usize, Leader::BUDGET, defect),
            chance: Chance(seed),
            step: 0,
            delayed: Vec::new(),
            faults: true,
            undone: 0,
            leaders: 0,
            lost: 0,
            trace: traced.then(Vec::new),
        };
        let mut leaders = vec![run.elect()];
        while run.step < STEPS.0 {
            run.step += 1;
            run.people();
            run.deliver();
            if run.chance.percent(3) {
                let next = run.elect();
                if defect == Some(Defect::NoPermit) {
                    leaders.truncate(1);
                    leaders.insert(0, next);
                } else {
                    leaders = vec![next];
                }
            }
            for leader in &mut leaders {
                run.act(leader, false);
            }
        }
        run.end();
        run
    }

    fn elect(&mut self) -> Leader {
        self.leaders += 1;
        Leader::new(self.server.next_version())
    }

    /// Faults end, and everything is undone: nothing may be left. Stop may go on meanwhile.
    fn end(&mut self) {
        self.faults = false;
        while !self.delayed.is_empty() {
            self.step += 1;
            self.deliver();
        }
        let mut leader = self.elect();
        for _ in 0..STEPS.1 {
            self.act(&mut leader, true);
        }
        let open = self
            .server
            .records
            .values()
            .filter(|one| !one.is_finished())
            .count();
        let held = self
            .server
            .slot
            .as_ref()
            .is_some_and(|slot| slot.holder.is_some());
        let fenced = self.server.fenced();
        let undone = |one: &&RemediationRecord| one.phase == Phase::Finished(Ending::Undone);
        self.undone = self.server.records.values().filter(undone).count() as u32;
        if open > 0 || held || fenced > 0 {
            let left = format!("{open} records open, {fenced} nodes fenced, slot held: {held}");
            self.server.broken.push(left);
        }
    }

    fn people(&mut self) {
        let name = format!("n{}", self.chance.below(NODES));
        match self.chance.below(100) {
            0..3 => {
                self.server.stop = !self.server.stop;
                self.server.words += 1;
            }
            16..22 => self
                .server
                .change(&name, |taints| taints.retain(|one| !is_fence(one))),
            6..9 => self.server.change(&name, |taints| {
                taints.push(json!({"key": "example.com/theirs", "effect": "NoSchedule"}));
            }),
            9..12 => self.server.change(&name, |taints| taints.retain(is_fence)),
            12..15 => self.server.change(&name, |_| {}),
            15 => self.server.create_node(&name),
            22..34 => self.answer(),
            34..36 => self.server.approvals.clear(),
            _ => {}
        }
    }

    /// A person says yes or no to a record, whatever has become of it, or to another plan than that of the record.
    fn answer(&mut self) {
        let count = self.server.records.len() as u64;
        if count == 0 {
            return;
        }
        let at = self.chance.below(count) as usize;
        let waiting = self
            .server
            .records
            .values()
            .find(|one| one.phase == Phase::Waiting);
        let any = self.server.records.values().nth(at);
        let Some(record) = waiting.filter(|_| !self.step.is_multiple_of(3)).or(any).cloned() else {
            return;
        };
        let (yes, same) = (self.chance.percent(75), self.chance.percent(70));
        let hash = if same {
            record.plan_hash.clone()
        } else {
            "another".to_owned()
        };
        self.server.answer(&record, &hash, yes);
    }

    fn deliver(&mut self) {
        let due: Vec<Delayed> = {
            let step = self.step;
            self.delayed.extract_if(.., |one| one.at <= step).collect()
        };
        for one in due {
            let reply = self.server.apply(one.sender, &one.request);
            self.note("late", one.sender, &one.request, &reply);
        }
    }

    /// One request of a leader.
    fn act(&mut self, leader: &mut Leader, only_undo: bool) {
        let now = Mono(self.step * STEP);
        let work = self.work(leader, only_undo);
        let Some(request) = leader.executor.ask(now, &work) else {
            return;
        };
        if leader.begun != leader.executor.begun() {
            leader.begun = leader.executor.begun();
            leader.asked = 0;
            leader.words_at_start = self.server.words;
        }
        leader.asked += 1;
        let too_many = leader.asked > MOST_REQUESTS;
        let is_act = matches!(&request, Request::PatchNode(_, patch) if patch.adds_fence());
        let stopped = self.server.stop && self.server.words == leader.words_at_start;
        let after_stop = is_act && stopped;
        let drive = leader.executor.drive().unwrap();
        let reply = match self.pretended(leader, drive.goal(), &request) {
            Some(reply) => reply,
            None => self.send(Sender { term: leader.term }, &request, drive.record()),
        };
        // As the operator does: what was listed is not forgotten until the watch shows it.
        if let Reply::Records(records, _) = &reply {
            leader.watched.clone_from(records);
        }
        let busy = self.server.fenced() >= Leader::BUDGET && self.server.defect != Some(Defect::NoBudget);
        leader
            .executor
            .take(now, reply, |_| if busy { Err(held()) } else { Ok(()) });
        if too_many {
            self.server.broken.push("too many requests".into());
        }
        if after_stop {
            self.server
                .broken
                .push("an act was sent though people had said stop before".into());
        }
    }

    /// A claim that is not made, where that is the defect: the leader thinks that the slot is its own and free.
    fn pretended(&self, leader: &Leader, goal: Goal, request: &Request) -> Option<Reply> {
        if self.server.defect != Some(Defect::NoClaim) || goal != Goal::Claim || leader.begun > 1 {
            return None;
        }
        let version = self.server.slot.as_ref().map_or("", |slot| &slot.version);
        matches!(request, Request::ReadSlot | Request::WriteSlot(_)).then(|| {
            Reply::Slot(SlotLease {
                version: version.to_owned(),
                term: leader.term,
                holder: None,
            })
        })
    }

    /// What there is to do: what is gone, what is to be undone, and a fence. The watch of records may be behind.
    fn work(&mut self, leader: &mut Leader, only_undo: bool) -> Work<'static> {
        if !self.faults || self.chance.percent(60) {
            leader.watched = self.server.records.values().cloned().collect();
        }
        let records = leader.executor.ledger(&leader.watched);
        let gone = |one: &RemediationRecord| {
            let node = self.server.nodes.get(&one.node);
            !node.is_some_and(|node| node.uid == one.node_uid && node.is_fenced_by(one))
        };
        let mut undo: BTreeMap<String, Option<u32>> = records
            .iter()
            .filter(|one| gone(one) || only_undo)
            .map(|one| (one.name.clone(), None))
            .collect();
        if self.chance.percent(15) {
            let in_effect = records.iter().find(|one| one.phase == Phase::InEffect);
            undo.extend(in_effect.map(|one| (one.name.clone(), None)));
        }
        let planned = if only_undo || self.chance.percent(30) {
            None
        } else {
            self.fence(leader.term, &records)
        };
        // Of some nodes a person has to agree.
        let asks = planned.as_ref().is_some_and(|one| one.node.ends_with(['1', '3']));
        let (mut fence, mut suggest) = if asks { (None, planned) } else { (planned, None) };
        suggest = suggest.map(|one| one.awaiting("the mode is Suggest"));
        if self.server.defect == Some(Defect::NoWait) {
            let waiting = records.iter().find(|one| one.phase == Phase::Waiting);
            let as_planned = |one: &RemediationRecord| RemediationRecord {
                phase: Phase::Intended,
                ..one.clone()
            };
            fence = fence.or_else(|| waiting.map(as_planned));
        }
        let waiting: Vec<_> = records.iter().filter(|one| one.phase == Phase::Waiting).collect();
        let awaited: BTreeSet<String> = waiting.iter().map(|one| one.name.clone()).collect();
        let lapses = only_undo || self.chance.percent(3);
        let dismiss = waiting.first().filter(|_| lapses);
        let dismiss = dismiss.map(|one| ((*one).clone(), DriveReason::NotPlanned));
        // What guards look back on here is never old.
        let is_old = |one: &&RemediationRecord| {
            let newer =
                |other: &RemediationRecord| other.node_uid == one.node_uid && other.number() > one.number();
            let over = matches!(one.phase, Phase::Finished(ending) if ending != Ending::Lapsed);
            over && records.iter().any(newer)
        };
        let old = records.iter().find(is_old).cloned();
        Work {
            old: old.filter(|_| self.faults && self.chance.percent(50)),
            records: leader.watched.clone().into(),
            undo,
            fence,
            suggest,
            awaited: if only_undo { BTreeSet::new() } else { awaited },
            probe: None,
            dismiss,
        }
    }

    fn fence(&mut self, term: u64, records: &[RemediationRecord]) -> Option<RemediationRecord> {
        let name = format!("n{}", self.chance.below(NODES));
        let node = self.server.nodes.get(&name)?;
        let own: Vec<_> = records.iter().filter(|one| one.node_uid == node.uid).collect();
        let lapsed = own
            .iter()
            .any(|one| one.phase == Phase::Finished(Ending::Lapsed) && one.may_have_acted());
        let respected = self.server.defect != Some(Defect::NoRespect);
        // What is open is settled or undone first, as in the operator.
        let open = own.iter().any(|one| !one.is_finished());
        if node.is_fenced() || open || lapsed && respected {
            return None;
        }
        let number = own.iter().filter_map(|one| one.number()).max();
        let number = number.map_or(0, |last| last + 1);
        let mut names = Names::default();
        let change = NodeChange {
            remedy: "CordonNode",
            node: names.intern(&name),
            effect: FenceEffect::PreferNoSchedule,
            cause: "RefilledFlapper",
            evidence: Vec::new(),
        };
        let policy = PolicyVersion {
            uid: "p".into(),
            generation: 1,
        };
        Some(RemediationRecord::of(
            &change, &names, &node.uid, policy, term, number,
        ))
    }

    fn note(&mut self, how: &str, sender: Sender, request: &Request, reply: &Reply) {
        let (step, broken) = (self.step, self.server.broken.len());
        if let Some(trace) = &mut self.trace
            && broken < 2
        {
            let (request, reply) = (format!("{request:?}"), format!("{reply:?}"));
            trace.push(format!(
                "{step} {how} {}: {request:.400} -> {reply:.400}",
                sender.term
            ));
        }
    }

    /// What becomes of a request.
    fn send(&mut self, sender: Sender, request: &Request, record: &RemediationRecord) -> Reply {
        let reply = self.carry(sender, request);
        self.note("sent", sender, request, &reply);
        self.lost += u32::from(reply == Reply::Lost);
        match (self.server.defect, reply) {
            (Some(Defect::NoUid), Reply::Node(mut node)) => {
                node.uid.clone_from(&record.node_uid);
                Reply::Node(node)
            }
            (_, reply) => reply,
        }
    }

    fn carry(&mut self, sender: Sender, request: &Request) -> Reply {
        if !self.faults || self.chance.percent(70) {
            return self.server.apply(sender, request);
        }
        let delay = |chance: &mut Chance, step: u64| step + 1 + chance.below(25);
        match self.chance.below(9) {
            // It never comes.
            0 => Reply::Lost,
            // It comes, and its reply does not.
            1 => {
                self.server.apply(sender, request);
                Reply::Lost
            }
            // It comes later, also after another leader.
            2..4 => {
                let at = delay(&mut self.chance, self.step);
                self.delayed.push(Delayed {
                    at,
                    sender,
                    request: request.clone(),
                });
                Reply::Lost
            }
            // It comes twice.
            4 => {
                let at = delay(&mut self.chance, self.step);
                self.delayed.push(Delayed {
                    at,
                    sender,
                    request: request.clone(),
                });
                self.server.apply(sender, request)
            }
            5 if request.writes() => Reply::Conflict,
            6 => Reply::Busy,
            7 if self.chance.percent(20) => Reply::Refused(403),
            // What it answers is old.
            8 => match request {
                Request::ReadNode(name) => match self.server.old_node(name) {
                    Some(old) => Reply::Node(Box::new(old.clone())),
                    None => self.server.apply(sender, request),
                },
                _ => self.server.apply(sender, request),
            },
            _ => self.server.apply(sender, request),
        }
    }
}

fn held() -> Held {
    Held {
        by: "BudgetSpent",
        message: String::new(),
        evidence: Vec::new(),
        again: None,
    }
}
