//! The whole program without IO: what is known, what was judged, and what is to be judged again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::{self, Dirt, Engine, MeasuredNodes};
use crate::findings::{
    self, Alertable, FindingList, FindingVerdict, NotJudged, SubjectView, Summary, in_part,
};
use crate::fitness::{self, Fitness};
use crate::fleet::{Fleet, Wants, WantsTracker};
use crate::history::{History, PodQuery};
use crate::index::{Dep, Deps, Index, Part};
use crate::judge::{Check, Severity, Subject};
use crate::know::{Mono, Now, Source};
use crate::names::{InUse, Key, Name};
use crate::plan::{Planner, Sight};
use crate::remedies::StormRule;

/// Sources without which no policy can be judged.
pub(crate) const ESSENTIAL: [Source; 2] = [Source::Services, Source::EndpointSlices];

/// The whole program without IO.
#[derive(Debug)]
pub struct Core {
    pub(crate) index: Index,
    pub(crate) history: History,
    pub(crate) engine: Engine,
    pub(crate) dirt: Dirt,
    /// Nodes that were measured, and are not judged for it yet.
    pub(crate) measured: MeasuredNodes,
    /// When exceptions end, in seconds of wall time, sorted, and of which policy, as of the last round.
    pub(crate) ends: Vec<(i64, Key)>,
    /// The second of wall time of the last round.
    pub(crate) judged: i64,
    /// What is worth reading beyond whole lists.
    pub(crate) reading: WantsTracker,
    /// Whether the control plane is fit for acts on nodes.
    pub(crate) fitness: fitness::Latch,
    /// What remedies would do.
    pub(crate) planner: Planner,
}

/// What a round brought.
#[derive(Debug, Default)]
pub struct Round {
    /// Checks and subjects whose verdict changed.
    pub transitions: Vec<(usize, Subject)>,
    /// Teams' policies whose [standing](crate::standing) may have changed, by namespace and name; the empty key is the platform's.
    /// Names are those of [`Core::index`].
    pub standings: BTreeSet<Key>,
    /// What is worth reading beyond whole lists, when that is something else than before.
    pub wants: Option<Wants>,
    /// Namespaces in which critical findings rest on Pods, when they are others than before: there it has to be noticed
    /// sooner that Pods are read no longer.
    pub urgent: Option<BTreeSet<Arc<str>>>,
    /// Single Pods to read once, because Events say that something happened to them: each is answered by
    /// [`crate::Input::Lookup`].
    pub lookups: Vec<PodQuery>,
    /// How many units were judged: what a change costs.
    pub units: usize,
    /// To how many verdicts that came, and a few more: what a step is measured by.
    pub verdicts: usize,
    /// Whether more is to be judged now: only after a [`Core::step`]. A namespace that has had its share waits until
    /// [`Core::deadline`].
    pub more: bool,
}

impl Core {
    /// A core that judges by these checks, and remembers what `history` does. Everything has to be judged yet.
    pub(crate) fn of(checks: &'static [Check], history: History) -> Self {
        let mut core = Self {
            index: Index::default(),
            history,
            engine: Engine::of(checks),
            dirt: Dirt {
                all: true,
                ..Dirt::default()
            },
            measured: MeasuredNodes::default(),
            ends: Vec::new(),
            judged: i64::MIN,
            reading: WantsTracker::default(),
            fitness: fitness::Latch::default(),
            planner: Planner::default(),
        };
        core.fold_cluster_policy();
        core
    }

    /// Forgets texts that nothing holds any more. A step does so by itself when enough have come; names of an earlier
    /// [`Round`] mean nothing afterwards.
    pub fn forget(&mut self) {
        let mut held = InUse::none_of(&self.index.names);
        self.index.hold(&mut held);
        self.history.hold(&mut held);
        self.engine.hold(&mut held);
        self.dirt.hold(&mut held);
        self.measured.hold(&mut held);
        self.reading.hold(&mut held);
        self.planner.hold(&mut held);
        held.all(self.ends.iter().map(|one| one.1));
        self.index.names.sweep(&held);
    }

    /// Judges what is dirty or due.
    pub fn round(&mut self, now: Now) -> Round {
        self.step(now, usize::MAX)
    }

