//! Policies that cannot all be true: two of them that say different things of one Service, and numbers of one that exclude
//! each other. Checks judge each policy by itself, so that both of two contradicting ones would look right.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Dirt, MATCHED};
use crate::findings::{Note, Remark};
use crate::judge::declared_ports;
use crate::names::{Key, Name};
use crate::policy::{Balance, Beat, Client, Connection, Layer, Limit, Policy, Server};
use crate::program::Core;
use crate::sources::service::Service;

/// What one policy says of one field.
type Statement = (Key, String);

/// Most Services of a policy, and most policies of a Service, that a status compares. A team may write thousands of both, and
/// each change of one would have all of them compared; an audit, which compares once, compares all.
const COMPARED: usize = 8;

/// Most fields of a policy that a status compares on one Service.
const FIELDS: usize = 256;

impl Core {
    /// Where policies for the Services of a namespace contradict each other: one note for each field, with the first two
    /// values.
    pub(super) fn contradictions(&self, namespace: Name, found: &mut Vec<Note>) {
        let index = &self.index;
        for key in index.services_in.of(namespace) {
            let Some(service) = index.services.get(key) else {
                continue;
            };
            let policies = index.policies_of(key, service);
            if policies.len() < 2 {
                continue;
            }
            let mut said: BTreeMap<String, Statement> = BTreeMap::new();
            let mut told = BTreeSet::new();
            for (policy_key, policy) in policies {
                for (field, value) in fields(self, service, policy) {
                    match said.get(&field) {
                        None => {
                            said.insert(field, (policy_key, value));
                        }
                        Some((first, other)) if *first != policy_key && *other != value => {
                            if told.insert(field.clone()) {
                                let said = format!(
                                    "policies {} and {} contradict each other on Service {}: {field} is {other} and {value}",
                                    index.show(*first),
                                    index.names.text(policy_key.name),
                                    index.names.text(key.name)
                                );
                                found.push(said.into());
                            }
                        }
                        Some(_) => {}
                    }
                }
            }
        }
    }

    /// Where other policies contradict this one, as text: each field once, on the first Service by name. Of at most
    /// [`COMPARED`] Services, and of those with at most as many policies.
    pub(super) fn contradicted(&self, own: Key, policy: &Policy, found: &mut Vec<String>) {
        let index = &self.index;
        let services = index.services_in.of(own.namespace);
        let governed = services.filter_map(|key| Some((key, index.services.get(key)?)));
        let mut governed: Vec<_> = governed
            .filter(|(key, service)| index.governs(policy, *key, service))
            .map(|(key, service)| (index.names.text(key.name), key, service))
            .collect();
        governed.sort_unstable_by_key(|one| one.0);
        let mut told = BTreeSet::new();
        for (name, key, service) in governed.into_iter().take(COMPARED) {
            let policies = index.policies_of(key, service);
            if !(2..=COMPARED).contains(&policies.len()) {
                continue;
            }
            let said = fields(self, service, policy).into_iter().take(FIELDS);
            let said: BTreeMap<_, _> = said.collect();
            for (_, other) in policies.iter().filter(|one| one.0 != own) {
                for (field, value) in fields(self, service, other).into_iter().take(FIELDS) {
                    if let Some(here) = said.get(&field).filter(|here| **here != value)
                        && told.insert((field.clone(), other.name.clone()))
                    {
                        found.push(format!(
                            "policy {} contradicts it on Service {name}: {field} is {value} there and {here} here",
                            other.name
                        ));
                    }
                }
            }
        }
    }

    /// Policies that may be contradicted otherwise than before: by a policy that came, changed or went, or because a Service
    /// is governed by others.
    pub(crate) fn compared_otherwise(&self, dirt: &Dirt, standings: &mut BTreeSet<Key>) {
        let index = &self.index;
        let rows = dirt.services.iter();
        for (key, service) in rows.filter_map(|key| Some((*key, index.services.get(*key)?))) {
            standings.extend(index.policies_of(key, service).into_iter().map(|one| one.0));
        }
        let mut changed: BTreeMap<Name, Vec<&Policy>> = BTreeMap::new();
        for (key, policy) in &dirt.governing {
            changed.entry(key.namespace).or_default().push(policy);
        }
        for (namespace, changed) in changed {
            if changed.len() > MATCHED {
                let all = index.policies.iter().map(|one| one.0);
                standings.extend(all.filter(|key| key.namespace == namespace));
                continue;
            }
            let services = index.services_in.of(namespace);
            for (key, service) in services.filter_map(|key| Some((key, index.services.get(key)?))) {
                if !changed.iter().any(|policy| index.governs(policy, key, service)) {
                    continue;
                }
                let policies = index.policies_of(key, service);
                // Before or after the change there were few enough to be compared.
                if policies.len() <= COMPARED + changed.len() {
                    standings.extend(policies.into_iter().map(|one| one.0));
                }
            }
        }
    }
}

/// What a policy says of a Service, by field: whatever can be true once only.
fn fields(core: &Core, service: &Service, policy: &Policy) -> Vec<(String, String)> {
    let mut all = Vec::new();
    if let Some(balance) = &policy.balance {
        of_balance(balance, &mut all);
    }
    for connection in &policy.connections {
        for port in declared_ports(connection, service, &core.index.names) {
            of_server(
                &connection.server,
                &format!("server at port {}", port.port),
                &mut all,
            );
            // Two kinds of connection may differ in all of this; of one name there is one kind.
            of_connection(connection, port.port, &mut all);
        }
    }
    all
}

