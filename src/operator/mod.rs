//! The operator without IO: [`Operator::step`] takes what has happened, and says what to do.
//!
//! It owns the core, what is watched, what statuses say, who is next and whether this replica leads. It holds no task,
//! channel, clock or socket: `run` brings the events and carries out the effects, tests and simulations do the same in
//! virtual time.
//!
//! A status is computed when there is a place for its request, and not before: what waits is the name of a policy, so that
//! the newest verdicts are what is written, and thousands of policies that wait cost little.

mod event;
mod ledger;
mod news;
mod remedies;
#[cfg(test)]
mod tests;
mod under_way;
mod view;

use std::collections::BTreeMap;

use evenkeel_core::fleet::Wants;
use evenkeel_core::know::{Mono, Now, Source};
use evenkeel_core::sample::Observer;
use evenkeel_core::standing::Standing;
use evenkeel_core::{Core, Input};
use jiff::Timestamp;

use crate::api::{CLUSTER_POLICY_NAME, PolicyRef};
use crate::lease::{Claim, Permit};
use crate::samples::SampleWantsByScope;
use crate::send::{FairQueue, Gate};
use crate::status::Statuses;
use crate::watch::Intake;

pub use event::{Effects, Event, Next, Outgoing, ReceivedAt, RemedyRequest, Watched};
use remedies::Remedies;
use under_way::UnderWay;
pub use view::HolderState;

/// Policies that are compared with their status in one step: bounds how long those of one namespace can hold up the others.
const LOOKS: usize = 32;

/// Findings that these may have before the next policy waits for the next step: each is looked at, and one policy may have
/// thousands.
const LOOKED_AT: u32 = 4_096;

/// Verdicts that one step comes to, about: a millisecond of work, after which the loop looks for events, replies and a
/// stop again. What is written about another Service passes several tasks, and each may have to wait for so much.
const VERDICTS: usize = 128;

/// How long the first read of the cluster may take, in milliseconds, before judging begins without the rest: what is missing
/// is Unknown then.
const WARM_UP: u64 = 60_000;

/// Everything that is decided while the operator runs.
#[derive(Debug)]
pub struct Operator {
    /// Where Events say they come from: the Pod's name.
    instance: String,
    core: Core,
    intake: Intake,
    statuses: Statuses,
    /// Policies whose status must be compared with how they stand.
    look_at: FairQueue<ReceivedAt>,
    gate: Gate,
    under_way: BTreeMap<u64, UnderWay>,
    last_request: u64,
    claim: Option<Claim>,
    /// Whether the claim was live in the last step.
    led: bool,
    /// When warming up ends at the latest; `None` when it has ended.
    warm_by: Option<Mono>,
    /// The cause of what the core has not judged yet, if there is such.
    behind: Option<ReceivedAt>,
    stopping: bool,
    /// What was last declared beside the Lease.
    declared: String,
    /// What is worth measuring.
    worth_measuring: SampleWantsByScope,
    /// What feeders were last given to measure: nothing on a standby.
    measured: SampleWantsByScope,
    /// What is remembered of acts; `None` where it only plans.
    remedies: Option<Remedies>,
}

impl Operator {
    /// An operator that knows nothing yet. The first step may be a [`Event::Tick`].
    pub fn new(now: Now, instance: String) -> Self {
        Self {
            instance,
            core: Core::live(now),
            intake: Intake::default(),
            statuses: Statuses::default(),
            look_at: FairQueue::default(),
            gate: Gate::default(),
            under_way: BTreeMap::new(),
            last_request: 0,
            claim: None,
            led: false,
            warm_by: Some(now.mono.plus(WARM_UP)),
            behind: None,
            stopping: false,
            declared: String::new(),
            worth_measuring: SampleWantsByScope::default(),
            measured: SampleWantsByScope::default(),
            remedies: None,
        }
    }

    /// Says which observers measure; what checks need of them is wanted from then on. At first there are none.
    pub fn observed_by(&mut self, now: Now, observers: &[Observer]) {
        self.core.handle(now, Input::Observers(observers));
    }

    /// Says which node this replica runs on, `None` for one outside of the cluster: no remedy is planned for it.
    pub fn runs_on(&mut self, now: Now, node: Option<&str>) {
        self.core.handle(now, Input::OwnNode(node));
    }

