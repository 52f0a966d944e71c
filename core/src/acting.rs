//! What an operator that acts asks of the core: what there is to do, and whether it still may.

use crate::drive::{self, DriveReason, LiveNode, Phase, PolicyVersion, RemediationRecord, Work};
use crate::guards::{self, Held};
use crate::history::Flip;
use crate::index::Part;
use crate::know::{Now, Source};
use crate::names::{Key, Name};
use crate::plan::{Plan, Sight};
use crate::policy::Mode;
use crate::program::Core;
use crate::remedies::{NodeChange, PastMoment, cordon_node};
use crate::sources::Row;
use crate::sources::node::Node;

/// A plan as the record that it would have.
struct Planned {
    record: RemediationRecord,
    held: Option<Held>,
}

impl Planned {
    /// Whether nothing but a person's yes is missing.
    fn is_suggested(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.by == guards::APPROVAL)
    }
}

/// What a record that waits still waits for.
enum WaitsFor {
    /// A person's yes, and nothing else.
    Person,
    /// First for something else to pass, or to become known.
    Guard,
    /// It is over.
    Nothing(DriveReason),
}

impl Core {
    /// Takes whether the right to change Nodes is narrowed, as a dry run has shown; says whether that is news.
    pub fn rights_are_narrowed(&mut self, narrowed: bool) -> bool {
        self.planner.rights(narrowed)
    }

    /// How often plans were made. When it has grown there may be something else to do.
    pub const fn plans_made(&self) -> u64 {
        self.planner.made()
    }

