//! How the operator acts: it drives what the core plans, one request at a time, as the leader of its term.
//!
//! Nothing is done before the cluster and the ledger have been read, and nothing without a permit of the Lease. A fence needs
//! a ledger that is current as well; an undo does not. Each claim of the lead has an executor of its own, and a reply that
//! comes after its claim has ended is for nobody: the next leader settles what was left.

use evenkeel_core::Input;
use evenkeel_core::drive::{
    Drive, DriveEnd, DriveReason, Executor, PolicyVersion, RemediationRecord, Reply, Work,
};
use evenkeel_core::index::Freshness;
use evenkeel_core::know::{Mono, Now, Source};

use super::Operator;
use super::event::{Effects, ReceivedAt, RemedyRequest};
use super::ledger::Ledger;
use super::news::RemedyNews;
use super::under_way::UnderWay;
use crate::api::PolicyRef;
use crate::lease::Permit;

/// How often to look for what there is to do although nothing happens, in milliseconds.
const LOOK: u64 = 3_600_000;

/// What an operator that acts remembers.
#[derive(Debug, Default)]
pub(super) struct Remedies {
    pub(super) ledger: Ledger,
    /// The executor of this claim of the lead, and its term.
    executor: Option<(u64, Executor)>,
    /// The number of the request that is under way.
    under_way: Option<u64>,
    /// Whether there may be something else to do than when it was last looked at.
    look: bool,
    /// When to look whatever happens: records grow old.
    look_by: Mono,
    /// Until when the executor waited when it was last looked at.
    waited_until: Mono,
    /// Whether the policy was known to ask for no fences.
    forbidden: bool,
    /// When it is to be read again what people have said; `None` where nothing waits for them alone.
    listens_at: Option<Mono>,
    /// How often the core had planned when it was last looked at.
    plans_made: u64,
    /// What was not said yet of drives that have ended.
    news: Vec<RemedyNews>,
    /// The ledger as the core was last given it.
    given: Vec<RemediationRecord>,
}

impl Remedies {
    /// Takes in what a watch of the ledger says; whether it was that.
    pub(super) fn follow(&mut self, now: Now, input: &Input<'_>) -> bool {
        match input {
            Input::Object {
                source: Source::Remediations,
                json,
                ..
            } => self.ledger.put(now.mono, json),
            Input::Gone(Source::Remediations, _, name) => self.ledger.remove(name),
            _ => return false,
        }
        true
    }

    /// When there may be something to do although nothing happens.
    pub(super) fn next(&self, now: Mono) -> Option<Mono> {
        let (_, executor) = self.executor.as_ref()?;
        if self.under_way.is_some() {
            return None;
        }
        let waits = Some(executor.not_before()).filter(|at| now < *at);
        let grows_old = Some(self.look_by).filter(|_| !self.ledger.is_empty());
        waits.into_iter().chain(self.listens_at).chain(grows_old).min()
    }
}

impl Operator {
    /// Acts from now on, for the operator of this namespace: its ledger is watched.
    pub fn acts(&mut self, now: Now, namespace: &str) {
        self.core.handle(now, Input::Acts);
        self.intake.watch_ledger(namespace);
        self.remedies = Some(Remedies::default());
    }

    /// Takes in what became of a request of a remedy.
    pub(super) fn remedy_replied(&mut self, now: Now, id: u64, reply: Reply) {
        let policy = self.policy_version();
        let Some(remedies) = &mut self.remedies else {
            return;
        };
        if remedies.under_way != Some(id) {
            return;
        }
        remedies.under_way = None;
        remedies.look = true;
        if let Reply::Records(records, _) = &reply {
            remedies.ledger.list(now.mono, records);
        }
        let Some((_, executor)) = &mut remedies.executor else {
            return;
        };
        let ledger = executor.ledger(&remedies.ledger.records());
        let record = executor.drive().map(|drive| drive.record().clone());
        let core = &mut self.core;
        executor.take(now.mono, reply, |live| {
            record.as_ref().map_or(Ok(()), |record| {
                core.confirm_fence(now, &ledger, record, policy.as_ref(), live)
            })
        });
        if let Some(drive) = executor.drive()
            && let Some(end) = drive.end()
        {
            let narrowed = match end {
                DriveEnd::Narrowed => Some(true),
                DriveEnd::NothingDone(DriveReason::RightsNotNarrowed) => Some(false),
                _ => None,
            };
            // It is tried every minute, and said once.
            let news = narrowed.is_none_or(|narrowed| core.rights_are_narrowed(narrowed));
            if news {
                log(drive, end);
            }
            remedies
                .news
                .extend(RemedyNews::of(now, drive, end, &self.instance));
        }
    }

    /// Counts what became of remedies, and says it in Events.
    pub(super) fn tell(&mut self, now: Now, cause: ReceivedAt, effects: &mut Effects) {
        let (Some(permit), Some(remedies)) = (self.permit(now), &mut self.remedies) else {
            return;
        };
        for RemedyNews { outcome, event } in std::mem::take(&mut remedies.news) {
            effects.remedied.push(outcome);
            self.send(
                permit,
                UnderWay::node_event(PolicyRef::of_the_cluster(), cause, event),
                effects,
            );
        }
    }

