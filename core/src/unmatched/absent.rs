//! What policies name and what is not there. What could not be read, or not be kept, is there all the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Dirt;
use crate::findings::Remark;
use crate::judge::declared_ports;
use crate::know::{Gap, Source};
use crate::names::{Key, Name};
use crate::policy::{Connection, Policy, PortRef, Protocol, ServicePick};
use crate::program::Core;
use crate::sources::selects;
use crate::sources::service::Service;

impl Core {
    /// Services and ports that a policy names and that do not exist.
    pub(super) fn absent(&self, key: Key, policy: &Policy, found: &mut Vec<Remark>) {
        let index = &self.index;
        let all = || {
            let keys = index.services_in.of(key.namespace);
            keys.filter_map(|service| Some((service, index.services.get(service)?)))
        };
        if let ServicePick::Names(names) = &policy.services {
            for name in names {
                let service = index.names.find(name).map(|name| Key { name, ..key });
                let is_there = service.is_some_and(|service| {
                    index.services.get(service).is_some() || index.gap_at(Source::Services, service).is_some()
                });
                if !is_there {
                    found.push(Remark::whole(format!(
                        "names Service {name}, which does not exist in its namespace"
                    )));
                }
            }
        }
        let governed: Vec<&Service> = all()
            .filter(|(service, row)| index.governs(policy, *service, row))
            .map(|(_, row)| row)
            .collect();
        let is_whole = self.unread_services(key, policy).is_empty();
        if governed.is_empty() {
            if matches!(policy.services, ServicePick::Selector(_)) && is_whole {
                found.push(Remark::whole("selects no Service of its namespace".into()));
            }
            return;
        }
        if !is_whole {
            // What was not read may have the port.
            return;
        }
        for connection in &policy.connections {
            let mut ports = governed
                .iter()
                .flat_map(|service| declared_ports(connection, service, &index.names));
            if ports.next().is_none() {
                let hint = if governed.iter().all(|service| service.ports.is_empty()) {
                    " (a Service without ports is judged by the numbers that the connection's ports name)"
                } else {
                    ""
                };
                found.push(Remark::whole(format!(
                    "declares connection {} for {}, which no Service that it governs has: nothing is judged by it{hint}",
                    connection.name,
                    wanted(connection)
                )));
            }
        }
    }

    /// Clients whose selector matches no Pod of the namespace, where its Pods were read.
    pub(super) fn without_pods(&self, key: Key, policy: &Policy, found: &mut Vec<Remark>) {
        let index = &self.index;
        let gap = index.gap_in(Source::Pods, key.namespace);
        if gap.is_some() || index.refused_in(Source::Pods, key.namespace).is_some() {
            return;
        }
        let clients = policy
            .connections
            .iter()
            .flat_map(|connection| &connection.clients);
        for client in clients {
            let Some(selector) = &client.pods else {
                continue;
            };
            let keys = index.pods_in.of(key.namespace);
            let mut pods = keys.filter_map(|pod| index.pods.get(pod));
            if !pods.any(|pod| selects(selector, &pod.template.labels, &index.names)) {
                found.push(Remark::whole(format!(
                    "has a podSelector of client {} that selects no Pod of its namespace: what its Pods set is not known",
                    client.name
                )));
            }
        }
    }

    /// The gaps of Services that a policy governs, or may govern, and of which nothing is known.
    pub(crate) fn unread_services(&self, key: Key, policy: &Policy) -> Vec<Gap> {
        let index = &self.index;
        match &policy.services {
            ServicePick::Names(names) => {
                let keys = names.iter().filter_map(|name| index.names.find(name));
                let keys = keys.map(|name| Key { name, ..key });
                keys.filter_map(|service| index.gap_at(Source::Services, service))
                    .collect()
            }
            // Its labels are not known either.
            ServicePick::Selector(_) => index
                .refused_in(Source::Services, key.namespace)
                .into_iter()
                .collect(),
        }
    }

    /// Services that a policy may govern and that could not be read.
    pub(super) fn unread(&self, key: Key, policy: &Policy, found: &mut Vec<Remark>) {
        let gaps = self.unread_services(key, policy);
        let said = |gap: &Gap| format!("may govern a Service of which nothing is known: {gap}");
        found.extend(gaps.iter().map(|gap| Remark::whole(said(gap))));
    }

    /// Policies that may govern a Service which could not be read, or that could not until now: their statuses say so.
    pub(crate) fn unread_otherwise(&self, dirt: &Dirt, standings: &mut BTreeSet<Key>) {
        let mut refused: BTreeMap<Name, BTreeSet<&str>> = BTreeMap::new();
        for key in &dirt.refused_services {
            let names = refused.entry(key.namespace).or_default();
            names.insert(self.index.names.text(key.name));
        }
        for (namespace, names) in refused {
            let concerned = |key: &Key| {
                let policy = self.index.policies.get(*key);
                policy.is_some_and(|policy| match &policy.services {
                    ServicePick::Names(list) => list.iter().any(|name| names.contains(&**name)),
                    ServicePick::Selector(_) => true,
                })
            };
            standings.extend(self.index.policies_in.of(namespace).filter(concerned));
        }
    }
}

/// The ports that a connection is declared for.
fn wanted(connection: &Connection) -> String {
    let transport = if connection.protocol == Protocol::Udp {
        "UDP"
    } else {
        "TCP"
    };
    let ports: Vec<String> = connection
        .ports
        .iter()
        .map(|port| match port {
            PortRef::Number(number) => number.to_string(),
            PortRef::Name(name) => name.to_string(),
        })
        .collect();
    if ports.is_empty() {
        format!("any {transport} port")
    } else {
        format!("{transport} port {}", ports.join(" or "))
    }
}
