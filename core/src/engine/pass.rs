//! One pass over one unit: which subjects it has, and what each check says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Held, Scope, Tallies, scope_of};
use crate::checks;
use crate::facts::Fleet;
use crate::history::History;
use crate::index::{Index, Part, Parts};
use crate::judge::{Check, Judge, Look, Memory, Path, Rests, ServiceCase, Subject, Verdict, declares};
use crate::know::{Gap, Known, Mono, Now, Reads, Source};
use crate::names::Key;
use crate::policy::{Client, Door};

/// What the judging of one unit goes through.
pub(super) struct Pass<'a> {
    pub(super) now: Now,
    pub(super) index: &'a Index,
    pub(super) history: &'a History,
    pub(super) fleet: &'a Fleet,
    /// The unit.
    pub(super) own: Key,
    pub(super) old: BTreeMap<(Subject, usize), Held>,
    pub(super) bad: BTreeMap<(Subject, usize), Held>,
    pub(super) again: BTreeMap<(Subject, usize), i64>,
    pub(super) wakes: BTreeMap<(Subject, usize), Mono>,
    pub(super) tallies: Tallies,
    pub(super) rests: Rests,
}

/// The checks of a scope, with their places in the table; without a history only those that can do without.
fn checks_of(scope: Scope, live: bool) -> impl Iterator<Item = (usize, &'static Check)> {
    checks::ALL
        .iter()
        .enumerate()
        .filter(move |(_, check)| scope_of(check) == scope)
        .filter(move |(_, check)| live || check.history != Memory::Needed)
}