    /// Looks for what there is to do, and asks for the next request.
    pub(super) fn remedy(&mut self, now: Now, effects: &mut Effects) {
        let term = self.claim.filter(|claim| claim.is_live(now.mono));
        let term = term.map(|claim| claim.term);
        let permit = self.permit(now);
        let plans_made = self.core.plans_made();
        let forbidden = self.core.is_forbidden();
        let ledger_is_read = matches!(self.ledger_freshness(), Freshness::Complete | Freshness::Stale);
        let Some(remedies) = &mut self.remedies else {
            return;
        };
        if remedies.executor.as_ref().map(|one| one.0) != term {
            remedies.executor = term.map(|term| (term, Executor::new(term)));
            remedies.under_way = None;
            remedies.listens_at = None;
            remedies.look = true;
        }
        let waits_until = remedies
            .executor
            .as_ref()
            .map_or(Mono(0), |one| one.1.not_before());
        let waited = remedies.waited_until != waits_until && waits_until <= now.mono;
        let goes_on = remedies.executor.as_ref().is_some_and(|one| one.1.is_driving());
        let changed = remedies.ledger.take_changed();
        // What is under way goes on as soon as it may, whatever else happens or does not.
        // That a policy is gone may come to be known long after the last plan under it.
        let turned = std::mem::replace(&mut remedies.forbidden, forbidden) != forbidden;
        let by_time = remedies.look_by <= now.mono;
        if by_time {
            remedies.look_by = now.mono.plus(LOOK);
        }
        let listens = remedies.listens_at.is_some_and(|at| at <= now.mono);
        remedies.look |= by_time
            || listens
            || turned
            || changed
            || waited
            || (goes_on && waits_until <= now.mono)
            || remedies.plans_made != plans_made;
        remedies.plans_made = plans_made;
        let Some(permit) = permit.filter(|_| self.warm_by.is_none() && ledger_is_read) else {
            return;
        };
        if std::mem::take(&mut remedies.look) && remedies.under_way.is_none() {
            remedies.waited_until = waits_until;
            effects.remedy = self.next_request(now, permit);
        }
    }

    fn ledger_freshness(&self) -> &Freshness {
        self.core.index().worst_freshness(Source::Remediations)
    }

    fn next_request(&mut self, now: Now, permit: Permit) -> Option<RemedyRequest> {
        let policy = self.policy_version();
        let is_current = *self.ledger_freshness() == Freshness::Complete;
        let remedies = self.remedies.as_mut()?;
        let (term, executor) = remedies.executor.as_mut()?;
        if remedies.ledger.take_room() {
            executor.list_again();
        }
        let records = remedies.ledger.records();
        let ledger = executor.ledger(&records);
        if remedies.given != ledger {
            self.core.handle(now, Input::Remediations(&ledger));
            remedies.given.clone_from(&ledger);
        }
        let settled = |name: &str| remedies.ledger.is_settled(now.mono, name);
        let may_fence = is_current && !remedies.ledger.is_overfull();
        let policy = policy.filter(|_| may_fence);
        let to_do = self.core.to_do(now, &ledger, settled, policy.as_ref(), *term);
        // Who has never acted does not even claim the slot.
        let asks_nothing = to_do.fence.is_none() && to_do.suggest.is_none();
        if ledger.is_empty() && asks_nothing && executor.begun() == 0 {
            return None;
        }
        let work = Work {
            records: records.into(),
            ..to_do
        };
        let request = executor.ask(now.mono, &work);
        let soonest = now.mono.plus(1_000);
        let listens = !work.awaited.is_empty();
        remedies.listens_at = listens.then(|| executor.listens_from().max(soonest));
        let request = request?;
        self.last_request += 1;
        remedies.under_way = Some(self.last_request);
        Some(RemedyRequest {
            id: self.last_request,
            permit,
            request,
        })
    }

    /// uid and generation of the platform's policy, as it was last seen.
    fn policy_version(&self) -> Option<PolicyVersion> {
        let (uid, generation) = self.statuses.version(&PolicyRef::of_the_cluster())?;
        Some(PolicyVersion {
            uid: uid.to_owned(),
            generation,
        })
    }
}

/// Says how a drive ended: acts and undos as information, what was refused as a warning.
fn log(drive: &Drive, end: &DriveEnd) {
    let (record, node, goal) = (&drive.record().name, &drive.record().node, drive.goal());
    match end {
        DriveEnd::NothingDone(DriveReason::RightsNotNarrowed) => tracing::error!(
            node,
            "nothing is fenced: no admission policy narrows the right to change Nodes; is the component installed as it is?"
        ),
        DriveEnd::NothingDone(why) => tracing::warn!(record, node, ?goal, ?why, "a remedy did nothing"),
        DriveEnd::Closed(phase, why) => {
            let by = drive.record().answer.as_ref().map(|answer| &*answer.by);
            tracing::info!(
                record,
                node,
                ?goal,
                ?phase,
                ?why,
                answered_by = by,
                "a remedy has ended"
            );
        }
        DriveEnd::Suggested => {
            let why = drive.record().approval_reason.as_deref();
            tracing::info!(
                record,
                node,
                why,
                "a remedy waits for a person: evenkeel approve RECORD, or reject"
            );
        }
        DriveEnd::Left => tracing::warn!(record, node, ?goal, "what became of a remedy is found out later"),
        DriveEnd::Superseded => tracing::warn!("a newer leader acts: this one does no more"),
        DriveEnd::Claimed
        | DriveEnd::Listed
        | DriveEnd::Narrowed
        | DriveEnd::Forgotten
        | DriveEnd::Heard
        | DriveEnd::Taken(_) => {
            tracing::debug!(record, ?goal, ?end, "a step of remedies has ended");
        }
    }
}
