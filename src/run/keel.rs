//! The loop: the one task that owns the core.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use evenkeel_core::Core;
use evenkeel_core::facts::Wants;
use evenkeel_core::findings::FindingVerdict;
use evenkeel_core::judge::Severity;
use evenkeel_core::know::Now;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::follow::{follow, look};
use super::view;
use crate::api::PolicyRef;
use crate::clock::Clock;
use crate::lease::Claim;
use crate::metrics::Metrics;
use crate::query::{Agenda, Alerts, IndexView, Query, Readiness};
use crate::send::{FairQueue, Fate, Outbox, Reply};
use crate::status::Statuses;
use crate::watch::{Event, Events, Intake, Watches};

/// Events taken in before a round: bounds how long a burst can hold the loop.
const CHUNK: usize = 512;

/// Policies that are taken in, or asked how they stand, before the cluster is listened to again: bounds how long the
/// policies of one namespace can hold up the others.
const LOOKS: usize = 32;

/// Units that are judged before the cluster is listened to again, where thousands of policies govern one Service. Few: what
/// another Service is told passes several tasks of this thread, and each may have to wait for so many.
const UNITS: usize = 16;

/// How long the first picture may take before judging begins without the rest: what is missing is Unknown then.
const WARM_UP: Duration = Duration::from_secs(60);

/// Everything that the loop owns.
pub(super) struct Keel {
    core: Core,
    clock: Clock,
    intake: Intake,
    desk: Statuses,
    watches: Watches,
    events: Events,
    asks: mpsc::Receiver<Query>,
    replies: mpsc::Receiver<Reply>,
    claim: watch::Receiver<Option<Claim>>,
    state: watch::Sender<String>,
    /// Counts rounds that changed a verdict, and turns of leadership.
    turns: watch::Sender<u64>,
    outbox: Arc<Outbox>,
    metrics: Arc<Metrics>,
    /// When warming up ends at the latest; `None` when it has ended.
    warm_by: Option<Instant>,
    /// Policies whose status must be compared with their standing, and since when the cause is known.
    look_at: FairQueue<Instant>,
    /// Since when the cause is known of what the core has not judged yet, if there is such.
    behind: Option<Instant>,
    /// Whether what the core wants to be read may have changed since it was last asked.
    asks_again: bool,
    leading: bool,
}

