//! Policies that cannot all be true: two of them that say different things of one Service, and numbers of one that exclude
//! each other. Checks judge each policy by itself, so that both of two contradicting ones would look right.

use std::collections::{BTreeMap, BTreeSet};

use crate::judge::declares;
use crate::names::{Key, Name};
use crate::policy::{Balance, Beat, Client, Connection, Limit, Policy, Server};
use crate::program::Core;
use crate::sources::service::Service;

/// What one policy says of one field.
type Said = (Key, String);

impl Core {
    /// Where policies for the Services of a namespace contradict each other, as text: one for each field, with the first two
    /// values.
    pub(super) fn contradictions(&self, namespace: Name, found: &mut Vec<String>) {
        let index = &self.index;
        for key in index.services_in.of(namespace) {
            let Some(service) = index.services.get(key) else {
                continue;
            };
            let policies = index.policies_of(key, service);
            if policies.len() < 2 {
                continue;
            }
            let mut said: BTreeMap<String, Said> = BTreeMap::new();
            let mut told = BTreeSet::new();
            for (policy_key, policy) in policies {
                for (field, value) in fields(self, service, policy) {
                    match said.get(&field) {
                        None => {
                            said.insert(field, (policy_key, value));
                        }
                        Some((first, other)) if *first != policy_key && *other != value => {
                            if told.insert(field.clone()) {
                                found.push(format!(
                                    "policies {} and {} contradict each other on Service {}: {field} is {other} and {value}",
                                    index.show(*first),
                                    index.names.text(policy_key.name),
                                    index.names.text(key.name)
                                ));
                            }
                        }
                        Some(_) => {}
                    }
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
        let ports = service.ports.iter();
        for port in ports.filter(|port| declares(connection, port, &core.index.names)) {
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

type Fields = Vec<(String, String)>;

fn put(all: &mut Fields, place: &str, field: &str, value: Option<impl ToString>) {
    all.extend(value.map(|value| (format!("{place} {field}"), value.to_string())));
}

fn of_balance(balance: &Balance, all: &mut Fields) {
    let place = "balance";
    put(all, place, "tolerancePercent", Some(balance.tolerance_percent));
    put(all, place, "minimumReadyBackends", balance.minimum_ready_backends);
    put(all, place, "maxPercentPerNode", balance.max_percent_per_node);
    put(all, place, "maxPercentPerZone", balance.max_percent_per_zone);
}

fn of_server(server: &Server, place: &str, all: &mut Fields) {
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

fn of_connection(connection: &Connection, port: u16, all: &mut Fields) {
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

fn of_client(client: &Client, place: &str, all: &mut Fields) {
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

/// Numbers of one policy that exclude each other, as text; `shown` names the policy.
pub(super) fn impossible(shown: &str, policy: &Policy, found: &mut Vec<String>) {
    for connection in &policy.connections {
        let place = format!("{shown}, connection {}", connection.name);
        let longest = connection.longest_request_seconds;
        let server = &connection.server;
        let mut request = |whose: &str, timeout: Option<u32>| {
            if let (Some(longest), Some(timeout)) = (longest, timeout)
                && timeout < longest
            {
                found.push(format!(
                    "{place}: longestRequestSeconds {longest} cannot be, as {whose} ends requests after {timeout} s"
                ));
            }
        };
        request("the server", server.request_timeout_seconds);
        for hop in &connection.hops {
            request(&format!("hop {}", hop.name), hop.request_timeout_seconds);
        }
        for client in &connection.clients {
            request(&format!("client {}", client.name), client.request_timeout_seconds);
        }
        for client in &connection.clients {
            if let (Some(Beat::Enabled(Some(ping))), Some(floor)) =
                (client.ping, server.minimum_ping_interval_seconds)
                && ping < floor
            {
                found.push(format!(
                    "{place}: client {} pings every {ping} s, and the server allows one in {floor} s: such connections end",
                    client.name
                ));
            }
        }
    }
}