    /// What there is to do about these records, for the leader of a term. `settled` says of which records the effect must have
    /// been seen by now: what Nodes show may be a moment behind. `policy` is the platform's policy, where there is one. The
    /// ledger as it was read is for the caller to add.
    pub fn to_do(
        &self,
        now: Now,
        ledger: &[RemediationRecord],
        settled: impl Fn(&str) -> bool,
        policy: Option<&PolicyVersion>,
        term: u64,
    ) -> Work<'static> {
        let in_effect = ledger.iter().filter(|one| one.phase == Phase::InEffect);
        let undo = in_effect
            .filter(|one| self.must_go(one, settled(&one.name)))
            .map(|one| (one.name.clone(), self.failures(now, one)))
            .collect();
        // Plans that do not know the ledger as it is would ask people again who have just said no.
        let policy = policy.filter(|_| self.planner.is_current());
        let planned = policy.map(|policy| self.planned_records(ledger, policy, term));
        let is_waiting = |one: &&RemediationRecord| one.phase == Phase::Waiting;
        let mut to_do = Work {
            undo,
            old: drive::old(ledger, now.wall).cloned(),
            ..Work::default()
        };
        for one in ledger.iter().filter(is_waiting) {
            match self.waits_for(now, one, planned.as_deref()) {
                WaitsFor::Person => drop(to_do.awaited.insert(one.name.clone())),
                WaitsFor::Guard => {}
                WaitsFor::Nothing(why) => to_do.dismiss = Some((one.clone(), why)),
            }
        }
        // Nodes that are watched may not show yet what was done.
        let is_open = |record: &RemediationRecord| {
            let own = |one: &&RemediationRecord| one.is_same_intent(record);
            ledger.iter().filter(own).any(|one| !one.is_finished())
        };
        let mut free = planned.iter().flatten().filter(|one| one.held.is_none());
        to_do.fence = free.next().map(|one| one.record.clone());
        to_do.fence.take_if(|record| is_open(record));
        let unproven = |one: &&Planned| one.held.as_ref().is_some_and(|held| held.by == guards::RIGHTS);
        to_do.probe = planned
            .iter()
            .flatten()
            .find(unproven)
            .map(|one| one.record.clone());
        let mut suggested = planned.iter().flatten().filter(|one| one.is_suggested());
        to_do.suggest = suggested.find_map(|one| {
            let reason = one.held.as_ref().map_or("", |held| &held.message);
            (!is_open(&one.record)).then(|| one.record.clone().awaiting(reason))
        });
        to_do
    }

    /// What a record that waits still waits for. `planned` is what is planned, where that is known.
    fn waits_for(&self, now: Now, record: &RemediationRecord, planned: Option<&[Planned]>) -> WaitsFor {
        if record.is_unanswered(now.wall) {
            return WaitsFor::Nothing(DriveReason::Unanswered);
        }
        if self.is_forbidden() {
            return WaitsFor::Nothing(DriveReason::NotPlanned);
        }
        let Some(planned) = planned else {
            return WaitsFor::Guard;
        };
        let same =
            |one: &&Planned| one.record.plan_hash == record.plan_hash && one.record.is_same_intent(record);
        match planned.iter().find(same) {
            Some(plan) if plan.is_suggested() => WaitsFor::Person,
            Some(plan) if plan.held.is_some() => WaitsFor::Guard,
            // One that needs nobody's yes any more gets a record of its own.
            _ => WaitsFor::Nothing(DriveReason::NotPlanned),
        }
    }

    /// Whether a fence must go: no policy asks for it any more, its node is another one or is not fenced any more, or it has
    /// lasted long enough. What is not known is no reason.
    fn must_go(&self, record: &RemediationRecord, settled: bool) -> bool {
        if self.is_forbidden() {
            return true;
        }
        if self.index.gap(Source::Nodes).is_some() {
            return false;
        }
        let Some((name, row)) = self.node(&record.node) else {
            return settled;
        };
        let same = self.index.names.text(row.uid) == record.node_uid;
        settled && !(same && row.fenced) || same && self.planner.steady().contains(&name)
    }

    /// Whether the platform's policy is known to ask for no fences: then those that there are go.
    pub fn is_forbidden(&self) -> bool {
        if let Some(policy) = self.index.cluster_policy() {
            return policy
                .nodes
                .cordon
                .is_none_or(|cordon| cordon.mode == Mode::Observe);
        }
        let refused = self.index.opaque.keys().any(|at| at.0 == Source::ClusterPolicy);
        self.index.gap(Source::ClusterPolicy).is_none() && !refused
    }

    fn node(&self, name: &str) -> Option<(Name, &Node)> {
        let name = self.index.names.find(name)?;
        let key = Key {
            namespace: Name::EMPTY,
            name,
        };
        Some((name, self.index.nodes.get(key)?))
    }

    /// How often a node failed since it was fenced, where it was watched all the time.
    fn failures(&self, now: Now, record: &RemediationRecord) -> Option<u32> {
        let seconds = u64::try_from(now.wall.0.saturating_sub(record.created?.0)).ok()?;
        let age = seconds.saturating_mul(1000);
        let watched = self.history.covers(now.mono, Source::Nodes, Part::Whole, age);
        let (name, _) = watched.ok().and_then(|()| self.node(&record.node))?;
        // Its time is of whole seconds: the failure that it answers may be in the same one.
        let fenced = PastMoment::before(now.mono, age.saturating_sub(1_000));
        let since = |flip: &&Flip| PastMoment::from(flip.down) >= fenced;
        Some(self.history.nodes().flips().of(name).iter().filter(since).count() as u32)
    }

    /// What is planned, each as a record under a name that is not used yet.
    fn planned_records(
        &self,
        ledger: &[RemediationRecord],
        policy: &PolicyVersion,
        term: u64,
    ) -> Vec<Planned> {
        let plans = self.planner.plans().plans.iter();
        let record = |plan: &Plan| {
            let names = &self.index.names;
            let (_, row) = self.node(names.text(plan.change.node))?;
            let uid = names.text(row.uid);
            let own = |one: &&RemediationRecord| one.node_uid == uid && one.cause == plan.change.cause;
            // Old records are deleted, so their count would name one that is still there.
            let last = ledger
                .iter()
                .filter(own)
                .filter_map(RemediationRecord::number)
                .max();
            let number = last.map_or(0, |last| last.saturating_add(1));
            let record = RemediationRecord::of(&plan.change, names, uid, policy.clone(), term, number);
            (!uid.is_empty()).then_some(record)
        };
        let planned = plans.filter_map(|plan| {
            Some(Planned {
                record: record(plan)?,
                held: plan.held.clone(),
            })
        });
        planned.collect()
    }

    /// Asks the guards once more, on the node as it was just read for the act of this record. Of the ledger the record itself
    /// does not count. `policy` is the platform's policy as it is now, where there is one.
    ///
    /// # Errors
    /// The guard that holds it back.
    pub fn confirm_fence(
        &mut self,
        now: Now,
        ledger: &[RemediationRecord],
        record: &RemediationRecord,
        policy: Option<&PolicyVersion>,
        live: &LiveNode,
    ) -> Result<(), Held> {
        let names = &mut self.index.names;
        let others = ledger.iter().filter(|one| one.name != record.name);
        let records = drive::history(others, names, now);
        let Ok((key, row)) = Node::parse(live.object.to_string().as_bytes(), names) else {
            return Err(Held {
                by: "InputsStale",
                message: "the node as it was just read cannot be understood".into(),
                evidence: Vec::new(),
                again: None,
            });
        };
        let change = NodeChange {
            remedy: cordon_node::REMEDY.id,
            node: key.name,
            effect: record.effect,
            cause: cordon_node::CAUSE,
            evidence: record.evidence.clone(),
        };
        let changed = policy != Some(&record.policy);
        // Of what was agreed to nothing may be another by now.
        let hash = drive::hash_of(&change, names, &live.uid, &record.policy);
        let approved = record.is_approved() && hash == record.plan_hash;
        let sight = Sight {
            now,
            index: &self.index,
            history: &self.history,
            fitness: &self.fitness,
        };
        self.planner
            .confirm(sight, records, &change, &row, (changed, approved))
    }
}
