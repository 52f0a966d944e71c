//! What changed, into [`crate::history`]: called where a row has changed, after the index has it.

use crate::engine::Dirt;
use crate::history::{Answer, Failure, History, PodAnswer, PodQuery};
use crate::index::{Deps, Part, place};
use crate::know::{Now, Source};
use crate::names::{Key, Name};
use crate::program::Core;
use crate::sample::CalmLevels;
use crate::sources::disruption::{DisruptionReason, PodDisruption};
use crate::sources::event::{self, Event};
use crate::sources::node::{Node, Readiness};
use crate::sources::slice::Slice;
use crate::sources::workload::{Pod, SinglePod};

/// Window of arrivals where the platform's policy sets none, in seconds: the default of `nodes.cascade.windowSeconds`.
const CASCADE_SECONDS: u32 = 600;

/// For how long a node is a newcomer that fills up with Pods, in seconds.
const NEWCOMER: i64 = 1800;

impl Core {
    /// What was seen to change.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Folds a slice that came, changed or went.
    pub(crate) fn fold_slice(&mut self, key: Key, old: Option<&Slice>) {
        if !self.history.is_live() {
            return;
        }
        let (now, happens) = (self.history.now, self.history.happens(Source::EndpointSlices));
        let before = self.history.backends.churn.storm(now).map(|storm| storm.minutes);
        self.history.fold_slice(happens, &self.index, key, old);
        if self.history.backends.churn.storm(now).map(|storm| storm.minutes) != before {
            self.mark_history(Dirt::HISTORY);
        }
    }

    /// Folds a node that came, changed or went.
    pub(crate) fn fold_node(&mut self, key: Key, old: Option<&Node>) {
        if !self.history.is_live() {
            return;
        }
        let (now, happens) = (self.history.now, self.history.happens(Source::Nodes));
        let new = self.index.nodes.get(key);
        let ready = |node: Option<&Node>| node.is_some_and(|node| node.ready == Readiness::Ready);
        self.history.nodes.fold(now, happens, key.name, old, new);
        // What a controller or a provider takes away did not fail.
        let names = &self.index.names;
        let failed = new
            .filter(|node| happens && ready(old) && !ready(new) && !node.leaving && !node.is_spot(names))
            .map(|node| (node.created, node.ready_since));
        // While the list of nodes is not complete, counts say nothing. What comes late still shows the present state.
        let coverage = self.history.coverage(Source::Nodes);
        let complete = happens || coverage.is_some_and(|held| held.since().is_some());
        for node in [old, new].into_iter().flatten().filter(|_| complete) {
            let place = place(&self.index.names, node);
            let tally = self.index.sums.place(place, self.history.wall);
            if self.history.zones.fold(now, place, tally) {
                self.dirt.zones.insert(place.0);
            }
        }
        let Some((created, since)) = failed else {
            return;
        };
        let window = self.history.backends.window();
        let (before, mut grown) = self.history.backends.grown(now, key.name);
        // A node that has just joined fills up: nobody's Pods moved to it.
        let joined = self.history.nodes.past(key.name).joined;
        let young = match (created, since) {
            (Some(created), Some(since)) => since.0.saturating_sub(created.0) < NEWCOMER,
            _ => false,
        };
        if young || joined.is_some_and(|at| now.since(at) < NEWCOMER.unsigned_abs() * 1000) {
            grown = 0;
        }
        self.history.nodes.failed(Failure {
            at: now,
            node: key.name,
            before,
            grown,
            seen: self
                .history
                .covers(now, Source::EndpointSlices, Part::Whole, window)
                .is_ok(),
        });
        self.mark_history(Dirt::HISTORY);
    }

    /// The list of nodes is complete.
    pub(crate) fn fold_nodes_listed(&mut self) {
        if self.history.is_live() {
            let now = self.present();
            self.history.zones.look(now, &self.index.sums);
            self.history.nodes.begin(now.mono);
            self.dirt.zones.extend(self.history.zones.names());
            self.mark_history(Dirt::HISTORY);
        }
    }

