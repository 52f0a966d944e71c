//! One pass over one unit: which subjects it has, and what each check says of them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::declared::for_paths;
use super::tally::Tally;
use super::unit::{About, At, Judgement, PATHS, Reported, Scope, WorkUnit};
use crate::fleet::Fleet;
use crate::history::History;
use crate::index::{Dep, Deps, Index};
use crate::judge::{
    Check, Dependencies, Judge, Look, Memory, SampledUntil, Selections, ServiceCase, Subject, Verdict,
};
use crate::know::{Gap, Known, Mono, Now, Reads, Source};
use crate::names::{Key, Name};
use crate::policy::Policy;
use crate::sources::service::Service;

/// The place of a check in the table, what it judged, and the name of its verdict.
pub(super) type VerdictKey = (usize, Subject, &'static str);

/// What the judging of one unit goes through.
pub(super) struct Pass<'a> {
    now: Now,
    index: &'a Index,
    history: &'a History,
    fleet: &'a Fleet,
    unit: WorkUnit,
    /// What was held of it.
    before: &'a Judgement,
    checks: &'static [Check],
    /// How many paths may be judged; `None` when nothing may.
    paths: Option<u64>,
    /// What selectors were seen to select since the rows last changed.
    selections: Option<&'a Selections>,
    bad: BTreeMap<At, Reported>,
    tally: Tally,
    deps: Dependencies,
    goes_on: bool,
    again: Option<i64>,
    wake: Option<Mono>,
    sampled: SampledUntil,
    /// Every verdict by its name, with the place of its check in the table, where those that are only counted are asked
    /// for, too.
    said: Option<Vec<VerdictKey>>,
}

impl<'a> Pass<'a> {
    /// A pass over a unit, of which this was held before.
    pub(super) fn new(
        now: Now,
        index: &'a Index,
        history: &'a History,
        fleet: &'a Fleet,
        checks: &'static [Check],
        unit: WorkUnit,
        before: &'a Judgement,
    ) -> Self {
        Self {
            now,
            index,
            history,
            fleet,
            unit,
            before,
            checks,
            paths: Some(u64::MAX),
            selections: None,
            bad: BTreeMap::new(),
            tally: Tally::default(),
            deps: Dependencies::default(),
            goes_on: false,
            again: None,
            wake: None,
            sampled: SampledUntil::default(),
            said: None,
        }
    }

    /// The same for so many paths; `None` for nothing at all.
    pub(super) const fn within(mut self, paths: Option<u64>) -> Self {
        self.paths = paths;
        self
    }

    /// The same, which remembers what selectors select: nothing may have changed since that was last cleared.
    pub(super) const fn remembering(mut self, selections: &'a Selections) -> Self {
        self.selections = Some(selections);
        self
    }

    /// Every verdict on the unit, with the check that comes to it: also those that are only counted.
    pub(super) fn said(mut self) -> Vec<VerdictKey> {
        self.said = Some(Vec::new());
        self.judge();
        self.said.unwrap_or_default()
    }

    /// Judges it from nothing.
    pub(super) fn judged(mut self) -> Judgement {
        self.judge();
        let deps = self.deps;
        let beyond = !(deps.services.is_empty() && deps.pods_in.is_empty() && deps.gaps_in.is_empty());
        Judgement {
            tally: self.tally,
            bad: self.bad.into_iter().collect(),
            deps: deps.deps,
            gaps: deps.gaps,
            goes_on: self.goes_on,
            beyond: beyond.then(|| Box::new(deps)),
            again: self.again,
            wake: self.wake.into_iter().chain(self.sampled.until).min(),
            sampled: self.sampled.metrics,
            unsampled: self.wake,
        }
    }

    fn judge(&mut self) {
        match self.unit.about {
            About::List => self.list(),
            About::Service(key) => self.service(key),
            About::Node(name) => self.node(name),
            About::Zone(name) => self.zone(name),
            About::Webhook(key) => self.webhook(key),
            About::Workload(key) => self.workload(key),
            About::Check(at) => self.cluster(usize::from(at)),
        }
    }

    /// The checks of its scope, with their places in the table; without a history only those that can do without.
    fn checks(&self) -> impl Iterator<Item = (usize, &'static Check)> + use<> {
        let (scope, live) = (self.unit.scope, self.history.is_live());
        let measured = self.index.samples().is_observed();
        self.checks
            .iter()
            .enumerate()
            .filter(move |(_, check)| Scope::of(check) == scope)
            .filter(move |(_, check)| live || check.history != Memory::Needed)
            .filter(move |(_, check)| measured || !check.samples.are_needed())
    }

    fn depend_on(&mut self, deps: Deps) {
        self.deps.deps = self.deps.deps.with(deps);
    }

    /// The source that lists the subjects of its scope.
    const fn lists(&self) -> Option<Source> {
        match self.unit.scope {
            Scope::Path | Scope::Service => Some(Source::Services),
            Scope::Node | Scope::Zone => Some(Source::Nodes),
            Scope::Webhook => Some(Source::Webhooks),
            Scope::Workload => Some(Source::Events),
            Scope::Cluster => None,
        }
    }