    /// Takes in what has happened. Times never go back.
    pub fn step(&mut self, now: Now, event: Event) -> Effects {
        let mut effects = Effects::default();
        let mut cause = ReceivedAt::of(now);
        match event {
            Event::Watched(watched) => {
                cause = watched.first().map_or(cause, |one| one.cause);
                for one in watched {
                    self.take_in(now, one);
                }
            }
            Event::Claim(claim) => self.claim = claim,
            Event::Reply { id, reply, reaction } => self.replied(now, id, &reply, reaction, &mut effects),
            Event::RemedyReply { id, reply } => self.remedy_replied(now, id, reply),
            Event::Lookup(pod, answer) => self.core.handle(now, Input::Lookup(&pod, answer.as_input())),
            Event::Measured(page) => page.lend(|page| self.core.handle(now, Input::Samples(page))),
            Event::Tick => {}
            Event::Stop => self.stopping = true,
        }
        if !self.stopping {
            self.lead(now, &mut effects);
            if self.is_warm(now, &mut effects) {
                self.judge(now, cause, &mut effects);
                self.read_again(now, &mut effects);
                self.compare(now, &mut effects);
            }
            self.measure(now, &mut effects);
            self.remedy(now, &mut effects);
            self.tell(now, cause, &mut effects);
        }
        effects.next = self.next(now);
        effects
    }

    /// Takes in one event of a watch.
    fn take_in(&mut self, now: Now, watched: Watched) {
        let Watched { cause, event } = watched;
        let (core, statuses, look_at) = (&mut self.core, &mut self.statuses, &mut self.look_at);
        let remedies = &mut self.remedies;
        self.intake.take(event, &mut |input| {
            if let Some(remedies) = remedies
                && remedies.follow(now, &input)
            {
                return;
            }
            if let Some(gone) = follow(statuses, &input) {
                look_at.put(gone, cause);
            }
            // What the core refuses it also lists.
            core.handle(now, input);
        });
        for object in self.intake.take_policies() {
            let policy = self.statuses.saw(object);
            self.look_at.put(policy, cause);
        }
    }

    /// Says which watches start and stop for what the core wants to be read now.
    fn want(&mut self, now: Now, wants: &Wants, effects: &mut Effects) {
        let core = &mut self.core;
        let change = self.intake.want(wants, &mut |input| core.handle(now, input));
        self.worth_measuring = wants.samples.clone();
        effects.watches.start.extend(change.start);
        effects.watches.stop.extend(change.stop);
    }

    /// Only the leader measures: two replicas would double what Prometheus and the API servers are asked, and a standby writes
    /// nothing that would rest on it. What it has measured is stale when it leads again.
    fn measure(&mut self, now: Now, effects: &mut Effects) {
        let wanted = if self.leads(now) {
            self.worth_measuring.clone()
        } else {
            SampleWantsByScope::default()
        };
        if self.measured != wanted {
            self.measured = wanted.clone();
            effects.measure = Some(wanted);
        }
    }

    /// Whether everything has been read once. Until then nothing is judged and nothing is written: verdicts on half of what
    /// there is would turn a moment later.
    fn is_warm(&mut self, now: Now, effects: &mut Effects) -> bool {
        let Some(by) = self.warm_by else { return true };
        // What was read may name more to be read.
        if !self.intake.is_filling()
            && let Some(wants) = self.core.take_wants()
        {
            self.want(now, &wants, effects);
        }
        let settled = self.intake.is_settled();
        if settled || by <= now.mono {
            tracing::info!(settled, "the cluster has been read");
            self.warm_by = None;
            self.look_at_all(now);
        }
        self.warm_by.is_none()
    }

    /// Judges some of what has come or is due, and notes which policies may stand otherwise now.
    fn judge(&mut self, now: Now, cause: ReceivedAt, effects: &mut Effects) {
        if self.core.is_settled(now) {
            return;
        }
        let round = self.core.step(now, VERDICTS);
        effects.lookups.extend(round.lookups);
        effects.urgent = round.urgent;
        if let Some(wants) = &round.wants {
            self.want(now, wants, effects);
        }
        // What has waited has the older cause.
        let cause = self.behind.unwrap_or(cause);
        self.behind = round.more.then_some(cause);
        let names = &self.core.index().names;
        for key in &round.standings {
            let policy = PolicyRef {
                namespace: names.shared(key.namespace),
                name: if key.namespace.is_empty() {
                    CLUSTER_POLICY_NAME.into()
                } else {
                    names.shared(key.name)
                },
            };
            self.look_at.put(policy, cause);
        }
        effects.judged = true;
        effects.turned |= !round.transitions.is_empty();
        let state = view::state(now, &self.core, true, self.remedies.is_some());
        if state != self.declared {
            self.declared.clone_from(&state);
            effects.state = Some(state);
        }
    }