    /// Like `round`, coming to about `most` verdicts and leaving the rest to the next steps. Until its step comes, a verdict
    /// is older than the last input; where a source was lost since, it is shown as Unknown, and where [`Core::is_behind`]
    /// says so, no [standing](crate::standing) is to be computed.
    pub fn step(&mut self, now: Now, most: usize) -> Round {
        if self.index.names.is_sweep_due() {
            self.forget();
        }
        // What was too short to be judged by is long enough now, for every unit that rests on it.
        let (reached, changed) = self.history.tick(now.mono);
        if reached {
            self.dirt.deps = self.dirt.deps.with(Dirt::HISTORY);
        }
        if changed {
            self.mark_history(Dirt::HISTORY);
        }
        if self.index.samples.tick(now.mono) {
            self.dirt.deps = self.dirt.deps.with(Deps::one(Dep::SampleGaps));
        }
        let all = most == usize::MAX;
        self.measured.settle(now.mono, all, &mut self.dirt);
        let dirt = std::mem::take(&mut self.dirt);
        let mut standings = self.exceptions(now, &dirt);
        standings.extend(dirt.policies.iter().copied());
        self.observed_otherwise(&dirt, &mut standings);
        self.compared_otherwise(&dirt, &mut standings);
        self.unread_otherwise(&dirt, &mut standings);
        if dirt.platform() {
            standings.insert(Key::default());
        }
        let judged = self.engine.round(now, &self.index, &self.history, dirt, most);
        self.settle_fitness(now, &judged.transitions);
        standings.extend(judged.owners);
        standings.extend(self.engine.take_recounted());
        let sight = Sight {
            now,
            index: &self.index,
            history: &self.history,
            fitness: &self.fitness,
        };
        if self.planner.round(sight) {
            standings.insert(Key::default());
        }
        Round {
            transitions: judged.transitions,
            standings,
            wants: self.take_wants(),
            urgent: self.take_urgent(),
            lookups: self.history.lookups(now.mono),
            units: judged.units,
            verdicts: judged.verdicts,
            more: self.engine.is_ready(),
        }
    }

    fn take_urgent(&mut self) -> Option<BTreeSet<Arc<str>>> {
        let names = &self.index.names;
        let urgent = self.engine.take_urgent()?;
        Some(urgent.map(|name| names.shared(name)).collect())
    }

    /// Whether nodes may be acted on, as far as the control plane is concerned.
    pub fn fitness(&self, now: Now) -> Fitness {
        let policy = self.index.cluster_policy();
        let storm = policy.map(|policy| policy.storm).unwrap_or_default();
        self.fitness.fitness(now.mono, StormRule::of(&storm).cooldown)
    }

    /// Follows the verdicts that veto acts on nodes.
    fn settle_fitness(&mut self, now: Now, transitions: &[(usize, Subject)]) {
        let checks = self.engine.checks();
        let concerned = |at: &usize| checks.get(*at).is_some_and(|check| fitness::concerns(check.id));
        let first = !self.fitness.is_judged();
        // What is in no namespace: how long others' units wait does not matter.
        if first && self.engine.is_outdated(Name::EMPTY) {
            return;
        }
        if !first && !transitions.iter().any(|one| concerned(&one.0)) {
            self.fitness.hold(now.mono);
            return;
        }
        let bad = self.engine.bad();
        let verdicts = bad.map(|(check, _, reported)| (check.id, &*reported.verdict));
        let present = fitness::of(verdicts, self.index.samples.is_observed());
        self.fitness.set(now.mono, present);
    }

    /// What is worth reading beyond whole lists, when that is something else than when this was last asked; a round asks
    /// as well.
    pub fn take_wants(&mut self) -> Option<Wants> {
        self.reading.take(&self.index, self.engine.measured())
    }

    /// Kinds that are worth reading anew, each with a namespace: objects of it were refused as it had its share, and it has room
    /// now. Said once.
    pub fn read_again(&mut self) -> Vec<(Source, Arc<str>)> {
        let mut shares = std::mem::take(&mut self.index.shares);
        let found = shares.with_room(|namespace| self.index.trusts(namespace));
        self.index.shares = shares;
        let names = &self.index.names;
        let shown = found
            .into_iter()
            .map(|(source, name)| (source, names.shared(name)));
        shown.collect()
    }

    /// Policies of which an input became fresh, or no longer is: their statuses say so without any verdict changing.
    fn observed_otherwise(&self, dirt: &Dirt, standings: &mut BTreeSet<Key>) {
        if dirt.all {
            standings.insert(Key::default());
        }
        let essential = |source| ESSENTIAL.contains(&source);
        let parts: BTreeSet<Part> = dirt
            .freshness
            .iter()
            .filter(|one| essential(one.0))
            .map(|one| one.1)
            .collect();
        let all = dirt.all || parts.contains(&Part::Whole);
        if all || !parts.is_empty() {
            let policies = self.index.policies.iter().map(|(key, _)| key);
            let concerned = |key: &Key| all || parts.contains(&Part::Namespace(key.namespace));
            standings.extend(policies.filter(concerned));
        }
    }

