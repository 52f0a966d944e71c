//! What policies name and what does not exist: a name that was mistyped judges nothing, and looks like health.

use std::collections::BTreeSet;

use crate::Core;
use crate::index::Freshness;
use crate::judge::declares;
use crate::know::Source;
use crate::names::Key;
use crate::policy::{Connection, Policy, PortRef, Protocol, ServicePick};
use crate::sources::service::Service;

impl Core {
    /// Every namespace that exists, as far as one can be seen by itself or by an object in it; `None` where not all of
    /// them can, because their list was refused.
    pub fn namespaces(&self) -> Option<BTreeSet<&str>> {
        let index = &self.index;
        if !matches!(
            index.freshness(Source::Namespaces),
            Freshness::Complete | Freshness::Missing
        ) {
            return None;
        }
        let own = index.namespaces.iter().map(|one| one.0.name);
        let keys = index.services.iter().map(|one| one.0);
        let keys = keys.chain(index.slices.iter().map(|one| one.0));
        let keys = keys.chain(index.pods.iter().map(|one| one.0));
        let keys = keys.chain(index.config_maps.iter().map(|one| one.0));
        let keys = keys.chain(index.daemon_sets.iter().map(|one| one.0));
        let keys = keys.chain(index.policies.iter().map(|one| one.0));
        let all = own.chain(keys.map(|key| key.namespace));
        Some(all.map(|name| index.names.text(name)).collect())
    }

    /// What the policies name and what does not exist, as text, sorted. Nothing is reported of a namespace of which
    /// Services were not read.
    pub fn unmatched(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (key, policy) in self.index.policies.iter() {
            if self.index.gap_in(Source::Services, key.namespace).is_none() {
                self.unmatched_of(key, policy, &mut found);
            }
        }
        found.sort();
        found
    }

    fn unmatched_of(&self, key: Key, policy: &Policy, found: &mut Vec<String>) {
        let index = &self.index;
        let all = || {
            let keys = index.services_in.of(key.namespace);
            keys.filter_map(|service| Some((service, index.services.get(service)?)))
        };
        let shown = format!("policy {}", self.index.show(key));
        found.extend(crate::findings::without_effect(policy).map(|check| {
            format!(
                "{shown} has an exception for {check}, which does not judge its Services: it has no effect; the \
                 platform's policy can have one (spec.exceptions)"
            )
        }));
        if let ServicePick::Names(names) = &policy.services {
            for name in names {
                if !all().any(|(service, _)| index.names.text(service.name) == &**name) {
                    found.push(format!(
                        "{shown} names Service {name}, which does not exist in its namespace"
                    ));
                }
            }
        }
        let governed: Vec<&Service> = all()
            .filter(|(service, row)| index.governs(policy, *service, row))
            .map(|(_, row)| row)
            .collect();
        if governed.is_empty() {
            if matches!(policy.services, ServicePick::Selector(_)) {
                found.push(format!("{shown} selects no Service of its namespace"));
            }
            return;
        }
        for connection in &policy.connections {
            let spoken = |service: &&Service| {
                let mut ports = service.ports.iter();
                ports.any(|port| declares(connection, port, &index.names))
            };
            if !governed.iter().any(spoken) {
                found.push(format!(
                    "{shown} declares connection {} for {}, which no Service that it governs has: nothing is judged by it",
                    connection.name,
                    wanted(connection)
                ));
            }
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

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::know::Source;
    use crate::policy::{Connection, Policy, PortRef, Protocol, ServicePick};
    use crate::world::{World, app, client, connection, policy, service};

    fn found(policy: Policy, missing: &[Source]) -> Vec<String> {
        let ports = json!({"ports": [{"name": "grpc", "port": 80}]});
        let mut world = World::without(missing)
            .with(Source::Services, service("api", ports))
            .policy(policy);
        world.core.round(world.now);
        world.core.unmatched()
    }

    fn for_ports(protocol: Protocol, ports: &[PortRef]) -> Policy {
        policy(vec![Connection {
            ports: ports.to_vec(),
            ..connection(protocol, client("web"))
        }])
    }

    fn picks(services: ServicePick) -> Policy {
        Policy {
            services,
            ..policy(Vec::new())
        }
    }

    #[rstest]
    #[case::all_there(for_ports(Protocol::Grpc, &[]), &[])]
    #[case::by_name(for_ports(Protocol::Grpc, &[PortRef::Name("grpc".into())]), &[])]
    #[case::one_of_two(for_ports(Protocol::Grpc, &[PortRef::Number(80), PortRef::Number(81)]), &[])]
    #[case::mistyped(for_ports(Protocol::Grpc, &[PortRef::Name("grcp".into()), PortRef::Number(81)]), &["policy shop/p declares connection main for TCP port grcp or 81, which no Service that it governs has: nothing is judged by it"])]
    #[case::another_transport(for_ports(Protocol::Udp, &[]), &["policy shop/p declares connection main for any UDP port, which no Service that it governs has: nothing is judged by it"])]
    #[case::no_service(picks(ServicePick::Names(vec!["api".into(), "apu".into()])), &["policy shop/p names Service apu, which does not exist in its namespace"])]
    #[case::nothing_selected(picks(ServicePick::Selector(app("other"))), &["policy shop/p selects no Service of its namespace"])]
    fn what_nothing_answers_to_is_told(#[case] policy: Policy, #[case] expected: &[&str]) {
        assert_eq!(found(policy, &[]), expected);
    }

    #[test]
    fn services_that_nobody_read_may_be_there() {
        let policy = picks(ServicePick::Names(vec!["apu".into()]));
        assert!(found(policy, &[Source::Services]).is_empty());
    }
}