    /// Reads anew of what objects were left out, where there is room again.
    fn read_again(&mut self, now: Now, effects: &mut Effects) {
        let core = &mut self.core;
        let with_room = core.read_again();
        let sink = &mut |input: Input<'_>| core.handle(now, input);
        for change in [
            self.intake.retry(sink),
            self.intake.read_again(now.mono, with_room, sink),
        ] {
            effects.watches.start.extend(change.start);
            effects.watches.stop.extend(change.stop);
        }
    }

    fn look_at_all(&mut self, now: Now) {
        for policy in self.statuses.policies() {
            self.look_at.put(policy.clone(), ReceivedAt::of(now));
        }
    }

    /// Follows the claim: a new holder compares every policy.
    fn lead(&mut self, now: Now, effects: &mut Effects) {
        let leads = self.leads(now);
        if leads == self.led {
            return;
        }
        let term = self.claim.map(|claim| claim.term);
        tracing::info!(leads, term, "leadership has changed");
        self.led = leads;
        self.look_at_all(now);
        effects.turned = true;
    }

    /// Whether this replica holds the Lease.
    fn leads(&self, now: Now) -> bool {
        self.claim.is_some_and(|claim| claim.is_live(now.mono))
    }

    /// Leave to send one request.
    fn permit(&self, now: Now) -> Option<Permit> {
        let claim = self.claim.filter(|_| !self.stopping)?;
        claim.permit(now.mono)
    }

    /// Compares statuses with how their policies stand, some at a time, and sends those that differ; not where verdicts
    /// may be outdated. A standby sends nothing, but remembers which to compare.
    fn compare(&mut self, now: Now, effects: &mut Effects) {
        let mut looked_at = 0;
        for _ in 0..LOOKS {
            if looked_at >= LOOKED_AT {
                break;
            }
            let Some(permit) = self.permit(now).filter(|_| self.gate.is_open(now.mono)) else {
                break;
            };
            let gate = &self.gate;
            let next = self.look_at.take(
                |namespace| gate.admits(namespace, now.mono) && !self.core.is_behind(namespace),
                |policy| !gate.is_under_way(policy),
            );
            let Some((policy, cause)) = next else { break };
            let Some(standing) = self.standing(now, &policy) else {
                continue;
            };
            looked_at += standing.total + standing.excepted;
            if let Some(patch) = self.statuses.patch(&policy, &standing, time(now)) {
                self.gate.enter(&policy, now.mono);
                self.send(permit, UnderWay::status(policy, cause, patch), effects);
            }
        }
    }

    fn standing(&self, now: Now, policy: &PolicyRef) -> Option<Standing> {
        if policy.is_cluster() {
            self.core.cluster_standing(now, &policy.name)
        } else {
            self.core.standing(now, &policy.namespace, &policy.name)
        }
    }

    /// When to step next although nothing happens.
    fn next(&self, now: Now) -> Next {
        if self.stopping {
            return Next::Never;
        }
        if let Some(by) = self.warm_by {
            return Next::At(by);
        }
        let gate = &self.gate;
        let may_send = self.permit(now).is_some();
        let ready = may_send
            && gate.is_open(now.mono)
            && self.look_at.any(
                |namespace| gate.admits(namespace, now.mono) && !self.core.is_behind(namespace),
                |policy| !gate.is_under_way(policy),
            );
        if ready || self.behind.is_some() {
            return Next::Now;
        }
        let opens = may_send.then(|| gate.opens_at(self.look_at.namespaces(), now.mono));
        let remedy = self.remedies.as_ref().and_then(|one| one.next(now.mono));
        let due = [
            self.core.deadline(now),
            self.intake.due(),
            opens.flatten(),
            remedy,
        ];
        let at = due.into_iter().flatten().min();
        at.map_or(Next::Never, Next::At)
    }
}

/// Keeps the statuses in step with lists and deletions of policies; returns the policy that is gone.
fn follow(statuses: &mut Statuses, input: &Input<'_>) -> Option<PolicyRef> {
    let is_policy = |source: Source| matches!(source, Source::Policies | Source::ClusterPolicy);
    match input {
        Input::Begin(source) if is_policy(*source) => statuses.begin(*source == Source::ClusterPolicy),
        Input::Synced(source) if is_policy(*source) => statuses.synced(*source == Source::ClusterPolicy),
        Input::Gone(source, namespace, name) if is_policy(*source) => {
            let policy = PolicyRef {
                namespace: (*namespace).into(),
                name: (*name).into(),
            };
            statuses.gone(&policy);
            return Some(policy);
        }
        _ => {}
    }
    None
}

/// The time that is written into objects.
fn time(now: Now) -> Timestamp {
    Timestamp::from_second(now.wall.0).unwrap_or_default()
}