type FieldValues = Vec<(String, String)>;

fn put(all: &mut FieldValues, place: &str, field: &str, value: Option<impl ToString>) {
    all.extend(value.map(|value| (format!("{place} {field}"), value.to_string())));
}

fn of_balance(balance: &Balance, all: &mut FieldValues) {
    let place = "balance";
    put(all, place, "tolerancePercent", Some(balance.tolerance_percent));
    put(all, place, "minimumReadyBackends", balance.minimum_ready_backends);
    put(all, place, "maxPercentPerNode", balance.max_percent_per_node);
    put(all, place, "maxPercentPerZone", balance.max_percent_per_zone);
}

fn of_server(server: &Server, place: &str, all: &mut FieldValues) {
    put(all, place, "tcpKeepalive", server.tcp_keepalive.map(beat));
    put(all, place, "ping", server.ping.map(beat));
    put(all, place, "idleTimeoutSeconds", server.idle_timeout.map(limit));
    put(
        all,
        place,
        "minimumPingIntervalSeconds",
        server.minimum_ping_interval_seconds,
    );
    put(
        all,
        place,
        "requestTimeoutSeconds",
        server.request_timeout_seconds,
    );
    put(
        all,
        place,
        "maxConnectionAgeSeconds",
        server.max_connection_age.map(limit),
    );
}

fn of_connection(connection: &Connection, port: u16, all: &mut FieldValues) {
    let place = format!("connection {} at port {port}", connection.name);
    put(
        all,
        &place,
        "longestSilenceSeconds",
        connection.longest_silence_seconds,
    );
    put(
        all,
        &place,
        "longestRequestSeconds",
        connection.longest_request_seconds,
    );
    for client in &connection.clients {
        of_client(client, &format!("client {} at port {port}", client.name), all);
    }
}

fn of_client(client: &Client, place: &str, all: &mut FieldValues) {
    put(all, place, "tcpKeepalive", client.tcp_keepalive.map(beat));
    put(all, place, "ping", client.ping.map(beat));
    put(all, place, "idleTimeoutSeconds", client.idle_timeout.map(limit));
    put(
        all,
        place,
        "requestTimeoutSeconds",
        client.request_timeout_seconds,
    );
    put(
        all,
        place,
        "maxConnectionAgeSeconds",
        client.max_connection_age.map(limit),
    );
}

fn beat(beat: Beat) -> String {
    match beat {
        Beat::Disabled => "Disabled".into(),
        Beat::Enabled(None) => "Enabled".into(),
        Beat::Enabled(Some(seconds)) => format!("Enabled ({seconds} s)"),
    }
}

fn limit(limit: Limit) -> String {
    limit
        .seconds()
        .map_or_else(|| "Never".into(), |seconds| seconds.to_string())
}

/// Numbers of one policy that exclude each other.
pub(super) fn impossible(policy: &Policy, found: &mut Vec<Remark>) {
    for connection in &policy.connections {
        let mut all = Vec::new();
        cut_short(connection, &mut all);
        pinged_too_often(connection, &mut all);
        found.extend(all.into_iter().map(|said| Remark {
            connection: Some(connection.name.to_string()),
            said,
        }));
    }
}

/// Requests that are declared to take longer than the server, a hop or a client waits for them.
fn cut_short(connection: &Connection, found: &mut Vec<String>) {
    let Some(longest) = connection.longest_request_seconds else {
        return;
    };
    let server = ("the server".to_owned(), connection.server.request_timeout_seconds);
    let hops = connection.hops.iter();
    let hops = hops.map(|hop| (format!("hop {}", hop.name), hop.request_timeout_seconds));
    let clients = connection.clients.iter();
    let clients = clients.map(|one| (format!("client {}", one.name), one.request_timeout_seconds));
    for (who, timeout) in std::iter::once(server).chain(hops).chain(clients) {
        if let Some(timeout) = timeout.filter(|timeout| *timeout < longest) {
            found.push(format!(
                "longestRequestSeconds {longest} cannot be, as {who} ends requests after {timeout} s"
            ));
        }
    }
}

/// Pings that come faster than the server permits. Behind an L7 hop the server sees that hop's pings, and not the client's.
fn pinged_too_often(connection: &Connection, found: &mut Vec<String>) {
    let Some(floor) = connection.server.minimum_ping_interval_seconds else {
        return;
    };
    let last = connection.hops.iter().rfind(|hop| hop.layer == Layer::L7);
    let pings: Vec<(String, Option<Beat>)> = if let Some(hop) = last {
        vec![(format!("hop {}", hop.name), hop.upstream.ping)]
    } else {
        let clients = connection.clients.iter();
        clients
            .map(|one| (format!("client {}", one.name), one.ping))
            .collect()
    };
    for (who, ping) in pings {
        if let Some(Beat::Enabled(Some(ping))) = ping
            && ping < floor
        {
            found.push(format!(
                "{who} pings every {ping} s, and the server allows one in {floor} s: such connections end"
            ));
        }
    }
}