    /// Brings the ends of exceptions up to date; returns the policies that stand otherwise for it.
    fn exceptions(&mut self, now: Now, dirt: &Dirt) -> BTreeSet<Key> {
        let since = self.judged;
        self.judged = now.wall.0;
        let ended = |end: i64| since < end && end <= now.wall.0;
        let mut standings: BTreeSet<Key> = self
            .ends
            .iter()
            .filter(|(end, _)| ended(*end))
            .map(|(_, key)| *key)
            .collect();
        if dirt.moves_exceptions() {
            let days = self.index.max_exception_days();
            let policies = self.index.policies.iter();
            // One that is counted from now moves on with time: it ends by its own word.
            let teams =
                policies.flat_map(|(key, policy)| policy.exceptions.iter().map(move |one| (key, one)));
            let platform = self.index.cluster_policy().into_iter();
            let platform = platform.flat_map(|policy| policy.exceptions.iter());
            let platform = platform.map(|one| (Key::default(), &one.exception));
            // One that ended early is shown as ended until its own expiry; then it is history.
            let ends = teams.chain(platform).flat_map(|(key, one)| {
                [one.ends_at(days, one.expires_at), one.expires_at].map(|end| (end.0, key))
            });
            self.ends = ends.collect();
            self.ends.sort_unstable();
            self.ends.dedup();
            if dirt.platform() {
                standings.extend(self.ends.iter().map(|(_, key)| *key));
            }
        }
        standings
    }

    /// Whether a round would find nothing to judge: what came since the last one has said nothing new, as most heartbeats
    /// of Nodes do, and no time has come.
    pub fn is_settled(&self, now: Now) -> bool {
        self.dirt.is_empty() && !self.engine.is_ready() && self.deadline(now).is_none_or(|at| now.mono < at)
    }

    /// Whether something in a namespace is not judged yet: it never was, or a source was lost since. A standing that is
    /// computed now may say what is so no longer. The empty name is for the platform's policy.
    pub fn is_behind(&self, namespace: &str) -> bool {
        let name = self.index.names.find(namespace);
        name.is_some_and(|name| self.engine.is_outdated(name))
    }

