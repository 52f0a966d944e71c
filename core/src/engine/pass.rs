//! One pass over one unit: which subjects it has, and what each check says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ledger::Tally;
use super::unit::{At, Held, Scope, Site, Unit};
use crate::checks;
use crate::facts::Fleet;
use crate::history::History;
use crate::index::{Index, Part, Parts};
use crate::judge::{Check, Judge, Look, Memory, Path, Rests, ServiceCase, Subject, Verdict, declares};
use crate::know::{Gap, Known, Mono, Now, Reads, Source};
use crate::names::Key;
use crate::policy::{Client, Door, Policy};
use crate::sources::service::Service;

/// What the judging of one unit goes through.
pub(super) struct Pass<'a> {
    now: Now,
    index: &'a Index,
    history: &'a History,
    fleet: &'a Fleet,
    site: Site,
    /// What was held of it.
    before: &'a Unit,
    bad: BTreeMap<At, Held>,
    tally: Tally,
    rests: Rests,
    again: Option<i64>,
    wake: Option<Mono>,
}

impl<'a> Pass<'a> {
    /// A pass over a unit, of which this was held before.
    pub(super) fn new(
        now: Now,
        index: &'a Index,
        history: &'a History,
        fleet: &'a Fleet,
        site: Site,
        before: &'a Unit,
    ) -> Self {
        Self {
            now,
            index,
            history,
            fleet,
            site,
            before,
            bad: BTreeMap::new(),
            tally: Tally::default(),
            rests: Rests::default(),
            again: None,
            wake: None,
        }
    }

    /// Judges it from nothing.
    pub(super) fn judged(mut self) -> Unit {
        match self.site.scope {
            Scope::Path => self.paths(),
            Scope::Service => self.services(),
            Scope::Node | Scope::Zone | Scope::Webhook | Scope::Cluster => {
                for (at, check) in self.checks() {
                    self.whole(at, check);
                }
            }
        }
        let rests = self.rests;
        let parts = rests.parts;
        Unit {
            tally: self.tally,
            bad: self.bad.into_iter().collect(),
            parts,
            beyond: (!rests.services.is_empty() || !rests.pods_in.is_empty()).then(|| Box::new(rests)),
            again: self.again,
            wake: self.wake,
        }
    }

    /// The checks of its scope, with their places in the table; without a history only those that can do without.
    fn checks(&self) -> impl Iterator<Item = (usize, &'static Check)> + use<> {
        let (scope, live) = (self.site.scope, self.history.is_live());
        checks::ALL
            .iter()
            .enumerate()
            .filter(move |(_, check)| Scope::of(check) == scope)
            .filter(move |(_, check)| live || check.history != Memory::Needed)
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

    /// The Service and the policy of the unit, if that governs it.
    fn governed(&self) -> Option<(&'a Service, &'a Policy)> {
        let (index, key) = (self.index, self.site.service);
        let service = index.services.get(key)?;
        let policy = index.policies.get(self.site.policy)?;
        let governs = key.namespace == self.site.policy.namespace && index.governs(policy, key, service);
        governs.then_some((service, &**policy))
    }

    fn paths(&mut self) {
        let (index, key) = (self.index, self.site.service);
        if key == Key::default() {
            if !index.policies.is_empty() {
                for (at, _) in self.checks() {
                    self.listed(at, Source::Services);
                }
            }
            return;
        }
        let Some((service, policy)) = self.governed() else {
            return;
        };
        for_paths(index, (key, service), policy, |path| {
            let subject = Subject::Connection {
                service: key,
                port: path.port.port,
                policy: self.site.policy,
                connection: index.names.find(&path.connection.name).unwrap_or_default(),
                client: index.names.find(&path.client.name).unwrap_or_default(),
            };
            for (at, check) in self.checks() {
                if let Judge::Path(judge) = check.judge {
                    self.one(at, check, subject, false, |look| judge(look, path));
                }
            }
        });
    }

    fn services(&mut self) {
        let (index, key) = (self.index, self.site.service);
        if key == Key::default() {
            // A check that says nothing without a policy has nothing to miss where there is none.
            for (at, check) in self.checks() {
                if check.baseline || !index.policies.is_empty() {
                    self.listed(at, Source::Services);
                }
            }
            return;
        }
        if let Some((service, policy)) = self.governed() {
            self.tally.governs = true;
            self.service(service, Some(policy));
        } else if self.site.policy == Key::default()
            && let Some(service) = index.services.get(key)
            && index.policies_of(key, service).is_empty()
        {
            self.service(service, None);
        }
    }

    /// Judges a Service by its policy, or by the baseline.
    fn service(&mut self, service: &'a Service, policy: Option<&'a Policy>) {
        let case = ServiceCase {
            key: self.site.service,
            service,
            policy,
        };
        let subject = Subject::Service {
            service: self.site.service,
            policy: policy.map(|_| self.site.policy),
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
        // What is judged in a namespace needs no more of a source than that namespace.
        let gap: Option<Gap> = check.needs.iter().find_map(|source| match subject.home() {
            Some(home) => self.index.gap_in(source, home),
            None => self.index.gap(source),
        });
        let look = Look::new(self.now, self.index, self.fleet, self.history).at(self.site.service);
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
        self.again = self.again.into_iter().chain(look.again()).min();
        self.rests.add(look.rests());
        if saw_fleet && !matches!(verdict, Verdict::Met | Verdict::NotApplicable(_)) {
            self.rest_on(Parts::one(Part::FleetCounts));
        }
        self.note(at, subject, quiet, verdict);
    }

    fn note(&mut self, at: usize, subject: Subject, quiet: bool, verdict: Verdict) {
        match verdict {
            Verdict::Met => self.tally.met += 1,
            Verdict::NotApplicable(_) => self.tally.not_applicable += 1,
            Verdict::Unknown(Gap::WarmingUp(..)) => self.tally.unknown += 1,
            Verdict::Unknown(_) if quiet => self.tally.unknown += 1,
            verdict => {
                let before = self
                    .before
                    .held(&(subject, at))
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

/// Goes through every path to a Service that a policy declares.
fn for_paths(
    index: &Index,
    (key, service): (Key, &Service),
    policy: &Policy,
    mut each: impl FnMut(&Path<'_>),
) {
    for connection in &policy.connections {
        // Of the client of a connection that declares none nothing is known.
        let unknown = [Client::undeclared("".into(), Door::Cluster)];
        let clients = if connection.clients.is_empty() {
            &unknown[..]
        } else {
            &connection.clients
        };
        let ports = service.ports.iter();
        for port in ports.filter(|port| declares(connection, port, &index.names)) {
            for client in clients {
                each(&Path {
                    key,
                    service,
                    port,
                    policy,
                    connection,
                    client,
                });
            }
        }
    }
}

/// Goes through every declared path to a Service, by name.
pub(crate) fn each_path(index: &Index, namespace: &str, service: &str, mut each: impl FnMut(&Path<'_>)) {
    let (Some(namespace), Some(name)) = (index.names.find(namespace), index.names.find(service)) else {
        return;
    };
    let key = Key { namespace, name };
    if let Some(row) = index.services.get(key) {
        for (_, policy) in index.policies_of(key, row) {
            for_paths(index, (key, row), policy, &mut each);
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