impl Pass<'_> {
    /// Judges a unit of this scope from nothing.
    pub(super) fn unit(&mut self, scope: Scope) {
        match scope {
            Scope::Path => self.paths(),
            Scope::Service => self.services(),
            Scope::Node | Scope::Zone | Scope::Webhook | Scope::Cluster => {
                for (at, check) in checks_of(scope, self.history.is_live()) {
                    self.whole(at, check);
                }
            }
        }
    }

    /// Judges all that a check has to judge where the unit is no Service.
    fn whole(&mut self, at: usize, check: &Check) {
        let index = self.index;
        match check.judge {
            Judge::Node(judge) => {
                self.rest_on(Parts::one(Part::NodeCount));
                if self.listed(at, Source::Nodes) {
                    for (node, _) in index.nodes.iter() {
                        self.one(at, check, Subject::Node(node.name), false, |look| {
                            judge(look, node.name)
                        });
                    }
                }
            }
            Judge::Zone(judge) => {
                self.rest_on(Parts::one(Part::NodeZones));
                if self.listed(at, Source::Nodes) {
                    let zones: BTreeSet<_> = index.sums.zones().collect();
                    for zone in zones {
                        self.one(at, check, Subject::Zone(zone), false, |look| judge(look, zone));
                    }
                }
            }
            Judge::Webhook(judge) => {
                self.rest_on(Parts::of(Reads::of(&[Source::Webhooks])));
                if self.listed(at, Source::Webhooks) {
                    for (hook, _) in index.webhooks.iter() {
                        self.one(at, check, Subject::Webhook(hook), false, |look| judge(look, hook));
                    }
                }
            }
            Judge::Cluster(judge) => self.one(at, check, Subject::Cluster, false, judge),
            Judge::Path(_) | Judge::Service(_) => {}
        }
    }

    fn rest_on(&mut self, parts: Parts) {
        self.rests.parts = self.rests.parts.with(parts);
    }

    /// Whether the objects that a check goes through were read; where not, the cluster's verdict is Unknown.
    fn listed(&mut self, at: usize, source: Source) -> bool {
        let Some(gap) = self.index.gap(source) else {
            return true;
        };
        self.note(at, Subject::Cluster, false, Verdict::Unknown(gap));
        false
    }

    fn paths(&mut self) {
        let (index, key) = (self.index, self.own);
        if key == Key::default() {
            if !index.policies.is_empty() {
                for (at, _) in checks_of(Scope::Path, self.history.is_live()) {
                    self.listed(at, Source::Services);
                }
            }
            return;
        }
        for_paths(index, key, |policy, path| {
            let subject = Subject::Connection {
                service: key,
                port: path.port.port,
                policy,
                connection: index.names.find(&path.connection.name).unwrap_or_default(),
                client: index.names.find(&path.client.name).unwrap_or_default(),
            };
            for (at, check) in checks_of(Scope::Path, self.history.is_live()) {
                if let Judge::Path(judge) = check.judge {
                    self.one(at, check, subject, false, |look| judge(look, path));
                }
            }
        });
    }

    fn services(&mut self) {
        let (index, key) = (self.index, self.own);
        if key == Key::default() {
            // A check that says nothing without a policy has nothing to miss where there is none.
            for (at, check) in checks_of(Scope::Service, self.history.is_live()) {
                if check.baseline || !index.policies.is_empty() {
                    self.listed(at, Source::Services);
                }
            }
            return;
        }
        let Some(service) = index.services.get(key) else {
            return;
        };
        let policies = index.policies_of(key, service);
        for (policy, _) in &policies {
            self.tallies.entry(*policy).or_default().governs = true;
        }
        for (at, check) in checks_of(Scope::Service, self.history.is_live()) {
            let Judge::Service(judge) = check.judge else {
                continue;
            };
            let mut case = |policy: Option<Key>, row, quiet| {
                let subject = Subject::Service { service: key, policy };
                let case = ServiceCase {
                    key,
                    service,
                    policy: row,
                };
                self.one(at, check, subject, quiet, |look| judge(look, &case));
            };
            for (policy, row) in &policies {
                case(Some(*policy), Some(&**row), false);
            }
            if policies.is_empty() && check.baseline {
                case(None, None, true);
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
        // What is judged in a namespace needs no more of a source than that namespace.
        let gap: Option<Gap> = check.needs.iter().find_map(|source| match subject.home() {
            Some(home) => self.index.gap_in(source, home),
            None => self.index.gap(source),
        });
        let look = Look::new(self.now, self.index, self.fleet, self.history).at(self.own);
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
        if let Some(when) = look.wake() {
            let held = self.wakes.entry((subject, at)).or_insert(when);
            *held = when.min(*held);
        }
        if let Some(when) = look.again() {
            let held = self.again.entry((subject, at)).or_insert(when);
            *held = when.min(*held);
        }
        self.rests.add(look.rests());
        if saw_fleet && !matches!(verdict, Verdict::Met | Verdict::NotApplicable(_)) {
            self.rest_on(Parts::one(Part::FleetCounts));
        }
        self.note(at, subject, quiet, verdict);
    }

    fn note(&mut self, at: usize, subject: Subject, quiet: bool, verdict: Verdict) {
        let tally = || subject.policy().unwrap_or_default();
        match verdict {
            Verdict::Met => self.tallies.entry(tally()).or_default().met += 1,
            Verdict::NotApplicable(_) => self.tallies.entry(tally()).or_default().not_applicable += 1,
            Verdict::Unknown(Gap::WarmingUp(..)) => {
                self.tallies.entry(tally()).or_default().unknown += 1;
            }
            Verdict::Unknown(_) if quiet => self.tallies.entry(tally()).or_default().unknown += 1,
            verdict => {
                let before = self
                    .old
                    .get(&(subject, at))
                    .filter(|held| same_kind(&held.verdict, &verdict));
                let since = before.map_or(self.now.wall, |held| held.since);
                // One number may be two ports, TCP and UDP: the worse of the two is told.
                match self.bad.get(&(subject, at)) {
                    Some(held) if held.verdict.weight() >= verdict.weight() => {}
                    _ => {
                        let verdict = Arc::new(verdict);
                        self.bad.insert((subject, at), Held { verdict, since });
                    }
                }
            }
        }
    }
}

/// Goes through every declared path to a Service.
fn for_paths(index: &Index, key: Key, mut each: impl FnMut(Key, &Path<'_>)) {
    let Some(service) = index.services.get(key) else {
        return;
    };
    for (policy_key, policy) in index.policies_of(key, service) {
        for connection in &policy.connections {
            // Of the client of a connection that declares none nothing is known.
            let unknown = [Client::undeclared("".into(), Door::Cluster)];
            let clients = if connection.clients.is_empty() {
                &unknown[..]
            } else {
                &connection.clients
            };
            for port in service
                .ports
                .iter()
                .filter(|port| declares(connection, port, &index.names))
            {
                for client in clients {
                    each(
                        policy_key,
                        &Path {
                            key,
                            service,
                            port,
                            policy,
                            connection,
                            client,
                        },
                    );
                }
            }
        }
    }
}

/// Goes through every declared path to a Service, by name.
pub(crate) fn each_path(index: &Index, namespace: &str, service: &str, mut each: impl FnMut(&Path<'_>)) {
    if let (Some(namespace), Some(name)) = (index.names.find(namespace), index.names.find(service)) {
        for_paths(index, Key { namespace, name }, |_, path| each(path));
    }
}

/// Whether two verdicts are of one kind and cause: then the older one's `since` goes on.
fn same_kind(one: &Verdict, other: &Verdict) -> bool {
    match (one, other) {
        (Verdict::AtRisk(a), Verdict::AtRisk(b)) | (Verdict::Violated(a), Verdict::Violated(b)) => {
            a.cause == b.cause
        }
        (Verdict::Unknown(_), Verdict::Unknown(_)) => true,
        _ => false,
    }
}