    /// Folds an event: it says which Pod to look at. Without a history it is not even read. There may be more of them than
    /// of anything else, so one that is not understood is not remembered.
    pub(crate) fn fold_event(&mut self, now: Now, json: &[u8]) {
        if !self.history.is_live() {
            return;
        }
        let Ok(Some(event)) = Event::parse(json) else {
            return;
        };
        let namespace = self.index.names.intern(&event.namespace);
        let workload = Key {
            namespace,
            name: self.index.names.intern(event.workload()),
        };
        let happens = self.history.happens(Source::Events);
        if !self.history.events.told(now, happens, &event, workload) {
            return;
        }
        self.dirt.workloads.insert(workload);
        let held = self.index.names.find(&event.pod);
        let held = held.and_then(|name| self.index.pods.get(Key { namespace, name }));
        let same = |one: &PodDisruption| event.uid == 0 || event.uid == one.uid;
        let confirmed = held.and_then(|row| Some((row.disruption.filter(same)?, row.node)));
        if let Some((disruption, node)) = confirmed {
            self.confirm(now, namespace, &event.pod, disruption, node);
        } else if held.is_none() || !self.history.happens_in(Source::Pods, Part::Namespace(namespace)) {
            // Of a Pod that is watched the watch will say it.
            self.history.look_up(&event);
        }
    }

    /// Folds a Pod that came, changed or went: that it was made to go is seen in its status before it is deleted.
    pub(crate) fn fold_pod(&mut self, key: Key, old: Option<&Pod>) {
        let Some(new) = self.index.pods.get(key) else {
            return;
        };
        let (Some(disruption), node) = (new.disruption, new.node) else {
            return;
        };
        let happens = self
            .history
            .happens_in(Source::Pods, Part::Namespace(key.namespace));
        if !happens || old.is_some_and(|old| old.disruption == Some(disruption)) {
            return;
        }
        let (now, pod) = (self.present(), self.index.names.shared(key.name));
        self.confirm(now, key.namespace, &pod, disruption, node);
    }

    /// Folds what became of reading a Pod that an Event named.
    pub(crate) fn fold_answer(&mut self, now: Now, pod: &PodQuery, answer: &PodAnswer<'_>) {
        if !self.history.is_live() {
            return;
        }
        let names = &mut self.index.names;
        let mut node = Name::EMPTY;
        let answer = match answer {
            PodAnswer::Found(json) => SinglePod::parse(json, names).map_or(Answer::Failed, |status| {
                node = status.node;
                Answer::Found(status.uid, status.disruption)
            }),
            PodAnswer::Refused(why) => Answer::Refused((*why).into()),
            PodAnswer::Gone => Answer::Gone,
            PodAnswer::Failed => Answer::Failed,
        };
        let namespace = names.intern(&pod.namespace);
        let (decided, gap_changed) = self.history.looked_up(pod, &answer);
        if gap_changed {
            self.mark_history(Dirt::PAST_EVENTS);
        }
        if let Some(disruption) = decided {
            self.confirm(now, namespace, &pod.name, disruption, node);
        }
    }

    fn present(&self) -> Now {
        Now {
            mono: self.history.now,
            wall: self.history.wall,
        }
    }

    /// Counts a Pod of which the status says that it was made to go.
    fn confirm(&mut self, now: Now, namespace: Name, pod: &str, disruption: PodDisruption, node: Name) {
        let workload = Key {
            namespace,
            name: self.index.names.intern(event::workload(pod)),
        };
        if !self
            .history
            .events
            .confirmed(now, (workload, pod), disruption, node)
        {
            return;
        }
        match disruption.reason {
            DisruptionReason::Evicted => drop(self.dirt.evicted_from.insert(node)),
            DisruptionReason::Preempted => drop(self.dirt.workloads.insert(workload)),
        }
    }

    /// Something changed that marks the units that depend on it.
    pub(crate) fn mark_history(&mut self, deps: Deps) {
        self.dirt.history = self.dirt.history.with(deps);
    }

    /// Takes note of how fresh a part of a source has become.
    pub(crate) fn fold_freshness(&mut self, source: Source, part: Part) {
        let freshness = self.index.freshness_of(source, part);
        self.history.freshness(source, part, freshness);
        self.mark_history(Dirt::HISTORY);
    }

    /// Takes the windows that the platform's policy sets.
    pub(crate) fn fold_cluster_policy(&mut self) {
        let cascade = self
            .index
            .cluster_policy
            .as_ref()
            .and_then(|policy| policy.nodes.cascade);
        let seconds = cascade.map_or(CASCADE_SECONDS, |one| one.window_seconds);
        self.history.backends.set_window(u64::from(seconds) * 1000);
        let policy = self.index.cluster_policy.as_deref();
        let waits = policy.and_then(|policy| policy.nodes.pressure);
        let levels = CalmLevels::of(
            policy.and_then(|policy| policy.conntrack.max_occupancy_percent),
            waits.map(|one| [one.cpu_some_percent, one.memory_some_percent, one.io_some_percent]),
        );
        self.index.samples.set_levels(levels);
        self.mark_history(Dirt::HISTORY);
    }
}