impl Keel {
    #[allow(
        clippy::too_many_arguments,
        reason = "each is one end of a channel, named where it is made"
    )]
    pub(super) fn new(
        watches: Watches,
        events: Events,
        asks: mpsc::Receiver<Query>,
        replies: mpsc::Receiver<Reply>,
        claim: watch::Receiver<Option<Claim>>,
        state: watch::Sender<String>,
        turns: watch::Sender<u64>,
        outbox: Arc<Outbox>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let clock = Clock::default();
        Self {
            core: Core::live(clock.now()),
            clock,
            intake: Intake::default(),
            desk: Statuses::default(),
            watches,
            events,
            asks,
            replies,
            claim,
            state,
            turns,
            outbox,
            metrics,
            warm_by: Some(Instant::now() + WARM_UP),
            look_at: FairQueue::default(),
            behind: None,
            asks_again: true,
            leading: false,
        }
    }

    /// Runs until `stop` becomes true; an error is a part that has broken.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<()> {
        self.want();
        while !*stop.borrow() {
            let look = self.next_look();
            let more = self.behind.is_some() || self.warm_by.is_none() && self.may_tell();
            let mut received = Instant::now();
            tokio::select! {
                event = self.events.recv() => {
                    let Some(event) = event else { bail!("the watches have ended") };
                    received = event.received;
                    self.take(event);
                    self.drain();
                }
                Some(ask) = self.asks.recv() => {
                    self.answer(ask);
                    continue;
                }
                Some(reply) = self.replies.recv() => {
                    self.replied(&reply);
                    continue;
                }
                // Whatever else waits for this thread comes first.
                () = tokio::task::yield_now(), if more => {
                    if self.behind.is_none() {
                        self.tell(self.clock.now());
                        continue;
                    }
                }
                changed = self.claim.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                () = sleep_until(look.unwrap_or(received)), if look.is_some() => {}
                broken = self.watches.broken() => bail!(broken),
                _ = stop.changed() => break,
            }
            self.lead();
            self.round(received);
        }
        Ok(())
    }

    /// When to look next although nothing comes in.
    fn next_look(&self) -> Option<Instant> {
        let due = self
            .core
            .deadline(self.clock.now())
            .map(|at| self.clock.instant(at));
        let due = if self.warm_by.is_some() { None } else { due };
        due.into_iter().chain(self.warm_by).min()
    }

    /// Takes in one event: the core its inputs, the desk the policy objects.
    fn take(&mut self, event: Event) {
        let (now, received) = (self.clock.now(), event.received);
        let (core, desk, look_at) = (&mut self.core, &mut self.desk, &mut self.look_at);
        self.asks_again |= self.intake.take(event, &mut |input| {
            follow(desk, |target| look(look_at, target, received), &input);
            // What the core refuses it also lists.
            let _ = core.handle(now, input);
        });
        for object in self.intake.take_policies() {
            if let Some(target) = self.desk.saw(&object) {
                look(&mut self.look_at, target, received);
            }
        }
    }

    /// Takes in what has come meanwhile, up to a chunk of the cluster's and a few policies: they come by the thousand,
    /// and each is more work.
    fn drain(&mut self) {
        for _ in 0..CHUNK {
            let Some(event) = self.events.try_cluster() else {
                break;
            };
            self.take(event);
        }
        for _ in 0..LOOKS {
            let Some(event) = self.events.try_policies() else {
                break;
            };
            self.take(event);
        }
    }

    /// Asks the core what it wants to be read, and starts and stops watches.
    fn want(&mut self) {
        if !std::mem::take(&mut self.asks_again) {
            return;
        }
        let wants = Wants::of(self.core.index());
        let (core, now) = (&mut self.core, self.clock.now());
        let change = self
            .intake
            .want(&wants, &mut |input| drop(core.handle(now, input)));
        self.watches.apply(change);
    }

    /// Whether everything has been read once. Until then nothing is judged and nobody is told anything: verdicts on
    /// half a picture would turn a moment later.
    fn is_warm(&mut self) -> bool {
        let Some(by) = self.warm_by else { return true };
        if self.intake.is_settled() {
            // What was read may name more to be read.
            self.want();
        }
        if self.intake.is_settled() || by <= Instant::now() {
            tracing::info!(
                settled = self.intake.is_settled(),
                "the first picture is complete"
            );
            self.warm_by = None;
            self.look_at_all();
            return true;
        }
        false
    }

    /// Judges what has come or is due, and hands on what must be told.
    fn round(&mut self, received: Instant) {
        if !self.is_warm() {
            return;
        }
        let now = self.clock.now();
        if !self.core.is_settled(now) {
            self.judge(now, received);
        }
        self.want();
        self.tell(now);
    }

    /// Judges, and notes which policies may stand otherwise now.
    fn judge(&mut self, now: Now, received: Instant) {
        let began = Instant::now();
        let round = self.core.step(now, UNITS);
        // What waits has the older cause.
        let received = self.behind.unwrap_or(received);
        self.behind = round.more.then_some(received);
        let names = &self.core.index().names;
        for key in &round.standings {
            let target = PolicyRef {
                namespace: names.shared(key.namespace),
                name: if key.namespace.is_empty() {
                    crate::api::CLUSTER_POLICY_NAME.into()
                } else {
                    names.shared(key.name)
                },
            };
            look(&mut self.look_at, target, received);
        }
        if !round.transitions.is_empty() {
            self.turns.send_modify(|turns| *turns += 1);
        }
        self.metrics.round(began.elapsed());
        self.declare();
    }

    fn look_at_all(&mut self) {
        let now = Instant::now();
        for target in self.desk.targets() {
            look(&mut self.look_at, target.clone(), now);
        }
    }

    /// Whether there is something to look at, and a place for what must be told.
    fn may_tell(&self) -> bool {
        self.leading && self.look_at.any(|space| self.outbox.has_room(space))
    }

    /// How many policies wait to be told, as far as is known: a standby tells nobody.
    fn queue(&self) -> usize {
        let looks = if self.leading { self.look_at.len() } else { 0 };
        self.outbox.len() + looks
    }

    /// Puts into the outbox what statuses do not say yet, of some policies at a time. A standby tells nothing, but
    /// remembers to look.
    fn tell(&mut self, now: Now) {
        let time = Timestamp::from_second(now.wall.0).unwrap_or_default();
        for _ in 0..LOOKS {
            if !self.leading {
                break;
            }
            let room = |space: &str| self.outbox.has_room(space);
            let Some((target, received)) = self.look_at.take(room, |_| true) else {
                break;
            };
            let standing = if target.is_cluster() {
                self.core.cluster_standing(now, &target.name)
            } else {
                self.core.standing(now, &target.namespace, &target.name)
            };
            let Some(standing) = standing else {
                self.outbox.withdraw(&target);
                continue;
            };
            if let Some(order) = self.desk.order(&target, &standing, time) {
                self.outbox.put(target, order, received);
            }
        }
    }

    /// Follows the claim: a new holder looks at every policy, an old one forgets what it wanted to say.
    fn lead(&mut self) {
        let claim = *self.claim.borrow_and_update();
        let leads = claim.is_some();
        if leads == self.leading {
            return;
        }
        tracing::info!(
            leads,
            term = claim.map(|claim| claim.term),
            "leadership has changed"
        );
        self.leading = leads;
        self.outbox.clear();
        self.desk.forget_orders();
        self.look_at_all();
        // Whoever tells by other ways than statuses begins, or stops, now.
        self.turns.send_modify(|turns| *turns += 1);
    }

    fn replied(&mut self, reply: &Reply) {
        self.metrics.wrote(reply.outcome, reply.reaction);
        match &reply.fate {
            Fate::Told(status) => self.desk.answered(&reply.target, Some(status)),
            Fate::Dropped => self.desk.answered(&reply.target, None),
            // It still waits to be answered.
            Fate::Kept => {}
        }
    }

    /// What the holder writes beside the Lease, so that a dead operator can be told from a silent one.
    fn declare(&mut self) {
        let state = view::state(&self.core, self.warm_by.is_none());
        self.state.send_if_modified(|before| {
            let news = *before != state;
            if news {
                *before = state;
            }
            news
        });
    }

    fn answer(&self, ask: Query) {
        let now = self.clock.now();
        // Who has asked may have gone away.
        match ask {
            Query::Snapshot(answer) => {
                let picture = view::Scene {
                    core: &self.core,
                    desk: &self.desk,
                    watches: &self.watches.snapshot(),
                    leader: self.leading,
                    ready: self.warm_by.is_none(),
                    queue: self.queue(),
                };
                drop(answer.send(picture.paint(now)));
            }
            Query::Readiness(answer) => drop(answer.send(Readiness {
                ready: self.warm_by.is_none(),
                not_fresh: view::not_fresh(&self.core),
                leader: self.leading,
            })),
            Query::Watches(answer) => drop(answer.send(self.watches.snapshot())),
            Query::Index(answer) => drop(answer.send(IndexView::of(&self.core))),
            Query::Verdicts(answer) => drop(answer.send(self.core.findings_since(now))),
            Query::Agenda(answer) => drop(answer.send(Agenda {
                next_look_ms: self.next_look().map(|at| {
                    let wait = at.saturating_duration_since(Instant::now()).as_millis();
                    u64::try_from(wait).unwrap_or(u64::MAX)
                }),
                queue: self.queue(),
            })),
            Query::Alerts { service, answer } => drop(answer.send(self.alerts(now, &service))),
        }
    }

    fn alerts(&self, now: Now, service: &(String, String, String)) -> Alerts {
        if !self.leading || self.warm_by.is_some() {
            return Alerts::default();
        }
        let mut findings = self.core.findings_since(now).findings;
        let unknown = findings
            .iter()
            .filter(|one| one.verdict == FindingVerdict::Unknown);
        let unknown = unknown.map(|one| one.id.clone()).collect();
        findings.retain(|one| {
            one.exception.is_none()
                && one.verdict == FindingVerdict::Violated
                && one.severity >= Severity::Warning
        });
        Alerts {
            leader: true,
            findings,
            unknown,
            endpoints: self
                .core
                .index()
                .ready_sockets(&service.0, &service.1, &service.2),
        }
    }
}