    /// When time alone may change a verdict, in monotonic time, as of the last round; `None` when only an
    /// input can.
    pub fn deadline(&self, now: Now) -> Option<Mono> {
        let ended = self.ends.partition_point(|(end, _)| *end <= self.judged);
        let next = self
            .engine
            .again()
            .into_iter()
            .chain(self.ends.get(ended).map(|(end, _)| *end))
            .min();
        let next = next.map(|next| {
            let seconds = u64::try_from(next - now.wall.0).unwrap_or(0);
            now.mono.plus(seconds.saturating_mul(1000))
        });
        [
            next,
            self.engine.woken(),
            self.history.due(),
            self.index.samples.due(),
            self.measured.due(),
            self.planner
                .due(self.index.cluster_policy.as_ref(), &self.history),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Every finding, as of the last round.
    pub fn findings(&self, now: Now) -> FindingList {
        let all = self.engine.bad().collect();
        self.list(now, all, false)
    }

    /// What is worth an alert, as of the last round: as text at most so many of each namespace, the worst first.
    pub fn alertable(&self, now: Now, of_each: usize) -> Alertable {
        Alertable::of(&self.index, &self.engine, now, of_each)
    }

    /// At most so many findings with since when each verdict holds, the worst of each namespace: for a core that has judged
    /// for a while. A note says how many are left out; they are counted all the same.
    pub fn findings_since(&self, now: Now, most: usize) -> FindingList {
        let (shown, beyond) = findings::worst(&self.index, &self.engine, most);
        let mut list = self.list(now, shown, true);
        if beyond > 0 {
            let said = format!(
                "{beyond} more findings are left out: at most {most} are listed, the worst of each namespace"
            );
            list.notes.push(said.into());
        }
        list
    }

    fn list(
        &self,
        now: Now,
        shown: Vec<(&'static Check, Subject, &engine::Reported)>,
        since: bool,
    ) -> FindingList {
        let report = |(check, subject, held): (_, _, &engine::Reported)| {
            let mut finding = findings::report(&self.index, now.wall, check, subject, held)?;
            finding.since = since.then_some(held.since.0);
            Some(finding)
        };
        let mut findings: Vec<_> = shown.into_iter().filter_map(report).collect();
        findings::sort(&mut findings);
        let tally = self.engine.tallies().total();
        let verdicts = self
            .engine
            .bad()
            .filter_map(|(_, _, held)| FindingVerdict::of(&held.verdict));
        let mut summary = Summary {
            met: tally.met,
            at_risk: 0,
            violated: 0,
            unknown: tally.unknown,
            not_applicable: tally.not_applicable,
        };
        for verdict in verdicts {
            *match verdict {
                FindingVerdict::AtRisk => &mut summary.at_risk,
                FindingVerdict::Violated => &mut summary.violated,
                FindingVerdict::Unknown => &mut summary.unknown,
            } += 1;
        }
        FindingList {
            api_version: "evenkeel.dev/v1alpha1",
            kind: "FindingList",
            findings,
            unreadable: findings::unreadable(&self.index),
            not_judged: NotJudged::of(
                &self.engine,
                self.history.is_live(),
                in_part::all(&self.index, &self.engine),
            ),
            notes: Vec::new(),
            summary,
        }
    }

    /// What is met, by the id of the check, as of the last round; of subjects that are asked for. It judges them again, as
    /// these verdicts are only counted.
    pub fn met(
        &self,
        now: Now,
        asked: &dyn Fn(&str, &SubjectView) -> bool,
    ) -> BTreeMap<&'static str, findings::Met> {
        let mut all: BTreeMap<&'static str, findings::Met> = BTreeMap::new();
        for (check, subject) in self.engine.met(now, &self.index, &self.history) {
            let (view, _) = findings::view(&self.index, subject);
            if asked(check.id, &view) {
                all.entry(check.id).or_default().add(view);
            }
        }
        all
    }

    /// How many objects there are to judge; of Services and policies those in namespaces that are asked for.
    pub fn judged(&self, asked: &dyn Fn(&str) -> bool) -> findings::JudgedObjects {
        let within = |key: &Key| asked(self.index.names.text(key.namespace));
        // What was read of it counts, also where its whole was refused.
        let counted =
            |source, count: usize| (count > 0 || self.index.unread(source).is_none()).then_some(count);
        findings::JudgedObjects {
            nodes: counted(Source::Nodes, self.index.nodes.iter().count()),
            services: counted(
                Source::Services,
                self.index.services.iter().filter(|one| within(&one.0)).count(),
            ),
            policies: counted(
                Source::Policies,
                self.index.policies.iter().filter(|one| within(&one.0)).count(),
            ),
            platform: self.index.cluster_policy().is_some(),
        }
    }

    /// The namespace with the most Services that select Pods, outside of the platform's: where a first policy tells the
    /// most. Of those that are asked for; of equal ones the first by name.
    pub fn busiest_namespace(&self, asked: &dyn Fn(&str) -> bool) -> Option<&str> {
        let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
        for (key, service) in self.index.services.iter() {
            let namespace = self.index.names.text(key.namespace);
            if service.selects() && !self.index.trusts(key.namespace) && asked(namespace) {
                *counted.entry(namespace).or_default() += 1;
            }
        }
        counted.into_iter().rev().max_by_key(|one| one.1).map(|one| one.0)
    }

    /// How many findings there are, without their texts: by check, verdict, severity and whether somebody has
    /// accepted them.
    pub fn census(&self, now: Now) -> BTreeMap<(&'static str, FindingVerdict, Severity, bool), u32> {
        let mut census = BTreeMap::new();
        for (check, subject, held) in self.engine.bad() {
            let excepted = findings::exception(&self.index, now.wall, check, subject).is_some();
            let Some(verdict) = FindingVerdict::of(&held.verdict) else {
                continue;
            };
            let severity = check.severity_of(&held.verdict);
            *census.entry((check.id, verdict, severity, excepted)).or_default() += 1;
        }
        census
    }

    /// Critical findings that are Violated and that no exception accepts: how many, by check, the namespace that they are
    /// about (empty for the cluster and its nodes), and the name of the policy (empty for the baseline).
    pub fn criticals(&self, now: Now) -> BTreeMap<(&'static str, &str, &str), u32> {
        let mut criticals = BTreeMap::new();
        let names = &self.index.names;
        for (check, subject, held) in self.engine.bad() {
            if FindingVerdict::of(&held.verdict) == Some(FindingVerdict::Violated)
                && check.severity_of(&held.verdict) == Severity::Critical
                && findings::exception(&self.index, now.wall, check, subject).is_none()
            {
                let namespace = subject.home().map_or("", |name| names.text(name));
                let policy = subject.policy().map_or("", |key| names.text(key.name));
                *criticals.entry((check.id, namespace, policy)).or_default() += 1;
            }
        }
        criticals
    }

    /// What is known of the cluster.
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// What the nodes effectively do, as of the last round.
    pub const fn fleet(&self) -> &Fleet {
        &self.engine.fleet
    }
}