    /// What is unknown of all subjects together, because it was not read which there are.
    fn list(&mut self) {
        let Some(gap) = self.list_gap() else {
            self.not_measured();
            return;
        };
        let policies = !self.index.policies.is_empty();
        for (at, check) in self.checks() {
            // A check that says nothing without a policy has nothing to miss where there is none.
            let speaks = match self.unit.scope {
                Scope::Path => policies,
                Scope::Service => check.baseline || policies,
                Scope::Node | Scope::Zone | Scope::Webhook | Scope::Workload | Scope::Cluster => true,
            };
            if speaks {
                self.note(at, Subject::Cluster, false, Verdict::Unknown(gap.clone()));
            }
        }
    }

    /// What is unknown of all Nodes together, because it is measured on none of them.
    fn not_measured(&mut self) {
        if self.unit.scope != Scope::Node || !self.index.samples().is_observed() {
            return;
        }
        self.depend_on(Deps::one(Dep::SampleGaps).with(Deps::one(Dep::NodeCount)));
        if self.index.nodes.is_empty() {
            return;
        }
        for (at, check) in self.checks() {
            if check.samples.are_needed()
                && let Some(gap) = self.index.samples().none_on_nodes(check.samples)
            {
                self.note(at, Subject::Cluster, false, Verdict::Unknown(gap));
            }
        }
    }

    /// Whether the list that the subject comes from was read; where not, [`Self::list`] says so for all of them.
    fn listed(&mut self) -> bool {
        self.list_gap().is_none()
    }

    fn list_gap(&mut self) -> Option<Gap> {
        let source = self.lists()?;
        self.deps.gaps.whole = self.deps.gaps.whole.with(Reads::of(&[source]));
        self.index.unread(source)
    }

    fn node(&mut self, name: Name) {
        let key = Key {
            namespace: Name::EMPTY,
            name,
        };
        if self.index.nodes.get(key).is_none() || !self.listed() {
            return;
        }
        for (at, check) in self.checks() {
            if check.samples.are_needed() {
                // Where no Node is measured, [`Self::not_measured`] says so for all of them.
                self.depend_on(Deps::one(Dep::SampleGaps));
                if self.index.samples().none_on_nodes(check.samples).is_some() {
                    continue;
                }
            }
            if let Judge::Node(judge) = check.judge {
                self.one(at, check, Subject::Node(name), false, |look| judge(look, name));
            }
        }
    }

    fn zone(&mut self, name: Name) {
        if !self.index.sums.has_zone(name) || !self.listed() {
            return;
        }
        for (at, check) in self.checks() {
            if let Judge::Zone(judge) = check.judge {
                self.one(at, check, Subject::Zone(name), false, |look| judge(look, name));
            }
        }
    }

    fn webhook(&mut self, key: Key) {
        if self.index.webhooks.get(key).is_none() || !self.listed() {
            return;
        }
        for (at, check) in self.checks() {
            if let Judge::Webhook(judge) = check.judge {
                self.one(at, check, Subject::Webhook(key), false, |look| judge(look, key));
            }
        }
    }

    /// There are as many workloads as something is remembered of.
    fn workload(&mut self, key: Key) {
        if self.history.events().preempted(key).is_none() || !self.listed() {
            return;
        }
        for (at, check) in self.checks() {
            if let Judge::Workload(judge) = check.judge {
                self.one(at, check, Subject::Workload(key), false, |look| judge(look, key));
            }
        }
    }

    fn cluster(&mut self, place: usize) {
        if let Some((at, check)) = self.checks().find(|one| one.0 == place)
            && let Judge::Cluster(judge) = check.judge
        {
            self.one(at, check, Subject::Cluster, false, judge);
        }
    }

