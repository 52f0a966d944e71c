//! One pass over one unit: which subjects it has, and what each check says of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Held, Scope, Tallies, scope_of};
use crate::checks;
use crate::facts::Fleet;
use crate::history::History;
use crate::index::Index;
use crate::judge::{Check, Judge, Look, Memory, Path, ServiceCase, Subject, Verdict};
use crate::know::{Gap, Known, Mono, Now, Source};
use crate::names::{Key, Name};
use crate::policy::{Client, Door, PortRef};
use crate::sources::node::ZONE;
use crate::sources::service::ServicePort;

/// What one round of judging goes through.
pub(super) struct Pass<'a> {
    pub(super) now: Now,
    pub(super) index: &'a Index,
    pub(super) history: &'a History,
    pub(super) old: BTreeMap<(Subject, usize), Held>,
    pub(super) bad: BTreeMap<(Subject, usize), Held>,
    pub(super) again: BTreeMap<(Subject, usize), i64>,
    pub(super) wakes: BTreeMap<(Subject, usize), Mono>,
    pub(super) tallies: Tallies,
}

impl Pass<'_> {
    /// Judges one unit of a scope from nothing.
    pub(super) fn unit(&mut self, scope: Scope, key: Key, fleet: &Fleet) {
        let (index, live) = (self.index, self.history.is_live());
        for (at, check) in checks::ALL
            .iter()
            .enumerate()
            .filter(|(_, check)| scope_of(check) == scope)
            .filter(|(_, check)| check.history != Memory::Needed || live)
        {
            match check.judge {
                Judge::Path(judge) => self.paths(at, check, key, fleet, judge),
                Judge::Service(judge) => self.services(at, check, key, fleet, judge),
                Judge::Node(judge) => {
                    if self.listed(at, Source::Nodes) {
                        for (node, row) in index.nodes.iter() {
                            self.one(at, check, Subject::Node(node.name), false, fleet, |look| {
                                judge(look, node.name, row)
                            });
                        }
                    }
                }
                Judge::Zone(judge) => {
                    if self.listed(at, Source::Nodes) {
                        let zone = index.names.find(ZONE);
                        let zones: BTreeSet<Name> = index
                            .nodes
                            .iter()
                            .map(|(_, node)| zone.and_then(|key| node.labels.get(key)).unwrap_or(Name::EMPTY))
                            .collect();
                        for zone in zones {
                            self.one(at, check, Subject::Zone(zone), false, fleet, |look| {
                                judge(look, zone)
                            });
                        }
                    }
                }
                Judge::Webhook(judge) => {
                    if self.listed(at, Source::Webhooks) {
                        for (hook, _) in index.webhooks.iter() {
                            self.one(at, check, Subject::Webhook(hook), false, fleet, |look| {
                                judge(look, hook)
                            });
                        }
                    }
                }
                Judge::Cluster(judge) => self.one(at, check, Subject::Cluster, false, fleet, judge),
            }
        }
    }

    /// Whether the objects that a check goes through were read; where not, the cluster's verdict is Unknown.
    fn listed(&mut self, at: usize, source: Source) -> bool {
        let Some(gap) = self.index.gap(source) else {
            return true;
        };
        self.note(at, Subject::Cluster, false, Verdict::Unknown(gap));
        false
    }

    fn paths(
        &mut self,
        at: usize,
        check: &Check,
        key: Key,
        fleet: &Fleet,
        judge: fn(&Look<'_>, &Path<'_>) -> Known<Verdict>,
    ) {
        let index = self.index;
        if key == Key::default() {
            if !index.policies.is_empty() {
                self.listed(at, Source::Services);
            }
            return;
        }
        for_paths(index, key, |policy_key, path| {
            let subject = Subject::Connection {
                service: key,
                port: path.port.port,
                policy: policy_key,
                connection: index.names.find(&path.connection.name).unwrap_or_default(),
                client: index.names.find(&path.client.name).unwrap_or_default(),
            };
            self.one(at, check, subject, false, fleet, |look| judge(look, path));
        });
    }

    fn services(
        &mut self,
        at: usize,
        check: &Check,
        key: Key,
        fleet: &Fleet,
        judge: fn(&Look<'_>, &ServiceCase<'_>) -> Known<Verdict>,
    ) {
        let index = self.index;
        if key == Key::default() {
            self.listed(at, Source::Services);
            return;
        }
        let Some(service) = index.services.get(key) else {
            return;
        };
        let mut governed = false;
        for (policy_key, policy) in index.policies_of(key, service) {
            governed = true;
            self.tallies.entry(policy_key).or_default().governs = true;
            let subject = Subject::Service {
                service: key,
                policy: Some(policy_key),
            };
            let case = ServiceCase {
                key,
                service,
                policy: Some(policy),
            };
            self.one(at, check, subject, false, fleet, |look| judge(look, &case));
        }
        if !governed && check.baseline {
            let subject = Subject::Service {
                service: key,
                policy: None,
            };
            let case = ServiceCase {
                key,
                service,
                policy: None,
            };
            self.one(at, check, subject, true, fleet, |look| judge(look, &case));
        }
    }

    /// Judges one subject.
    fn one(
        &mut self,
        at: usize,
        check: &Check,
        subject: Subject,
        quiet: bool,
        fleet: &Fleet,
        judge: impl FnOnce(&Look<'_>) -> Known<Verdict>,
    ) {
        let gap: Option<Gap> = check.needs.iter().find_map(|source| self.index.gap(source));
        let look = Look::new(self.now, self.index, fleet, self.history);
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
                    Some(held) if weight(&held.verdict) >= weight(&verdict) => {}
                    _ => drop(self.bad.insert((subject, at), Held { verdict, since })),
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
            let unknown = [unknown_client()];
            let clients = if connection.clients.is_empty() {
                &unknown[..]
            } else {
                &connection.clients
            };
            for port in service
                .ports
                .iter()
                .filter(|port| wanted(&connection.ports, port, index))
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

/// Which of two verdicts on one subject matters more.
const fn weight(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Violated(_) => 3,
        Verdict::AtRisk(_) => 2,
        Verdict::Unknown(_) => 1,
        Verdict::Met | Verdict::NotApplicable(_) => 0,
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

/// Whether a connection's list of ports names this one; an empty list names all.
fn wanted(ports: &[PortRef], port: &ServicePort, index: &Index) -> bool {
    ports.is_empty()
        || ports.iter().any(|one| match one {
            PortRef::Number(number) => *number == port.port,
            PortRef::Name(name) => !name.is_empty() && index.names.text(port.name) == &**name,
        })
}

/// The client of a connection that declares none: nothing is known of it.
fn unknown_client() -> Client {
    Client {
        name: "".into(),
        from: Door::Cluster,
        pods: None,
        tcp_keepalive: None,
        ping: None,
        idle_timeout_seconds: None,
        request_timeout_seconds: None,
        max_connection_age_seconds: None,
        new_connections_per_second: None,
    }
}
