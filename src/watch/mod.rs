//! Keeps the index true while the operator runs: one pump for each thing that is watched.
//!
//! [`Intake`] decides, purely, what to watch and what the pumps' events are to the core; [`Watches`] runs the pumps.
//! The loop owns both:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use evenkeel::client::Link;
//! # use evenkeel::watch::{Intake, Watches};
//! # use evenkeel_core::{Core, know::Now};
//! # async fn run(link: Arc<Link>, now: Now) {
//! let mut core = Core::live(now);
//! let (mut watches, mut events) = Watches::new(link);
//! let mut intake = Intake::default();
//! while let Some(event) = events.recv().await {
//!     intake.take(event, &mut |input| core.handle(now, input));
//!     // After a chunk of events, a round, which says what is worth reading besides.
//!     if let Some(wants) = core.round(now).wants {
//!         let change = intake.want(&wants, &mut |input| core.handle(now, input));
//!         watches.apply(change);
//!     }
//! }
//! # }
//! ```

mod claim;
mod echo;
mod holders;
mod intake;
mod line;
mod line_prefix;
mod link;
mod outlet;
mod pace;
mod pods;
mod pump;
mod repeat;
mod retry;
mod seen;
mod server;
mod take;
mod target;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_core::know::Source;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

pub use intake::{Intake, Start, TargetChange};
#[cfg(test)]
pub(crate) use outlet::What;
pub use outlet::{Events, WatchEvent};
pub use seen::{WatchState, WatchStatus};
pub use target::{Id, Target};

pub use crate::resources::RIGHTS;

use crate::client::Link;
use claim::TargetClaim;
use outlet::Outlets;
use pace::LISTS_APART;
use pump::{Pump, Turns};
use seen::Seen;

/// The running pumps. Dropping it ends them.
#[derive(Debug)]
pub struct Watches {
    link: Arc<Link>,
    outlets: Outlets,
    turns: Turns,
    urgent: watch::Sender<BTreeSet<Arc<str>>>,
    tasks: JoinSet<()>,
    pumps: BTreeMap<Id, (AbortHandle, Seen)>,
    /// When Pods were last read that may have to be read anew soon.
    last_lists: BTreeMap<Target, Instant>,
}

impl Watches {
    /// No pumps yet, and where their events will come out.
    pub fn new(link: Arc<Link>) -> (Self, Events) {
        let (outlets, events) = outlet::channels();
        let (urgent, turns) = watch::channel(BTreeSet::new());
        let watches = Self {
            link,
            outlets,
            turns: Turns::new(turns),
            urgent,
            tasks: JoinSet::new(),
            pumps: BTreeMap::new(),
            last_lists: BTreeMap::new(),
        };
        (watches, events)
    }

    /// Starts and stops pumps as [`Intake::want`] says.
    pub fn apply(&mut self, change: TargetChange) {
        for id in &change.stop {
            if let Some((handle, _)) = self.pumps.remove(id) {
                handle.abort();
            }
        }
        let now = Instant::now();
        self.last_lists.retain(|_, at| *at + LISTS_APART > now);
        // One that has started and stopped in one step never begins.
        let starts = change.start.into_iter();
        for Start { id, target, known } in starts.filter(|start| !change.stop.contains(&start.id)) {
            let seen = Seen::new(target.source, target.show());
            let mut claim = TargetClaim::new(id, self.outlets.of(target.source), seen.clone());
            if known {
                claim.inherit();
            }
            let begin = self.begin(&target, now);
            let pump = Pump::new(target, self.link.clone(), self.turns.clone(), claim);
            let handle = self.tasks.spawn(pump.run(begin));
            self.pumps.insert(id, (handle, seen));
        }
    }

    /// Says in which namespaces critical findings rest on Pods: there it is noticed sooner that Pods are read no longer.
    pub fn set_urgent(&self, namespaces: BTreeSet<Arc<str>>) {
        self.urgent.send_replace(namespaces);
    }

    /// When a target may be read. One that is read anew because more of its objects are wanted waits for its turn: who
    /// edits policies over and over must not have the Pods of a namespace listed each time.
    fn begin(&mut self, target: &Target, now: Instant) -> Instant {
        let at = match self.last_lists.get(target) {
            Some(last) if *last > now => *last,
            Some(last) => (*last + LISTS_APART).max(now),
            None => now,
        };
        if target.source == Source::Pods {
            self.last_lists.insert(target.clone(), at);
        }
        at
    }

    /// What every pump is doing, for `/debug/watches` and metrics.
    pub fn snapshot(&self) -> Vec<WatchStatus> {
        let now = Instant::now();
        self.pumps.values().map(|(_, seen)| seen.snapshot(now)).collect()
    }

    /// Waits until a pump has ended although it was not stopped: a defect, after which the process must not pretend to
    /// be watching. Never returns otherwise. Safe to cancel.
    pub async fn broken(&mut self) -> String {
        loop {
            match self.tasks.join_next().await {
                Some(Err(error)) if error.is_cancelled() => {}
                Some(Err(error)) => return format!("a watch pump has failed: {error}"),
                Some(Ok(())) => return "a watch pump has ended".into(),
                // Without pumps there is nothing that could end; the caller's other branches go on.
                None => std::future::pending().await,
            }
        }
    }
}