    /// The policy of the unit, if it governs the Service.
    fn governing(&self, key: Key, service: &Service) -> Option<&'a Policy> {
        let index = self.index;
        let policy = index.policies.get(self.unit.policy)?;
        let governs = key.namespace == self.unit.policy.namespace && index.governs(policy, key, service);
        governs.then_some(&**policy)
    }

    fn service(&mut self, key: Key) {
        let index = self.index;
        let Some(service) = index.services.get(key) else {
            return;
        };
        let Some(most) = self.paths else {
            return;
        };
        let policy = self.governing(key, service);
        match (self.unit.scope, policy) {
            (Scope::Path, Some(policy)) => self.some_paths(key, service, policy, most),
            (Scope::Service, Some(policy)) => {
                self.tally.governs = true;
                self.whole_service(key, service, Some(policy));
            }
            (Scope::Service, None)
                if self.unit.policy == Key::default() && !index.is_governed(key, service) =>
            {
                self.whole_service(key, service, None);
            }
            _ => {}
        }
    }

    /// Judges the unit's part of so many paths to a Service, the first in the order of the policy.
    fn some_paths(&mut self, key: Key, service: &'a Service, policy: &'a Policy, most: u64) {
        let index = self.index;
        let first = u64::from(self.unit.part) * PATHS;
        let mut count = 0;
        for_paths(index, (key, service), policy, |path| {
            let place = count;
            count += 1;
            if place >= most {
                return ControlFlow::Break(());
            }
            if place < first {
                return ControlFlow::Continue(());
            }
            if place >= first + PATHS {
                self.goes_on = true;
                return ControlFlow::Break(());
            }
            let subject = Subject::Connection {
                service: key,
                port: path.port.port,
                policy: self.unit.policy,
                connection: index.names.find(&path.connection.name).unwrap_or_default(),
                client: index.names.find(&path.client.name).unwrap_or_default(),
            };
            for (at, check) in self.checks() {
                if let Judge::Path(judge) = check.judge {
                    self.one(at, check, subject, false, |look| judge(look, path));
                }
            }
            ControlFlow::Continue(())
        });
    }

    /// Judges a Service by its policy, or by the baseline.
    fn whole_service(&mut self, key: Key, service: &'a Service, policy: Option<&'a Policy>) {
        let case = ServiceCase { key, service, policy };
        let subject = Subject::Service {
            service: key,
            policy: policy.map(|_| self.unit.policy),
        };
        for (at, check) in self.checks() {
            if let Judge::Service(judge) = check.judge
                && (check.baseline || policy.is_some())
            {
                self.one(at, check, subject, policy.is_none(), |look| judge(look, &case));
            }
        }
    }

    /// Judges one subject.
    fn one(
        &mut self,
        at: usize,
        check: &Check,
        subject: Subject,
        quiet: bool,
        judge: impl FnOnce(&Look<'_>) -> Known<Verdict>,
    ) {
        let mut look = Look::new(self.now, self.index, self.fleet, self.history).at(subject);
        if let Some(selections) = self.selections {
            look = look.remembering(selections);
        }
        // What is judged in a namespace needs no more of a source than that namespace.
        for source in check.needs.iter() {
            look.may_miss(source, subject.home());
        }
        let gap: Option<Gap> = check.needs.iter().find_map(|source| match subject.home() {
            Some(home) => self.index.gap_in(source, home),
            None => self.index.unread(source),
        });
        let verdict = match gap {
            Some(gap) => Verdict::Unknown(gap),
            None => judge(&look).unwrap_or_else(Verdict::Unknown),
        };
        let (seen, saw_fleet) = look.seen();
        debug_assert!(
            seen.minus(check.reads()).is_empty(),
            "{} reads more than it declares",
            check.id
        );
        debug_assert!(
            !saw_fleet || check.profiles,
            "{} reads the fleet without declaring it",
            check.id
        );
        debug_assert!(
            !look.saw_history() || check.history.is_used(),
            "{} reads history without declaring it",
            check.id
        );
        self.wake = self.wake.into_iter().chain(look.wake()).min();
        self.sampled = self.sampled.with(look.sampled());
        self.again = self.again.into_iter().chain(look.again()).min();
        self.deps.add(look.dependencies());
        if saw_fleet && !matches!(verdict, Verdict::Met | Verdict::NotApplicable(_)) {
            self.depend_on(Deps::one(Dep::FleetCounts));
        }
        let service = match &verdict {
            Verdict::AtRisk(case) | Verdict::Violated(case) => case.service(),
            _ => None,
        };
        let subject = service.map_or(subject, |service| Subject::Service {
            service,
            policy: None,
        });
        self.note(at, subject, quiet, verdict);
    }

    fn note(&mut self, at: usize, subject: Subject, quiet: bool, verdict: Verdict) {
        if let Some(said) = &mut self.said {
            said.push((at, subject, verdict.name()));
        }
        match verdict {
            Verdict::Met => self.tally.met += 1,
            Verdict::NotApplicable(_) => self.tally.not_applicable += 1,
            Verdict::Unknown(Gap::WarmingUp(..) | Gap::TooFewSamples(_)) => {
                self.tally.unknown += 1;
                self.tally.warming |= 1 << at;
            }
            Verdict::Unknown(_) if quiet => self.tally.unknown += 1,
            verdict => {
                let before = self
                    .before
                    .reported(&(subject, at))
                    .filter(|old| same_kind(&old.verdict, &verdict));
                let since = before.map_or(self.now.wall, |old| old.since);
                // One number may be two ports, TCP and UDP: the worse of the two is reported.
                match self.bad.get(&(subject, at)) {
                    Some(held) if held.verdict.weight() >= verdict.weight() => {}
                    _ => {
                        let verdict = Arc::new(verdict);
                        self.bad.insert((subject, at), Reported { verdict, since });
                    }
                }
            }
        }
    }
}

/// Whether two verdicts are of one kind and cause: then the older one's `since` goes on.
fn same_kind(one: &Verdict, other: &Verdict) -> bool {
    match (one, other) {
        (Verdict::AtRisk(a), Verdict::AtRisk(b)) | (Verdict::Violated(a), Verdict::Violated(b)) => {
            a.cause() == b.cause()
        }
        (Verdict::Unknown(_), Verdict::Unknown(_)) => true,
        _ => false,
    }
}
